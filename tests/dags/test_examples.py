"""The example DAGs as Airflow parses them, and what parsing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

EXAMPLES = Path(__file__).parents[2] / "example_dags"


@pytest.fixture(scope="module")
def dags():
    bag = DagBag(EXAMPLES)
    assert not bag.import_errors
    return bag.dags


def test_each_file_is_one_dag_of_its_name(dags):
    assert set(dags) == {path.stem for path in EXAMPLES.glob("*.py")}


def test_each_dag_shows_its_docstring(dags):
    for path in EXAMPLES.glob("*.py"):
        assert dags[path.stem].doc_md == ast.get_docstring(ast.parse(path.read_text()), clean=False)


def test_each_dag_survives_serialization(dags):
    for dag in dags.values():
        restored = DagSerialization.from_dict(DagSerialization.to_dict(dag))

        assert set(restored.task_ids) == set(dag.task_ids)


def test_each_dag_is_in_the_readme():
    readme = (EXAMPLES.parent / "README.md").read_text()

    for path in EXAMPLES.glob("*.py"):
        assert f"(example_dags/{path.name})" in readme


def test_parsing_a_dag_loads_no_http_client():
    code = (
        "import sys, airflow_provider_enos.operators.streaming, "
        "airflow_provider_enos.sensors.streaming; "
        "print([m for m in ('requests', 'aiohttp', 'starlette') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
