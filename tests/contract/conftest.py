"""
An EnOS for each test, and one way to carry out a flow that is both ways.

With ``run`` a test's body runs twice: over the blocking client and over the non-blocking one.
"""

import asyncio
import contextlib
import itertools
import json
import random

import pytest
import structlog

from airflow_provider_enos.emulator.server import Emulator
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook

#: Back-off pauses are drawn; with this seed the first is a hundredth of the longest, the next six
#: are below a seventh, so that no test waits for them.
SHORT_PAUSES = 1990

#: Tokens are cached by address and key, and a free port may come again.
KEYS = itertools.count(1)


@pytest.fixture(autouse=True)
def _short_pauses():
    random.seed(SHORT_PAUSES)


@pytest.fixture
def emulator():
    """An EnOS with three released pipelines that start at once."""
    with Emulator(pipelines=3, access_key=f"access-{next(KEYS)}") as enos:
        yield enos


@pytest.fixture
def connect(monkeypatch):
    """Set Airflow's connection ``enos_default``; ``extra`` is added to, the rest replaced."""

    def set_connection(connection, *, extra=None, **fields):
        extra = {**connection["extra"], **(extra or {})}
        text = json.dumps({**connection, **fields, "extra": extra})
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", text)

    return set_connection


@pytest.fixture(autouse=True)
def _connection(request, connect):
    """Where a test has an emulator, the connection leads to it."""
    if "emulator" in request.fixturenames:
        connect(request.getfixturevalue("emulator").connection)


@pytest.fixture
def pipeline_id(emulator):
    return emulator.pipeline_ids[0]


@pytest.fixture(params=["sync", "async"])
def run(request):
    """Carry out a flow with a new hook, blocking or on an event loop."""
    hooks = []

    def run_sync(flow, **options):
        hooks.append(EnOSStreamingHook(**options))
        return hooks[-1].run(flow)

    def run_async(flow, **options):
        async def load_and_run():
            hook = EnOSStreamingHook(**options)
            await hook.load()
            return await hook.run_async(flow)

        return asyncio.run(load_and_run())

    yield run_sync if request.param == "sync" else run_async
    for hook in hooks:
        with contextlib.suppress(Exception):  # some never had a connection
            hook.get_conn().close()


@pytest.fixture
def log_lines():
    """What hooks and operators log while the test runs, one text per line; at one level or any."""
    with structlog.testing.capture_logs() as entries:

        def lines(level=None):
            return [
                entry["event"] % tuple(entry.get("positional_args", ()))
                for entry in entries
                if level in (None, entry["log_level"])
            ]

        yield lines
