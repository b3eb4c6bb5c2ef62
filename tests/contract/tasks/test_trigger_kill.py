"""The start trigger when a person ends its task; Airflow's supervisor is a plain object."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import ErrorType, TaskDeferralTimeout
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    ErrorResponse,
    GetConnection,
    GetTaskStates,
    GetXCom,
    SetXCom,
    TaskStatesResult,
    XComResult,
)

from airflow_provider_enos.api.errors import (
    ConflictTimeoutError,
    PipelineFailedError,
    StatusTimeoutError,
)
from airflow_provider_enos.api.queue import Place
from airflow_provider_enos.emulator.faults import Slow
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.operators.streaming import StartPipelineOperator
from airflow_provider_enos.triggers.streaming import StartPipelineTrigger, _under_way


class Supervisor:
    """Answers what the triggerer asks Airflow."""

    def __init__(self):
        self.state, self.xcoms, self.is_broken = "failed", {}, False
        self.has_xcom = threading.Event()

    def send(self, message=None, msg=None):
        match message or msg:
            case GetTaskStates(run_ids=[run_id], task_ids=[task_id]):
                return TaskStatesResult(task_states={run_id: {task_id: self.state}})
            case SetXCom(key=key, value=value):
                self.xcoms[key] = value
                self.has_xcom.set()
            case GetConnection():
                return ErrorResponse(error=ErrorType.PERMISSION_DENIED)
            case GetXCom(key=key):
                return XComResult(key=key, value=self.xcoms.get(key))

    async def asend(self, message):
        if self.is_broken:
            raise ConnectionError("no XComs today")
        return self.send(message)


@pytest.fixture
def supervisor(monkeypatch):
    found = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    return found


@pytest.fixture
def new_trigger(emulator, pipeline_id):
    """Make the trigger of one try, as often as triggerers die."""
    return lambda try_number=1, **more: made(pipeline_id, try_number, **more)


@pytest.fixture
def trigger(new_trigger):
    return new_trigger()


def made(pipeline_id, try_number, **more):
    trigger = StartPipelineTrigger(
        pipeline_id=pipeline_id,
        execution_mode=0,
        kafka_rate=1000,
        resource_config=None,
        org_id=None,
        enos_conn_id="enos_default",
        wait_for_running=True,
        conflict_timeout_seconds=60,
        start_timeout_seconds=60,
        poll_interval_seconds=30,
        stop_on_kill=True,
        **more,
    )
    trigger.task_instance = SimpleNamespace(
        dag_id="d",
        run_id="r",
        task_id="start",
        map_index=None,
        try_number=try_number,
    )
    return trigger


async def cancelled_after(trigger, ready):
    """Run the trigger, cancel it when ``ready`` says so, and call on_kill as Airflow does."""
    running = asyncio.create_task(anext(trigger.run()))
    await asyncio.to_thread(ready)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await trigger.on_kill()


def status_shown(emulator, pipeline_id, looks=2):
    """Wait for the first look after the start, then let the pipeline run."""
    emulator.settings.start_seconds = 60

    def wait():
        emulator.wait_for_request("list", count=looks)
        emulator.set_status(pipeline_id, "RUNNING")

    return wait


async def test_ended_task_stops_what_its_trigger_started(
    emulator, pipeline_id, supervisor, trigger
):
    await cancelled_after(trigger, status_shown(emulator, pipeline_id))

    assert emulator.status_of(pipeline_id) == "STOPPED"


@pytest.mark.parametrize("state", ["deferred", "queued", None])
async def test_next_try_keeps_the_pipeline(emulator, pipeline_id, supervisor, trigger, state):
    """On a clear, on_kill comes when the next try has begun."""
    supervisor.state = state

    await cancelled_after(trigger, status_shown(emulator, pipeline_id))

    assert emulator.requests_for("stop") == []


async def test_next_try_keeps_the_pipeline_even_if_it_has_ended_already(
    emulator, pipeline_id, supervisor, trigger, new_trigger
):
    """Airflow removes the XComs of a try when a worker begins the next one."""
    running = asyncio.create_task(anext(trigger.run()))
    await asyncio.to_thread(status_shown(emulator, pipeline_id))
    supervisor.xcoms.clear()
    supervisor.state = "success"
    assert (await new_trigger(try_number=2)._outcome())["outcome"] == "already_running"

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await trigger.on_kill()

    assert emulator.requests_for("stop") == []


async def killed_triggerer(emulator, pipeline_id, trigger):
    """Let a trigger start the pipeline, and vanish as with its process."""
    running = asyncio.create_task(anext(trigger.run()))
    await asyncio.to_thread(status_shown(emulator, pipeline_id))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_pipeline_that_a_killed_triggerer_started_is_adopted(
    emulator, pipeline_id, supervisor, new_trigger
):
    await killed_triggerer(emulator, pipeline_id, new_trigger())

    result = await new_trigger()._outcome()

    assert (result["outcome"], result["status"]) == ("adopted", "RUNNING")
    assert len([r for r in emulator.requests_for("start") if r.effective]) == 1


async def test_pipeline_of_somebody_else_is_not_adopted_by_the_next_triggerer(
    emulator, pipeline_id, supervisor, new_trigger
):
    """The triggerer dies when EnOS has refused the start, but the event is not out yet."""
    emulator.set_status(pipeline_id, "RUNNING")
    await new_trigger()._outcome()

    result = await new_trigger()._outcome()

    assert result["outcome"] == "already_running"


@pytest.mark.parametrize("begun_at", [None, 1e10])
async def test_pipeline_that_somebody_starts_while_we_queue_is_not_adopted(
    emulator, pipeline_id, supervisor, new_trigger, begun_at
):
    hook = EnOSStreamingHook()
    place = hook.start_queue.enter("another")
    running = asyncio.create_task(anext(new_trigger(begun_at=begun_at).run()))
    while not hook.start_queue.before(Place(place.number + 2, "")):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    hook.start_queue.leave(place)
    emulator.set_status(pipeline_id, "RUNNING")

    result = await new_trigger(begun_at=begun_at)._outcome()

    assert result["outcome"] == "already_running"


async def test_note_of_an_earlier_wait_of_the_same_try_does_not_count(
    emulator, pipeline_id, supervisor, new_trigger
):
    """if_running applied again, and the task was deferred once more."""
    assert (await new_trigger(begun_at=1e10)._outcome())["outcome"] == "started"

    result = await new_trigger(begun_at=1e10 + 60)._outcome()

    assert result["outcome"] == "already_running"


async def test_ended_task_stops_what_a_killed_triggerer_started(
    emulator, pipeline_id, supervisor, new_trigger
):
    await killed_triggerer(emulator, pipeline_id, new_trigger())
    emulator.set_status(pipeline_id, "STARTING")
    emulator.clear_requests()

    await cancelled_after(new_trigger(), status_shown(emulator, pipeline_id, looks=1))

    assert emulator.status_of(pipeline_id) == "STOPPED"


async def test_kill_during_the_start_request_stops_what_it_started(
    emulator, pipeline_id, supervisor, trigger
):
    emulator.faults.append(Slow(1, on="start"))

    await cancelled_after(trigger, lambda: emulator.wait_for_status(pipeline_id, "RUNNING"))

    assert emulator.status_of(pipeline_id) == "STOPPED"


async def test_stop_goes_on_although_airflow_cancels_on_kill(
    emulator, pipeline_id, supervisor, trigger
):
    """Airflow 3.3 cancels a trigger again with each loop while its on_kill works."""
    emulator.settings.start_seconds = 60
    running = asyncio.create_task(anext(trigger.run()))
    await asyncio.to_thread(emulator.wait_for_request, "list", count=2)
    emulator.set_status(pipeline_id, "RUNNING")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    killing = asyncio.create_task(trigger.on_kill())
    await asyncio.sleep(0)
    killing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killing
    await asyncio.gather(*_under_way)

    assert emulator.status_of(pipeline_id) == "STOPPED"


async def test_next_try_that_begins_while_the_stop_is_refused_keeps_the_pipeline(
    emulator, pipeline_id, supervisor, trigger
):
    """A person marks the task failed while its pipeline is starting, and then clears it."""
    emulator.settings.start_seconds = 60
    running = asyncio.create_task(anext(trigger.run()))
    await asyncio.to_thread(emulator.wait_for_request, "list", count=2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    killing = asyncio.create_task(trigger.on_kill())
    await asyncio.to_thread(emulator.wait_for_request, "stop")
    supervisor.xcoms.clear()  # as Airflow does when a worker begins the next try
    emulator.set_status(pipeline_id, "RUNNING")
    await killing

    assert emulator.status_of(pipeline_id) == "RUNNING"


async def test_acceptance_is_noted_although_the_trigger_is_cancelled_in_the_request(
    emulator, pipeline_id, supervisor, trigger
):
    emulator.faults.append(Slow(1, on="start"))
    running = asyncio.create_task(anext(trigger.run()))
    await asyncio.to_thread(emulator.wait_for_status, pipeline_id, "RUNNING")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.gather(*_under_way)

    assert supervisor.xcoms["enos_start"]["accepted_at"] is not None


async def test_accepted_start_is_not_sent_again_by_the_next_triggerer(
    emulator, pipeline_id, supervisor, new_trigger
):
    """Somebody may have stopped the pipeline meanwhile."""
    await killed_triggerer(emulator, pipeline_id, new_trigger())

    await new_trigger()._outcome()

    assert len(emulator.requests_for("start")) == 1


async def test_next_triggerer_knows_what_the_pipeline_was_before_the_start(
    emulator, pipeline_id, supervisor, new_trigger
):
    """The pipeline was PUBLISHED, and it stops again while no triggerer is there."""
    await killed_triggerer(emulator, pipeline_id, new_trigger())
    emulator.set_status(pipeline_id, "STOPPED")

    with pytest.raises(PipelineFailedError, match="stopped again before it was running"):
        await new_trigger()._outcome()


def task_instance(supervisor):
    """What a worker that resumes the first try has of its task."""
    return SimpleNamespace(
        try_number=1,
        max_tries=1,
        xcom_push=lambda key, value: supervisor.xcoms.update({key: value}),
        xcom_pull=lambda key: supervisor.xcoms.get(key),
    )


async def test_retry_in_the_triggerer_alone_adopts_what_the_first_try_has_started(
    emulator, pipeline_id, supervisor, new_trigger
):
    emulator.set_status(pipeline_id, "RUNNING")
    task = StartPipelineOperator(
        task_id="start",
        pipeline_id=pipeline_id,
        execution_mode="standalone",
        start_from_trigger=True,
    )
    failure = StatusTimeoutError("is still STARTING").to_payload()
    event = {"status": "error", **failure, "may_have_worked": True}
    with pytest.raises(StatusTimeoutError):
        task.execute_complete({"ti": task_instance(supervisor)}, event)

    result = await new_trigger(try_number=2)._outcome()

    assert result["outcome"] == "adopted"


@pytest.mark.parametrize(
    ("may_have_worked", "outcome"), [(True, "adopted"), (False, "already_running")]
)
async def test_retry_in_the_triggerer_alone_knows_what_airflow_has_cut_short(
    emulator, pipeline_id, supervisor, new_trigger, may_have_worked, outcome
):
    emulator.set_status(pipeline_id, "RUNNING")
    supervisor.xcoms["enos_start"] = {"try_number": 1, "may_have_worked": may_have_worked}
    task = StartPipelineOperator(
        task_id="start",
        pipeline_id=pipeline_id,
        execution_mode="standalone",
        start_from_trigger=True,
    )
    with pytest.raises(TaskDeferralTimeout, match="which may go on in EnOS"):
        task.resume_execution(
            "__fail__", {"error": "Trigger timeout"}, {"ti": task_instance(supervisor)}
        )

    result = await new_trigger(try_number=2)._outcome()

    assert result["outcome"] == outcome


@pytest.mark.parametrize("note", [{}, {"enos_start": {"try_number": 1, "may_have_worked": True}}])
async def test_conflict_timeout_counts_from_the_first_run_of_the_trigger(
    emulator, pipeline_id, supervisor, new_trigger, note
):
    """Also in a try that an earlier one has left something to."""
    supervisor.xcoms |= note
    emulator.hold_start_lock(600)
    first = new_trigger()
    running = asyncio.create_task(anext(first.run()))
    await asyncio.to_thread(emulator.wait_for_request, "start")
    running.cancel()
    supervisor.xcoms["enos_start"]["begun_at"] -= first.conflict_timeout_seconds

    with pytest.raises(ConflictTimeoutError, match="conflict_timeout is over"):
        await new_trigger()._outcome()


async def test_connection_that_airflow_refuses_is_an_event_and_no_exception(
    monkeypatch, supervisor, new_trigger, emulator
):
    monkeypatch.delenv("AIRFLOW_CONN_ENOS_DEFAULT")

    event = await anext(new_trigger().run())

    assert event.payload["status"] == "error"
    denied = "'enos_default' cannot be read (AirflowSecretsBackendAccessDenied)"
    assert denied in event.payload["message"]


async def test_console_link_is_pushed_where_no_worker_has_run(
    emulator, pipeline_id, connect, supervisor, trigger
):
    connect(emulator.connection, extra={"console_url": "https://console.invalid/{pipeline_id}"})

    await trigger._outcome()

    link = supervisor.xcoms["_link_PipelineConsoleLink"]
    assert link == f"https://console.invalid/{pipeline_id}"


async def test_broken_xcom_backend_costs_the_button_and_not_the_start(
    emulator, pipeline_id, connect, supervisor, trigger
):
    connect(emulator.connection, extra={"console_url": "https://console.invalid/{pipeline_id}"})
    supervisor.is_broken = True

    result = await trigger._outcome()

    assert result["outcome"] == "started"
