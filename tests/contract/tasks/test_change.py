"""
The operators that stop and pause, waiting on the worker and in the triggerer: one table for both.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_enos.api import errors
from airflow_provider_enos.emulator import faults as f
from airflow_provider_enos.operators.streaming import PausePipelineOperator, StopPipelineOperator

MODES = ("sync", "deferrable")
VERBS = {StopPipelineOperator: "stop", PausePipelineOperator: "pause"}

WHILE = {"stop": "status_while_stopping", "pause": "status_while_pausing"}


def build(operator, **given):
    """Say how to make the operator of a stage."""

    def make(stage, **more):
        arguments = {
            "task_id": "change",
            "pipeline_id": stage.pipeline_id,
            "enos_conn_id": stage.conn_id,
            "poll_interval_seconds": 0.1,
        }
        return operator(**arguments | given | more)

    return make


def status(name, **settings):
    """Begin with a pipeline in this status."""

    def arrange(stage):
        stage.enos.settings.update(settings)
        stage.enos.set_status(stage.pipeline_id, name)

    return arrange


def running(*faults):
    def arrange(stage):
        stage.enos.set_status(stage.pipeline_id, "RUNNING")
        for fault in faults:
            stage.enos.faults.append(fault)

    return arrange


def in_transition(stage):
    stage.enos.set_status(stage.pipeline_id, "STARTING")
    stage.when_asked_once(status("RUNNING"))


def never_released(stage):
    stage.pipeline_id = stage.enos.add_pipeline(released=False)


def unknown(stage):
    stage.pipeline_id = "unknown-pipeline"


@dataclass(frozen=True)
class Case:
    """
    One stop or pause.

    :param result: Outcome, status, attempts.
    :param error: What Airflow gets to see.
    :param says: All of these are in its message, as are pipeline and organization.
    :param effective: Requests that worked.
    :param first_try: Arguments of an earlier try of the same task, which ran into its time-out
        before the pipeline had the new status.
    """

    operator: type
    arrange: Callable[[Any], None]
    arguments: dict[str, Any] = field(default_factory=dict)
    result: tuple[str, str, int] | None = None
    error: type[Exception] | None = None
    says: tuple[str, ...] = ()
    effective: int = 1
    first_try: dict[str, Any] | None = None


def cases_of(operator):
    """Cases that are the same for each change."""
    verb = VERBS[operator]
    target = {"stop": "STOPPED", "pause": "PAUSED"}[verb]
    done, timeout = target.lower(), f"{verb}_timeout"
    once = (done, target, 1)
    permanent = {"error": AirflowFailException, "effective": 0}
    return {
        "changes": Case(operator, status("RUNNING"), result=once),
        "takes a while": Case(operator, status("RUNNING", **{f"{verb}_seconds": 0.5}), result=once),
        "shows the old status meanwhile": Case(
            operator,
            status("RUNNING", **{f"{verb}_seconds": 0.5, WHILE[verb]: None}),
            result=once,
        ),
        "is starting": Case(operator, in_transition, result=(done, target, 2)),
        "is starting for too long": Case(
            operator,
            status("STARTING"),
            {timeout: timedelta(seconds=0.5)},
            error=errors.StatusTimeoutError,
            says=("is still STARTING", f"{timeout} is over"),
            effective=0,
        ),
        "lost answer": Case(operator, running(f.LoseAnswer(on=verb)), result=once),
        "lost request": Case(operator, running(f.DropRequest(on=verb)), result=(done, target, 2)),
        "500 once": Case(
            operator, running(f.HttpError(500, "", on=verb)), result=(done, target, 2)
        ),
        "429 once": Case(
            operator,
            running(f.TooManyRequests(retry_after="0", on=verb)),
            result=(done, target, 2),
        ),
        "earlier try did it": Case(
            operator,
            status("RUNNING", **{f"{verb}_seconds": 60}),
            {"if_not_running": "fail"},
            first_try={timeout: 0.3},
            result=once,
        ),
        "never ran, succeed": Case(
            operator,
            status("PUBLISHED"),
            {"if_not_running": "succeed"},
            result=("not_running", "PUBLISHED", 1),
            effective=0,
        ),
        "never ran, fail": Case(
            operator,
            status("PUBLISHED"),
            {"if_not_running": "fail"},
            says=("is PUBLISHED", "(if_not_running='fail')"),
            **permanent,
        ),
        "never ran, skip": Case(
            operator,
            status("PUBLISHED"),
            {"if_not_running": "skip"},
            error=AirflowSkipException,
            says=("is PUBLISHED", "(if_not_running='skip')"),
            effective=0,
        ),
        "never released": Case(operator, never_released, says=("EnOS code 61152",), **permanent),
        "61108": Case(operator, unknown, says=("EnOS code 61108",), **permanent),
        "other organization": Case(
            operator,
            running(),
            {"org_id": "o-of-others"},
            says=("EnOS code 99403", "o-of-others"),
            **permanent,
        ),
        "time-out": Case(
            operator,
            status("RUNNING", **{f"{verb}_seconds": 60}),
            {timeout: timedelta(seconds=0.3)},
            error=errors.StatusTimeoutError,
            says=("awaited was " + target, f"{timeout} is over"),
        ),
        "execution_timeout": Case(
            operator,
            status("RUNNING", **{f"{verb}_seconds": 60}),
            {"execution_timeout": timedelta(seconds=1)},
            error=errors.StatusTimeoutError,
            says=("awaited was " + target, "execution_timeout is over"),
        ),
    }


CASES = {
    (operator, name): case for operator in VERBS for name, case in cases_of(operator).items()
} | {
    (StopPipelineOperator, "is paused"): Case(
        StopPipelineOperator, status("PAUSED"), result=("stopped", "STOPPED", 1)
    ),
    (StopPipelineOperator, "is stopped"): Case(
        StopPipelineOperator,
        status("STOPPED"),
        result=("already_stopped", "STOPPED", 1),
        effective=0,
    ),
    (StopPipelineOperator, "is stopped, fail"): Case(
        StopPipelineOperator,
        status("STOPPED"),
        {"if_not_running": "fail"},
        error=AirflowFailException,
        says=("is STOPPED", "(if_not_running='fail')"),
        effective=0,
    ),
    (StopPipelineOperator, "61122"): Case(
        StopPipelineOperator,
        running(f.Code(61122, "Failed to stop the stream processing job.", on="stop")),
        error=errors.StopFailedError,
        says=("EnOS code 61122",),
        effective=0,
    ),
    (PausePipelineOperator, "is paused"): Case(
        PausePipelineOperator,
        status("PAUSED"),
        result=("already_paused", "PAUSED", 1),
        effective=0,
    ),
    (PausePipelineOperator, "is stopped"): Case(
        PausePipelineOperator,
        status("STOPPED"),
        error=AirflowFailException,
        says=("is STOPPED", "(if_not_running='fail')"),
        effective=0,
    ),
}


def task(case, mode):
    def carry_out(stage):
        case.arrange(stage)
        if case.first_try is not None:
            stage.run(build(case.operator, **case.arguments, **case.first_try), "sync")
            assert isinstance(stage.error, errors.StatusTimeoutError)
            stage.error = None
            target = case.result[1]
            stage.enos.set_status(stage.pipeline_id, target)
        stage.run(build(case.operator, **case.arguments), mode)

    return carry_out


TASKS = {(*key, mode): task(case, mode) for key, case in CASES.items() for mode in MODES}


def named(outcome):
    keys = [key for key, case in CASES.items() if getattr(case, outcome) is not None]
    return pytest.mark.parametrize("key", keys, ids=lambda key: f"{VERBS[key[0]]} {key[1]}")


@pytest.fixture(params=MODES)
def end(request, ends):
    return lambda key: ends[(*key, request.param)]


@named("result")
def test_change_succeeds_and_returns_how(end, key):
    stage, case = end(key), CASES[key]
    assert stage.error is None

    waited_seconds = stage.result.pop("waited_seconds")
    outcome, shown, attempts = case.result
    assert stage.result == {
        "pipeline_id": stage.pipeline_id,
        "org_id": stage.org_id,
        "outcome": outcome,
        "status": shown,
        "attempts": attempts,
    }
    assert 0 <= waited_seconds < 30


@named("error")
def test_change_fails_and_says_why(end, key):
    stage, case = end(key), CASES[key]
    assert stage.result is None

    assert type(stage.error) is case.error
    org_id = case.arguments.get("org_id", stage.org_id)
    for part in (*case.says, stage.pipeline_id, org_id):
        assert part in str(stage.error)


@pytest.mark.parametrize("key", CASES, ids=lambda key: f"{VERBS[key[0]]} {key[1]}")
def test_change_works_exactly_as_often_as_it_says(end, key):
    stage, case = end(key), CASES[key]

    requests = stage.enos.requests_for(VERBS[case.operator], stage.pipeline_id)

    assert [request.effective for request in requests].count(True) == case.effective


@pytest.mark.parametrize("operator", VERBS)
def test_nothing_is_sent_after_a_kill(stage, operator):
    """The pipeline is between two statuses when a person ends the task."""
    verb = VERBS[operator]
    stage.enos.set_status(stage.pipeline_id, "STARTING")
    change = build(operator)(stage)
    trying = threading.Thread(target=stage.run, args=[lambda *_, **__: change, "sync"])
    trying.start()
    stage.enos.wait_for_request("list", count=2)

    change.on_kill()
    trying.join(timeout=10)

    sent = len(stage.enos.requests_for(verb))
    stage.enos.set_status(stage.pipeline_id, "RUNNING")
    assert not trying.is_alive()
    assert type(stage.error) is errors.TaskKilledError
    assert len(stage.enos.requests_for(verb)) == sent
    assert stage.enos.status_of(stage.pipeline_id) == "RUNNING"


def test_pause_warns_of_the_limit(stage, log_lines):
    stage.enos.set_status(stage.pipeline_id, "RUNNING")

    stage.run(build(PausePipelineOperator), "sync")

    assert stage.result["status"] == "PAUSED"
    assert "24 hours" in "\n".join(log_lines())
