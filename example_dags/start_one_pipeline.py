"""Start one pipeline; the task is green when the pipeline is running."""

from airflow.sdk import DAG

from airflow_provider_enos.operators.streaming import StartPipelineOperator

with DAG("start_one_pipeline", schedule=None, doc_md=__doc__):
    StartPipelineOperator(
        task_id="start",
        pipeline_id="f0dda744-13fa-59cc-9c8a-8c8bbd2d7941",
        execution_mode="standalone",
        kafka_rate=1000,
        resource_config={"server": 1},
        deferrable=True,
    )
