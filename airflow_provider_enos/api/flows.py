"""
What we say to EnOS, in which order, without saying it.

Every function here is a generator. It yields a step (send this, sleep, what time is it?), is sent
that step's result, and returns the outcome. It opens no socket, reads no clock and never sleeps, so
``transport.run`` (worker) and ``transport.run_async`` (triggerer) drive the same code, and a test
drives it by hand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from airflow_provider_enos.api import calls
from airflow_provider_enos.api.calls import PipelinePage
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
from airflow_provider_enos.api.transport import Flow, Log, Now, Send, Share, Shared, Sleep

T = TypeVar("T")

#: An organization has at most 50 pipelines (EnOS user documentation, FAQ): one page.
PAGE_SIZE = 100
MAX_PAGES = 100

#: A page with fewer pipelines than EnOS's own default page size is the last one.
DEFAULT_PAGE_SIZE = 10

#: EnOS does not say whether its list is consistent: look again before a pipeline is called missing.
SECOND_LOOK_SECONDS = 2.0

#: Ours: how long the list may show an old status after an action; EnOS does not say.
LIST_LAG_SECONDS = 15.0

#: A list of another flow will do if it is not older than this share of the interval: so those who
#: look equally often come to look together, whenever each of them began.
SHARED_AGE = 0.5

BACKOFF_BASE_SECONDS = 2.0
BACKOFF_CAP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long trouble that passes is waited out.

    :param seconds: How long the trouble itself may last.
    :param deadline: When it must be over in any case, in seconds since 1970.
    """

    seconds: float
    deadline: float = float("inf")


#: For what is done again anyway.
AT_ONCE = Patience(0.0)

#: For a single call.
CALL_PATIENCE = Patience(20.0)

#: For a wait: a gateway's restart must not fail a task.
WAIT_PATIENCE = Patience(300.0)


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


def ask(call: Call[T], patience: Patience = CALL_PATIENCE) -> Flow[T]:
    """
    Make a call; wait out trouble that passes.

    A call that may have been carried out is repeated only if that does no harm.

    :raises EnOSError: the last one, when it did not pass or cannot pass.
    """
    return (yield from _patiently(lambda: once(call), patience, repeatable=call.request.repeatable))


def _patiently(attempt: Callable[[], Flow[T]], patience: Patience, *, repeatable: bool) -> Flow[T]:
    pauses = full_jitter()
    troubled_since: float | None = None
    while True:
        try:
            return (yield from attempt())
        except EnOSError as error:
            if not error.transient or (error.ambiguous and not repeatable):
                raise
            now = yield Now()
            troubled_since = now if troubled_since is None else troubled_since
            pause = max(next(pauses), error.retry_after_seconds or 0)
            if now + pause > min(troubled_since + patience.seconds, patience.deadline):
                raise
            yield Log("%s Trying again in %.1f s.", (error, pause))
        yield Sleep(pause)


def list_pipelines(
    org_id: str,
    *,
    is_system: bool = False,
    if_released: bool = True,
    patience: Patience = CALL_PATIENCE,
) -> Flow[dict[str, Pipeline]]:
    """Return the pipelines of one kind by ID, page by page."""

    def page(page_no: int) -> Flow[Shared[PipelinePage]]:
        call = _list_call(org_id, page_no, is_system, if_released)
        return Shared((yield from ask(call, patience)), 0.0)

    return (yield from _collected(page)).pipelines


@dataclass(frozen=True, slots=True)
class _Listing:
    pipelines: dict[str, Pipeline]
    #: Of its last page.
    begun_at: float


def _list_call(
    org_id: str, page_no: int, is_system: bool, if_released: bool = True
) -> Call[PipelinePage]:
    return calls.list_pipelines(
        org_id, page_no=page_no, page_size=PAGE_SIZE, is_system=is_system, if_released=if_released
    )


def _collected(
    get_page: Callable[[int], Flow[Shared[PipelinePage]]], until: str | None = None
) -> Flow[_Listing]:
    """Return the pipelines of all pages, or of the pages down to that which has ``until``."""
    found: dict[str, Pipeline] = {}
    for page_no in range(1, MAX_PAGES + 1):
        shared = yield from get_page(page_no)
        page = shared.value
        known, size = len(found), len(page.pipelines)
        found.update((pipeline.pipeline_id, pipeline) for pipeline in page.pipelines)
        # EnOS does not say whether "count" counts the page or all; more than the page is all.
        total = page.count if page.count is not None and page.count > size else None
        is_last = size < DEFAULT_PAGE_SIZE if total is None else len(found) >= total
        if is_last or until in found or len(found) == known:
            break
    return _Listing(found, shared.begun_at)


@dataclass(frozen=True, slots=True)
class Look:
    """
    A pipeline as a list has shown it.

    :param begun_at: When the list was asked for, in seconds since 1970.
    """

    pipeline: Pipeline
    begun_at: float

    @property
    def status(self) -> PipelineStatus:
        """The status that the list has shown."""
        return self.pipeline.status

    def pause(self, interval_seconds: float, now: float, deadline: float) -> float:
        """
        Return the pause until the next look.

        Counted from the list, so that all who have seen the same one look together again.
        """
        return max(min(self.begun_at + interval_seconds, deadline) - now, 0.0)


def see_page(
    org_id: str,
    page_no: int = 1,
    *,
    is_system: bool = False,
    max_age_seconds: float = 0.0,
    patience: Patience = AT_ONCE,
) -> Flow[Shared[PipelinePage]]:
    """Return a page of the released pipelines as some flow of this process has just seen it."""
    call = _list_call(org_id, page_no, is_system)
    share = Share((org_id, is_system, page_no), lambda: once(call), max_age_seconds)

    def attempt() -> Flow[Shared[PipelinePage]]:
        seen: Shared[PipelinePage] = yield share
        return seen

    return (yield from _patiently(attempt, patience, repeatable=True))


def find_pipeline(
    org_id: str,
    pipeline_id: str,
    patience: Patience = CALL_PATIENCE,
    *,
    max_age_seconds: float = 0.0,
) -> Flow[Look]:
    """
    Return a released pipeline with its status, be it a user's or one of the system's.

    :param max_age_seconds: How old the list may be in which it is looked for.
    :raises PipelineNotFoundError: it is not listed although others are, nor was it a moment later;
        or nothing at all is listed for a while.
    """
    begun = yield Now()
    others_twice = 0
    while True:
        others = False
        for is_system in (False, True):
            page = partial(
                see_page,
                org_id,
                is_system=is_system,
                max_age_seconds=max_age_seconds,
                patience=patience,
            )
            listing = yield from _collected(page, until=pipeline_id)
            if pipeline_id in listing.pipelines:
                return Look(listing.pipelines[pipeline_id], listing.begun_at)
            others = others or bool(listing.pipelines)
        others_twice += others
        now = yield Now()
        if others_twice >= 2 or now >= begun + LIST_LAG_SECONDS:
            raise PipelineNotFoundError(
                "it is not among the released pipelines",
                during=f"find pipeline {pipeline_id} of organization {org_id}",
            )
        yield Sleep(SECOND_LOOK_SECONDS)
        max_age_seconds = min(max_age_seconds, SECOND_LOOK_SECONDS / 2)


def settled_status(
    org_id: str, pipeline_id: str, *, deadline: float, limit: str, poll_interval_seconds: float
) -> Flow[PipelineStatus]:
    """
    Look until a pipeline is not between two statuses, and return its status.

    :param deadline: Seconds since 1970.
    :param limit: What the user calls the deadline.
    :raises StatusTimeoutError: the deadline has passed.
    """
    patience = Patience(WAIT_PATIENCE.seconds, deadline)
    seen: PipelineStatus | None = None
    max_age = 0.0
    while True:
        look = yield from find_pipeline(org_id, pipeline_id, patience, max_age_seconds=max_age)
        status, max_age = look.status, poll_interval_seconds * SHARED_AGE
        if not status.is_in_transition:
            return status
        if status != seen:
            yield Log("Pipeline %s is %s: waiting until that is over.", (pipeline_id, status))
            seen = status
        now = yield Now()
        if now >= deadline:
            raise StatusTimeoutError(
                f"pipeline {pipeline_id} of organization {org_id} is still {status}, and {limit} "
                "is over."
            )
        yield Sleep(look.pause(poll_interval_seconds, now, deadline))


def wait_for_status(
    org_id: str,
    pipeline_id: str,
    target: str,
    *,
    deadline: float,
    limit: str,
    poll_interval_seconds: float,
) -> Flow[PipelineStatus]:
    """
    Wait until a pipeline whose start or stop EnOS has accepted shows ``target``.

    The list may show the status from before for a while: STOPPED is a failure of a start only after
    another status was seen, a status of failure only then or when it stays. A status that nobody
    documented means that something is under way.

    :param deadline: Seconds since 1970.
    :param limit: What the user calls the deadline.
    :raises PipelineFailedError: the pipeline failed.
    :raises StatusTimeoutError: the deadline has passed.
    """
    what = f"pipeline {pipeline_id} of organization {org_id}"
    patience = Patience(WAIT_PATIENCE.seconds, deadline)
    begun = yield Now()
    statuses: list[PipelineStatus] = []
    max_age = 0.0
    while True:
        try:
            look = yield from find_pipeline(org_id, pipeline_id, patience, max_age_seconds=max_age)
        except PipelineNotFoundError:
            now = yield Now()
            if now >= begun + LIST_LAG_SECONDS:
                raise
            continue  # accepted a moment ago: the list is late
        status, max_age = look.status, poll_interval_seconds * SHARED_AGE
        if not statuses or status != statuses[-1]:
            before = statuses[-1] if statuses else "accepted"
            yield Log("Pipeline %s: %s -> %s", (pipeline_id, before, status))
            statuses.append(status)
        if status == target:
            return status
        now = yield Now()
        is_news = len(statuses) > 1
        has_failed = status.has_failed and (is_news or now >= begun + LIST_LAG_SECONDS)
        if has_failed or (status == "STOPPED" and is_news):
            raise PipelineFailedError(f"{what} is {status}, awaited was {target}.")
        if now >= deadline:
            raise StatusTimeoutError(
                f"{what} is still {status}, awaited was {target}, and {limit} is over."
            )
        yield Sleep(look.pause(poll_interval_seconds, now, deadline))


def stop_pipeline(
    org_id: str,
    pipeline_id: str,
    *,
    deadline: float,
    limit: str,
    poll_interval_seconds: float,
    started_at: float = 0.0,
) -> Flow[PipelineStatus]:
    """
    Stop a pipeline and wait until it is STOPPED; one that is stopped already is left as it is.

    A pipeline that is between two statuses is stopped when it has arrived at one.

    :param deadline: Seconds since 1970.
    :param limit: What the user calls the deadline.
    :param started_at: When EnOS accepted a start, in seconds since 1970: for a while after it the
        list may still say that the pipeline does not run.
    :raises PipelineStateError: its status does not allow a stop.
    :raises StatusTimeoutError: the deadline has passed.
    """
    patience = Patience(WAIT_PATIENCE.seconds, deadline)
    refused_since: float | None = None
    while True:
        try:
            yield from ask(calls.stop_pipeline(org_id, pipeline_id), patience)
            break
        except EnOSError as error:
            if not (error.ambiguous or isinstance(error, PipelineStateError)):
                raise
            status = (yield from find_pipeline(org_id, pipeline_id, patience)).status
            now = yield Now()
            is_stale = now < started_at + LIST_LAG_SECONDS and not status.is_running
            if status == "STOPPED" and not is_stale:
                return status
            if status in ("RUNNING", "PAUSED") and not (error.ambiguous or is_stale):
                # Refused, though the status allows it: it has just changed.
                refused_since = now if refused_since is None else refused_since
                is_hopeless = now >= refused_since + LIST_LAG_SECONDS
            else:
                is_hopeless = not (error.ambiguous or is_stale or status.is_in_transition)
            if is_hopeless or now >= deadline:
                raise
            pause = max(poll_interval_seconds, error.retry_after_seconds or 0)
            yield Sleep(min(pause, deadline - now))
    return (
        yield from wait_for_status(
            org_id,
            pipeline_id,
            "STOPPED",
            deadline=deadline,
            limit=limit,
            poll_interval_seconds=poll_interval_seconds,
        )
    )
