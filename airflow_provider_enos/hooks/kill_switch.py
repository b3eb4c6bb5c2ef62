"""How a signal handler ends a flow that a worker is carrying out."""

from __future__ import annotations

from queue import Empty, SimpleQueue

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
        self.check()
        try:
            self._wake.get(timeout=max(seconds, 0))
        except Empty:
            return
        self.check()
