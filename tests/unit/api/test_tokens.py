"""One token for everybody: fetched once, renewed early, dropped when rejected, never shown."""

import itertools
import json
import time

import pytest

from airflow_provider_enos.api import calls, flows, looks, tokens
from airflow_provider_enos.api.errors import (
    AuthenticationError,
    EnOSError,
    EnOSNoAnswerError,
    EnOSServerError,
    EnOSUnreachableError,
    EnOSUnreadableAnswerError,
    NoTokenError,
    RateLimitedError,
    RepeatedRequestError,
    TaskKilledError,
    WrongGatewayError,
)
from airflow_provider_enos.api.messages import Answer
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.api.sharing import SharedResults, shared
from airflow_provider_enos.api.tokens import TokenCache, cache_for
from airflow_provider_enos.api.transport import Send, Wait

REPEATED = {"status": 1001, "msg": "repeated request"}
EXPIRED = {"status": 1203, "msg": "access token has expired"}
NOT_REFRESHED = {"status": 1204, "msg": "failed to refresh access token"}
REJECTED = Answer(401, b'{"message":"Invalid authentication credentials"}')
DOWN = EnOSUnreachableError("connection refused")


def token(value, expire=7200):
    return {"status": 0, "msg": "SUCCESS", "data": {"accessToken": value, "expire": expire}}


def sent_token(request):
    return request.headers["apim-accesstoken"]


@pytest.fixture
def cache():
    return TokenCache()


@pytest.fixture
def flow(cache, settings):
    """Make a flow that asks the cache for a token."""
    return lambda: cache.token(settings)


@pytest.fixture
def stopping(cache, settings):
    """Make a signed flow of one request that must not be repeated."""
    return lambda: tokens.signed(flows.once(calls.stop_pipeline("o1", "p-1")), settings, cache)


def test_token_is_fetched_once_and_kept(stage, enos, flow):
    assert stage.run(flow()) == "T1"
    stage.now += 6899

    assert stage.run(flow()) == "T1"

    assert enos.log == ["get"]


@pytest.mark.parametrize(
    ("life", "renewed_after"), [(7200, 6900), (3000, 2700), (1000, 900), (10, 9), (0, 0), (-5, 0)]
)
def test_token_is_renewed_when_a_tenth_of_its_life_is_left(life, renewed_after, stage, enos, flow):
    """But at most 300 seconds before its end; 0 is what is left when EnOS does not say."""
    enos.tokens = [token("T1", life), token("T2")]
    stage.run(flow())
    stage.now += renewed_after - 0.001
    if renewed_after:
        assert stage.run(flow()) == "T1"
    stage.now += 0.002

    assert stage.run(flow()) == "T2"

    assert enos.log == ["get", "refresh" if life > 0 else "get"]


def test_refresh_names_the_token_it_refreshes(stage, enos, flow):
    enos.tokens = [token("T1"), token("T2")]
    stage.run(flow())
    stage.now += 7000

    stage.run(flow())

    body = json.loads(stage.requests[1].body)
    assert body["accessToken"] == "T1"
    assert body["timestamp"] == 1_700_007_000_000


def test_expired_token_is_not_refreshed_but_got_anew(stage, enos, flow):
    enos.tokens = [token("T1"), token("T2")]
    stage.run(flow())
    stage.now += 7201

    assert stage.run(flow()) == "T2"

    assert enos.log == ["get", "get"]


@pytest.mark.parametrize("refusal", [EXPIRED, NOT_REFRESHED, Answer(401, b""), Answer(500, b"")])
def test_token_whose_refresh_is_refused_is_got_anew(refusal, stage, enos, flow):
    enos.tokens = [token("T1"), refusal, token("T2")]
    stage.run(flow())
    stage.now += 7000

    assert stage.run(flow()) == "T2"

    assert enos.log == ["get", "refresh", "get"]


@pytest.mark.parametrize(
    "trouble", [DOWN, EnOSNoAnswerError("no answer"), Answer(503, b""), Answer(200, b"<html>")]
)
def test_outage_during_the_early_renewal_does_not_harm(trouble, stage, enos, flow):
    """The old token is good until its end; renewal is tried again, not with every request."""
    enos.tokens = [token("T1"), trouble]
    stage.run(flow())
    stage.now += 7000

    assert stage.run(flow()) == "T1"

    asked = len(enos.log)
    stage.now += 9.9
    assert stage.run(flow()) == "T1"
    assert len(enos.log) == asked
    stage.now += 0.2
    assert stage.run(flow()) == "T1"
    assert len(enos.log) > asked


def test_outage_is_an_error_once_the_old_token_is_over(stage, enos, flow):
    enos.tokens = [token("T1"), DOWN]
    stage.run(flow())
    stage.now += 7195
    assert stage.run(flow()) == "T1"

    stage.now += 5.1
    with pytest.raises(EnOSUnreachableError):
        stage.run(flow())


def test_repeated_request_is_asked_again_with_a_later_time_stamp(stage, enos, flow):
    """1001: another process asked in the same millisecond."""
    enos.tokens = [REPEATED, REPEATED, token("T1")]

    assert stage.run(flow()) == "T1"

    stamps = [json.loads(request.body)["timestamp"] for request in stage.requests]
    proofs = {json.loads(request.body)["encryption"] for request in stage.requests}
    assert stamps[0] == 1_700_000_000_000
    assert all(0 < later - earlier <= 21 for earlier, later in itertools.pairwise(stamps))
    assert len(proofs) == 3


def test_pause_before_a_repeated_request_is_drawn(stage, enos, flow):
    """Else the processes that met would meet again."""
    for _ in range(25):
        enos.tokens = [*[REPEATED] * 4, token("T1", 0)]
        stage.run(flow())

    assert len(stage.pauses) == 100
    assert all(0.001 <= pause <= 0.02 for pause in stage.pauses)
    assert min(stage.pauses) < 0.005
    assert max(stage.pauses) > 0.016


def test_repeated_request_for_ever_is_an_error_in_the_end(stage, enos, flow):
    enos.tokens = [REPEATED]

    with pytest.raises(RepeatedRequestError):
        stage.run(flow())

    assert enos.log == ["get"] * 5
    assert stage.elapsed_seconds < 1


def test_only_one_of_many_fetches(stage, enos, flow):
    first, second, third = stage.begin(flow()), stage.begin(flow()), stage.begin(flow())
    first.go_to(Send)
    second.go_to(Wait)
    third.go_to(Wait)

    assert first.finish() == "T1"

    assert [second.finish(), third.finish()] == ["T1", "T1"]
    assert enos.log == ["get"]


def test_waiters_get_the_error_of_the_one_who_fetched(stage, enos, flow):
    """Else a wrong secret would be tried once for every task of the triggerer."""
    enos.tokens = [{"status": 1003, "msg": "encryption not valid", "requestId": "r-1"}]
    first, second = stage.begin(flow()), stage.begin(flow())
    first.go_to(Send)
    second.go_to(Wait)

    with pytest.raises(AuthenticationError) as of_first:
        first.finish()
    with pytest.raises(AuthenticationError) as of_second:
        second.finish()

    assert enos.log == ["get"]
    assert str(of_second.value) == str(of_first.value)
    assert of_second.value is not of_first.value  # no shared traceback


def test_next_caller_tries_anew_after_a_failure(stage, enos, flow):
    enos.tokens = [DOWN, token("T1")]
    with pytest.raises(EnOSUnreachableError):
        stage.run(flow())

    assert stage.run(flow()) == "T1"


def test_waiter_takes_over_when_the_fetching_flow_is_closed(stage, enos, flow):
    """As when its task is cancelled in the triggerer."""
    first, second, third = stage.begin(flow()), stage.begin(flow()), stage.begin(flow())
    first.go_to(Send)
    second.go_to(Wait)
    third.go_to(Wait)

    first.flow.close()

    second.go_to(Send)
    third.carry_out()
    third.go_to(Wait)
    assert [second.finish(), third.finish()] == ["T1", "T1"]
    assert enos.log == ["get"]


def test_waiter_takes_over_when_the_task_of_the_fetching_flow_is_killed(stage, enos, flow):
    waiting = []

    def killing(_):
        waiting.append(stage.begin(flow()))
        waiting[0].go_to(Wait)
        raise TaskKilledError("the task was killed")

    stage.server = killing
    stage.run_until_killed(flow())
    stage.server = enos

    assert waiting[0].finish() == "T1"


def test_kill_during_an_early_renewal_ends_the_flow_and_keeps_the_old_token(stage, enos, flow):
    def killing(_):
        raise TaskKilledError("the task was killed")

    stage.now = time.time() - 7000
    stage.run(flow())
    stage.server = killing
    stage.run_until_killed(flow())

    stage.server = enos
    assert stage.run(flow()) == "T1"
    assert enos.log == ["get"]


def test_nobody_waits_for_a_renewal_while_the_old_token_is_good(stage, enos, flow):
    enos.tokens = [token("T1"), token("T2")]
    stage.run(flow())
    stage.now += 7000
    renewing = stage.begin(flow())
    renewing.go_to(Send)

    assert stage.run(flow()) == "T1"

    assert renewing.finish() == "T2"
    assert stage.run(flow()) == "T2"
    assert enos.log == ["get", "refresh"]


def test_closed_renewal_keeps_the_old_token(stage, enos, flow):
    enos.tokens = [token("T1"), token("T2")]
    stage.run(flow())
    stage.now += 7000
    renewing = stage.begin(flow())
    renewing.go_to(Send)

    renewing.flow.close()

    assert stage.run(flow()) == "T2"


def test_waiters_of_a_late_renewal_get_the_new_token(stage, enos, flow):
    enos.tokens = [token("T1"), token("T2")]
    stage.run(flow())
    stage.now += 7300
    first, second = stage.begin(flow()), stage.begin(flow())
    first.go_to(Send)
    second.go_to(Wait)

    assert [first.finish(), second.finish()] == ["T2", "T2"]


def test_rejected_token_is_renewed_and_the_request_sent_again(stage, enos, stopping):
    """Safe also for a POST: with a rejected token nothing was carried out."""
    enos.tokens = [token("T1"), token("T2")]
    enos.stops = [REJECTED, enos.OK]

    stage.run(stopping())

    assert enos.log == ["get", "stop", "get", "stop"]
    assert [sent_token(r) for r in stage.requests if r.signed] == ["T1", "T2"]
    assert stage.pauses == []


@pytest.mark.parametrize(
    "rejection",
    [
        REJECTED,
        {"code": 401, "msg": "no"},
        EXPIRED,
        {"apim_status": 4011},
        {"apim_status": 4012},
    ],
)
def test_second_rejection_is_an_authentication_error(rejection, stage, enos, stopping):
    enos.stops = [rejection]

    with pytest.raises(AuthenticationError):
        stage.run(stopping())

    assert enos.log == ["get", "stop", "get", "stop"]


def test_rejected_token_is_renewed_once_for_all_its_users(stage, enos, flow, stopping):
    enos.tokens = [token("T1"), token("T2")]
    enos.stops = [REJECTED, REJECTED, enos.OK]
    stage.run(flow())
    first, second = stage.begin(stopping()), stage.begin(stopping())
    first.go_to(Send)
    second.go_to(Send)

    first.carry_out()
    second.carry_out()
    first.finish()
    second.finish()

    assert enos.log == ["get", "stop", "stop", "get", "stop", "stop"]


def test_rejection_of_an_old_token_does_not_drop_the_new_one(stage, enos, flow, cache):
    enos.tokens = [token("T2")]
    stage.run(flow())

    cache.drop("T1")

    assert stage.run(flow()) == "T2"
    assert enos.log == ["get"]


def test_rejected_token_does_not_come_back_when_its_renewal_fails(stage, enos, flow, cache):
    """The one who renewed it still gets it; his request is rejected and his next token is new."""
    enos.tokens = [token("T1"), DOWN, token("T2")]
    stage.run(flow())
    stage.now += 7000
    renewing = stage.begin(flow())
    renewing.go_to(Send)
    cache.drop("T1")

    assert renewing.finish() == "T1"

    assert stage.run(flow()) == "T2"
    assert enos.log == ["get", "refresh", "get"]


def test_rejected_token_does_not_come_back_as_its_own_renewal(stage, enos, flow, cache):
    """EnOS may give the same token a longer life; it was rejected all the same."""
    enos.tokens = [token("T1"), token("T1"), token("T2")]
    stage.run(flow())
    stage.now += 7000
    renewing = stage.begin(flow())
    renewing.go_to(Send)
    cache.drop("T1")
    renewing.finish()

    assert stage.run(flow()) == "T2"


def test_renewal_with_another_token_is_kept_although_the_old_one_was_rejected(
    stage, enos, flow, cache
):
    enos.tokens = [token("T1"), token("T2")]
    stage.run(flow())
    stage.now += 7000
    renewing = stage.begin(flow())
    renewing.go_to(Send)
    cache.drop("T1")

    assert renewing.finish() == "T2"

    assert stage.run(flow()) == "T2"
    assert enos.log == ["get", "refresh"]


def test_renewal_with_the_same_token_has_a_longer_life(stage, enos, flow):
    enos.tokens = [token("T1")]
    stage.run(flow())
    stage.now += 7000
    stage.run(flow())
    stage.now += 6899

    assert stage.run(flow()) == "T1"
    assert enos.log == ["get", "refresh"]


def test_request_whose_renewal_gave_a_rejected_token_is_sent_with_a_new_one(
    stage, enos, flow, cache, stopping
):
    enos.tokens = [token("T1"), DOWN, token("T2")]
    enos.stops = [REJECTED, enos.OK]
    stage.run(flow())
    stage.now += 7000
    course = stage.begin(stopping())
    course.go_to(Send)
    cache.drop("T1")

    course.finish()

    assert [sent_token(r) for r in stage.requests if r.signed] == ["T1", "T2"]


def test_each_request_is_signed_with_its_own_time(stage, enos, settings, cache):
    enos.statuses = [None, "RUNNING"]

    stage.run(
        tokens.signed(shared(looks.find_pipeline("o1", "p-1"), SharedResults()), settings, cache)
    )

    stamps = [request.headers["apim-timestamp"] for request in stage.requests if request.signed]
    assert stamps == ["1700000000000"] * 2 + ["1700000002000"]
    assert enos.log == ["get", "list", "list"]


def test_error_of_a_step_is_thrown_into_the_flow_that_is_signed(stage, enos, settings, cache):
    enos.statuses = [DOWN, "RUNNING"]

    found = stage.run(tokens.signed(flows.list_pipelines("o1"), settings, cache))

    assert found["p-1"].status == "RUNNING"
    assert len(stage.pauses) == 1


def test_closing_closes_the_flow_inside(stage, settings, cache):
    inner = flows.list_pipelines("o1")
    course = stage.begin(tokens.signed(inner, settings, cache))
    course.go_to(Send)

    course.flow.close()

    assert inner.gi_frame is None


def test_outage_of_the_token_service_is_waited_out_by_the_flow(stage, enos, settings, cache):
    enos.tokens = [DOWN, Answer(503, b""), token("T1")]

    stage.run(tokens.signed(flows.list_pipelines("o1"), settings, cache))

    assert enos.log == ["get", "get", "get", "list"]


def test_trouble_with_the_token_is_not_ambiguous(stage, enos, stopping):
    """The request itself was not sent, so there is nothing that may have been carried out."""
    enos.tokens = [Answer(503, b"", {"retry-after": "7"})]

    with pytest.raises(NoTokenError) as caught:
        stage.run(stopping())

    assert (caught.value.transient, caught.value.ambiguous) == (True, False)
    assert caught.value.retry_after_seconds == 7
    assert str(caught.value) == (
        "Cannot stop pipeline p-1 of organization o1: no access token: an empty answer (HTTP 503)."
    )


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        (
            EnOSNoAnswerError("no answer: timed out."),
            "Cannot stop pipeline p-1 of organization o1: no access token: no answer: timed out.",
        ),
        (
            {"status": 1005, "msg": "Inside.", "requestId": "r-1"},
            "Cannot stop pipeline p-1 of organization o1: no access token: EnOS answered "
            '"Inside." (EnOS code 1005, HTTP 200, request ID r-1).',
        ),
    ],
)
def test_request_without_a_token_tells_why_it_has_none(trouble, text, stage, enos, stopping):
    enos.tokens = [trouble]

    with pytest.raises(NoTokenError) as caught:
        stage.run(stopping())

    assert str(caught.value) == text


def test_host_that_is_no_gateway_is_told_as_such(stage, enos, stopping):
    """The token is the first that is asked for, so this is how a wrong host is found out."""
    enos.tokens = [Answer(200, b"<html>Welcome</html>")]

    with pytest.raises(NoTokenError) as caught:
        stage.run(stopping())

    assert "Is the host of the Airflow connection the API gateway of EnOS?" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error_class"),
    [
        (DOWN, EnOSUnreachableError),
        (Answer(429, b""), RateLimitedError),
        ({"status": 1003, "msg": "encryption not valid"}, AuthenticationError),
        (Answer(404, b""), WrongGatewayError),
    ],
)
def test_answer_of_the_token_service_that_is_plain_stays_as_it_is(
    answer, error_class, stage, enos, stopping
):
    enos.tokens = [answer]

    with pytest.raises(error_class) as caught:
        stage.run(stopping())

    assert type(caught.value) is error_class
    assert enos.log == ["get"]


def test_each_waiter_without_a_token_tells_of_its_own_request(stage, enos, settings, cache):
    enos.tokens = [Answer(503, b"")]
    first, second = (
        stage.begin(tokens.signed(flows.once(call), settings, cache))
        for call in (calls.stop_pipeline("o1", "p-1"), calls.pause_pipeline("o1", "p-2"))
    )
    first.go_to(Send)
    second.go_to(Wait)

    with pytest.raises(NoTokenError, match=r"^Cannot stop pipeline p-1 of organization o1: no acc"):
        first.finish()
    with pytest.raises(
        NoTokenError, match=r"^Cannot pause pipeline p-2 of organization o1: no acc"
    ):
        second.finish()

    assert enos.log == ["get"]


def test_stop_waits_out_trouble_with_the_token(stage, enos, settings, cache):
    enos.tokens = [Answer(503, b""), token("T1")]

    stage.run(tokens.signed(flows.ask(calls.stop_pipeline("o1", "p-1")), settings, cache))

    assert enos.log == ["get", "get", "stop"]


def test_nested_token_answer_is_no_crash(stage, enos, flow):
    enos.tokens = [Answer(200, b'{"status":0,"data":' + b"[" * 100_000)]

    with pytest.raises(EnOSUnreadableAnswerError):
        stage.run(flow())


def test_caches_are_kept_apart_by_gateway_key_and_secret():
    """A corrected secret must not be answered with the token of the wrong one, or the reverse."""

    def cache_of(gateway, access_key, secret_key):
        return cache_for(EnOSSettings(gateway, access_key, secret_key))

    base = cache_of("https://g1", "AK", "SK")

    assert cache_of("https://g1", "AK", "SK") is base
    assert cache_of("https://g2", "AK", "SK") is not base
    assert cache_of("https://g1", "AK2", "SK") is not base
    assert cache_of("https://g1", "AK", "SK2") is not base


def test_cache_shows_no_token(stage, enos, flow, cache):
    enos.tokens = [token("T0ken")]
    stage.run(flow())

    assert "T0ken" not in repr(cache)
    assert "T0ken" not in repr(cache._held)


def test_errors_and_log_lines_hold_no_secret(stage, enos, settings, cache):
    enos.tokens = [token("T0ken"), {"status": 1003, "msg": "encryption not valid"}]
    enos.stops = [REJECTED]

    with pytest.raises(AuthenticationError) as caught:
        stage.run(tokens.signed(flows.ask(calls.stop_pipeline("o1", "p-1")), settings, cache))

    shown = f"{caught.value} {caught.value!r} {caught.value.to_payload()} {stage.lines}"
    assert "s3cret-key" not in shown
    assert "T0ken" not in shown


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":{"accessToken":"T0ken","expire":7200}}',
        b'{"status":7,"data":{"accessToken":"T0ken","expire":7200}}',
        b'{"status":0,"data":{"accessToken":"T0ken"},}',
    ],
)
def test_strange_answer_of_the_token_service_is_not_quoted(body, stage, enos, flow):
    enos.tokens = [Answer(200, body)]

    with pytest.raises(EnOSError) as caught:
        stage.run(flow())

    assert "T0ken" not in str(caught.value)


@pytest.mark.parametrize("status", [500, 503])
def test_server_error_of_the_token_service_is_told_as_such(status, stage, enos, flow):
    enos.tokens = [Answer(status, b"")]

    with pytest.raises(EnOSServerError) as caught:
        stage.run(flow())

    assert str(caught.value) == f"Cannot get an access token: an empty answer (HTTP {status})."
