"""
Make sure every day that a pipeline is running; it may be backfilled over any time.

A stream has no past that a run could process: a run of any logical date means that the pipeline is
running now. The first run of a backfill starts it, the others find it running and leave it alone.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG

from airflow_provider_enos.operators.streaming import StartPipelineOperator

with DAG(
    "start_every_day",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    doc_md=__doc__,
):
    StartPipelineOperator(
        task_id="start",
        pipeline_id="2d88442e-fa36-57dc-b581-6a95957dcd42",
        execution_mode="standalone",
        kafka_rate=1000,
        resource_config={"server": 1},
        if_running="succeed",
        deferrable=True,
    )
