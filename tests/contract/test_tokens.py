"""Access tokens: how many are asked for, when, and what a wrong key leads to."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_enos.api import calls, errors, flows
from airflow_provider_enos.emulator import faults as f
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook

ORG = "o15517683199241"


def look():
    return flows.ask(calls.list_pipelines(ORG))


def operations(emulator):
    return [request.operation for request in emulator.requests]


def test_one_token_for_many_calls_of_many_hooks(emulator, run):
    for _ in range(3):
        run(look())

    assert operations(emulator) == ["token_get", "list", "list", "list"]


def in_threads(count):
    ready = threading.Barrier(count)

    def one(_):
        hook = EnOSStreamingHook()
        ready.wait()
        return hook.run(look())

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def in_coroutines(count):
    async def one():
        hook = EnOSStreamingHook()
        await hook.load()
        return await hook.run_async(look())

    async def all_of_them():
        return await asyncio.gather(*(one() for _ in range(count)))

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("at_once", [in_threads, in_coroutines])
def test_twenty_at_once_ask_for_one_token(emulator, at_once):
    emulator.faults.append(f.Slow(0.2, on="token_get"))

    found = at_once(20)

    assert [len(page.pipelines) for page in found] == [3] * 20
    assert len(emulator.requests_for("token_get")) == 1
    assert len(emulator.requests_for("list")) == 20


@pytest.mark.parametrize("at_once", [in_threads, in_coroutines])
def test_twenty_at_once_share_one_refusal(emulator, connect, at_once):
    """A wrong key must not become twenty refusals, which may lock an account."""
    connect(emulator.connection, login="unknown-key")
    emulator.faults.append(f.Slow(0.5, on="token_get"))

    with pytest.raises(errors.AuthenticationError, match="EnOS code 1002"):
        at_once(20)

    assert operations(emulator) == ["token_get"]


def test_threads_and_event_loops_share_the_token(emulator):
    in_threads(1)
    in_coroutines(1)

    assert operations(emulator) == ["token_get", "list", "list"]


def test_another_secret_is_not_served_from_the_cache(emulator, connect, run):
    """Else a wrong secret would go unnoticed until the token expires."""
    run(look())
    connect(emulator.connection, password="wrong")

    with pytest.raises(errors.AuthenticationError, match="EnOS code 1003"):
        run(look())


def test_token_is_renewed_before_it_expires(emulator, run):
    """A life of a second is renewed after nine tenths, so no request meets an old token."""
    emulator.settings.token_seconds = 1

    def look_for_a_while():
        while len(emulator.requests_for("token_refresh")) < 1:
            yield from look()

    run(look_for_a_while())

    assert len(emulator.requests_for("token_get")) == 1
    assert {request.http_status for request in emulator.requests} == {200}


@pytest.mark.parametrize("answer", ["401", "1203", "4011"])
def test_revoked_token_is_renewed_once_and_the_request_sent_again(emulator, run, answer):
    emulator.settings.expired_token_answer = answer
    run(look())
    emulator.revoke_tokens()
    emulator.clear_requests()

    assert len(run(look()).pipelines) == 3

    assert operations(emulator) == ["list", "token_get", "list"]


@pytest.mark.parametrize("answer", ["401", "1203", "4011"])
def test_token_that_is_rejected_again_is_an_error_not_a_loop(emulator, run, answer):
    emulator.settings.expired_token_answer = answer
    emulator.faults.append(f.RevokeToken(on="list", times=None))

    with pytest.raises(errors.AuthenticationError, match=f"organization {ORG}") as raised:
        run(look())

    assert "Check login (access key) and password (secret key)" in str(raised.value)
    assert operations(emulator) == ["token_get", "list", "token_get", "list"]


def test_rejected_start_is_sent_again_and_starts_once(emulator, run, pipeline_id):
    emulator.faults.append(f.RevokeToken(on="stop"))
    emulator.set_status(pipeline_id, "RUNNING")

    run(flows.ask(calls.stop_pipeline(ORG, pipeline_id)))

    assert [request.effective for request in emulator.requests_for("stop")] == [False, True]


@pytest.mark.parametrize(
    ("field", "code"), [({"login": "unknown-key"}, 1002), ({"password": "wrong-secret"}, 1003)]
)
def test_wrong_key_is_said_at_once_and_not_tried_again(emulator, connect, run, field, code):
    connect(emulator.connection, **field)

    with pytest.raises(errors.AuthenticationError, match=f"EnOS code {code}, HTTP 200") as raised:
        run(look())

    assert operations(emulator) == ["token_get"]
    for secret in (emulator.secret_key, "wrong-secret", "unknown-key", emulator.access_key):
        assert secret not in str(raised.value)


def test_refused_refresh_falls_back_to_a_new_token(emulator):
    emulator.settings.token_seconds = 1
    emulator.faults.append(f.Code(1204, on="token_refresh"))

    def look_until_refreshed():
        while not emulator.requests_for("token_refresh"):
            yield from look()

    EnOSStreamingHook().run(look_until_refreshed())

    assert len(emulator.requests_for("token_get")) == 2
    assert {request.http_status for request in emulator.requests} == {200}


def test_good_token_is_used_on_while_the_token_service_is_down(emulator):
    emulator.settings.token_seconds = 2
    hook = EnOSStreamingHook()
    hook.run(look())
    for operation in ("token_refresh", "token_get"):
        emulator.faults.append(f.HttpError(503, on=operation, times=None))

    def look_on_after_a_refusal():
        while not emulator.requests_for("token_refresh"):
            yield from look()
        yield from look()

    hook.run(look_on_after_a_refusal())

    assert {request.code for request in emulator.requests_for("list")} == {0}
    assert operations(emulator).count("token_refresh") == 1


@pytest.mark.parametrize("token", ["", "a\nb", "a\u00e9", 7, None])
def test_token_that_no_header_can_carry_is_refused(emulator, run, token):
    data = {"status": 0, "msg": "SUCCESS", "data": {"accessToken": token, "expire": 7200}}
    emulator.faults.append(f.Garbage(json.dumps(data), "application/json", on="token_get"))

    with pytest.raises(errors.NoTokenError, match="no access token in the answer"):
        run(flows.once(calls.list_pipelines(ORG)))


def test_same_millisecond_as_another_process_is_tried_again(emulator, run):
    emulator.faults.append(f.Code(1001, on="token_get", times=3))

    run(look())

    assert operations(emulator) == ["token_get"] * 4 + ["list"]
