"""The events of assets, with what Airflow itself hands to a task."""

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    AssetResult,
    ErrorResponse,
    GetAssetByName,
    GetAssetByUri,
)
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_enos.assets import PIPELINES, create_asset
from airflow_provider_enos.operators.streaming import StopPipelineOperator

OWN = create_asset(host="127.0.0.1:9", org_id="o1", pipeline_id="p-1")
OTHER = create_asset(host="127.0.0.1:9", org_id="o1", pipeline_id="p-2")
FOREIGN = [Asset("s3://bucket/key"), Asset.ref(uri="s3://bucket/key"), AssetAlias("mine")]
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

    def __init__(self):
        self.not_found = []

    def send(self, message):
        match message:
            case GetAssetByName(name="mine") | GetAssetByUri(uri=OWN.uri):
                return AssetResult(name="mine", uri=OWN.uri, group="asset")
            case GetAssetByName() | GetAssetByUri():
                self.not_found.append(message)
                return ErrorResponse(error="ASSET_NOT_FOUND")
        return None


@pytest.fixture
def supervisor(monkeypatch):
    found = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    return found


@pytest.fixture
def events(context, supervisor):
    context["outlet_events"] = OutletEventAccessors()
    return context["outlet_events"]


def stopped(context, *outlets, outcome="stopped", pipeline_id="p-1"):
    """The task when it has ended: Airflow emits an event of each of its outlets."""
    task = StopPipelineOperator(task_id="stop", pipeline_id=pipeline_id, outlets=list(outlets))
    result = {**RESULT, "pipeline_id": pipeline_id, "outcome": outcome}
    task.execute_complete(context, {"status": "success", "result": result})
    return task


def test_every_change_is_an_event_of_the_asset_of_all_pipelines(context, events, supervisor):
    task = stopped(context)

    assert task.outlets == [PIPELINES]
    assert events[PIPELINES].extra == RESULT
    # Airflow would log an error.
    assert supervisor.not_found == []


@pytest.mark.parametrize(
    "outlet",
    [
        OWN,
        Asset("mine", uri=OWN.uri),
        Asset(uri="ENOS://127.0.0.1:9/o1/%70-1"),
        Asset.ref(name="mine"),
        Asset.ref(uri=OWN.uri),
    ],
    ids=["own", "other name", "other spelling", "name", "uri"],
)
def test_pipelines_own_asset_has_an_event_if_it_is_an_outlet(context, events, outlet):
    task = stopped(context, OTHER, outlet, *FOREIGN)

    assert task.outlets == [outlet, *FOREIGN, PIPELINES]
    assert events[outlet].extra == events[PIPELINES].extra == RESULT


def test_task_that_changed_nothing_has_events_of_foreign_assets_only(context, events):
    task = stopped(context, OWN, *FOREIGN, outcome="already_stopped")

    assert task.outlets == FOREIGN
    assert len(events) == 0


def test_outlet_that_airflow_does_not_know_costs_no_other_event(context, events):
    unknown = Asset.ref(name="unknown")

    task = stopped(context, unknown)

    assert task.outlets == [unknown, PIPELINES]
    assert events[PIPELINES].extra == RESULT


def test_id_that_has_to_be_encoded_has_its_event(context, events):
    own = create_asset(host="127.0.0.1:9", org_id="o1", pipeline_id="管道-1")

    task = stopped(context, own, pipeline_id="管道-1")

    assert task.outlets == [own, PIPELINES]
    assert events[own].extra["pipeline_id"] == "管道-1"


def test_pipeline_that_can_have_no_asset_has_its_event(context, events):
    pipeline_id = "管" * 200

    task = stopped(context, pipeline_id=pipeline_id)

    assert task.outlets == [PIPELINES]
    assert events[PIPELINES].extra["pipeline_id"] == pipeline_id
