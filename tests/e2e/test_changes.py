"""Stopping and pausing in a real Airflow, on workers and in the triggerer."""

import pytest

from airflow_provider_enos.emulator.faults import LoseAnswer

TARGETS = {"stop": "STOPPED", "pause": "PAUSED"}


@pytest.mark.parametrize("verb", TARGETS)
def test_pipelines_are_stopped_and_paused(stack, verb):
    target = TARGETS[verb]
    runs = {}
    for way in ("sync", "deferrable"):
        for status in ("RUNNING", "lost answer", target, "PUBLISHED"):
            org_id = stack.new_organization()
            shown = "RUNNING" if status == "lost answer" else status
            pipeline_id = stack.enos.add_pipeline(org_id, status=shown)
            if status == "lost answer":
                stack.enos.faults.append(LoseAnswer(on=verb, pipeline_id=pipeline_id))
            runs[way, status] = stack.run(
                f"e2e_{verb}_{way}",
                org_id=org_id,
                pipeline_id=pipeline_id,
                if_not_running="succeed" if status == target else "fail",
            )

    for (_, status), run in runs.items():
        state, task = stack.state(run), stack.task(run)
        requests = stack.enos.requests_for(verb, run.pipeline_id)
        effective = [request.effective for request in requests].count(True)
        if status == "PUBLISHED":
            assert (state, task["try_number"], effective) == ("failed", 1, 0)
            assert "is PUBLISHED, there is nothing to" in stack.log(run)
            continue
        outcome = f"already_{target.lower()}" if status == target else target.lower()
        assert (state, task["try_number"]) == ("success", 1), stack.log(run)
        assert effective == (0 if status == target else 1)
        assert stack.enos.status_of(run.pipeline_id) == target
        assert stack.result(run)["outcome"] == outcome
