"""How a signal handler ends a flow that a worker is carrying out."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
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
        self._wake: SimpleQueue[None] = SimpleQueue()

    def pull(self) -> None:
        """End the flow."""
        self._pulled = True
        self._wake.put(None)

    def check(self) -> None:
        """Raise :class:`TaskKilledError` once the switch was pulled."""
        if self._pulled:
            raise TaskKilledError("the task was killed; nothing more was sent to EnOS.")

    def sleep(self, seconds: float) -> None:
        """Sleep, unless and until the switch is pulled."""
        self._rest(seconds, lambda: False)

    def wait(self, future: Future[Any], seconds: float | None) -> None:
        """Wait until the future is done, for so many seconds at most, or the switch is pulled."""
        future.add_done_callback(lambda _: self._wake.put(None))
        self._rest(float("inf") if seconds is None else seconds, future.done)

    def _rest(self, seconds: float, is_over: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        self.check()
        while not is_over() and (left := end - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self._wake.get(timeout=min(left, threading.TIMEOUT_MAX))
            self.check()
