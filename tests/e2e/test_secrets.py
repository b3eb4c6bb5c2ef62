"""
After all the other tests, with everything logged at DEBUG: is anything secret anywhere?

Searched is every file below Airflow's home: logs of tasks and components and the lock files; a dump of
the database (XComs, rendered fields, trigger arguments, asset events, audit log); what the REST API
shows; and what was sent to StatsD and OpenLineage.
"""

import json
import os
import re
import subprocess

from demo.postgres import find_program
from tests.e2e.conftest import PLANTED_SECRET

#: As they stand in a header or in a JSON body.
HASHES = re.compile(rb"(?i)(?:apim-signature|encryption)\W{1,6}[0-9a-f]{64}")

DUMP = "database.sql"


def places_of(secrets, stack):
    """Return the files that hold one of these, or a signature."""
    found, home = {}, stack.airflow.home
    database = stack.database.replace("+psycopg2", "")
    # Bytes as text, where they are.
    environment = {**os.environ, "PGOPTIONS": "-c bytea_output=escape"}
    dump = [find_program("pg_dump"), "--dbname", database, "--file", home / DUMP]
    subprocess.run(dump, check=True, env=environment)
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            named = [secret for secret in secrets if secret.encode() in content]
            if named or HASHES.search(content):
                found[path.relative_to(home).as_posix()] = named or ["a signature"]
    return found


def shown_by_rest(stack):
    """Return what the REST API shows of all task instances."""
    airflow = stack.airflow
    base = "/dags/~/dagRuns/~/taskInstances"
    tasks = airflow.api("GET", f"{base}?limit=1000")["task_instances"]
    texts = [json.dumps(tasks), json.dumps(airflow.api("GET", "/eventLogs?limit=1000"))]
    for task in tasks:
        path = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances"
        if task["map_index"] < 0:
            texts.append(json.dumps(airflow.api("GET", f"{path}/{task['task_id']}/xcomEntries")))
    texts.append(json.dumps(airflow.api("GET", "/assets/events?limit=1000")))
    return "\n".join(texts)


def test_no_secret_is_anywhere(stack):
    for dag_id in ("e2e_start_sync", "e2e_start_deferrable", "e2e_start_from_trigger"):
        assert stack.state(stack.run(dag_id)) == "success"
    tokens = list(stack.enos._gate._tokens)
    secrets = [stack.enos.secret_key, *tokens]

    assert places_of(secrets, stack) == {}
    shown = shown_by_rest(stack)
    assert [secret for secret in secrets if secret in shown] == []
    assert tokens
    assert "enos_start" in shown
    observed = "\n".join(stack.statsd.lines) + stack.lineage.read_text()
    assert [secret for secret in secrets if secret in observed] == []
    assert "enos.start.started" in observed


def test_search_finds_a_secret_that_a_task_has_said(stack):
    run_id = stack.airflow.trigger("e2e_leak")
    assert stack.airflow.wait_for_run("e2e_leak", run_id) == "success"

    found = places_of([PLANTED_SECRET], stack)

    assert any("dag_id=e2e_leak" in path for path in found), found
    assert DUMP in found
