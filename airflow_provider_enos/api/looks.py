"""Look at the status of a pipeline, once or until it is the right one, together with others."""

from __future__ import annotations

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

    def differs_from(self, before: Look | None) -> bool:
        """
        Return whether the pipeline has changed since an earlier look.

        ``updateTime`` tells of a status that came and went in between. EnOS is taken to change it
        with the status, and when the design is saved.
        """
        if before is None:
            return False
        times = {self.pipeline.update_time, before.pipeline.update_time}
        return self.status != before.status or (None not in times and len(times) > 1)

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


def see_before(org_id: str, pipeline_id: str, *, max_age_seconds: float = 0.0) -> Flow[Look | None]:
    """
    Look once at a pipeline before a request that changes it.

    ``None``: it is not among the released ones. Status UNKNOWN: the list could not be read, which
    does not keep the request from being sent.

    :param max_age_seconds: How old the list may be in which it is looked for.
    """
    try:
        look, _ = yield from _look_for(org_id, pipeline_id, flows.AT_ONCE, max_age_seconds)
    except EnOSError:
        unknown = PipelineStatus(PipelineStatus.UNKNOWN)
        return Look(Pipeline(pipeline_id, unknown), (yield Now()))
    return look


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
) -> Flow[Look]:
    """
    Look until a pipeline is not between two statuses.

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
            return look
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """
    A request that EnOS has accepted.

    :param verb: In EnOS's words, e.g. ``start``.
    :param target: The status that it leads to.
    :param before: The pipeline before the request, if its status then allowed the request. One
        that did not was out of date.
    :param at: When EnOS accepted it, in seconds since 1970: a list of another flow that was asked
        for after that will do.
    :param may_end_elsewhere: EnOS does not document that all pipelines come to ``target``: one that
        comes to another documented status, or stays in it, was changed as well.
    """

    verb: str
    target: str
    before: Look | None = None
    at: float | None = None
    may_end_elsewhere: bool = False

    def is_good(self, status: PipelineStatus) -> bool:
        """Return whether a pipeline that has come to this status was changed as wanted."""
        return status == self.target or (
            self.may_end_elsewhere and status in PipelineStatus.DOCUMENTED
        )

    def is_over(self, status: PipelineStatus, *, is_news: bool, may_be_late: bool) -> bool:
        """
        Return whether this status ends the wait, for good or for bad.

        :param is_news: It is not, or may not be, the status from before the request.
        :param may_be_late: The list may still show the pipeline as it was before the request.
        """
        if status == self.target:
            return True
        if is_news:
            # Without a look before, the list may still be on its way to the status from before.
            stable = {"STOPPED"} if self.before is None else PipelineStatus.DOCUMENTED
            return self.is_good(status) or status.has_failed or status in stable
        if self.is_good(status):
            return not may_be_late
        # EnOS may show the failure from before while it starts the pipeline.
        return status.has_failed and self.before is None and not may_be_late

    def failure(self, pipeline: str, status: PipelineStatus) -> PipelineFailedError:
        """Return the error of a pipeline that came to another status."""
        text = f"EnOS accepted the {self.verb} of {pipeline}, but the pipeline "
        if (self.verb, status) == ("start", "STOPPED"):
            return PipelineFailedError(f"{text}stopped again before it was running.")
        return PipelineFailedError(f"{text}is {status}, expected {self.target}.")


def wait_for_status(
    org_id: str,
    pipeline_id: str,
    accepted: Accepted,
    *,
    deadline: float,
    limit: str,
    poll_interval_seconds: float,
) -> Flow[PipelineStatus]:
    """
    Wait until a pipeline shows the status to which an accepted request leads.

    EnOS may show the status from before for a while: the list may be late, and no page says what it
    shows while a pipeline starts. So another status ends the wait only if it is news: it differs
    from the last one seen, from the one before the request, or has another ``updateTime`` than
    before the request. What is no news is waited for until the deadline; without a look before the
    request, a status of failure for ``LIST_LAG_SECONDS``. A status that nobody documented means
    that something is under way.

    :param deadline: Seconds since 1970.
    :param limit: What the user calls the deadline.
    :raises PipelineFailedError: the pipeline came to another status.
    :raises StatusTimeoutError: the deadline has passed.
    """
    what = f"pipeline {pipeline_id} of organization {org_id}"
    patience = flows.Patience(flows.WAIT_PATIENCE.seconds, deadline)
    begun = yield Now()
    statuses: list[PipelineStatus] = []
    longest_age = poll_interval_seconds * SHARED_AGE
    max_age = 0.0 if accepted.at is None else min(max(begun - accepted.at, 0.0), longest_age)
    is_logged = False
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
        now = yield Now()
        is_news = len(statuses) > 1 or look.differs_from(accepted.before)
        may_be_late = now < begun + LIST_LAG_SECONDS
        if accepted.is_over(status, is_news=is_news, may_be_late=may_be_late):
            if accepted.is_good(status):
                return status
            raise accepted.failure(what, status)
        if now >= deadline:
            raise StatusTimeoutError(
                f"{what} is still {status}, awaited was {accepted.target}, and {limit} is over."
            )
        if not (is_news or may_be_late or is_logged or status.is_in_transition):
            is_logged = True
            yield Log(
                "Pipeline %s still shows %s, as before the %s that EnOS accepted %.0f s ago. EnOS "
                "may be working on it, or it may be over already. Giving up in %.0f s (%s).",
                (pipeline_id, status, accepted.verb, now - begun, deadline - now, limit),
            )
        yield Sleep(look.pause(poll_interval_seconds, now, deadline))
