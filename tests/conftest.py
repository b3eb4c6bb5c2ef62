"""For all tests: an Airflow home of their own, set before anything imports Airflow."""

import os
import tempfile
from pathlib import Path

_home = tempfile.TemporaryDirectory(prefix="airflow-home-")
# Airflow would spend a second on writing a configuration file of its own.
Path(_home.name, "airflow.cfg").touch()
os.environ["AIRFLOW_HOME"] = _home.name
# Triggers fire no sooner than two seconds after this.
os.environ["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"] = "1"
# What was learned of an EnOS of yesterday on the same port is of no use here.
tempfile.tempdir = os.environ["TMPDIR"] = _home.name


def pytest_terminal_summary(terminalreporter):
    """Say how many cells of the fault matrix there were, those of tasks and those of calls."""
    cells = {"passed": 0, "failed": 0}
    for outcome in cells:
        for report in terminalreporter.getreports(outcome):
            name = report.nodeid
            cells[outcome] += report.when == "call" and (
                "test_matrix.py::test_green" in name
                or ("contract/trouble/" in name and "[" in name)
            )
    if any(cells.values()):
        terminalreporter.write_line(
            f"fault matrix: {sum(cells.values())} cells, {cells['failed']} not as the table says"
        )
