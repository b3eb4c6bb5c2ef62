"""
A pipeline as EnOS describes it.

Read tolerantly: EnOS's pages contradict each other on types, and fields come and go.

Fields: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/list_pipelines,
.../get_pipeline_details and .../get_pipeline_offset_lag
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from airflow_provider_enos.api.errors import excerpt


class PipelineStatus(str):
    """
    A run status as EnOS shows it, in upper case.

    EnOS documents PUBLISHED, RUNNING, PAUSED and STOPPED, and none for a pipeline that is starting
    or has failed. Hence any text is a status, and the questions below say what it means.
    """

    __slots__ = ()

    #: Ours, where EnOS lists a pipeline without a status.
    UNKNOWN: ClassVar[str] = "UNKNOWN"

    DOCUMENTED: ClassVar[frozenset[str]] = frozenset({"PUBLISHED", "RUNNING", "PAUSED", "STOPPED"})

    def __new__(cls, text: object) -> Self:
        """Read a status, whatever its case."""
        return super().__new__(cls, str(text).strip().upper())

    @property
    def is_running(self) -> bool:
        """Whether the pipeline does its work."""
        return self == "RUNNING"

    @property
    def has_failed(self) -> bool:
        """Whether the name tells of a failure (START_ERROR, RUN_ERROR, FAILED ...)."""
        return "ERROR" in self or "FAIL" in self

    @property
    def is_in_transition(self) -> bool:
        """Whether it is none that EnOS documents and no failure: keep waiting."""
        return self not in self.DOCUMENTED and not self.has_failed

    @property
    def may_run(self) -> bool:
        """Whether it runs or may be about to, by whoever's doing."""
        return self.is_running or self.is_in_transition


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A released pipeline as List Pipelines shows it; ``None`` where EnOS said nothing usable."""

    pipeline_id: str
    status: PipelineStatus
    name: str | None = None
    org_id: str | None = None
    version: str | None = None
    update_time: str | None = None
    template_type: int | None = None
    execution_mode: int | None = None
    message_channel: int | None = None
    resource_config: Mapping[str, Any] | None = None
    alarm_config: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """Read one element of ``data.pipelines``."""
        return cls(
            pipeline_id=str(row.get("pipelineId", "")),
            # It is logged and stored: what no status is like is cut and escaped.
            status=PipelineStatus(
                excerpt(str(row.get("status") or PipelineStatus.UNKNOWN).strip(), 100)
            ),
            name=_as_text(row.get("pipelineName", row.get("name"))),
            org_id=_as_text(row.get("orgId")),
            version=_as_text(row.get("version")),
            update_time=_as_text(row.get("updateTime")),
            template_type=as_int(row.get("templateType")),
            execution_mode=as_int(row.get("executionMode")),
            message_channel=as_int(row.get("messageChannel")),
            resource_config=_as_object(row.get("resourceConfig")),
            alarm_config=_as_object(row.get("alarmConfig")),
        )

    def to_payload(self) -> dict[str, Any]:
        """Return the fields as JSON values; Airflow takes no text of a class of its own."""
        return {**asdict(self), "status": str(self.status)}


@dataclass(frozen=True, slots=True)
class PipelineDetails:
    """A pipeline's design as Get Pipeline Details shows it; it has no status."""

    pipeline_id: str
    name: str | None = None
    description: str | None = None
    version: str | None = None
    template_type: int | None = None
    template_name: str | Mapping[str, Any] | None = None
    message_channel: int | None = None
    pipeline_json: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Read ``data`` of the answer."""
        template_name = data.get("templateName")
        return cls(
            pipeline_id=str(data.get("pipelineId", "")),
            name=_as_text(data.get("pipelineName", data.get("name"))),
            description=_as_text(data.get("desc")),
            version=_as_text(data.get("version")),
            template_type=as_int(data.get("templateType")),
            template_name=template_name
            if isinstance(template_name, Mapping)
            else _as_text(template_name),
            message_channel=as_int(data.get("messageChannel")),
            pipeline_json=_as_object(data.get("pipelineJson")),
        )

    def to_payload(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LagPoint:
    """
    How far a pipeline was behind at one moment.

    :param lag: Records in Kafka that are still to be read.
    :param offset: Offset read so far.
    :param timestamp_ms: Milliseconds since 1970.
    """

    lag: int | None
    offset: int | None
    timestamp_ms: int | None


@dataclass(frozen=True, slots=True)
class OffsetLag:
    """Offset and lag of a running pipeline; the points in the order in which EnOS sent them."""

    pipeline_id: str
    topic_name: str | None
    points: tuple[LagPoint, ...]

    @property
    def newest(self) -> LagPoint | None:
        """The latest point that tells a lag; which order EnOS sends them in is not documented."""
        told = [point for point in self.points if point.lag is not None]
        return max(told, key=lambda one: (one.timestamp_ms or 0, one.lag or 0), default=None)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Read ``data`` of the answer."""
        found = data.get("lagAndOffset")
        rows = [found] if isinstance(found, Mapping) else found if isinstance(found, list) else []
        return cls(
            pipeline_id=str(data.get("pipelineId", "")),
            topic_name=_as_text(data.get("topicName")),
            points=tuple(
                LagPoint(as_int(p.get("lag")), as_int(p.get("offset")), as_int(p.get("ts")))
                for p in rows
                if isinstance(p, Mapping)
            ),
        )

    def to_payload(self) -> dict[str, Any]:
        """Return the fields and ``newest`` as JSON values."""
        return {
            **asdict(self),
            "points": [asdict(point) for point in self.points],
            "newest": asdict(self.newest) if self.newest else None,
        }


def as_int(value: object) -> int | None:
    """Read a whole number that may come as text; ``None`` if it is none."""
    try:
        return int(str(value))
    except ValueError:
        pass
    try:
        number = float(str(value))
        return int(number) if number.is_integer() else None
    except ValueError:
        return None


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _as_object(value: object) -> Mapping[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, Mapping) else None
