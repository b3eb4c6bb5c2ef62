"""What the operators have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowFailException, Asset, BaseOperator
from airflow.sdk.definitions.asset import AssetNameRef, AssetUriRef
from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout

from airflow_provider_enos.api.errors import EnOSError, InvalidSettingError
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.assets import PIPELINES, pipeline_uri
from airflow_provider_enos.links import PipelineConsoleLink
from airflow_provider_enos.memory import TryMemory, key_of, note_of_try
from airflow_provider_enos.pipeline_task import PipelineTask
from airflow_provider_enos.retries import EnOSRetryPolicy
from airflow_provider_enos.telemetry import count_task

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, RetryPolicy

T = TypeVar("T")

#: Airflow itself ends the deferral this long after our own limits, should the trigger hang.
DEFERRAL_SLACK = timedelta(minutes=10)


class PipelineOperator(PipelineTask, BaseOperator):
    """
    Do something to one pipeline, on a worker or in the triggerer.

    A subclass calls :meth:`_check_what_is_known` when it has kept its arguments.
    """

    #: What is done to the pipeline, in EnOS's words.
    verb: str
    #: For the sentence "Airflow ended the trigger that was ... pipeline".
    doing: str
    #: What a trigger's event holds.
    result_type: Any

    operator_extra_links = (PipelineConsoleLink(),)

    def __init__(
        self,
        *,
        pipeline_id: str,
        org_id: str | None,
        enos_conn_id: str,
        retry_policy: RetryPolicy | None = EnOSRetryPolicy(),  # noqa: B008 - it has no state
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.add_outlets([PIPELINES])
        self.pipeline_id = pipeline_id
        self.org_id = org_id
        self.enos_conn_id = enos_conn_id

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None) -> dict[str, Any]:
        """Go on after the trigger has fired."""
        match event:
            case {"status": "success", "result": dict(payload)}:
                return self._conclude(context, self.result_type.from_payload(payload))
            case {"status": "error", "may_have_worked": bool(may_have_worked)}:
                error = EnOSError.from_payload(dict(event or {}))
                conflicts = int((event or {}).get("conflicts", 0))
                self._fail(context, error, may_have_worked=may_have_worked, conflicts=conflicts)
        raise ValueError(f"Cannot read the trigger's event {event!r}")

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Resume; say which pipeline it is about when Airflow itself has ended the trigger."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralTimeout, TaskDeferralError) as error:
            self._leave_to_next_try(context, self._trigger_may_have_worked(context))
            raise type(error)(
                f"{error}: Airflow ended the trigger that was {self.doing} pipeline "
                f"{self.pipeline_id}, which may go on in EnOS."
            ) from error

    def _remember(self, context: Context, may_have_worked: bool) -> None:
        """Note for the next try of the task whether this one may have changed the pipeline."""
        memory = TryMemory(context, self.verb)
        if may_have_worked:
            memory.note(parse_id(self.pipeline_id, "pipeline_id"), str(self._known_org_id))
        else:
            memory.forget()

    def _leave_to_next_try(self, context: Context, may_have_worked: bool) -> None:
        """Note what the next try must know of this one, which has failed."""
        self._remember(context, may_have_worked)

    def _trigger_may_have_worked(self, context: Context) -> bool:
        """Whether a trigger that Airflow has ended may have changed the pipeline."""
        ti = context["ti"]
        try:
            note = note_of_try(ti.xcom_pull(key=key_of(self.verb)), ti.try_number)
        except Exception as error:
            self.log.warning("What the trigger has done cannot be told: %s", error)
            return False
        return bool(note and note.get("may_have_worked"))

    def _check_what_is_known(self) -> None:
        """Check, when the DAG is parsed, all that holds no template."""
        self._check_subject()

    def _guarded(self, read: Callable[[], T]) -> T:
        """Read an argument; a wrong one fails the task for good."""
        try:
            return read()
        except InvalidSettingError as error:
            raise AirflowFailException(str(error)) from error

    def _conclude(self, context: Context, result: Any) -> dict[str, Any]:
        """Turn what has come of it into the task's result, in either mode."""
        raise AssertionError("a subclass says what is returned")

    def _fail(
        self, context: Context, error: EnOSError, *, may_have_worked: bool, conflicts: int = 0
    ) -> NoReturn:
        """Fail the task, in either mode: for good if another try could not change anything."""
        count_task(self.verb, "failed", self._known_org_id, conflicts=conflicts)
        self._leave_to_next_try(context, may_have_worked and error.retryable)
        if not error.retryable:
            raise AirflowFailException(str(error)) from error
        raise error

    @property
    def _known_org_id(self) -> str | None:
        """The organization, if it can be told: that may be the very trouble."""
        try:
            return self.hook.org_id
        except Exception:
            return self.org_id

    def _tell(self, context: Context, result: dict[str, Any], *, is_news: bool) -> None:
        """
        Tell Airflow's metrics and lineage what has come of it, and those who wait for its assets.

        :param is_news: The pipeline was changed.
        """
        self._returned = result
        self._remember(context, is_news)  # Airflow may not hear that this try was green
        count_task(
            self.verb,
            result["outcome"],
            result["org_id"],
            waited_seconds=result["waited_seconds"],
            conflicts=result.get("conflicts", 0),
        )
        self._emit(context, result, is_news=is_news)

    def _emit(self, context: Context, result: Mapping[str, Any], *, is_news: bool) -> None:
        """
        Tell by the events of assets what was done; trouble with them fails no task.

        Airflow emits an event of each outlet of a green task. Those that stand for pipelines which
        this task has not changed are left out.
        """
        events: Any = context.get("outlet_events")
        if events is None:
            return
        changed = {PIPELINES.uri, self._asset_uri} if is_news else set()
        outlets = []
        for outlet in self.outlets:
            try:
                uri = _uri_of(outlet, events)
                if uri in changed:
                    events[outlet].extra.update(result)
                elif uri == PIPELINES.uri or urlsplit(uri).scheme == "enos":
                    continue
            except Exception as error:  # Airflow cannot tell which asset it is
                self.log.warning("No event of %r tells of %s: %s", outlet, self.pipeline_id, error)
            outlets.append(outlet)
        self.outlets = outlets

    @property
    def _asset_uri(self) -> str | None:
        """The URI of the pipeline's own asset, ``None`` if there can be no such asset."""
        try:
            return pipeline_uri(
                host=urlsplit(self.hook.settings.gateway_url).netloc,
                org_id=self.hook.org_id,
                pipeline_id=self.pipeline_id,
            )
        except EnOSError:
            return None

    def _deadline(self, context: Context) -> float | None:
        """When ``execution_timeout`` ends; Airflow does not enforce it on a deferred task."""
        if self.execution_timeout is None:
            return None
        start_date = getattr(context["ti"], "start_date", None)
        begun_at = start_date.timestamp() if start_date else time.time()
        return begun_at + self.execution_timeout.total_seconds()


def _uri_of(outlet: Any, events: Any) -> str:
    """Return the URI of an outlet that is an asset, ``""`` of any other."""
    if isinstance(outlet, AssetNameRef):
        uri: str = events[outlet].key.uri
        return uri
    return outlet.uri if isinstance(outlet, Asset | AssetUriRef) else ""
