"""Stop a pipeline; the task is green when it is STOPPED."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.api.change import STOP
from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.api.start_values import Outcome
from airflow_provider_enos.arguments import has_template
from airflow_provider_enos.operators.change import ChangePipelineOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: ``started_by`` of a stop that does not ask who has started the pipeline.
ANYBODY = "anybody"

#: The outcome where ``started_by`` says that the pipeline is somebody else's.
LEFT_ALONE = "left_alone"


class StopPipelineOperator(ChangePipelineOperator):
    """
    Stop an EnOS pipeline; the task succeeds when it is STOPPED.

    EnOS stops pipelines that are RUNNING or PAUSED, and forgets how far they have read from Kafka:
    the next start begins with what arrives then. One that is starting is stopped when it runs.

    It may be retried, cleared and mapped: a lost answer is settled by reading the status. Errors
    that only a person can mend fail the task at once; all others leave it to ``retries``.

    Returns (XCom) ``pipeline_id``, ``org_id``, ``outcome`` (``stopped``, ``already_stopped``,
    ``not_running``: e.g. PUBLISHED, never started, or ``left_alone``), ``status``, ``attempts``
    (requests sent) and ``waited_seconds``.

    :param pipeline_id: As shown under Stream Processing > Pipeline Operation. Templated.
    :param org_id: Organization; by default the connection's. Templated.
    :param enos_conn_id: Airflow connection of type ``enos``. Templated.
    :param if_not_running: What to do when there is nothing to stop: ``"succeed"``, ``"fail"`` or
        ``"skip"``. Templated.
    :param started_by: ``start.output`` of a ``StartPipelineOperator``, for
        ``stop.as_teardown(setups=start)``: stop the pipeline only if that task has started it (or
        restarted it), and leave it alone if it was running before. A start that is cleared while
        the pipeline runs finds it running.
    :param stop_timeout: How long all of it may take; ``timedelta`` or seconds. An outage of EnOS
        ends the try after five minutes.
    :param poll_interval_seconds: Pause between two looks at the status.
    :param deferrable: Wait in the triggerer, without holding a worker.
    :raises InvalidSettingError: an argument is wrong; when the DAG is parsed, unless templated.

    Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/stop_pipeline
    """

    verb = "stop"
    doing = "stopping"
    policy_name = "if_not_running"
    nothing_to_do = frozenset({STOP.not_allowed, STOP.already})
    reason = "there is nothing to stop"
    template_fields: Sequence[str] = (
        *ChangePipelineOperator.template_fields,
        "if_not_running",
        "started_by",
    )
    ui_color = "#f4dede"

    def __init__(
        self,
        *,
        pipeline_id: str,
        if_not_running: str = "succeed",
        started_by: Mapping[str, Any] | str | None = ANYBODY,
        stop_timeout: timedelta | float = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(pipeline_id=pipeline_id, timeout=stop_timeout, **kwargs)
        self.if_not_running = if_not_running
        self.started_by = started_by
        self._check_what_is_known()

    def execute(self, context: Context) -> dict[str, Any]:
        """Stop the pipeline, or hand that to the triggerer, if it is ours to stop."""
        if self._guarded(self._is_ours):
            return super().execute(context)
        self.log.info(
            "Pipeline %s was not started by that task and is left alone (started_by).",
            self.pipeline_id,
        )
        result = {
            "pipeline_id": self.pipeline_id,
            "org_id": self._guarded(lambda: self.hook.org_id),
            "outcome": LEFT_ALONE,
            "status": None,
            "attempts": 0,
            "waited_seconds": 0.0,
        }
        self._tell(context, result, is_news=False)
        return result

    @property
    def _started_at(self) -> float:
        # A moment ago, perhaps: EnOS's list may not show it yet.
        return 0.0 if self.started_by == ANYBODY else time.time()

    def _check_what_is_known(self) -> None:
        super()._check_what_is_known()
        if not has_template([self.started_by, self.pipeline_id]):
            self._is_ours()

    def _is_ours(self) -> bool:
        """
        Whether the pipeline may be stopped; a start that returned nothing has not started it.

        :raises InvalidSettingError: it is no result of a start, or that of another pipeline.
        """
        if self.started_by is None or self.started_by == ANYBODY:
            return self.started_by == ANYBODY
        pipeline_id = parse_id(self.pipeline_id, "pipeline_id")
        match self.started_by:
            case {"pipeline_id": str(started), "outcome": str(outcome)} if started == pipeline_id:
                return outcome in (Outcome.STARTED, Outcome.ADOPTED)
        allowed = f"the result of a StartPipelineOperator of pipeline {pipeline_id}: start.output"
        raise InvalidSettingError.of("started_by", self.started_by, allowed)
