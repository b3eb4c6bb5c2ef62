"""What the README shows, run as its reader would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def blocks():
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def test_first_dag_is_on_the_first_screen():
    assert "```python" in README.read_text().splitlines()[:17]


def test_asset_is_as_shown(blocks):
    names = {}
    exec(blocks[2], names)

    assert names["pipeline"].uri == (
        "enos://apim.example.com/o15517683199241/f0dda744-13fa-59cc-9c8a-8c8bbd2d7941"
    )


def test_dag_and_its_test_work_as_shown(blocks, tmp_path):
    dag, stop, _, test = blocks
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "start_one_pipeline.py").write_text(dag)
    (tmp_path / "test_stop.py").write_text(stop + "\ndef test_it():\n    assert stop.task_id")
    (tmp_path / "test_dag.py").write_text(test)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }

    for command in (["airflow", "db", "migrate"], ["pytest", "-q"]):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
