"""Stopping, pausing, releasing and resetting in a real Airflow, on workers and in the triggerer."""

import pytest

from airflow_provider_enos.emulator.faults import LoseAnswer


def changed(outcome, status, effective=1):
    return {"state": "success", "outcome": outcome, "status": status, "effective": effective}


def refused(says):
    return {"state": "failed", "says": says, "effective": 0}


#: What is done -> the status before -> what comes of it.
CASES = {
    "stop": {
        "RUNNING": changed("stopped", "STOPPED"),
        "RUNNING, lost answer": changed("stopped", "STOPPED"),
        "STOPPED": changed("already_stopped", "STOPPED", 0),
        "STOPPED, lost answer": changed("already_stopped", "STOPPED", 0),
        "PUBLISHED": refused("is PUBLISHED, there is nothing to stop"),
    },
    "pause": {
        "RUNNING": changed("paused", "PAUSED"),
        "RUNNING, lost answer": changed("paused", "PAUSED"),
        "PAUSED": changed("already_paused", "PAUSED", 0),
        "PUBLISHED": refused("is PUBLISHED, there is nothing to pause"),
    },
    "release": {
        "STOPPED": changed("released", "PUBLISHED"),
        "PAUSED, lost answer": changed("released", "PUBLISHED"),
        "PUBLISHED": changed("already_released", "PUBLISHED", 0),
        "RUNNING": refused("is RUNNING, and EnOS releases only"),
    },
    "reset_offset": {
        "STOPPED": changed("reset", "STOPPED"),
        "PAUSED, lost answer": changed("reset", "PAUSED", 2),  # which does no harm
        "RUNNING": refused("is RUNNING, and EnOS resets the offset only"),
    },
}


@pytest.mark.parametrize("way", ["sync", "deferrable"])
@pytest.mark.parametrize("verb", CASES)
def test_pipelines_are_changed(stack, verb, way):
    runs = {}
    for case, expected in CASES[verb].items():
        status, is_lost = case.split(",")[0], "lost" in case
        org_id = stack.new_organization()
        pipeline_id = stack.enos.add_pipeline(org_id, status=status)
        if is_lost:
            stack.enos.faults.append(LoseAnswer(on=verb, pipeline_id=pipeline_id))
        is_fine = expected["state"] == "success" and not expected["effective"]
        runs[case] = stack.run(
            f"e2e_{verb}_{way}",
            org_id=org_id,
            pipeline_id=pipeline_id,
            policy="succeed" if is_fine else "fail",
        )

    for case, run in runs.items():
        expected = CASES[verb][case]
        state, task, log = stack.state(run), stack.task(run), stack.log(run)
        requests = stack.enos.requests_for(verb, run.pipeline_id)
        effective = [request.effective for request in requests].count(True)
        assert (state, effective) == (expected["state"], expected["effective"]), log
        assert task["try_number"] == 1
        if state == "failed":
            assert expected["says"] in log
            continue
        assert stack.enos.status_of(run.pipeline_id) == expected["status"]
        assert stack.result(run)["outcome"] == expected["outcome"]
