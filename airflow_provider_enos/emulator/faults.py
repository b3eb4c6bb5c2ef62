"""
Trouble to order: each fault says which requests it meets, how often, and what happens to them.

One fault meets a request, the first in the list that fits. The names are those of the trouble as
the client sees it; what a fault does to the answer is in ``answers.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

#: The calls a fault can be ordered for, and the request log names.
OPERATIONS = frozenset(
    {
        "token_get",
        "token_refresh",
        "list",
        "details",
        "save",
        "release",
        "start",
        "pause",
        "stop",
        "offset_lag",
        "reset_offset",
        "stage_state_get",
        "stage_state_delete",
        "unknown",
    }
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    What all faults have in common.

    :param on: The operation it meets, see ``OPERATIONS``; None: any.
    :param pipeline_id: The only pipeline it meets; None: any, and calls without a pipeline.
    :param times: How many requests it meets; None: all until the faults are cleared.
    :param skip: How many of those that it could meet it leaves alone before.
    """

    on: str | None = None
    pipeline_id: str | None = None
    times: int | None = 1
    skip: int = 0

    #: Whether EnOS carries the request out before the trouble begins.
    carried_out = True

    def __post_init__(self) -> None:
        """
        Refuse what would never meet a request.

        :raises ValueError: no such operation, no times, or less than none to skip.
        """
        if self.on is not None and self.on not in OPERATIONS:
            raise ValueError(f"no operation {self.on!r}; there are {', '.join(sorted(OPERATIONS))}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is {self.times}, not 1 or more")
        if self.skip < 0:
            raise ValueError(f"skip is {self.skip}, not 0 or more")

    def meets(self, operation: str, pipeline_id: str | None) -> bool:
        """Whether this request is one to disturb."""
        return self.on in (None, operation) and self.pipeline_id in (None, pipeline_id)


@dataclass(frozen=True)
class LoseAnswer(Fault):
    """Carry the request out, then close the connection without a word."""


@dataclass(frozen=True)
class DropRequest(Fault):
    """Close the connection without carrying the request out."""

    carried_out = False


@dataclass(frozen=True)
class CutAnswer(Fault):
    """Carry the request out, and reset the connection in the middle of the answer's body."""


@dataclass(frozen=True)
class Slow(Fault):
    """Carry the request out, and answer so many seconds later."""

    seconds: float


@dataclass(frozen=True)
class Trickle(Fault):
    """Carry the request out, and send the answer's body at this rate."""

    bytes_per_second: float


@dataclass(frozen=True)
class RevokeToken(Fault):
    """End the request's token just before the request is looked at."""


@dataclass(frozen=True)
class HttpError(Fault):
    """Answer with this HTTP status and text."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    carried_out: bool = False


@dataclass(frozen=True)
class TooManyRequests(Fault):
    """
    Answer 429, as the gateway does over its limit; not carried out.

    :param retry_after: The header's text, seconds or an HTTP date; None: no header.
    """

    retry_after: str | None = None
    carried_out = False


@dataclass(frozen=True)
class Garbage(Fault):
    """Answer HTTP 200 with something that is not EnOS's."""

    body: str
    content_type: str = "text/html"
    carried_out: bool = False


@dataclass(frozen=True)
class HugeBody(Fault):
    """Answer HTTP 200 with JSON of this size; not carried out."""

    megabytes: int
    carried_out = False


@dataclass(frozen=True)
class Code(Fault):
    """
    Answer with this EnOS code; not carried out.

    :param msg: None: the code's own text, as far as the pages print it.
    """

    code: int
    msg: str | None = None
    carried_out = False


@dataclass(frozen=True)
class Redirect(Fault):
    """Send the client elsewhere with HTTP 302; not carried out."""

    location: str
    carried_out = False


FAULTS: Mapping[str, type[Fault]] = {kind.__name__: kind for kind in Fault.__subclasses__()}


def fault_of_json(values: Mapping[str, Any]) -> Fault:
    """
    Read ``{"fault": "LoseAnswer", "on": "start", ...}``.

    :raises ValueError: no such fault, or a value does not fit.
    """
    arguments = dict(values)
    name = arguments.pop("fault", None)
    if name not in FAULTS:
        raise ValueError(f"no fault {name!r}; there are {', '.join(sorted(FAULTS))}")
    try:
        return FAULTS[name](**arguments)
    except TypeError as error:
        raise ValueError(str(error)) from error


def fault_as_json(fault: Fault) -> dict[str, Any]:
    """Write what :func:`fault_of_json` reads."""
    values = {item.name: getattr(fault, item.name) for item in fields(fault)}
    return {"fault": type(fault).__name__, **values}


@dataclass(eq=False)
class _Ordered:
    """A fault, and how many requests it still leaves alone and then meets."""

    fault: Fault
    skip: int
    left: int | None


class FaultList:
    """The faults still to come, in order. May be used from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._faults: list[_Ordered] = []

    def append(self, fault: Fault) -> None:
        """Order a fault."""
        with self._guard:
            self._faults.append(_Ordered(fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Cancel all that have not happened."""
        with self._guard:
            self._faults.clear()

    def take(self, operation: str, pipeline_id: str | None) -> Fault | None:
        """The fault that meets this request, counted as having happened."""
        with self._guard:
            for ordered in self._faults:
                if not ordered.fault.meets(operation, pipeline_id):
                    continue
                if ordered.skip > 0:
                    ordered.skip -= 1
                    continue
                if ordered.left is not None:
                    ordered.left -= 1
                if ordered.left == 0:
                    self._faults.remove(ordered)
                return ordered.fault
        return None

    def __iter__(self) -> Iterator[Fault]:
        with self._guard:
            return iter([ordered.fault for ordered in self._faults])

    def __len__(self) -> int:
        return len(self._faults)
