"""One DAG for each way to change a pipeline, with everything taken from the run's conf."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_enos.operators.streaming import (
    PausePipelineOperator,
    ReleasePipelineOperator,
    ResetPipelineOffsetOperator,
    StopPipelineOperator,
)

OPERATORS = {
    "stop": (StopPipelineOperator, "if_not_running"),
    "pause": (PausePipelineOperator, "if_not_running"),
    "release": (ReleasePipelineOperator, "if_not_stopped"),
    "reset_offset": (ResetPipelineOffsetOperator, "if_not_stopped"),
}

for verb, (operator, policy) in OPERATORS.items():
    for way in ("sync", "deferrable"):
        with DAG(
            f"e2e_{verb}_{way}",
            schedule=None,
            params={
                "pipeline_id": Param("set by the run", type="string"),
                "org_id": Param("set by the run", type="string"),
                "policy": Param("fail", type="string"),
            },
            default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
        ) as dag:
            operator(
                task_id=verb,
                pipeline_id="{{ params.pipeline_id }}",
                org_id="{{ params.org_id }}",
                poll_interval_seconds=0.5,
                deferrable=way == "deferrable",
                **{policy: "{{ params.policy }}"},
            )
        globals()[dag.dag_id] = dag
