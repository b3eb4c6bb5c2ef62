"""
One request for many: flows that want the same at the same time share one result.

List Pipelines is the only call that shows a status, and it shows those of all pipelines: those of a
process who wait for a status of the same organization look together. How often EnOS is asked does
not depend on how many they are.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_provider_enos.api.errors import EnOSError
from airflow_provider_enos.api.registry import Registry
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.api.transport import Flow, Now, Share, Shared, Step, Wait, translated

T = TypeVar("T")

#: How old a failure may be that is taken for one's own.
FAILURE_MAX_AGE_SECONDS = 1.0

#: Nobody takes a result as old as this.
FORGET_AFTER_SECONDS = 600.0

#: Threads read the clock one after another.
CLOCK_TOLERANCE_SECONDS = 1.0


@dataclass(slots=True)
class _Run:
    begun_at: float
    #: ``None`` instead of a result: whoever ran it was killed.
    done: Future[Shared[Any] | None] = field(default_factory=Future)

    def fits(self, asked_at: float, now: float, max_age_seconds: float) -> bool:
        """Whether its result is new enough; one from the future is of before a clock's change."""
        if self.is_over and self.done.exception() is not None:
            max_age_seconds = min(max_age_seconds, FAILURE_MAX_AGE_SECONDS)
        return asked_at - max_age_seconds <= self.begun_at <= now + CLOCK_TOLERANCE_SECONDS

    @property
    def is_over(self) -> bool:
        return self.done.done()

    @property
    def has_result(self) -> bool:
        return self.is_over and (self.done.exception() or self.done.result()) is not None

    def result(self) -> Any:
        """Return the result, or raise a copy of the error: each flow adds to its own traceback."""
        try:
            return self.done.result()
        except EnOSError as error:
            raise EnOSError.from_payload(error.to_payload()) from None


class SharedResults:
    """What flows of a process have found lately, by what they looked for. For all its threads."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may end an abandoned flow in here.
        self._lock = threading.RLock()
        self._runs: dict[Hashable, _Run] = {}

    def share(self, step: Share[T]) -> Flow[Shared[T]]:
        """
        Return somebody's result, or run the flow for all who want it.

        Failures are shared too, but not for long: who tries again wants to know anew.
        """
        asked_at = yield Now()
        while True:
            now = yield Now()
            with self._lock:
                run = self._runs.get(step.key)
                fits = run is not None and run.fits(asked_at, now, step.max_age_seconds)
                is_mine = run is None or (run.is_over and not (fits and run.has_result))
                if run is None or is_mine:
                    self._forget(now - FORGET_AFTER_SECONDS)
                    run = self._runs[step.key] = _Run(now)
            if is_mine:
                return (yield from self._run(step, run))
            yield Wait(run.done)
            if fits and run.has_result:
                found: Shared[T] = run.result()
                return found

    def _forget(self, before: float) -> None:
        old = [key for key, run in self._runs.items() if run.is_over and run.begun_at < before]
        for key in old:
            del self._runs[key]

    def _run(self, step: Share[T], run: _Run) -> Flow[Shared[T]]:
        found: Shared[T] | None = None
        try:
            value = yield from step.make_flow()
            found = Shared(value, run.begun_at)
        except EnOSError as error:
            run.done.set_exception(error)
            raise
        finally:
            if not run.done.done():
                run.done.set_result(found)
        return found


_results: Registry[tuple[str, str, str], SharedResults] = Registry(lambda _: SharedResults())


def results_for(settings: EnOSSettings) -> SharedResults:
    """Return what the flows of this process share for this gateway and application."""
    return _results.get(settings.application)


def shared(flow: Flow[T], results: SharedResults) -> Generator[Step, Any, T]:
    """Run ``flow`` with what it shares with others looked up here."""
    return translated(flow, lambda step: results.share(step) if isinstance(step, Share) else None)
