"""A real Airflow on this machine: scheduler, DAG processor, triggerer and API server."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import requests
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")

#: Slow machines need time, but a component that died is noticed at once.
START_TIMEOUT_SECONDS = 180.0
STOP_TIMEOUT_SECONDS = 20.0
#: More than SQLite may wait for another writer.
REQUEST_TIMEOUT_SECONDS = 90.0
#: What Airflow answers where SQLite lets only one of two writers through; nothing was written then.
DATABASE_WAS_BUSY = '"reason":"Database error"'

Report = Callable[[str], None]


class AirflowDidNotStartError(Exception):
    """A component ended, or Airflow was not healthy in time; the message has the log's end."""


class DatabaseBusyError(RuntimeError):
    """Airflow took a request back because somebody else was writing to its database."""


class LocalAirflow:
    """
    Run Airflow's four components as child processes; use it as a context manager.

    :param home: Empty folder for its database, configuration and logs.
    :param dags_folder: Where the DAGs are.
    :param connections: Airflow connections by ID, as JSON objects.
    :param environment: More environment variables, e.g. ``AIRFLOW__CORE__PARALLELISM``.
    :param database: Address of its database as SQLAlchemy wants it; by default a SQLite file.
    :param report: Called with one line for each step.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        *,
        connections: Mapping[str, Mapping[str, Any]],
        environment: Mapping[str, str] | None = None,
        database: str | None = None,
        report: Report = lambda line: None,
    ) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{free_port()}"
        self._dags_folder = dags_folder
        self._report = report
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._session = requests.Session()
        self._session.trust_env = False
        self.environment = {
            **_inherited(),
            **_settings(home, dags_folder, self.url),
            **(_sqlite(home) if database is None else _database(database)),
            **{f"AIRFLOW_CONN_{i.upper()}": json.dumps(c) for i, c in connections.items()},
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------------ processes

    def start(self) -> None:
        """
        Make the database, start the components, wait until all are healthy and log in.

        :raises AirflowDidNotStartError: it does not come up.
        """
        config = self.home / "config"  # Airflow can import from here
        config.mkdir(parents=True, exist_ok=True)
        (config / "sqlite_patience.py").write_text("connect_args = {'timeout': 15}\n")
        self._report("making Airflow's database")
        self.command("db", "migrate")
        for component in COMPONENTS:
            self.start_component(component)
        self._report("waiting for scheduler, DAG processor, triggerer and API server")
        self.wait_until(self._is_healthy, "healthy Airflow")
        token = self._session.get(f"{self.url}/auth/token", timeout=REQUEST_TIMEOUT_SECONDS).json()[
            "access_token"
        ]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def start_component(
        self,
        component: str,
        *,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """
        Start one component and return its process ID.

        :param name: Of this process, if there are several of the component.
        :param environment: More environment variables, for this process.
        """
        name = name or component
        log = (self.home / f"{name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", component],
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[name] = process
        return process.pid

    def kill(self, name: str) -> None:
        """End a component, and all that it has started, with SIGKILL."""
        process = self._processes.pop(name)
        _signal_group(process, signal.SIGKILL)
        process.wait()

    def pid_of(self, name: str) -> int:
        """Return the process ID of a component."""
        return self._processes[name].pid

    def stop(self, *names: str) -> None:
        """End these processes, or all, politely first."""
        ended = [self._processes.pop(name) for name in names or tuple(self._processes)]
        for process in ended:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        for process in ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(deadline - time.monotonic(), 0.1))
            _signal_group(process, signal.SIGKILL)
            process.wait()

    def command(self, *arguments: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        """
        Run an ``airflow`` command to its end.

        :raises AirflowDidNotStartError: it failed; the message has its output.
        """
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and not may_fail:
            raise AirflowDidNotStartError(
                f"airflow {' '.join(arguments)} ended with {done.returncode}:\n"
                f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done

    def wait_for_processes(self) -> None:
        """Wait until a component ends by itself."""
        while all(process.poll() is None for process in self._processes.values()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                next(iter(self._processes.values())).wait(timeout=1)

    # ------------------------------------------------------------------ REST

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Call Airflow's REST API (``path`` below ``/api/v2``) and return the JSON answer."""
        return self._call(method, f"/api/v2{path}", **options)

    def ui(self, method: str, path: str) -> Any:
        """Call what the web interface calls (``path`` below ``/ui``)."""
        return self._call(method, f"/ui{path}")

    def enos(self, path: str, **options: Any) -> Any:
        """Ask what the page of EnOS pipelines asks (``path`` below ``/enos``)."""
        return self._call("GET", f"/enos{path}", **options)

    @retry(
        retry=retry_if_exception_type(DatabaseBusyError),
        stop=stop_after_attempt(5),
        wait=wait_fixed(0.5),
        reraise=True,
    )
    def _call(self, method: str, path: str, **options: Any) -> Any:
        response = self._session.request(
            method, self.url + path, timeout=REQUEST_TIMEOUT_SECONDS, **options
        )
        if not response.ok:
            said = f"{method} {path}: HTTP {response.status_code} {response.text[:500]}"
            raise (DatabaseBusyError if DATABASE_WAS_BUSY in said else RuntimeError)(said)
        return response.json() if response.content else None

    def wait_for_dags(self) -> None:
        """
        Wait until the DAG processor has read every file; each has a DAG.

        :raises AirflowDidNotStartError: it cannot import one of them.
        """
        files = {file.name for file in self._dags_folder.glob("*.py")}

        def have_been_read() -> bool:
            dags = self.api("GET", "/dags?limit=1000")["dags"]
            if files <= {dag["relative_fileloc"] for dag in dags}:
                return True
            if errors := self.api("GET", "/importErrors")["import_errors"]:
                raise AirflowDidNotStartError(str(errors))
            return False

        self.wait_until(have_been_read, f"DAGs of {sorted(files)}")

    def wait_until(self, seen: Callable[[], bool], what: str) -> None:
        """
        Ask four times a second, where Airflow offers nothing to wait on, until it is so.

        :raises AirflowDidNotStartError: a component ended, or it was not so within three minutes.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            self._check_processes()
            if seen():
                return
            time.sleep(0.25)
        raise AirflowDidNotStartError(f"no {what} within {START_TIMEOUT_SECONDS:.0f} s")

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a DAG run and return its ID."""
        body = {"logical_date": None, "conf": conf or {}}
        run: str = self.api("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]
        return run

    def wait_for_run(self, dag_id: str, run_id: str, timeout_seconds: float = 120.0) -> str:
        """
        Wait until a DAG run ends and return its state.

        :raises TimeoutError: it did not end in time.
        """
        path = f"{self.url}/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/wait"
        state = ""
        deadline = time.monotonic() + timeout_seconds
        with self._session.get(
            path, params={"interval": "0.5"}, stream=True, timeout=timeout_seconds
        ) as lines:
            lines.raise_for_status()
            for line in lines.iter_lines():
                state = json.loads(line)["state"]
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{dag_id} {run_id} is {state} after {timeout_seconds} s")
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances"
        found: list[dict[str, Any]] = self.api("GET", path)["task_instances"]
        return found

    def end_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task as ``failed`` or ``success``, as a person does in the web interface."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}"
        self.api("PATCH", path, json={"new_state": state})

    def end_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a DAG run as ``failed`` or ``success``."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
        self.api("PATCH", path, json={"state": state})

    def clear_task(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task, as a person does who wants it run again."""
        what = {"dag_run_id": run_id, "task_ids": [task_id]}
        how = {"dry_run": False, "only_failed": False}
        self.api("POST", f"/dags/{dag_id}/clearTaskInstances", json={**what, **how})

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1
    ) -> str:
        """Return what a task has logged in one try, worker and triggerer together."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}"
        content = self.api(
            "GET", f"{path}/logs/{try_number}?map_index={map_index}&full_content=true"
        )["content"]
        lines: list[str] = []
        for line in content:
            lines.append(str(line.get("event", "")))
            lines += [str(error.get("exc_value")) for error in line.get("error_detail") or []]
        return "\n".join(lines)

    def result(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> Any:
        """Return what a task has returned (its XCom)."""
        return self.xcom(dag_id, run_id, task_id, "return_value", map_index=map_index)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str, *, map_index: int = -1) -> Any:
        """Return one XCom of a task."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}"
        return self.api("GET", f"{path}/xcomEntries/{key}?map_index={map_index}&deserialize=true")[
            "value"
        ]

    # ------------------------------------------------------------------ inside

    def _is_healthy(self) -> bool:
        try:
            health = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def _check_processes(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = (self.home / f"{name}.log").read_text(errors="replace")
                raise AirflowDidNotStartError(
                    f"airflow {name} ended with {process.returncode}:\n{log[-3000:]}"
                )


def _settings(home: Path, dags_folder: Path, url: str) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # SQLite writes one at a time: more parallel tasks would wait for each other and fail.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        # The lock files of the queue of starts go away with the rest.
        "TMPDIR": str(home),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": url.rsplit(":", 1)[1],
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        # Another Airflow on this machine may have the usual ones.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        # Quick answers instead of the defaults for big installations.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # Where its provider is installed, it costs each task a second.
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
        # A worker may notice as late as this that a task has ended.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }


def _database(address: str) -> dict[str, str]:
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address}


def _sqlite(home: Path) -> dict[str, str]:
    return _database(f"sqlite:///{home / 'airflow.db'}") | {
        # SQLite's own five seconds of waiting for another writer are too few for a busy machine.
        # Airflow's API server can wait for itself, though: one request blocks the event loop that
        # another one, which is writing, needs to go on. That lasts as long as this.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "sqlite_patience.connect_args",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC": "sqlite_patience.connect_args",
    }


def _inherited() -> dict[str, str]:
    """Our environment without what would change the Airflow under test, or slow it down."""
    left_out = ("AIRFLOW", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
