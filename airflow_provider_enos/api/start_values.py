"""What a start is given, what has happened to it so far, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from airflow_provider_enos.api.looks import Look


class Outcome(StrEnum):
    """How a pipeline came to run."""

    STARTED = "started"
    ALREADY_RUNNING = "already_running"
    #: This attempt of the task or an earlier one may have: an answer or a process was lost.
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
    :param ambiguous: A start, of this or of an earlier try, may have been accepted. One that was
        sent while the pipeline may have run anyway is none of these.
    :param before: The last look at the pipeline before the last request.
    :param note: Writes down, for who goes on after a crash, whether ours may have been accepted.
    :param is_noted: What it has written last; an earlier try has done so if that is ``ambiguous``.
    """

    attempts: int = 0
    conflicts: int = 0
    accepted_at: float | None = None
    ambiguous: bool = False
    before: Look | None = field(default=None, compare=False)
    note: Callable[[bool], Awaitable[None] | None] | None = field(default=None, compare=False)
    is_noted: bool = field(default=False, compare=False)

    @property
    def may_have_started(self) -> bool:
        """Whether the pipeline may run because of this task."""
        return self.accepted_at is not None or self.ambiguous


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

    @classmethod
    def adopted(cls, pipeline_id: str, org_id: str) -> Self:
        """Return that of a start which an earlier run has sent, and EnOS has accepted."""
        return cls(pipeline_id, org_id, Outcome.ADOPTED, None, 0, 0, 0.0)

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
