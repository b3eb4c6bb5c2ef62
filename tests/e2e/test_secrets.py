"""The search for secrets when all tests are over (secret_search.py) looks where it should."""

from tests.e2e.conftest import PLANTED_SECRET
from tests.e2e.secret_search import DUMP, places_of, shown_by_rest


def test_search_sees_what_tasks_have_done(stack):
    for dag_id in ("e2e_start_sync", "e2e_start_deferrable", "e2e_start_from_trigger"):
        assert stack.state(stack.run(dag_id)) == "success"

    assert "enos_start" in shown_by_rest(stack)
    stack.statsd.wait_for("enos.start.started")
    assert stack.enos._gate._tokens


def test_search_finds_a_secret_that_a_task_has_said(stack):
    run_id = stack.airflow.trigger("e2e_leak")
    assert stack.airflow.wait_for_run("e2e_leak", run_id) == "success"

    found = places_of([PLANTED_SECRET], stack)

    assert any("dag_id=e2e_leak" in path for path in found), found
    assert DUMP in found
