"""Wait for a status of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.api import flows, looks
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.watch import StatusRule
from airflow_provider_enos.arguments import has_template
from airflow_provider_enos.sensors.pipeline import PipelineSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger


class PipelineStatusSensor(PipelineSensor):
    """
    Wait until a pipeline has one of the target statuses.

    It succeeds at once when the status is already there; it tests the status, not a change. A
    failing status ends it early. ``timeout``, ``soft_fail``, ``never_fail``, ``silent_fail``,
    ``exponential_backoff`` and ``max_wait`` mean the same in poke, reschedule and deferrable mode.

    Example: the pipeline is PUBLISHED at 02:55 and RUNNING from 03:05 on. A sensor that begins at
    02:55 ends at the first look after 03:05; one that begins at 03:30 ends at once.

    Returns (XCom) ``pipeline_id``, ``org_id`` and ``status``.

    :param pipeline_id: As shown under Stream Processing > Pipeline Operation. Templated.
    :param target_statuses: One status or several, in any case: PUBLISHED, RUNNING, PAUSED, STOPPED,
        or others that your EnOS shows. Templated.
    :param failed_statuses: Statuses that end the sensor early; by default every status with ERROR
        or FAIL in its name. Templated.
    :param org_id: Organization; by default the connection's. Templated.
    :param enos_conn_id: Airflow connection of type ``enos``. Templated.
    :param deferrable: Wait in the triggerer, without holding a worker.
    :param poke_interval: Seconds between two looks (Airflow's, here 30).
    :raises InvalidSettingError: an argument is wrong; when the DAG is parsed, unless templated.

    Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/list_pipelines
    """

    template_fields: Sequence[str] = (
        *PipelineSensor.template_fields,
        "target_statuses",
        "failed_statuses",
    )
    ui_color = "#e3eff7"

    def __init__(
        self,
        *,
        pipeline_id: str,
        target_statuses: Sequence[str] | str = ("RUNNING",),
        failed_statuses: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pipeline_id=pipeline_id, **kwargs)
        self.target_statuses = target_statuses
        self.failed_statuses = failed_statuses
        if not has_template([target_statuses, failed_statuses]):
            self._rule  # noqa: B018 - it is checked when it is read

    @property
    def _rule(self) -> StatusRule:
        return StatusRule.parse(self.target_statuses, self.failed_statuses)

    def _look(self, pipeline_id: str, patience: flows.Patience) -> PipelineStatus:
        flow = looks.find_pipeline(self.hook.org_id, pipeline_id, patience)
        return self.hook.run(flow).status

    def _look_of(self, result: Mapping[str, Any]) -> PipelineStatus:
        return PipelineStatus(result["pipeline_status"])

    def _is_met(self, seen: PipelineStatus, context: Context) -> bool:
        return self._rule.is_met(seen, self.pipeline_id)

    def _result(self, seen: PipelineStatus) -> dict[str, Any]:
        return {"status": str(seen)}

    def _trigger(self, **common: Any) -> BaseTrigger:
        from airflow_provider_enos.triggers.streaming import (  # noqa: PLC0415 - parse cost
            PipelineStatusTrigger,
        )

        rule = self._rule
        return PipelineStatusTrigger(
            target_statuses=sorted(map(str, rule.targets)),
            failed_statuses=None if rule.failures is None else sorted(map(str, rule.failures)),
            **common,
        )
