"""What Airflow reads of us when it starts."""

import importlib
import json
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


def test_info_is_valid_for_the_installed_airflow():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(INFO, schema)


@pytest.mark.parametrize("path", dotted_paths())
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
