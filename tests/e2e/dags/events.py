"""DAGs that run when a pipeline's status changes, or when a task has changed it."""

import json
import os
from urllib.parse import urlsplit

from airflow.sdk import DAG, Asset, AssetAny, AssetWatcher, Param, task

from airflow_provider_enos.assets import create_asset
from airflow_provider_enos.operators.streaming import StartPipelineOperator
from airflow_provider_enos.triggers.events import PipelineStatusChangeTrigger

ORG_ID = "o-watched"
PIPELINES = ("35c479e9-dd18-5f53-a85d-de9471078136", "60fe6ef1-ea26-5334-9ee7-10f3f4037970")
POLL_INTERVAL_SECONDS = 2

for number, pipeline_id in enumerate(PIPELINES):
    trigger = PipelineStatusChangeTrigger(
        pipeline_id=pipeline_id, org_id=ORG_ID, poll_interval_seconds=POLL_INTERVAL_SECONDS
    )
    left_running = Asset(
        f"e2e_left_running_{number}", watchers=[AssetWatcher(name="watcher", trigger=trigger)]
    )
    with DAG(f"e2e_left_running_{number}", schedule=[left_running]) as dag:

        @task
        def tell(triggering_asset_events):
            return [
                event.extra["payload"]
                for events in triggering_asset_events.values()
                for event in events
            ]

        tell()
    globals()[dag.dag_id] = dag

connection = json.loads(os.environ["AIRFLOW_CONN_ENOS_DEFAULT"])
host = urlsplit(connection["host"]).netloc
own = [
    create_asset(host=host, org_id=ORG_ID, pipeline_id=pipeline_id)
    for pipeline_id in ("02e5a48f-dd61-553d-8dc3-76d4b96e86c2", "管道-1")
]
changed = [Asset("e2e_changed", uri=own[0].uri), own[1]]

with DAG("e2e_change", schedule=None, params={"pipeline_id": Param("set by the run")}):
    StartPipelineOperator(
        task_id="start",
        pipeline_id="{{ params.pipeline_id }}",
        org_id=ORG_ID,
        execution_mode="standalone",
        outlets=changed,
    )

with DAG("e2e_after_change", schedule=AssetAny(*changed)):

    @task
    def tell_outcomes(triggering_asset_events):
        return [
            [event.extra["pipeline_id"], event.extra["outcome"]]
            for events in triggering_asset_events.values()
            for event in events
        ]

    tell_outcomes()
