"""One DAG whose tasks tell OpenLineage of the pipeline that they are about."""

from airflow.sdk import DAG, Param

from airflow_provider_enos.operators.streaming import StartPipelineOperator, StopPipelineOperator
from airflow_provider_enos.sensors.streaming import PipelineLagSensor

with DAG(
    "e2e_observed",
    schedule=None,
    params={"pipeline_id": Param("set by the run"), "org_id": Param("set by the run")},
    default_args={
        "pipeline_id": "{{ params.pipeline_id }}",
        "org_id": "{{ params.org_id }}",
        "deferrable": True,
    },
):
    start = StartPipelineOperator(task_id="start", execution_mode="standalone")
    lag = PipelineLagSensor(task_id="lag", max_lag=0, looks=1)
    stop = StopPipelineOperator(task_id="stop")
    start >> lag >> stop
