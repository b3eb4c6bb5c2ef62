"""Who may import whom."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "airflow_provider_enos"
OURS = "airflow_provider_enos"

#: What operators and sensors share.
EDGE = {"links", "memory", "retries", "arguments", "pipeline_task", "telemetry"}

#: Module or folder -> what of this package it may import.
MAY_IMPORT = {
    "provider_info": set(),
    "api": {"api"},
    "arguments": {"api"},
    "memory": set(),
    "retries": {"api"},
    "links": set(),
    "assets": {"api"},
    "telemetry": {"api"},
    "hooks": {"api", "hooks", "telemetry"},
    "triggers": {"api", "arguments", "hooks", "links", "memory", "telemetry", "triggers"},
    "lineage": {"api", "assets", "hooks"},
    "pipeline_task": {"api", "arguments", "hooks", "lineage", "links"},
    "operators": {"api", "hooks", *EDGE, "assets", "operators", "triggers"},
    "sensors": {"api", "hooks", *EDGE, "sensors", "triggers"},
    "plugins": {"api", "hooks", "links", "plugins"},
    "emulator": {"emulator"},
    "__init__": set(),
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def layer_of(module):
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(module):
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out"
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_module_imports_only_what_its_layer_may(module):
    ours = {name.split(".")[1] for name in imports_of(module) if name.startswith(OURS + ".")}

    assert ours <= MAY_IMPORT[layer_of(module)]


@pytest.mark.parametrize(
    ("layer", "foreign"),
    [
        ("api", {"airflow", "requests", "aiohttp", "socket", "starlette"}),
        ("provider_info", {"airflow"}),
        ("operators", {"requests", "aiohttp", "starlette"}),
        ("sensors", {"requests", "aiohttp", "starlette"}),
        ("triggers", {"requests", "aiohttp", "starlette"}),
        ("emulator", {"airflow", "requests", "aiohttp"}),
    ],
)
def test_layer_stays_away_from(layer, foreign):
    for module in MODULES:
        if layer_of(module) == layer:
            assert not {name.split(".")[0] for name in imports_of(module)} & foreign, module


def test_package_files_import_nothing():
    for module in PACKAGE.rglob("__init__.py"):
        assert not list(imports_of(module)), module
