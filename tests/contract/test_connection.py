"""The fields of the Airflow connection, on their way from Airflow to both clients."""

import asyncio
import json

import pytest

from airflow_provider_enos.api import calls, errors, flows
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.plugins import pipelines_app
from airflow_provider_enos.triggers.streaming import StartPipelineTrigger

ORG = "o15517683199241"

FIELDS = ("host", "port", "schema", "login", "password")
MAY_HOLD_A_PASSWORD = ("host", "password", "extra", "console_url", "proxy")
EXTRA_FIELDS = ("org_id", "console_url", "verify", "proxy", "request_timeout_seconds")


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


def test_extra_from_a_uri_is_text(emulator, run, monkeypatch):
    uri = (
        f"enos://{emulator.access_key}:{emulator.secret_key}@{emulator.url[7:]}/http?"
        f"org_id={ORG}&verify=false&request_timeout_seconds=7&proxy=&console_url="
    )
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", uri)

    assert len(run(read_list()).pipelines) == 3


# The other fields


def test_schema_is_the_scheme_of_a_host_that_has_none(emulator, run, set_fields):
    set_fields(host=emulator.url.removeprefix("http://"), schema="http")

    assert len(run(read_list()).pipelines) == 3


VALUES = [
    None,
    " ",
    True,
    0,
    1.5,
    65536,
    ["x"],
    "密",
    "a\nb",
    "\ud800",
    "x" * 600,
    "http://me:hunter2@h:0",
]


@pytest.mark.parametrize("field", [*FIELDS, "extra", *EXTRA_FIELDS])
def test_every_field_is_read_or_refused_with_its_connection(emulator, run, set_fields, field):
    """Airflow itself gives up on some of them, and says that there is no such connection."""
    for value in VALUES:
        fields = {field: value}
        if field in EXTRA_FIELDS:
            fields = {"extra": {**emulator.connection["extra"], field: value}}
        set_fields(**fields)

        error = refusal(run)

        place = f"Airflow connection 'enos_default', {field}: "
        assert error is None or error.startswith((place, "The conn_id `enos_default`")), value
        assert field not in MAY_HOLD_A_PASSWORD or "hunter2" not in str(error)


def refusal(run):
    """Read the connection, send nothing, and return the error of a wrong setting."""

    def send_nothing():
        yield from ()

    try:
        run(send_nothing())
    except errors.InvalidSettingError as error:
        return str(error)
    return None


def test_trigger_ends_with_the_field_and_says_that_nothing_was_sent(emulator, monkeypatch):
    """It must not die: Airflow would try again, and say that the start may go on in EnOS."""
    wrong = {
        "port": {"port": 99999},
        "extra": {"extra": BROKEN_EXTRAS["text in a text"]},
        "proxy": {"extra": {"proxy": "http://me:hunter2密@127.0.0.1:1"}},
        "host": {"host": f"http://{'g' * 70}"},
        "org_id": {"extra": {"org_id": ["o1"]}},
        "verify": {"extra": {"verify": "/no/such.pem"}},
    }
    for field, fields in wrong.items():
        text = json.dumps({**emulator.connection, **fields})
        monkeypatch.setenv(f"AIRFLOW_CONN_ENOS_{field.upper()}", text)

    async def fire(field):
        trigger = StartPipelineTrigger(
            pipeline_id="p-1",
            execution_mode=0,
            kafka_rate=1000,
            resource_config=None,
            org_id=ORG if field == "verify" else None,
            enos_conn_id=f"enos_{field}",
            wait_for_running=True,
            conflict_timeout_seconds=60,
            start_timeout_seconds=60,
            poll_interval_seconds=30,
            begun_at=1.0,
        )
        return (await anext(trigger.run())).payload

    async def fire_all():
        return await asyncio.gather(*map(fire, wrong))

    for field, payload in zip(wrong, asyncio.run(fire_all()), strict=True):
        assert payload["error"] == "InvalidSettingError"
        assert payload["message"].startswith(f"Airflow connection 'enos_{field}', {field}: ")
        assert payload["may_have_worked"] is False
        assert "hunter2" not in json.dumps(payload)
    assert emulator.requests == []


def test_connection_that_airflow_cannot_read_may_be_there(emulator, run, set_fields):
    set_fields(port="443a")

    with pytest.raises(errors.InvalidSettingError, match="is its port a number"):
        run(read_list())
