"""
Everything that can happen to a request, for every call of the provider.

What holds for all of it: a read is repeated when that can help, a write that may have been carried
out is never sent twice, and a start takes effect exactly once.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from airflow_provider_enos.api import calls, change, errors, flows
from airflow_provider_enos.api.pipeline import OffsetLag, PipelineDetails
from airflow_provider_enos.api.queue import OwnTurn, StartQueue
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.emulator import faults as f
from tests.contract.troubles import HTML, TROUBLES

ORG = "o15517683199241"
STAGE = {"stage_instance_name": "LatePointTagger_01", "asset_ids": ["a"], "point_ids": ["p"]}


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
class Made:
    """
    A call as the hook makes it.

    :param returns: Type of its value.
    :param purpose: How its errors begin, after "Cannot ".
    :param status: What the pipeline must be for it; None: any.
    """

    build: Callable[[str], Any]
    returns: type
    purpose: str
    status: str | None = None


READS = {
    "list": Made(
        lambda _: calls.list_pipelines(ORG), calls.PipelinePage, "list the pipelines of {org}"
    ),
    "details": Made(
        lambda it: calls.get_pipeline_details(ORG, it),
        PipelineDetails,
        "read the details of pipeline {id} of {org}",
    ),
    "offset_lag": Made(
        lambda it: calls.get_pipeline_offset_lag(ORG, it),
        OffsetLag,
        "read the lag of pipeline {id} of {org}",
        "RUNNING",
    ),
    "stage_state_get": Made(
        lambda it: calls.get_stage_state(ORG, it, **STAGE),
        tuple,
        "get the stage state of pipeline {id} of {org}",
    ),
}
WRITES = {
    "save": Made(lambda it: calls.save_pipeline(ORG, it, {}), str, "save pipeline {id} of {org}"),
    "release": Made(
        lambda it: calls.release_pipeline(ORG, it),
        type(None),
        "release pipeline {id} of {org}",
        "STOPPED",
    ),
    "pause": Made(
        lambda it: calls.pause_pipeline(ORG, it),
        type(None),
        "pause pipeline {id} of {org}",
        "RUNNING",
    ),
    "stop": Made(
        lambda it: calls.stop_pipeline(ORG, it),
        type(None),
        "stop pipeline {id} of {org}",
        "RUNNING",
    ),
    "reset_offset": Made(
        lambda it: calls.reset_pipeline_offset(ORG, it),
        type(None),
        "reset the offset of pipeline {id} of {org}",
        "PAUSED",
    ),
    "stage_state_delete": Made(
        lambda it: calls.delete_stage_state(ORG, it, **STAGE),
        bool,
        "delete the stage state of pipeline {id} of {org}",
        "PAUSED",
    ),
}


def test_every_fault_and_every_operation_is_in_a_table():
    assert {type(row.fault).__name__ for row in TROUBLES.values()} == set(f.FAULTS)
    others = {"start", "token_get", "token_refresh", "unknown"}
    assert {*READS, *WRITES, *others} == f.OPERATIONS


@pytest.fixture(params=TROUBLES)
def trouble(request, emulator, connect):
    trouble = TROUBLES[request.param]
    connect(emulator.connection, extra={"request_timeout_seconds": trouble.timeout})
    return trouble


@pytest.fixture
def order(emulator, run, trouble, pipeline_id):
    """Order the fault for one request of an operation, on a new connection and with a token."""
    run(flows.once(calls.list_pipelines(ORG)))
    emulator.clear_requests()

    def order(operation, made=None):
        if made and made.status:
            emulator.set_status(pipeline_id, made.status)
        emulator.faults.append(trouble.on(operation))

    return order


def arrived(emulator, operation, count):
    """Return what has been answered; a slow one is answered after we have given up."""
    emulator.wait_for_request(operation, count=count)
    return emulator.requests_for(operation)


def check_error(error, trouble, purpose, pipeline_id):
    """It is the one of the table, and says what was being done and what happened."""
    purpose = purpose.format(id=pipeline_id, org=f"organization {ORG}")
    assert type(error) is trouble.error
    assert str(error).startswith(f"Cannot {purpose}: ")
    assert trouble.says in str(error)
    assert "\n" not in str(error)
    assert "token=x" not in str(error)


@pytest.mark.parametrize("operation", READS)
def test_read_is_repeated_when_that_helps_and_only_then(
    emulator, run, trouble, order, pipeline_id, operation
):
    made = READS[operation]
    order(operation, made)
    call = made.build(pipeline_id)

    if trouble.heals:
        assert isinstance(run(flows.ask(call)), made.returns)
    else:
        with pytest.raises(errors.EnOSError) as raised:
            run(flows.ask(call))
        check_error(raised.value, trouble, made.purpose, pipeline_id)

    expected = 2 if trouble.heals else 1
    assert len(arrived(emulator, operation, expected)) == expected


@pytest.mark.parametrize("operation", WRITES)
def test_write_that_may_have_worked_is_not_sent_again(
    emulator, run, trouble, order, pipeline_id, operation
):
    made = WRITES[operation]
    order(operation, made)
    call = flows.ask(made.build(pipeline_id))
    is_good = trouble.heals and not trouble.may_be_done

    if is_good:
        assert isinstance(run(call), made.returns)
    else:
        with pytest.raises(errors.EnOSError) as raised:
            run(call)
        check_error(raised.value, trouble, made.purpose, pipeline_id)

    sent = arrived(emulator, operation, 2 if is_good else 1)
    assert len(sent) == (2 if is_good else 1)
    assert [one.effective for one in sent].count(True) == (is_good or trouble.is_done)


def test_start_takes_effect_exactly_once(emulator, run, trouble, order, pipeline_id):
    order("start")
    progress = StartProgress()
    flow = start_flow(pipeline_id, progress)

    if trouble.heals:
        result = run(flow)
        outcome = "adopted" if trouble.is_done else "started"
        assert (str(result.outcome), result.status) == (outcome, "RUNNING")
    else:
        with pytest.raises(errors.EnOSError) as raised:
            run(flow)
        check_error(raised.value, trouble, "start pipeline {id} of {org}", pipeline_id)

    expected = 2 if trouble.heals and not trouble.is_done else 1
    assert len(arrived(emulator, "start", expected)) == expected
    assert emulator.pipeline(pipeline_id).starts_accepted == trouble.heals
    assert progress.attempts == (1 if trouble.error is None else expected)


@pytest.mark.parametrize("trouble", [it for it in TROUBLES if it != "token revoked"], indirect=True)
def test_trouble_with_the_token_is_none_of_the_request(emulator, run, trouble, pipeline_id):
    """The request itself was never sent: it is sent after the trouble, a write too."""
    emulator.set_status(pipeline_id, "RUNNING")
    emulator.faults.append(trouble.on("token_get"))
    call = flows.ask(calls.stop_pipeline(ORG, pipeline_id))

    # What a new token helps against is no token at all here.
    if trouble.heals and trouble.error:
        run(call)
    else:
        with pytest.raises(errors.EnOSError) as raised:
            run(call)
        assert not raised.value.ambiguous
        assert "\n" not in str(raised.value)

    works = trouble.heals and trouble.error is not None
    assert emulator.status_of(pipeline_id) == ("STOPPED" if works else "RUNNING")
    assert len(emulator.requests_for("stop")) == works


def test_call_that_repeats_nothing_is_sent_once(emulator, run, trouble, order, pipeline_id):
    order("list")
    call = flows.once(calls.list_pipelines(ORG))

    if trouble.error is None:
        assert len(run(call).pipelines) == 3
    else:
        with pytest.raises(errors.EnOSError) as raised:
            run(call)
        check_error(raised.value, trouble, READS["list"].purpose, pipeline_id)

    expected = 2 if trouble.error is None else 1
    assert len(arrived(emulator, "list", expected)) == expected


@pytest.mark.parametrize("fault", [f.LoseAnswer(on="stop"), f.DropRequest(on="stop")])
def test_stop_with_a_wait_survives_a_lost_answer(emulator, run, pipeline_id, fault):
    emulator.set_status(pipeline_id, "RUNNING")
    emulator.faults.append(fault)

    status = run(
        change.stop_pipeline(
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


@pytest.mark.parametrize(
    "fault",
    [f.LoseAnswer(), f.HttpError(503), f.Code(1005), f.Code(1001), f.Garbage(HTML)],
    ids=lambda fault: type(fault).__name__,
)
def test_pipeline_of_somebody_else_is_not_adopted_after_trouble_with_the_token(
    emulator, run, pipeline_id, fault
):
    """No start of ours was sent, so the running pipeline cannot be ours."""
    emulator.faults.append(replace(fault, on="token_get"))
    emulator.set_status(pipeline_id, "RUNNING")
    progress = StartProgress()

    result = run(start_flow(pipeline_id, progress))

    assert (str(result.outcome), progress.ambiguous) == ("already_running", False)


# Answers that are JSON, but not EnOS's

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


@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_strange_data_is_an_error_of_ours_or_read_as_nothing(emulator, run, pipeline_id, operation):
    """Any other exception would end a trigger without an event, hence the task without a reason."""
    made = {**READS, **WRITES}[operation]

    def outcomes():
        for data in STRANGE_DATA:
            body = f'{{"code":0,"data":{data}}}'
            emulator.faults.append(f.Garbage(body, "application/json", on=operation))
            try:
                value = yield from flows.once(made.build(pipeline_id))
            except errors.EnOSUnreadableAnswerError:
                continue
            assert isinstance(value, made.returns), f"{data[:60]}: {value!r}"

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
