"""What a test does to EnOS when a request has come: no thread, no sleep and no time-out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_enos.emulator.faults import OPERATIONS


@dataclass(eq=False)
class _Ordered:
    """An action, and how many requests are still to come before it runs."""

    operation: str
    action: Callable[[], object]
    pipeline_id: str | None
    left: int
    error: Exception | None = None

    def __str__(self) -> str:
        if self.error is not None:
            return f"the action after a {self.operation!r} request failed: {self.error!r}"
        return f"{self.left} more {self.operation!r} requests were to come before an action"


class ActionList:
    """The actions still to come, and those that failed. May be used from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._actions: list[_Ordered] = []

    def after_request(
        self,
        operation: str,
        action: Callable[[], object],
        *,
        pipeline_id: str | None = None,
        count: int = 1,
    ) -> None:
        """
        Run ``action`` once, when the next such requests have been carried out and logged.

        It runs before the answer to the last of them leaves, in the emulator's thread. It may
        change the emulator and order another action, but not send a request to it or stop it.

        :param operation: As in ``faults.OPERATIONS``.
        :param pipeline_id: Count requests for this pipeline only; None: for any, or for none.
        :param count: How many requests to come; those in the log already do not count.
        :raises ValueError: no such operation, or ``count`` is less than 1.
        """
        if operation not in OPERATIONS:
            raise ValueError(
                f"no operation {operation!r}; there are {', '.join(sorted(OPERATIONS))}"
            )
        if count < 1:
            raise ValueError(f"count is {count}, not 1 or more")
        with self._guard:
            self._actions.append(_Ordered(operation, action, pipeline_id, count))

    def run_due(self, operation: str, pipeline_id: str | None) -> None:
        """Count this request, and run what was to come after it."""
        with self._guard:
            counted = [
                ordered
                for ordered in self._actions
                if ordered.left > 0
                and ordered.operation == operation
                and ordered.pipeline_id in (None, pipeline_id)
            ]
            for ordered in counted:
                ordered.left -= 1
        for ordered in counted:
            if ordered.left == 0:
                self._run(ordered)

    def _run(self, ordered: _Ordered) -> None:
        try:
            ordered.action()
        except Exception as error:
            # The request is answered all the same; `pending` shows the error to the test.
            ordered.error = error
            return
        with self._guard:
            self._actions.remove(ordered)

    @property
    def pending(self) -> list[str]:
        """What has not happened yet, or failed when it should have."""
        with self._guard:
            return [str(ordered) for ordered in self._actions]
