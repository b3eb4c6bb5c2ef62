"""
Each call of EnOS, as EnOS documents it: what arrives, and what is made of the answer.

Pages: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_enos.api import calls, flows, looks
from airflow_provider_enos.api.pipeline import LagPoint, OffsetLag, PipelineDetails
from airflow_provider_enos.api.start_settings import StartSettings

ORG = "o15517683199241"
STAGE = {
    "stage_instance_name": "LatePointTagger_01",
    "asset_ids": ["a1", "a2"],
    "point_ids": ["p1"],
}
STAGE_BODY = {"stageInstanceName": "LatePointTagger_01", "assetIds": "a1,a2", "pointIds": "p1"}
CLUSTER = {
    "server": 1,
    "yarn": {"workerCount": 2, "master": 1, "slave": 2},
    "advanced": {"spark.memory.fraction": 0.8, "spark.streaming.backpressure.enabled": True},
}
CLUSTER_BODY = {
    "server": 1,
    "yarn": {"workerCount": 2, "master": 1, "slave": 2},
    "advanced": [
        {"key": "spark.memory.fraction", "value": "0.8"},
        {"key": "spark.streaming.backpressure.enabled", "value": "true"},
    ],
}


def start(org_id, pipeline_id, **given):
    given = {"execution_mode": "standalone", **given}
    return calls.start_pipeline(org_id, StartSettings.parse(pipeline_id=pipeline_id, **given))


@dataclass(frozen=True)
class Write:
    """A call that changes something: what it sends, and what it leads to."""

    call: Callable[[str, str], Any]
    operation: str
    query: dict[str, str]
    body: Any
    status_before: str
    status_after: str
    result: Any = None


WRITES = {
    "start": Write(
        start,
        "start",
        {"action": "start"},
        {"executionMode": 0, "kafkaRate": 1000},
        "PUBLISHED",
        "RUNNING",
    ),
    "start a paused one with all settings": Write(
        lambda org_id, pipeline_id: start(
            org_id,
            pipeline_id,
            execution_mode="cluster",
            kafka_rate="500",
            resource_config=CLUSTER,
        ),
        "start",
        {"action": "start"},
        {"executionMode": 1, "kafkaRate": 500, "resourceConfig": CLUSTER_BODY},
        "PAUSED",
        "RUNNING",
    ),
    "start with a fraction of a CU": Write(
        lambda org_id, pipeline_id: start(org_id, pipeline_id, resource_config=0.5),
        "start",
        {"action": "start"},
        {"executionMode": 0, "kafkaRate": 1000, "resourceConfig": {"server": 0.5}},
        "STOPPED",
        "RUNNING",
    ),
    "stop": Write(calls.stop_pipeline, "stop", {"action": "stop"}, None, "RUNNING", "STOPPED"),
    "stop a paused one": Write(
        calls.stop_pipeline, "stop", {"action": "stop"}, None, "PAUSED", "STOPPED"
    ),
    "pause": Write(calls.pause_pipeline, "pause", {"action": "pause"}, None, "RUNNING", "PAUSED"),
    "release": Write(
        calls.release_pipeline, "release", {"action": "release"}, None, "STOPPED", "PUBLISHED"
    ),
    "reset offset": Write(
        calls.reset_pipeline_offset, "reset_offset", {}, None, "PAUSED", "PAUSED"
    ),
    "delete stage state": Write(
        lambda org_id, pipeline_id: calls.delete_stage_state(org_id, pipeline_id, **STAGE),
        "stage_state_delete",
        {"action": "delete"},
        STAGE_BODY,
        "PAUSED",
        "PAUSED",
        result=True,
    ),
}


@pytest.mark.parametrize("data", ["missing", "empty"])
@pytest.mark.parametrize("case", WRITES.values(), ids=WRITES)
def test_write_arrives_once_as_documented_and_works(emulator, run, pipeline_id, case, data):
    emulator.settings.write_data = data
    emulator.set_status(pipeline_id, case.status_before)

    result = run(flows.ask(case.call(ORG, pipeline_id)))

    [sent] = emulator.requests_for(case.operation)
    assert sent.query == {"orgId": ORG, **case.query}
    by_body = case.operation == "stage_state_delete"
    assert sent.body == ({"pipelineId": pipeline_id, **case.body} if by_body else case.body)
    assert (sent.pipeline_id, sent.code, sent.effective) == (pipeline_id, 0, True)
    assert emulator.status_of(pipeline_id) == case.status_after
    assert result == case.result
    assert [request.operation for request in emulator.requests] == ["token_get", case.operation]


def list_query(page_no, *, is_system="false", if_released="true"):
    return {
        "orgId": ORG,
        "pageSize": "100",
        "pageNo": str(page_no),
        "isSystem": is_system,
        "ifReleased": if_released,
    }


@pytest.mark.parametrize("count_is", ["total", "page"])
@pytest.mark.parametrize(
    ("number", "fewest", "most"),
    [(0, 1, 1), (1, 1, 1), (99, 1, 2), (100, 1, 2), (101, 2, 2), (250, 3, 4)],
)
def test_list_reads_every_page_whatever_count_means(
    emulator, run, connect, number, fewest, most, count_is
):
    """EnOS does not say whether count is the total, so it may take one look more to be sure."""
    emulator.settings.list_count = count_is
    emulator.add_organization("o2", pipelines=number)

    found = run(flows.list_pipelines("o2"))

    assert list(found) == [one.pipeline_id for one in emulator.pipelines("o2")]
    pages = emulator.requests_for("list")
    assert fewest <= len(pages) <= most
    assert [page.query for page in pages] == [
        {**list_query(page_no), "orgId": "o2"} for page_no in range(1, len(pages) + 1)
    ]


def test_list_of_running_pipelines_has_their_status(emulator, run, pipeline_id):
    emulator.set_status(pipeline_id, "RUNNING")

    found = list(run(flows.list_pipelines(ORG)).values())

    assert [one.status for one in found] == ["RUNNING", "PUBLISHED", "PUBLISHED"]
    first = found[0]
    assert (first.pipeline_id, first.name, first.org_id) == (pipeline_id, "pipeline 1", ORG)
    assert (first.version, first.template_type, first.execution_mode) == ("0.1.0", 1, 0)
    assert first.resource_config == {"men": 2.0, "cpu": 1.0}
    assert first.alarm_config == {"alarmMode": 1, "receivers": "u15453595541281"}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            {"is_system": True},
            [
                "Real-Time Data Reader",
                "Real-Time Data Writer",
                "Offline Data Reader",
                "Offline Data Writer",
            ],
        ),
        ({"if_released": False}, ["draft"]),
        ({}, ["pipeline 1", "pipeline 2", "pipeline 3"]),
    ],
    ids=["system", "unreleased", "released"],
)
def test_list_of_each_kind(emulator, run, kind, names):
    emulator.add_pipeline(released=False, name="draft")

    found = run(flows.list_pipelines(ORG, **kind))

    assert [one.name for one in found.values()] == names
    [sent] = emulator.requests_for("list")
    flags = {name: "true" if kind.get(name) else "false" for name in kind}
    assert sent.query == list_query(1, **flags)


def test_system_pipeline_is_found_by_its_id(emulator, run):
    reader = next(iter(run(flows.list_pipelines(ORG, is_system=True))))

    assert run(looks.find_pipeline(ORG, reader)).status == "RUNNING"


@pytest.mark.parametrize(("if_released", "name"), [(False, "new name"), (True, "pipeline 1")])
def test_details_of_design_and_of_what_is_online(emulator, run, pipeline_id, if_released, name):
    run(flows.ask(calls.save_pipeline(ORG, pipeline_id, {"name": "new name"})))

    details = run(flows.ask(calls.get_pipeline_details(ORG, pipeline_id, if_released=if_released)))

    assert details == PipelineDetails(
        pipeline_id=pipeline_id,
        name=name,
        description="",
        version="0.1.0",
        template_type=1,
        template_name={"en_us": "Origin Template", "zh_cn": "Origin Template"},
        message_channel=0,
        pipeline_json={"points": []},
    )
    [sent] = emulator.requests_for("details")
    assert sent.query == {"orgId": ORG, "ifReleased": "true" if if_released else "false"}


def test_save_new_pipeline_returns_its_id(emulator, run):
    design = {"pipelineName": "demo", "templateType": 1, "pipelineJson": {"points": []}}

    new_id = run(flows.ask(calls.save_pipeline(ORG, None, design)))

    [sent] = emulator.requests_for("save")
    assert (sent.pipeline_id, sent.query) == ("null", {"orgId": ORG, "action": "save"})
    assert sent.body == design
    assert emulator.pipeline(new_id).design.name == "demo"


def test_save_existing_pipeline_returns_its_id(emulator, run, pipeline_id):
    saved = run(flows.ask(calls.save_pipeline(ORG, pipeline_id, {"desc": "Zürich 描述"})))

    assert saved == pipeline_id
    assert emulator.pipeline(pipeline_id).design.desc == "Zürich 描述"


def test_offset_and_lag(emulator, run, pipeline_id):
    emulator.set_status(pipeline_id, "RUNNING")
    emulator.set_lag(pipeline_id, 7)

    found = run(flows.ask(calls.get_pipeline_offset_lag(ORG, pipeline_id)))

    first, last = found.points
    assert last == LagPoint(lag=7, offset=6094977, timestamp_ms=last.timestamp_ms)
    assert last.timestamp_ms - first.timestamp_ms == 225_000
    topic = "MEASURE_POINT_INTERNAL_o15517683199241"
    assert found == OffsetLag(pipeline_id, topic, (first, last))
    [sent] = emulator.requests_for("offset_lag")
    assert (sent.query, sent.body) == ({"orgId": ORG}, None)


def test_reset_offset_skips_what_waits(emulator, run, pipeline_id):
    emulator.set_status(pipeline_id, "STOPPED")
    emulator.set_lag(pipeline_id, 7)

    run(flows.ask(calls.reset_pipeline_offset(ORG, pipeline_id)))

    assert (emulator.pipeline(pipeline_id).lag, emulator.pipeline(pipeline_id).offset) == (
        0,
        6094984,
    )


def test_stage_state_is_read_and_after_deletion_gone(emulator, run, pipeline_id):
    emulator.set_status(pipeline_id, "PAUSED")

    items = run(flows.ask(calls.get_stage_state(ORG, pipeline_id, **STAGE)))
    run(flows.ask(calls.delete_stage_state(ORG, pipeline_id, **STAGE)))
    after = run(flows.ask(calls.get_stage_state(ORG, pipeline_id, **STAGE)))

    assert [(item["assetId"], item["pointId"]) for item in items] == [("a1", "p1"), ("a2", "p1")]
    assert after == ()
    sent = emulator.requests_for("stage_state_get")[0]
    assert sent.query == {"orgId": ORG, "action": "get"}
    assert sent.body == {"pipelineId": pipeline_id, **STAGE_BODY}


def test_ids_of_any_letters_are_signed_as_they_are_sent(emulator, run):
    """The signature covers decoded text; a client that signs the encoded one gets 401."""
    emulator.add_organization("Zürich+&=é", pipelines=0)
    emulator.add_pipeline("Zürich+&=é", "pipe;line=é+&")

    found = run(looks.find_pipeline("Zürich+&=é", "pipe;line=é+&"))
    run(flows.ask(start("Zürich+&=é", "pipe;line=é+&")))

    assert found.status == "PUBLISHED"
    assert emulator.status_of("pipe;line=é+&") == "RUNNING"
    assert emulator.requests_for("start")[0].org_id == "Zürich+&=é"


@pytest.mark.parametrize("refusal_status", [200, 400])
def test_refusal_is_read_from_the_body_whatever_the_http_status(emulator, run, refusal_status):
    """EnOS does not document the HTTP status of a refusal."""
    emulator.settings.refusal_status = refusal_status

    with pytest.raises(Exception, match="EnOS code 61108") as refused:
        run(flows.ask(calls.stop_pipeline(ORG, "unknown")))

    assert (type(refused.value).__name__, refused.value.http_status) == (
        "PipelineNotFoundError",
        refusal_status,
    )
