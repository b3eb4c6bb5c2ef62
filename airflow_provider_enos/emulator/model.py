"""What EnOS keeps: organizations, their pipelines and quotas. Values only, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

#: The most that can be requested for Standalone mode; for Cluster mode it is our choice.
#: https://support.enos-iot.com/docs/enos/zh_CN/2.2.0/resourcemanagement/reference/stream_data_processing
GENEROUS_CU = 2000.0


@dataclass(frozen=True, slots=True)
class Quota:
    """
    What an organization may use, in CU; None for what it never requested (61128).

    :param standalone: For pipelines in Standalone mode.
    :param server: For the servers of pipelines in Cluster mode.
    :param yarn: For the workers and masters of pipelines in Cluster mode.
    """

    standalone: float | None = GENEROUS_CU
    server: float | None = GENEROUS_CU
    yarn: float | None = GENEROUS_CU


@dataclass(frozen=True, slots=True)
class Design:
    """What a save changes and a release puts online (save_pipeline, get_pipeline_details)."""

    name: str
    version: str = "0.1.0"
    template_type: int = 1
    template_name: Any = "Origin Template"
    message_channel: int = 0
    desc: str = ""
    pipeline_json: Mapping[str, Any] = field(default_factory=lambda: {"points": []})


@dataclass(frozen=True, slots=True)
class Move:
    """
    A status change under way: ``to`` is reached at ``until`` (seconds since 1970).

    :param until: None: when a test finishes it.
    :param holds_lock: Whether it keeps other starts of the organization out.
    """

    to: str
    until: float | None
    holds_lock: bool = False


@dataclass(slots=True)
class Pipeline:
    """
    One pipeline, as EnOS and the emulator know it. Times are seconds since 1970.

    ``online`` is the released version, None before the first release. ``history`` holds the time
    and name of each status shown. ``start_outcome`` is the status that the next starts end in.
    ``measured`` is when ``lag`` and ``offset`` were as they are here.
    """

    pipeline_id: str
    org_id: str
    design: Design
    status: str
    updated: float
    online: Design | None = None
    is_system: bool = False
    move: Move | None = None
    start_outcome: str = "RUNNING"
    starts_accepted: int = 0
    execution_mode: int = 0
    kafka_rate: int | None = None
    resource_config: Mapping[str, Any] | None = None
    server: float = 1.0
    yarn: float = 0.0
    lag: int = 0
    offset: int = 6094977
    measured: float = 0.0
    erased: set[tuple[str, str, str]] = field(default_factory=set)
    history: list[tuple[float, str]] = field(default_factory=list)

    def show(self, status: str, when: float) -> None:
        """Change the status that List Pipelines shows."""
        self.status = status
        self.updated = when
        self.history.append((when, status))

    def settle(self, now: float) -> None:
        """Finish the change under way if its time has come."""
        until = self.move.until if self.move is not None else None
        if until is not None and now >= until:
            self.finish(until)

    def finish(self, when: float) -> None:
        """
        Finish the change under way, whatever the time.

        :raises ValueError: there is none.
        """
        if self.move is None:
            raise ValueError(f"pipeline {self.pipeline_id!r} is in no transition")
        move, self.move = self.move, None
        self.show(move.to, when)

    def measure(self, now: float, *, drains: bool) -> None:
        """Bring lag and offset to the present, from when it ran and they were last measured."""
        if drains:
            running_since = self.history[-1][0] if self.history else now
            elapsed = max(now - max(self.measured, running_since), 0.0)
            read = min(self.lag, int((self.kafka_rate or 1000) * elapsed))
            self.lag -= read
            self.offset += read
        self.measured = now

    @property
    def takes_resources(self) -> bool:
        """Whether it counts against the quotas: it runs, or is on its way there or from there."""
        return not self.is_system and (self.status == "RUNNING" or self.move is not None)

    def as_row(self) -> dict[str, Any]:
        """
        The pipeline as List Pipelines shows it.

        Its resourceConfig has another shape than that of the start body: text, with "men" (sic).
        1 CU is 1 core and 2 GB.
        """
        shown = self.online or self.design
        updated = datetime.fromtimestamp(self.updated, UTC)
        return {
            "orgId": self.org_id,
            "status": self.status,
            "version": shown.version,
            "pipelineId": self.pipeline_id,
            "pipelineName": shown.name,
            "updateTime": f"{updated:%Y-%m-%d %H:%M:%S}",
            "alarmConfig": '{"alarmMode":1,"receivers":"u15453595541281"}',
            "templateType": shown.template_type,
            "executionMode": self.execution_mode,
            "resourceConfig": f'{{"men":{self.server * 2:.1f},"cpu":{self.server:.1f}}}',
            "messageChannel": shown.message_channel,
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, for the state file and the control API."""
        return {**asdict(self), "erased": sorted(self.erased)}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Pipeline:
        """Read what :meth:`as_json` wrote."""
        online, move = values["online"], values["move"]
        return cls(
            **{
                **values,
                "design": Design(**values["design"]),
                "online": Design(**online) if online else None,
                "move": Move(**move) if move else None,
                "erased": {(stage, asset, point) for stage, asset, point in values["erased"]},
                "history": [(when, status) for when, status in values["history"]],
            }
        )


@dataclass(slots=True)
class Organization:
    """An organization (OU) with its pipelines and the lock that lets in one start at a time."""

    org_id: str
    quota: Quota = field(default_factory=Quota)
    locked_until: float = 0.0
    pipelines: dict[str, Pipeline] = field(default_factory=dict)

    def is_locked(self, now: float) -> bool:
        """Whether a start is under way that keeps others out."""
        return now < self.locked_until or any(
            pipeline.move is not None and pipeline.move.holds_lock
            for pipeline in self.pipelines.values()
        )

    def unlock(self, now: float) -> None:
        """Let starts in again, whatever kept them out."""
        self.locked_until = now
        for pipeline in self.pipelines.values():
            if pipeline.move is not None:
                pipeline.move = replace(pipeline.move, holds_lock=False)

    def used(self, quota_name: str) -> float:
        """CU taken of one quota by the pipelines that run or are about to."""
        busy = [pipeline for pipeline in self.pipelines.values() if pipeline.takes_resources]
        if quota_name == "standalone":
            return sum(pipeline.server for pipeline in busy if pipeline.execution_mode == 0)
        cluster = [pipeline for pipeline in busy if pipeline.execution_mode == 1]
        return sum(
            pipeline.server if quota_name == "server" else pipeline.yarn for pipeline in cluster
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, for the state file."""
        return {
            "org_id": self.org_id,
            "quota": asdict(self.quota),
            "locked_until": self.locked_until,
            "pipelines": [pipeline.as_json() for pipeline in self.pipelines.values()],
        }

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Organization:
        """Read what :meth:`as_json` wrote."""
        pipelines = [Pipeline.of_json(pipeline) for pipeline in values["pipelines"]]
        return cls(
            org_id=values["org_id"],
            quota=Quota(**values["quota"]),
            locked_until=values["locked_until"],
            pipelines={pipeline.pipeline_id: pipeline for pipeline in pipelines},
        )
