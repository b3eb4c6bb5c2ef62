"""Let a pipeline skip what is waiting for it in Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow_provider_enos.api.change import RESET
from airflow_provider_enos.operators.change import ChangePipelineOperator


class ResetPipelineOffsetOperator(ChangePipelineOperator):
    """
    Reset the offset of an EnOS pipeline: its next start goes on with the newest data in Kafka.

    What was waiting is not processed. EnOS wants the pipeline PAUSED or STOPPED; the task looks
    first, since EnOS documents no error for any other status. One that is starting or stopping is
    waited for.

    It may be retried, cleared and mapped: a reset may be repeated without harm. Errors that only a
    person can mend fail the task at once; all others leave it to ``retries``.

    Returns (XCom) ``pipeline_id``, ``org_id``, ``outcome`` (``reset`` or ``not_stopped``),
    ``status``, ``attempts`` (requests sent) and ``waited_seconds``.

    :param pipeline_id: As shown under Stream Processing > Pipeline Operation. Templated.
    :param org_id: Organization; by default the connection's. Templated.
    :param enos_conn_id: Airflow connection of type ``enos``. Templated.
    :param if_not_stopped: What to do when it is RUNNING, or PUBLISHED (it has never run):
        ``"succeed"``, ``"fail"`` or ``"skip"``. Templated.
    :param reset_timeout: How long all of it may take; ``timedelta`` or seconds. An outage of EnOS
        ends the try after five minutes.
    :param poll_interval_seconds: Pause between two looks at the status.
    :param deferrable: Wait in the triggerer, without holding a worker.
    :raises InvalidSettingError: an argument is wrong; when the DAG is parsed, unless templated.

    Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/reset_pipeline_offset
    """

    verb = "reset"
    doing = "resetting the offset of"
    policy_name = "if_not_stopped"
    nothing_to_do = frozenset({RESET.not_allowed})
    reason = "and EnOS resets the offset only of pipelines that are stopped or paused"
    template_fields: Sequence[str] = (*ChangePipelineOperator.template_fields, "if_not_stopped")
    ui_color = "#f3e9e0"

    def __init__(
        self,
        *,
        pipeline_id: str,
        if_not_stopped: str = "fail",
        reset_timeout: timedelta | float = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(pipeline_id=pipeline_id, timeout=reset_timeout, **kwargs)
        self.if_not_stopped = if_not_stopped
        self._check_what_is_known()
