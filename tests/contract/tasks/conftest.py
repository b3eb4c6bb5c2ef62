"""
Airflow's side of a task, as plain objects, and tasks that wait run side by side.

A trigger fires no sooner than three seconds after it began, so all tasks of a table are carried out
at once, each with an EnOS of its own, and the tests then look at how each of them ended.
"""

import asyncio
import contextlib
import itertools
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace

import msgspec
import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.exceptions import AirflowRescheduleException

from airflow_provider_enos.emulator.server import Emulator

NUMBERS = itertools.count(1)
MAX_AT_ONCE = 75


class StateStore(dict):
    """Airflow's task_state_store: its three methods over a dict."""

    set = dict.__setitem__

    def delete(self, key):
        self.pop(key, None)


class TaskInstance:
    """The few things of a task instance that operators and sensors use."""

    def __init__(self, try_number):
        self.try_number = try_number
        self.start_date = datetime.now(UTC)
        self.first_reschedule_date = None

    def xcom_push(self, key, value):
        pass

    def get_first_reschedule_date(self, context):
        return self.first_reschedule_date


class Stage:
    """One task's world: an EnOS, the connection to it, and what Airflow hands to each try."""

    def __init__(self, loop=None):
        self._clock_offset = 0.0
        self.enos = Emulator(
            pipelines=2,
            access_key=f"task-{next(NUMBERS)}",
            clock=lambda: time.time() + self._clock_offset,
        )
        self.conn_id = self.enos.access_key.replace("-", "_")
        self.pipeline_id = self.enos.pipeline_ids[0]
        self.org_id = self.enos.org_id
        self.result = self.error = None
        self.try_number = 1
        self.run_type = "manual"
        self._loop = loop
        self._store = StateStore()

    def __enter__(self):
        self.enos.start()
        self.connect()
        return self

    def __exit__(self, *_):
        self.enos.stop()

    def forget(self):
        """Remove the connection; not while other tasks may be reading the environment."""
        del os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"]

    def connect(self, *, extra=None, **fields):
        """Set the task's Airflow connection; ``extra`` is added to, the rest replaced."""
        connection = self.enos.connection
        extra = {**connection["extra"], **(extra or {})}
        text = json.dumps({**connection, **fields, "extra": extra})
        os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"] = text

    def set_back_clock_of_task(self, seconds):
        """Let the task's clock be so many seconds behind that of EnOS."""
        self._clock_offset = seconds

    def new_try(self):
        return {
            "ti": TaskInstance(self.try_number),
            "dag_run": SimpleNamespace(clear_number=0, run_type=self.run_type),
            "task_state_store": self._store,
        }

    def when_asked_once(self, action, operation="list"):
        """Do something after the first such request; by default a look at the pipelines."""

        def wait_and_act():
            with contextlib.suppress(TimeoutError):
                self.enos.wait_for_request(operation, timeout=30)
                action(self)

        threading.Thread(target=wait_and_act, daemon=True).start()

    def run(self, build, mode):
        """Carry out one try of a task in a mode; remember its result or its error."""
        context = self.new_try()
        try:
            self.result = getattr(self, f"_{mode}")(build, context)
        except Exception as error:
            self.error = error

    def _poke(self, build, context):
        return build(self).execute(context)

    _sync = _poke

    def _reschedule(self, build, context):
        while True:
            try:
                return build(self, mode="reschedule").execute(context)
            except AirflowRescheduleException as later:
                context["ti"].first_reschedule_date = context["ti"].start_date
                time.sleep(max(0, (later.reschedule_date - datetime.now(UTC)).total_seconds()))

    def _deferrable(self, build, context):
        work = build(self, deferrable=True).execute
        while True:
            try:
                return work(context)
            except TaskDeferred as deferred:
                trigger, method = deferred.trigger, deferred.method_name
            # The way through Airflow's database to the triggerer, and through its pipe back; the
            # pipe takes only plain values, and Airflow drops an event that does not fit.
            arguments = json.loads(json.dumps(trigger.serialize()[1]))
            event = self._first_event(type(trigger)(**arguments))
            event = msgspec.msgpack.decode(msgspec.msgpack.encode(event.payload))
            resume = build(self, deferrable=True).resume_execution
            work = partial(resume, method, {"event": event})

    def _first_event(self, trigger):
        async def first():
            return await anext(trigger.run())

        return asyncio.run_coroutine_threadsafe(first(), self._loop).result()


@pytest.fixture(scope="module")
def ends(request):
    """How the tasks in ``TASKS`` of the test module ended, by their keys."""
    tasks = request.module.TASKS
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stages = {key: Stage(loop) for key in tasks}

    def carry_out(key):
        with stages[key]:
            tasks[key](stages[key])

    with ThreadPoolExecutor(MAX_AT_ONCE) as pool:
        list(pool.map(carry_out, tasks))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    for one in stages.values():
        one.forget()
    return stages


@pytest.fixture
def stage():
    """One task's world, for tests that stand alone."""
    with Stage() as stage:
        yield stage
    stage.forget()
