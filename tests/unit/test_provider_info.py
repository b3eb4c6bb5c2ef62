"""What Airflow reads of us when it starts."""

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points, version
from importlib.resources import files

import jsonschema
import pytest

from airflow_provider_enos import __version__
from airflow_provider_enos.provider_info import get_provider_info

INFO = get_provider_info()


def dotted_paths():
    for layer in ("hooks", "operators", "sensors", "triggers"):
        for group in INFO[layer]:
            yield from group["python-modules"]
    yield from INFO["extra-links"]
    for connection_type in INFO["connection-types"]:
        yield connection_type["hook-class-name"]
    for plugin in INFO["plugins"]:
        yield plugin["plugin-class"]


def test_info_is_valid_for_the_installed_airflow():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(INFO, schema)


@pytest.mark.parametrize("path", list(dotted_paths()))
def test_each_path_imports(path):
    try:
        importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_airflow_finds_the_info_through_the_entry_point():
    found = {
        entry.load()
        for entry in entry_points(group="apache_airflow_provider", name="provider_info")
    }

    assert get_provider_info in found


def test_name_and_version_are_those_of_the_distribution():
    assert version(INFO["package-name"]) == __version__


def test_secret_key_has_the_field_that_airflow_masks():
    (connection_type,) = INFO["connection-types"]

    assert connection_type["ui-field-behaviour"]["relabeling"]["password"] == "Secret key"
    assert not [name for name in connection_type["conn-fields"] if "secret" in name]


def test_plugin_is_declared_twice_alike():
    """Airflow loads it from the entry point, or from the info where it loads providers at once."""
    (plugin,) = INFO["plugins"]
    (entry,) = entry_points(group="airflow.plugins", name=plugin["name"])

    assert entry.value.replace(":", ".") == plugin["plugin-class"]
    assert entry.load().name == plugin["name"]


def test_plugin_costs_no_web_framework_where_there_is_no_api_server():
    program = (
        "import sys, airflow.sdk, airflow.providers.common.compat.sdk; "
        "from airflow.providers.common.compat.sdk import AirflowPlugin; before = set(sys.modules); "
        "import airflow_provider_enos.plugins.pipelines; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    loaded = done.stdout.split()
    assert {name for name in loaded if not name.startswith("airflow_provider_enos")} == set()
