"""Put a pipeline's design online; the task is green when that is released."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow_provider_enos.api.change import RELEASE
from airflow_provider_enos.operators.change import ChangePipelineOperator


class ReleasePipelineOperator(ChangePipelineOperator):
    """
    Release an EnOS pipeline: put its design online, which the next start then runs.

    EnOS releases pipelines that are PAUSED, STOPPED or were never released. The task succeeds when
    the pipeline is PUBLISHED; EnOS does not document the status after a second release, so one that
    stays as it was for 15 seconds is fine as well. A pipeline that is PUBLISHED already is left as
    it is if what is online is what was designed.

    It may be retried, cleared and mapped. Errors that only a person can mend fail the task at once;
    all others leave it to ``retries``.

    Returns (XCom) ``pipeline_id``, ``org_id``, ``outcome`` (``released``, ``already_released``, or
    ``not_stopped``), ``status``, ``attempts`` (requests sent) and ``waited_seconds``.

    :param pipeline_id: As shown in the Pipeline Designer, or as the hook's ``save_pipeline``
        returns it. Templated.
    :param org_id: Organization; by default the connection's. Templated.
    :param enos_conn_id: Airflow connection of type ``enos``. Templated.
    :param if_not_stopped: What to do when it is e.g. RUNNING: ``"succeed"``, ``"fail"`` or
        ``"skip"``. Templated.
    :param release_timeout: How long all of it may take; ``timedelta`` or seconds. An outage of EnOS
        ends the try after five minutes.
    :param poll_interval_seconds: Pause between two looks at the status.
    :param deferrable: Wait in the triggerer, without holding a worker.
    :raises InvalidSettingError: an argument is wrong; when the DAG is parsed, unless templated.

    Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/release_pipeline
    """

    verb = "release"
    doing = "releasing"
    policy_name = "if_not_stopped"
    nothing_to_do = frozenset({RELEASE.not_allowed})
    reason = "and EnOS releases only pipelines that are stopped or paused"
    template_fields: Sequence[str] = (*ChangePipelineOperator.template_fields, "if_not_stopped")
    ui_color = "#e6e0f3"

    def __init__(
        self,
        *,
        pipeline_id: str,
        if_not_stopped: str = "fail",
        release_timeout: timedelta | float = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(pipeline_id=pipeline_id, timeout=release_timeout, **kwargs)
        self.if_not_stopped = if_not_stopped
        self._check_what_is_known()
