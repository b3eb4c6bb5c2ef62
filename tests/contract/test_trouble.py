"""
Everything that can happen to a request, for a read, a write and a start.

Each row of ``TROUBLE`` says what one such fault leads to. What holds for all of them: a read is
repeated when that can help, a write that may have been carried out is never sent twice, and a start
takes effect exactly once.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from airflow_provider_enos.api import calls, errors, flows, stop
from airflow_provider_enos.api.pipeline import OffsetLag, PipelineDetails
from airflow_provider_enos.api.queue import OwnTurn, StartQueue
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.emulator import faults as f

ORG = "o15517683199241"
HTML = "<html><body>Sign in, please</body></html>"


def start_flow(pipeline_id, progress=None, *, conflict_seconds=20.0):
    terms = StartTerms(
        conflict_deadline=time.time() + conflict_seconds,
        start_timeout_seconds=10,
        poll_interval_seconds=0.05,
    )
    settings = StartSettings.parse(pipeline_id=pipeline_id, execution_mode="standalone")
    queue = StartQueue(OwnTurn())
    return start(ORG, settings, terms, progress or StartProgress(), queue)


@dataclass(frozen=True)
class Trouble:
    """
    One fault, once.

    :param read: What a read raises if it is not repeated; None: it notices nothing.
    :param heals: Whether a read that is repeated gets through.
    :param stop: What a stop raises; None: it survives.
    :param starts: How many start requests arrive.
    :param outcome: Of the start; None: it raises ``read``.
    :param resends: Whether even a call that repeats nothing is sent again.
    """

    fault: f.Fault
    read: type[errors.EnOSError] | None
    heals: bool
    stop: type[errors.EnOSError] | None
    starts: int
    outcome: str | None
    resends: bool = False
    says: str = ""
    timeout: float = 30.0


LOST = errors.EnOSNoAnswerError
SERVER = errors.EnOSServerError
UNREADABLE = errors.EnOSUnreadableAnswerError
QUICK = 0.25

TROUBLE = {
    "answer lost": Trouble(f.LoseAnswer(), LOST, True, LOST, 1, "adopted"),
    "request lost": Trouble(f.DropRequest(), LOST, True, LOST, 2, "started"),
    "answer cut": Trouble(f.CutAnswer(), LOST, True, LOST, 1, "adopted"),
    "slow": Trouble(f.Slow(0.3), LOST, True, LOST, 1, "adopted", timeout=QUICK),
    "dripping": Trouble(f.Trickle(20), LOST, True, LOST, 1, "adopted", timeout=QUICK),
    "token revoked": Trouble(f.RevokeToken(), None, True, None, 2, "started", resends=True),
    "500": Trouble(f.HttpError(500), SERVER, True, SERVER, 2, "started", says="HTTP 500"),
    "502 after the deed": Trouble(
        f.HttpError(502, HTML, carried_out=True),
        SERVER,
        True,
        SERVER,
        1,
        "adopted",
        says='an answer that begins with "<html><body>Sign in, please</body></html>" (HTTP 502)',
    ),
    "503": Trouble(
        f.HttpError(503, '{"message":"Service unavailable"}', {"Retry-After": "0"}),
        SERVER,
        True,
        SERVER,
        2,
        "started",
        says='EnOS answered "Service unavailable" (HTTP 503)',
    ),
    "504 after the deed": Trouble(
        f.HttpError(504, carried_out=True), SERVER, True, SERVER, 1, "adopted", says="HTTP 504"
    ),
    "99000": Trouble(f.Code(99000), SERVER, True, SERVER, 2, "started", says="EnOS code 99000"),
    "401": Trouble(f.HttpError(401), None, True, None, 2, "started", resends=True),
    "400": Trouble(
        f.HttpError(400, '{"message":"Cannot process request body"}'),
        errors.InvalidRequestError,
        False,
        errors.InvalidRequestError,
        1,
        None,
        says='EnOS answered "Cannot process request body" (HTTP 400)',
    ),
    "403": Trouble(
        f.HttpError(403, '{"message":"Your IP address is not allowed"}'),
        errors.AccessDeniedError,
        False,
        errors.AccessDeniedError,
        1,
        None,
        says='EnOS answered "Your IP address is not allowed" (HTTP 403)',
    ),
    "404": Trouble(
        f.HttpError(404, '{"message":"no Route matched with those values"}'),
        errors.WrongGatewayError,
        False,
        errors.WrongGatewayError,
        1,
        None,
        says='EnOS answered "no Route matched with those values" (HTTP 404)',
    ),
    "429": Trouble(
        f.TooManyRequests(),
        errors.RateLimitedError,
        True,
        None,
        2,
        "started",
        says='EnOS answered "API rate limit exceeded" (HTTP 429)',
    ),
    "429 with a date": Trouble(
        f.TooManyRequests(retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
        errors.RateLimitedError,
        True,
        None,
        2,
        "started",
    ),
    "a web page": Trouble(
        f.Garbage(HTML),
        UNREADABLE,
        True,
        UNREADABLE,
        2,
        "started",
        says='the answer is not the JSON of EnOS: an answer that begins with "<html>',
    ),
    "garbage after the deed": Trouble(
        f.Garbage('{"code"', "application/json", carried_out=True),
        UNREADABLE,
        True,
        UNREADABLE,
        1,
        "adopted",
    ),
    "an empty answer": Trouble(
        f.Garbage(""), UNREADABLE, True, UNREADABLE, 2, "started", says="an empty answer"
    ),
    "11 MB": Trouble(
        f.HugeBody(11),
        UNREADABLE,
        True,
        UNREADABLE,
        2,
        "started",
        says="more than 10000000 bytes",
    ),
    "redirect": Trouble(
        f.Redirect("https://login.invalid/?token=x"),
        errors.WrongGatewayError,
        False,
        errors.WrongGatewayError,
        1,
        None,
        says='the gateway redirects to "https://login.invalid/"',
    ),
}


def test_every_fault_of_the_emulator_is_in_the_table():
    assert {type(row.fault).__name__ for row in TROUBLE.values()} == set(f.FAULTS)


@pytest.fixture(params=TROUBLE.values(), ids=TROUBLE)
def trouble(request, emulator, connect):
    connect(emulator.connection, extra={"request_timeout_seconds": request.param.timeout})
    return request.param


@pytest.fixture
def order(emulator, run, trouble):
    """Order the fault for one request of an operation, on a new connection and with a token."""
    run(flows.once(calls.list_pipelines(ORG)))
    emulator.clear_requests()
    return lambda operation: emulator.faults.append(
        f.fault_of_json({**f.fault_as_json(trouble.fault), "on": operation})
    )


def arrived(emulator, operation, count):
    """How many requests have been answered; a slow one is answered after we have given up."""
    emulator.wait_for_request(operation, count=count)
    return len(emulator.requests_for(operation))


def test_a_call_that_repeats_nothing_says_what_happened(emulator, run, trouble, order):
    order("list")
    call = flows.once(calls.list_pipelines(ORG))

    if trouble.read is None:
        assert len(run(call).pipelines) == 3
    else:
        with pytest.raises(trouble.read) as raised:
            run(call)
        assert type(raised.value) is trouble.read
        assert str(raised.value).startswith(f"Cannot list the pipelines of organization {ORG}: ")
        assert trouble.says in str(raised.value)
        assert "\n" not in str(raised.value)
        assert "token=x" not in str(raised.value)

    expected = 2 if trouble.resends else 1
    assert arrived(emulator, "list", expected) == expected


def test_read_is_repeated_when_that_helps_and_only_then(emulator, run, trouble, order):
    order("list")
    call = flows.ask(calls.list_pipelines(ORG))

    if trouble.heals:
        assert len(run(call).pipelines) == 3
    else:
        with pytest.raises(trouble.read):
            run(call)

    expected = 2 if trouble.heals else 1
    assert arrived(emulator, "list", expected) == expected


def test_stop_that_may_have_worked_is_not_sent_again(emulator, run, trouble, order, pipeline_id):
    emulator.set_status(pipeline_id, "RUNNING")
    order("stop")
    call = flows.ask(calls.stop_pipeline(ORG, pipeline_id))

    if trouble.stop is None:
        run(call)
    else:
        with pytest.raises(trouble.stop, match=f"stop pipeline {pipeline_id} of organization"):
            run(call)

    expected = 2 if trouble.stop is None else 1
    assert arrived(emulator, "stop", expected) == expected
    worked = trouble.stop is None or trouble.fault.carried_out
    assert emulator.status_of(pipeline_id) == ("STOPPED" if worked else "RUNNING")


def test_start_takes_effect_exactly_once(emulator, run, trouble, order, pipeline_id):
    order("start")
    progress = StartProgress()
    flow = start_flow(pipeline_id, progress)

    if trouble.outcome is None:
        with pytest.raises(trouble.read, match=f"start pipeline {pipeline_id} of organization"):
            run(flow)
    else:
        result = run(flow)
        assert (str(result.outcome), result.status) == (trouble.outcome, "RUNNING")

    assert arrived(emulator, "start", trouble.starts) == trouble.starts
    assert emulator.pipeline(pipeline_id).starts_accepted == (trouble.outcome is not None)
    assert progress.attempts == (1 if trouble.resends else trouble.starts)


@pytest.mark.parametrize("fault", [f.LoseAnswer(on="stop"), f.DropRequest(on="stop")])
def test_stop_with_a_wait_survives_a_lost_answer(emulator, run, pipeline_id, fault):
    emulator.set_status(pipeline_id, "RUNNING")
    emulator.faults.append(fault)

    status = run(
        stop.stop_pipeline(
            ORG,
            pipeline_id,
            deadline=time.time() + 10,
            limit="ten seconds",
            poll_interval_seconds=0.1,
        )
    )

    assert status == "STOPPED"
    assert [request.effective for request in emulator.requests_for("stop")].count(True) == 1


@pytest.mark.parametrize("fault", [f.LoseAnswer(on="list"), f.DropRequest(on="list")])
def test_http_client_repeats_nothing_behind_our_back(emulator, run, fault):
    """How often a request is sent is for the flow to say, and for the log to show."""
    emulator.faults.append(fault)

    with pytest.raises(errors.EnOSNoAnswerError):
        run(flows.once(calls.list_pipelines(ORG)))

    assert [request.operation for request in emulator.requests] == ["token_get", "list"]


# Retry-After


def test_retry_after_is_obeyed_by_reads_and_refused_starts(emulator, run, pipeline_id):
    emulator.faults.append(f.TooManyRequests(retry_after="1", on="details"))
    emulator.faults.append(
        f.HttpError(200, '{"code":61121,"msg":"busy"}', {"Retry-After": "1"}, on="start")
    )
    read = flows.ask(calls.get_pipeline_details(ORG, pipeline_id))

    with ThreadPoolExecutor() as pool:
        reading, starting = pool.submit(run, read), pool.submit(run, start_flow(pipeline_id))

    assert reading.result().pipeline_id == pipeline_id
    assert (starting.result().conflicts, str(starting.result().outcome)) == (1, "started")
    for operation in ("details", "start"):
        refused, answered = emulator.requests_for(operation)
        assert answered.time - refused.time >= 1.0


def test_retry_after_beyond_our_patience_is_reported_at_once(emulator, run):
    emulator.faults.append(f.TooManyRequests(retry_after="600", on="list"))
    began = time.monotonic()

    with pytest.raises(errors.RateLimitedError) as raised:
        run(flows.ask(calls.list_pipelines(ORG)))

    assert raised.value.retry_after_seconds == 600.0
    assert time.monotonic() - began < 5
    assert len(emulator.requests_for("list")) == 1


# Trouble with the token: the request itself was never sent

TOKEN_TROUBLE = {
    "503": f.HttpError(503, on="token_get"),
    "1005": f.Code(1005, on="token_get"),
    "answer lost": f.LoseAnswer(on="token_get"),
    "429": f.TooManyRequests(on="token_get"),
    "1001": f.Code(1001, on="token_get"),
    "a web page": f.Garbage(HTML, on="token_get"),
}


@pytest.fixture(params=TOKEN_TROUBLE.values(), ids=TOKEN_TROUBLE)
def token_trouble(request, emulator):
    emulator.faults.append(request.param)


@pytest.mark.usefixtures("token_trouble")
def test_read_survives_trouble_with_the_token(emulator, run):
    assert len(run(flows.ask(calls.list_pipelines(ORG))).pipelines) == 3

    assert len(emulator.requests_for("token_get")) == 2
    assert len(emulator.requests_for("list")) == 1


@pytest.mark.usefixtures("token_trouble")
def test_stop_that_was_never_sent_is_sent_after_trouble_with_the_token(emulator, run, pipeline_id):
    emulator.set_status(pipeline_id, "RUNNING")

    run(flows.ask(calls.stop_pipeline(ORG, pipeline_id)))

    assert emulator.status_of(pipeline_id) == "STOPPED"
    assert len(emulator.requests_for("stop")) == 1


@pytest.mark.usefixtures("token_trouble")
def test_pipeline_of_somebody_else_is_not_adopted_after_trouble_with_the_token(
    emulator, run, pipeline_id
):
    """No start of ours was sent, so the running pipeline cannot be ours."""
    emulator.set_status(pipeline_id, "RUNNING")
    progress = StartProgress()

    result = run(start_flow(pipeline_id, progress))

    assert (str(result.outcome), progress.ambiguous) == ("already_running", False)


# Answers that are JSON, but not EnOS's

STAGE = {"stage_instance_name": "LatePointTagger_01", "asset_ids": ["a"], "point_ids": ["p"]}

#: A call by the emulator's name, and what it returns.
READERS = {
    "list": (lambda _: calls.list_pipelines(ORG), calls.PipelinePage),
    "details": (lambda it: calls.get_pipeline_details(ORG, it), PipelineDetails),
    "offset_lag": (lambda it: calls.get_pipeline_offset_lag(ORG, it), OffsetLag),
    "stage_state_get": (lambda it: calls.get_stage_state(ORG, it, **STAGE), tuple),
    "stage_state_delete": (lambda it: calls.delete_stage_state(ORG, it, **STAGE), bool),
    "save": (lambda it: calls.save_pipeline(ORG, it, {}), str),
    "stop": (lambda it: calls.stop_pipeline(ORG, it), type(None)),
}


STRANGE_DATA = [
    "null",
    "[]",
    "[1]",
    '"text"',
    "7",
    '{"pipelines":{}}',
    '{"pipelines":[7]}',
    '{"pipelines":[{}],"count":[]}',
    '{"pipelines":null,"count":null}',
    '{"pipelines":[{"pipelineId":["x"],"status":{},"resourceConfig":"{"}],"count":1e400}',
    '{"lagAndOffset":7,"items":7,"pipelineJson":7,"templateName":7,"pipelineId":7}',
    "[" * 5000 + "]" * 5000,
]


@pytest.mark.parametrize("operation", READERS)
def test_strange_data_is_an_error_of_ours_or_read_as_nothing(emulator, run, pipeline_id, operation):
    """Any other exception would end a trigger without an event, hence the task without a reason."""
    build, kind = READERS[operation]

    def outcomes():
        for data in STRANGE_DATA:
            body = f'{{"code":0,"data":{data}}}'
            emulator.faults.append(f.Garbage(body, "application/json", on=operation))
            try:
                value = yield from flows.once(build(pipeline_id))
            except errors.EnOSUnreadableAnswerError:
                continue
            assert isinstance(value, kind), f"{data[:60]}: {value!r}"

    run(outcomes())

    assert len(emulator.requests_for(operation)) == len(STRANGE_DATA)


# Outage


def test_read_outlives_a_restart_of_the_gateway(emulator, run):
    run(flows.ask(calls.list_pipelines(ORG)))
    emulator.stop()
    restart = threading.Timer(0.1, emulator.start)
    restart.start()

    found = run(flows.ask(calls.list_pipelines(ORG)))

    restart.join()
    assert len(found.pipelines) == 3


def test_start_outlives_a_restart_of_the_gateway(emulator, run, pipeline_id):
    emulator.stop()
    restart = threading.Timer(0.1, emulator.start)
    restart.start()

    result = run(start_flow(pipeline_id))

    restart.join()
    assert (str(result.outcome), result.status) == ("started", "RUNNING")
    assert emulator.pipeline(pipeline_id).starts_accepted == 1
