"""Look at the status of a pipeline, once or until it is the right one, together with others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from airflow_provider_enos.api import calls, flows
from airflow_provider_enos.api.calls import PipelinePage
from airflow_provider_enos.api.errors import (
    EnOSError,
    PipelineFailedError,
    PipelineNotFoundError,
    StatusTimeoutError,
)
from airflow_provider_enos.api.pipeline import OffsetLag, Pipeline, PipelineStatus
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.api.transport import Flow, Log, Now, Share, Shared, Sleep

#: EnOS does not say whether its list is consistent: look again before a pipeline is called missing.
SECOND_LOOK_SECONDS = 2.0

#: Ours: how long the list may show an old status after an action; EnOS does not say.
LIST_LAG_SECONDS = 15.0

#: A list of another flow will do if it is not older than this share of the interval: so those who
#: look equally often come to look together, whenever each of them began.
SHARED_AGE = 0.5


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

    def __str__(self) -> str:
        return str(self.status)

    def pause(self, interval_seconds: float, now: float, deadline: float) -> float:
        """
        Return the pause until the next look.

        Counted from the list, so that all who have seen the same one look together again.
        """
        pause = min(self.begun_at + interval_seconds, deadline) - now
        return min(max(pause, 0.0), interval_seconds)  # also where the clock was put back


def see_page(
    org_id: str,
    page_no: int = 1,
    *,
    is_system: bool = False,
    max_age_seconds: float = 0.0,
    patience: flows.Patience = flows.AT_ONCE,
) -> Flow[Shared[PipelinePage]]:
    """Return a page of the released pipelines as some flow of this process has just seen it."""
    share = Share(
        (org_id, is_system, page_no),
        lambda: flows.once(flows.list_call(org_id, page_no, is_system)),
        max_age_seconds,
    )

    def attempt() -> Flow[Shared[PipelinePage]]:
        seen: Shared[PipelinePage] = yield share
        return seen

    return (yield from flows.patiently(attempt, patience, repeatable=True))


def see_pipelines(
    org_id: str, *, is_system: bool = False, max_age_seconds: float
) -> Flow[flows.Listing]:
    """Return the released pipelines of a kind, as some flow of this process has just seen them."""
    page = partial(see_page, org_id, is_system=is_system, max_age_seconds=max_age_seconds)
    return flows.collected(page)


def see_lag(org_id: str, pipeline_id: str, *, max_age_seconds: float) -> Flow[Shared[OffsetLag]]:
    """Return the offset and lag of a pipeline, as some flow of this process has just seen them."""
    call = calls.get_pipeline_offset_lag(org_id, parse_id(pipeline_id, "pipeline_id"))
    seen: Shared[OffsetLag] = yield Share(
        (org_id, pipeline_id, "lag"), lambda: flows.once(call), max_age_seconds
    )
    return seen


def see_status(
    org_id: str, pipeline_id: str, *, max_age_seconds: float = 0.0
) -> Flow[PipelineStatus | None]:
    """
    Return the status of a pipeline to which something is about to be done, looking once.

    ``None``: it is not among the released ones. UNKNOWN: EnOS cannot be asked, or does not let us
    look, which keeps nobody from doing it.

    :param max_age_seconds: How old the list may be in which it is looked for.
    """
    try:
        look, _ = yield from _look_for(org_id, pipeline_id, flows.AT_ONCE, max_age_seconds)
    except EnOSError:
        return PipelineStatus(PipelineStatus.UNKNOWN)
    return None if look is None else look.status


def find_pipeline(
    org_id: str,
    pipeline_id: str,
    patience: flows.Patience = flows.CALL_PATIENCE,
    *,
    max_age_seconds: float = 0.0,
) -> Flow[Look]:
    """
    Return a released pipeline with its status, be it a user's or one of the system's.

    :param max_age_seconds: How old the list may be in which it is looked for.
    :raises PipelineNotFoundError: it is not listed although others are, nor was it a moment later;
        or nothing at all is listed for a while.
    """
    during = f"find pipeline {pipeline_id} of organization {org_id}"
    begun = yield Now()
    others_twice = 0
    while True:
        try:
            look, others = yield from _look_for(org_id, pipeline_id, patience, max_age_seconds)
        except EnOSError as error:
            raise error.again(during) from error
        if look is not None:
            return look
        others_twice += others
        now = yield Now()
        if others_twice >= 2 or now >= begun + LIST_LAG_SECONDS:
            raise PipelineNotFoundError("it is not among the released pipelines", during=during)
        yield Sleep(SECOND_LOOK_SECONDS)
        max_age_seconds = min(max_age_seconds, SECOND_LOOK_SECONDS / 2)


def _look_for(
    org_id: str, pipeline_id: str, patience: flows.Patience, max_age_seconds: float
) -> Flow[tuple[Look | None, bool]]:
    """Look among the users' pipelines and the system's; return also whether others are listed."""
    others = False
    for is_system in (False, True):
        page = partial(
            see_page,
            org_id,
            is_system=is_system,
            max_age_seconds=max_age_seconds,
            patience=patience,
        )
        listing = yield from flows.collected(page, until=pipeline_id)
        if pipeline_id in listing.pipelines:
            return Look(listing.pipelines[pipeline_id], listing.begun_at), True
        others = others or bool(listing.pipelines)
    return None, others


def settled_status(
    org_id: str, pipeline_id: str, *, deadline: float, limit: str, poll_interval_seconds: float
) -> Flow[PipelineStatus]:
    """
    Look until a pipeline is not between two statuses, and return its status.

    :param deadline: Seconds since 1970.
    :param limit: What the user calls the deadline.
    :raises StatusTimeoutError: the deadline has passed.
    """
    patience = flows.Patience(flows.WAIT_PATIENCE.seconds, deadline)
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
    since: float | None = None,
    or_stays: Collection[str] = (),
) -> Flow[PipelineStatus]:
    """
    Wait until a pipeline whose start or stop EnOS has accepted shows ``target``.

    The list may show the status from before for a while: STOPPED is a failure of a start only after
    another status was seen, a status of failure only then or when it stays. A status that nobody
    documented means that something is under way.

    :param deadline: Seconds since 1970.
    :param limit: What the user calls the deadline.
    :param since: When EnOS accepted it: a list that somebody has asked for after that will do.
    :param or_stays: Statuses that end the wait as well when the list cannot be late any more.
    :raises PipelineFailedError: the pipeline failed.
    :raises StatusTimeoutError: the deadline has passed.
    """
    what = f"pipeline {pipeline_id} of organization {org_id}"
    patience = flows.Patience(flows.WAIT_PATIENCE.seconds, deadline)
    begun = yield Now()
    statuses: list[PipelineStatus] = []
    longest_age = poll_interval_seconds * SHARED_AGE
    max_age = 0.0 if since is None else min(max(begun - since, 0.0), longest_age)
    while True:
        try:
            look = yield from find_pipeline(org_id, pipeline_id, patience, max_age_seconds=max_age)
        except PipelineNotFoundError:
            now = yield Now()
            if now >= begun + LIST_LAG_SECONDS:
                raise
            continue  # accepted a moment ago: the list is late
        status, max_age = look.status, longest_age
        if not statuses or status != statuses[-1]:
            before = statuses[-1] if statuses else "accepted"
            yield Log("Pipeline %s: %s -> %s", (pipeline_id, before, status))
            statuses.append(status)
        if status == target:
            return status
        now = yield Now()
        if status in or_stays and now >= begun + LIST_LAG_SECONDS:
            return status
        is_news = len(statuses) > 1
        has_failed = status.has_failed and (is_news or now >= begun + LIST_LAG_SECONDS)
        if has_failed or (status == "STOPPED" and is_news):
            raise PipelineFailedError(f"{what} is {status}, awaited was {target}.")
        if now >= deadline:
            raise StatusTimeoutError(
                f"{what} is still {status}, awaited was {target}, and {limit} is over."
            )
        yield Sleep(look.pause(poll_interval_seconds, now, deadline))
