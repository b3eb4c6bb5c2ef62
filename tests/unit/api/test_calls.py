"""What each documented call sends, what it reads, and which arguments never leave the machine."""

import json

import pytest

from airflow_provider_enos.api import calls
from airflow_provider_enos.api.calls import PipelinePage, Token
from airflow_provider_enos.api.errors import EnOSUnreadableAnswerError, InvalidSettingError
from airflow_provider_enos.api.pipeline import (
    LagPoint,
    OffsetLag,
    Pipeline,
    PipelineDetails,
    PipelineStatus,
)
from airflow_provider_enos.api.start_settings import StartSettings

JSON = {"Content-Type": "application/json;charset=UTF-8"}
STAGE = {
    "stage_instance_name": "LatePointTagger_01",
    "asset_ids": ["a1", "a2"],
    "point_ids": ["p1"],
}
START = StartSettings.parse(pipeline_id="p-1", execution_mode=0, resource_config=1)
ROW = {"pipelineId": "p-1", "status": "RUNNING"}
PIPELINE = Pipeline("p-1", PipelineStatus("RUNNING"))


@pytest.mark.parametrize(
    ("call", "method", "target", "body", "purpose", "repeatable"),
    [
        (
            calls.list_pipelines("o1"),
            "GET",
            "/streaming/v2.0/streaming/pipelines"
            "?orgId=o1&pageSize=100&pageNo=1&isSystem=false&ifReleased=true",
            None,
            "list the pipelines of organization o1",
            True,
        ),
        (
            calls.list_pipelines("o1", page_no=3, page_size=7, is_system=True, if_released=False),
            "GET",
            "/streaming/v2.0/streaming/pipelines"
            "?orgId=o1&pageSize=7&pageNo=3&isSystem=true&ifReleased=false",
            None,
            "list the pipelines of organization o1",
            True,
        ),
        (
            calls.get_pipeline_details("o1", "p-1"),
            "GET",
            "/streaming/v2.0/streaming/pipeline/p-1?orgId=o1&ifReleased=false",
            None,
            "read the details of pipeline p-1 of organization o1",
            True,
        ),
        (
            calls.get_pipeline_details("o1", "p-1", if_released=True),
            "GET",
            "/streaming/v2.0/streaming/pipeline/p-1?orgId=o1&ifReleased=true",
            None,
            "read the details of pipeline p-1 of organization o1",
            True,
        ),
        (
            calls.get_pipeline_offset_lag("o1", "p-1"),
            "GET",
            "/streaming/v2.0/streaming/pipeline/p-1/offset-lag?orgId=o1",
            None,
            "read the lag of pipeline p-1 of organization o1",
            True,
        ),
        (
            calls.start_pipeline("o1", START),
            "POST",
            "/streaming/v2.0/streaming/pipeline/p-1?action=start&orgId=o1",
            {"executionMode": 0, "kafkaRate": 1000, "resourceConfig": {"server": 1}},
            "start pipeline p-1 of organization o1",
            False,
        ),
        (
            calls.stop_pipeline("o1", "p-1"),
            "POST",
            "/streaming/v2.0/streaming/pipeline/p-1?action=stop&orgId=o1",
            None,
            "stop pipeline p-1 of organization o1",
            False,
        ),
        (
            calls.pause_pipeline("o1", "p-1"),
            "POST",
            "/streaming/v2.0/streaming/pipeline/p-1?action=pause&orgId=o1",
            None,
            "pause pipeline p-1 of organization o1",
            False,
        ),
        (
            calls.release_pipeline("o1", "p-1"),
            "POST",
            "/streaming/v2.0/streaming/pipeline/p-1?action=release&orgId=o1",
            None,
            "release pipeline p-1 of organization o1",
            False,
        ),
        (
            calls.save_pipeline("o1", "p-1", {"name": "演示"}),
            "POST",
            "/streaming/v2.0/streaming/pipeline/p-1?action=save&orgId=o1",
            {"name": "演示"},
            "save pipeline p-1 of organization o1",
            False,
        ),
        (
            calls.save_pipeline("o1", None, {}),
            "POST",
            "/streaming/v2.0/streaming/pipeline/null?action=save&orgId=o1",
            {},
            "save a new pipeline of organization o1",
            False,
        ),
        (
            calls.reset_pipeline_offset("o1", "p-1"),
            "POST",
            "/streaming/v2.0/streaming/pipeline/p-1/offset?orgId=o1",
            None,
            "reset the offset of pipeline p-1 of organization o1",
            False,
        ),
        (
            calls.get_stage_state("o1", "p-1", **STAGE),
            "POST",
            "/streaming/v2.0/stage-state?action=get&orgId=o1",
            {
                "pipelineId": "p-1",
                "stageInstanceName": "LatePointTagger_01",
                "assetIds": "a1,a2",
                "pointIds": "p1",
            },
            "get the stage state of pipeline p-1 of organization o1",
            True,
        ),
        (
            calls.delete_stage_state("o1", "p-1", **STAGE),
            "POST",
            "/streaming/v2.0/stage-state?action=delete&orgId=o1",
            {
                "pipelineId": "p-1",
                "stageInstanceName": "LatePointTagger_01",
                "assetIds": "a1,a2",
                "pointIds": "p1",
            },
            "delete the stage state of pipeline p-1 of organization o1",
            False,
        ),
    ],
    ids=lambda value: value.request.purpose if isinstance(value, calls.Call) else None,
)
def test_request_of_each_call(call, method, target, body, purpose, repeatable):
    request = call.request

    assert (request.method, request.target, request.purpose) == (method, target, purpose)
    assert request.repeatable is repeatable
    assert request.signed
    if body is None:
        assert (request.body, request.headers) == (b"", {})
    else:
        assert (json.loads(request.body), request.headers) == (body, JSON)


def test_token_request_is_not_signed(settings):
    request = calls.get_token(settings, 1).request

    assert (request.method, request.signed, request.query) == ("POST", False, ())
    assert request.headers == JSON


@pytest.mark.parametrize(
    "data",
    [
        {"count": 1, "pipelines": [ROW]},
        {"count": "1", "pipelines": [ROW]},
        [{"count": 1, "pipelines": [ROW]}],
        {"count": 1, "pipelines": [ROW, "no row", None]},
        {"count": 1, "pipelines": [{**ROW, "mood": "new"}], "page": 1},
    ],
)
def test_listing_in_every_documented_shape(data):
    assert calls.list_pipelines("o1").read(data) == PipelinePage((PIPELINE,), 1)


@pytest.mark.parametrize(
    ("data", "page"),
    [
        ([ROW], PipelinePage((PIPELINE,), None)),
        ([], PipelinePage((), None)),
        ({}, PipelinePage((), None)),
        ({"count": 0, "pipelines": None}, PipelinePage((), 0)),
        ({"count": "many", "pipelines": []}, PipelinePage((), None)),
    ],
)
def test_listing_without_count_or_rows(data, page):
    assert calls.list_pipelines("o1").read(data) == page


@pytest.mark.parametrize(
    "data", [None, "", "x", 5, {"pipelines": {}}, {"pipelines": "x"}, [{"pipelines": []}] * 2]
)
def test_listing_that_is_none_is_not_taken_for_an_empty_one(data):
    with pytest.raises(EnOSUnreadableAnswerError):
        calls.list_pipelines("o1").read(data)


@pytest.mark.parametrize("stray", [None, 5, True])
def test_bare_list_with_a_stray_element_is_read(stray):
    assert calls.list_pipelines("o1").read([stray, ROW]) == PipelinePage((PIPELINE,), None)


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: [data]])
def test_details_as_object_or_list_of_one(wrap):
    data = wrap({"pipelineId": "p-1", "version": "0.1.0"})

    details = calls.get_pipeline_details("o1", "p-1").read(data)

    assert details == PipelineDetails("p-1", version="0.1.0")


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: [data]])
def test_lag_as_object_or_list_of_one(wrap):
    data = wrap({"pipelineId": "p-1", "topicName": "t", "lagAndOffset": [{"lag": 1}]})

    lag = calls.get_pipeline_offset_lag("o1", "p-1").read(data)

    assert lag == OffsetLag("p-1", "t", (LagPoint(1, None, None),))


@pytest.mark.parametrize("data", [None, "", [], [{}, {}], "x", 5])
@pytest.mark.parametrize("call", [calls.get_pipeline_details, calls.get_pipeline_offset_lag])
def test_missing_data_is_an_error_that_names_the_call(call, data):
    with pytest.raises(EnOSUnreadableAnswerError, match="of pipeline p-1 of organization o1"):
        call("o1", "p-1").read(data)


@pytest.mark.parametrize(
    "call",
    [
        calls.start_pipeline("o1", START),
        calls.stop_pipeline("o1", "p-1"),
        calls.pause_pipeline("o1", "p-1"),
        calls.release_pipeline("o1", "p-1"),
        calls.reset_pipeline_offset("o1", "p-1"),
    ],
    ids=lambda value: value.request.purpose if isinstance(value, calls.Call) else None,
)
def test_writes_succeed_whatever_data_says(call):
    for data in (None, "", {}, "whatever", 1):
        assert call.read(data) is None


@pytest.mark.parametrize(
    ("given", "data", "found"),
    [
        ("p-1", "p-1", "p-1"),
        (None, " p-2 ", "p-2"),
        (None, {"pipelineId": "p-2"}, "p-2"),
        ("p-1", "", "p-1"),
        ("p-1", None, "p-1"),
        ("p-1", {}, "p-1"),
    ],
)
def test_save_returns_the_id(given, data, found):
    assert calls.save_pipeline("o1", given, {}).read(data) == found


@pytest.mark.parametrize("data", [None, "", {}])
def test_new_pipeline_without_an_id_is_no_success(data):
    with pytest.raises(EnOSUnreadableAnswerError):
        calls.save_pipeline("o1", None, {}).read(data)


@pytest.mark.parametrize(
    ("data", "items"),
    [
        ({"items": [{"time": 1}, "x"]}, ({"time": 1},)),
        ([{"time": 1}], ({"time": 1},)),
        ({"items": None}, ()),
        ({}, ()),
        (None, ()),
    ],
)
def test_stage_state_items(data, items):
    assert calls.get_stage_state("o1", "p-1", **STAGE).read(data) == items


@pytest.mark.parametrize("data", [{"items": {}}, "x", 5])
def test_stage_state_that_is_no_list(data):
    with pytest.raises(EnOSUnreadableAnswerError, match="'items' is not a list"):
        calls.get_stage_state("o1", "p-1", **STAGE).read(data)


@pytest.mark.parametrize(
    ("data", "deleted"), [(True, True), (False, False), ("false", False), (None, True), ("", True)]
)
def test_deleted_stage_state(data, deleted):
    assert calls.delete_stage_state("o1", "p-1", **STAGE).read(data) is deleted


@pytest.mark.parametrize(
    ("data", "token"),
    [
        ({"accessToken": "T1", "expire": 7200}, Token("T1", 7200.0)),
        ({"accessToken": "T1", "expire": "60"}, Token("T1", 60.0)),
        ([{"accessToken": "T1", "expire": 0}], Token("T1", 0.0)),
        ({"accessToken": "T1"}, Token("T1", 0.0)),
    ],
)
def test_token_is_read(data, token, settings):
    assert calls.get_token(settings, 1).read(data) == token


@pytest.mark.parametrize(
    "value", [None, "", 5, "a\r\nX-Evil: 1", "tök", "\x7f", ["T1"]], ids=lambda value: repr(value)
)
def test_token_that_cannot_be_a_header_is_refused_and_not_repeated(value, settings):
    with pytest.raises(EnOSUnreadableAnswerError) as caught:
        calls.get_token(settings, 1).read({"accessToken": value, "expire": 7200})

    assert str(caught.value).startswith("Cannot get an access token: no access token in the answer")
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    ["", "..", "a/b", "a?b", "a#b", "a%2e", "a\r\nb", "\x00", "\u202e", "x" * 10_000, None, 7.5],
    ids=lambda value: repr(value)[:12],
)
def test_wrong_id_never_becomes_an_address(bad):
    of_pipeline = [
        calls.get_pipeline_details,
        calls.get_pipeline_offset_lag,
        calls.stop_pipeline,
        calls.pause_pipeline,
        calls.release_pipeline,
        calls.reset_pipeline_offset,
        lambda org_id, pipeline_id: calls.get_stage_state(org_id, pipeline_id, **STAGE),
        lambda org_id, pipeline_id: calls.delete_stage_state(org_id, pipeline_id, **STAGE),
        lambda org_id, pipeline_id: calls.save_pipeline(org_id, pipeline_id or "", {}),
    ]
    of_organization = [
        calls.list_pipelines,
        lambda org_id: calls.start_pipeline(org_id, START),
        *(lambda org_id, call=call: call(org_id, "p-1") for call in of_pipeline),
    ]

    for call in of_pipeline:
        with pytest.raises(InvalidSettingError, match=r"^pipeline_id: got .*, allowed is the ID"):
            call("o1", bad)
    for call in of_organization:
        with pytest.raises(InvalidSettingError, match=r"^org_id: got .*, allowed is the ID"):
            call(bad)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda: calls.list_pipelines("o1", page_no=0),
            "page_no: got 0, allowed is a number from 1 on.",
        ),
        (
            lambda: calls.list_pipelines("o1", page_size=-1),
            "page_size: got -1, allowed is a number from 1 on.",
        ),
        (
            lambda: calls.save_pipeline("o1", "p-1", "name"),
            "configuration: got 'name', allowed is an object.",
        ),
        (
            lambda: calls.get_stage_state("o1", "p-1", **{**STAGE, "stage_instance_name": " "}),
            "stage_instance_name: got ' ', allowed is the stage's name, e.g. LatePointTagger_01.",
        ),
        (
            lambda: calls.get_stage_state("o1", "p-1", **{**STAGE, "asset_ids": "a1,a2"}),
            "asset_ids: got 'a1,a2', allowed is a list of at least one ID, none with a comma.",
        ),
        (
            lambda: calls.get_stage_state("o1", "p-1", **{**STAGE, "point_ids": []}),
            "point_ids: got [], allowed is a list of at least one ID, none with a comma.",
        ),
        (
            lambda: calls.get_stage_state("o1", "p-1", **{**STAGE, "point_ids": ["a,b"]}),
            "point_ids: got ['a,b'], allowed is a list of at least one ID, none with a comma.",
        ),
        (
            lambda: calls.get_stage_state("o1", "p-1", **{**STAGE, "point_ids": [" "]}),
            "point_ids: got [' '], allowed is a list of at least one ID, none with a comma.",
        ),
        (
            lambda: calls.get_stage_state(
                "o1", "p-1", stage_instance_name="s", asset_ids=["a"] * 317, point_ids=["p"] * 316
            ),
            "point_ids: got '316 points', allowed is at most 100000 assets x points in one call.",
        ),
    ],
)
def test_wrong_argument_names_field_given_and_allowed(build, text):
    with pytest.raises(InvalidSettingError) as caught:
        build()

    assert str(caught.value) == text


def test_stage_state_of_exactly_the_limit_is_sent():
    call = calls.get_stage_state(
        "o1", "p-1", stage_instance_name="s", asset_ids=["a"] * 1000, point_ids=["p"] * 100
    )

    assert len(json.loads(call.request.body)["assetIds"]) == 1999


def test_token_is_not_shown():
    assert "T0ken" not in repr(Token("T0ken", 7200.0))


def test_secret_key_is_in_no_request(settings):
    for call in (calls.get_token(settings, 1), calls.refresh_token(settings, 1, "T0ken")):
        assert b"s3cret-key" not in call.request.body
        assert "s3cret-key" not in repr(call.request)


def test_token_that_is_refreshed_is_not_shown(settings):
    assert "T0ken" not in repr(calls.refresh_token(settings, 1, "T0ken").request)


@pytest.mark.parametrize(
    ("call", "operation"),
    [
        (calls.list_pipelines("o1"), "list_pipelines"),
        (calls.get_pipeline_details("o1", "p-1"), "get_pipeline_details"),
        (calls.get_pipeline_offset_lag("o1", "p-1"), "get_pipeline_offset_lag"),
        (calls.start_pipeline("o1", START), "start_pipeline"),
        (calls.stop_pipeline("o1", "p-1"), "stop_pipeline"),
        (calls.pause_pipeline("o1", "p-1"), "pause_pipeline"),
        (calls.release_pipeline("o1", "p-1"), "release_pipeline"),
        (calls.save_pipeline("o1", "p-1", {}), "save_pipeline"),
        (calls.reset_pipeline_offset("o1", "p-1"), "reset_pipeline_offset"),
        (calls.get_stage_state("o1", "p-1", **STAGE), "get_stage_state"),
        (calls.delete_stage_state("o1", "p-1", **STAGE), "delete_stage_state"),
    ],
)
def test_metrics_call_each_call_by_its_name(call, operation):
    assert call.request.operation == operation


def test_metrics_call_the_token_calls_by_their_names(settings):
    assert calls.get_token(settings, 1).request.operation == "get_token"
    assert calls.refresh_token(settings, 1, "t").request.operation == "refresh_token"
