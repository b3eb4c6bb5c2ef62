"""Wait as a sensor does: looks one after another, and the verdict on one look at a status."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self, TypeVar

from airflow_provider_enos.api import flows, looks
from airflow_provider_enos.api.errors import (
    EnOSError,
    InvalidSettingError,
    PipelineFailedError,
    StatusTimeoutError,
)
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.transport import Flow, Log, Now, Sleep


@dataclass(frozen=True, slots=True)
class StatusRule:
    """
    Which statuses end a wait.

    :param targets: The wait succeeds.
    :param failures: The wait fails; ``None`` stands for every status that tells of a failure.
    """

    targets: frozenset[PipelineStatus]
    failures: frozenset[PipelineStatus] | None = None

    @classmethod
    def parse(cls, targets: object, failures: object = None) -> Self:
        """
        Read what a DAG gives: one status or several.

        :raises InvalidSettingError: no target, or a status on both sides.
        """
        good = parse_statuses(targets, "target_statuses")
        # A template that has no value renders to one of these.
        is_open = failures is None or failures in ("", "None")
        bad = None if is_open else parse_statuses(failures, "failed_statuses")
        if not good:
            raise InvalidSettingError.of("target_statuses", targets, "at least one status")
        if both := good & (bad or frozenset()):
            allowed = "statuses that are not in target_statuses"
            raise InvalidSettingError.of("failed_statuses", sorted(both), allowed)
        return cls(good, bad)

    def ends_wait(self, status: PipelineStatus) -> bool:
        """Whether a look decides, for good or for bad."""
        return status in self.targets or self._is_failure(status)

    def is_met(self, status: PipelineStatus, pipeline_id: str) -> bool:
        """
        Judge one look. The one place that decides.

        :raises PipelineFailedError: the pipeline is in a failing status.
        """
        if status in self.targets:
            return True
        if self._is_failure(status):
            wanted = " or ".join(sorted(self.targets))
            raise PipelineFailedError(f"pipeline {pipeline_id} is {status}, awaited was {wanted}.")
        return False

    def _is_failure(self, status: PipelineStatus) -> bool:
        return status.has_failed if self.failures is None else status in self.failures


@dataclass(frozen=True, slots=True)
class PollPlan:
    """
    How often to look and for how long; the words are those of Airflow's sensors.

    :param deadline: When to give up, in seconds since 1970.
    """

    deadline: float
    poll_interval_seconds: float
    exponential_backoff: bool = False
    max_wait_seconds: float | None = None
    silent_fail: bool = False

    def pauses(self) -> Iterator[float]:
        """
        Yield the pauses between looks.

        With back-off: as Airflow's sensors, drawn from one to two times a base that doubles each
        time; the base begins at half the interval, and is never below a second.
        """
        base = self.poll_interval_seconds / 2
        longest = self.max_wait_seconds or float("inf")
        while True:
            if not self.exponential_backoff:
                yield self.poll_interval_seconds
                continue
            least = max(base, 1.0)
            yield min(random.uniform(least, 2 * least), longest)  # noqa: S311 - no secret
            base = min(base * 2, 1e9)


class Seen(Protocol):
    """One look at a pipeline; as text, what the pipeline "is"."""

    @property
    def begun_at(self) -> float:
        """When the look began, in seconds since 1970."""


SeenT_co = TypeVar("SeenT_co", bound=Seen, covariant=True)


class LookAt(Protocol[SeenT_co]):
    """Look once; with patience, and at what another has seen if that is not too old."""

    def __call__(self, patience: flows.Patience, *, max_age_seconds: float) -> Flow[SeenT_co]:
        """Return what there is to see."""


def watch(
    pipeline_id: str, look_at: LookAt[SeenT_co], decides: Callable[[SeenT_co], bool], plan: PollPlan
) -> Flow[SeenT_co]:
    """
    Look until a look decides, and return that one.

    :raises StatusTimeoutError: the deadline has passed.
    :raises EnOSError: EnOS cannot be asked; with ``silent_fail`` only if that cannot pass.
    """
    patience = flows.Patience(flows.WAIT_PATIENCE.seconds, plan.deadline)
    seen: str | None = None
    max_age = 0.0
    for pause in plan.pauses():
        looked_at = yield Now()
        try:
            look = yield from look_at(patience, max_age_seconds=max_age)
        except EnOSError as error:
            if not (plan.silent_fail and error.retryable):
                raise
            yield Log("Looking again, since silent_fail is set: %s", (error,))
        else:
            looked_at = look.begun_at
            if str(look) != seen:
                seen = str(look)
                yield Log("Pipeline %s is %s", (pipeline_id, seen))
            if decides(look):
                return look
        now = yield Now()
        if now >= plan.deadline:
            raise StatusTimeoutError(f"pipeline {pipeline_id} is still {seen or 'unknown'}.")
        rest = min(looked_at + pause, plan.deadline) - now
        yield Sleep(min(max(rest, 0.0), pause))  # also where the clock was put back
        max_age = pause * looks.SHARED_AGE
    raise AssertionError("unreachable")


def watch_status(
    org_id: str, pipeline_id: str, rule: StatusRule, plan: PollPlan
) -> Flow[PipelineStatus]:
    """
    Look until a status decides and return it; the rule says whether it is a good one.

    :raises EnOSError: see :func:`watch`.
    """

    def decides(look: looks.Look) -> bool:
        return rule.ends_wait(look.status)

    look_at = partial(looks.find_pipeline, org_id, pipeline_id)
    return (yield from watch(pipeline_id, look_at, decides, plan)).status


def parse_statuses(value: object, path: str) -> frozenset[PipelineStatus]:
    """
    Read one status or several.

    :raises InvalidSettingError: something in it is no status.
    """
    # A template gives a list as text: "['RUNNING']", or "RUNNING, PAUSED".
    values: object = value
    if isinstance(value, str):
        values = [one for one in re.split(r"[\s,\[\]'\"]+", value) if one]
    if not isinstance(values, Collection) or not all(
        isinstance(one, str) and re.fullmatch(r"(?i)\s*(?!(none|null)\s*$)[a-z][a-z_]*\s*", one)
        for one in values
    ):
        raise InvalidSettingError.of(path, value, "a status such as 'RUNNING', or a list of them")
    return frozenset(PipelineStatus(one) for one in values)
