"""For all tests: an Airflow home of their own, set before anything imports Airflow."""

import os
import tempfile

_home = tempfile.TemporaryDirectory(prefix="airflow-home-")
os.environ["AIRFLOW_HOME"] = _home.name
