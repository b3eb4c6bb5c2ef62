"""
What waits in the triggerer.

Airflow stores the paths and the arguments of these classes in its database while tasks are
deferred: never rename one without an alias, never put a secret into an argument.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from airflow.providers.common.compat.sdk import TaskInstanceState, conf
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_enos.api.change import (
    CHANGES,
    ChangeProgress,
    ChangeTerms,
    change_pipeline,
    stop_pipeline,
)
from airflow_provider_enos.api.errors import (
    EnOSError,
    InvalidSettingError,
    PipelineStateError,
    StatusTimeoutError,
)
from airflow_provider_enos.api.lag import LagRule, Streak, watch_lag
from airflow_provider_enos.api.looks import Look
from airflow_provider_enos.api.pipeline import Pipeline, PipelineStatus
from airflow_provider_enos.api.start import until_accepted, until_running
from airflow_provider_enos.api.start_settings import StartSettings, parse_id
from airflow_provider_enos.api.start_values import StartProgress, StartResult, StartTerms
from airflow_provider_enos.api.watch import PollPlan, StatusRule, watch_status
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.links import PipelineConsoleLink
from airflow_provider_enos.triggers.memory import TriggerMemory

#: What the scheduler takes to read that a worker is done with a task.
SCHEDULER_SECONDS = 2.0

#: What a stop after a kill may take. A pipeline that is starting can be stopped when it runs.
KILL_SECONDS = 60.0
KILL_REQUEST_TIMEOUT_SECONDS = 10.0
KILL_POLL_SECONDS = 1.0

#: A task in one of these states was ended by a person; in any other, its next try goes on.
_ENDED = frozenset(
    {
        TaskInstanceState.FAILED,
        TaskInstanceState.SUCCESS,
        TaskInstanceState.SKIPPED,
        TaskInstanceState.REMOVED,
        TaskInstanceState.UPSTREAM_FAILED,
    }
)


#: Arguments that may be templates with start_from_trigger.
_RENDERED = ("pipeline_id", "execution_mode", "kafka_rate", "resource_config", "org_id")

#: What goes on apart from its trigger: the event loop itself keeps only weak references to tasks.
_under_way: set[asyncio.Task[None]] = set()


async def _apart(work: Coroutine[Any, Any, None]) -> None:
    """Do something to its end: Airflow 3.3 cancels a trigger again with every loop."""
    task = asyncio.create_task(work)
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    await asyncio.shield(task)


def _least_seconds() -> float:
    """
    Return how long after the deferral Airflow 3.3 is sure to know that the worker is done.

    A worker can notice as late as this interval that the task's process has ended. When the task
    is queued again by then, the scheduler takes the late "success" for a contradiction, and fails
    the try (apache/airflow issues 67287, 72716).
    """
    interval: float = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)
    return interval + SCHEDULER_SECONDS


@dataclass(kw_only=True, eq=False, repr=False)
class _EnOSTrigger(BaseTrigger):
    """
    Run one flow and fire once, with its outcome or its error as JSON values; never raise.

    Its arguments are its fields, so that all of them are serialized.
    """

    pipeline_id: Any
    org_id: str | None
    enos_conn_id: str
    poll_interval_seconds: float

    def __post_init__(self) -> None:
        super().__init__()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and all of its arguments."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {one.name: getattr(self, one.name) for one in fields(self)}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once."""
        not_before = time.monotonic() + _least_seconds()
        try:
            payload = {"status": "success", "result": await self._outcome()}
        except EnOSError as error:
            payload = {"status": "error", **error.to_payload(), **self._error_facts()}
        await asyncio.sleep(not_before - time.monotonic())
        yield TriggerEvent(payload)

    async def _outcome(self) -> dict[str, Any]:
        """Carry the flow out and return its result as JSON values."""
        raise AssertionError("a subclass says what to wait for")

    def _error_facts(self) -> dict[str, Any]:
        """What else the worker must know of a failure."""
        return {}

    async def _hook(self) -> EnOSStreamingHook:
        return await EnOSStreamingHook.loaded(self.enos_conn_id, org_id=self.org_id)


@dataclass(kw_only=True, eq=False, repr=False)
class StartPipelineTrigger(_EnOSTrigger):
    """
    Start a pipeline and see it running.

    Idempotent: started anew after a triggerer's death it ends in the same place, since EnOS refuses
    to start a running pipeline.

    :param pipeline_id: See ``StartPipelineOperator`` for this and all that is not named here.
    :param begun_at: When the task began, in seconds since 1970; ``conflict_timeout_seconds`` counts
        from there. ``None``: from the first run of the trigger, as there was no worker before.
    :param deadline: When all must be done, in seconds since 1970; Airflow's ``execution_timeout``.
    :param earlier_try: An earlier try of the task may have started the pipeline.
    :param stop_on_kill: Stop the pipeline if this trigger started it and a person ends the task.
    """

    execution_mode: Any
    kafka_rate: Any
    resource_config: Any
    wait_for_running: bool
    conflict_timeout_seconds: float
    start_timeout_seconds: float
    begun_at: float | None = None
    deadline: float | None = None
    earlier_try: bool = False
    stop_on_kill: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._given = {name: getattr(self, name) for name in _RENDERED}
        self._progress = StartProgress(
            ambiguous=self.earlier_try, note=self._note, is_noted=self.earlier_try
        )
        self._memory = TriggerMemory(None)
        self._begun_at = self.begun_at or time.time()

    async def _outcome(self) -> dict[str, Any]:
        # With start_from_trigger no worker has seen the rendered values, and an undefined name in a
        # template renders to nothing: check before anything is sent.
        for name, given in self._given.items():
            if given and getattr(self, name) == "":
                raise InvalidSettingError(
                    f"{name}: the template {given!r} rendered to nothing; allowed is a value"
                )
        settings = StartSettings.parse(
            pipeline_id=self.pipeline_id,
            execution_mode=self.execution_mode,
            kafka_rate=self.kafka_rate,
            resource_config=self.resource_config,
        )
        hook = await self._hook()
        memory = self._memory = TriggerMemory(self.task_instance)
        note = await memory.recall()
        if note is not None and self.begun_at in (None, note.get("begun_at")):
            self._begun_at = note.get("begun_at") or self._begun_at
            self._progress.accepted_at = note.get("accepted_at")
            self._progress.before = _look_of(settings.pipeline_id, note.get("before"))
            if note.get("may_have_worked"):
                self.log.info("An earlier run of this trigger may have started the pipeline.")
                self._progress.ambiguous = self._progress.is_noted = True
        if self.begun_at is None:  # no worker has run: nobody else does these two
            if note is None or "begun_at" not in note:
                await self._note(self._progress.ambiguous)
            if url := hook.console_link(settings.pipeline_id):
                await memory.push(PipelineConsoleLink().xcom_key, url)
        terms = StartTerms(
            conflict_deadline=self._begun_at + self.conflict_timeout_seconds,
            start_timeout_seconds=self.start_timeout_seconds,
            poll_interval_seconds=self.poll_interval_seconds,
            deadline=self.deadline,
            wait_for_running=self.wait_for_running,
        )
        if self._progress.accepted_at is None:
            result = await self._until_accepted(hook, settings, terms)
        else:  # by an earlier run: another start would be one too many
            result = StartResult.adopted(settings.pipeline_id, hook.org_id)
        result = await hook.run_async(until_running(result, terms, self._progress))
        return result.to_payload()

    async def _until_accepted(
        self, hook: EnOSStreamingHook, settings: StartSettings, terms: StartTerms
    ) -> StartResult:
        """Start it; that EnOS has accepted is noted also when the trigger is cancelled then."""
        flow = until_accepted(hook.org_id, settings, terms, self._progress, hook.start_queue)
        try:
            return await hook.run_async(flow)
        finally:
            if self._progress.accepted_at is not None:
                await _apart(self._note(may_have_worked=True))

    async def _note(self, may_have_worked: bool) -> None:
        await self._memory.note(
            may_have_worked=may_have_worked,
            begun_at=self._begun_at,
            accepted_at=self._progress.accepted_at,
            before=_noted(self._progress.before),
        )

    def _error_facts(self) -> dict[str, Any]:
        return {
            "may_have_worked": self._progress.may_have_started,
            "conflicts": self._progress.conflicts,
        }

    async def on_kill(self) -> None:
        """Stop the pipeline if it is ours to stop; a person has acted on the task."""
        started_at = self._progress.accepted_at
        if self.stop_on_kill and started_at is not None:
            await _apart(self._stop(started_at))

    async def _stop(self, started_at: float) -> None:
        try:
            hook = (await self._hook()).apart(KILL_REQUEST_TIMEOUT_SECONDS)
            give_up_at = time.monotonic() + KILL_SECONDS
            # The next try may begin while EnOS does not stop the pipeline yet: look each time.
            while not await self._is_the_next_trys():
                if await self._is_stopped(hook, started_at, give_up_at):
                    self.log.info(
                        "Stopped pipeline %s, since the task was ended.", self.pipeline_id
                    )
                    return
                await asyncio.sleep(KILL_POLL_SECONDS)
            self.log.info("Pipeline %s is left to the task's next try.", self.pipeline_id)
        except Exception as error:  # it runs on its own: nobody else would tell
            self.log.warning("Pipeline %s may still be running: %s", self.pipeline_id, error)

    async def _is_stopped(
        self, hook: EnOSStreamingHook, started_at: float, give_up_at: float
    ) -> bool:
        """Send one stop, and look once."""
        stop = stop_pipeline(
            hook.org_id,
            parse_id(self.pipeline_id, "pipeline_id"),
            deadline=time.time(),
            limit="the time for a stop",
            poll_interval_seconds=KILL_POLL_SECONDS,
            started_at=started_at,
        )
        try:
            await hook.run_async(stop)
        except EnOSError as error:
            passes = error.transient or isinstance(error, StatusTimeoutError | PipelineStateError)
            if not passes or time.monotonic() >= give_up_at:
                raise
            return False
        return True

    async def _is_the_next_trys(self) -> bool:
        # After a clear, the next try is under way and adopts the pipeline; and Airflow 3.3 may call
        # on_kill when it only moves the trigger.
        return await self._memory.is_of_the_past() or await self._task_state() not in _ENDED

    async def _task_state(self) -> str | None:
        from airflow.sdk.execution_time.task_runner import (  # noqa: PLC0415 - triggerer only
            RuntimeTaskInstance,
        )

        ti: Any = self.task_instance
        map_index = -1 if ti.map_index is None else ti.map_index
        states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=ti.dag_id, map_index=map_index, task_ids=[ti.task_id], run_ids=[ti.run_id]
        )
        return next(iter(states.get(ti.run_id, {}).values()), None)


def _noted(look: Look | None) -> dict[str, Any] | None:
    """Return the part of a look that a later run of the trigger compares with, as JSON values."""
    if look is None:
        return None
    return {"status": str(look.status), "update_time": look.pipeline.update_time}


def _look_of(pipeline_id: str, noted: dict[str, Any] | None) -> Look | None:
    """Rebuild what :func:`_noted` wrote."""
    if noted is None:
        return None
    status, update_time = PipelineStatus(noted["status"]), noted["update_time"]
    return Look(Pipeline(pipeline_id, status, update_time=update_time), begun_at=0.0)


@dataclass(kw_only=True, eq=False, repr=False)
class ChangePipelineTrigger(_EnOSTrigger):
    """
    Stop, pause or release a pipeline or reset its offset, and see it done.

    Started anew after a triggerer's death it ends in the same place.

    :param verb: ``"stop"``, ``"pause"``, ``"release"`` or ``"reset"``.
    :param pipeline_id: See ``StopPipelineOperator`` for this and all that is not named here.
    :param deadline: When all must be done, in seconds since 1970.
    :param limit: What the user calls the deadline.
    :param earlier_try: An earlier try of the task may have done it.
    :param started_at: See ``ChangeTerms``.
    """

    verb: str
    deadline: float
    limit: str
    earlier_try: bool = False
    started_at: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._progress = ChangeProgress(ambiguous=self.earlier_try)

    async def _outcome(self) -> dict[str, Any]:
        hook = await self._hook()
        memory = TriggerMemory(self.task_instance, self.verb)
        self._progress.ambiguous |= await memory.recall() is not None
        self._progress.note = memory.note
        terms = ChangeTerms(self.deadline, self.limit, self.poll_interval_seconds, self.started_at)
        pipeline_id = parse_id(self.pipeline_id, "pipeline_id")
        flow = change_pipeline(CHANGES[self.verb], hook.org_id, pipeline_id, terms, self._progress)
        return (await hook.run_async(flow)).to_payload()

    def _error_facts(self) -> dict[str, Any]:
        return {"may_have_worked": self._progress.may_have_changed}


@dataclass(kw_only=True, eq=False, repr=False)
class _WatchTrigger(_EnOSTrigger):
    """Look until a look decides, as a sensor does."""

    deadline: float
    exponential_backoff: bool = False
    max_wait_seconds: float | None = None
    silent_fail: bool = False

    @property
    def _plan(self) -> PollPlan:
        return PollPlan(
            deadline=self.deadline,
            poll_interval_seconds=self.poll_interval_seconds,
            exponential_backoff=self.exponential_backoff,
            max_wait_seconds=self.max_wait_seconds,
            silent_fail=self.silent_fail,
        )


@dataclass(kw_only=True, eq=False, repr=False)
class PipelineStatusTrigger(_WatchTrigger):
    """
    Wait until a pipeline has one of the target statuses.

    :param pipeline_id: See ``PipelineStatusSensor`` for this and all that is not named here.
    :param failed_statuses: Statuses that end the wait; ``None`` for all that tell of a failure.
    :param poll_interval_seconds: Pause between two looks; the first pause with
        ``exponential_backoff``.
    :param max_wait_seconds: Longest pause between two looks.
    :param deadline: When to give up, in seconds since 1970.
    :param silent_fail: Go on after an error.
    """

    target_statuses: Sequence[str]
    failed_statuses: Sequence[str] | None

    async def _outcome(self) -> dict[str, Any]:
        hook = await self._hook()
        rule = StatusRule.parse(self.target_statuses, self.failed_statuses)
        pipeline_id = parse_id(self.pipeline_id, "pipeline_id")
        status = await hook.run_async(watch_status(hook.org_id, pipeline_id, rule, self._plan))
        return {"pipeline_id": pipeline_id, "org_id": hook.org_id, "pipeline_status": str(status)}


@dataclass(kw_only=True, eq=False, repr=False)
class PipelineLagTrigger(_WatchTrigger):
    """
    Wait until a pipeline has caught up.

    :param pipeline_id: See ``PipelineLagSensor`` for this and all that is not named here.
    :param streak: What the worker has seen before, a :class:`~airflow_provider_enos.api.lag.Streak`
        as JSON values.
    :param deadline: See ``PipelineStatusTrigger`` for this and how to look.
    """

    max_lag: int
    looks: int
    duration_seconds: float
    streak: dict[str, Any]

    async def _outcome(self) -> dict[str, Any]:
        hook = await self._hook()
        rule = LagRule.parse(self.max_lag, self.looks, self.duration_seconds)
        pipeline_id = parse_id(self.pipeline_id, "pipeline_id")
        look, streak = await hook.run_async(
            watch_lag(hook.org_id, pipeline_id, rule, self._plan, Streak(**self.streak))
        )
        return {"look": look.to_payload(), "streak": asdict(streak)}
