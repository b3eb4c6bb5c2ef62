"""Wait until a pipeline has caught up with what is waiting in Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.api import flows
from airflow_provider_enos.api.errors import PipelineFailedError
from airflow_provider_enos.api.lag import LagLook, LagRule, Streak, look_at_lag
from airflow_provider_enos.arguments import has_template, seconds
from airflow_provider_enos.memory import TryMemory
from airflow_provider_enos.sensors.pipeline import PipelineSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger


class PipelineLagSensor(PipelineSensor):
    """
    Wait until a running pipeline has caught up: at most so many records wait for it in Kafka.

    EnOS measures the lag every few minutes, and shows the same measurement meanwhile. A look counts
    only if it shows a new one, so with the default of two looks a measurement of before a restart
    ends no wait. A pipeline that does not run is waited for; a status that tells of a failure ends
    the sensor early. ``timeout``, ``soft_fail``, ``never_fail``, ``silent_fail``,
    ``exponential_backoff`` and ``max_wait`` mean the same in poke, reschedule and deferrable mode.

    Returns (XCom) ``pipeline_id``, ``org_id``, ``lag`` (records) and ``topic_name``.

    :param pipeline_id: As shown under Stream Processing > Pipeline Operation. Templated.
    :param max_lag: Records that may still be waiting. Templated.
    :param looks: How many measurements in a row must be within ``max_lag``. Templated.
    :param duration: And from the first of them to the last, at least so long; ``timedelta`` or
        seconds.
    :param org_id: Organization; by default the connection's. Templated.
    :param enos_conn_id: Airflow connection of type ``enos``. Templated.
    :param deferrable: Wait in the triggerer, without holding a worker.
    :param poke_interval: Seconds between two looks (Airflow's, here 30).
    :raises InvalidSettingError: an argument is wrong; when the DAG is parsed, unless templated.

    Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/get_pipeline_offset_lag
    """

    template_fields: Sequence[str] = (*PipelineSensor.template_fields, "max_lag", "looks")
    ui_color = "#e3f3f0"

    def __init__(
        self,
        *,
        pipeline_id: str,
        max_lag: int | str,
        looks: int | str = 2,
        duration: timedelta | float = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(pipeline_id=pipeline_id, **kwargs)
        self.max_lag = max_lag
        self.looks = looks
        self.duration_seconds = seconds(duration, "duration", least=0)
        self._streak: Streak | None = None
        if not has_template([max_lag, looks]):
            self._rule  # noqa: B018 - it is checked when it is read

    @property
    def _rule(self) -> LagRule:
        return LagRule.parse(self.max_lag, self.looks, self.duration_seconds)

    def _look(self, pipeline_id: str, patience: flows.Patience) -> LagLook:
        return self.hook.run(look_at_lag(self.hook.org_id, pipeline_id, patience))

    def _look_of(self, result: Mapping[str, Any]) -> LagLook:
        self._streak = Streak(**result["streak"])
        return LagLook.from_payload(result["look"])

    def _is_met(self, seen: LagLook, context: Context) -> bool:
        if seen.has_failed:
            raise PipelineFailedError(
                f"pipeline {self.pipeline_id} is {seen.status}, awaited was a lag of "
                f"{self.max_lag} at most."
            )
        rule = self._rule
        before = self._noted(context) if self._streak is None else self._streak
        self._streak = before.and_then(seen, rule.max_lag)
        if self.reschedule:
            self._note(context, self._streak)
        return rule.is_met(self._streak)

    def _noted(self, context: Context) -> Streak:
        """Return what this try has seen before: in reschedule mode each look has a new process."""
        note = TryMemory(context, "lag").recall(self.pipeline_id, self.hook.org_id) or {}
        is_mine = note.get("try_number") == context["ti"].try_number
        return Streak(**note["streak"]) if is_mine else Streak()

    def _note(self, context: Context, streak: Streak) -> None:
        TryMemory(context, "lag").note(
            self.pipeline_id,
            self.hook.org_id,
            try_number=context["ti"].try_number,
            streak=asdict(streak),
        )

    def _result(self, seen: LagLook) -> dict[str, Any]:
        return {"lag": seen.lag, "topic_name": seen.topic_name}

    def _trigger(self, **common: Any) -> BaseTrigger:
        from airflow_provider_enos.triggers.streaming import (  # noqa: PLC0415 - parse cost
            PipelineLagTrigger,
        )

        rule = self._rule
        return PipelineLagTrigger(
            max_lag=rule.max_lag,
            looks=rule.looks,
            duration_seconds=rule.seconds,
            streak=asdict(self._streak or Streak()),
            **common,
        )
