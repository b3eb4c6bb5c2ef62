"""The event of a pipeline's asset, with what Airflow itself hands to a task."""

import pytest
from airflow.sdk import Asset
from airflow.sdk.definitions.asset import AssetUniqueKey
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import AssetResult, GetAssetByName, GetAssetByUri
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_enos.assets import PIPELINES, create_asset
from airflow_provider_enos.operators.streaming import StopPipelineOperator

URI = create_asset(host="127.0.0.1:9", org_id="o1", pipeline_id="p-1").uri
OTHER = create_asset(host="127.0.0.1:9", org_id="o1", pipeline_id="p-2")
RESULT = {
    "pipeline_id": "p-1",
    "org_id": "o1",
    "outcome": "stopped",
    "status": "STOPPED",
    "attempts": 1,
    "waited_seconds": 1.0,
}


class Supervisor:
    """Knows one asset: that of the pipeline, under the user's own name."""

    def send(self, message):
        match message:
            case GetAssetByName(name="mine") | GetAssetByUri():
                return AssetResult(name="mine", uri=URI, group="asset")
        raise AssertionError(message)


@pytest.fixture
def events(context, monkeypatch):
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    context["outlet_events"] = OutletEventAccessors()
    return context["outlet_events"]


def stop(context, *outlets):
    task = StopPipelineOperator(task_id="stop", pipeline_id="p-1", outlets=list(outlets))
    task.execute_complete(context, {"status": "success", "result": RESULT})


@pytest.mark.parametrize(
    "outlet",
    [Asset("mine", uri=URI), Asset.ref(name="mine"), Asset.ref(uri=URI)],
    ids=["asset", "name", "uri"],
)
def test_outlet_of_the_user_gets_the_only_event(context, events, outlet):
    stop(context, OTHER, outlet)

    assert events[outlet].extra == RESULT
    assert events[OTHER].extra == {}
    assert events[PIPELINES].asset_alias_events == []


def test_pipeline_without_an_outlet_gets_its_event(context, events):
    stop(context, OTHER)

    (event,) = events[PIPELINES].asset_alias_events
    assert (event.dest_asset_key, event.extra) == (AssetUniqueKey("mine", URI), RESULT)
