"""What really arrived: every request with its answer, but no secret, token or signature."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Older entries are forgotten.
MAX_REQUESTS = 100_000


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """
    One request. It is logged just before its answer leaves.

    :param number: Counts from 1, in the order of the answers.
    :param time: Arrival, in seconds since 1970.
    :param operation: As in ``faults.OPERATIONS``.
    :param query: Decoded.
    :param body: Parsed JSON; None if there was none, and always None for the token service and
        unknown calls.
    :param http_status: None if the connection was closed before the answer was complete.
    :param code: EnOS's code, also if a fault kept it from the client; None if EnOS had no part.
    :param duration_seconds: From arrival to answer.
    :param effective: Whether it changed the state, as an accepted start does.
    :param fault: Name of the fault that met it.
    """

    number: int
    time: float
    operation: str
    org_id: str | None
    pipeline_id: str | None
    query: Mapping[str, str]
    body: Any
    http_status: int | None
    code: int | None
    duration_seconds: float
    effective: bool
    fault: str | None


class RequestLog:
    """The last requests. May be used from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: deque[LoggedRequest] = deque(maxlen=MAX_REQUESTS)
        self._count = 0

    def append(self, **values: Any) -> None:
        """Log a request; all values but its number."""
        with self._changed:
            self._count += 1
            self._requests.append(LoggedRequest(number=self._count, **values))
            self._changed.notify_all()

    def find(
        self,
        operation: str | None = None,
        pipeline_id: str | None = None,
        since: int = 0,
        *,
        org_id: str | None = None,
    ) -> list[LoggedRequest]:
        """Requests with a number above ``since``, of what else is given."""
        with self._changed:
            return [
                request
                for request in self._requests
                if request.number > since
                and operation in (None, request.operation)
                and pipeline_id in (None, request.pipeline_id)
                and org_id in (None, request.org_id)
            ]

    def wait(
        self,
        operation: str,
        pipeline_id: str | None = None,
        *,
        org_id: str | None = None,
        count: int = 1,
        timeout: float = 10.0,
    ) -> LoggedRequest:
        """
        Wait until so many such requests have been answered, and return the last of them.

        :param count: Those that are in the log already count too.
        :param timeout: In seconds.
        :raises TimeoutError: they did not come in time.
        """
        with self._changed:
            there = self._changed.wait_for(
                lambda: len(self.find(operation, pipeline_id, org_id=org_id)) >= count, timeout
            )
            if not there:
                raise TimeoutError(f"no {operation!r} request number {count} in {timeout} s")
            return self.find(operation, pipeline_id, org_id=org_id)[count - 1]

    def clear(self) -> None:
        """Forget all requests; their numbers are not used again."""
        with self._changed:
            self._requests.clear()
