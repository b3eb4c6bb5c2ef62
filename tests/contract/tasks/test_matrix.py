"""
The fault matrix: every trouble, at each call that a task makes, once and for good, in both modes.

A green task means a pipeline that was started or changed by exactly one effective request, or by
none where it was so before; a red one says why. That is checked for each cell. What each cell ends
with is in ``matrix.md`` beside this file, for people to read: a difference fails the test, and
``ENOS_WRITE_MATRIX=1`` writes it anew.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_enos.api import errors
from airflow_provider_enos.operators.streaming import (
    ReleasePipelineOperator,
    ResetPipelineOffsetOperator,
    StartPipelineOperator,
    StopPipelineOperator,
)
from airflow_provider_enos.sensors.streaming import PipelineStatusSensor
from tests.contract.troubles import troubles

#: Many tasks share the machine: no answer but those meant to be is late.
LATE_SECONDS = 6.0
TROUBLES = troubles(LATE_SECONDS)
FILE = Path(__file__).with_name("matrix.md")
MODES = ("sync", "deferrable")

#: Long enough for what passes, and short for what does not.
PATIENT, SHORT = 120.0, 2.0


def start(stage, *, seconds, **more):
    return StartPipelineOperator(
        task_id="start",
        pipeline_id=stage.pipeline_id,
        execution_mode="standalone",
        enos_conn_id=stage.conn_id,
        poll_interval_seconds=0.1,
        conflict_timeout=seconds,
        start_timeout=seconds,
        **more,
    )


def sensor(stage, *, seconds, **more):
    return PipelineStatusSensor(
        task_id="watch",
        pipeline_id=stage.pipeline_id,
        target_statuses=["RUNNING"],
        enos_conn_id=stage.conn_id,
        poke_interval=0.1,
        timeout=seconds,
        **more,
    )


def change(operator, timeout):
    """Say how to make an operator that changes a pipeline."""

    def build(stage, *, seconds, **more):
        return operator(
            task_id="change",
            pipeline_id=stage.pipeline_id,
            enos_conn_id=stage.conn_id,
            poll_interval_seconds=0.1,
            **{timeout: seconds},
            **more,
        )

    return build


@dataclass(frozen=True)
class Kind:
    """
    A task.

    :param before: The pipeline's status when it begins.
    :param good: The outcome, or the status of a sensor, when nothing is in the way.
    :param settled: The outcome when the answer to its request was lost.
    :param after: The pipeline's status then.
    :param does: What it asks EnOS to do.
    :param was_so: Somebody else had done it before.
    """

    build: Callable[..., Any]
    before: str
    good: str
    settled: str
    after: str
    does: str | None = None
    was_so: bool = False


KINDS = {
    "start": Kind(start, "PUBLISHED", "started", "adopted", "RUNNING", "start"),
    "start of a running one": Kind(
        start, "RUNNING", "already_running", "already_running", "RUNNING", "start", was_so=True
    ),
    "sensor": Kind(sensor, "RUNNING", "RUNNING", "RUNNING", "RUNNING"),
    "stop": Kind(
        change(StopPipelineOperator, "stop_timeout"),
        "RUNNING",
        "stopped",
        "stopped",
        "STOPPED",
        "stop",
    ),
    "stop of a stopped one": Kind(
        change(StopPipelineOperator, "stop_timeout"),
        "STOPPED",
        "already_stopped",
        "already_stopped",
        "STOPPED",
        "stop",
        was_so=True,
    ),
    "release": Kind(
        change(ReleasePipelineOperator, "release_timeout"),
        "STOPPED",
        "released",
        "released",
        "PUBLISHED",
        "release",
    ),
    "reset": Kind(
        change(ResetPipelineOffsetOperator, "reset_timeout"),
        "STOPPED",
        "reset",
        "reset",
        "STOPPED",
        "reset_offset",
    ),
}

TOKEN, SENSOR_TOKEN = "start: its token", "sensor: its token"
FIRST_LOOK, STOP_FIRST_LOOK = "start: the first look", "stop: the first look"
RELEASE_FIRST_LOOK = "release: the first look"
LOOK, SENSOR_LOOK = "start: the look for RUNNING", "sensor: the look"
START, STOP, STOP_LOOK = "start: the start", "stop: the stop", "stop: the look for STOPPED"
RELEASE, RESET, RESET_LOOK = "release: the release", "reset: the reset", "reset: the look"
START_AGAIN, STOP_AGAIN = "start of a running one: the start", "stop of a stopped one: the stop"
PLACES = {
    TOKEN: "token_get",
    FIRST_LOOK: "list",
    START: "start",
    START_AGAIN: "start",
    LOOK: "list",
    SENSOR_TOKEN: "token_get",
    SENSOR_LOOK: "list",
    STOP_FIRST_LOOK: "list",
    STOP: "stop",
    STOP_AGAIN: "stop",
    STOP_LOOK: "list",
    RELEASE_FIRST_LOOK: "list",
    RELEASE: "release",
    RESET_LOOK: "list",
    RESET: "reset_offset",
}
ONCE, FOR_GOOD = "once", "for good"


def kind_of(place):
    return KINDS[place.split(":")[0]]


def at(place, trouble, how_long):
    """Arrange a trouble at a call of a task."""

    def arrange(stage):
        stage.connect(extra={"request_timeout_seconds": trouble.timeout})
        stage.enos.set_status(stage.pipeline_id, kind_of(place).before)
        times, skip = 1 if how_long is ONCE else None, place in (LOOK, STOP_LOOK)
        stage.enos.faults.append(trouble.on(PLACES[place], times, int(skip)))

    return arrange


def verdict(place, trouble, how_long):
    """Say how a task must end: an outcome, or a class of error."""
    kind = kind_of(place)
    passes = trouble.heals and how_long is ONCE
    error = trouble.error or errors.AuthenticationError
    if place in (TOKEN, FIRST_LOOK, STOP_FIRST_LOOK, RELEASE_FIRST_LOOK) and how_long is ONCE:
        return kind.good  # whoever may not look may start all the same
    if PLACES[place] == "token_get":
        passes = passes and trouble.error is not None  # no other token helps a token
        error = errors.NoTokenError if trouble.may_be_done else error
    if kind.was_so and trouble.may_be_done:
        return kind.settled
    if PLACES[place] == kind.does and place != RESET and trouble.is_done:
        return kind.settled  # by reading the status, which tells nothing of a reset
    if place in (LOOK, STOP_LOOK) and error is errors.PipelineNotFoundError:
        passes = how_long is ONCE  # accepted a moment ago: it cannot be missing
    return kind.good if passes else error


# What meets all calls of a task


def no_such_host(stage):
    stage.connect(host="http://no-such-host.invalid")


def nobody_listens(stage):
    stage.enos.stop()


def nobody_listens_for_a_moment(stage):
    stage.enos.stop()
    threading.Timer(0.5, stage.enos.start).start()


def nobody_accepts(stage):
    stage.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = stage.listener.getsockname()
    # The queue of those that wait to be accepted is full, so the next one gets no answer.
    stage.others = [socket.socket() for _ in range(4)]
    for other in stage.others:
        other.setblocking(False)
        other.connect_ex(address)
    stage.connect(host=f"http://127.0.0.1:{address[1]}", extra={"request_timeout_seconds": 1})


def https_of_a_plain_server(stage):
    stage.connect(host=stage.enos.url.replace("http:", "https:"))


def slow_clock(stage):
    stage.set_back_clock_of_task(16 * 60)


def wrong_secret_key(stage):
    stage.connect(password="not-the-secret-key")


def wrong_organization(stage):
    stage.connect(extra={"org_id": "o-of-others"})


NETWORK = {
    ("no such host", FOR_GOOD): (no_such_host, errors.EnOSUnreachableError),
    ("nobody listens", FOR_GOOD): (nobody_listens, errors.EnOSUnreachableError),
    ("nobody listens", ONCE): (nobody_listens_for_a_moment, "started"),
    ("nobody accepts the connection", FOR_GOOD): (nobody_accepts, errors.EnOSUnreachableError),
    ("https address of a plain server", FOR_GOOD): (
        https_of_a_plain_server,
        errors.EnOSUnreachableError,
    ),
    ("the clock is 16 minutes slow", FOR_GOOD): (slow_clock, errors.AuthenticationError),
    ("wrong secret key", FOR_GOOD): (wrong_secret_key, errors.AuthenticationError),
    ("wrong organization", FOR_GOOD): (wrong_organization, errors.AccessDeniedError),
}

# What the pipeline itself does


def begins(status, arrange=lambda stage: None, **settings):
    """Begin in a status of an hour ago."""

    def arrange_both(stage):
        stage.enos.settings.update(settings)
        stage.enos.set_status(stage.pipeline_id, status, at=time.time() - 3600)
        arrange(stage)

    return arrange_both


def start_ends_in(status):
    return lambda stage: stage.enos.set_start_outcome(stage.pipeline_id, status)


#: From an accepted start to its end: over before the first look, or not.
AT_ONCE, LATER = 0.001, 1.0

PIPELINE = "start: the pipeline"
PIPELINES = {
    f"{name}, was {before}": (begins(before, arrange, **settings), wanted)
    for before in ("PUBLISHED", "STOPPED", "PAUSED")
    for name, (arrange, settings, wanted) in {
        "runs": (start_ends_in("RUNNING"), {"start_seconds": LATER}, "started"),
        "runs, shows the old status meanwhile": (
            start_ends_in("RUNNING"),
            {"start_seconds": LATER, "status_while_starting": None},
            "started",
        ),
        "is STOPPED again before the first look": (
            start_ends_in("STOPPED"),
            {"start_seconds": AT_ONCE},
            errors.PipelineFailedError,
        ),
        "is in START_ERROR before the first look": (
            start_ends_in("START_ERROR"),
            {"start_seconds": AT_ONCE},
            errors.PipelineFailedError,
        ),
    }.items()
}

ALL_CALLS = "start: all calls"

#: (place, trouble, how long) -> (how to arrange the trouble, verdict)
CELLS = {
    (place, name, how_long): (at(place, trouble, how_long), verdict(place, trouble, how_long))
    for place, operation in PLACES.items()
    for name, trouble in TROUBLES.items()
    for how_long in (ONCE, FOR_GOOD)
    if (name, operation) != ("token revoked", "token_get")
}
CELLS |= {(PIPELINE, name, ONCE): rest for name, rest in PIPELINES.items()}
CELLS |= {(ALL_CALLS, *key): rest for key, rest in NETWORK.items()}


def task(cell, mode):
    arrange, _ = CELLS[cell]
    build = kind_of(cell[0]).build
    seconds = PATIENT if cell[2] is ONCE else SHORT

    def carry_out(stage):
        arrange(stage)
        stage.run(lambda stage, **more: build(stage, seconds=seconds, **more), mode)

    return carry_out


TASKS = {(*cell, mode): task(cell, mode) for cell in CELLS for mode in MODES}


def effective(stage, kind):
    """How often EnOS has done what the task asked for."""
    if kind.does == "start":
        return stage.enos.pipeline(stage.pipeline_id).starts_accepted
    requests = stage.enos.requests_for(kind.does, stage.pipeline_id) if kind.does else []
    logged = [request.effective for request in requests].count(True)
    # A request is logged when its answer leaves, and a slow one may not have left yet.
    is_so = stage.enos.status_of(stage.pipeline_id) == kind.after
    return max(logged, is_so and kind.before != kind.after)


def error_of_ours(stage):
    is_final = isinstance(stage.error, AirflowFailException)
    return stage.error.__cause__ if is_final else stage.error


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", CELLS, ids=", ".join)
def test_green_is_one_effective_request_and_red_says_why(ends, cell, mode):
    stage, (_, wanted), kind = ends[(*cell, mode)], CELLS[cell], kind_of(cell[0])

    done = effective(stage, kind)
    assert done <= 1 or cell[0] == RESET  # which does no harm
    if isinstance(wanted, str):
        assert stage.error is None
        assert stage.result["outcome" if kind.does else "status"] == wanted
        assert bool(done) is (bool(kind.does) and not kind.was_so)
        assert stage.enos.status_of(stage.pipeline_id) == kind.after
        return
    assert stage.result is None
    ours, text = error_of_ours(stage), str(stage.error)
    assert type(ours) is wanted
    assert isinstance(stage.error, AirflowFailException) is not ours.retryable
    assert stage.pipeline_id in text
    assert f"organization {'o-of-others' if 'wrong organization' in cell else stage.org_id}" in text
    assert text.isprintable()
    assert stage.enos.secret_key not in text
    # Whoever reads of a pipeline that was changed must not believe that it was not.
    if cell[0] != RESET:
        says_done = (f"whose {kind.does} EnOS has accepted", f"EnOS accepted the {kind.does} of")
        assert bool(done) is any(part in text for part in says_done)


#: What is different each time, or on each system.
UNSTEADY = {
    r"[0-9a-f]{8}-[0-9a-f-]{27}": "<id>",
    r"x{20,}": "xxx",
    r"\[SSL: [^)]*\)": "<what OpenSSL says>",
    r"Name or service not known|\[Errno -?\d+\] [^.)]*|Connect call failed \(.*?\)": "<why>",
    r"(port=|127\.0\.0\.1:)\d+": r"\1<port>",
}


def plain(stage):
    """Return how a task ended, without what is different each time."""
    if stage.error is None:
        return "green: " + stage.result.get("outcome", stage.result["status"]), ""
    text = str(stage.error).replace(stage.pipeline_id, "P").replace(stage.org_id, "O")
    for pattern, instead in UNSTEADY.items():
        text = re.sub(pattern, instead, text)
    end = "all tries end" if isinstance(stage.error, AirflowFailException) else "Airflow may retry"
    return f"red: {type(error_of_ours(stage)).__name__}, {end}", text


def written(ends):
    """Return the matrix as Markdown."""
    lines = [
        "# The fault matrix",
        "",
        "How each task ends; written by `test_matrix.py`. P is its pipeline, O its organization.",
    ]
    place = None
    for cell in CELLS:
        if cell[0] != place:
            place = cell[0]
            lines += [
                "",
                f"## {place}",
                "",
                "| trouble | how long | end | says |",
                "|---|---|---|---|",
            ]
        by_mode = {mode: plain(ends[(*cell, mode)]) for mode in MODES}
        (end,) = {end for end, _ in by_mode.values()}
        texts = dict.fromkeys(text for _, text in by_mode.values())
        lines.append(f"| {cell[1]} | {cell[2]} | {end} | {'<br>'.join(texts)} |")
    return "\n".join(lines) + "\n"


def test_what_tasks_say_is_what_people_have_read(ends):
    text = written(ends)
    if os.environ.get("ENOS_WRITE_MATRIX"):
        FILE.write_text(text)

    assert text == FILE.read_text()
