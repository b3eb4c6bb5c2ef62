"""Each fault, as a real client meets it."""

import time

import pytest
import requests

from airflow_provider_enos.emulator.faults import (
    Code,
    CutAnswer,
    DropRequest,
    Garbage,
    HttpError,
    HugeBody,
    LoseAnswer,
    Redirect,
    RevokeToken,
    Slow,
    TooManyRequests,
    Trickle,
)


@pytest.fixture
def pipeline_id(enos):
    return enos.pipeline_ids[0]


@pytest.mark.parametrize("fault", [LoseAnswer(on="start"), CutAnswer(on="start")])
def test_broken_answer_to_a_start_that_was_carried_out(enos, client, pipeline_id, fault):
    enos.faults.append(fault)

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        client.start(pipeline_id)

    assert enos.status_of(pipeline_id) == "RUNNING"
    [start] = enos.requests_for("start")
    assert (start.code, start.http_status, start.effective) == (0, None, True)
    assert start.fault == type(fault).__name__
    assert client.start(pipeline_id).json()["code"] == 61165


def test_dropped_request_is_not_carried_out(enos, client, pipeline_id):
    enos.faults.append(DropRequest(on="start"))

    with pytest.raises(requests.ConnectionError):
        client.start(pipeline_id)

    assert enos.status_of(pipeline_id) == "PUBLISHED"
    [start] = enos.requests_for("start")
    assert (start.code, start.http_status, start.effective) == (None, None, False)


def test_cut_answer_arrives_in_part(enos, client):
    enos.faults.append(CutAnswer(on="list"))
    client.ask_token()
    got = b""

    def read():
        nonlocal got
        query = {"orgId": client.org_id, "ifReleased": "true"}
        path = "/streaming/v2.0/streaming/pipelines"
        with client.signed("GET", path, query, stream=True) as answer:
            for byte in answer.raw.stream(1):
                got += byte

    with pytest.raises(Exception, match=r"reset|IncompleteRead|broken"):
        read()
    assert not got.endswith(b"}")


def test_http_error_with_and_without_effect(enos, client, pipeline_id):
    enos.faults.append(HttpError(503, "<h1>busy</h1>", {"Retry-After": "1"}, on="start"))
    enos.faults.append(HttpError(502, carried_out=True, on="start"))

    first = client.start(pipeline_id)
    assert (first.status_code, first.text) == (503, "<h1>busy</h1>")
    assert first.headers["Retry-After"] == "1"
    assert enos.status_of(pipeline_id) == "PUBLISHED"

    assert client.start(pipeline_id).status_code == 502
    assert enos.status_of(pipeline_id) == "RUNNING"


@pytest.mark.parametrize("retry_after", ["3", "Wed, 21 Oct 2026 07:28:00 GMT", None])
def test_too_many_requests(enos, client, retry_after):
    enos.faults.append(TooManyRequests(retry_after=retry_after))

    answer = client.ask_token()

    assert answer.status_code == 429
    assert answer.json() == {"message": "API rate limit exceeded"}
    assert answer.headers.get("Retry-After") == retry_after


def test_revoked_token_of_one_request(enos, client):
    client.get("/pipelines")
    enos.faults.append(RevokeToken(on="list"))

    assert client.get("/pipelines").status_code == 401

    assert client.get("/pipelines").status_code == 401
    client.token = None
    assert client.get("/pipelines").status_code == 200


def test_slow_answer_is_carried_out_first(enos, client, pipeline_id):
    client.ask_token()
    enos.faults.append(Slow(60, on="stop"))
    enos.set_status(pipeline_id, "RUNNING")
    path = f"/streaming/v2.0/streaming/pipeline/{pipeline_id}"

    with pytest.raises(requests.ReadTimeout):
        client.signed("POST", path, {"orgId": client.org_id, "action": "stop"}, timeout=0.2)

    assert enos.status_of(pipeline_id) == "STOPPED"


def test_slow_answer_arrives(enos, client):
    enos.faults.append(Slow(0.2, on="list"))

    assert client.get("/pipelines").elapsed.total_seconds() >= 0.2
    assert enos.requests_for("list")[0].duration_seconds >= 0.2


def test_trickle(enos, client):
    enos.settings.request_id = False
    enos.faults.append(Trickle(200, on="start"))
    client.ask_token()
    began = time.monotonic()

    answer = client.start(enos.pipeline_ids[0])

    assert answer.json() == {"code": 0, "msg": "OK"}
    assert time.monotonic() - began >= 0.1


def test_garbage_with_and_without_effect(enos, client, pipeline_id):
    enos.faults.append(Garbage("<html>login</html>", on="start"))
    enos.faults.append(Garbage("{", "application/json", carried_out=True, on="start"))

    first = client.start(pipeline_id)
    assert (first.status_code, first.text) == (200, "<html>login</html>")
    assert first.headers["Content-Type"].startswith("text/html")
    assert enos.status_of(pipeline_id) == "PUBLISHED"

    second = client.start(pipeline_id)
    assert (second.text, second.headers["Content-Type"]) == ("{", "application/json")
    assert enos.status_of(pipeline_id) == "RUNNING"


def test_huge_body(enos, client):
    enos.faults.append(HugeBody(3, on="list"))

    assert len(client.get("/pipelines").content) > 3 * 1024 * 1024


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Code(61115), "Failed to get stream processing jobs."),
        (Code(61128), "Your organization has not requested  processing resource."),
        (Code(12345, "anything"), "anything"),
        (Code(12345), ""),
    ],
)
def test_any_code(enos, client, fault, message):
    enos.faults.append(fault)
    client.token = "not looked at"

    answer = client.get("/pipelines").json()

    assert answer["code"] == fault.code
    assert answer["msg"].startswith(message)


def test_code_of_the_token_service(enos, client):
    enos.faults.append(Code(1005, on="token_get"))

    assert client.ask_token().json()["status"] == 1005


def test_redirect(enos, client):
    enos.faults.append(Redirect("https://example.invalid/login", on="token_get"))
    path = f"{enos.url}/apim-token-service/v2.0/token/get"

    answer = requests.post(path, json={}, timeout=10, allow_redirects=False)

    assert (answer.status_code, answer.headers["Location"]) == (
        302,
        "https://example.invalid/login",
    )


def test_faults_come_in_order_and_so_often(enos, client):
    enos.faults.append(HttpError(500, times=2, on="list"))
    enos.faults.append(HttpError(503, on="list"))

    statuses = [client.get("/pipelines").status_code for _ in range(4)]

    assert statuses == [500, 500, 503, 200]
    assert len(enos.faults) == 0


def test_fault_for_one_pipeline_until_cleared(enos, client):
    first, second, _ = enos.pipeline_ids
    enos.faults.append(HttpError(500, pipeline_id=first, times=None))

    assert [client.start(first).status_code for _ in range(3)] == [500, 500, 500]
    assert client.start(second).status_code == 200
    enos.faults.clear()
    assert client.start(first).status_code == 200


def test_fault_for_unknown_routes(enos):
    enos.faults.append(HttpError(500, on="unknown"))

    assert requests.get(f"{enos.url}/nowhere", timeout=10).status_code == 500
    assert requests.get(f"{enos.url}/nowhere", timeout=10).status_code == 404


def test_control_api_meets_no_fault(enos, client):
    enos.faults.append(HttpError(500, times=None))

    assert client.control("GET", "/health").status_code == 200
    assert len(enos.faults) == 1
