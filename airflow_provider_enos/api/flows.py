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
from typing import TypeVar

from airflow_provider_enos.api import calls
from airflow_provider_enos.api.calls import PipelinePage
from airflow_provider_enos.api.errors import (
    EnOSError,
    EnOSUnreadableAnswerError,
)
from airflow_provider_enos.api.messages import Call, read_data
from airflow_provider_enos.api.pipeline import Pipeline
from airflow_provider_enos.api.transport import Flow, Log, Now, Send, Shared, Sleep

T = TypeVar("T")

#: An organization has at most 50 pipelines (EnOS user documentation, FAQ): one page.
PAGE_SIZE = 100
MAX_PAGES = 100

#: A page with fewer pipelines than EnOS's own default page size is the last one.
DEFAULT_PAGE_SIZE = 10

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
    return (yield from patiently(lambda: once(call), patience, repeatable=call.request.repeatable))


def patiently(attempt: Callable[[], Flow[T]], patience: Patience, *, repeatable: bool) -> Flow[T]:
    """
    Make attempts until one succeeds.

    :param repeatable: Whether an attempt that may have been carried out may be repeated.
    :raises EnOSError: the last one, when it did not pass or cannot pass.
    """
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
        call = list_call(org_id, page_no, is_system, if_released)
        return Shared((yield from ask(call, patience)), 0.0)

    return (yield from collected(page)).pipelines


@dataclass(frozen=True, slots=True)
class Listing:
    """Pipelines by ID, of one page or several."""

    pipelines: dict[str, Pipeline]
    #: Of its last page.
    begun_at: float


def list_call(
    org_id: str, page_no: int, is_system: bool, if_released: bool = True
) -> Call[PipelinePage]:
    """Return the call for a page of ours."""
    return calls.list_pipelines(
        org_id, page_no=page_no, page_size=PAGE_SIZE, is_system=is_system, if_released=if_released
    )


def collected(
    get_page: Callable[[int], Flow[Shared[PipelinePage]]], until: str | None = None
) -> Flow[Listing]:
    """Return the pipelines of all pages, or those of the page that has ``until``."""
    found: dict[str, Pipeline] = {}
    for page_no in range(1, MAX_PAGES + 1):
        shared = yield from get_page(page_no)
        page = shared.value
        if until in page.by_id:
            return Listing(page.by_id, shared.begun_at)
        known, size = len(found), len(page.pipelines)
        found.update(page.by_id)
        # EnOS does not say whether "count" counts the page or all; more than the page is all.
        total = page.count if page.count is not None and page.count > size else None
        is_last = size < DEFAULT_PAGE_SIZE if total is None else len(found) >= total
        if is_last or len(found) == known:
            break
    return Listing(found, shared.begun_at)
