"""For all tests: an Airflow home of their own, set before anything imports Airflow."""

import os
import tempfile
from pathlib import Path

_home = tempfile.TemporaryDirectory(prefix="airflow-home-")
# Airflow would spend a second on writing a configuration file of its own.
Path(_home.name, "airflow.cfg").touch()
os.environ["AIRFLOW_HOME"] = _home.name
# What was learned of an EnOS of yesterday on the same port is of no use here.
tempfile.tempdir = os.environ["TMPDIR"] = _home.name
