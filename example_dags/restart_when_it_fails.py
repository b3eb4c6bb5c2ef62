"""
React when a pipeline is not running any more: start it again if it has failed, else only tell.

The watcher compares one listing of the organization's pipelines with the next, whether or not any
task runs. A pipeline that somebody has stopped or paused is left alone; one that fails again and
again is started again and again.
"""

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_enos.operators.streaming import StartPipelineOperator
from airflow_provider_enos.triggers.events import PipelineStatusChangeTrigger

PIPELINE_ID = "19e320ef-7115-591c-9281-31774222c454"

left_running = Asset(
    "wind_farm_pipeline_left_running",
    watchers=[
        AssetWatcher(
            name="wind_farm_pipeline",
            trigger=PipelineStatusChangeTrigger(
                pipeline_id=PIPELINE_ID, from_statuses=["RUNNING"], poll_interval_seconds=10
            ),
        )
    ],
)

with DAG("restart_when_it_fails", schedule=[left_running], doc_md=__doc__):

    @task.short_circuit
    def has_failed(triggering_asset_events):
        events = [event for events in triggering_asset_events.values() for event in events]
        if not events:  # run by hand
            return False
        change = max(events, key=lambda event: event.timestamp).extra["payload"]
        print(
            f"Pipeline {change['pipeline_id']}: {change['previous_status']} -> {change['status']}"
        )
        return change["status"] not in ("PUBLISHED", "PAUSED", "STOPPED")

    has_failed() >> StartPipelineOperator(
        task_id="start",
        pipeline_id=PIPELINE_ID,
        execution_mode="standalone",
        resource_config={"server": 1},
        deferrable=True,
        retries=2,
    )
