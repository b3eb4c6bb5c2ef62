"""Pipelines read from whatever EnOS may send."""

import pickle

import pytest

from airflow_provider_enos.api.pipeline import (
    LagPoint,
    OffsetLag,
    Pipeline,
    PipelineDetails,
    PipelineStatus,
    as_int,
)


@pytest.mark.parametrize(
    ("text", "running", "failed", "in_transition"),
    [
        ("RUNNING", True, False, False),
        ("running", True, False, False),
        (" Running\n", True, False, False),
        ("PUBLISHED", False, False, False),
        ("PAUSED", False, False, False),
        ("STOPPED", False, False, False),
        ("STARTING", False, False, True),
        ("STOPPING", False, False, True),
        ("RETRY", False, False, True),
        ("UNKNOWN", False, False, True),
        ("START_ERROR", False, True, False),
        ("run_error", False, True, False),
        ("FAILED", False, True, False),
        ("Start_Failure", False, True, False),
    ],
)
def test_what_a_status_means(text, running, failed, in_transition):
    status = PipelineStatus(text)

    found = (status.is_running, status.has_failed, status.is_in_transition)

    assert found == (running, failed, in_transition)


def test_status_is_plain_text_for_everybody_else():
    status = pickle.loads(pickle.dumps(PipelineStatus("running")))

    assert status == "RUNNING"
    assert {status: 1}["RUNNING"] == 1
    assert status.is_running


def test_pipeline_as_documented():
    row = {
        "orgId": "o1",
        "status": "RUNNING",
        "version": "0.1.0",
        "pipelineId": "p-1",
        "pipelineName": "demo",
        "updateTime": "2021-03-26 11:50:48",
        "alarmConfig": '{"alarmMode":1,"receivers":"u1"}',
        "templateType": 0,
        "executionMode": 1,
        "resourceConfig": '{"men":2.0,"cpu":1.0}',
        "messageChannel": 0,
    }

    assert Pipeline.read(row) == Pipeline(
        pipeline_id="p-1",
        status=PipelineStatus("RUNNING"),
        name="demo",
        org_id="o1",
        version="0.1.0",
        update_time="2021-03-26 11:50:48",
        template_type=0,
        execution_mode=1,
        message_channel=0,
        resource_config={"men": 2.0, "cpu": 1.0},
        alarm_config={"alarmMode": 1, "receivers": "u1"},
    )


@pytest.mark.parametrize("status", [{}, {"status": None}, {"status": ""}])
def test_pipeline_without_a_status_is_in_transition_not_running(status):
    pipeline = Pipeline.read({"pipelineId": "p-1", **status})

    assert pipeline == Pipeline("p-1", PipelineStatus("UNKNOWN"))
    assert pipeline.status.is_in_transition


def test_status_that_would_forge_a_log_is_cut_and_escaped():
    """What a gateway says is logged, stored and shown."""
    pipeline = Pipeline.read({"status": "starting\n2026 INFO all is well\x1b[31m" + 1000 * "x"})

    assert pipeline.status.isprintable()
    assert pipeline.status.startswith(r"STARTING\N2026 INFO")
    assert len(pipeline.status) < 120


def test_empty_row_is_read():
    assert Pipeline.read({}) == Pipeline("", PipelineStatus("UNKNOWN"))


def test_row_with_other_types_and_unknown_fields_is_read():
    row = {
        "pipelineId": 17,
        "status": "paused",
        "name": "by its other name",
        "version": 2,
        "templateType": "3",
        "executionMode": "1",
        "messageChannel": "real-time",
        "resourceConfig": {"server": 1},
        "alarmConfig": "not JSON",
        "mood": "new in a later version",
    }

    assert Pipeline.read(row) == Pipeline(
        pipeline_id="17",
        status=PipelineStatus("PAUSED"),
        name="by its other name",
        version="2",
        template_type=3,
        execution_mode=1,
        resource_config={"server": 1},
    )


@pytest.mark.parametrize("text", ["", "[1]", "1", "null", "{", "[" * 100_000, 5, None, [1]])
def test_inner_json_that_is_no_object_is_left_out(text):
    assert Pipeline.read({"pipelineId": "p-1", "resourceConfig": text}).resource_config is None


def test_details_as_the_sample_shows_them():
    data = {
        "pipelineId": "p-1",
        "pipelineName": "demo",
        "desc": "",
        "version": "0.1.0",
        "templateType": 2,
        "templateName": {"en_us": "Merging", "zh_cn": "合并"},
        "messageChannel": "0",
        "pipelineJson": {"points": []},
    }

    assert PipelineDetails.read(data) == PipelineDetails(
        pipeline_id="p-1",
        name="demo",
        description="",
        version="0.1.0",
        template_type=2,
        template_name={"en_us": "Merging", "zh_cn": "合并"},
        message_channel=0,
        pipeline_json={"points": []},
    )


def test_details_as_the_table_says():
    data = {
        "name": "demo",
        "templateName": "Merging",
        "messageChannel": 1,
        "pipelineJson": '{"a":1}',
    }

    assert PipelineDetails.read(data) == PipelineDetails(
        pipeline_id="",
        name="demo",
        template_name="Merging",
        message_channel=1,
        pipeline_json={"a": 1},
    )


@pytest.mark.parametrize(
    ("found", "points"),
    [
        ([{"lag": 0, "offset": 7, "ts": 9}], (LagPoint(0, 7, 9),)),
        ({"lag": "0", "offset": "7", "ts": 9}, (LagPoint(0, 7, 9),)),
        (
            [{"lag": 1, "offset": 2, "ts": 3}, "no point", {"lag": None}],
            (LagPoint(1, 2, 3), LagPoint(None, None, None)),
        ),
        ([], ()),
        (None, ()),
        ("none", ()),
    ],
)
def test_offset_and_lag_as_list_or_object_numbers_or_texts(found, points):
    data = {"pipelineId": "p-1", "topicName": "MEASURE_o1", "lagAndOffset": found}

    assert OffsetLag.read(data) == OffsetLag("p-1", "MEASURE_o1", points)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (61108, 61108),
        ("61108", 61108),
        (" -1 ", -1),
        (None, None),
        (True, None),
        ("", None),
        ("1.5", None),
        (float("inf"), None),
        ("9" * 10_000, None),
        ([], None),
    ],
)
def test_as_int(value, number):
    assert as_int(value) == number


@pytest.mark.parametrize("value", [7200.0, "7200.0"])
def test_whole_number_with_a_point_is_still_a_number(value):
    assert as_int(value) == 7200
