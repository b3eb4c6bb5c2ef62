"""Pause a pipeline; the task is green when it is PAUSED."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.api.change import PAUSE, ChangeResult
from airflow_provider_enos.operators.change import ChangePipelineOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class PausePipelineOperator(ChangePipelineOperator):
    """
    Pause an EnOS pipeline; the task succeeds when it is PAUSED.

    EnOS pauses pipelines that are RUNNING, for 24 hours at most: start it again before
    (``StartPipelineOperator``), and it goes on where it was. One that is starting is paused when it
    runs; one that is paused already is left as it is.

    It may be retried, cleared and mapped: a lost answer is settled by reading the status. Errors
    that only a person can mend fail the task at once; all others leave it to ``retries``.

    Returns (XCom) ``pipeline_id``, ``org_id``, ``outcome`` (``paused``, ``already_paused``, or
    ``not_running``), ``status``, ``attempts`` (requests sent) and ``waited_seconds``.

    :param pipeline_id: As shown under Stream Processing > Pipeline Operation. Templated.
    :param org_id: Organization; by default the connection's. Templated.
    :param enos_conn_id: Airflow connection of type ``enos``. Templated.
    :param if_not_running: What to do when it is neither running nor paused: ``"succeed"``,
        ``"fail"`` or ``"skip"``. Templated.
    :param pause_timeout: How long all of it may take; ``timedelta`` or seconds. An outage of EnOS
        ends the try after five minutes.
    :param poll_interval_seconds: Pause between two looks at the status.
    :param deferrable: Wait in the triggerer, without holding a worker.
    :raises InvalidSettingError: an argument is wrong; when the DAG is parsed, unless templated.

    Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/pause_pipeline
    """

    verb = "pause"
    doing = "pausing"
    policy_name = "if_not_running"
    nothing_to_do = frozenset({PAUSE.not_allowed})
    reason = "there is nothing to pause"
    template_fields: Sequence[str] = (*ChangePipelineOperator.template_fields, "if_not_running")
    ui_color = "#f7f0d4"

    def __init__(
        self,
        *,
        pipeline_id: str,
        if_not_running: str = "fail",
        pause_timeout: timedelta | float = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(pipeline_id=pipeline_id, timeout=pause_timeout, **kwargs)
        self.if_not_running = if_not_running
        self._check_what_is_known()

    def _conclude(self, context: Context, result: ChangeResult) -> dict[str, Any]:
        if result.outcome not in self.nothing_to_do:
            self.log.info(
                "EnOS keeps pipeline %s paused for 24 hours at most: start it again before.",
                result.pipeline_id,
            )
        return super()._conclude(context, result)
