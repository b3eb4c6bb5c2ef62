"""What a real Airflow sends to a StatsD server and tells OpenLineage."""

import json
from collections import Counter

import pytest
from openlineage.client import event_v2


@pytest.fixture(scope="module")
def with_openlineage(stack):
    """Tasks run with OpenLineage's listener: they have the settings of the scheduler."""
    stack.airflow.stop("scheduler")
    stack.airflow.start_component(
        "scheduler", environment={"AIRFLOW__OPENLINEAGE__DISABLED": "False"}
    )
    yield
    stack.airflow.stop("scheduler")
    stack.airflow.start_component("scheduler")


@pytest.fixture(scope="module")
def run(stack, with_openlineage):
    """A start that had to wait for another one, a look at the lag, and a stop."""
    org_id = stack.new_organization()
    stack.enos.hold_start_lock(600, org_id)
    run = stack.run("e2e_observed", org_id=org_id)
    stack.enos.wait_for_request("start", org_id=org_id, timeout=60)
    stack.enos.release_start_lock(org_id)
    assert stack.state(run) == "success"
    return run


def test_statsd_server_is_told_of_requests_and_tasks(stack, run):
    stack.statsd.wait_for(f"enos.stop.stopped,org_id={run.org_id}:")
    counted, timed = Counter(), Counter()
    for line in stack.statsd.lines:
        name, _, value = line.partition(":")
        if name.endswith(f",org_id={run.org_id}") and name.startswith("airflow.enos."):
            number, kind = value.split("|")[:2]
            name = name.removeprefix("airflow.enos.").split(",")[0]
            (counted if kind == "c" else timed)[name] += float(number)

    (start,) = [t for t in stack.tasks(run) if t["task_id"] == "start"]
    result = stack.airflow.result(run.dag_id, run.run_id, "start")
    requests = Counter(r.operation for r in stack.enos.requests_for(org_id=run.org_id))
    assert counted == {
        "start.started": 1,
        "start.conflicts": result["conflicts"],
        "stop.stopped": 1,
        "requests.start_pipeline": requests["start"],
        "requests.stop_pipeline": requests["stop"],
        "requests.list_pipelines": requests["list"],
        # One more is OpenLineage's, for the topic of the start.
        "requests.get_pipeline_offset_lag": requests["offset_lag"] - 1,
    }
    assert start["try_number"] == 1
    assert result["conflicts"] >= 1
    assert timed["start.wait"] == pytest.approx(result["waited_seconds"] * 1000, abs=1)
    assert set(timed) == {
        "start.wait",
        "stop.wait",
        *(f"{name}.duration" for name in counted if name.startswith("requests.")),
    }


def test_token_requests_are_counted(stack, run):
    assert any(line.startswith("airflow.enos.requests.get_token:") for line in stack.statsd.lines)


def test_openlineage_is_told_of_pipeline_and_topic(stack, run):
    def complete():
        events = [json.loads(line) for line in stack.lineage.read_text().splitlines()]
        return {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}

    names = {task: f"e2e_observed.{task}" for task in ("start", "lag", "stop")}
    stack.airflow.wait_until(lambda: names["stop"] in complete(), "OpenLineage events")
    gateway = stack.enos.url.removeprefix("http://")

    for task, name in names.items():
        event = complete()[name]
        result = stack.airflow.result(run.dag_id, run.run_id, task)
        facet = event["run"]["facets"]["enos_pipeline"]
        assert {key: facet[key] for key in ("gateway", "orgId", "pipelineId")} == {
            "gateway": gateway,
            "orgId": run.org_id,
            "pipelineId": run.pipeline_id,
        }
        assert facet.get("outcome") == result.get("outcome")
        assert [(one["namespace"], one["name"]) for one in event["outputs"]] == [
            (f"enos://{gateway}", f"{run.org_id}/{run.pipeline_id}")
        ]
        topic = (f"kafka://{gateway}", f"MEASURE_POINT_INTERNAL_{run.org_id}")
        inputs = [(one["namespace"], one["name"]) for one in event["inputs"]]
        assert inputs == ([] if task == "stop" else [topic])
        # The client's own classes take the event as it is.
        event_v2.RunEvent(
            eventType=event_v2.RunState[event["eventType"]],
            eventTime=event["eventTime"],
            run=event_v2.Run(event["run"]["runId"]),
            job=event_v2.Job(event["job"]["namespace"], event["job"]["name"]),
        )
