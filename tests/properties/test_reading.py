"""Whatever comes in, from EnOS or from people: a value, or an error of ours that says why."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_enos.api import calls, flows
from airflow_provider_enos.api.errors import EnOSError, InvalidSettingError
from airflow_provider_enos.api.messages import Answer, retry_after_seconds, token_was_rejected
from airflow_provider_enos.api.pacing import Pacing
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.api.start_settings import StartSettings, parse_id
from airflow_provider_enos.api.start_values import StartResult

NOW = 1_790_000_000.0
SETTINGS = EnOSSettings("https://enos.invalid", "access", "the-secret-key")
STAGE = {"stage_instance_name": "s", "asset_ids": ["a"], "point_ids": ["p"]}
CALLS = [
    calls.list_pipelines("o1"),
    calls.get_pipeline_details("o1", "p-1"),
    calls.get_pipeline_offset_lag("o1", "p-1"),
    calls.start_pipeline("o1", StartSettings.parse(pipeline_id="p-1", execution_mode=0)),
    calls.stop_pipeline("o1", "p-1"),
    calls.pause_pipeline("o1", "p-1"),
    calls.release_pipeline("o1", "p-1"),
    calls.save_pipeline("o1", None, {}),
    calls.save_pipeline("o1", "p-1", {}),
    calls.reset_pipeline_offset("o1", "p-1"),
    calls.get_stage_state("o1", "p-1", **STAGE),
    calls.delete_stage_state("o1", "p-1", **STAGE),
    calls.get_token(SETTINGS, 1),
    calls.refresh_token(SETTINGS, 1, "token"),
]

NUMBERS = st.integers() | st.floats()
LEAVES = st.none() | st.booleans() | NUMBERS | st.text()
#: Names that a reader looks for are met more often than by chance.
KNOWN = [
    "code",
    "status",
    "stauts",
    "apim_status",
    "msg",
    "message",
    "data",
    "requestId",
    "pipelines",
    "pipelineId",
    "pipelineName",
    "count",
    "executionMode",
    "kafkaRate",
    "resourceConfig",
    "server",
    "yarn",
    "advanced",
    "alarmConfig",
    "templateName",
    "pipelineJson",
    "lagAndOffset",
    "timestamp",
    "lag",
    "offset",
    "items",
    "accessToken",
    "expire",
    "error",
    "during",
    "outcome",
    "attempts",
]
NAMES = st.sampled_from(KNOWN) | st.text(max_size=5)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
ENVELOPES = st.fixed_dictionaries({"code": st.just(0), "data": JSON}) | st.fixed_dictionaries(
    {"status": st.just(0), "data": JSON}
)
BODIES = (JSON | ENVELOPES).map(lambda it: json.dumps(it).encode()) | st.binary()
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "location"]) | st.text(max_size=5), st.text()
)
ANSWERS = st.builds(
    Answer, st.sampled_from([200] * 5 + [204, 302, 400, 401, 404, 429, 503]), BODIES, HEADERS
)


def outcome(read, *given, **named):
    """Return what a function returns and the error of ours that it raises; any other is a bug."""
    try:
        return read(*given, **named), None
    except EnOSError as raised:
        error = raised
    assert str(error).isprintable()
    assert len(str(error)) < 2000
    return None, error


def answered(call, answer):
    flow = flows.once(call)
    next(flow)
    try:
        flow.send(answer)
    except StopIteration as done:
        return done.value
    raise AssertionError("one answer is enough")


@given(st.sampled_from(CALLS), ANSWERS)
def test_answer_is_read_or_is_an_error_of_ours(call, answer):
    _, error = outcome(answered, call, answer)

    if error:
        assert str(error).startswith(f"Cannot {call.request.purpose}: ")
        assert str(EnOSError.from_payload(error.to_payload())) == str(error)
        json.dumps(error.to_payload(), allow_nan=False)
    assert token_was_rejected(answer) in (True, False)
    pause = retry_after_seconds(answer)
    assert pause is None or 0 <= pause <= 3600


@given(JSON | st.just("p-1"), JSON | st.just(0), JSON | st.just(9), JSON)
def test_start_is_refused_with_the_argument_or_can_be_sent(pipeline, mode, rate, resources):
    arguments = {
        "pipeline_id": pipeline,
        "execution_mode": mode,
        "kafka_rate": rate,
        "resource_config": resources,
    }

    settings, error = outcome(StartSettings.parse, **arguments)

    if error:
        assert isinstance(error, InvalidSettingError)
        assert str(error).startswith(tuple(arguments))
    else:
        sent = json.loads(calls.start_pipeline("o1", settings).request.body)
        assert sent["executionMode"] in (0, 1)
        assert sent["kafkaRate"] > 0


@given(st.text() | JSON)
def test_id_is_refused_or_stays_one_segment_of_the_path(text):
    pipeline_id, error = outcome(parse_id, text, "pipeline_id")

    if error:
        assert str(error).startswith("pipeline_id: ")
        return
    target = calls.stop_pipeline("o1", pipeline_id).request.target
    path, _, query = target.partition("?")
    assert path.startswith("/streaming/v2.0/streaming/pipeline/")
    assert path.count("/") == 5
    assert path.rpartition("/")[2] not in ("", ".", "..")
    assert query == "action=stop&orgId=o1"
    assert target.isascii()
    assert not set(target) & set(" \r\n\0#\\")


@given(
    st.none() | st.text() | st.sampled_from(["https://h", "h:80", "http://u:p@h", "[::1]"]),
    st.none() | st.integers(),
    st.none() | st.text(),
    st.none() | st.text(),
    st.dictionaries(
        st.sampled_from(["org_id", "console_url", "verify", "proxy", "request_timeout_seconds"]),
        JSON,
    ),
)
def test_connection_is_refused_with_the_field_or_usable(host, port, login, password, extra):
    secret = f"{password}-7d1c-secret" if password else password

    settings, error = outcome(
        EnOSSettings.from_connection,
        "c",
        host=host,
        port=port,
        login=login,
        password=secret,
        extra=extra,
    )

    if error:
        assert str(error).startswith("Airflow connection 'c', ")
        assert "7d1c-secret" not in str(error)
    else:
        assert settings.gateway_url.startswith(("http://", "https://"))
        assert "7d1c-secret" not in repr(settings)
        assert 0 < settings.request_timeout_seconds <= 600


@given(JSON)
def test_what_was_learned_elsewhere_is_read_or_left(value):
    """A lock file may be of another version."""
    pacing = Pacing.from_payload(value)

    pacing.resume(NOW)
    assert pacing.ask_at < NOW + 3700
    json.dumps(pacing.to_payload(), allow_nan=False)


@given(st.dictionaries(NAMES, JSON))
def test_event_of_another_version_is_read_or_refused(payload):
    assert isinstance(EnOSError.from_payload(payload), EnOSError)
    with contextlib.suppress(KeyError, ValueError, TypeError):
        StartResult.from_payload(payload)
