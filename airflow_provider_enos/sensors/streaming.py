"""Sensors on EnOS stream processing pipelines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout

from airflow_provider_enos.api import flows, looks
from airflow_provider_enos.api.errors import EnOSError, PipelineFailedError, StatusTimeoutError
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.api.watch import StatusRule
from airflow_provider_enos.arguments import has_template
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.links import PipelineConsoleLink
from airflow_provider_enos.pipeline_task import PipelineTask
from airflow_provider_enos.retries import EnOSRetryPolicy

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, RetryPolicy

#: A triggerer looks no more often than this.
MIN_POLL_INTERVAL_SECONDS = 1.0

#: Airflow itself ends the deferral this long after the sensor's own timeout.
DEFERRAL_SLACK_SECONDS = 60.0


class PipelineStatusSensor(PipelineTask, BaseSensorOperator):
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
        "pipeline_id",
        "target_statuses",
        "failed_statuses",
        "org_id",
        "enos_conn_id",
    )
    operator_extra_links = (PipelineConsoleLink(),)
    ui_color = "#e3eff7"

    def __init__(
        self,
        *,
        pipeline_id: str,
        target_statuses: Sequence[str] | str = ("RUNNING",),
        failed_statuses: Sequence[str] | str | None = None,
        org_id: str | None = None,
        enos_conn_id: str = EnOSStreamingHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: Any = 30.0,
        retry_policy: RetryPolicy | None = EnOSRetryPolicy(),  # noqa: B008 - it has no state
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, retry_policy=retry_policy, **kwargs)
        self.pipeline_id = pipeline_id
        self.target_statuses = target_statuses
        self.failed_statuses = failed_statuses
        self.org_id = org_id
        self.enos_conn_id = enos_conn_id
        self.deferrable = deferrable
        self._event: Mapping[str, Any] | None = None
        if not has_template(pipeline_id):
            parse_id(pipeline_id, "pipeline_id")
        if not has_template([target_statuses, failed_statuses]):
            self._rule  # noqa: B018 - checked now

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look once and judge; Airflow's own loop calls it in all three modes.

        In deferrable mode a look that decides nothing defers, and the look that did was the
        trigger's.
        """
        try:
            status = self._status(context)
        except EnOSError as error:
            if not error.retryable:
                raise AirflowFailException(str(error)) from error
            if not (self.deferrable and self.silent_fail):
                raise
            self.log.error("Looking again, since silent_fail is set: %s", error)
        else:
            if self._is_met(status):
                return PokeReturnValue(
                    is_done=True,
                    xcom_value={
                        "pipeline_id": self.pipeline_id,
                        "org_id": self.hook.org_id,
                        "status": str(status),
                    },
                )
            self.log.info("Pipeline %s is %s.", self.pipeline_id, status)
        if self.deferrable:
            self._defer(context)
        return False

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None) -> Any:
        """Go on after the trigger has fired: its look is judged like one of our own."""
        if event and event.get("error") == StatusTimeoutError.__name__:
            self._time_out(str(event.get("message")))
        self._event = event or {}
        return self.execute(context)

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """
        Resume, with the outcomes of poke mode.

        Airflow's own method would skip the task for any error with ``soft_fail``, and for a
        time-out with ``never_fail``; poke mode does neither.
        """
        try:
            return super(BaseSensorOperator, self).resume_execution(
                next_method, next_kwargs, context
            )
        except TaskDeferralTimeout as error:
            self._time_out(f"pipeline {self.pipeline_id}: {error}")
        except TaskDeferralError as error:
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise

    @property
    def _rule(self) -> StatusRule:
        return StatusRule.parse(self.target_statuses, self.failed_statuses)

    def _status(self, context: Context) -> PipelineStatus:
        """Return the status of this look: the trigger's if it has fired, else ask EnOS."""
        match self._event:
            case None:
                self._rule  # noqa: B018 - checked before anything is sent
                pipeline_id = parse_id(self.pipeline_id, "pipeline_id")
                # As patient as the trigger, so that an outage ends no mode sooner than another.
                patience = flows.Patience(flows.WAIT_PATIENCE.seconds, self._deadline(context))
                flow = looks.find_pipeline(self.hook.org_id, pipeline_id, patience)
                return self.hook.run(flow).status
            case {"status": "success", "result": {"pipeline_status": str(status)}}:
                return PipelineStatus(status)
            case {"status": "error"}:
                raise EnOSError.from_payload(self._event)
        raise AirflowFailException(f"Cannot read the trigger's event {self._event!r}")

    def _is_met(self, status: PipelineStatus) -> bool:
        try:
            return self._rule.is_met(status, self.pipeline_id)
        except PipelineFailedError as error:
            raise AirflowFailException(str(error)) from error

    def _defer(self, context: Context) -> NoReturn:
        from airflow_provider_enos.triggers.streaming import (  # noqa: PLC0415 - parse cost
            PipelineStatusTrigger,
        )

        deadline = self._deadline(context)
        rule = self._rule
        self.defer(
            trigger=PipelineStatusTrigger(
                pipeline_id=self.pipeline_id,
                target_statuses=sorted(map(str, rule.targets)),
                failed_statuses=None if rule.failures is None else sorted(map(str, rule.failures)),
                org_id=self.hook.org_id,
                enos_conn_id=self.enos_conn_id,
                poll_interval_seconds=max(self.poke_interval, MIN_POLL_INTERVAL_SECONDS),
                deadline=deadline,
                exponential_backoff=self.exponential_backoff,
                max_wait_seconds=self.max_wait.total_seconds() if self.max_wait else None,
                silent_fail=self.silent_fail,
            ),
            method_name="execute_complete",
            timeout=max(deadline - time.time(), 0) + DEFERRAL_SLACK_SECONDS,
        )

    def _deadline(self, context: Context) -> float:
        """When ``timeout`` or ``execution_timeout`` is over, in seconds since 1970."""
        start_date = getattr(context["ti"], "start_date", None)
        return (start_date.timestamp() if start_date else time.time()) + self._limit_seconds

    @property
    def _limit_seconds(self) -> float:
        # Airflow itself enforces no execution_timeout on a deferred task.
        if self.execution_timeout is None:
            return self.timeout
        return min(self.timeout, self.execution_timeout.total_seconds())

    def _time_out(self, what: str) -> NoReturn:
        message = f"Sensor has timed out after {self._limit_seconds:g} seconds: {what}"
        if self.soft_fail:
            raise AirflowSkipException(message)
        raise AirflowSensorTimeout(message)
