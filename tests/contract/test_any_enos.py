"""
What holds of every EnOS: the emulator, or a real one.

With ``ENOS_URL``, ``ENOS_ACCESS_KEY``, ``ENOS_SECRET_KEY`` and ``ENOS_ORG_ID`` set, these tests
talk to that EnOS, and only read. With ``ENOS_PIPELINE_ID`` too, that pipeline is started and
stopped: it must be stopped before, in standalone mode, and nobody may need it.
"""

import os
import time
from dataclasses import dataclass

import pytest

from airflow_provider_enos.api import calls, change, errors, flows
from airflow_provider_enos.api.queue import OwnTurn, StartQueue
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.emulator.server import Emulator
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook

DOCUMENTED = {"PUBLISHED", "RUNNING", "PAUSED", "STOPPED"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Target:
    """Where an EnOS is, and what may be done to it."""

    connection: dict
    org_id: str
    pipeline_id: str | None


@pytest.fixture
def enos(connect):
    if "ENOS_URL" in os.environ:
        target = Target(
            {
                "conn_type": "enos",
                "host": os.environ["ENOS_URL"],
                "login": os.environ["ENOS_ACCESS_KEY"],
                "password": os.environ["ENOS_SECRET_KEY"],
                "extra": {"org_id": os.environ["ENOS_ORG_ID"]},
            },
            os.environ["ENOS_ORG_ID"],
            os.environ.get("ENOS_PIPELINE_ID"),
        )
        connect(target.connection)
        yield target
        return
    with Emulator(pipelines=3, access_key=f"any-{os.urandom(8).hex()}", start_seconds=0.3) as it:
        it.set_status(it.pipeline_ids[0], "STOPPED")
        connect(it.connection)
        yield Target(it.connection, it.org_id, it.pipeline_ids[0])


def test_connection_test_succeeds(enos):
    good, text = EnOSStreamingHook().test_connection()

    assert good, text
    assert text.startswith(f"EnOS knows these keys. Organization {enos.org_id} has ")


@pytest.mark.parametrize("is_system", [False, True])
def test_released_pipelines_have_ids_and_statuses(enos, run, is_system):
    found = run(flows.list_pipelines(enos.org_id, is_system=is_system))

    assert found
    assert "" not in found
    unknown = {one.status for one in found.values()} - DOCUMENTED
    assert not unknown, "statuses that no page documents: tell us which and when"


def test_unreleased_pipelines_are_not_the_released_ones(enos, run):
    released = run(flows.list_pipelines(enos.org_id))
    designed = run(flows.list_pipelines(enos.org_id, if_released=False))

    assert released
    assert not released.keys() & designed.keys()


def test_details_are_those_of_the_pipeline(enos, run):
    first = next(iter(run(flows.list_pipelines(enos.org_id)).values()))

    details = run(
        flows.ask(calls.get_pipeline_details(enos.org_id, first.pipeline_id, if_released=True))
    )

    assert (details.pipeline_id, details.name) == (first.pipeline_id, first.name)


@pytest.mark.parametrize(
    "call",
    [
        calls.get_pipeline_details,
        calls.get_pipeline_offset_lag,
        calls.stop_pipeline,
        calls.pause_pipeline,
    ],
)
def test_unknown_pipeline_is_said_to_be_unknown(enos, run, call):
    with pytest.raises(errors.PipelineNotFoundError) as refused:
        run(flows.ask(call(enos.org_id, UNKNOWN)))

    assert refused.value.code == 61108


@pytest.mark.parametrize("field", ["login", "password"])
def test_wrong_keys_are_refused(enos, connect, run, field):
    connect(enos.connection, **{field: "7f3a2b10-5c4d-4e6f-8a9b-ffffffffffff"})

    with pytest.raises(errors.AuthenticationError):
        run(flows.list_pipelines(enos.org_id))


def test_foreign_organization_is_refused(enos, run):
    with pytest.raises(errors.EnOSApiError) as refused:
        run(flows.list_pipelines("o10000000000001"))

    assert not refused.value.transient


def test_pipeline_is_started_found_running_and_stopped(enos, run):
    if enos.pipeline_id is None:
        pytest.skip("no ENOS_PIPELINE_ID")
    settings = StartSettings.parse(pipeline_id=enos.pipeline_id, execution_mode="standalone")
    terms = StartTerms(
        conflict_deadline=time.time() + 600, start_timeout_seconds=600, poll_interval_seconds=0.2
    )

    queue = StartQueue(OwnTurn())

    def start_twice_and_stop():
        first = yield from start(enos.org_id, settings, terms, StartProgress(), queue)
        second = yield from start(enos.org_id, settings, terms, StartProgress(), queue)
        stopped = yield from change.stop_pipeline(
            enos.org_id,
            enos.pipeline_id,
            deadline=time.time() + 600,
            limit="ten minutes",
            poll_interval_seconds=0.2,
        )
        return first, second, stopped

    first, second, stopped = run(start_twice_and_stop())

    assert (str(first.outcome), first.status) == ("started", "RUNNING")
    assert (str(second.outcome), second.status) == ("already_running", "RUNNING")
    assert stopped == "STOPPED"
