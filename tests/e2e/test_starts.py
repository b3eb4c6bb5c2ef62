"""Starts in a real Airflow: every way, every refusal, and other people's starts."""

import pytest

from airflow_provider_enos.emulator.faults import Code, LoseAnswer

WAYS = ["sync", "deferrable", "from_trigger"]


def test_every_way_starts_the_pipeline_once(stack):
    runs = {way: stack.run(f"e2e_start_{way}") for way in WAYS}

    for way, run in runs.items():
        assert stack.state(run) == "success", stack.log(run)
        assert len(stack.accepted_starts(run.pipeline_id)) == 1, way
        result = stack.result(run)
        assert result.pop("waited_seconds") > 0
        assert result == {
            "pipeline_id": run.pipeline_id,
            "org_id": run.org_id,
            "outcome": "started",
            "status": "RUNNING",
            "attempts": 1,
            "conflicts": 0,
        }


def test_console_button_works_while_the_task_waits(stack):
    stack.enos.settings.start_seconds = 30
    try:
        runs = [stack.run(f"e2e_start_{way}") for way in WAYS]
        for run in runs:
            stack.enos.wait_for_request("start", run.pipeline_id, timeout=60)
        for run in runs:
            key = "_link_PipelineConsoleLink"
            link = stack.airflow.xcom(run.dag_id, run.run_id, "start", key)
            assert link == (f"https://console.example.com/{run.org_id}/pipelines/{run.pipeline_id}")
            assert stack.task(run)["state"] in ("running", "deferred")
        for run in runs:
            stack.enos.set_status(run.pipeline_id, "RUNNING")
        assert [stack.state(run) for run in runs] == ["success"] * 3
    finally:
        stack.enos.settings.start_seconds = 1


def test_lost_answer_is_settled_by_reading(stack):
    runs = []
    for way in WAYS:
        org_id = stack.new_organization()
        pipeline_id = stack.enos.add_pipeline(org_id)
        stack.enos.faults.append(LoseAnswer(on="start", pipeline_id=pipeline_id))
        runs.append(stack.run(f"e2e_start_{way}", org_id=org_id, pipeline_id=pipeline_id))

    for run in runs:
        assert stack.state(run) == "success", stack.log(run)
        assert len(stack.accepted_starts(run.pipeline_id)) == 1
        assert stack.result(run)["outcome"] == "adopted"


def test_stranger_is_waited_out_within_one_try_and_the_log_shows_it(stack):
    runs = []
    for way in WAYS:
        org_id = stack.new_organization()
        stack.enos.hold_start_lock(600, org_id)
        runs.append(stack.run(f"e2e_start_{way}", org_id=org_id))
    for run in runs:
        stack.enos.wait_for_request("start", run.pipeline_id, timeout=60)
        stack.enos.release_start_lock(run.org_id)
        stack.enos.hold_start_lock(15, run.org_id)

    for run in runs:
        assert stack.state(run) == "success", stack.log(run)
        assert stack.task(run)["try_number"] == 1
        assert stack.result(run)["conflicts"] >= 1
        log = stack.log(run)
        assert "EnOS code 61121" in log
        assert "waits: refusal 1, for 0 s now; asked again in" in log
        assert "EnOS accepted the start" in log


REFUSALS = {
    61100: "Check execution_mode, kafka_rate and resource_config",
    61108: "Check the pipeline ID and the organization ID",
    61126: "ask for less in resource_config",
    61128: "Request the resource for this execution_mode",
    61165: "a start needs PUBLISHED, PAUSED or STOPPED",
}
TRIES = {61100: 1, 61108: 1, 61126: 3, 61128: 1, 61165: 1}


def refused(stack, code, way):
    """Start a pipeline in a way that EnOS refuses with this code."""
    quota = {61126: {"standalone": 0.5}, 61128: {"standalone": None}}.get(code, {})
    org_id = stack.new_organization(**quota)
    if code == 61108:
        pipeline_id = f"no-such-pipeline-{way}"
    else:
        pipeline_id = stack.enos.add_pipeline(org_id, released=code != 61165)
    if code == 61100:
        stack.enos.faults.append(Code(61100, on="start", pipeline_id=pipeline_id))
    return stack.run(f"e2e_start_{way}", org_id=org_id, pipeline_id=pipeline_id)


def test_refusal_says_what_to_do_and_permanent_ones_use_one_try(stack):
    runs = {(code, way): refused(stack, code, way) for code in REFUSALS for way in WAYS}

    for (code, way), run in runs.items():
        assert stack.state(run) == "failed", (code, way)
        task = stack.task(run)
        assert task["try_number"] == TRIES[code], (code, way)
        log = stack.log(run, task["try_number"])
        assert f"EnOS code {code}" in log, (code, way)
        assert f"pipeline {run.pipeline_id} of organization {run.org_id}" in log, (code, way)
        assert REFUSALS[code] in log, (code, way)


def test_start_that_stops_again_at_once_is_noticed_and_explained(stack):
    """Each try takes a look before its start, and two looks after it at the most."""
    stack.enos.settings.start_seconds = 0.001
    try:
        runs = []
        for way in WAYS:
            org_id = stack.new_organization()
            pipeline_id = stack.enos.add_pipeline(org_id)
            stack.enos.set_start_outcome(pipeline_id, "STOPPED")
            runs.append(stack.run(f"e2e_start_{way}", org_id=org_id, pipeline_id=pipeline_id))
        for run in runs:
            assert stack.state(run) == "failed"
    finally:
        stack.enos.settings.start_seconds = 1

    for run in runs:
        tries = stack.task(run)["try_number"]
        assert (tries, len(stack.accepted_starts(run.pipeline_id))) == (3, 3)
        assert len(stack.enos.requests_for("list", org_id=run.org_id)) <= 3 * tries
        for try_number in range(1, tries + 1):
            assert "stopped again before it was running" in stack.log(run, try_number)


#: The run's state, the starts and the stops that come of it.
RUNNING_IS_MET = {
    "succeed": ("success", 0, 0),
    "fail": ("failed", 0, 0),
    "restart": ("success", 1, 1),
}


def test_running_pipeline_is_met_as_told(stack):
    runs = {}
    for if_running in RUNNING_IS_MET:
        for way in ("sync", "deferrable"):
            org_id = stack.new_organization()
            pipeline_id = stack.enos.add_pipeline(org_id, status="RUNNING")
            runs[if_running, way] = stack.run(
                f"e2e_start_{way}",
                org_id=org_id,
                pipeline_id=pipeline_id,
                if_running=if_running,
            )

    for (if_running, _), run in runs.items():
        state, starts, stops = RUNNING_IS_MET[if_running]
        assert stack.state(run) == state, stack.log(run)
        assert len(stack.accepted_starts(run.pipeline_id)) == starts
        assert len(stack.enos.requests_for("stop", run.pipeline_id)) == stops
        assert stack.enos.status_of(run.pipeline_id) == "RUNNING"


@pytest.mark.parametrize("mode", ["sync", "deferrable"])
def test_ending_the_task_stops_the_pipeline_that_it_started(stack, mode):
    stack.enos.settings.start_seconds = 120
    try:
        run = stack.run(f"e2e_start_stop_on_kill_{mode}")
        stack.enos.wait_for_request("start", run.pipeline_id, timeout=60)

        stack.airflow.end_task(run.dag_id, run.run_id, "start", "failed")
        stack.enos.wait_for_request("stop", run.pipeline_id, timeout=60)
        stack.enos.set_status(run.pipeline_id, "RUNNING")

        stack.wait_for_effect("stop", run.pipeline_id)
        assert stack.state(run) == "failed"
        assert len(stack.enos.requests_for("start", run.pipeline_id)) == 1
    finally:
        stack.enos.settings.start_seconds = 1
