"""Fifty starts of one organization in a real Airflow, by this provider and as users do it today."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2

from benchmarks.enos import EnOS, Figures, running_enos
from demo.local_airflow import LocalAirflow, free_port
from demo.postgres import running_postgres

DAGS = Path(__file__).parent / "dags"
OURS = ("deferrable", "two_triggerers", "start_from_trigger", "sync")
PEERS = ("http_retries", "http_tenacity", "loop_in_a_task", "pool_of_one_slot")
STARTS = 50
HOLD_SECONDS = 1.0
SAMPLE_SECONDS = 0.1
RUN_SECONDS = 900.0


class Sampler(threading.Thread):
    """Counts the seconds that tasks hold a worker, and the memory of the triggerers."""

    def __init__(self, database: str, triggerers: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self._database = psycopg2.connect(database.replace("+psycopg2", ""))
        self._database.autocommit = True
        self._triggerers = [psutil.Process(pid) for pid in triggerers]
        self._over = threading.Event()
        self.worker_seconds = 0.0
        self.peak_bytes = 0
        self.triggerers_at_work = 0

    def run(self) -> None:
        """Sample until stopped."""
        before = time.monotonic()
        with self._database.cursor() as cursor:
            while not self._over.wait(SAMPLE_SECONDS):
                cursor.execute("select count(*) from task_instance where state = 'running'")
                now = time.monotonic()
                self.worker_seconds += cursor.fetchone()[0] * (now - before)
                before = now
                cursor.execute("select count(distinct triggerer_id) from trigger")
                self.triggerers_at_work = max(self.triggerers_at_work, cursor.fetchone()[0])
                rss = sum(
                    process.memory_info().rss
                    for triggerer in self._triggerers
                    for process in (triggerer, *triggerer.children(recursive=True))
                )
                self.peak_bytes = max(self.peak_bytes, rss)

    def stop(self) -> None:
        """Stop and close."""
        self._over.set()
        self.join()
        self._database.close()


@dataclass(frozen=True)
class Row:
    """One way, measured."""

    way: str
    green: int
    tries: int
    figures: Figures
    worker_seconds: float
    triggerer_mb: float


def measured(ways: Sequence[str]) -> Iterator[Row]:
    """Measure these ways, one after another, in one Airflow."""
    every = [*OURS, *PEERS]
    with (
        tempfile.TemporaryDirectory(prefix="enos-bench-") as name,
        running_enos(organizations=len(every), pipelines=STARTS, hold=HOLD_SECONDS) as enos,
        running_postgres() as database,
    ):
        connection = json.loads(enos.connection)
        starts = enos.starts()
        pipelines = {
            way: [[s.org_id, s.pipeline_id] for s in starts[n * STARTS : (n + 1) * STARTS]]
            for n, way in enumerate(every)
        }
        http = {key: connection[key] for key in ("host", "login", "password")}
        airflow = LocalAirflow(
            Path(name) / "airflow",
            DAGS,
            connections={"enos_default": connection, "enos_http": {"conn_type": "http", **http}},
            environment={
                "AIRFLOW__CORE__PARALLELISM": "6",
                # Airflow's own, as users have it.
                "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
                "BENCH_PIPELINES": json.dumps(pipelines),
                "BENCH_HOST": enos.url,
                "BENCH_KEY": connection["login"],
                "BENCH_SECRET": connection["password"],
                "PYTHONPATH": os.getcwd(),
            },
            database=database,
        )
        with airflow:
            airflow.wait_for_dags()
            pool = {"name": "one_slot", "slots": 1, "include_deferred": False}
            airflow.api("POST", "/pools", json=pool)
            for way in ways:
                triggerers = ["triggerer"]
                if way == "two_triggerers":
                    triggerers.append(_second_triggerer(airflow))
                yield _measure(airflow, enos, database, way, triggerers)
                if triggerers[1:]:
                    airflow.stop(*triggerers[1:])


def _second_triggerer(airflow: LocalAirflow) -> str:
    name = "second-triggerer"
    port = {"AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port())}
    airflow.start_component("triggerer", name=name, environment=port)
    alive = "/jobs?job_type=TriggererJob&is_alive=true"
    airflow.wait_until(lambda: len(airflow.api("GET", alive)["jobs"]) == 2, "second triggerer")
    return name


def _measure(
    airflow: LocalAirflow, enos: EnOS, database: str, dag_id: str, triggerers: Sequence[str]
) -> Row:
    enos.forget()
    sampler = Sampler(database, [airflow.pid_of(name) for name in triggerers])
    sampler.start()
    run_id = airflow.trigger(dag_id)
    airflow.wait_for_run(dag_id, run_id, RUN_SECONDS)
    sampler.stop()
    if len(triggerers) > 1 and sampler.triggerers_at_work != len(triggerers):
        raise RuntimeError(f"{dag_id}: {sampler.triggerers_at_work} of {triggerers} had triggers")
    tasks = airflow.task_instances(dag_id, run_id)
    return Row(
        way=dag_id,
        green=sum(task["state"] == "success" for task in tasks),
        tries=max(task["try_number"] for task in tasks),
        figures=enos.figures(),
        worker_seconds=sampler.worker_seconds,
        triggerer_mb=sampler.peak_bytes / 1e6,
    )
