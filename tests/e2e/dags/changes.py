"""One DAG for each way to stop and to pause, with everything taken from the run's conf."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_enos.operators.streaming import PausePipelineOperator, StopPipelineOperator

for verb, operator in {"stop": StopPipelineOperator, "pause": PausePipelineOperator}.items():
    for way in ("sync", "deferrable"):
        with DAG(
            f"e2e_{verb}_{way}",
            schedule=None,
            params={
                "pipeline_id": Param("set by the run", type="string"),
                "org_id": Param("set by the run", type="string"),
                "if_not_running": Param("fail", type="string"),
            },
            default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
        ) as dag:
            operator(
                task_id=verb,
                pipeline_id="{{ params.pipeline_id }}",
                org_id="{{ params.org_id }}",
                if_not_running="{{ params.if_not_running }}",
                poll_interval_seconds=0.5,
                deferrable=way == "deferrable",
            )
        globals()[dag.dag_id] = dag
