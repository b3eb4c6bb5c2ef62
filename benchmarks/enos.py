"""An EnOS in a process of its own, and what its log tells of a fleet of starts."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import mean
from typing import Any

import requests


@dataclass(frozen=True)
class Figures:
    """
    What EnOS saw.

    :param makespan: From the first acceptance to the end of the last hold, in sums of the holds;
        the mean over the organizations.
    :param starts_each: Start requests per pipeline.
    """

    started: int
    makespan: float
    worst_makespan: float
    starts_each: float
    lists: int
    tokens: int


@dataclass(frozen=True)
class Start:
    """One pipeline that a fleet starts."""

    org_id: str
    pipeline_id: str


class EnOS:
    """The emulator over HTTP."""

    def __init__(self, url: str, connection: str, hold: float) -> None:
        self.url, self.connection, self.hold = url, connection, hold
        self._session = requests.Session()
        self._session.trust_env = False

    def control(self, method: str, path: str, **body: Any) -> Any:
        """Call the emulator's own API."""
        answer = self._session.request(method, f"{self.url}/_emulator{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def starts(self) -> list[Start]:
        """All pipelines, one organization after another."""
        return [
            Start(row["org_id"], row["pipeline_id"]) for row in self.control("GET", "/pipelines")
        ]

    def forget(self) -> None:
        """Empty the log."""
        self.control("DELETE", "/requests")

    def figures(self) -> Figures:
        """Read the log."""
        log = self.control("GET", "/requests")
        by_operation: dict[str, list[Any]] = {}
        for request in log:
            by_operation.setdefault(request["operation"], []).append(request)
        sent = by_operation.get("start", [])
        accepted: dict[str, list[float]] = {}
        for request in sent:
            if request["effective"]:
                accepted.setdefault(request["org_id"], []).append(request["time"])
        spans = [
            (max(times) + self.hold - min(times)) / (len(times) * self.hold)
            for times in accepted.values()
        ]
        return Figures(
            started=sum(map(len, accepted.values())),
            makespan=mean(spans or [0.0]),
            worst_makespan=max(spans or [0.0]),
            starts_each=len(sent) / len({request["pipeline_id"] for request in sent} or "-"),
            lists=len(by_operation.get("list", [])),
            tokens=len(by_operation.get("token_get", [])),
        )


@contextmanager
def running_enos(
    *, organizations: int, pipelines: int, hold: float, blocking: bool = False
) -> Iterator[EnOS]:
    """Run an EnOS whose starts take, and hold the lock, for ``hold`` seconds."""
    org_ids = [f"o{15517683199000 + number}" for number in range(organizations)]
    command = [sys.executable, "-m", "airflow_provider_enos.emulator"]
    command += ["--pipelines", str(pipelines), "--start-seconds", str(hold)]
    for org_id in org_ids:
        command += ["--org", org_id]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it complains of clients that leave in the middle of an answer
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[3]
            connection = shlex.split(process.stdout.readline())[1].partition("=")[2]
            enos = EnOS(url, connection, hold)
            enos.control("PATCH", "/settings", blocking_start=blocking)
            yield enos
        finally:
            process.terminate()


def as_json(starts: list[Start]) -> str:
    """What a fleet reads."""
    return json.dumps([[start.org_id, start.pipeline_id] for start in starts])
