"""The hook as a DAG's own tasks use it, and the Test button of the connection form."""

import asyncio
import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import pytest
import requests
from airflow.sdk import serde

from airflow_provider_enos.api import errors, flows
from airflow_provider_enos.emulator import faults as f
from airflow_provider_enos.hooks.requests_io import KillSwitch
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook

STAGE = {"stage_instance_name": "LatePointTagger_01", "asset_ids": ["a"], "point_ids": ["p"]}


def test_every_method_once(emulator, pipeline_id):
    hook = EnOSStreamingHook()

    assert len(hook.list_pipelines()) == 3
    assert hook.get_pipeline(pipeline_id)["status"] == "PUBLISHED"
    assert hook.get_pipeline_details(pipeline_id)["name"] == "pipeline 1"
    hook.start_pipeline(pipeline_id, execution_mode="standalone", resource_config={"server": 2})
    assert hook.get_pipeline_offset_lag(pipeline_id)["newest"]["lag"] == 0
    hook.pause_pipeline(pipeline_id)
    assert len(hook.get_stage_state(pipeline_id, **STAGE)) == 1
    assert hook.delete_stage_state(pipeline_id, **STAGE) is True
    hook.reset_pipeline_offset(pipeline_id)
    hook.stop_pipeline(pipeline_id)
    assert hook.save_pipeline(pipeline_id, {"name": "new"}) == pipeline_id
    hook.release_pipeline(pipeline_id)

    history = [status for _, status in emulator.pipeline(pipeline_id).history]
    assert history == ["PUBLISHED", "RUNNING", "PAUSED", "STOPPED", "PUBLISHED"]
    assert [request.operation for request in emulator.requests] == [
        "token_get",
        "list",
        "list",
        "details",
        "start",
        "offset_lag",
        "pause",
        "stage_state_get",
        "stage_state_delete",
        "reset_offset",
        "stop",
        "save",
        "release",
    ]


@pytest.mark.parametrize(
    ("status", "call"),
    [
        ("RUNNING", lambda hook, _: hook.list_pipelines()),
        ("RUNNING", lambda hook, _: hook.list_pipelines(if_released=False)),
        ("RUNNING", lambda hook, pipeline_id: hook.get_pipeline(pipeline_id)),
        ("RUNNING", lambda hook, pipeline_id: hook.get_pipeline(pipeline_id)["status"]),
        ("RUNNING", lambda hook, pipeline_id: hook.get_pipeline_details(pipeline_id)),
        ("RUNNING", lambda hook, pipeline_id: hook.get_pipeline_offset_lag(pipeline_id)),
        ("PAUSED", lambda hook, pipeline_id: hook.get_stage_state(pipeline_id, **STAGE)),
        ("PAUSED", lambda hook, pipeline_id: hook.delete_stage_state(pipeline_id, **STAGE)),
        ("PAUSED", lambda hook, _: hook.save_pipeline(None, {"name": "new"})),
    ],
)
def test_what_a_method_returns_reaches_the_next_task_as_it_is(emulator, pipeline_id, status, call):
    """On its way from a ``@task`` the supervisor writes it as msgpack, the database as JSON."""
    emulator.add_pipeline(released=False)
    emulator.set_status(pipeline_id, status)

    returned = call(EnOSStreamingHook(), pipeline_id)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(serde.serialize(returned)))

    assert returned
    assert sent == returned
    assert serde.deserialize(json.loads(json.dumps(sent))) == returned


def test_organization_of_the_hook_comes_before_that_of_the_connection(emulator):
    emulator.add_organization("o2", pipelines=5)

    assert len(EnOSStreamingHook(org_id="o2").list_pipelines()) == 5


def test_wrong_argument_is_said_before_anything_is_sent(emulator, pipeline_id):
    hook = EnOSStreamingHook()

    for wrong in (
        lambda: hook.start_pipeline(pipeline_id, execution_mode="fast"),
        lambda: hook.start_pipeline("a/b", execution_mode=0),
        lambda: hook.get_pipeline("../x"),
        lambda: hook.stop_pipeline("null"),
        lambda: hook.get_stage_state(pipeline_id, **{**STAGE, "asset_ids": "a1"}),
    ):
        with pytest.raises(errors.InvalidSettingError):
            wrong()

    assert emulator.requests == []


def test_pipeline_that_is_not_listed_is_looked_for_twice(emulator):
    """EnOS does not say whether its list is consistent."""
    draft = emulator.add_pipeline(released=False)

    with pytest.raises(errors.PipelineNotFoundError, match=draft) as raised:
        EnOSStreamingHook().get_pipeline(draft)

    assert emulator.org_id in str(raised.value)
    assert len(emulator.requests_for("list")) == 4  # user and system pipelines, twice


# The connection


def test_session_is_that_of_the_calls(emulator):
    hook = EnOSStreamingHook()
    session = hook.get_conn()

    assert isinstance(session, requests.Session)
    assert session is hook.get_conn()
    assert session.trust_env is False
    assert session.get(f"{emulator.url}/_emulator/health", timeout=5).json()["status"] == "ok"


def test_missing_connection_is_a_wrong_setting_in_both_ways(emulator):
    with pytest.raises(errors.InvalidSettingError, match="no_such_conn"):
        EnOSStreamingHook("no_such_conn").list_pipelines()
    is_good, message = EnOSStreamingHook("no_such_conn").test_connection()
    assert not is_good
    assert "no_such_conn" in message
    with pytest.raises(errors.InvalidSettingError, match="no_such_conn"):
        asyncio.run(EnOSStreamingHook("no_such_conn").load())


def test_no_organization_says_where_to_put_it(emulator, connect):
    connect(emulator.connection, extra={"org_id": None})

    with pytest.raises(errors.InvalidSettingError, match="'org_id' of Airflow connection"):
        EnOSStreamingHook().list_pipelines()

    assert emulator.requests == []


# The Test button


def test_connection_test_says_how_many_pipelines(emulator):
    emulator.add_pipeline(released=False)

    assert EnOSStreamingHook().test_connection() == (
        True,
        "EnOS knows these keys. Organization o15517683199241 has 3 released pipelines and 1 that "
        "are not released.",
    )


def silent(emulator):
    emulator.faults.append(f.Slow(60, on="token_get"))
    return {}


WRONG = {
    "key": (lambda _: {"login": "nobody"}, "(EnOS code 1002, HTTP 200)"),
    "secret": (lambda _: {"password": "wrong"}, "(EnOS code 1003, HTTP 200)"),
    "host unknown": (lambda _: {"host": "https://enos.invalid"}, "enos.invalid"),
    "host refuses": (lambda _: {"host": "http://127.0.0.1:1"}, "127.0.0.1"),
    "host is silent": (silent, "no answer within 3 s"),
    "scheme": (lambda it: {"host": it.url.removeprefix("http://")}, "SSL"),
    "path": (lambda it: {"host": f"{it.url}/wrong"}, "no Route matched with those values"),
    "host empty": (lambda _: {"host": ""}, "'enos_default', host: got '', allowed is the address"),
    "no organization": (lambda _: {"extra": {"org_id": ""}}, "org_id: none is given"),
    "other organization": (lambda _: {"extra": {"org_id": "o2"}}, "(EnOS code 99403, HTTP 200"),
    "bundle": (lambda _: {"extra": {"verify": "/no/such.pem"}}, "verify: got '/no/such.pem'"),
    "503": (
        lambda it: it.faults.append(f.HttpError(503, on="list", times=None)) or {},
        "(HTTP 503)",
    ),
    "429 for an hour": (
        lambda it: it.faults.append(f.TooManyRequests(retry_after="3600", on="list")) or {},
        "API rate limit exceeded",
    ),
}


@pytest.mark.parametrize(("arrange", "says"), WRONG.values(), ids=WRONG)
def test_connection_test_says_what_is_wrong_in_one_line_and_ten_seconds(
    emulator, connect, arrange, says
):
    connect(emulator.connection, **arrange(emulator))
    began = time.monotonic()

    good, text = EnOSStreamingHook().test_connection()

    assert time.monotonic() - began < 10
    assert good is False
    assert says in text
    assert "\n" not in text
    assert emulator.secret_key not in text


def test_connection_test_asks_for_a_token_of_its_own(emulator, connect):
    """A token from before must not hide that the secret was changed."""
    EnOSStreamingHook().list_pipelines()

    EnOSStreamingHook().test_connection()

    assert len(emulator.requests_for("token_get")) == 2


# Killing


def test_kill_switch_ends_a_sleep_at_once_and_nothing_is_sent_after_it(emulator):
    emulator.faults.append(f.TooManyRequests(retry_after="15", on="list", times=None))
    switch = KillSwitch()
    raised = []

    def work():
        try:
            EnOSStreamingHook(kill_switch=switch).list_pipelines()
        except errors.TaskKilledError as error:
            raised.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    emulator.wait_for_request("list")
    began = time.monotonic()

    switch.pull()
    worker.join(10)

    assert time.monotonic() - began < 2
    assert str(raised[0]).startswith("the task was killed; nothing more was sent to EnOS")
    assert len(emulator.requests_for("list")) == 1


def test_hook_that_was_killed_sends_nothing(emulator, pipeline_id):
    switch = KillSwitch()
    hook = EnOSStreamingHook(kill_switch=switch)
    switch.pull()

    with pytest.raises(errors.TaskKilledError):
        hook.start_pipeline(pipeline_id, execution_mode=0)

    assert emulator.requests == []


def test_cancelled_flow_sends_nothing_more(emulator):
    """A triggerer cancels a trigger when it shuts down."""
    emulator.faults.append(f.TooManyRequests(retry_after="15", on="list", times=None))

    async def look_and_cancel():
        hook = EnOSStreamingHook()
        await hook.load()
        task = asyncio.create_task(hook.run_async(flows.list_pipelines(emulator.org_id)))
        await asyncio.to_thread(emulator.wait_for_request, "list")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(look_and_cancel())

    assert len(emulator.requests_for("list")) == 1


def test_threads_that_share_a_hook_wake_each_for_its_own():
    """What one waits for is no concern of the other's sleep."""
    switch, futures = KillSwitch(), [Future() for _ in range(20)]
    with ThreadPoolExecutor(len(futures)) as pool:
        waits = [pool.submit(switch.wait, future, None) for future in futures]
        for future in futures:
            future.set_result(None)

        for wait in waits:
            wait.result(timeout=10)
