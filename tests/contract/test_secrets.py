"""Nothing secret is ever said, not even at DEBUG, nor when the gateway repeats what it was sent."""

import contextlib
import json
import logging
import traceback

import pytest
import structlog

from airflow_provider_enos.api import calls, errors, flows
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.emulator import faults as f
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.triggers.streaming import PipelineStatusTrigger, StartPipelineTrigger
from tests.contract.network.conftest import answer, gateway, serve  # noqa: F401 - fixtures
from tests.contract.troubles import TROUBLES

ORG = "o15517683199241"


@pytest.fixture
def said(caplog):
    """All that was logged, through either way that Airflow logs."""
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as entries:
        yield lambda: caplog.text + "\n".join(map(repr, entries))


def tokens(emulator):
    """All tokens that the emulator has given."""
    return list(emulator._gate._tokens)


def told(error):
    """All that an error can show: its text, notes, arguments, causes and frames."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=False)
    payload = json.dumps(error.to_payload()) if isinstance(error, errors.EnOSError) else ""
    return "".join(shown.format()) + repr(error) + payload


@pytest.mark.parametrize("operation", ["token_get", "list", "start"])
def test_nothing_secret_is_said_in_any_trouble(
    emulator, run, connect, pipeline_id, said, operation
):
    connect(emulator.connection, extra={"request_timeout_seconds": 1})
    start = StartSettings.parse(pipeline_id=pipeline_id, execution_mode=0)
    texts = []
    for trouble in TROUBLES.values():
        emulator.revoke_tokens()
        emulator.set_status(pipeline_id, "PUBLISHED")
        emulator.faults.append(trouble.on(operation))
        for call in (calls.list_pipelines(ORG), calls.start_pipeline(ORG, start)):
            try:
                run(flows.once(call))
            except errors.EnOSError as error:
                texts.append(told(error))
        emulator.faults.clear()

    text = "\n".join([said(), *texts])
    assert len(texts) > len(TROUBLES) / 2
    assert "Cannot " in text
    for secret in (emulator.secret_key, *tokens(emulator)):
        assert secret not in text
    assert len(tokens(emulator)) > 2


def test_gateway_that_repeats_what_it_was_sent_is_not_quoted(run, emulator, connect, gateway, said):  # noqa: F811
    seen = []

    def repeat(connection):
        headers = seen[-1].headers
        text = f"{headers['apim-accesstoken']} {headers['apim-signature']} said you"
        body = json.dumps({"code": 61100, "msg": text}).encode()
        connection.sendall(answer(body, headers=f"Location: /{headers['apim-signature']}\r\n"))

    seen = gateway(repeat)

    with pytest.raises(errors.InvalidPipelineConfigError) as raised:
        run(flows.once(calls.stop_pipeline(ORG, "p-1")))

    text = told(raised.value) + said()
    assert 'EnOS answered "*** *** said you"' in text
    assert seen[-1].headers["apim-accesstoken"] not in text
    assert seen[-1].headers["apim-signature"] not in text


def escaped(token):
    text = "".join(f"\\u{ord(c):04x}" for c in token)
    return answer(f'{{"code": 61100, "msg": "bad token {text}"}}'.encode())


def no_http(token):
    return f"{token}\r\n\r\n".encode()


def huge(token):
    return answer(token.encode() + 11_000_000 * b"x")


@pytest.mark.parametrize("form", [escaped, no_http, huge])
def test_token_is_not_shown_however_the_gateway_repeats_it(run, emulator, gateway, said, form):  # noqa: F811
    seen = []

    def repeat(connection):
        with contextlib.suppress(OSError):  # the client may leave before all is said
            connection.sendall(form(seen[-1].headers["apim-accesstoken"]))

    seen = gateway(repeat)

    with contextlib.suppress(errors.EnOSError):
        run(flows.once(calls.stop_pipeline(ORG, "p-1")))
    with pytest.raises(errors.EnOSError) as raised:
        run(flows.ask(calls.stop_pipeline(ORG, "p-1"), flows.AT_ONCE))

    text = told(raised.value) + said()
    assert seen[-1].headers["apim-accesstoken"] not in text


def test_repr_of_what_a_debugger_shows_has_no_secret(emulator, run):
    hook = EnOSStreamingHook()
    run(flows.list_pipelines(ORG))
    hook.list_pipelines()
    start = StartPipelineTrigger(
        pipeline_id="p-1",
        execution_mode=0,
        kafka_rate=1000,
        resource_config=None,
        org_id=None,
        enos_conn_id="enos_default",
        wait_for_running=True,
        conflict_timeout_seconds=60,
        start_timeout_seconds=60,
        poll_interval_seconds=30,
    )
    watch = PipelineStatusTrigger(
        pipeline_id="p-1",
        target_statuses=["RUNNING"],
        org_id=None,
        enos_conn_id="enos_default",
        failed_statuses=None,
        poll_interval_seconds=5,
        deadline=1,
    )

    shown = [hook, hook.settings, hook._io, hook._io._network, hook.start_queue, start, watch]
    text = "".join(map(repr, shown)) + repr(start.serialize()) + repr(watch.serialize())
    text += repr(calls.get_token(hook.settings, 1).request)

    for secret in (emulator.secret_key, *tokens(emulator)):
        assert secret not in text


def test_this_test_finds_a_secret_that_is_said(emulator, said):
    logging.getLogger("somebody").debug("key %s", emulator.secret_key)

    assert emulator.secret_key in said()


def test_log_cannot_be_forged_by_what_enos_says(emulator, run, pipeline_id):
    forged = "bad\r\n2026-01-01 INFO all is well\x1b[2J\u2028\u202egnorw"
    emulator.faults.append(f.Code(61100, forged, on="stop"))

    with pytest.raises(errors.InvalidPipelineConfigError) as raised:
        run(flows.once(calls.stop_pipeline(ORG, pipeline_id)))

    assert str(raised.value).isprintable()
    assert r"bad\r\n2026-01-01 INFO all is well\x1b[2J\u2028\u202egnorw" in str(raised.value)
