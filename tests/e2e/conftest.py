"""One real Airflow and one emulator for all end-to-end tests of a process."""

import itertools
import json
import logging
import os
import re
import shutil
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from airflow_provider_enos.emulator.server import Emulator
from demo.local_airflow import LocalAirflow
from demo.postgres import running_postgres
from tests.e2e.machine import find_chromium
from tests.e2e.secret_search import check_that_nothing_secret_is_shown

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = ROOT / "example_dags"
CONSOLE_URL = "https://console.example.com/{org_id}/pipelines/{pipeline_id}"

#: In an environment variable only, of which Airflow does not know that it is to be masked.
PLANTED_SECRET = "planted-5b7e0c2f-secret"

#: Of the example maintenance_window.
MAINTAINED_ORG = "o16017683199242"

#: Of dags/events.py, which names them when it is parsed.
WATCHED_ORG = "o-watched"
WATCHED_PIPELINES = (
    "35c479e9-dd18-5f53-a85d-de9471078136",
    "60fe6ef1-ea26-5334-9ee7-10f3f4037970",
    "02e5a48f-dd61-553d-8dc3-76d4b96e86c2",
)

ENVIRONMENT = {
    # Everything is said, and written to the database as it is: the search for secrets sees it all.
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    "AIRFLOW__CORE__FERNET_KEY": "",
    "E2E_PLANTED": PLANTED_SECRET,
    # The DAG files do not change: parsing them again and again takes a quarter of a core.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    # Airflow waits for minutes before it believes that something is dead.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}

COMPLAINT = re.compile(r"^.{,40}\[(warning|error|critical) ")
#: What Airflow says of every note that is not there yet, and of every new asset.
USUAL = re.compile(r"XCom not found|Asset not found|AssetManager|InsecureKeyLengthWarning")


@dataclass(frozen=True)
class Run:
    """A DAG run, and the pipeline it is about."""

    dag_id: str
    run_id: str
    pipeline_id: str | None
    org_id: str | None


class StatsdServer:
    """Keeps what Airflow's processes send to it."""

    def __init__(self):
        self.lines = []
        self._arrived = threading.Condition()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def wait_for(self, text):
        """Wait until a line with this text has come."""
        with self._arrived:
            came = self._arrived.wait_for(lambda: any(text in line for line in self.lines), 30)
        assert came, f"no {text} among {len(self.lines)} lines"

    def _listen(self):
        while packet := self._socket.recv(65536):
            with self._arrived:
                self.lines += packet.decode().splitlines()
                self._arrived.notify_all()


class Stack:
    """Airflow and EnOS, and the few things that the tests do with both."""

    def __init__(self, airflow, enos, statsd, lineage, database):
        self.airflow = airflow
        self.database = database
        self.enos = enos
        self.statsd = statsd
        self.lineage = lineage
        self._numbers = itertools.count(1)

    def new_organization(self, **quota):
        org_id = f"o9000{next(self._numbers)}"
        self.enos.add_organization(org_id, pipelines=0)
        if quota:
            self.enos.set_quota(org_id=org_id, **quota)
        return org_id

    def run(self, dag_id, *, org_id=None, pipeline_id=None, **conf):
        """Trigger a DAG for a pipeline; by default a new one of a new organization."""
        org_id = org_id or self.new_organization()
        pipeline_id = pipeline_id or self.enos.add_pipeline(org_id)
        conf = {"org_id": org_id, "pipeline_id": pipeline_id, **conf}
        return Run(dag_id, self.airflow.trigger(dag_id, conf), pipeline_id, org_id)

    def state(self, run):
        return self.airflow.wait_for_run(run.dag_id, run.run_id)

    def task(self, run):
        (task,) = self.airflow.task_instances(run.dag_id, run.run_id)
        return task

    def log(self, run, try_number=1):
        return self.airflow.task_log(
            run.dag_id, run.run_id, self.task(run)["task_id"], try_number=try_number
        )

    def result(self, run):
        return self.airflow.result(run.dag_id, run.run_id, self.task(run)["task_id"])

    def wait_for_effect(self, operation, pipeline_id):
        """Wait until EnOS has carried such a request out; those before it were refused."""
        for count in itertools.count(1):
            request = self.enos.wait_for_request(operation, pipeline_id, count=count)
            if request.effective:
                return

    def wait_for_task(self, run, *states):
        """Wait until the run's task is in one of these states."""
        self.airflow.wait_until(
            lambda: self.task(run)["state"] in states, f"task of {run} in {states}"
        )

    def runs_of(self, dag_id):
        """The DAG's runs, oldest first."""
        runs = self.airflow.api("GET", f"/dags/{dag_id}/dagRuns?order_by=run_after")["dag_runs"]
        return [Run(dag_id, run["dag_run_id"], None, None) for run in runs]

    def tasks(self, run, task_id=None):
        """The run's task instances, or those of one mapped task."""
        found = self.airflow.task_instances(run.dag_id, run.run_id)
        return [one for one in found if task_id in (None, one["task_id"])]

    def run_example(self, dag_id, conf=None):
        return Run(dag_id, self.airflow.trigger(dag_id, conf), None, None)

    def complaints(self, count=80):
        """The last warnings and errors of Airflow's components."""
        logs = [path.read_text(errors="replace") for path in self.airflow.home.glob("*.log")]
        lines = [line[:500] for log in logs for line in log.splitlines()]
        found = (line for line in lines if COMPLAINT.search(line) and not USUAL.search(line))
        return "\n".join(sorted(found)[-count:])

    def accepted_starts(self, pipeline_id):
        return [r for r in self.enos.requests_for("start", pipeline_id) if r.effective]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Show what Airflow complained about where a test has failed."""
    report = yield
    if report.when == "call" and report.failed and (stack := item.funcargs.get("stack")):
        report.sections.append(("warnings of Airflow", stack.complaints()))
    return report


def _observers(statsd, lineage):
    """The settings that let Airflow tell its metrics and lineage."""
    to_file = {"type": "file", "log_file_path": str(lineage), "append": True}
    return {
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(statsd.port),
        "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        # test_observability.py switches it on.
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(to_file),
    }


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("e2e")
    dags = folder / "dags"
    shutil.copytree(HERE / "dags", dags)
    for example in EXAMPLES.glob("*.py"):
        # The pipelines here change faster than a user's.
        text = re.sub(r"interval(_seconds)?=\d+", r"interval\1=1", example.read_text())
        (dags / example.name).write_text(text)
    replay = (dags / "replay.py").read_text()
    (dags / "replay_on_workers.py").write_text(
        replay.replace('"deferrable": True', '"deferrable": False').replace(
            '"replay",', '"replay_on_workers",'
        )
    )
    home = folder / "airflow"
    lineage = home / "lineage.jsonl"
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)  # else a report shows little else
    with (
        Emulator(pipelines=14, start_seconds=1.0) as enos,
        StatsdServer() as statsd,
        running_postgres() as database,
    ):
        enos.add_organization(MAINTAINED_ORG, pipelines=3)
        enos.add_organization(WATCHED_ORG, pipelines=len(WATCHED_PIPELINES))
        connection = enos.connection
        connection["extra"]["console_url"] = CONSOLE_URL
        connections = {
            "enos_default": connection,
            "enos_wrong_key": connection | {"password": "wrong"},
            "enos_broken_extra": connection | {"extra": '"org_id"'},
        }
        with LocalAirflow(
            home,
            dags,
            connections=connections,
            environment=ENVIRONMENT | _observers(statsd, lineage),
            database=database,
        ) as airflow:
            airflow.wait_for_dags()
            stack = Stack(airflow, enos, statsd, lineage, database)
            yield stack
            check_that_nothing_secret_is_shown(stack)


#: Nothing but the pages under test; root needs the first one.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: It ends what is stuck: on a busy machine a page takes half a minute to load.
BROWSER_TIMEOUT_MS = 180_000


@pytest.fixture(scope="module")
def browser():
    """Chromium, no longer than it is needed: Playwright keeps an event loop running."""
    expect.set_options(timeout=BROWSER_TIMEOUT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def profile(browser, stack):
    """One profile for all pages, since each new one would load and compile the whole UI again."""
    context = browser.new_context(
        base_url=stack.airflow.url,
        viewport={"width": 1280, "height": 800},
        reduced_motion="reduce",
    )
    context.set_default_timeout(BROWSER_TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture
def new_page(profile):
    """Make pages of the Airflow UI; a program error on any of them fails the test."""
    errors, pages = [], []

    def make():
        page = profile.new_page()
        page.on("pageerror", lambda error: errors.append(error))
        pages.append(page)
        return page

    yield make
    for page in pages:
        page.close()
    assert errors == []


@pytest.fixture
def page(new_page):
    return new_page()


@pytest.fixture(scope="session")
def screenshot(tmp_path_factory):
    """Take a picture; ``make screenshots`` renews those that the README shows."""
    folder, readme = tmp_path_factory.mktemp("screenshots"), ROOT / "README.md"
    shown = readme.read_text() if "ENOS_SCREENSHOTS" in os.environ else ""

    def take(page, name):
        file = f"docs/{name}.png"
        page.screenshot(path=ROOT / file if file in shown else folder / f"{name}.png")

    return take
