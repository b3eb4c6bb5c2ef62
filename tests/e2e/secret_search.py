"""
When all tests are over, with everything logged at DEBUG: is anything secret anywhere?

Searched is every file below Airflow's home: logs of tasks and components, the lock files, what
OpenLineage was told, and a dump of the database (XComs, rendered fields, trigger arguments, asset
events, audit log); what the REST API shows; and what was sent to StatsD.
"""

import json
import os
import re
import subprocess

from demo.postgres import find_program

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


def check_that_nothing_secret_is_shown(stack):
    secrets = [stack.enos.secret_key, *stack.enos._gate._tokens]

    assert places_of(secrets, stack) == {}
    shown = shown_by_rest(stack) + "\n".join(stack.statsd.lines)
    assert [secret for secret in secrets if secret in shown] == []
