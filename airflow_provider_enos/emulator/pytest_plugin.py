"""
Fixtures for tests of DAGs and operators.

Enable them with ``pytest_plugins = ["airflow_provider_enos.emulator.pytest_plugin"]``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_enos.emulator.server import Emulator


@pytest.fixture
def enos_emulator() -> Iterator[Emulator]:
    """An EnOS of this test's own, with three pipelines that start at once."""
    with Emulator(pipelines=3) as enos:
        yield enos


@pytest.fixture
def enos_connection(enos_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The same, and Airflow's connection ``enos_default`` leads to it."""
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", enos_emulator.connection_json)
    return enos_emulator
