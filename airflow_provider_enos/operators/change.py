"""Stop or pause a pipeline; the task is green when that is done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    conf,
)

from airflow_provider_enos.api.change import (
    NOT_RUNNING,
    PAUSE,
    STOP,
    ChangeProgress,
    ChangeResult,
    ChangeTerms,
    StatusChange,
    change_status,
)
from airflow_provider_enos.api.errors import EnOSError
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.arguments import choice, seconds
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.operators.memory import TryMemory
from airflow_provider_enos.operators.pipeline import DEFERRAL_SLACK, PipelineOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

IF_NOT_RUNNING = ("succeed", "fail", "skip")


class _ChangeStatusOperator(PipelineOperator):
    """Change a pipeline's status, and see it changed."""

    change: ClassVar[StatusChange]
    #: What the user calls ``timeout``.
    timeout_name: ClassVar[str]
    #: The outcomes that ``if_not_running`` is about.
    not_running: ClassVar[frozenset[str]]

    template_fields: Sequence[str] = ("pipeline_id", "org_id", "enos_conn_id", "if_not_running")

    def __init__(
        self,
        *,
        pipeline_id: str,
        timeout: timedelta | float,
        if_not_running: str,
        org_id: str | None = None,
        enos_conn_id: str = EnOSStreamingHook.default_conn_name,
        poll_interval_seconds: float = 5.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pipeline_id=pipeline_id, org_id=org_id, enos_conn_id=enos_conn_id, **kwargs
        )
        self.if_not_running = if_not_running
        self.timeout_seconds = seconds(timeout, self.timeout_name, least=0)
        self.poll_interval_seconds = seconds(
            poll_interval_seconds, "poll_interval_seconds", least=0.1
        )
        self.deferrable = deferrable
        self._check_what_is_known()

    def execute(self, context: Context) -> dict[str, Any]:
        """Change the status, or hand that to the triggerer."""
        pipeline_id = self._guarded(lambda: parse_id(self.pipeline_id, "pipeline_id"))
        org_id = self._guarded(lambda: self.hook.org_id)
        self._guarded(self._if_not_running)
        self._push_console_link(context)
        memory = TryMemory(context, self.change.verb)
        progress = ChangeProgress(ambiguous=memory.has(pipeline_id, org_id))
        memory.note(pipeline_id, org_id)
        terms = self._terms(context)
        if self.deferrable:
            self._defer(pipeline_id, terms, earlier_try=progress.ambiguous)
        try:
            result = self.hook.run(change_status(self.change, org_id, pipeline_id, terms, progress))
        except EnOSError as error:
            self._fail(context, error, may_have_changed=progress.may_have_changed)
        return self._conclude(result)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None) -> dict[str, Any]:
        """Go on after the trigger has fired."""
        match event:
            case {"status": "success", "result": dict(payload)}:
                return self._conclude(ChangeResult.from_payload(payload))
            case {"status": "error", "may_have_changed": bool(may_have_changed)}:
                error = EnOSError.from_payload(dict(event or {}))
                self._fail(context, error, may_have_changed=may_have_changed)
        raise ValueError(f"Cannot read the trigger's event {event!r}")

    def on_kill(self) -> None:
        """End the wait; nothing is sent any more."""
        self._kill_switch.pull()

    def _defer(self, pipeline_id: str, terms: ChangeTerms, *, earlier_try: bool) -> None:
        from airflow_provider_enos.triggers.streaming import (  # noqa: PLC0415 - parse cost
            ChangeStatusTrigger,
        )

        left = timedelta(seconds=max(terms.deadline - time.time(), 0))
        self.defer(
            trigger=ChangeStatusTrigger(
                verb=self.change.verb,
                pipeline_id=pipeline_id,
                org_id=self.hook.org_id,
                enos_conn_id=self.enos_conn_id,
                deadline=terms.deadline,
                limit=terms.limit,
                poll_interval_seconds=terms.poll_interval_seconds,
                earlier_try=earlier_try,
            ),
            method_name="execute_complete",
            timeout=left + DEFERRAL_SLACK,
        )

    def _fail(self, context: Context, error: EnOSError, *, may_have_changed: bool) -> None:
        if not may_have_changed:
            TryMemory(context, self.change.verb).forget()
        self._raise(error)

    def _conclude(self, result: ChangeResult) -> dict[str, Any]:
        """Turn what has come of it into the task's result, in either mode."""
        what = f"Pipeline {result.pipeline_id} of organization {result.org_id}"
        if result.outcome in self.not_running:
            text = f"{what} is {result.status}, there is nothing to {self.change.verb}"
            if_not_running = self._if_not_running()
            if if_not_running == "skip":
                raise AirflowSkipException(f"{text} (if_not_running='skip').")
            if if_not_running == "fail":
                raise AirflowFailException(f"{text} (if_not_running='fail').")
            self.log.info("%s (if_not_running='succeed').", text)
        else:
            self.log.info(
                "%s is %s, after %.1f s and %d requests.",
                what,
                result.status,
                result.waited_seconds,
                result.attempts,
            )
        payload = result.to_payload()
        del payload["refusal"]
        return payload

    def _terms(self, context: Context) -> ChangeTerms:
        deadline, limit = time.time() + self.timeout_seconds, self.timeout_name
        execution_deadline = self._deadline(context)
        if execution_deadline is not None and execution_deadline < deadline:
            deadline, limit = execution_deadline, "execution_timeout"
        return ChangeTerms(deadline, limit, self.poll_interval_seconds)

    def _check_what_is_known(self) -> None:
        super()._check_what_is_known()
        if not self._is_open(self.if_not_running):
            self._if_not_running()

    def _if_not_running(self) -> str:
        return choice(self.if_not_running, IF_NOT_RUNNING, "if_not_running")


class StopPipelineOperator(_ChangeStatusOperator):
    """
    Stop an EnOS pipeline; the task succeeds when it is STOPPED.

    EnOS stops pipelines that are RUNNING or PAUSED, and forgets how far they have read from Kafka:
    the next start begins with what arrives then. One that is starting is stopped when it runs.

    It may be retried, cleared and mapped: a lost answer is settled by reading the status. Errors
    that only a person can mend fail the task at once; all others leave it to ``retries``.

    Returns (XCom) ``pipeline_id``, ``org_id``, ``outcome`` (``stopped``, ``already_stopped``, or
    ``not_running``: e.g. PUBLISHED, never started), ``status``, ``attempts`` (requests sent) and
    ``waited_seconds``.

    :param pipeline_id: As shown under Stream Processing > Pipeline Operation. Templated.
    :param org_id: Organization; by default the connection's. Templated.
    :param enos_conn_id: Airflow connection of type ``enos``. Templated.
    :param if_not_running: What to do when there is nothing to stop: ``"succeed"``, ``"fail"`` or
        ``"skip"``. Templated.
    :param stop_timeout: How long all of it may take; ``timedelta`` or seconds. An outage of EnOS
        ends the try after five minutes.
    :param poll_interval_seconds: Pause between two looks at the status.
    :param deferrable: Wait in the triggerer, without holding a worker.
    :raises InvalidSettingError: an argument is wrong; when the DAG is parsed, unless templated.

    Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/stop_pipeline
    """

    change = STOP
    doing = "stopping"
    timeout_name = "stop_timeout"
    not_running = frozenset({NOT_RUNNING, "already_stopped"})
    ui_color = "#f4dede"

    def __init__(
        self,
        *,
        pipeline_id: str,
        if_not_running: str = "succeed",
        stop_timeout: timedelta | float = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pipeline_id=pipeline_id,
            if_not_running=if_not_running,
            timeout=stop_timeout,
            **kwargs,
        )


class PausePipelineOperator(_ChangeStatusOperator):
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

    change = PAUSE
    doing = "pausing"
    timeout_name = "pause_timeout"
    not_running = frozenset({NOT_RUNNING})
    ui_color = "#f7f0d4"

    def __init__(
        self,
        *,
        pipeline_id: str,
        if_not_running: str = "fail",
        pause_timeout: timedelta | float = timedelta(minutes=10),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pipeline_id=pipeline_id,
            if_not_running=if_not_running,
            timeout=pause_timeout,
            **kwargs,
        )

    def _conclude(self, result: ChangeResult) -> dict[str, Any]:
        if result.outcome not in self.not_running:
            self.log.warning(
                "EnOS keeps pipeline %s paused for 24 hours at most: start it again before.",
                result.pipeline_id,
            )
        return super()._conclude(result)
