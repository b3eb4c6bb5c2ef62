"""PipelineStatusSensor against EnOS: one table of endings for all three modes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_enos.api import errors
from airflow_provider_enos.emulator import faults as f
from airflow_provider_enos.sensors.streaming import PipelineStatusSensor

MODES = ("poke", "reschedule", "deferrable")


def build(**given):
    """Say how to make the sensor of a stage."""

    def make(stage, **more):
        arguments = {
            "task_id": "wait",
            "pipeline_id": stage.pipeline_id,
            "enos_conn_id": stage.conn_id,
            "poke_interval": 0.2,
            "timeout": 20,
        }
        return PipelineStatusSensor(**arguments | given | more)

    return make


def status(name):
    return lambda stage: stage.enos.set_status(stage.pipeline_id, name)


def fault(one):
    return lambda stage: stage.enos.faults.append(one)


def as_it_is(stage):
    pass


def unknown(stage):
    stage.pipeline_id = "unknown-pipeline"


@dataclass(frozen=True)
class Case:
    """
    One wait.

    :param then: Happens after the sensor's first look.
    :param result: The status it succeeds with.
    """

    arrange: Callable[[Any], None] = as_it_is
    then: Callable[[Any], None] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    result: str | None = None
    error: type[Exception] | None = None
    says: tuple[str, ...] = ()


#: EnOS is down for good, and says so without delay.
DOWN = f.HttpError(503, headers={"Retry-After": "3000"}, on="list", times=None)
BLINK = f.HttpError(503, headers={"Retry-After": "3000"}, on="list")
DENIED = f.Code(61106, on="list", times=None)
SHORT = {"timeout": 0.7}
TIMED_OUT = ("has timed out",)

CASES = {
    "there already": Case(status("RUNNING"), result="RUNNING"),
    "later": Case(then=status("RUNNING"), result="RUNNING"),
    "on the way": Case(status("STARTING"), status("RUNNING"), result="RUNNING"),
    "one of several, in small letters": Case(
        then=status("STOPPED"),
        arguments={"target_statuses": ["paused", "stopped"]},
        result="STOPPED",
    ),
    "one as text": Case(status("PAUSED"), None, {"target_statuses": "paused"}, result="PAUSED"),
    "undocumented status as target": Case(
        status("FINISHED"), None, {"target_statuses": "FINISHED"}, result="FINISHED"
    ),
    "failed at first": Case(
        status("RUN_ERROR"),
        error=AirflowFailException,
        says=("is RUN_ERROR, awaited was RUNNING", "run log in the EnOS console"),
    ),
    "failed later": Case(
        then=status("START_ERROR"), error=AirflowFailException, says=("is START_ERROR",)
    ),
    "failed, soft_fail": Case(
        status("RUN_ERROR"), None, {"soft_fail": True}, error=AirflowSkipException
    ),
    "failed later, soft_fail": Case(
        as_it_is, status("RUN_ERROR"), {"soft_fail": True}, error=AirflowSkipException
    ),
    "failed later, never_fail": Case(
        as_it_is, status("RUN_ERROR"), {"never_fail": True}, error=AirflowSkipException
    ),
    "failed later, silent_fail": Case(
        as_it_is, status("RUN_ERROR"), {"silent_fail": True}, error=AirflowFailException
    ),
    "own idea of failed": Case(
        then=status("STOPPED"),
        arguments={"failed_statuses": ["stopped"]},
        error=AirflowFailException,
        says=("is STOPPED, awaited was RUNNING",),
    ),
    "error as target": Case(
        status("RUN_ERROR"), None, {"target_statuses": "RUN_ERROR"}, result="RUN_ERROR"
    ),
    "timeout": Case(arguments=SHORT, error=AirflowSensorTimeout, says=TIMED_OUT),
    "timeout, soft_fail": Case(
        arguments={**SHORT, "soft_fail": True}, error=AirflowSkipException, says=TIMED_OUT
    ),
    "timeout, never_fail": Case(
        arguments={**SHORT, "never_fail": True}, error=AirflowSensorTimeout, says=TIMED_OUT
    ),
    "timeout, exponential_backoff": Case(
        arguments={**SHORT, "exponential_backoff": True, "max_wait": timedelta(seconds=0.3)},
        error=AirflowSensorTimeout,
        says=TIMED_OUT,
    ),
    "unknown": Case(unknown, error=AirflowFailException, says=("find pipeline unknown-pipeline",)),
    "unknown, soft_fail": Case(unknown, None, {"soft_fail": True}, error=AirflowSkipException),
    "unknown, never_fail": Case(unknown, None, {"never_fail": True}, error=AirflowSkipException),
    "unknown, silent_fail": Case(unknown, None, {"silent_fail": True}, error=AirflowFailException),
    "other organization": Case(
        arguments={"org_id": "o-of-others"}, error=AirflowFailException, says=("99403",)
    ),
    "denied later": Case(then=fault(DENIED), error=AirflowFailException, says=("61106",)),
    "denied later, soft_fail": Case(
        as_it_is, fault(DENIED), {"soft_fail": True}, error=AirflowSkipException
    ),
    "denied later, silent_fail": Case(
        as_it_is, fault(DENIED), {"silent_fail": True}, error=AirflowFailException
    ),
    "a token revoked": Case(fault(f.RevokeToken(on="list")), status("RUNNING"), result="RUNNING"),
    "down at first": Case(fault(DOWN), error=errors.EnOSServerError, says=("HTTP 503",)),
    "down later": Case(then=fault(DOWN), error=errors.EnOSServerError, says=("HTTP 503",)),
    "down later, soft_fail": Case(
        as_it_is, fault(DOWN), {"soft_fail": True}, error=errors.EnOSServerError
    ),
    "down later, never_fail": Case(
        as_it_is, fault(DOWN), {"never_fail": True}, error=AirflowSkipException
    ),
    "down for a moment, silent_fail": Case(
        fault(BLINK), status("RUNNING"), {"silent_fail": True}, result="RUNNING"
    ),
    "down later, silent_fail": Case(
        as_it_is, fault(DOWN), {"silent_fail": True, **SHORT}, error=AirflowSensorTimeout
    ),
}


def task(case, mode):
    def carry_out(stage):
        case.arrange(stage)
        if case.then:
            stage.when_asked_once(case.then)
        stage.run(build(**case.arguments), mode)

    return carry_out


TASKS = {(name, mode): task(case, mode) for name, case in CASES.items() for mode in MODES}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_wait_ends_alike_in_every_mode(ends, name, mode):
    stage, case = ends[name, mode], CASES[name]

    if case.result is not None:
        assert stage.error is None
        assert stage.result == {
            "pipeline_id": stage.pipeline_id,
            "org_id": stage.org_id,
            "status": case.result,
        }
    else:
        assert type(stage.error) is case.error
        assert [part for part in case.says if part not in str(stage.error)] == []
        assert "\n" not in str(stage.error)
        assert stage.enos.secret_key not in str(stage.error)


def test_waits_only_look(ends):
    for stage in ends.values():
        assert {one.operation for one in stage.enos.requests} <= {"token_get", "list"}


@pytest.mark.parametrize("mode", MODES)
def test_status_that_is_there_already_takes_one_look(ends, mode):
    assert len(ends["there already", mode].enos.requests_for("list")) == 1


def test_console_button_works_while_it_waits(stage):
    """In poke mode; in the others Airflow itself stores its address after the first look."""
    stage.connect(extra={"console_url": "https://console.invalid/{pipeline_id}"})
    stage.enos.set_status(stage.pipeline_id, "RUNNING")
    context, pushed = stage.new_try(), []
    context["ti"].xcom_push = lambda **xcom: pushed.append((xcom, stage.enos.requests_for()))

    build()(stage).execute(context)

    link = f"https://console.invalid/{stage.pipeline_id}"
    assert pushed == [({"key": "_link_PipelineConsoleLink", "value": link}, [])]
