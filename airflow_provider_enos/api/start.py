"""
Start a pipeline, whatever happens on the way.

    queue up --> POST start -+- accepted ----------> wait for RUNNING
                             +- 61121 -------------> somebody is starting: pause, POST again
                             +- 61165 -------------> read the status: fine if RUNNING,
                             |                       wait if in between
                             +- answer lost, 5xx --> it may have started: read the status,
                             |                       then queue up again
                             +- not reached, 429 --> pause, queue up again
                             +- else --------------> fail

Only the head of the queue sends starts, and keeps its place there while it is refused with 61121.
Whatever else happens, others do not wait for.

A start may be sent twice without harm, since EnOS refuses to start a running pipeline (61165). So
no answer is taken as "probably fine": what is unclear is settled by reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from airflow_provider_enos.api import calls, flows
from airflow_provider_enos.api.errors import (
    ConflictTimeoutError,
    EnOSError,
    PipelineNotFoundError,
    PipelineStateError,
    StartInProgressError,
)
from airflow_provider_enos.api.messages import Call
from airflow_provider_enos.api.pacing import Pacing
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.queue import Place, StartQueue
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.transport import Flow, Log, Now, Sleep, Wait

#: Somebody else in the organization is starting a pipeline.
START_IN_PROGRESS_CODE = 61121

#: A turn that is free is had within a moment, so that one attempt is made whatever the budget.
LEAST_WAIT_SECONDS = 1.0

#: A look at the list that ends so shortly before the next request brings nothing forward.
LEAST_USE_OF_A_LOOK_SECONDS = 0.25

#: After a start without a usable answer, nobody in the queue sends one for this long.
TROUBLE_PAUSE_SECONDS = 0.5


class Outcome(StrEnum):
    """How a pipeline came to run."""

    STARTED = "started"
    ALREADY_RUNNING = "already_running"
    #: An earlier attempt of this task had started it: its answer was lost or its worker died.
    ADOPTED = "adopted"


@dataclass(frozen=True, slots=True)
class StartTerms:
    """
    How long a start may take, all times in seconds since 1970 unless the name says seconds.

    :param conflict_deadline: Until when other starts and outages are waited out.
    :param start_timeout_seconds: How long EnOS may take from accepted to RUNNING.
    :param deadline: Until when all must be done, whatever else is allowed; Airflow's
        ``execution_timeout``.
    :param wait_for_running: Whether to wait for RUNNING at all.
    """

    conflict_deadline: float
    start_timeout_seconds: float
    poll_interval_seconds: float
    deadline: float | None = None
    wait_for_running: bool = True

    def capped(self, moment: float) -> float:
        """Return ``moment``, or the overall deadline if that comes sooner."""
        return moment if self.deadline is None else min(moment, self.deadline)

    @property
    def acceptance_deadline(self) -> float:
        """Until when EnOS must have accepted the start."""
        return self.capped(self.conflict_deadline)

    def limit(self, moment: float, name: str) -> str:
        """Return what the user calls ``capped(moment)``: ``name``, or ``execution_timeout``."""
        return name if self.capped(moment) == moment else "execution_timeout"


@dataclass(slots=True)
class StartProgress:
    """
    What has happened so far. The flow writes it; who may have to stop the pipeline reads it.

    :param attempts: Start requests sent.
    :param conflicts: How many of them EnOS refused because of another start (61121).
    :param accepted_at: When EnOS accepted a start of ours, in seconds since 1970.
    :param ambiguous: A start, of this or of an earlier try, may have been accepted.
    :param met_running: EnOS refused a start because of the status; after a triggerer's death that
        may be our own doing.
    """

    attempts: int = 0
    conflicts: int = 0
    accepted_at: float | None = None
    ambiguous: bool = False
    met_running: bool = False

    @property
    def may_have_started(self) -> bool:
        """Whether the pipeline may run because of this task."""
        return self.accepted_at is not None or self.ambiguous or self.met_running


@dataclass(frozen=True, slots=True)
class StartResult:
    """
    What the task returns.

    :param status: The last status seen; ``None`` if none was asked for.
    :param waited_seconds: From the first request to the outcome.
    """

    pipeline_id: str
    org_id: str
    outcome: Outcome
    status: str | None
    attempts: int
    conflicts: int
    waited_seconds: float

    def to_payload(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "pipeline_id": self.pipeline_id,
            "org_id": self.org_id,
            "outcome": str(self.outcome),
            "status": self.status,
            "attempts": self.attempts,
            "conflicts": self.conflicts,
            "waited_seconds": self.waited_seconds,
        }

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> Self:
        """
        Rebuild what :meth:`to_payload` wrote.

        :raises KeyError, ValueError, TypeError: it was written by something else.
        """
        return cls(
            pipeline_id=str(payload["pipeline_id"]),
            org_id=str(payload["org_id"]),
            outcome=Outcome(payload["outcome"]),
            status=payload["status"],
            attempts=int(payload["attempts"]),
            conflicts=int(payload["conflicts"]),
            waited_seconds=float(payload["waited_seconds"]),
        )


def start(
    org_id: str,
    settings: StartSettings,
    terms: StartTerms,
    progress: StartProgress,
    queue: StartQueue,
) -> Flow[StartResult]:
    """
    Start a pipeline and see it running; may be repeated at any time, also after a crash.

    :param queue: Of this organization.
    :raises ConflictTimeoutError: other starts were in the way until ``conflict_deadline``.
    :raises StatusTimeoutError: accepted, but not RUNNING in time.
    :raises PipelineFailedError: accepted, but the pipeline failed.
    :raises EnOSError: EnOS refused the start, or cannot be reached.
    """
    begun = yield Now()
    found = yield from _until_accepted(org_id, settings, terms, progress, queue)
    if found is None:
        outcome = Outcome.STARTED
    else:
        outcome = Outcome.ADOPTED if progress.ambiguous else Outcome.ALREADY_RUNNING
    status: str | None = found
    if terms.wait_for_running and found is None:
        now = yield Now()
        deadline = now + terms.start_timeout_seconds
        status = yield from flows.wait_for_status(
            org_id,
            settings.pipeline_id,
            "RUNNING",
            deadline=terms.capped(deadline),
            limit=terms.limit(deadline, "start_timeout"),
            poll_interval_seconds=terms.poll_interval_seconds,
        )
    now = yield Now()
    return StartResult(
        pipeline_id=settings.pipeline_id,
        org_id=org_id,
        outcome=outcome,
        status=None if status is None else str(status),
        attempts=progress.attempts,
        conflicts=progress.conflicts,
        waited_seconds=round(now - begun, 3),
    )


def undo(
    org_id: str,
    pipeline_id: str,
    *,
    started_at: float,
    seconds: float,
    poll_interval_seconds: float,
) -> Flow[None]:
    """
    Stop a pipeline that a task has started, now that the task was ended; tell the log how it went.

    :param started_at: When EnOS accepted the start, in seconds since 1970.
    :param seconds: What it may take.
    """
    now = yield Now()
    try:
        yield from flows.stop_pipeline(
            org_id,
            pipeline_id,
            deadline=now + seconds,
            limit="the time for a stop",
            started_at=started_at,
            poll_interval_seconds=poll_interval_seconds,
        )
    except EnOSError as error:
        yield Log("Pipeline %s may still be running: %s", (pipeline_id, error))
    else:
        yield Log("Stopped pipeline %s, since the task was ended.", (pipeline_id,))


def _until_accepted(
    org_id: str,
    settings: StartSettings,
    terms: StartTerms,
    progress: StartProgress,
    queue: StartQueue,
) -> Flow[PipelineStatus | None]:
    """Return ``None`` when EnOS accepts the start, else the status that makes it needless."""
    others = _Others(org_id, settings.pipeline_id, terms, progress, queue)
    refusals = _Refusals(org_id, settings.pipeline_id, terms, progress)
    call = calls.start_pipeline(org_id, settings)
    while True:
        try:
            yield from others.start(call)
        except EnOSError as error:
            status = yield from refusals.after(error)
            if status is not None:
                return status
        else:
            yield Log(
                "EnOS accepted the start of pipeline %s (attempt %d, %d conflicts).",
                (settings.pipeline_id, progress.attempts, progress.conflicts),
            )
            return None


class _Others:
    """The other starts of the organization, and our place among them."""

    def __init__(
        self,
        org_id: str,
        pipeline_id: str,
        terms: StartTerms,
        progress: StartProgress,
        queue: StartQueue,
    ) -> None:
        self._org_id = org_id
        self._pipeline_id = pipeline_id
        self._what = f"start pipeline {pipeline_id} of organization {org_id}"
        self._terms = terms
        self._progress = progress
        self._queue = queue
        self._number: int | None = None
        self._looked_at = 0.0
        self._statuses: dict[str, str] = {}

    def start(self, call: Call[None]) -> Flow[None]:
        """
        Send the start when it is our turn, as often as others are in the way.

        :raises ConflictTimeoutError: they were until the acceptance deadline.
        :raises EnOSError: anything else that EnOS answered, or the lack of an answer.
        """
        place = self._queue.enter(self._number)
        self._number = place.number
        try:
            pacing = yield from self._turn(place)
            while not (yield from self._is_accepted(call, pacing)):
                pass
        finally:
            self._queue.leave(place)

    def _turn(self, place: Place) -> Flow[Pacing]:
        now = yield Now()
        if before := self._queue.before(place):
            yield Log(
                "Pipeline %s queues up: %d starts of this process come first.",
                (self._pipeline_id, before),
            )
        yield Wait(place.turn, max(self._terms.acceptance_deadline - now, LEAST_WAIT_SECONDS))
        if not place.turn.done():
            raise self._too_late((yield Now()), self._queue.before(place))
        self._looked_at = yield Now()
        return place.turn.result()

    def _is_accepted(self, call: Call[None], pacing: Pacing) -> Flow[bool]:
        """Send the start once, when it is time to."""
        deadline = self._terms.acceptance_deadline
        yield from self._until_due(pacing)
        self._progress.attempts += 1
        sent_at = yield Now()
        try:
            yield from flows.once(call)
        except StartInProgressError as refusal:
            self._progress.conflicts += 1
            now = yield Now()
            least = refusal.retry_after_seconds or 0
            pacing.refused_start(sent_at, now, least)
            if now >= deadline or now + least > deadline:
                raise self._too_late(now, 0) from refusal
            yield from self._tell(refusal, pacing, now)
            return False
        except EnOSError as error:
            if error.transient:
                now = yield Now()
                pacing.hold_off(now + max(error.retry_after_seconds or 0, TROUBLE_PAUSE_SECONDS))
            raise
        self._progress.accepted_at = yield Now()
        pacing.accepted_start(sent_at, self._pipeline_id)
        return True

    def _until_due(self, pacing: Pacing) -> Flow[None]:
        """Wait until it is time to ask; the list may show that it is sooner than was thought."""
        interval = self._terms.poll_interval_seconds
        while True:
            now = yield Now()
            due = min(pacing.ask_at, max(self._terms.acceptance_deadline, now))
            look_at = self._looked_at + pacing.look_interval_seconds(interval)
            if due <= now:
                return
            is_fixed = due <= pacing.not_before
            if is_fixed or due < look_at + LEAST_USE_OF_A_LOOK_SECONDS:
                yield Sleep(due - now)
            elif look_at > now:
                yield Sleep(look_at - now)
            else:
                yield from self._look(pacing, interval)

    def _look(self, pacing: Pacing, interval_seconds: float) -> Flow[None]:
        self._looked_at = yield Now()
        max_age = interval_seconds * flows.SHARED_AGE
        try:
            seen = yield from flows.see_page(self._org_id, max_age_seconds=max_age)
        except EnOSError:
            return  # nothing depends on it
        now = yield Now()
        for pipeline in seen.value.pipelines:
            status_before = self._statuses.get(pipeline.pipeline_id, "RUNNING")
            is_last_of_ours = pipeline.pipeline_id in pacing.accepted[-1:]
            is_news = status_before != "RUNNING" or (is_last_of_ours and pacing.ran_after is None)
            if pipeline.status == "RUNNING" and is_news:
                pacing.saw_running(pipeline.pipeline_id, now)
        self._statuses = {one.pipeline_id: str(one.status) for one in seen.value.pipelines}

    def _tell(self, refusal: EnOSError, pacing: Pacing, now: float) -> Flow[None]:
        conflicts = self._progress.conflicts
        if conflicts & (conflicts - 1) == 0:  # 1, 2, 4, 8 ...: enough to follow, not a flood
            left = self._terms.acceptance_deadline - now
            yield Log(
                "%s Refusal %d. Trying again in %.1f s, giving up in %.0f s.",
                (refusal, conflicts, min(pacing.ask_at - now, left), left),
            )

    def _too_late(self, now: float, before: int) -> EnOSError:
        limit = self._terms.limit(self._terms.conflict_deadline, "conflict_timeout")
        if not before and self._progress.conflicts:
            return ConflictTimeoutError(
                f"EnOS refused {self._progress.conflicts} times because somebody else in the "
                f"organization was starting a pipeline, and {limit} is over",
                during=self._what,
                code=START_IN_PROGRESS_CODE,
            )
        known = self._queue.known
        text = (
            f"{before} starts of this process were still before it"
            if before
            else ("other processes of this host were starting pipelines")
        )
        if known.accepted_at is not None:
            text += f"; the last one was accepted {now - known.accepted_at:.0f} s ago"
        if known.hold_seconds is not None:
            text += f", and EnOS has lately taken {known.hold_seconds:.1f} s for one"
        return ConflictTimeoutError(f"{text}; {limit} is over", during=self._what)


class _Refusals:
    """What follows a start that was not accepted for other reasons: a verdict, or a pause."""

    def __init__(
        self, org_id: str, pipeline_id: str, terms: StartTerms, progress: StartProgress
    ) -> None:
        self._org_id = org_id
        self._pipeline_id = pipeline_id
        self._terms = terms
        self._progress = progress
        self._refused_since: float | None = None
        self._conflicts = 0
        self._trouble_pauses: Iterator[float] = flows.full_jitter()
        self._troubled_since: float | None = None

    def after(self, error: EnOSError) -> Flow[PipelineStatus | None]:
        """Return the status that makes another start needless, or ``None`` to send one."""
        if self._conflicts < self._progress.conflicts:
            # Somebody else's start was in between: what was in the way before it is of the past.
            self._conflicts = self._progress.conflicts
            self._troubled_since = self._refused_since = None
        if isinstance(error, PipelineStateError):
            return (yield from self._after_wrong_status(error))
        if not error.transient:
            raise error
        if error.ambiguous:
            self._progress.ambiguous = True
            status = yield from self._status()
            if status.is_running:
                return status
        yield from self._after_trouble(error)
        return None

    def _after_wrong_status(self, refusal: PipelineStateError) -> Flow[PipelineStatus | None]:
        self._progress.met_running = True
        try:
            status = yield from self._status()
        except PipelineNotFoundError:
            raise refusal from None  # it was never released: no status to read
        if status.is_running:
            return status
        # The status that was read allows a start: it has just changed, or the list is late.
        now = yield Now()
        if self._refused_since is None:
            self._refused_since = now
        pause = min(self._terms.poll_interval_seconds, flows.LIST_LAG_SECONDS)
        is_late = now + pause > self._refused_since + flows.LIST_LAG_SECONDS
        is_failure = status.has_failed and not self._progress.ambiguous
        if is_failure or is_late or now + pause > self._terms.acceptance_deadline:
            raise refusal
        yield Sleep(pause)
        return None

    def _after_trouble(self, error: EnOSError) -> Flow[None]:
        """Pause, or give up when the trouble has lasted too long."""
        now = yield Now()
        if self._troubled_since is None:
            self._troubled_since = now
            self._trouble_pauses = flows.full_jitter()
        patience_end = self._troubled_since + flows.WAIT_PATIENCE.seconds
        left = min(patience_end, self._terms.acceptance_deadline) - now
        pause = max(next(self._trouble_pauses), error.retry_after_seconds or 0)
        if pause >= left:
            raise error
        yield Log("%s Trying again in %.1f s, giving up in %.0f s.", (error, pause, left))
        yield Sleep(pause)

    def _status(self) -> Flow[PipelineStatus]:
        """Return the status; when a start or a stop is under way, that after it."""
        now = yield Now()
        deadline = now + self._terms.start_timeout_seconds
        return (
            yield from flows.settled_status(
                self._org_id,
                self._pipeline_id,
                deadline=self._terms.capped(deadline),
                limit=self._terms.limit(deadline, "start_timeout"),
                poll_interval_seconds=self._terms.poll_interval_seconds,
            )
        )
