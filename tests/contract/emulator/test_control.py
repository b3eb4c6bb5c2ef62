"""The control API, the command line and the fixtures: what other processes use."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
import requests

from airflow_provider_enos.emulator.__main__ import main


def test_health(enos, client):
    assert client.control("GET", "/health").json() == {
        "status": "ok",
        "organizations": [enos.org_id],
    }


def test_requests_by_operation_pipeline_and_number(enos, client):
    first, second, _ = enos.pipeline_ids
    client.start(first)
    client.start(second)

    def numbers(**query):
        return [row["number"] for row in client.control("GET", "/requests", **query).json()]

    assert numbers() == [1, 2, 3]
    assert numbers(operation="start") == [2, 3]
    assert numbers(pipeline_id=second) == [3]
    assert numbers(since=2) == [3]
    row = client.control("GET", "/requests", since=2).json()[0]
    assert (row["operation"], row["code"], row["effective"]) == ("start", 0, True)
    assert client.control("DELETE", "/requests").status_code == 200
    assert enos.requests == []


def test_pipelines(enos, client):
    added = client.control("POST", "/pipelines", {"name": "mine", "status": "STOPPED"}).json()
    rows = client.control("GET", "/pipelines").json()
    assert [row["pipeline_id"] for row in rows] == enos.pipeline_ids
    assert rows[3]["pipeline_id"] == added["pipeline_id"]
    path = f"/pipelines/{added['pipeline_id']}"

    assert client.control("PUT", f"{path}/status", {"status": "PAUSED"}).status_code == 200
    client.control("PUT", f"{path}/lag", {"lag": 9})
    client.control("PUT", f"{path}/start_outcome", {"status": "START_ERROR"})

    row = client.control("GET", path).json()
    assert (row["status"], row["lag"], row["start_outcome"]) == ("PAUSED", 9, "START_ERROR")
    assert [status for _, status in row["history"]] == ["STOPPED", "PAUSED"]


def test_transition_is_finished(enos, client):
    pipeline_id = enos.pipeline_ids[0]
    client.control("PATCH", "/settings", {"start_seconds": None})
    client.start(pipeline_id)
    assert enos.status_of(pipeline_id) == "STARTING"
    path = f"/pipelines/{pipeline_id}/transition"

    assert client.control("DELETE", path).status_code == 200

    assert enos.status_of(pipeline_id) == "RUNNING"
    assert client.control("DELETE", path).status_code == 400


def test_organizations_quotas_and_lock(enos, client):
    client.control("POST", "/organizations", {"org_id": "o2", "pipelines": 2})
    [first, second] = [row["pipeline_id"] for row in enos_rows(client, "o2")]
    client.org_id = "o2"

    client.control("PUT", "/organizations/o2/quota", {"standalone": None})
    assert client.start(first).json()["code"] == 61128
    client.control("PUT", "/organizations/o2/quota", {"standalone": 1})
    assert client.start(first).json()["code"] == 0
    assert client.start(second).json()["code"] == 61126
    client.control("POST", "/lock", {"seconds": 60, "org_id": "o2"})
    assert client.start(second).json()["code"] == 61121
    client.control("DELETE", "/lock", {"org_id": "o2"})
    assert client.start(second).json()["code"] == 61126


def enos_rows(client, org_id):
    return client.control("GET", "/pipelines", org_id=org_id).json()


def test_faults(enos, client):
    body = {"fault": "Code", "on": "list", "code": 61115}
    assert client.control("POST", "/faults", body).status_code == 200
    assert client.control("GET", "/faults").json() == [
        {**body, "pipeline_id": None, "times": 1, "skip": 0, "msg": None}
    ]
    assert client.get("/pipelines").json()["code"] == 61115
    client.control("POST", "/faults", body)
    client.control("DELETE", "/faults")
    assert client.get("/pipelines").json()["code"] == 0


def test_settings(enos, client):
    assert client.control("GET", "/settings").json()["start_seconds"] == 0

    changed = client.control("PATCH", "/settings", {"start_seconds": 7, "lock_seconds": None})

    assert changed.json()["start_seconds"] == 7
    assert enos.settings.start_seconds == 7
    enos.settings.lock_seconds = lambda: 1.0
    assert client.control("GET", "/settings").json()["lock_seconds"] == "function"


def test_tokens_are_revoked(client):
    client.get("/pipelines")

    client.control("DELETE", "/tokens")

    assert client.get("/pipelines").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/pipelines/x", None, 404, "no pipeline 'x'"),
        ("PUT", "/pipelines/x/status", {"status": "RUNNING"}, 404, "no pipeline 'x'"),
        ("POST", "/pipelines", {"nam": "x"}, 400, "unexpected keyword argument 'nam'"),
        ("POST", "/pipelines", [1], 400, "not a mapping"),
        ("POST", "/faults", {"fault": "Loose"}, 400, "no fault 'Loose'"),
        ("POST", "/faults", {"fault": "Slow"}, 400, "missing 1 required positional"),
        ("POST", "/lock", {"seconds": 1, "org_id": "x"}, 404, "not found: x"),
        ("PATCH", "/settings", {"strat": 1}, 400, "no setting 'strat'"),
        ("PATCH", "/settings", {"start_seconds": -1}, 400, "does not fit"),
    ],
)
def test_wrong_control_requests_say_what_is_wrong(client, method, path, body, status, error):
    answer = client.control(method, path, body)

    assert answer.status_code == status
    assert error in answer.json()["error"]


def test_control_api_is_not_in_the_log(enos, client):
    client.control("GET", "/health")
    client.control("GET", "/nowhere")

    assert enos.requests == []


# Command line


@contextlib.contextmanager
def command(*options):
    """Run the command line, and give the process, its address and its first two lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_enos.emulator", *map(str, options)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
        yield process, lines[0].split(" (")[0].removeprefix("EnOS emulator on "), lines
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_line_says_where_it_is_and_ends_cleanly(number):
    with command("--org", "o1", "--org", "o2", "--pipelines", 3) as (process, url, lines):
        assert lines[0] == f"EnOS emulator on {url} (2 organizations, 6 pipelines)\n"
        assert requests.get(f"{url}/_emulator/health", timeout=10).json()["status"] == "ok"
        text = lines[1].removeprefix("export AIRFLOW_CONN_ENOS_DEFAULT='").removesuffix("'\n")
        assert json.loads(text)["host"] == url

        process.send_signal(number)

        assert process.wait(10) == 0


def test_command_line_goes_on_from_its_file_after_a_kill(tmp_path, enos, make_client):
    """The start under way and the lock are still there, and so are keys given as options."""
    options = ["--state", tmp_path / "enos.json", "--start-seconds", "none", "--pipelines", 2]
    options += ["--access-key", "key", "--secret-key", "secret"]
    first, second = enos.pipeline_ids[:2]
    with command(*options) as (process, url, _):
        assert make_client(enos, "key", "secret", url).start(first).json()["code"] == 0
        process.kill()

    with command(*options) as (_, url, lines):
        assert lines[0].endswith("(1 organization, 2 pipelines)\n")
        client = make_client(enos, "key", "secret", url)
        assert client.start(second).json()["code"] == 61121
        assert client.start(first).json()["msg"].endswith("[STARTING] cannot be started.")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines"),
        (["--port", "70000"], "argument --port: 70000 is not between 0 and 65535"),
        (["--pipelines", "-1"], "argument --pipelines: -1 is negative"),
        (["--start-seconds", "inf"], "argument --start-seconds: inf is not a time in seconds"),
        (["--start-seconds", "None"], "argument --start-seconds: invalid"),
        (["--lock-seconds", "x"], "argument --lock-seconds: invalid"),
        (["--org", ""], "has no id"),
        (["--state", "/dev/null/x"], "Not a directory"),
    ],
)
def test_wrong_options(options, error, capsys):
    # Options that are accepted after all would serve until a signal comes.
    signal_of_failure = threading.Timer(10, os.kill, [os.getpid(), signal.SIGINT])
    signal_of_failure.start()
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, options)))
    signal_of_failure.cancel()

    assert ended.value.code == 2
    assert error in capsys.readouterr().err


def test_port_that_is_taken(enos):
    with command("--port", enos.url.rpartition(":")[2]) as (process, _, lines):
        assert lines == ["", ""]
        assert process.wait(10) == 2


# Fixtures

PLUGIN_TEST = """
import json, os
pytest_plugins = ["airflow_provider_enos.emulator.pytest_plugin"]

def test_connection(enos_connection, enos_emulator):
    assert enos_connection is enos_emulator
    assert json.loads(os.environ["AIRFLOW_CONN_ENOS_DEFAULT"]) == enos_emulator.connection
    assert len(enos_emulator.pipeline_ids) == 3
"""


def test_fixtures_of_the_pytest_plugin(tmp_path):
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )

    assert "1 passed" in run.stdout, run.stdout + run.stderr
