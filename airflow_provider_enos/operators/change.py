"""What the operators that stop, pause, release and reset have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    conf,
)

from airflow_provider_enos.api import looks
from airflow_provider_enos.api.change import (
    CHANGES,
    ChangeProgress,
    ChangeResult,
    ChangeTerms,
    change_pipeline,
)
from airflow_provider_enos.api.errors import EnOSError
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.arguments import choice, flag, has_template, seconds
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.memory import TryMemory
from airflow_provider_enos.operators.pipeline import DEFERRAL_SLACK, PipelineOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

POLICIES = ("succeed", "fail", "skip")


class ChangePipelineOperator(PipelineOperator):
    """
    Change a pipeline, and see it changed.

    A subclass calls :meth:`_check_what_is_known` when it has kept its arguments.
    """

    result_type = ChangeResult
    #: The argument that says what to do where there is nothing to change.
    policy_name: ClassVar[str]
    #: The outcomes that it is about, and why there is nothing to do then.
    nothing_to_do: ClassVar[frozenset[str]]
    reason: ClassVar[str]

    template_fields: Sequence[str] = ("pipeline_id", "org_id", "enos_conn_id")

    def __init__(
        self,
        *,
        pipeline_id: str,
        timeout: timedelta | float,
        org_id: str | None = None,
        enos_conn_id: str = EnOSStreamingHook.default_conn_name,
        poll_interval_seconds: float = 5.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pipeline_id=pipeline_id, org_id=org_id, enos_conn_id=enos_conn_id, **kwargs
        )
        self.timeout_seconds = seconds(timeout, self._timeout_name, least=0)
        self.poll_interval_seconds = seconds(
            poll_interval_seconds, "poll_interval_seconds", least=0.1
        )
        self.deferrable = flag(deferrable, "deferrable")

    def execute(self, context: Context) -> dict[str, Any]:
        """Change the pipeline, or hand that to the triggerer."""
        pipeline_id = self._guarded(lambda: parse_id(self.pipeline_id, "pipeline_id"))
        org_id = self._guarded(lambda: self.hook.org_id)
        self._guarded(self._policy)
        self._push_console_link(context)
        memory = TryMemory(context, self.verb)
        note = partial(self._remember, context, may_have_worked=True)
        progress = ChangeProgress(ambiguous=memory.has(pipeline_id, org_id), note=note)
        terms = self._terms(context)
        if self.deferrable:
            if CHANGES[self.verb].shows and self._policy() != "succeed":
                look = self.hook.run(looks.see_before(org_id, pipeline_id))
                known = (CHANGES[self.verb].target, PipelineStatus.UNKNOWN)
                if look is None or look.status not in known:
                    note()  # the worker that would note it later may never come
            self._defer(pipeline_id, terms, earlier_try=progress.ambiguous)
        try:
            result = self.hook.run(
                change_pipeline(CHANGES[self.verb], org_id, pipeline_id, terms, progress)
            )
        except EnOSError as error:
            self._fail(context, error, may_have_worked=progress.may_have_changed)
        return self._conclude(context, result)

    def on_kill(self) -> None:
        """End the wait; nothing is sent any more."""
        self._kill_switch.pull()

    def _defer(self, pipeline_id: str, terms: ChangeTerms, *, earlier_try: bool) -> None:
        from airflow_provider_enos.triggers.streaming import (  # noqa: PLC0415 - parse cost
            ChangePipelineTrigger,
        )

        left = timedelta(seconds=max(terms.deadline - time.time(), 0))
        self.defer(
            trigger=ChangePipelineTrigger(
                verb=self.verb,
                pipeline_id=pipeline_id,
                org_id=self.hook.org_id,
                enos_conn_id=self.enos_conn_id,
                deadline=terms.deadline,
                limit=terms.limit,
                poll_interval_seconds=terms.poll_interval_seconds,
                earlier_try=earlier_try,
                started_at=terms.started_at,
            ),
            method_name="execute_complete",
            timeout=left + DEFERRAL_SLACK,
        )

    def _conclude(self, context: Context, result: ChangeResult) -> dict[str, Any]:
        """Turn what has come of it into the task's result, in either mode."""
        payload = result.to_payload()
        self._tell(context, payload, is_news=result.outcome == CHANGES[self.verb].done)
        what = f"Pipeline {result.pipeline_id} of organization {result.org_id}"
        if result.outcome in self.nothing_to_do:
            policy = self._policy()
            text = f"{what} is {result.status}, {self.reason} ({self.policy_name}={policy!r})."
            if policy == "skip":
                raise AirflowSkipException(text)
            if policy == "fail":
                raise AirflowFailException(text)
            self.log.info("%s", text)
        else:
            self.log.info(
                "%s: %s, it is %s, after %.1f s and %d requests.",
                what,
                result.outcome,
                result.status,
                result.waited_seconds,
                result.attempts,
            )
        return payload

    def _terms(self, context: Context) -> ChangeTerms:
        deadline, limit = time.time() + self.timeout_seconds, self._timeout_name
        execution_deadline = self._deadline(context)
        if execution_deadline is not None and execution_deadline < deadline:
            deadline, limit = execution_deadline, "execution_timeout"
        return ChangeTerms(deadline, limit, self.poll_interval_seconds, self._started_at)

    @property
    def _started_at(self) -> float:
        """When the pipeline was started, as far as the task knows; see ``ChangeTerms``."""
        return 0.0

    @property
    def _timeout_name(self) -> str:
        """What the user calls ``timeout``."""
        return f"{self.verb}_timeout"

    def _check_what_is_known(self) -> None:
        super()._check_what_is_known()
        if not has_template(getattr(self, self.policy_name)):
            self._policy()

    def _policy(self) -> str:
        return choice(getattr(self, self.policy_name), POLICIES, self.policy_name)
