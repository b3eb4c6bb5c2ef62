"""How a signal handler ends a flow that a worker is carrying out."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from airflow_provider_enos.api.errors import TaskKilledError


class KillSwitch:
    """
    Ends a blocking flow from a signal handler: its sleep at once, and before the next request.

    A queue instead of an event, since ``threading.Event.set`` in a signal handler can wait for the
    very thread that it interrupted; ``SimpleQueue.put`` is made for this.
    """

    def __init__(self) -> None:
        self._pulled = False
        # One for each that rests: several threads may share a hook.
        self._wakes: list[SimpleQueue[None]] = []

    def pull(self) -> None:
        """End the flow."""
        self._pulled = True
        for wake in tuple(self._wakes):
            wake.put(None)

    def check(self) -> None:
        """Raise :class:`TaskKilledError` once the switch was pulled."""
        if self._pulled:
            raise TaskKilledError("the task was killed; nothing more was sent to EnOS.")

    def sleep(self, seconds: float) -> None:
        """Sleep, unless and until the switch is pulled."""
        self._rest(seconds, None)

    def wait(self, future: Future[Any], seconds: float | None) -> None:
        """Wait until the future is done, for so many seconds at most, or the switch is pulled."""
        self._rest(float("inf") if seconds is None else seconds, future)

    def _rest(self, seconds: float, future: Future[Any] | None) -> None:
        end = time.monotonic() + seconds
        wake: SimpleQueue[None] = SimpleQueue()
        self._wakes.append(wake)
        try:
            self.check()
            if future is not None:
                future.add_done_callback(lambda _: wake.put(None))
            while not (future and future.done()) and (left := end - time.monotonic()) > 0:
                with contextlib.suppress(Empty):
                    wake.get(timeout=min(left, threading.TIMEOUT_MAX))
                self.check()
        finally:
            self._wakes.remove(wake)
