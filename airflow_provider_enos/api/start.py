"""
Start a pipeline, whatever happens on the way.

    queue up, look --> POST start -+- accepted ----------> wait for RUNNING
                                   +- 61121 -------------> somebody is starting: pause, POST again
                                   +- 61165 -------------> read the status: fine if RUNNING,
                                   |                       wait if in between
                                   +- answer lost, 5xx --> it may have started: read the status,
                                   |                       then queue up again
                                   +- not reached, 429 --> pause, queue up again
                                   +- else --------------> fail

A start may be sent twice without harm, since EnOS refuses to start a running pipeline (61165). So
no answer is taken as "probably fine": what is unclear is settled by reading. Whose doing it is that
the pipeline runs then, the look before the request tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from airflow_provider_enos.api import calls, change, flows, looks
from airflow_provider_enos.api.errors import (
    EnOSError,
    PipelineNotFoundError,
    PipelineStateError,
)
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.queue import StartQueue
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import Outcome, StartProgress, StartResult, StartTerms
from airflow_provider_enos.api.transport import Flow, Log, Now, Sleep
from airflow_provider_enos.api.turn import StartTurn

#: Longer than a request may take: trouble that comes later is new trouble.
CALM_SECONDS = 60.0


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
    result = yield from until_accepted(org_id, settings, terms, progress, queue)
    return (yield from until_running(result, terms, progress))


def until_accepted(
    org_id: str,
    settings: StartSettings,
    terms: StartTerms,
    progress: StartProgress,
    queue: StartQueue,
) -> Flow[StartResult]:
    """Do the first half of :func:`start`; the result has a status if the pipeline runs already."""
    begun = yield Now()
    found = yield from _until_accepted(org_id, settings, terms, progress, queue)
    if found is None:
        outcome = Outcome.STARTED
    else:
        outcome = Outcome.ADOPTED if progress.ambiguous else Outcome.ALREADY_RUNNING
    now = yield Now()
    return StartResult(
        pipeline_id=settings.pipeline_id,
        org_id=org_id,
        outcome=outcome,
        status=None if found is None else str(found),
        attempts=progress.attempts,
        conflicts=progress.conflicts,
        waited_seconds=round(now - begun, 3),
    )


def until_running(
    result: StartResult, terms: StartTerms, progress: StartProgress
) -> Flow[StartResult]:
    """Do the second half of :func:`start`: see the pipeline running, if that is wanted."""
    if result.status is not None or not terms.wait_for_running:
        return result
    begun = yield Now()
    deadline = begun + terms.start_timeout_seconds
    before = progress.before
    if before is not None and before.status.may_run:
        before = None  # EnOS starts no such pipeline: the list was late
    try:
        status = yield from looks.wait_for_status(
            result.org_id,
            result.pipeline_id,
            looks.Accepted("start", "RUNNING", before, at=progress.accepted_at),
            deadline=terms.capped(deadline),
            limit=terms.limit(deadline, "start_timeout"),
            poll_interval_seconds=terms.poll_interval_seconds,
        )
    except EnOSError as error:
        if error.during is None:
            raise
        what = f"pipeline {result.pipeline_id} of organization {result.org_id}"
        raise error.again(f"tell whether {what} runs, whose start EnOS has accepted") from error
    now = yield Now()
    waited_seconds = round(result.waited_seconds + now - begun, 3)
    return replace(result, status=str(status), waited_seconds=waited_seconds)


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
        yield from change.stop_pipeline(
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
    turn = StartTurn(org_id, settings.pipeline_id, terms, progress, queue)
    refusals = _Refusals(org_id, settings.pipeline_id, terms, progress)
    call = calls.start_pipeline(org_id, settings)
    while True:
        try:
            yield from turn.start(call)
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
        self._paused_until = 0.0

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
            status = yield from self._status()
            if status.is_running:
                return status
        yield from self._after_trouble(error)
        return None

    def _after_wrong_status(self, refusal: PipelineStateError) -> Flow[PipelineStatus | None]:
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
        pause = min(self._terms.poll_interval_seconds, looks.LIST_LAG_SECONDS)
        is_late = now + pause > self._refused_since + looks.LIST_LAG_SECONDS
        is_failure = status.has_failed and not self._progress.ambiguous
        if is_failure or is_late or now + pause > self._terms.acceptance_deadline:
            raise refusal
        yield Sleep(pause)
        return None

    def _after_trouble(self, error: EnOSError) -> Flow[None]:
        """Pause, or give up when the trouble has lasted too long."""
        now = yield Now()
        if self._troubled_since is None or now > self._paused_until + CALM_SECONDS:
            # Not the same trouble: in between it was in the queue, or somebody's start was.
            self._troubled_since = now
            self._trouble_pauses = flows.full_jitter()
        patience_end = self._troubled_since + flows.WAIT_PATIENCE.seconds
        left = min(patience_end, self._terms.acceptance_deadline) - now
        pause = max(next(self._trouble_pauses), error.retry_after_seconds or 0)
        if pause >= left:
            raise error
        yield Log("%s Trying again in %.1f s, giving up in %.0f s.", (error, pause, left))
        self._paused_until = now + pause
        yield Sleep(pause)

    def _status(self) -> Flow[PipelineStatus]:
        """Return the status; when a start or a stop is under way, that after it."""
        now = yield Now()
        deadline = now + self._terms.start_timeout_seconds
        look = yield from looks.settled_status(
            self._org_id,
            self._pipeline_id,
            deadline=self._terms.capped(deadline),
            limit=self._terms.limit(deadline, "start_timeout"),
            poll_interval_seconds=self._terms.poll_interval_seconds,
        )
        self._progress.before = look
        return look.status
