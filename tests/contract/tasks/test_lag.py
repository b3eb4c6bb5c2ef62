"""PipelineLagSensor against EnOS: one table of endings for all three modes."""

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
from airflow_provider_enos.sensors.streaming import PipelineLagSensor

MODES = ("poke", "reschedule", "deferrable")


def build(**given):
    """Say how to make the sensor of a stage."""

    def make(stage, **more):
        arguments = {
            "task_id": "wait",
            "pipeline_id": stage.pipeline_id,
            "max_lag": 100,
            "enos_conn_id": stage.conn_id,
            "poke_interval": 0.2,
            "timeout": 20,
        }
        return PipelineLagSensor(**arguments | given | more)

    return make


def running(lag, *faults, **settings):
    """Begin with a pipeline that runs and is so far behind."""

    def arrange(stage):
        stage.enos.settings.update(settings)
        stage.enos.set_status(stage.pipeline_id, "RUNNING")
        stage.enos.set_lag(stage.pipeline_id, lag)
        for fault in faults:
            stage.enos.faults.append(fault)

    return arrange


def status(name):
    return lambda stage: stage.enos.set_status(stage.pipeline_id, name)


def lag(number):
    return lambda stage: stage.enos.set_lag(stage.pipeline_id, number)


def unknown(stage):
    stage.pipeline_id = "unknown-pipeline"


@dataclass(frozen=True)
class Case:
    """
    One wait.

    :param then: Happens after the sensor's first look.
    :param result: The lag it succeeds with.
    :param looks: How often EnOS was asked for the lag at least.
    """

    arrange: Callable[[Any], None]
    then: Callable[[Any], None] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    result: int | None = None
    looks: int = 1
    error: type[Exception] | None = None
    says: tuple[str, ...] = ()


SHORT = {"timeout": 1.5}
TIMED_OUT = ("has timed out",)

CASES = {
    "one look is enough": Case(running(100), None, {"looks": 1}, result=100),
    "two looks by default": Case(running(0), result=0, looks=2),
    "several, as text": Case(running(0), None, {"looks": "4", "max_lag": "5"}, result=0, looks=4),
    "for some time": Case(running(0), None, {"looks": 1, "duration": 0.7}, result=0, looks=2),
    "behind, then not": Case(running(5000), lag(3), result=3, looks=3),
    "works it off": Case(running(1500, lag_drains=True), None, {"max_lag": 0}, result=0, looks=2),
    "does not run yet": Case(status("STOPPED"), status("RUNNING"), result=0, looks=3),
    "always the same measurement": Case(
        running(0, lag_interval_seconds=3600),
        None,
        SHORT,
        error=AirflowSensorTimeout,
        says=TIMED_OUT,
    ),
    "too far behind": Case(running(101), None, SHORT, error=AirflowSensorTimeout, says=TIMED_OUT),
    "too far behind, soft_fail": Case(
        running(101), None, {**SHORT, "soft_fail": True}, error=AirflowSkipException, says=TIMED_OUT
    ),
    "does not run": Case(status("PAUSED"), None, SHORT, error=AirflowSensorTimeout, says=TIMED_OUT),
    "has failed": Case(
        status("RUN_ERROR"),
        error=AirflowFailException,
        says=("is RUN_ERROR, awaited was a lag of 100 at most",),
    ),
    "fails": Case(
        running(5000), status("RUN_ERROR"), error=AirflowFailException, says=("is RUN_ERROR",)
    ),
    "fails, soft_fail": Case(
        running(5000), status("RUN_ERROR"), {"soft_fail": True}, error=AirflowSkipException
    ),
    "fails, silent_fail": Case(
        running(5000), status("RUN_ERROR"), {"silent_fail": True}, error=AirflowFailException
    ),
    "unknown": Case(unknown, error=AirflowFailException, says=("61108", "unknown-pipeline")),
    "other organization": Case(
        running(0), None, {"org_id": "o-of-others"}, error=AirflowFailException, says=("99403",)
    ),
    "garbage once": Case(running(0, f.Garbage("[", on="offset_lag")), result=0, looks=3),
    "99000 once, though it runs": Case(
        running(0, f.Code(99000, on="offset_lag")), result=0, looks=3
    ),
    "down": Case(
        running(0, f.HttpError(503, headers={"Retry-After": "3000"}, on="offset_lag", times=None)),
        error=errors.EnOSServerError,
        says=("HTTP 503",),
    ),
    "exponential_backoff": Case(
        running(5000),
        None,
        {**SHORT, "exponential_backoff": True, "max_wait": timedelta(seconds=0.3)},
        error=AirflowSensorTimeout,
    ),
}


def task(case, mode):
    def carry_out(stage):
        case.arrange(stage)
        if case.then:
            stage.when_asked_once(case.then, "offset_lag")
        stage.run(build(**case.arguments), mode)

    return carry_out


TASKS = {(name, mode): task(case, mode) for name, case in CASES.items() for mode in MODES}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_wait_ends_alike_in_every_mode(ends, name, mode):
    stage, case = ends[name, mode], CASES[name]

    assert len(stage.enos.requests_for("offset_lag")) >= case.looks
    if case.result is not None:
        assert stage.error is None
        assert stage.result == {
            "pipeline_id": stage.pipeline_id,
            "org_id": stage.org_id,
            "lag": case.result,
            "topic_name": f"MEASURE_POINT_INTERNAL_{stage.org_id}",
        }
    else:
        assert type(stage.error) is case.error
        assert [part for part in case.says if part not in str(stage.error)] == []
        assert "\n" not in str(stage.error)


def test_waits_only_look(ends):
    for stage in ends.values():
        operations = {one.operation for one in stage.enos.requests}
        assert operations <= {"token_get", "list", "offset_lag"}


def test_new_try_counts_anew(stage):
    """What the try before has seen may be long ago."""
    stage.enos.set_status(stage.pipeline_id, "RUNNING")
    stage.enos.settings.lag_interval_seconds = 3600
    stage.run(build(**SHORT), "reschedule")
    asked = len(stage.enos.requests_for("offset_lag"))
    stage.enos.settings.lag_interval_seconds = 0
    stage.try_number += 1

    stage.run(build(), "reschedule")

    assert stage.result["lag"] == 0
    assert len(stage.enos.requests_for("offset_lag")) - asked == 2
