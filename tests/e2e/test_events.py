"""Events in a real Airflow: of pipelines that are watched, and of those that tasks have changed."""

from urllib.parse import urlsplit

import pytest

from airflow_provider_enos.assets import PIPELINES, create_asset
from tests.e2e.conftest import WATCHED_ORG, WATCHED_PIPELINES

POLL_INTERVAL_SECONDS = 2
DIES, STAYS, CHANGED = WATCHED_PIPELINES
DAGS = ("e2e_left_running_0", "e2e_left_running_1")


def looks(stack):
    return stack.enos.requests_for("list", org_id=WATCHED_ORG)


def wait_for_looks(stack, count):
    """Wait until the watchers have listed the pipelines so many times more."""
    stack.enos.wait_for_request(
        "list", org_id=WATCHED_ORG, count=len(looks(stack)) + count, timeout=90
    )


def wait_for_runs(stack, dag_id, count):
    stack.airflow.wait_until(lambda: len(stack.runs_of(dag_id)) >= count, f"{count} runs")
    run = stack.runs_of(dag_id)[-1]
    assert stack.state(run) == "success"
    return stack.result(run)


@pytest.fixture
def watched(stack):
    """Two pipelines that the watchers have seen running."""
    for pipeline_id in (DIES, STAYS):
        stack.enos.set_status(pipeline_id, "RUNNING")
    wait_for_looks(stack, 3)
    return {dag_id: len(stack.runs_of(dag_id)) for dag_id in DAGS}


def events_of(stack, name, run=None):
    """The events of an asset, oldest first; all, or those of one run's tasks."""
    (asset,) = stack.airflow.api("GET", "/assets", params={"name_pattern": name})["assets"]
    which = {"asset_id": asset["id"], "order_by": "timestamp"}
    if run is not None:
        which |= {"source_dag_id": run.dag_id, "source_run_id": run.run_id}
    return stack.airflow.api("GET", "/assets/events", params=which)["asset_events"]


def change(before, after):
    return {
        "pipeline_id": DIES,
        "org_id": WATCHED_ORG,
        "previous_status": before,
        "status": after,
    }


def test_pipeline_that_dies_starts_a_run_once(stack, watched):
    stack.enos.set_status(DIES, "RUN_ERROR")
    wait_for_looks(stack, 2)  # two intervals

    (told,) = wait_for_runs(stack, DAGS[0], watched[DAGS[0]] + 1)
    assert told.pop("seen_at")
    assert told == change("RUNNING", "RUN_ERROR")
    wait_for_looks(stack, 3)
    assert [len(stack.runs_of(dag_id)) - watched[dag_id] for dag_id in DAGS] == [1, 0]


def test_all_watchers_of_an_organization_share_one_listing(stack, watched):
    wait_for_looks(stack, 3)
    last = looks(stack)[-5:]

    assert last[-1].time - last[0].time >= 4 * POLL_INTERVAL_SECONDS * 0.9


def test_no_event_is_lost_or_doubled_when_the_triggerer_dies(stack, watched):
    """It dies twice: before it could see the pipeline die, and after it has told of it."""
    stack.airflow.kill("triggerer")
    stack.enos.set_status(DIES, "STOPPED")
    stack.airflow.start_component("triggerer")

    (told,) = wait_for_runs(stack, DAGS[0], watched[DAGS[0]] + 1)
    assert told["status"] == "STOPPED"

    wait_for_looks(stack, 2)
    stack.airflow.kill("triggerer")
    stack.airflow.start_component("triggerer")
    wait_for_looks(stack, 3)
    assert [len(stack.runs_of(dag_id)) - watched[dag_id] for dag_id in DAGS] == [1, 0]


def test_what_tasks_have_changed_is_told(stack):
    """A start, the same again, which changes nothing, and a stop; in each way."""
    ways = {"sync": "sync", "deferrable": "deferrable", "from_trigger": "deferrable"}
    starts = {way: stack.run(f"e2e_start_{way}") for way in ways}

    def run_again(dag_of):
        """Run a DAG for each of the pipelines, to its end."""
        runs = {
            way: stack.run(dag_of(way), org_id=run.org_id, pipeline_id=run.pipeline_id)
            for way, run in starts.items()
        }
        assert [stack.state(run) for run in runs.values()] == ["success"] * len(ways)
        return runs

    assert [stack.state(run) for run in starts.values()] == ["success"] * len(ways)
    repeated = run_again(lambda way: f"e2e_start_{way}")
    stops = run_again(lambda way: f"e2e_stop_{ways[way]}")

    for way, run in starts.items():
        (started,) = events_of(stack, PIPELINES.name, run)
        (stopped,) = events_of(stack, PIPELINES.name, stops[way])
        assert started["source_task_id"] == "start"
        assert started["extra"] == stack.result(run)
        assert stopped["extra"] == stack.result(stops[way])
        assert [one["extra"]["outcome"] for one in (started, stopped)] == ["started", "stopped"]
        assert events_of(stack, PIPELINES.name, repeated[way]) == []


def test_dag_that_waits_for_a_pipelines_asset_runs_when_a_task_has_changed_it(stack):
    """Whatever name the DAG has given to the asset, and whatever the pipeline's ID is made of."""
    stack.enos.add_pipeline(WATCHED_ORG, "管道-1")
    own = [
        create_asset(
            host=urlsplit(stack.enos.url).netloc, org_id=WATCHED_ORG, pipeline_id=pipeline_id
        )
        for pipeline_id in (CHANGED, "管道-1")
    ]

    for number, (pipeline_id, name) in enumerate(
        [(CHANGED, "e2e_changed"), ("管道-1", own[1].name)], start=1
    ):
        run = stack.run("e2e_change", org_id=WATCHED_ORG, pipeline_id=pipeline_id)

        assert stack.state(run) == "success", stack.log(run)
        told = wait_for_runs(stack, "e2e_after_change", number)
        assert told == [[pipeline_id, "started"]]
        (event,) = events_of(stack, name)
        assert event["uri"] == own[number - 1].uri
        assert event["source_run_id"] == run.run_id
