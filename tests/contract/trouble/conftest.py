"""
Everything that can happen to a request, for every call of the provider.

What holds for all of it: a read is repeated when that can help, a write that may have been carried
out is never sent twice, and a start takes effect exactly once.
"""

import pytest

from airflow_provider_enos.api import calls, flows
from tests.contract.trouble.made import ORG
from tests.contract.troubles import TROUBLES


@pytest.fixture(params=TROUBLES)
def trouble(request, emulator, connect):
    trouble = TROUBLES[request.param]
    connect(emulator.connection, extra={"request_timeout_seconds": trouble.timeout})
    return trouble


@pytest.fixture
def order(emulator, run, trouble, pipeline_id):
    """Order the fault for one request of an operation, on a new connection and with a token."""
    run(flows.once(calls.list_pipelines(ORG)))
    emulator.clear_requests()

    def order(operation, made=None):
        if made and made.status:
            emulator.set_status(pipeline_id, made.status)
        emulator.faults.append(trouble.on(operation))

    return order
