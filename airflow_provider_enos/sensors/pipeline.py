"""What the sensors have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout

from airflow_provider_enos.api import flows
from airflow_provider_enos.api.errors import EnOSError, PipelineFailedError, StatusTimeoutError
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.arguments import flag, seconds
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.links import PipelineConsoleLink
from airflow_provider_enos.pipeline_task import PipelineTask
from airflow_provider_enos.retries import EnOSRetryPolicy

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, RetryPolicy
    from airflow.triggers.base import BaseTrigger

#: A triggerer looks no more often than this.
MIN_POLL_INTERVAL_SECONDS = 1.0

#: Airflow's own arguments of sensors, which takes every text for True.
FLAGS = frozenset({"soft_fail", "never_fail", "silent_fail", "exponential_backoff"})

#: Airflow itself ends the deferral this long after the sensor's own timeout.
DEFERRAL_SLACK_SECONDS = 60.0


class PipelineSensor(PipelineTask, BaseSensorOperator):
    """
    Look at a pipeline until a look decides; poke, reschedule and deferrable mode mean the same.

    A subclass says how to look, what a look means, and which trigger looks in its place.
    """

    template_fields: Sequence[str] = ("pipeline_id", "org_id", "enos_conn_id")
    operator_extra_links = (PipelineConsoleLink(),)

    def __init__(
        self,
        *,
        pipeline_id: str,
        org_id: str | None = None,
        enos_conn_id: str = EnOSStreamingHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float = 30.0,
        timeout: timedelta | float | None = None,
        max_wait: timedelta | float | None = None,
        retry_policy: RetryPolicy | None = EnOSRetryPolicy(),  # noqa: B008 - it has no state
        **kwargs: Any,
    ) -> None:
        seconds(poke_interval, "poke_interval", least=0)
        for name, value in {"timeout": timeout, "max_wait": max_wait}.items():
            if value is not None:
                seconds(value, name, least=0)
        for name in FLAGS & kwargs.keys():
            flag(kwargs[name], name)
        super().__init__(
            poke_interval=poke_interval,
            timeout=timeout,
            max_wait=max_wait,
            retry_policy=retry_policy,
            **kwargs,
        )
        self.pipeline_id = pipeline_id
        self.org_id = org_id
        self.enos_conn_id = enos_conn_id
        self.deferrable = flag(deferrable, "deferrable")
        self._event: Mapping[str, Any] | None = None
        self._check_subject()

    # ------------------------------------------------------------------ what a subclass says

    @property
    @abstractmethod
    def _rule(self) -> Any:
        """What is waited for; the arguments that say it are checked when it is read."""

    @abstractmethod
    def _look(self, pipeline_id: str, patience: flows.Patience) -> Any:
        """Look once; its text is what is logged of it."""

    @abstractmethod
    def _look_of(self, result: Mapping[str, Any]) -> Any:
        """Return the look of the trigger that has fired."""

    @abstractmethod
    def _is_met(self, seen: Any, context: Context) -> bool:
        """
        Judge one look.

        :raises PipelineFailedError: it will never be met.
        """

    @abstractmethod
    def _result(self, seen: Any) -> dict[str, Any]:
        """What the task returns beside the two IDs."""

    @abstractmethod
    def _trigger(self, **common: Any) -> BaseTrigger:
        """Make the trigger that goes on."""

    # ------------------------------------------------------------------ Airflow's calls

    def execute(self, context: Context) -> Any:
        """Look until a look decides."""
        if not (self.reschedule or self.deferrable):  # there Airflow does it after the first look
            self._push_console_link(context)
        return super().execute(context)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look once and judge; Airflow's own loop calls it in all three modes.

        In deferrable mode a look that decides nothing defers, and the look that did was the
        trigger's.
        """
        try:
            seen = self._seen(context)
            is_met = self._is_met(seen, context)
        except EnOSError as error:
            if not error.retryable or isinstance(error, PipelineFailedError):
                raise AirflowFailException(str(error)) from error
            if not (self.deferrable and self.silent_fail):
                raise
            self.log.error("Looking again, since silent_fail is set: %s", error)
        else:
            if is_met:
                ids = {"pipeline_id": self.pipeline_id, "org_id": self.hook.org_id}
                self._returned = ids | self._result(seen)
                return PokeReturnValue(is_done=True, xcom_value=self._returned)
            self.log.info("Pipeline %s is %s.", self.pipeline_id, seen)
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

    # ------------------------------------------------------------------ inside

    def _seen(self, context: Context) -> Any:
        """Return the look of the trigger if it has fired, else ask EnOS."""
        match self._event:
            case None:
                self._rule  # noqa: B018 - checked before anything is sent
                pipeline_id = parse_id(self.pipeline_id, "pipeline_id")
                # As patient as the trigger, so that an outage ends no mode sooner than another.
                patience = flows.Patience(flows.WAIT_PATIENCE.seconds, self._deadline(context))
                return self._look(pipeline_id, patience)
            case {"status": "success", "result": dict(result)}:
                return self._look_of(result)
            case {"status": "error"}:
                raise EnOSError.from_payload(dict(self._event))
        raise AirflowFailException(f"Cannot read the trigger's event {self._event!r}")

    def _defer(self, context: Context) -> NoReturn:
        deadline = self._deadline(context)
        self.defer(
            trigger=self._trigger(
                pipeline_id=self.pipeline_id,
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
        """End like poke mode; there Airflow ends an ``execution_timeout``, which is retried."""
        limit = "timeout" if self._limit_seconds == self.timeout else "execution_timeout"
        message = f"Sensor has timed out after {self._limit_seconds:g} seconds ({limit}): {what}"
        if self.soft_fail or (self.never_fail and limit == "execution_timeout"):
            raise AirflowSkipException(message)
        raise (AirflowSensorTimeout if limit == "timeout" else AirflowTaskTimeout)(message)
