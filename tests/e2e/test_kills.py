"""
Processes that die and people who end tasks, while pipelines are being started.

A start may be on its way, waiting for its turn, or accepted and not running yet. Whatever dies:
each pipeline is started exactly once, and the task says how. Whatever a person ends: nothing is
sent any more, and nothing is stopped that is not this try's.
"""

import contextlib
import os
import signal

import psutil
import pytest

from airflow_provider_enos.emulator.faults import Slow, TooManyRequests

WAYS = ["sync", "deferrable", "from_trigger"]
FOR_EVER = 600


@pytest.fixture
def slow_starts(stack):
    """Pipelines stay STARTING until a test lets them run."""
    stack.enos.settings.start_seconds = FOR_EVER
    yield
    stack.enos.settings.start_seconds = 1


def queued(stack, dag_id, **conf):
    """Run a DAG whose start is refused: somebody else is starting a pipeline."""
    org_id = stack.new_organization()
    stack.enos.hold_start_lock(FOR_EVER, org_id)
    return stack.run(dag_id, org_id=org_id, **conf)


def let_in(stack, run):
    stack.enos.release_start_lock(run.org_id)


def of_others(stack, dag_id):
    """Run a DAG for a pipeline that runs already; its start is told to come again later."""
    org_id = stack.new_organization()
    pipeline_id = stack.enos.add_pipeline(org_id, status="RUNNING")
    later = TooManyRequests(retry_after="120", on="start", pipeline_id=pipeline_id)
    stack.enos.faults.append(later)
    return stack.run(dag_id, org_id=org_id, pipeline_id=pipeline_id)


def check_left_alone(stack, run):
    assert stack.state(run) == "success", stack.log(run)
    assert stack.enos.pipeline(run.pipeline_id).starts_accepted == 0
    assert stack.result(run)["outcome"] == "already_running"


def started(stack, run):
    """Wait until EnOS has accepted the start, which may be before it answers."""
    stack.enos.wait_for_status(run.pipeline_id, "STARTING", timeout=60)


def runs(stack, run):
    """The start is over: the pipeline runs, and others may be started."""
    stack.enos.set_status(run.pipeline_id, "RUNNING")
    stack.enos.release_start_lock(run.org_id)


def kill_task(stack, run):
    """Kill the process of a task, as the kernel does when memory is short."""
    os.kill(stack.task(run)["pid"], signal.SIGKILL)


def kill_worker(stack, run):
    """Kill the task and the worker that watches over it: nobody tells Airflow."""
    task = psutil.Process(stack.task(run)["pid"])
    worker = task.parent()
    for process in (worker, task):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def check_started_once(stack, run, outcome):
    assert stack.state(run) == "success", stack.log(run)
    assert stack.enos.pipeline(run.pipeline_id).starts_accepted == 1
    assert stack.enos.status_of(run.pipeline_id) == "RUNNING"
    assert stack.result(run)["outcome"] == outcome


# Processes


@pytest.mark.usefixtures("slow_starts")
def test_killed_workers(stack):
    """Between request and answer, in the wait after a restart, in the queue; a whole worker."""
    org_id = stack.new_organization()
    pipeline_id = stack.enos.add_pipeline(org_id)
    stack.enos.faults.append(Slow(20, on="start", pipeline_id=pipeline_id))
    unanswered = stack.run("e2e_start_sync", org_id=org_id, pipeline_id=pipeline_id)
    org_id = stack.new_organization()
    running = stack.enos.add_pipeline(org_id, status="RUNNING")
    restarted = stack.run(
        "e2e_start_sync", org_id=org_id, pipeline_id=running, if_running="restart"
    )
    watched = stack.run("e2e_start_sync")
    in_queue = queued(stack, "e2e_start_sync")
    started(stack, unanswered)
    kill_task(stack, unanswered)
    for run, kill in {restarted: kill_task, watched: kill_worker}.items():
        stack.enos.wait_for_request("start", run.pipeline_id, timeout=60)
        stack.airflow.wait_until(lambda run=run: "accepted ->" in stack.log(run), "a first look")
        kill(stack, run)
    stack.enos.wait_for_request("start", in_queue.pipeline_id, timeout=60)
    kill_task(stack, in_queue)
    let_in(stack, in_queue)
    started(stack, in_queue)
    for run in (unanswered, restarted, watched, in_queue):
        runs(stack, run)

    for run in (unanswered, restarted, watched):
        check_started_once(stack, run, "adopted")
    check_started_once(stack, in_queue, "started")
    assert {stack.task(run)["try_number"] for run in (restarted, watched, in_queue)} == {2}
    assert len(stack.enos.requests_for("stop", restarted.pipeline_id)) == 1


def test_killed_worker_whose_pipeline_ran_before(stack):
    run = of_others(stack, "e2e_start_sync")
    stack.enos.wait_for_request("start", run.pipeline_id, timeout=60)
    kill_task(stack, run)

    check_left_alone(stack, run)
    assert stack.task(run)["try_number"] == 2


@pytest.mark.usefixtures("slow_starts")
def test_killed_triggerer(stack):
    """Its starts go on in the next one: the one accepted, and those that wait for their turn."""
    org_id = stack.new_organization()
    first = stack.run("e2e_start_deferrable", org_id=org_id)
    started(stack, first)
    stack.airflow.wait_until(lambda: noted(stack, first), "a note of the acceptance")
    others = [stack.run(f"e2e_start_{way}", org_id=org_id) for way in WAYS[1:] * 2]
    theirs = [of_others(stack, f"e2e_start_{way}") for way in WAYS[1:]]
    for run in others:
        stack.wait_for_task(run, "deferred")
    for run in theirs:
        stack.enos.wait_for_request("start", run.pipeline_id, timeout=60)

    stack.airflow.kill("triggerer")
    runs(stack, first)
    stack.enos.settings.start_seconds = 1
    stack.airflow.start_component("triggerer")

    check_started_once(stack, first, "adopted")
    for run in others:
        check_started_once(stack, run, "started")
    for run in theirs:
        check_left_alone(stack, run)


def noted(stack, run):
    """Whether the trigger has written down that EnOS has accepted its start."""
    try:
        note = stack.airflow.xcom(run.dag_id, run.run_id, "start", "enos_start")
    except RuntimeError:  # there is none yet
        return False
    return note["accepted_at"] is not None


@pytest.mark.usefixtures("slow_starts")
def test_killed_scheduler(stack):
    """With it die its workers."""
    on_its_way = [stack.run(f"e2e_start_{way}") for way in WAYS]
    in_queue = queued(stack, "e2e_start_deferrable")
    for run in on_its_way:
        started(stack, run)
    stack.wait_for_task(in_queue, "deferred")

    stack.airflow.kill("scheduler")
    let_in(stack, in_queue)
    started(stack, in_queue)
    for run in (*on_its_way, in_queue):
        runs(stack, run)
    stack.airflow.start_component("scheduler")

    check_started_once(stack, on_its_way[0], "adopted")
    for run in (*on_its_way[1:], in_queue):
        check_started_once(stack, run, "started")


def test_outage_of_enos(stack):
    """While starts wait for their turn, and after they were accepted."""
    in_queue = [queued(stack, f"e2e_start_{way}") for way in WAYS]
    stack.enos.settings.start_seconds = FOR_EVER
    accepted = stack.run("e2e_start_deferrable")
    for run in in_queue:
        stack.enos.wait_for_request("start", run.pipeline_id, timeout=60)
    started(stack, accepted)
    stack.enos.settings.start_seconds = 1

    stack.enos.stop()
    runs(stack, accepted)
    for run in in_queue:
        let_in(stack, run)
    stack.enos.start()

    for run in (*in_queue, accepted):
        check_started_once(stack, run, "started")
        assert stack.task(run)["try_number"] == 1


# People, and limits of Airflow


def mark_failed(stack, run):
    stack.airflow.end_task(run.dag_id, run.run_id, "start", "failed")


def mark_success(stack, run):
    stack.airflow.end_task(run.dag_id, run.run_id, "start", "success")


def fail_run(stack, run):
    stack.airflow.end_run(run.dag_id, run.run_id, "failed")


def wait_for_the_limit(stack, run):
    """Airflow, or we in its place, ends the task by itself."""


ENDS = {
    # Those with a limit first: their time runs.
    "dagrun_timeout": ("e2e_start_dagrun_timeout_{}", wait_for_the_limit, {"skipped"}),
    "execution_timeout": ("e2e_start_execution_timeout_{}", wait_for_the_limit, {"failed"}),
    "marked failed": ("e2e_start_{}", mark_failed, {"failed"}),
    "marked success": ("e2e_start_{}", mark_success, {"success"}),
    "run marked failed": ("e2e_start_{}", fail_run, {"failed", "skipped"}),
}


def has_heard_of_it(stack, run, way, process):
    """Whether what carries the task out is gone; Airflow takes some seconds for it."""
    if way == "sync":
        return not psutil.pid_exists(process)
    # execution_timeout is ours to end in the triggerer.
    ends = ("Trigger cancelled by user action", "execution_timeout is over")
    return any(end in stack.log(run) for end in ends)


#: Those on workers by themselves: there are fewer workers than tasks.
@pytest.mark.parametrize("ways", [WAYS[:1], WAYS[1:]], ids=["on workers", "in the triggerer"])
def test_nothing_is_sent_for_a_task_that_was_ended_in_the_queue(stack, ways):
    ended, processes = {}, {}
    for end, (dag_id, _, _) in ENDS.items():
        for way in ways:
            if (end, way) != ("execution_timeout", "from_trigger"):
                ended[end, way] = queued(stack, dag_id.format(way))
    for (end, way), run in ended.items():
        stack.enos.wait_for_request("start", run.pipeline_id, timeout=60)
        processes[end, way] = stack.task(run)["pid"]
        ENDS[end][1](stack, run)
    for (end, way), run in ended.items():
        states = ENDS[end][2]
        stack.wait_for_task(run, *states)
        stack.state(run)
        assert stack.task(run)["state"] in states, (end, way)
        stack.airflow.wait_until(
            lambda end=end, way=way, run=run: has_heard_of_it(stack, run, way, processes[end, way]),
            f"end of {run}",
        )

    # The next one of each organization is started, hence the one before it had left the queue.
    next_ones = []
    for run in ended.values():
        let_in(stack, run)
        next_ones.append(stack.run("e2e_start_deferrable", org_id=run.org_id))
    for run in next_ones:
        check_started_once(stack, run, "started")
    for case, run in ended.items():
        assert stack.enos.status_of(run.pipeline_id) == "PUBLISHED", case
        assert stack.enos.requests_for("stop", run.pipeline_id) == []


@pytest.mark.usefixtures("slow_starts")
def test_cleared_task_leaves_its_pipeline_to_the_next_try(stack):
    """A clear means a fresh start: the next try finds the pipeline running, and keeps it."""
    cleared = [stack.run(f"e2e_start_{way}") for way in WAYS]
    cleared.append(stack.run("e2e_start_stop_on_kill_deferrable"))
    for run in cleared:
        started(stack, run)
        stack.airflow.wait_until(lambda run=run: "accepted ->" in stack.log(run), "a first look")
        stack.airflow.clear_task(run.dag_id, run.run_id, "start")
        runs(stack, run)

    for run in cleared:
        assert stack.state(run) == "success", stack.log(run, 2)
        assert stack.task(run)["try_number"] == 2
        assert stack.enos.pipeline(run.pipeline_id).starts_accepted == 1
        assert stack.enos.status_of(run.pipeline_id) == "RUNNING"
        assert stack.enos.requests_for("stop", run.pipeline_id) == []
        assert stack.result(run)["outcome"] == "already_running"
