"""
The stream processing service: what each call of EnOS does to the pipelines. No HTTP here.

The order in which a start is checked is the emulator's choice, as are the codes for a wrong status
where the pages name none; COVERAGE.md lists these choices.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_provider_enos.emulator.model import Design, Move, Organization, Pipeline
from airflow_provider_enos.emulator.rules import (
    MAX_STAGE_POINTS,
    UNRELEASED,
    Refused,
    StartConfig,
    refusal,
    stage_shape,
    status_after,
)
from airflow_provider_enos.emulator.settings import Settings
from airflow_provider_enos.emulator.store import Store


class StreamService(Store):
    """
    EnOS Stream Processing.

    :param settings: Read at each call, so that a change holds from the next call on.
    :param clock: Seconds since 1970.
    :param path: JSON file that is read now, if it exists, and written on every change.
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], float], path: Path | None = None
    ) -> None:
        super().__init__(clock, path)
        self._settings = settings

    def list_pipelines(
        self, org_id: str, *, is_system: bool, if_released: bool, page_size: int, page_no: int
    ) -> tuple[int, list[dict[str, Any]]]:
        """Number of all pipelines of a kind, and the rows of one page of them."""
        with self._looking() as now:
            found = [
                pipeline
                for pipeline in self._organizations[org_id].pipelines.values()
                if pipeline.is_system is is_system and (pipeline.online is not None) is if_released
            ]
            page = found[(page_no - 1) * page_size : page_no * page_size]
            for pipeline in page:
                pipeline.settle(now)
            return len(found), [pipeline.as_row() for pipeline in page]

    def details(self, org_id: str, pipeline_id: str, *, if_released: bool) -> Design:
        """
        Online or design version of a pipeline.

        :raises Refused: there is none.
        """
        with self._looking() as now:
            pipeline = self._find(org_id, pipeline_id, now)
            design = pipeline.online if if_released else pipeline.design
            if design is None:
                raise Refused(61108)
            return design

    def save(self, org_id: str, pipeline_id: str | None, changes: Mapping[str, Any]) -> str:
        """
        Change a pipeline's design, or make a new pipeline if there is no id; returns the id.

        :raises Refused: no such pipeline.
        """
        with self._changing() as now:
            if pipeline_id is None:
                new_id = str(uuid.uuid4())
                design = replace(Design(f"pipeline {new_id[:8]}"), **changes)
                self._add(org_id, new_id, design, UNRELEASED, now)
                return new_id
            pipeline = self._find(org_id, pipeline_id, now)
            pipeline.design = replace(pipeline.design, **changes)
            pipeline.updated = now
            return pipeline_id

    def release(self, org_id: str, pipeline_id: str) -> None:
        """
        Put the design online.

        :raises Refused: no such pipeline, or not in this status.
        """
        with self._changing() as now:
            pipeline = self._find(org_id, pipeline_id, now)
            self._move(pipeline, "release", now, seconds=0, meanwhile=None)
            pipeline.online = pipeline.design

    def start(self, org_id: str, pipeline_id: str, body: object) -> None:
        """
        Accept a start.

        :raises Refused: and nothing has changed.
        """
        with self._changing() as now:
            pipeline = self._find(org_id, pipeline_id, now)
            config = StartConfig.of_body(body)
            status_after("start", pipeline.status)
            organization = self._organizations[org_id]
            for other in organization.pipelines.values():
                other.settle(now)
            if organization.is_locked(now):
                raise Refused(61121)
            self._check_quota(organization, config)
            settings = self._settings
            self._move(
                pipeline,
                "start",
                now,
                settings.start_seconds,
                settings.status_while_starting,
                holds_lock=settings.lock_seconds is None,
            )
            organization.locked_until = now + settings.fixed_lock_seconds()
            pipeline.starts_accepted += 1
            pipeline.execution_mode, pipeline.kafka_rate = config.execution_mode, config.kafka_rate
            pipeline.resource_config = config.resource_config
            pipeline.server, pipeline.yarn = config.server, config.yarn
            pipeline.erased.clear()

    def pause(self, org_id: str, pipeline_id: str) -> None:
        """
        Pause a running pipeline.

        :raises Refused: no such pipeline, or not in this status.
        """
        with self._changing() as now:
            pipeline = self._find(org_id, pipeline_id, now)
            seconds, meanwhile = self._settings.pause_seconds, self._settings.status_while_pausing
            self._move(pipeline, "pause", now, seconds, meanwhile)

    def stop(self, org_id: str, pipeline_id: str) -> None:
        """
        Stop a running or paused pipeline.

        :raises Refused: no such pipeline, or not in this status.
        """
        with self._changing() as now:
            pipeline = self._find(org_id, pipeline_id, now)
            seconds, meanwhile = self._settings.stop_seconds, self._settings.status_while_stopping
            self._move(pipeline, "stop", now, seconds, meanwhile)

    def offset_lag(self, org_id: str, pipeline_id: str) -> tuple[float, int, int]:
        """
        Time, offset and lag of a running pipeline, as last measured.

        :raises Refused: no such pipeline, or it does not run.
        """
        with self._looking() as now:
            pipeline = self._find(org_id, pipeline_id, now)
            if pipeline.status != "RUNNING":
                raise Refused(99000)
            if now >= pipeline.measured + self._settings.lag_interval_seconds:
                pipeline.measure(now, drains=self._settings.lag_drains)
            return pipeline.measured, pipeline.offset, pipeline.lag

    def reset_offset(self, org_id: str, pipeline_id: str) -> None:
        """
        Skip to the newest record.

        :raises Refused: no such pipeline, or neither paused nor stopped.
        """
        with self._changing() as now:
            pipeline = self._find(org_id, pipeline_id, now)
            if pipeline.status not in ("PAUSED", "STOPPED") or pipeline.move is not None:
                raise Refused(61168)
            pipeline.offset += pipeline.lag
            pipeline.lag = 0

    def stage_state(
        self, org_id: str, pipeline_id: str, stage: str, points: list[tuple[str, str]]
    ) -> tuple[float, str, list[tuple[str, str]]]:
        """
        Time, shape of the items, and those of the (asset, point) pairs that have a state.

        :raises Refused: no such pipeline or stage, or too many points.
        """
        with self._looking() as now:
            pipeline, shape = self._find_stage(org_id, pipeline_id, stage, points, now)
            kept = [pair for pair in points if (stage, *pair) not in pipeline.erased]
            return now, shape, kept

    def erase_stage_state(
        self, org_id: str, pipeline_id: str, stage: str, points: list[tuple[str, str]]
    ) -> None:
        """
        Delete states until the next start.

        :raises Refused: no such pipeline or stage, too many points, or not paused.
        """
        with self._changing() as now:
            pipeline, _ = self._find_stage(org_id, pipeline_id, stage, points, now)
            if pipeline.status != "PAUSED" or pipeline.move is not None:
                raise Refused(61199, reason="The stream processing job is not paused.")
            pipeline.erased.update((stage, *pair) for pair in points)

    def _find(self, org_id: str, pipeline_id: str, now: float) -> Pipeline:
        pipeline = self._organizations[org_id].pipelines.get(pipeline_id)
        if pipeline is None:
            raise Refused(61108)
        pipeline.settle(now)
        return pipeline

    def _find_stage(
        self,
        org_id: str,
        pipeline_id: str,
        stage: str,
        points: list[tuple[str, str]],
        now: float,
    ) -> tuple[Pipeline, str]:
        if len(points) > MAX_STAGE_POINTS:
            raise Refused(61105)
        try:
            pipeline = self._find(org_id, pipeline_id, now)
        except Refused:
            raise Refused(61106) from None
        return pipeline, stage_shape(stage)

    def _move(
        self,
        pipeline: Pipeline,
        action: str,
        now: float,
        seconds: float | None,
        meanwhile: str | None,
        *,
        holds_lock: bool = False,
    ) -> None:
        to = status_after(action, pipeline.status)
        if pipeline.move is not None:
            # Only reached while the old status stays shown: nothing cuts a change short.
            raise refusal(action, pipeline.status)
        if action == "start":
            to = pipeline.start_outcome
        elif action == "release" and pipeline.online and self._settings.release_keeps_status:
            to = pipeline.status
        if seconds != 0 and meanwhile is not None:
            pipeline.show(meanwhile, now)
        pipeline.move = Move(to, None if seconds is None else now + seconds, holds_lock)
        pipeline.settle(now)

    def _check_quota(self, organization: Organization, config: StartConfig) -> None:
        if config.execution_mode == 0:
            demand = {"standalone": config.server}
        else:
            demand = {"server": config.server, "yarn": config.yarn}
        if any(getattr(organization.quota, name) is None for name in demand):
            raise Refused(61128, mode=config.mode)
        for name, wanted in demand.items():
            if organization.used(name) + wanted > getattr(organization.quota, name):
                raise Refused(61126)
