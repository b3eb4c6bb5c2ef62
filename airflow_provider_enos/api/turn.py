"""
Send a start when it is its turn, as often as another start of the organization is in the way.

Only the head of the queue does, and keeps its place there while it is refused with 61121. Whatever
else happens to it, others do not wait for: it leaves the queue.
"""

from __future__ import annotations

import contextlib
from functools import partial

from airflow_provider_enos.api import flows, looks
from airflow_provider_enos.api.calls import PipelinePage
from airflow_provider_enos.api.errors import (
    ConflictTimeoutError,
    EnOSError,
    StartInProgressError,
)
from airflow_provider_enos.api.looks import Look
from airflow_provider_enos.api.messages import Call
from airflow_provider_enos.api.pacing import Pacing
from airflow_provider_enos.api.queue import Place, StartQueue
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.api.transport import Flow, Log, Note, Now, Shared, Sleep, Wait

#: A turn that is free is had within a moment, so that one attempt is made whatever the budget.
LEAST_WAIT_SECONDS = 1.0

#: A look at the list that ends so shortly before the next request brings nothing forward.
LEAST_USE_OF_A_LOOK_SECONDS = 0.25

#: A start looks for the first time when it is accepted, which is when the turn of the next begins:
#: one list serves both.
SAME_MOMENT_SECONDS = 0.05

#: After a start without a usable answer, nobody in the queue sends one for this long, nor before
#: ``Retry-After`` is over, within reason: it may be the trouble of one pipeline alone.
TROUBLE_PAUSE_SECONDS = 0.5
LONGEST_TROUBLE_PAUSE_SECONDS = 60.0

#: A pause that the reader of the log would wonder about.
LONG_PAUSE_SECONDS = 5.0


class StartTurn:
    """A start among the others of its organization."""

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
        #: Of its place in the queue, which it has again after trouble of its own.
        self._number: int | None = None
        self._refused_since = 0.0
        self._looked_at = 0.0
        self._look_seconds = 0.0
        self._statuses: dict[str, str] = {}
        #: Whether the pipeline ran, or was being started, before there was any start of ours.
        self._ran_before = False
        self._seen_at = 0.0

    def start(self, call: Call[None]) -> Flow[None]:
        """
        Send the start when it is our turn, as often as others are in the way.

        :raises ConflictTimeoutError: they were until the acceptance deadline.
        :raises EnOSError: anything else that EnOS answered, or the lack of an answer.
        """
        place = self._queue.enter(self._pipeline_id, self._number)
        self._number = place.number
        try:
            pacing = yield from self._turn(place)
            if pacing.ask_at < self._looked_at + looks.LIST_LAG_SECONDS:
                yield from self._look_before()  # now, while EnOS may be busy anyway
            while not (yield from self._is_accepted(call, pacing)):
                pass
        finally:
            self._queue.leave(place)

    def _turn(self, place: Place) -> Flow[Pacing]:
        now = yield Now()
        if before := self._queue.before(place):
            yield Log(
                "Pipeline %s queues up as number %d of this process, behind pipeline %s.",
                (self._pipeline_id, len(before) + 1, before[-1]),
            )
        yield Wait(place.turn, max(self._terms.acceptance_deadline - now, LEAST_WAIT_SECONDS))
        if not place.turn.done():
            raise self._queued_too_long(place, (yield Now()))
        pacing = place.turn.result()
        self._looked_at = now = yield Now()
        pacing.resume(now)
        self._look_seconds = self._seen_at = 0.0
        if pacing.ask_at > now + LONG_PAUSE_SECONDS:
            yield Log(
                "It is the turn of pipeline %s; EnOS is asked in %.0f s, when it may be free.",
                (self._pipeline_id, pacing.ask_at - now),
            )
        return pacing

    def _look_before(self) -> Flow[None]:
        """See, unless that was a moment ago, how the pipeline is without this start."""
        now, seen_at, before = (yield Now()), self._seen_at, self._progress.before
        if self._progress.ambiguous and before is not None:
            seen_at = max(seen_at, before.begun_at)  # after the start whose answer was lost
        if not seen_at <= now <= seen_at + looks.LIST_LAG_SECONDS:
            look = looks.see_before(
                self._org_id, self._pipeline_id, max_age_seconds=SAME_MOMENT_SECONDS
            )
            yield from self._see((yield from look))

    def _see(self, look: Look | None) -> Flow[None]:
        self._seen_at = yield Now()
        self._progress.before = look
        self._ran_before = look is not None and look.status.may_run
        yield from self._note(self._progress.ambiguous or not self._ran_before)

    def _note(self, may_be_ours: bool) -> Flow[None]:
        """Note it before the start is sent, which may be the last that this process does."""
        if (write := self._progress.note) and self._progress.is_noted is not may_be_ours:
            self._progress.is_noted = may_be_ours
            yield Note(partial(write, may_be_ours))

    def _is_accepted(self, call: Call[None], pacing: Pacing) -> Flow[bool]:
        """Send the start once, when it is time to."""
        deadline = self._terms.acceptance_deadline
        yield from self._until_due(pacing)
        yield from self._look_before()
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
                raise self._refused_too_long(refusal) from refusal
            yield from self._tell(pacing, now)
            return False
        except EnOSError as error:
            self._progress.ambiguous |= error.ambiguous and not self._ran_before
            if error.transient:
                now = yield Now()
                pause = max(error.retry_after_seconds or 0, TROUBLE_PAUSE_SECONDS)
                pacing.hold_off(now + min(pause, LONGEST_TROUBLE_PAUSE_SECONDS))
            raise
        self._progress.accepted_at = yield Now()
        pacing.accepted_start(sent_at, self._pipeline_id)
        yield from self._note(True)
        return True

    def _until_due(self, pacing: Pacing) -> Flow[None]:
        """Wait until it is time to ask; the list may show that it is sooner than was thought."""
        interval = self._terms.poll_interval_seconds
        while True:
            now = yield Now()
            pacing.resume(now)
            self._looked_at = min(self._looked_at, now)
            due = min(pacing.ask_at, max(self._terms.acceptance_deadline, now))
            look_at = self._looked_at + pacing.look_interval_seconds(interval)
            if due <= now:
                return
            is_fixed = due <= pacing.not_before
            # A slow list must not make the start late.
            look_seconds = max(self._look_seconds, LEAST_USE_OF_A_LOOK_SECONDS)
            if is_fixed or due < look_at + look_seconds:
                yield Sleep(due - now)
            elif look_at > now:
                yield Sleep(look_at - now)
            else:
                yield from self._look(pacing, interval)

    def _look(self, pacing: Pacing, interval_seconds: float) -> Flow[None]:
        begun = self._looked_at = yield Now()
        max_age = interval_seconds * looks.SHARED_AGE
        seen: Shared[PipelinePage] | None = None
        with contextlib.suppress(EnOSError):  # there are others
            seen = yield from looks.see_page(self._org_id, max_age_seconds=max_age)
        now = yield Now()
        self._look_seconds = now - begun
        if seen is None:
            return
        for pipeline in seen.value.pipelines:
            status_before = self._statuses.get(pipeline.pipeline_id, "RUNNING")
            is_last_of_ours = pipeline.pipeline_id in pacing.accepted[-1:]
            is_news = status_before != "RUNNING" or (is_last_of_ours and pacing.ran_after is None)
            if pipeline.status == "RUNNING" and is_news:
                pacing.saw_running(pipeline.pipeline_id, now)
            if pipeline.pipeline_id == self._pipeline_id:
                yield from self._see(Look(pipeline, seen.begun_at))
        self._statuses = {one.pipeline_id: str(one.status) for one in seen.value.pipelines}

    def _tell(self, pacing: Pacing, now: float) -> Flow[None]:
        self._refused_since = self._refused_since or now
        conflicts = self._progress.conflicts
        if conflicts & (conflicts - 1) == 0:  # 1, 2, 4, 8 ...: enough to follow, not a flood
            left = self._terms.acceptance_deadline - now
            yield Log(
                "Somebody else is starting a pipeline of organization %s (EnOS code 61121). "
                "Pipeline %s waits: refusal %d, for %.0f s now; asked again in %.1f s, given up in "
                "%.0f s.",
                (
                    self._org_id,
                    self._pipeline_id,
                    conflicts,
                    now - self._refused_since,
                    min(pacing.ask_at - now, left),
                    left,
                ),
            )

    def _refused_too_long(self, refusal: EnOSError) -> EnOSError:
        return ConflictTimeoutError(
            f"EnOS refused {self._progress.conflicts} times because somebody else in the "
            f"organization was starting a pipeline, and {self._limit} is over",
            during=self._what,
            code=refusal.code,
        )

    def _queued_too_long(self, place: Place, now: float) -> EnOSError:
        known = self._queue.known
        text = f"it was number {len(self._queue.before(place)) + 1} in the queue of this process"
        if known.accepted_at is not None:
            text += f"; the last start was accepted {now - known.accepted_at:.0f} s ago"
        if known.hold_seconds is not None:
            text += f", and EnOS has lately taken {known.hold_seconds:.1f} s for one"
        return ConflictTimeoutError(f"{text}; {self._limit} is over", during=self._what)

    @property
    def _limit(self) -> str:
        return self._terms.limit(self._terms.conflict_deadline, "conflict_timeout")
