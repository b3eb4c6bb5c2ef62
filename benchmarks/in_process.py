"""Fleets of starts against the emulator, without Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from benchmarks.enos import Figures, as_json, running_enos


@dataclass(frozen=True)
class Case:
    """
    A fleet: so many processes with the pipelines of so many organizations.

    :param kind: What :mod:`benchmarks.fleet` does with them.
    """

    organizations: int
    pipelines: int
    hold: float = 2.0
    processes: int = 1
    kind: str = "triggers"
    blocking: bool = False

    def __str__(self) -> str:
        if self.kind == "watchers":
            return f"{self.organizations * self.pipelines} sensors, {self.organizations} org."
        who = WHO[self.kind].format(self.processes, "s" if self.processes > 1 else "")
        style = ", answered when done" if self.blocking else ""
        return (
            f"{who}, {self.organizations} org. x {self.pipelines} starts of {self.hold:g} s{style}"
        )


WHO = {
    "triggers": "{} triggerer{}",
    "sync": "{} worker{}",
    "loop": "`requests` in a loop, every 1.5 s",
    "tenacity": "`requests` with tenacity",
    "pool": "`requests` in a loop, one at a time",
}


CASES = [
    Case(1, 50),
    Case(1, 50, blocking=True),
    Case(1, 50, processes=3),
    Case(1, 50, processes=30, kind="sync"),
    Case(1, 50, kind="loop"),
    Case(1, 50, kind="tenacity"),
    Case(1, 50, kind="pool"),
    Case(1, 10),
    Case(10, 10),
    Case(10, 10, kind="loop"),
    Case(10, 10, kind="tenacity"),
    Case(20, 50),
    Case(1, 100, hold=1.0),
    Case(1, 1000, hold=0.3),
    Case(20, 1, kind="watchers"),
    Case(20, 5, kind="watchers"),
    Case(20, 50, kind="watchers"),
    Case(20, 500, kind="watchers"),
]


def run(case: Case) -> tuple[Figures, list[dict[str, Any]]]:
    """Run a fleet to its end."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_enos(
            organizations=case.organizations,
            pipelines=case.pipelines,
            hold=case.hold,
            blocking=case.blocking,
        ) as enos,
    ):
        environment = os.environ | {
            "AIRFLOW_CONN_ENOS_DEFAULT": enos.connection,
            "AIRFLOW_HOME": folder,
            "TMPDIR": folder,
        }
        starts = enos.starts()
        fleets = []
        for number in range(case.processes):
            fleet = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.fleet", case.kind],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert fleet.stdin is not None
            fleet.stdin.write(as_json(starts[number :: case.processes]))
            fleet.stdin.close()
            fleets.append(fleet)
        took = []
        for fleet in fleets:
            assert fleet.stdout is not None
            took.append(json.loads(fleet.stdout.read().splitlines()[-1]))
            fleet.wait()
        return enos.figures(), took
