"""The sensors in a real Airflow, in their three modes."""

MODES = ("poke", "reschedule", "deferrable")


def test_sensor_succeeds_in_each_mode_when_the_status_comes(stack):
    runs = [stack.run(f"e2e_sensor_{mode}") for mode in MODES]
    for run in runs:
        stack.enos.wait_for_request("list", org_id=run.org_id, timeout=60)

    for run in runs:
        stack.enos.set_status(run.pipeline_id, "RUNNING")

    for run in runs:
        assert stack.state(run) == "success", stack.log(run)
        assert stack.result(run) == {
            "pipeline_id": run.pipeline_id,
            "org_id": run.org_id,
            "status": "RUNNING",
        }


def test_failing_status_ends_the_sensor_early_in_each_mode(stack):
    runs = []
    for mode in MODES:
        org_id = stack.new_organization()
        pipeline_id = stack.enos.add_pipeline(org_id)
        stack.enos.set_status(pipeline_id, "RUN_ERROR")
        runs.append(stack.run(f"e2e_sensor_{mode}", org_id=org_id, pipeline_id=pipeline_id))

    for run in runs:
        assert stack.state(run) == "failed"
        assert f"pipeline {run.pipeline_id} is RUN_ERROR, awaited was RUNNING" in stack.log(run)


def test_lag_sensor_succeeds_in_each_mode_when_the_pipeline_has_caught_up(stack):
    """After three measurements in a row, which in reschedule mode are those of three processes."""
    runs = []
    for mode in MODES:
        org_id = stack.new_organization()
        pipeline_id = stack.enos.add_pipeline(org_id, status="RUNNING")
        stack.enos.set_lag(pipeline_id, 101)
        runs.append(stack.run(f"e2e_lag_sensor_{mode}", org_id=org_id, pipeline_id=pipeline_id))
    for run in runs:
        stack.enos.wait_for_request("offset_lag", org_id=run.org_id, timeout=60)

    for run in runs:
        stack.enos.set_lag(run.pipeline_id, 7)

    for run in runs:
        assert stack.state(run) == "success", stack.log(run)
        assert stack.result(run) == {
            "pipeline_id": run.pipeline_id,
            "org_id": run.org_id,
            "lag": 7,
            "topic_name": f"MEASURE_POINT_INTERNAL_{run.org_id}",
        }
        assert len(stack.enos.requests_for("offset_lag", org_id=run.org_id)) >= 4


def test_lag_sensor_fails_early_in_each_mode_when_the_pipeline_has_failed(stack):
    runs = []
    for mode in MODES:
        org_id = stack.new_organization()
        pipeline_id = stack.enos.add_pipeline(org_id, status="RUN_ERROR")
        runs.append(stack.run(f"e2e_lag_sensor_{mode}", org_id=org_id, pipeline_id=pipeline_id))

    for run in runs:
        assert stack.state(run) == "failed"
        assert f"pipeline {run.pipeline_id} is RUN_ERROR, awaited was a lag of" in stack.log(run)
