"""
The operators that stop, pause, release and reset, waiting on the worker and in the triggerer: one
table for all.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_enos.api import errors
from airflow_provider_enos.emulator import faults as f
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.operators.streaming import (
    PausePipelineOperator,
    ReleasePipelineOperator,
    ResetPipelineOffsetOperator,
    StartPipelineOperator,
    StopPipelineOperator,
)

MODES = ("sync", "deferrable")
VERBS = {
    StopPipelineOperator: "stop",
    PausePipelineOperator: "pause",
    ReleasePipelineOperator: "release",
    ResetPipelineOffsetOperator: "reset_offset",
}

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


def trouble(before, *faults):
    """Begin in this status, and with these faults."""

    def arrange(stage):
        stage.enos.set_status(stage.pipeline_id, before)
        for fault in faults:
            stage.enos.faults.append(fault)

    return arrange


def in_transition(now, soon, until="list"):
    """Begin between two statuses, and be over when EnOS is asked so."""

    def arrange(stage):
        stage.enos.set_status(stage.pipeline_id, now)
        stage.when_asked_once(status(soon), until)

    return arrange


def never_released(*faults):
    def arrange(stage):
        stage.pipeline_id = stage.enos.add_pipeline(released=False)
        for fault in faults:
            stage.enos.faults.append(fault)

    return arrange


def refused_and_started(stage):
    """It looks like this when somebody starts the pipeline just before the reset."""
    trouble("PAUSED", f.Code(61168, on="reset_offset", times=None))(stage)
    stage.when_asked_once(status("RUNNING"), "reset_offset")


def released_and_started(stage):
    """Somebody else starts it before the first look: EnOS carries the release out, then answers."""
    trouble("STOPPED", f.Slow(0.5, on="release"))(stage)

    def start():
        stage.enos.wait_for_status(stage.pipeline_id, "PUBLISHED", timeout=30)
        stage.enos.set_status(stage.pipeline_id, "RUNNING")

    threading.Thread(target=start, daemon=True).start()


def stopped_an_hour_ago(stage):
    """The release changes its ``updateTime`` and not its status."""
    stage.enos.settings.release_keeps_status = True
    stage.enos.set_status(stage.pipeline_id, "STOPPED", at=time.time() - 3600)


def designed_anew(before):
    """A pipeline whose design was saved after its release."""

    def arrange(stage):
        hook = EnOSStreamingHook(stage.conn_id)
        hook.save_pipeline(stage.pipeline_id, {"version": "2.0.0"})
        hook.get_conn().close()
        stage.enos.set_status(stage.pipeline_id, before)

    return arrange


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


PERMANENT = {"error": AirflowFailException, "effective": 0}


def cases_of(operator):
    """Cases that are the same for each change."""
    verb = VERBS[operator]
    done, before, target, timeout = {
        "stop": ("stopped", "RUNNING", "STOPPED", "stop_timeout"),
        "pause": ("paused", "RUNNING", "PAUSED", "pause_timeout"),
        "release": ("released", "STOPPED", "PUBLISHED", "release_timeout"),
        "reset_offset": ("reset", "PAUSED", "PAUSED", "reset_timeout"),
    }[verb]
    once, twice = (done, target, 1), (done, target, 2)
    return {
        "changes": Case(operator, status(before), result=once),
        "is in between for too long": Case(
            operator,
            status("STARTING"),
            {timeout: timedelta(seconds=0.5)},
            error=errors.StatusTimeoutError,
            says=("is still STARTING", f"{timeout} is over"),
            effective=0,
        ),
        "lost request": Case(operator, trouble(before, f.DropRequest(on=verb)), result=twice),
        "500 once": Case(operator, trouble(before, f.HttpError(500, "", on=verb)), result=twice),
        "429 once": Case(
            operator, trouble(before, f.TooManyRequests(retry_after="0", on=verb)), result=twice
        ),
        "unknown pipeline": Case(operator, unknown, **PERMANENT),
        "other organization": Case(
            operator,
            status(before),
            {"org_id": "o-of-others"},
            says=("EnOS code 99403", "o-of-others"),
            **PERMANENT,
        ),
    }


def cases_of_a_running_one(operator):
    """Cases of the changes that lead a running pipeline to another status."""
    verb = VERBS[operator]
    target = {"stop": "STOPPED", "pause": "PAUSED"}[verb]
    done, timeout = target.lower(), f"{verb}_timeout"
    once = (done, target, 1)
    return {
        "takes a while": Case(operator, status("RUNNING", **{f"{verb}_seconds": 0.5}), result=once),
        "shows the old status meanwhile": Case(
            operator,
            status("RUNNING", **{f"{verb}_seconds": 0.5, WHILE[verb]: None}),
            result=once,
        ),
        "is starting": Case(
            operator, in_transition("STARTING", "RUNNING", until=verb), result=(done, target, 2)
        ),
        "lost answer": Case(operator, trouble("RUNNING", f.LoseAnswer(on=verb)), result=once),
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
            **PERMANENT,
        ),
        "never ran, skip": Case(
            operator,
            status("PUBLISHED"),
            {"if_not_running": "skip"},
            error=AirflowSkipException,
            says=("is PUBLISHED", "(if_not_running='skip')"),
            effective=0,
        ),
        "never released": Case(operator, never_released(), says=("EnOS code 61152",), **PERMANENT),
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


def cases_of_a_stopped_one(operator):
    """Cases of the changes that want a pipeline that does not run."""
    verb, policy = VERBS[operator], "if_not_stopped"
    first, result = {
        "release": ("release", ("released", "PUBLISHED", 2)),
        "reset_offset": ("list", ("reset", "STOPPED", 1)),
    }[verb]
    return {
        "is stopping": Case(
            operator,
            in_transition("STOPPING", "STOPPED", until=first),
            result=result,
        ),
        "is running, fail": Case(
            operator, status("RUNNING"), says=("is RUNNING", f"({policy}='fail')"), **PERMANENT
        ),
        "is running, skip": Case(
            operator,
            status("RUNNING"),
            {policy: "skip"},
            error=AirflowSkipException,
            says=("is RUNNING", f"({policy}='skip')"),
            effective=0,
        ),
        "is running, succeed": Case(
            operator,
            status("RUNNING"),
            {policy: "succeed"},
            result=("not_stopped", "RUNNING", 1 if verb == "release" else 0),
            effective=0,
        ),
    }


CASES = (
    {(operator, name): case for operator in VERBS for name, case in cases_of(operator).items()}
    | {
        (operator, name): case
        for operator in (StopPipelineOperator, PausePipelineOperator)
        for name, case in cases_of_a_running_one(operator).items()
    }
    | {
        (operator, name): case
        for operator in (ReleasePipelineOperator, ResetPipelineOffsetOperator)
        for name, case in cases_of_a_stopped_one(operator).items()
    }
)
CASES |= {
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
        trouble("RUNNING", f.Code(61122, "Failed to stop the stream processing job.", on="stop")),
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
    (ReleasePipelineOperator, "was never released"): Case(
        ReleasePipelineOperator, never_released(), result=("released", "PUBLISHED", 1)
    ),
    (ReleasePipelineOperator, "was never released, lost answer"): Case(
        ReleasePipelineOperator,
        never_released(f.LoseAnswer(on="release")),
        result=("released", "PUBLISHED", 1),
    ),
    (ReleasePipelineOperator, "was never released, lost request"): Case(
        ReleasePipelineOperator,
        never_released(f.DropRequest(on="release")),
        result=("released", "PUBLISHED", 2),
    ),
    (ReleasePipelineOperator, "was never released, all answers lost"): Case(
        ReleasePipelineOperator,
        never_released(f.LoseAnswer(on="release", times=None)),
        result=("released", "PUBLISHED", 1),
    ),
    (ReleasePipelineOperator, "was never released, all requests lost"): Case(
        ReleasePipelineOperator,
        never_released(f.DropRequest(on="release", times=None)),
        {"release_timeout": 1},
        error=errors.EnOSNoAnswerError,
        effective=0,
    ),
    (ReleasePipelineOperator, "lost answer"): Case(
        ReleasePipelineOperator,
        trouble("PAUSED", f.LoseAnswer(on="release")),
        result=("released", "PUBLISHED", 1),
    ),
    (ReleasePipelineOperator, "keeps its status"): Case(
        ReleasePipelineOperator,
        stopped_an_hour_ago,
        result=("released", "STOPPED", 1),
    ),
    (ReleasePipelineOperator, "is started at once"): Case(
        ReleasePipelineOperator,
        released_and_started,
        result=("released", "RUNNING", 1),
    ),
    (ReleasePipelineOperator, "is released"): Case(
        ReleasePipelineOperator,
        status("PUBLISHED"),
        result=("already_released", "PUBLISHED", 1),
        effective=0,
    ),
    (ReleasePipelineOperator, "is released, but the design is newer"): Case(
        ReleasePipelineOperator,
        designed_anew("PUBLISHED"),
        says=("EnOS code 61169",),
        **PERMANENT,
    ),
    (ReleasePipelineOperator, "has a newer design"): Case(
        ReleasePipelineOperator,
        designed_anew("STOPPED"),
        result=("released", "PUBLISHED", 1),
    ),
    (ResetPipelineOffsetOperator, "is stopped"): Case(
        ResetPipelineOffsetOperator, status("STOPPED"), result=("reset", "STOPPED", 1)
    ),
    (ResetPipelineOffsetOperator, "lost answer"): Case(
        ResetPipelineOffsetOperator,
        trouble("STOPPED", f.LoseAnswer(on="reset_offset")),
        result=("reset", "STOPPED", 2),
        effective=2,  # which does no harm
    ),
    (ResetPipelineOffsetOperator, "never ran"): Case(
        ResetPipelineOffsetOperator,
        status("PUBLISHED"),
        {"if_not_stopped": "succeed"},
        result=("not_stopped", "PUBLISHED", 0),
        effective=0,
    ),
    (ResetPipelineOffsetOperator, "never released"): Case(
        ResetPipelineOffsetOperator,
        never_released(),
        says=("not among the released pipelines",),
        **PERMANENT,
    ),
    (ResetPipelineOffsetOperator, "61168 once"): Case(
        ResetPipelineOffsetOperator,
        trouble("PAUSED", f.Code(61168, on="reset_offset")),
        result=("reset", "PAUSED", 2),
    ),
    (ResetPipelineOffsetOperator, "61168 for good"): Case(
        ResetPipelineOffsetOperator,
        trouble("PAUSED", f.Code(61168, on="reset_offset", times=None)),
        error=errors.KafkaRateUnknownError,
        says=("EnOS code 61168",),
        effective=0,
    ),
    (ResetPipelineOffsetOperator, "is started meanwhile"): Case(
        ResetPipelineOffsetOperator,
        refused_and_started,
        {"if_not_stopped": "skip"},
        error=AirflowSkipException,
        says=("is RUNNING",),
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
            stage.enos.set_status(stage.pipeline_id, case.result[1])
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
    assert waited_seconds >= 0


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


@pytest.mark.parametrize("operator", VERBS, ids=VERBS.get)
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


def test_pause_tells_of_the_limit(stage, log_lines):
    """Not as a warning: nothing went wrong."""
    stage.enos.set_status(stage.pipeline_id, "RUNNING")

    stage.run(build(PausePipelineOperator), "sync")

    assert stage.result["status"] == "PAUSED"
    assert "24 hours" in "\n".join(log_lines("info"))


def test_release_puts_the_design_online(stage):
    designed_anew("STOPPED")(stage)

    stage.run(build(ReleasePipelineOperator), "sync")

    assert stage.enos.pipeline(stage.pipeline_id).online.version == "2.0.0"


def test_reset_skips_what_is_waiting(stage):
    stage.enos.set_lag(stage.pipeline_id, 5000)
    stage.enos.set_status(stage.pipeline_id, "STOPPED")

    stage.run(build(ResetPipelineOffsetOperator), "sync")

    assert stage.enos.pipeline(stage.pipeline_id).lag == 0


STARTED_BY = {
    "started": "stopped",
    "adopted": "stopped",
    "already_running": "left_alone",
}


@pytest.mark.parametrize(("started", "stopped"), STARTED_BY.items())
def test_only_what_the_start_has_started_is_stopped(stage, started, stopped):
    stage.enos.set_status(stage.pipeline_id, "RUNNING")
    result = {"pipeline_id": stage.pipeline_id, "outcome": started}

    stage.run(build(StopPipelineOperator, started_by=result), "sync")

    assert stage.result["outcome"] == stopped
    is_left = stopped == "left_alone"
    assert stage.enos.status_of(stage.pipeline_id) == ("RUNNING" if is_left else "STOPPED")


def test_start_of_a_moment_ago_is_stopped_although_the_list_does_not_show_it_yet(stage):
    stage.enos.settings.update({"start_seconds": 2.0, "status_while_starting": None})
    stage.enos.set_status(stage.pipeline_id, "STOPPED")
    stage.run(
        lambda stage, **more: StartPipelineOperator(
            task_id="start",
            pipeline_id=stage.pipeline_id,
            enos_conn_id=stage.conn_id,
            execution_mode="standalone",
            wait_for_running=False,
            **more,
        ),
        "sync",
    )

    stage.run(build(StopPipelineOperator, started_by=stage.result), "sync")

    assert (stage.error, stage.result["outcome"]) == (None, "stopped")
    assert stage.enos.status_of(stage.pipeline_id) == "STOPPED"


def test_start_that_returned_nothing_has_started_nothing(stage):
    """It was skipped or has failed; Airflow then resolves its output to None."""
    stage.enos.set_status(stage.pipeline_id, "RUNNING")

    stage.run(build(StopPipelineOperator, started_by=None), "sync")

    assert stage.result["outcome"] == "left_alone"
    assert stage.enos.requests_for() == []


@pytest.mark.parametrize(
    ("before", "policy", "remembered"),
    [("RUNNING", "fail", True), ("STOPPED", "fail", False), ("RUNNING", "succeed", False)],
)
def test_deferred_stop_leaves_to_the_next_try_what_it_knows(stage, before, policy, remembered):
    """The worker that would tell may never come. Only with a policy is there a look before."""
    stage.enos.set_status(stage.pipeline_id, before)
    stop = build(StopPipelineOperator, if_not_running=policy, deferrable=True)
    with pytest.raises(TaskDeferred):
        stop(stage).execute(stage.new_try())

    with pytest.raises(TaskDeferred) as second:
        stop(stage).execute(stage.new_try())

    assert second.value.trigger.earlier_try is remembered
