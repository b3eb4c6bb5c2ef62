"""
Let a pipeline that has fallen far behind begin anew.

Stop it and skip what is waiting in Kafka (that is lost), work off what has arrived meanwhile at a
higher rate, and go back to the normal rate. Run twice, or interrupted and retried, it ends in the
same place. Do not backfill it: each run would skip what is waiting then.
"""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_enos.operators.streaming import (
    ResetPipelineOffsetOperator,
    StartPipelineOperator,
    StopPipelineOperator,
)
from airflow_provider_enos.sensors.streaming import PipelineLagSensor

PIPELINE = {"pipeline_id": "a93ad958-2c4e-5844-9432-29fd785c61b8", "deferrable": True}
MODE = {"execution_mode": "standalone", "resource_config": {"server": 1}}

with DAG(
    "replay",
    schedule=None,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    doc_md=__doc__,
):
    stop = StopPipelineOperator(task_id="stop", **PIPELINE)

    skip = ResetPipelineOffsetOperator(task_id="skip_what_is_waiting", **PIPELINE)

    start_fast = StartPipelineOperator(
        task_id="start_fast", kafka_rate=10_000, if_running="restart", **MODE, **PIPELINE
    )

    has_caught_up = PipelineLagSensor(
        task_id="has_caught_up", max_lag=100, looks=2, poke_interval=5, timeout=3600, **PIPELINE
    )

    start_normal = StartPipelineOperator(
        task_id="start_normal", kafka_rate=1_000, if_running="restart", **MODE, **PIPELINE
    )

    stop >> skip >> start_fast >> has_caught_up >> start_normal
