"""A read is repeated when that can help."""

import threading
import time

import pytest

from airflow_provider_enos.api import calls, errors, flows
from airflow_provider_enos.emulator import faults as f
from tests.contract.trouble.made import ORG, READS, arrived, check_error


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


@pytest.mark.parametrize("fault", [f.LoseAnswer(on="list"), f.DropRequest(on="list")])
def test_http_client_repeats_nothing_behind_our_back(emulator, run, fault):
    """How often a request is sent is for the flow to say, and for the log to show."""
    emulator.faults.append(fault)

    with pytest.raises(errors.EnOSNoAnswerError):
        run(flows.once(calls.list_pipelines(ORG)))

    assert [request.operation for request in emulator.requests] == ["token_get", "list"]


def test_retry_after_beyond_our_patience_is_reported_at_once(emulator, run):
    emulator.faults.append(f.TooManyRequests(retry_after="600", on="list"))
    began = time.monotonic()

    with pytest.raises(errors.RateLimitedError) as raised:
        run(flows.ask(calls.list_pipelines(ORG)))

    assert raised.value.retry_after_seconds == 600.0
    assert time.monotonic() - began < 5
    assert len(emulator.requests_for("list")) == 1


def test_read_outlives_a_restart_of_the_gateway(emulator, run):
    run(flows.ask(calls.list_pipelines(ORG)))
    emulator.stop()
    restart = threading.Timer(0.1, emulator.start)
    restart.start()

    found = run(flows.ask(calls.list_pipelines(ORG)))

    restart.join()
    assert len(found.pipelines) == 3
