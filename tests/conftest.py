"""For all tests: an Airflow home of their own, set before anything imports Airflow."""

import os
import tempfile
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_home = tempfile.TemporaryDirectory(prefix="airflow-home-")
# Airflow would spend a second on writing a configuration file of its own.
Path(_home.name, "airflow.cfg").touch()
os.environ["AIRFLOW_HOME"] = _home.name
# What was learned of an EnOS of yesterday on the same port is of no use here.
tempfile.tempdir = os.environ["TMPDIR"] = _home.name


#: End-to-end tests that need nothing of what the others leave behind: they have an Airflow of their
#: own, where two processes run the tests.
APART = ("test_events.py", "test_workflows.py")


def _kind(path):
    if "e2e" not in path.parts:
        return str(path)
    return "e2e, apart" if path.name in APART else "e2e"


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, and end with what follows it."""
    order = {"e2e": 0, "e2e, apart": 2}
    items.sort(key=lambda item: order.get(_kind(item.path), 1))


class ByKind(LoadScopeScheduling):
    """End-to-end tests share an Airflow and mostly wait; all others come whole files at a time."""

    def _split_scope(self, nodeid):
        return _kind(Path(nodeid.split("::")[0]))


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False
    return ByKind(config, log)


def pytest_terminal_summary(terminalreporter):
    """Say how many cells of the fault matrix there were, those of tasks and those of calls."""
    cells = {"passed": 0, "failed": 0}
    for outcome in cells:
        for report in terminalreporter.getreports(outcome):
            name = report.nodeid
            cells[outcome] += report.when == "call" and (
                "test_matrix.py::test_green" in name or ("test_trouble.py" in name and "[" in name)
            )
    if any(cells.values()):
        terminalreporter.write_line(
            f"fault matrix: {sum(cells.values())} cells, {cells['failed']} not as the table says"
        )
