"""
Wait until a pipeline has caught up: what one look shows, and how many in a row are enough.

EnOS measures offset and lag every few minutes, and shows the same measurement meanwhile: a look
counts only if it shows a new one. So an old measurement, of before a restart, ends no wait alone.

Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/get_pipeline_offset_lag
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Self

from airflow_provider_enos.api import flows, looks
from airflow_provider_enos.api.errors import (
    EnOSApiError,
    EnOSServerError,
    InvalidSettingError,
)
from airflow_provider_enos.api.pipeline import PipelineStatus, as_int
from airflow_provider_enos.api.transport import Flow
from airflow_provider_enos.api.watch import PollPlan, watch


@dataclass(frozen=True, slots=True)
class LagLook:
    """
    What one look has shown; ``None`` where EnOS said nothing usable.

    :param status: Only where EnOS told no lag: it does so for RUNNING pipelines alone.
    :param measured_at: In seconds since 1970, by EnOS's clock.
    :param begun_at: When the look began, by ours.
    """

    begun_at: float
    lag: int | None = None
    measured_at: float | None = None
    topic_name: str | None = None
    status: PipelineStatus | None = None

    def to_payload(self) -> dict[str, Any]:
        """Return it as JSON values; Airflow takes no text of a class of its own."""
        return {**asdict(self), "status": None if self.status is None else str(self.status)}

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> Self:
        """Rebuild what :meth:`to_payload` wrote."""
        status = payload["status"]
        return cls(**{**payload, "status": None if status is None else PipelineStatus(status)})

    @property
    def has_failed(self) -> bool:
        """Whether the pipeline will not catch up any more."""
        return self.status is not None and self.status.has_failed

    def __str__(self) -> str:
        if self.status is not None:
            return str(self.status)
        if self.lag is None:
            return "RUNNING, its lag is not known"
        return f"{self.lag} records behind"


@dataclass(frozen=True, slots=True)
class Streak:
    """
    Measurements in a row that were within the limit.

    :param looks: How many.
    :param since: When the first of them was taken, in seconds since 1970.
    :param last: When the last measurement was taken, be it within the limit or not.
    """

    looks: int = 0
    since: float | None = None
    last: float | None = None

    @property
    def seconds(self) -> float:
        """From the first of them to the last."""
        if self.since is None or self.last is None:
            return 0.0
        return self.last - self.since

    def and_then(self, look: LagLook, max_lag: int) -> Streak:
        """Return the streak with one more look."""
        if look.lag is None:
            return Streak(last=self.last)
        measured_at = look.begun_at if look.measured_at is None else look.measured_at
        if look.lag > max_lag:
            return Streak(last=measured_at)
        if self.last is not None and measured_at <= self.last:
            return self
        since = measured_at if self.since is None else self.since
        return Streak(self.looks + 1, since, measured_at)


@dataclass(frozen=True, slots=True)
class LagRule:
    """
    When a pipeline has caught up.

    :param max_lag: Records that may still be waiting in Kafka.
    :param looks: How many measurements in a row must be within that.
    :param seconds: And from the first of them to the last, at least so long.
    """

    max_lag: int
    looks: int
    seconds: float

    @classmethod
    def parse(cls, max_lag: object, looks: object, seconds: float) -> Self:
        """
        Read what a DAG gives; numbers may be texts.

        :raises InvalidSettingError: a number is none, or too small.
        """
        return cls(_whole(max_lag, "max_lag", 0), _whole(looks, "looks", 1), seconds)

    def is_met(self, streak: Streak) -> bool:
        """Whether these looks are enough."""
        return streak.looks >= self.looks and streak.seconds >= self.seconds


def look_at_lag(
    org_id: str, pipeline_id: str, patience: flows.Patience, *, max_age_seconds: float = 0.0
) -> Flow[LagLook]:
    """
    Look once; trouble that passes is waited out.

    :raises PipelineNotFoundError: the organization has no such pipeline.
    """
    attempt = partial(_look, org_id, pipeline_id, max_age_seconds)
    return (yield from flows.patiently(attempt, patience, repeatable=True))


def watch_lag(
    org_id: str, pipeline_id: str, rule: LagRule, plan: PollPlan, streak: Streak
) -> Flow[tuple[LagLook, Streak]]:
    """
    Look until the pipeline has caught up or failed; return the last look and the streak.

    :raises StatusTimeoutError: the deadline has passed.
    :raises EnOSError: EnOS cannot be asked; with ``silent_fail`` only if that cannot pass.
    """

    def is_enough(look: LagLook) -> bool:
        nonlocal streak
        streak = streak.and_then(look, rule.max_lag)
        return look.has_failed or rule.is_met(streak)

    look = yield from watch(pipeline_id, partial(look_at_lag, org_id, pipeline_id), is_enough, plan)
    return look, streak


def _look(org_id: str, pipeline_id: str, max_age_seconds: float) -> Flow[LagLook]:
    error: EnOSApiError | None = None
    try:
        shared = yield from looks.see_lag(org_id, pipeline_id, max_age_seconds=max_age_seconds)
    except EnOSApiError as refusal:
        if type(refusal) not in (EnOSApiError, EnOSServerError):
            raise
        error = refusal
    else:
        newest, topic_name = shared.value.newest, shared.value.topic_name
        if newest is not None:
            ms = newest.timestamp_ms
            measured_at = None if ms is None else ms / 1000
            return LagLook(shared.begun_at, newest.lag, measured_at, topic_name)
    # What EnOS says of a pipeline that does not run is not documented: perhaps just this.
    look = yield from looks.find_pipeline(org_id, pipeline_id, flows.AT_ONCE)
    if not look.status.is_running:
        return LagLook(look.begun_at, status=look.status)
    if error is not None:
        raise error
    return LagLook(look.begun_at)


def _whole(value: object, name: str, least: int) -> int:
    number = None if isinstance(value, bool | float) else as_int(value)
    if number is None or number < least:
        raise InvalidSettingError.of(name, value, f"a whole number from {least} on")
    return number
