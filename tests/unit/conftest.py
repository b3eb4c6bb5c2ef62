"""What Airflow hands to a task, as plain objects; no database, no network."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

CONNECTION = {
    "conn_type": "enos",
    "host": "https://127.0.0.1:9",  # nobody listens there
    "login": "access",
    "password": "the-secret-key",
    "extra": {"org_id": "o1", "console_url": "https://console.invalid/{org_id}/{pipeline_id}"},
}


class StateStore(dict):
    """Airflow's task_state_store: its three methods over a dict."""

    set = dict.__setitem__

    def delete(self, key):
        self.pop(key, None)


class TaskInstance:
    """The few things of a task instance that operators use."""

    start_date = datetime(2026, 1, 1, tzinfo=UTC)

    try_number = 1
    max_tries = 0

    def __init__(self):
        self.xcoms = {}

    def xcom_push(self, key, value):
        self.xcoms[key] = value

    def xcom_pull(self, key):
        return self.xcoms.get(key)


@pytest.fixture
def connection(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", json.dumps(CONNECTION))
    return CONNECTION


@pytest.fixture
def context(connection):
    return {
        "ti": TaskInstance(),
        "dag_run": SimpleNamespace(clear_number=0),
        "task_state_store": StateStore(),
    }
