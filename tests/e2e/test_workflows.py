"""
The example DAGs that are more than a start, in a real Airflow: whole, twice, and interrupted.
"""

import os
import signal
import threading

import pytest

from airflow_provider_enos.emulator.faults import Code, LoseAnswer
from tests.e2e.conftest import MAINTAINED_ORG

JOB_PIPELINE = "b88f81a5-73e6-56ad-9d5a-c60c2c7f7d35"
REPLAY_PIPELINE = "a93ad958-2c4e-5844-9432-29fd785c61b8"
WATCHED_PIPELINE = "19e320ef-7115-591c-9281-31774222c454"
DAILY_PIPELINE = "2d88442e-fa36-57dc-b581-6a95957dcd42"


def outcomes(stack, run):
    """What each task of ours has returned."""
    found = {}
    for task in stack.tasks(run):
        is_ours = "Pipeline" in task["operator_name"] and "Sensor" not in task["operator_name"]
        if is_ours and task["state"] == "success":
            result = stack.airflow.result(
                run.dag_id, run.run_id, task["task_id"], map_index=task["map_index"]
            )
            found[task["task_id"], task["map_index"]] = result["outcome"]
    return found


def tries(stack, run):
    return {task["try_number"] for task in stack.tasks(run) if task["state"] != "skipped"}


def kill(stack, run, task_id):
    """Kill the process of a running task, as the kernel does when memory is short."""

    def running():
        return [
            one for one in stack.tasks(run, task_id) if one["state"] == "running" and one["pid"]
        ]

    stack.airflow.wait_until(running, f"{task_id} to run")
    os.kill(running()[0]["pid"], signal.SIGKILL)


# Setup and teardown


@pytest.mark.parametrize(
    ("before", "is_lost", "started", "stopped", "after"),
    [
        ("STOPPED", False, "started", "stopped", "STOPPED"),
        ("STOPPED", True, "adopted", "stopped", "STOPPED"),
        ("RUNNING", False, "already_running", "left_alone", "RUNNING"),
        ("RUNNING", True, "already_running", "left_alone", "RUNNING"),
    ],
)
def test_teardown_stops_what_the_setup_has_started(stack, before, is_lost, started, stopped, after):
    """Also when the answer to the start was lost."""
    stack.enos.set_status(JOB_PIPELINE, before)
    if is_lost:
        stack.enos.faults.append(LoseAnswer(on="start", pipeline_id=JOB_PIPELINE))

    run = stack.run_example("start_for_a_job")

    assert stack.state(run) == "success"
    assert outcomes(stack, run) == {("start", -1): started, ("stop", -1): stopped}
    assert stack.enos.status_of(JOB_PIPELINE) == after


# Replay


@pytest.fixture
def far_behind(stack):
    """A pipeline that is far behind; more arrives while it is stopped."""
    stack.enos.settings.lag_drains = True
    stack.enos.set_status(REPLAY_PIPELINE, "RUNNING")
    stack.enos.set_lag(REPLAY_PIPELINE, 1_000_000_000)
    seen = len(stack.enos.requests_for("reset_offset", REPLAY_PIPELINE))

    def more_arrives():
        stack.enos.wait_for_request("reset_offset", REPLAY_PIPELINE, count=seen + 1, timeout=120)
        stack.enos.set_lag(REPLAY_PIPELINE, 5_000)

    arrival = threading.Thread(target=more_arrives)
    arrival.start()
    yield
    arrival.join()
    stack.enos.settings.lag_drains = False


def check_replayed(stack):
    pipeline = stack.enos.pipeline(REPLAY_PIPELINE)
    assert (pipeline.status, pipeline.kafka_rate) == ("RUNNING", 1_000)
    assert pipeline.lag <= 100


@pytest.mark.usefixtures("far_behind")
def test_replay_twice(stack):
    first = stack.run_example("replay")
    second = stack.run_example("replay")  # by mistake: it waits for the first

    for run in (first, second):
        assert stack.state(run) == "success"
        assert tries(stack, run) == {1}
        assert outcomes(stack, run) == {
            ("stop", -1): "stopped",
            ("skip_what_is_waiting", -1): "reset",
            ("start_fast", -1): "started",
            ("start_normal", -1): "started",
        }
    check_replayed(stack)


@pytest.mark.usefixtures("far_behind")
def test_replay_interrupted_by_killed_workers(stack):
    stack.enos.settings.update({"stop_seconds": 5.0, "start_seconds": 5.0})
    try:
        run = stack.run_example("replay_on_workers")
        stack.enos.wait_for_status(REPLAY_PIPELINE, "STOPPING", timeout=60)
        kill(stack, run, "stop")
        stack.enos.wait_for_status(REPLAY_PIPELINE, "STARTING", timeout=60)
        kill(stack, run, "start_fast")
        state = stack.state(run)
    finally:
        stack.enos.settings.update({"stop_seconds": 0.0, "start_seconds": 1.0})

    assert state == "success"
    assert outcomes(stack, run) == {
        ("stop", -1): "stopped",
        ("skip_what_is_waiting", -1): "reset",
        ("start_fast", -1): "adopted",
        ("start_normal", -1): "started",
    }
    check_replayed(stack)


# Maintenance


@pytest.fixture
def maintained(stack):
    """Three pipelines, of which the second does not run."""
    pipelines = [one.pipeline_id for one in stack.enos.pipelines(MAINTAINED_ORG)]
    for pipeline_id, status in zip(pipelines, ("RUNNING", "STOPPED", "RUNNING"), strict=True):
        stack.enos.set_status(pipeline_id, status)
    stack.enos.clear_requests()
    return pipelines


def check_maintained(stack, pipelines, *, times=1):
    first, _, last = pipelines
    statuses = [stack.enos.status_of(pipeline_id) for pipeline_id in pipelines]
    assert statuses == ["RUNNING", "STOPPED", "RUNNING"]
    starts = [r.pipeline_id for r in stack.enos.requests_for("start") if r.effective]
    stops = [r.pipeline_id for r in stack.enos.requests_for("stop") if r.effective]
    assert starts == [first, last] * times
    assert sorted(stops) == sorted([first, last] * times)
    assert stack.airflow.api("GET", "/variables")["variables"] == []


def test_maintenance_twice(stack, maintained):
    first = stack.run_example("maintenance_window")
    second = stack.run_example("maintenance_window")

    for run in (first, second):
        assert stack.state(run) == "success"
        assert tries(stack, run) == {1}
    check_maintained(stack, maintained, times=2)


def test_maintenance_that_is_cleared_alone_does_not_run_while_pipelines_do(stack, maintained):
    run = stack.run_example("maintenance_window")
    assert stack.state(run) == "success"
    stack.enos.clear_requests()

    stack.airflow.clear_task(run.dag_id, run.run_id, "maintain")
    stack.state(run)

    (task,) = stack.tasks(run, "maintain")
    log = stack.airflow.task_log(run.dag_id, run.run_id, "maintain", try_number=2)
    assert (task["state"], task["try_number"]) == ("failed", 2), log
    assert "so clear the whole run" in log
    assert {one.operation for one in stack.enos.requests_for()} <= {"token_get", "list"}


def test_maintenance_interrupted(stack, maintained):
    """Workers are killed while they stop and start; then everything is cleared in the window."""
    stack.enos.settings.update({"stop_seconds": 5.0, "start_seconds": 5.0})
    try:
        run = stack.run_example("maintenance_window")
        stack.enos.wait_for_status(maintained[0], "STOPPING", timeout=60)
        kill(stack, run, "stop")
        stack.enos.wait_for_status(maintained[0], "STARTING", timeout=60)
        kill(stack, run, "start")
        state = stack.state(run)
    finally:
        stack.enos.settings.update({"stop_seconds": 0.0, "start_seconds": 1.0})

    assert state == "success"
    check_maintained(stack, maintained)


def test_maintenance_cleared_in_the_window(stack, maintained):
    """
    What ran before is remembered, although nothing runs when the run begins anew.

    Somebody is stopping a pipeline as it begins: that one did not run before.
    """
    first, idle, last = maintained
    stack.enos.set_status(idle, "STOPPING")
    stack.enos.settings.start_seconds = 600
    try:
        run = stack.run_example("maintenance_window")
        stack.enos.wait_for_request("list", org_id=MAINTAINED_ORG, timeout=60)
        stack.enos.set_status(idle, "STOPPED")
        stack.enos.wait_for_status(first, "STARTING", timeout=60)
        stack.airflow.api(
            "POST",
            f"/dags/{run.dag_id}/clearTaskInstances",
            json={"dag_run_id": run.run_id, "dry_run": False, "only_failed": False},
        )
        stack.airflow.wait_until(
            lambda: stack.tasks(run, "start")[0]["state"] != "running", "the start to end"
        )
        stack.enos.set_status(first, "STOPPED")
        stack.enos.release_start_lock(MAINTAINED_ORG)
    finally:
        stack.enos.settings.start_seconds = 1.0

    assert stack.state(run) == "success"
    assert stack.enos.status_of(idle) == "STOPPED"
    assert {stack.enos.status_of(first), stack.enos.status_of(last)} == {"RUNNING"}


def test_maintenance_that_fails_starts_what_ran_before_and_is_red(stack, maintained):
    first, _, last = maintained
    stack.enos.faults.append(Code(61122, on="stop", pipeline_id=first, times=None))
    run = stack.run_example("maintenance_window")
    state = stack.state(run)
    stack.enos.faults.clear()

    assert state == "failed"
    assert len(stack.enos.requests_for("stop", last)) == 1
    statuses = [stack.enos.status_of(pipeline_id) for pipeline_id in maintained]
    assert statuses == ["RUNNING", "STOPPED", "RUNNING"]


def test_maintenance_stops_nothing_where_it_does_not_know_how_to_start(stack, maintained):
    other = stack.enos.add_pipeline(MAINTAINED_ORG, status="RUNNING")

    run = stack.run_example("maintenance_window")
    state = stack.state(run)
    stack.enos.set_status(other, "STOPPED")

    assert state == "failed"
    assert stack.enos.requests_for("stop") == []


# Restart


@pytest.mark.parametrize(("status", "starts"), [("RUN_ERROR", 1), ("PAUSED", 0)])
def test_pipeline_that_has_failed_is_started_again_and_a_paused_one_is_not(stack, status, starts):
    dag_id, pipeline_id = "restart_when_it_fails", WATCHED_PIPELINE
    stack.enos.set_status(pipeline_id, "RUNNING")
    runs, before = len(stack.runs_of(dag_id)), len(stack.accepted_starts(pipeline_id))
    looks = len(stack.enos.requests_for("list", org_id=stack.enos.org_id))
    stack.enos.wait_for_request("list", org_id=stack.enos.org_id, count=looks + 2, timeout=60)

    stack.enos.set_status(pipeline_id, status)

    stack.airflow.wait_until(lambda: len(stack.runs_of(dag_id)) > runs, "a run")
    (run,) = stack.runs_of(dag_id)[runs:]
    assert stack.state(run) == "success"
    assert len(stack.accepted_starts(pipeline_id)) - before == starts
    assert stack.enos.status_of(pipeline_id) == ("RUNNING" if starts else status)


# Backfill


RUNS, ACTIVE = 30, 5


def backfill(stack, behavior):
    """Backfill a month of the daily example and return its runs."""
    stack.airflow.command(
        "backfill",
        "create",
        *("--dag-id", "start_every_day"),
        *("--from-date", "2026-02-01", "--to-date", "2026-03-02"),
        *("--max-active-runs", str(ACTIVE)),
        *("--reprocess-behavior", behavior),
    )
    runs = [run for run in stack.runs_of("start_every_day") if "backfill" in run.run_id]
    for run in runs:
        assert stack.airflow.wait_for_run(run.dag_id, run.run_id, 600) == "success"
    return runs


def backfills_are_over(stack):
    found = stack.airflow.api("GET", "/backfills?dag_id=start_every_day")["backfills"]
    return all(one["completed_at"] for one in found)


def test_backfill_of_a_month_starts_the_pipeline_once(stack):
    """And once more: Airflow clears its runs and has them run again."""
    for run in stack.runs_of("start_every_day"):  # today's
        stack.state(run)
    stack.enos.set_status(DAILY_PIPELINE, "STOPPED")
    before = len(stack.accepted_starts(DAILY_PIPELINE))

    runs = backfill(stack, "none")

    assert [tries(stack, run) for run in runs] == [{1}] * RUNS
    found = sorted(outcomes(stack, run)["start", -1] for run in runs)
    assert found == ["already_running"] * (RUNS - 1) + ["started"]
    assert len(stack.accepted_starts(DAILY_PIPELINE)) == before + 1

    stack.airflow.wait_until(lambda: backfills_are_over(stack), "the backfill's end")
    again = backfill(stack, "completed")

    assert [run.run_id for run in again] == [run.run_id for run in runs]
    assert [tries(stack, run) for run in again] == [{2}] * RUNS
    assert {outcomes(stack, run)["start", -1] for run in again} == {"already_running"}
    assert len(stack.accepted_starts(DAILY_PIPELINE)) == before + 1
