"""
Stop, pause or release a pipeline, or reset its offset, and see it done.

    look --> POST stop -+- accepted ----------> wait for STOPPED
                        +- 61152 -------------> read the status: fine if STOPPED, wait if in
                        |                       between, else it cannot be stopped
                        +- answer lost, 5xx --> it may have been stopped: read the status, POST
                        |                       again
                        +- else --------------> fail

Whose doing it is that the pipeline is stopped after a lost answer, the look before it tells.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from airflow_provider_enos.api import calls, flows, looks
from airflow_provider_enos.api.errors import (
    EnOSError,
    KafkaRateUnknownError,
    PipelineNotFoundError,
    PipelineStateError,
    StatusTimeoutError,
)
from airflow_provider_enos.api.looks import Look
from airflow_provider_enos.api.messages import Call
from airflow_provider_enos.api.pipeline import Pipeline, PipelineStatus
from airflow_provider_enos.api.transport import Flow, Log, Note, Now, Sleep

#: Of a pipeline that is not among the released ones: EnOS shows no status of it.
UNRELEASED = PipelineStatus("UNRELEASED")


@dataclass(frozen=True, slots=True)
class Change:
    """
    An action of EnOS on a pipeline, other than a start.

    :param verb: In EnOS's words.
    :param done: The outcome; with ``already_`` before it where it was so before.
    :param not_allowed: The outcome where the pipeline's status allows no such action.
    :param target: The status it leads to; ``None``: it changes none.
    :param sources: The statuses that allow it.
    :param is_done_anyway: EnOS does not document that all pipelines come to ``target``: one that
        stays in another documented status was changed as well.
    """

    verb: str
    done: str
    not_allowed: str
    target: str | None
    sources: tuple[str, ...]
    call: Callable[[str, str], Call[None]]
    is_done_anyway: bool = False

    @property
    def shows(self) -> bool:
        """
        Whether the status tells if it was done.

        Of a reset it does not, and EnOS has no code for a reset in the wrong status: look before
        the request, and repeat that when its answer is lost, which does no harm.
        """
        return self.target is not None

    @property
    def already(self) -> str:
        """The outcome where it was so before."""
        return f"already_{self.done}"


STOP = Change(
    "stop", "stopped", "not_running", "STOPPED", ("RUNNING", "PAUSED"), calls.stop_pipeline
)
PAUSE = Change("pause", "paused", "not_running", "PAUSED", ("RUNNING",), calls.pause_pipeline)
RELEASE = Change(
    "release",
    "released",
    "not_stopped",
    "PUBLISHED",
    ("PAUSED", "STOPPED", UNRELEASED),
    calls.release_pipeline,
    is_done_anyway=True,
)
RESET = Change(
    "reset",
    "reset",
    "not_stopped",
    None,
    ("PAUSED", "STOPPED"),
    calls.reset_pipeline_offset,
)
CHANGES = {change.verb: change for change in (STOP, PAUSE, RELEASE, RESET)}


@dataclass(frozen=True, slots=True)
class ChangeTerms:
    """
    How long a change may take.

    :param deadline: Seconds since 1970.
    :param limit: What the user calls the deadline.
    :param started_at: When EnOS accepted a start, in seconds since 1970: for a while after it the
        list may still say that the pipeline does not run.
    """

    deadline: float
    limit: str
    poll_interval_seconds: float
    started_at: float = 0.0

    def may_be_late(self, now: float) -> bool:
        """Whether the list may still show the pipeline as it was before that start."""
        return now < self.started_at + looks.LIST_LAG_SECONDS


@dataclass(slots=True)
class ChangeProgress:
    """
    What has happened so far.

    :param attempts: Requests sent for the change.
    :param ambiguous: One of them, or one of an earlier try, may have been carried out.
    :param before: The last look at the pipeline before the last request.
    :param note: Writes down, for who goes on after a crash, that the change may be ours.
    """

    attempts: int = 0
    accepted: bool = False
    ambiguous: bool = False
    before: Look | None = field(default=None, compare=False)
    note: Callable[[], Awaitable[None] | None] | None = field(default=None, compare=False)

    @property
    def may_have_changed(self) -> bool:
        """Whether the pipeline's status may be this task's doing."""
        return self.accepted or self.ambiguous


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """
    What the task returns.

    :param outcome: One of the three that :class:`Change` names.
    :param status: The last status seen.
    :param refusal: Why EnOS did not change it, where its status did not allow that; no part of the
        payload.
    """

    pipeline_id: str
    org_id: str
    outcome: str
    status: str
    attempts: int
    waited_seconds: float
    refusal: EnOSError | None = None

    def to_payload(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "pipeline_id": self.pipeline_id,
            "org_id": self.org_id,
            "outcome": self.outcome,
            "status": self.status,
            "attempts": self.attempts,
            "waited_seconds": self.waited_seconds,
        }

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> Self:
        """
        Rebuild what :meth:`to_payload` wrote.

        :raises TypeError: it was written by something else.
        """
        return cls(**payload)


def change_pipeline(
    change: Change,
    org_id: str,
    pipeline_id: str,
    terms: ChangeTerms,
    progress: ChangeProgress,
) -> Flow[ChangeResult]:
    """
    Change a pipeline and see it changed; may be repeated at any time.

    A pipeline that is between two statuses is changed when it has arrived at one.

    :raises StatusTimeoutError: the deadline has passed.
    :raises PipelineFailedError: accepted, but the pipeline came to another status.
    :raises EnOSError: EnOS refused it for another reason than the status, or cannot be reached.
    """
    begun = yield Now()
    outcome, status, refusal = yield from _outcome(change, org_id, pipeline_id, terms, progress)
    now = yield Now()
    return ChangeResult(
        pipeline_id=pipeline_id,
        org_id=org_id,
        outcome=outcome,
        status=str(status),
        attempts=progress.attempts,
        waited_seconds=round(now - begun, 3),
        refusal=refusal,
    )


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

    The arguments are those of :class:`ChangeTerms`.

    :raises PipelineStateError: its status does not allow a stop.
    :raises EnOSError: see :func:`change_pipeline`.
    """
    terms = ChangeTerms(deadline, limit, poll_interval_seconds, started_at)
    progress = ChangeProgress(ambiguous=True)  # whoever it was that stopped it
    result = yield from change_pipeline(STOP, org_id, pipeline_id, terms, progress)
    if result.refusal is not None:
        raise result.refusal
    return PipelineStatus(result.status)


def _outcome(
    change: Change,
    org_id: str,
    pipeline_id: str,
    terms: ChangeTerms,
    progress: ChangeProgress,
) -> Flow[tuple[str, PipelineStatus, EnOSError | None]]:
    """Return the outcome, the last status, and why EnOS refused the change if it did."""
    seen: PipelineStatus | None = None
    if not change.shows:
        look = yield from looks.settled_status(
            org_id,
            pipeline_id,
            deadline=terms.deadline,
            limit=terms.limit,
            poll_interval_seconds=terms.poll_interval_seconds,
        )
        seen = look.status
        if seen not in change.sources:
            return change.not_allowed, seen, None
    refused = yield from _until_accepted(change, org_id, pipeline_id, terms, progress)
    if refused is None:
        status = seen or (
            yield from _changed_status(change, org_id, pipeline_id, terms, progress.before)
        )
        return change.done, status, None
    status, refusal = refused
    if status != change.target:
        return change.not_allowed, status, refusal
    if change is RELEASE and not (yield from _is_online(org_id, pipeline_id)):
        raise refusal
    return change.done if progress.ambiguous else change.already, status, None


def _until_accepted(
    change: Change,
    org_id: str,
    pipeline_id: str,
    terms: ChangeTerms,
    progress: ChangeProgress,
) -> Flow[tuple[PipelineStatus, EnOSError] | None]:
    """Return ``None`` when EnOS accepts, else the status that makes it needless or impossible."""
    patience = flows.Patience(flows.WAIT_PATIENCE.seconds, terms.deadline)
    attempt = _Attempt(change, org_id, pipeline_id, terms, progress)
    refused_since: float | None = None
    while True:
        try:
            yield from flows.patiently(attempt.send, patience, repeatable=not change.shows)
        except EnOSError as error:
            is_lost = error.ambiguous and change.shows
            if not (is_lost or isinstance(error, PipelineStateError | KafkaRateUnknownError)):
                raise
            look = yield from _look_after(change, error, org_id, pipeline_id, patience)
            status, now = look.status, (yield Now())
            attempt.see(look, now)
            is_stale = terms.may_be_late(now) and not status.is_running
            if _is_verdict(change, status, error) and not is_stale:
                return status, error
            deadline = terms.deadline
            if status in change.sources and not (error.ambiguous or is_stale):
                # Refused, though the status allows it: it has just changed.
                refused_since = now if refused_since is None else refused_since
                deadline = min(deadline, refused_since + looks.LIST_LAG_SECONDS)
            if now >= deadline:
                if status in change.sources or not (is_stale or status.is_in_transition):
                    raise
                raise StatusTimeoutError(
                    f"pipeline {pipeline_id} of organization {org_id} is still {status}: EnOS does "
                    f"not {change.verb} it yet, and {terms.limit} is over."
                ) from error
            pause = max(terms.poll_interval_seconds, error.retry_after_seconds or 0)
            yield Sleep(min(pause, terms.deadline - now))
        else:
            yield Log("EnOS accepted the %s of pipeline %s.", (change.verb, pipeline_id))
            return None


class _Attempt:
    """The request, and the look before it, which tells whose doing it is."""

    def __init__(
        self,
        change: Change,
        org_id: str,
        pipeline_id: str,
        terms: ChangeTerms,
        progress: ChangeProgress,
    ) -> None:
        self._change = change
        self._org_id = org_id
        self._pipeline_id = pipeline_id
        self._terms = terms
        self._progress = progress
        self._call = change.call(org_id, pipeline_id)
        self._was_so = False
        self._seen_at = 0.0

    def see(self, look: Look | None, now: float) -> None:
        """Learn how the pipeline is, or may be, before the request."""
        self._progress.before = look
        status = None if look is None else look.status
        self._was_so = status in (self._change.target, PipelineStatus.UNKNOWN)
        self._seen_at = now

    def send(self) -> Flow[None]:
        """Send it, once."""
        progress = self._progress
        if not progress.ambiguous:
            yield from self._look()
        if not self._was_so:
            yield from self._note()
        progress.attempts += 1
        try:
            yield from flows.once(self._call)
        except EnOSError as error:
            progress.ambiguous |= error.ambiguous and not self._was_so
            raise
        progress.accepted = True
        yield from self._note()

    def _look(self) -> Flow[None]:
        now = yield Now()
        is_fresh = self._seen_at <= now <= self._seen_at + looks.LIST_LAG_SECONDS
        if self._change.shows and not (is_fresh or self._terms.may_be_late(now)):
            self.see((yield from looks.see_before(self._org_id, self._pipeline_id)), (yield Now()))

    def _note(self) -> Flow[None]:
        """Note it before it is sent, which may be the last that this process does."""
        write, self._progress.note = self._progress.note, None
        if write:
            yield Note(write)


def _look_after(
    change: Change, error: EnOSError, org_id: str, pipeline_id: str, patience: flows.Patience
) -> Flow[Look]:
    try:
        return (yield from looks.find_pipeline(org_id, pipeline_id, patience))
    except PipelineNotFoundError:
        if UNRELEASED in change.sources and error.ambiguous:
            return Look(Pipeline(pipeline_id, UNRELEASED), (yield Now()))
        raise error from None  # it was never released: no status to read


def _is_verdict(change: Change, status: PipelineStatus, error: EnOSError) -> bool:
    """Whether a status ends it: it is so already, or EnOS will not change it."""
    if status == change.target:
        return True
    return not (error.ambiguous or status in change.sources or status.is_in_transition)


def _changed_status(
    change: Change, org_id: str, pipeline_id: str, terms: ChangeTerms, before: Look | None
) -> Flow[PipelineStatus]:
    """Wait for the status that follows on a change that EnOS has accepted."""
    target = str(change.target)
    if before is not None and before.status not in change.sources:
        before = None  # EnOS changes no such pipeline: the list was late
    try:
        return (
            yield from looks.wait_for_status(
                org_id,
                pipeline_id,
                looks.Accepted(
                    change.verb, target, before, may_end_elsewhere=change.is_done_anyway
                ),
                deadline=terms.deadline,
                limit=terms.limit,
                poll_interval_seconds=terms.poll_interval_seconds,
            )
        )
    except EnOSError as error:
        if error.during is None:
            raise
        what = f"pipeline {pipeline_id} of organization {org_id} is {target}"
        raise error.again(f"tell whether {what}, whose {change.verb} EnOS has accepted") from error


def _is_online(org_id: str, pipeline_id: str) -> Flow[bool]:
    """Whether what was designed is what was released: PUBLISHED does not tell."""
    try:
        design = yield from flows.ask(calls.get_pipeline_details(org_id, pipeline_id))
    except PipelineNotFoundError:
        return True  # there is the released version only
    online = yield from flows.ask(calls.get_pipeline_details(org_id, pipeline_id, if_released=True))
    return design == online
