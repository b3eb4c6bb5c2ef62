"""
StartPipelineOperator against EnOS, waiting on the worker and in the triggerer: one table for both.
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
from airflow_provider_enos.operators.streaming import StartPipelineOperator
from airflow_provider_enos.retries import EnOSRetryPolicy

MODES = ("sync", "deferrable")


def build(**given):
    """Say how to make the operator of a stage."""

    def make(stage, **more):
        arguments = {
            "task_id": "start",
            "pipeline_id": stage.pipeline_id,
            "execution_mode": "standalone",
            "enos_conn_id": stage.conn_id,
            "poll_interval_seconds": 0.1,
        }
        return StartPipelineOperator(**arguments | given | more)

    return make


def as_it_is(stage):
    pass


def status(name):
    return lambda stage: stage.enos.set_status(stage.pipeline_id, name)


def settings(**values):
    return lambda stage: stage.enos.settings.update(values)


def fault(one):
    return lambda stage: stage.enos.faults.append(one)


def both(*arrangements):
    def arrange(stage):
        for one in arrangements:
            one(stage)

    return arrange


def ends_in(name, **values):
    def arrange(stage):
        stage.enos.settings.update(values)
        stage.enos.set_start_outcome(stage.pipeline_id, name)

    return arrange


def an_hour_ago(name, arrange):
    """Begin in a status that has been there for an hour."""

    def arrange_both(stage):
        stage.enos.set_status(stage.pipeline_id, name, at=time.time() - 3600)
        arrange(stage)

    return arrange_both


def stranger_until_the_first_refusal(stage):
    stage.enos.hold_start_lock(60)
    stage.when_asked_once(lambda stage: stage.enos.release_start_lock(), "start")


def somebody_is_starting_it(stage):
    stage.enos.set_status(stage.pipeline_id, "STARTING")
    stage.when_asked_once(status("RUNNING"))


def somebody_starts_it_while_we_wait(stage):
    def is_faster(stage):
        stage.enos.set_status(stage.pipeline_id, "RUNNING")
        stage.enos.release_start_lock()

    stage.enos.hold_start_lock(60)
    stage.when_asked_once(is_faster, "start")


def never_released(stage):
    stage.pipeline_id = stage.enos.add_pipeline(released=False)


def unknown(stage):
    stage.pipeline_id = "unknown-pipeline"


@dataclass(frozen=True)
class Case:
    """
    One start.

    :param result: Outcome, status, attempts (None: any number).
    :param error: What Airflow gets to see.
    :param cause: Class of our error behind or in it.
    :param says: All of these are in its message, as are pipeline and organization.
    :param effective: Starts that worked.
    :param first_try: Arguments of an earlier try of the same task, which ran into ``start_timeout``
        before the pipeline ran.
    """

    arrange: Callable[[Any], None] = as_it_is
    arguments: dict[str, Any] = field(default_factory=dict)
    result: tuple[str, str | None, int | None] | None = None
    error: type[Exception] | None = None
    cause: type[errors.EnOSError] | None = None
    says: tuple[str, ...] = ()
    effective: int = 1
    first_try: dict[str, Any] | None = None


STARTED = ("started", "RUNNING", 1)
STOPPED_AGAIN = ("EnOS accepted the start of pipeline", "stopped again before it was running")
ALREADY = ("already_running", "RUNNING", 1)

CASES = {
    "starts": Case(result=STARTED),
    "takes a while": Case(settings(start_seconds=0.5), result=STARTED),
    "shows the old status meanwhile": Case(
        settings(start_seconds=0.5, status_while_starting=None), result=STARTED
    ),
    "shows the old status meanwhile, was STOPPED": Case(
        an_hour_ago("STOPPED", settings(start_seconds=0.5, status_while_starting=None)),
        result=STARTED,
    ),
    "paused one is resumed": Case(status("PAUSED"), result=STARTED),
    "values as text": Case(
        arguments={
            "execution_mode": "1",
            "kafka_rate": "500",
            "resource_config": '{"server":"2","yarn":{"workerCount":2,"master":1,"slave":1}}',
        },
        result=STARTED,
    ),
    "runs already": Case(status("RUNNING"), result=ALREADY, effective=0),
    "runs already, lost answer": Case(
        both(status("RUNNING"), fault(f.LoseAnswer(on="start"))), result=ALREADY, effective=0
    ),
    "runs already, lost request": Case(
        both(status("RUNNING"), fault(f.DropRequest(on="start"))), result=ALREADY, effective=0
    ),
    "runs already, 503": Case(
        both(status("RUNNING"), fault(f.HttpError(503, on="start"))), result=ALREADY, effective=0
    ),
    "somebody is starting it, lost answer": Case(
        both(somebody_is_starting_it, fault(f.LoseAnswer(on="start"))), result=ALREADY, effective=0
    ),
    "if_running fail, somebody is faster, lost answer": Case(
        both(somebody_starts_it_while_we_wait, fault(f.LoseAnswer(on="start", skip=1))),
        {"if_running": "fail"},
        error=AirflowFailException,
        says=("already RUNNING (if_running='fail')",),
        effective=0,
    ),
    "somebody is starting it": Case(somebody_is_starting_it, result=ALREADY, effective=0),
    "lost answer": Case(fault(f.LoseAnswer(on="start")), result=("adopted", "RUNNING", 1)),
    "lost request": Case(fault(f.DropRequest(on="start")), result=("started", "RUNNING", 2)),
    "token revoked": Case(fault(f.RevokeToken(on="start")), result=STARTED),
    "earlier try started it": Case(
        settings(start_seconds=60),
        first_try={"start_timeout": 0.3},
        result=("adopted", "RUNNING", 1),
    ),
    "accepted is enough": Case(
        settings(start_seconds=60),
        {"wait_for_running": False},
        result=("started", None, 1),
    ),
    "stranger holds the lock": Case(
        stranger_until_the_first_refusal, result=("started", "RUNNING", None)
    ),
    "conflict_timeout": Case(
        lambda stage: stage.enos.hold_start_lock(60),
        {"conflict_timeout": timedelta(seconds=0.5)},
        error=errors.ConflictTimeoutError,
        cause=errors.ConflictTimeoutError,
        says=(
            "somebody else in the organization was starting",
            "conflict_timeout is over",
            "61121",
        ),
        effective=0,
    ),
    "execution_timeout": Case(
        lambda stage: stage.enos.hold_start_lock(60),
        {"execution_timeout": timedelta(seconds=1)},
        error=errors.ConflictTimeoutError,
        cause=errors.ConflictTimeoutError,
        says=("execution_timeout is over", "61121"),
        effective=0,
    ),
    "start_timeout": Case(
        settings(start_seconds=60),
        {"start_timeout": timedelta(seconds=0.3)},
        error=errors.StatusTimeoutError,
        cause=errors.StatusTimeoutError,
        says=("is still STARTING", "RUNNING", "run log in the EnOS console"),
    ),
    "START_ERROR": Case(
        ends_in("START_ERROR", start_seconds=0.3),
        error=errors.PipelineFailedError,
        cause=errors.PipelineFailedError,
        says=("START_ERROR", "run log in the EnOS console"),
    ),
    "stops instead of running": Case(
        ends_in("STOPPED", start_seconds=0.5),
        error=errors.PipelineFailedError,
        cause=errors.PipelineFailedError,
        says=STOPPED_AGAIN,
    ),
    "stops again before the first look": Case(
        ends_in("STOPPED", start_seconds=0.001),
        error=errors.PipelineFailedError,
        cause=errors.PipelineFailedError,
        says=(*STOPPED_AGAIN, "run log in the EnOS console"),
    ),
    "stops again before the first look, was STOPPED": Case(
        an_hour_ago("STOPPED", ends_in("STOPPED", start_seconds=0.001)),
        error=errors.PipelineFailedError,
        cause=errors.PipelineFailedError,
        says=STOPPED_AGAIN,
    ),
    "fails before the first look": Case(
        ends_in("START_ERROR", start_seconds=0.001),
        error=errors.PipelineFailedError,
        cause=errors.PipelineFailedError,
        says=("EnOS accepted the start of pipeline", "is START_ERROR, expected RUNNING"),
    ),
    "61100": Case(
        fault(f.Code(61100, "The Stream configuration JSON is invalid.", on="start")),
        error=AirflowFailException,
        cause=errors.InvalidPipelineConfigError,
        says=("EnOS code 61100", "Check execution_mode, kafka_rate and resource_config."),
        effective=0,
    ),
    "61108": Case(
        unknown,
        error=AirflowFailException,
        cause=errors.PipelineNotFoundError,
        says=("EnOS code 61108", "Check the pipeline ID and the organization ID"),
        effective=0,
    ),
    "61126": Case(
        lambda stage: stage.enos.set_quota(standalone=0.5),
        error=errors.ResourceNotEnoughError,
        cause=errors.ResourceNotEnoughError,
        says=("EnOS code 61126", "Stop or pause other pipelines"),
        effective=0,
    ),
    "61128": Case(
        lambda stage: stage.enos.set_quota(standalone=None),
        error=AirflowFailException,
        cause=errors.ResourceNotRequestedError,
        says=("EnOS code 61128", "Request the resource for this execution_mode"),
        effective=0,
    ),
    "61165": Case(
        status("FAILED"),
        error=AirflowFailException,
        cause=errors.PipelineStateError,
        says=("EnOS code 61165", "[FAILED]", "in the EnOS console"),
        effective=0,
    ),
    "61165 never released": Case(
        never_released,
        error=AirflowFailException,
        cause=errors.PipelineStateError,
        says=("EnOS code 61165", "in the EnOS console"),
        effective=0,
    ),
    "429 for ten minutes": Case(
        fault(f.TooManyRequests(retry_after="600", on="start")),
        {"conflict_timeout": 60},
        error=errors.RateLimitedError,
        cause=errors.RateLimitedError,
        says=("HTTP 429",),
        effective=0,
    ),
    "other organization": Case(
        arguments={"org_id": "o-of-others"},
        error=AirflowFailException,
        cause=errors.AccessDeniedError,
        says=("EnOS code 99403", "o-of-others"),
        effective=0,
    ),
    "if_running fail": Case(
        status("RUNNING"),
        {"if_running": "fail"},
        error=AirflowFailException,
        says=("already RUNNING (if_running='fail')",),
        effective=0,
    ),
    "if_running fail, somebody is starting it": Case(
        somebody_is_starting_it,
        {"if_running": "fail"},
        error=AirflowFailException,
        says=("already RUNNING (if_running='fail')",),
        effective=0,
    ),
    "if_running succeed, somebody is faster": Case(
        somebody_starts_it_while_we_wait,
        result=("already_running", "RUNNING", None),
        effective=0,
    ),
    "if_running fail, somebody is faster": Case(
        somebody_starts_it_while_we_wait,
        {"if_running": "fail"},
        error=AirflowFailException,
        says=("already RUNNING (if_running='fail')",),
        effective=0,
    ),
    "if_running skip, somebody is faster": Case(
        somebody_starts_it_while_we_wait,
        {"if_running": "skip"},
        error=AirflowSkipException,
        says=("already RUNNING (if_running='skip')",),
        effective=0,
    ),
    "if_running restart, somebody is faster": Case(
        somebody_starts_it_while_we_wait, {"if_running": "restart"}, result=STARTED
    ),
    "if_running skip": Case(
        status("RUNNING"),
        {"if_running": "skip"},
        error=AirflowSkipException,
        says=("already RUNNING (if_running='skip')",),
        effective=0,
    ),
    "if_running restart": Case(
        status("RUNNING"), {"if_running": "restart", "kafka_rate": 500}, result=STARTED
    ),
    "if_running fail, but it does not": Case(arguments={"if_running": "fail"}, result=STARTED),
    "if_running restart, but it does not": Case(
        arguments={"if_running": "restart"}, result=STARTED
    ),
}


def task(case, mode):
    def carry_out(stage):
        case.arrange(stage)
        if case.first_try is not None:
            stage.run(build(**case.arguments, **case.first_try), "sync")
            assert isinstance(stage.error, errors.StatusTimeoutError)
            stage.error = None
            stage.enos.set_status(stage.pipeline_id, "RUNNING")
        stage.run(build(**case.arguments), mode)

    return carry_out


TASKS = {(name, mode): task(case, mode) for name, case in CASES.items() for mode in MODES}


@pytest.fixture(params=MODES)
def end(request, ends):
    return lambda name: ends[name, request.param]


def named(**wanted):
    return [
        name
        for name, case in CASES.items()
        if all((getattr(case, key) is not None) is value for key, value in wanted.items())
    ]


@pytest.mark.parametrize("name", named(result=True))
def test_start_succeeds_and_returns_how(end, name):
    stage = end(name)
    assert stage.error is None

    outcome, shown, attempts = CASES[name].result
    assert stage.result["outcome"] == outcome
    assert stage.result["status"] == shown
    assert attempts in (None, stage.result["attempts"])
    assert (stage.result["pipeline_id"], stage.result["org_id"]) == (
        stage.pipeline_id,
        stage.org_id,
    )
    assert 0 <= stage.result["waited_seconds"] < 30
    assert set(stage.result) == {
        "pipeline_id",
        "org_id",
        "outcome",
        "status",
        "attempts",
        "conflicts",
        "waited_seconds",
    }


@pytest.mark.parametrize("name", named(error=True))
def test_start_fails_and_says_code_pipeline_organization_and_advice(end, name):
    stage, case = end(name), CASES[name]
    assert stage.result is None

    assert type(stage.error) is case.error
    text = str(stage.error)
    org_id = case.arguments.get("org_id", stage.org_id)
    for part in (*case.says, stage.pipeline_id, org_id):
        assert part in text
    assert "\n" not in text
    assert stage.enos.secret_key not in text


@pytest.mark.parametrize("name", named(cause=True))
def test_error_that_nobody_but_a_person_can_mend_ends_all_tries(end, name):
    stage, case = end(name), CASES[name]

    is_final = isinstance(stage.error, AirflowFailException)
    ours = stage.error.__cause__ if is_final else stage.error
    assert type(ours) is case.cause
    decision = EnOSRetryPolicy().evaluate(stage.error, 1, 3)
    assert (decision.action.name == "FAIL") is is_final


@pytest.mark.parametrize("name", CASES)
def test_pipeline_is_started_as_often_as_it_should(end, name):
    stage = end(name)

    assert [one.effective for one in stage.enos.requests_for("start")].count(True) == (
        CASES[name].effective
    )


def test_pipelines_of_others_are_left_alone(ends):
    for stage in ends.values():
        requests = stage.enos.requests
        assert {one.pipeline_id for one in requests} <= {None, stage.pipeline_id}
        assert {one.operation for one in requests} <= {"token_get", "list", "start", "stop"}


def test_stranger_is_waited_for(end):
    stage = end("stranger holds the lock")

    assert stage.result["conflicts"] >= 1
    assert stage.result["conflicts"] == stage.result["attempts"] - 1
    starts = stage.enos.requests_for("start")
    assert [one.code for one in starts] == [61121] * (len(starts) - 1) + [0]


def test_nothing_but_refusals_comes_before_conflict_timeout_is_over(end):
    requests = end("conflict_timeout").enos.requests_for("start")

    assert {one.code for one in requests} == {61121}


@pytest.mark.parametrize("name", [name for name in CASES if "before the first look" in name])
def test_start_that_fails_at_once_takes_one_look_to_notice(end, name):
    requests = end(name).enos.requests_for()

    assert [one.operation for one in requests][-3:] == ["list", "start", "list"]


def test_accepted_is_enough_when_nobody_waits_for_running(end):
    """There is the look before the start, and no other."""
    requests = end("accepted is enough").enos.requests_for()

    assert [one.operation for one in requests][-2:] == ["list", "start"]


def test_restart_stops_once_and_starts_with_the_new_settings(end):
    stage = end("if_running restart")

    sent = [one.operation for one in stage.enos.requests if one.operation in ("stop", "start")]
    assert sent == ["stop", "start"]
    assert stage.enos.pipeline(stage.pipeline_id).kafka_rate == 500


def test_backfill_restarts_nothing(stage, log_lines):
    stage.enos.set_status(stage.pipeline_id, "RUNNING")
    stage.run_type = "backfill"

    stage.run(build(if_running="restart"), "sync")

    assert stage.result["outcome"] == "already_running"
    assert stage.enos.requests_for("stop") == []
    assert "A backfill restarts nothing" in "\n".join(log_lines("info"))


@pytest.mark.parametrize(
    "name",
    ["if_running fail", "if_running fail, somebody is starting it", "if_running skip"],
)
def test_no_start_is_sent_when_a_running_pipeline_ends_the_task(end, name):
    assert end(name).enos.requests_for("start") == []


def test_text_from_templates_arrives_as_numbers(end):
    [sent] = end("values as text").enos.requests_for("start")

    assert sent.body == {
        "executionMode": 1,
        "kafkaRate": 500,
        "resourceConfig": {"server": 2, "yarn": {"workerCount": 2, "master": 1, "slave": 1}},
    }


def test_retry_after_reaches_airflows_retry(end):
    error = end("429 for ten minutes").error

    assert error.retry_after_seconds == 600.0
    assert EnOSRetryPolicy().evaluate(error, 1, 3).retry_delay == timedelta(seconds=600)


# Killing, on the worker


class Killable:
    """A task in a thread, as Airflow's signal handler finds it."""

    def __init__(self, stage, **arguments):
        self.operator = build(**arguments)(stage)
        self.error = self.result = None
        context = stage.new_try()

        def work():
            try:
                self.result = self.operator.execute(context)
            except Exception as error:
                self.error = error

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    @property
    def is_working(self):
        return self._thread.is_alive()

    def kill(self):
        self.operator.on_kill()
        self._thread.join(10)
        assert not self.is_working


@pytest.mark.parametrize("on_kill", ["leave", "stop"])
def test_kill_while_queueing_sends_no_start_and_no_stop(stage, on_kill):
    """The pipeline is not ours: somebody else's may be running under this ID."""
    stage.enos.hold_start_lock(60)
    task = Killable(stage, on_kill=on_kill)
    stage.enos.wait_for_request("start")
    sent = len(stage.enos.requests_for("start"))

    task.kill()

    assert isinstance(task.error, errors.TaskKilledError)
    # At most the request that was under way when the kill came.
    assert len(stage.enos.requests_for("start")) <= sent + 1
    assert stage.enos.requests_for("stop") == []
    assert stage.enos.status_of(stage.pipeline_id) == "PUBLISHED"


@pytest.mark.parametrize(("on_kill", "after"), [("leave", "RUNNING"), ("stop", "STOPPED")])
def test_kill_while_waiting_for_running_stops_what_this_try_started(stage, on_kill, after):
    stage.enos.settings.start_seconds = 60
    task = Killable(stage, on_kill=on_kill, poll_interval_seconds=60)
    stage.enos.wait_for_request("list", count=2)
    stage.enos.set_status(stage.pipeline_id, "RUNNING")

    task.kill()

    assert isinstance(task.error, errors.TaskKilledError)
    assert stage.enos.status_of(stage.pipeline_id) == after
    stops = stage.enos.requests_for("stop")
    assert [one.effective for one in stops] == ([True] if on_kill == "stop" else [])
    assert len(stage.enos.requests_for("start")) == 1


def test_kill_while_it_starts_stops_it_as_soon_as_that_is_possible(stage):
    """EnOS takes no stop while a pipeline starts."""
    stage.enos.settings.start_seconds = 1
    task = Killable(stage, on_kill="stop", poll_interval_seconds=60)
    stage.enos.wait_for_request("list", count=2)

    task.kill()

    assert isinstance(task.error, errors.TaskKilledError)
    assert stage.enos.status_of(stage.pipeline_id) == "STOPPED"


def test_kill_during_the_start_request_stops_what_it_started(stage):
    stage.enos.faults.append(f.Slow(0.5, on="start"))
    task = Killable(stage, on_kill="stop")
    stage.enos.wait_for_status(stage.pipeline_id, "RUNNING")

    task.kill()

    assert isinstance(task.error, errors.TaskKilledError)
    assert stage.enos.status_of(stage.pipeline_id) == "STOPPED"
    assert [one.effective for one in stage.enos.requests_for("start")] == [True]


def test_kill_that_comes_after_the_result_stops_nothing(stage):
    """Airflow would still report success: a green task without its pipeline."""
    task = build(on_kill="stop")(stage)
    task.execute(stage.new_try())

    task.on_kill()

    assert stage.enos.status_of(stage.pipeline_id) == "RUNNING"
    assert stage.enos.requests_for("stop") == []


def test_kill_leaves_a_pipeline_that_somebody_else_is_starting(stage):
    stage.enos.set_status(stage.pipeline_id, "STARTING")
    task = Killable(stage, on_kill="stop", poll_interval_seconds=60)
    stage.enos.wait_for_request("list", count=2)

    task.kill()

    assert isinstance(task.error, errors.TaskKilledError)
    assert stage.enos.requests_for("stop") == []


def test_kill_with_leave_stops_nothing_after_a_lost_answer(stage):
    stage.enos.settings.start_seconds = 60
    stage.enos.faults.append(f.LoseAnswer(on="start"))
    task = Killable(stage, on_kill="leave", poll_interval_seconds=60)
    stage.enos.wait_for_request("list", count=2)

    task.kill()

    assert stage.enos.requests_for("stop") == []


# Dry run


def test_dry_run_shows_the_request_but_no_secret_and_sends_nothing(stage, log_lines):
    build(resource_config={"server": 2})(stage).dry_run()

    text = "\n".join(log_lines())
    assert (
        f"POST {stage.enos.url}/streaming/v2.0/streaming/pipeline/{stage.pipeline_id}"
        f"?action=start&orgId={stage.org_id}"
    ) in text
    assert '"server": 2' in text
    assert "apim-signature: ***" in text
    assert stage.enos.secret_key not in text
    assert stage.enos.requests == []


def test_log_tells_the_story_without_secrets(stage, log_lines):
    stage.enos.settings.start_seconds = 0.3
    stage.enos.faults.append(f.Code(61121, on="start"))

    build()(stage).execute(stage.new_try())

    lines = [line for line in log_lines() if stage.pipeline_id in line]
    assert "waits: refusal 1, for 0 s now; asked again in" in lines[0]
    accepted = "EnOS accepted the start of pipeline {} (attempt 2, 1 conflicts)."
    assert lines[1] == accepted.format(stage.pipeline_id)
    assert lines[2:4] == [
        f"Pipeline {stage.pipeline_id}: accepted -> STARTING",
        f"Pipeline {stage.pipeline_id}: STARTING -> RUNNING",
    ]
    subject = f"Pipeline {stage.pipeline_id} of organization {stage.org_id}"
    assert lines[4].startswith(f"{subject} was started and is RUNNING, ")
    assert stage.enos.secret_key not in "\n".join(log_lines())


# Between two tries


@pytest.mark.parametrize(("if_running", "remembered"), [("fail", True), ("succeed", False)])
def test_deferred_start_leaves_to_the_next_try_what_it_knows(stage, if_running, remembered):
    """The worker that would tell may never come. Only with a policy is there a look before."""
    start = build(if_running=if_running, deferrable=True)
    with pytest.raises(TaskDeferred):
        start(stage).execute(stage.new_try())

    with pytest.raises(TaskDeferred) as second:
        start(stage).execute(stage.new_try())

    assert second.value.trigger.earlier_try is remembered
