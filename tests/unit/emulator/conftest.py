"""State and gate without a socket, and with time that only a test moves."""

import pytest

from airflow_provider_enos.emulator.settings import Settings
from airflow_provider_enos.emulator.state import StreamService


class Clock:
    """Time that only a test moves."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settings():
    return Settings()


@pytest.fixture
def service(settings, clock):
    """Organization o1 with pipelines a and b; organization o2 with pipeline c."""
    service = StreamService(settings, clock)
    for org_id, names in {"o1": "ab", "o2": "c"}.items():
        service.add_organization(org_id)
        for name in names:
            service.add_pipeline(org_id, name, "PUBLISHED", released=True, name=name)
    return service
