"""The fields of the Airflow connection, on their way from Airflow to both clients."""

import json

import pytest

from airflow_provider_enos.api import calls, errors, flows
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.plugins import pipelines_app

ORG = "o15517683199241"


@pytest.fixture
def set_fields(monkeypatch, emulator):
    """Set the connection's fields as they are, also an extra that is no JSON."""

    def set_connection(**fields):
        text = json.dumps({**emulator.connection, **fields})
        monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", text)

    return set_connection


def read_list():
    return flows.once(calls.list_pipelines(ORG))


# The extra


BROKEN_EXTRAS = {
    "single quotes": "{'org_id': 'o1', 'proxy': 'http://me:hunter2@127.0.0.1:1'}",
    "cut off": '{"org_id": "o1", "proxy": "http://me:hunter2@127.0.0.1:1"',
    "no JSON": "hunter2",
    "text in a text": json.dumps(json.dumps({"org_id": "o1", "proxy": "http://me:hunter2@h"})),
    "list": '["hunter2"]',
    "list of pairs": '[["proxy", "hunter2"]]',
    "number": "5",
    "null": "null",
    "true": "true",
}


@pytest.mark.parametrize("extra", BROKEN_EXTRAS.values(), ids=BROKEN_EXTRAS)
def test_broken_extra_is_refused_before_anything_is_sent(emulator, run, set_fields, extra):
    """Airflow reads it as {}: without its proxy, and without its certificates."""
    set_fields(extra=extra)

    with pytest.raises(errors.InvalidSettingError) as raised:
        run(read_list(), org_id=ORG)

    text = "Airflow connection 'enos_default', extra: allowed is a JSON object"
    assert str(raised.value).startswith(text)
    assert "hunter2" not in str(raised.value)
    assert EnOSStreamingHook(org_id=ORG).test_connection() == (False, str(raised.value))
    assert emulator.requests == []


def test_page_says_that_the_extra_is_broken(emulator, set_fields):
    set_fields(extra=BROKEN_EXTRAS["text in a text"])

    with (
        pytest.raises(errors.InvalidSettingError, match="extra: allowed is a JSON object"),
        pipelines_app._hook("enos_default", None, user=None),
    ):
        pass


@pytest.mark.parametrize("extra", [None, "", {}, "{}"])
def test_no_extra_is_fine(emulator, run, set_fields, extra):
    set_fields(extra=extra)

    assert len(run(read_list(), org_id=ORG).pipelines) == 3


def test_names_in_extra_that_have_no_effect_are_warned_of_once(
    emulator, run, set_fields, log_lines
):
    extra = {"orgId": "o1", "proxies": "http://h:1", "extra__enos__verify": "no", "team": "wind"}
    set_fields(extra={**emulator.connection["extra"], **extra})

    run(read_list())

    assert [line for line in log_lines() if "effect" in line] == [
        "Airflow connection 'enos_default', extra: 'orgId' has no effect, use 'org_id', 'proxies' "
        "has no effect, use 'proxy', 'extra__enos__verify' has no effect, use 'verify'."
    ]


def test_connection_that_airflow_cannot_read_may_be_there(emulator, run, set_fields):
    set_fields(port="443a")

    with pytest.raises(errors.InvalidSettingError, match="is its port a number"):
        run(read_list())
