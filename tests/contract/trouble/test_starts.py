"""A start takes effect exactly once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from airflow_provider_enos.api import calls, errors, flows
from airflow_provider_enos.api.start_values import StartProgress
from airflow_provider_enos.emulator import faults as f
from tests.contract.trouble.made import ORG, arrived, check_error, start_flow
from tests.contract.troubles import HTML


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


def test_start_outlives_a_restart_of_the_gateway(emulator, run, pipeline_id):
    emulator.stop()
    restart = threading.Timer(0.1, emulator.start)
    restart.start()

    result = run(start_flow(pipeline_id))

    restart.join()
    assert (str(result.outcome), result.status) == ("started", "RUNNING")
    assert emulator.pipeline(pipeline_id).starts_accepted == 1
