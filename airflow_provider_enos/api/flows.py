"""
What we say to EnOS, in which order, without saying it.

Every function here is a generator. It yields a step (send this, sleep, what time is it?), is sent
that step's result, and returns the outcome. It opens no socket, reads no clock and never sleeps, so
``transport.run`` (worker) and ``transport.run_async`` (triggerer) drive the same code, and a test
drives it by hand.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TypeVar

from airflow_provider_enos.api import calls
from airflow_provider_enos.api.errors import (
    EnOSError,
    EnOSUnreadableAnswerError,
    PipelineFailedError,
    PipelineNotFoundError,
    PipelineStateError,
    StatusTimeoutError,
)
from airflow_provider_enos.api.messages import Call, read_data
from airflow_provider_enos.api.pipeline import Pipeline, PipelineStatus
from airflow_provider_enos.api.transport import Flow, Log, Now, Send, Sleep

T = TypeVar("T")

#: An organization has at most 50 pipelines (EnOS user documentation, FAQ): one page.
PAGE_SIZE = 100
MAX_PAGES = 1000

#: How long trouble may last before a single call gives up.
CALL_PATIENCE_SECONDS = 20.0

#: How long trouble may last before a wait gives up: a gateway's restart must not fail a task.
WAIT_PATIENCE_SECONDS = 300.0

#: EnOS does not say whether its list is consistent: look again before a pipeline is called missing.
SECOND_LOOK_SECONDS = 2.0

#: Refused although the status that is read allows it: it has just changed. Ask once more.
MAX_CONTRADICTIONS = 2

BACKOFF_BASE_SECONDS = 2.0
BACKOFF_CAP_SECONDS = 20.0


def full_jitter() -> Iterator[float]:
    """
    Yield pauses in seconds: evenly drawn from 0 to 2, 4, 8, 16, then always 20.

    The name and the reason: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    ceiling = BACKOFF_BASE_SECONDS
    while True:
        yield random.uniform(0, min(ceiling, BACKOFF_CAP_SECONDS))  # noqa: S311 - no secret
        ceiling *= 2


def once(call: Call[T]) -> Flow[T]:
    """Make one call and return its value. Nothing is repeated."""
    answer = yield Send(call.request)
    try:
        return call.read(read_data(call.request, answer))
    except RecursionError:
        raise EnOSUnreadableAnswerError(
            "the answer is nested too deeply", during=call.request.purpose
        ) from None


def ask(call: Call[T], *, patience_seconds: float = CALL_PATIENCE_SECONDS) -> Flow[T]:
    """
    Make a call; wait out trouble that passes.

    A call that may have been carried out is repeated only if that does no harm.

    :param patience_seconds: How long the trouble may last.
    :raises EnOSError: the last one, when it did not pass or cannot pass.
    """
    pauses = full_jitter()
    troubled_since: float | None = None
    while True:
        try:
            return (yield from once(call))
        except EnOSError as error:
            if not error.transient or (error.ambiguous and not call.request.repeatable):
                raise
            now = yield Now()
            troubled_since = now if troubled_since is None else troubled_since
            pause = max(next(pauses), error.retry_after_seconds or 0)
            if now + pause > troubled_since + patience_seconds:
                raise
            yield Log("%s Trying again in %.1f s.", (error, pause))
        yield Sleep(pause)


def list_pipelines(
    org_id: str,
    *,
    is_system: bool = False,
    if_released: bool = True,
    patience_seconds: float = CALL_PATIENCE_SECONDS,
) -> Flow[list[Pipeline]]:
    """Return all pipelines of one kind, page by page."""
    found: dict[str, Pipeline] = {}
    for page_no in range(1, MAX_PAGES + 1):
        page = yield from ask(
            calls.list_pipelines(
                org_id,
                page_no=page_no,
                page_size=PAGE_SIZE,
                is_system=is_system,
                if_released=if_released,
            ),
            patience_seconds=patience_seconds,
        )
        known = len(found)
        found.update((pipeline.pipeline_id, pipeline) for pipeline in page.pipelines)
        # EnOS does not say whether "count" counts the page or all, nor how large a page may be.
        is_short = len(page.pipelines) < PAGE_SIZE and (page.count or 0) <= len(found)
        if is_short or len(found) == known:
            break
    return list(found.values())


def find_pipeline(
    org_id: str, pipeline_id: str, *, patience_seconds: float = CALL_PATIENCE_SECONDS
) -> Flow[Pipeline]:
    """
    Return a released pipeline with its status, be it a user's or one of the system's.

    :raises PipelineNotFoundError: it is not listed, nor was it a moment later.
    """
    for is_second_look in (False, True):
        for is_system in (False, True):
            pipelines = yield from list_pipelines(
                org_id, is_system=is_system, patience_seconds=patience_seconds
            )
            for pipeline in pipelines:
                if pipeline.pipeline_id == pipeline_id:
                    return pipeline
        if not is_second_look:
            yield Sleep(SECOND_LOOK_SECONDS)
    raise PipelineNotFoundError(
        "it is not among the released pipelines",
        during=f"find pipeline {pipeline_id} of organization {org_id}",
    )


def wait_for_status(
    org_id: str,
    pipeline_id: str,
    target: str,
    *,
    deadline: float,
    poll_interval_seconds: float,
) -> Flow[PipelineStatus]:
    """
    Wait until a pipeline whose start or stop EnOS has accepted shows ``target``.

    The list may show the old status for a while. STOPPED is a failure of a start only after another
    status was seen; a status that nobody documented means that something is under way.

    :param deadline: Seconds since 1970.
    :raises PipelineFailedError: the status says that it failed.
    :raises StatusTimeoutError: the deadline has passed.
    """
    what = f"pipeline {pipeline_id} of organization {org_id}"
    seen: PipelineStatus | None = None
    while True:
        pipeline = yield from find_pipeline(
            org_id, pipeline_id, patience_seconds=WAIT_PATIENCE_SECONDS
        )
        status = pipeline.status
        if status != seen:
            yield Log("Pipeline %s: %s -> %s", (pipeline_id, seen or "accepted", status))
        if status == target:
            return status
        has_stopped = status == "STOPPED" and seen not in (None, "STOPPED")
        if status.has_failed or has_stopped:
            raise PipelineFailedError(f"{what} is {status}, awaited was {target}.")
        seen = status
        now = yield Now()
        if now >= deadline:
            raise StatusTimeoutError(f"{what} is still {status}; its time to be {target} is over.")
        yield Sleep(min(poll_interval_seconds, deadline - now))


def stop_pipeline(
    org_id: str, pipeline_id: str, *, deadline: float, poll_interval_seconds: float
) -> Flow[PipelineStatus]:
    """
    Stop a pipeline and wait until it is STOPPED; one that is stopped already is left as it is.

    A pipeline that is between two statuses is stopped when it has arrived at one.

    :param deadline: Seconds since 1970.
    :raises PipelineStateError: its status does not allow a stop.
    :raises StatusTimeoutError: the deadline has passed.
    """
    contradictions = 0
    while True:
        try:
            yield from ask(calls.stop_pipeline(org_id, pipeline_id))
            break
        except EnOSError as error:
            if not (error.ambiguous or isinstance(error, PipelineStateError)):
                raise
            pipeline = yield from find_pipeline(org_id, pipeline_id)
            if pipeline.status == "STOPPED":
                break
            if pipeline.status in ("RUNNING", "PAUSED") and not error.ambiguous:
                contradictions += 1
            elif not (error.ambiguous or pipeline.status.is_in_transition):
                raise
            now = yield Now()
            if contradictions >= MAX_CONTRADICTIONS or now >= deadline:
                raise
            yield Sleep(min(poll_interval_seconds, deadline - now))
    return (
        yield from wait_for_status(
            org_id,
            pipeline_id,
            "STOPPED",
            deadline=deadline,
            poll_interval_seconds=poll_interval_seconds,
        )
    )
