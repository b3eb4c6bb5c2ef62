"""Signatures against published and recorded vectors; also through the code that uses them."""

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_provider_enos.api import calls, flows, tokens
from airflow_provider_enos.api.messages import Call, Request
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.api.signing import signature, signed_headers, token_encryption

VECTORS = json.loads(Path(__file__).with_name("signing_vectors.json").read_text("utf-8"))

each_signature = pytest.mark.parametrize("vector", VECTORS["apim_signature"], ids=lambda v: v["id"])
each_encryption = pytest.mark.parametrize("vector", VECTORS["token_encryption"])


def query_of(vector):
    return tuple(parse_qsl(urlsplit(vector["url"]).query, keep_blank_values=True))


def settings_of(vector):
    return EnOSSettings("https://h", vector["app_key"], vector["app_secret"])


@each_signature
def test_signature(vector):
    """The order of the query does not matter."""
    for query in (query_of(vector), reversed(query_of(vector))):
        found = signature(
            token=vector["token"],
            secret_key=vector["secret_key"],
            timestamp_ms=int(vector["timestamp"]),
            query=query,
            body=vector["body"].encode(),
        )

        assert found == vector["signature"]


@each_signature
def test_signed_flow_sends_the_three_headers(vector, stage_for):
    """The whole way: token from the token service, time from the driver, query and body as sent."""
    parts = urlsplit(vector["url"])
    request = Request(
        vector["method"],
        parts.path,
        "try a vector",
        query=query_of(vector),
        body=vector["body"].encode(),
        headers={"X-Own": "kept"},
    )
    settings = EnOSSettings(f"https://{parts.netloc}", "AK", vector["secret_key"])
    token = {"status": 0, "data": {"accessToken": vector["token"], "expire": 7200}}
    stage = stage_for([token, {"code": 0, "data": "seen"}])
    stage.now = int(vector["timestamp"]) / 1000
    flow = flows.once(Call(request, str))

    outcome = stage.run(tokens.signed(flow, settings, tokens.TokenCache()))

    assert outcome == "seen"
    assert stage.requests[1].headers == {
        "X-Own": "kept",
        "apim-accesstoken": vector["token"],
        "apim-timestamp": vector["timestamp"],
        "apim-signature": vector["signature"],
    }


@pytest.mark.parametrize(
    ("query", "on_wire"),
    [
        ((("startTime", "2020-12-10 00:00:00"),), "/b?startTime=2020-12-10%2000%3A00%3A00"),
        ((("tz", "+08:00"),), "/b?tz=%2B08%3A00"),
        ((("name", "Zürich é"),), "/b?name=Z%C3%BCrich%20%C3%A9"),
        ((("a", ""), ("b", "x&y=/?#")), "/b?a=&b=x%26y%3D%2F%3F%23"),
        ((), "/b"),
    ],
)
def test_query_is_encoded_on_the_wire_only(query, on_wire):
    assert Request("GET", "/b", "try", query=query).target == on_wire


def test_signed_headers_of_the_documented_example():
    vector = VECTORS["apim_signature"][0]

    headers = signed_headers(
        token="xxxxaaaxxxx",
        secret_key="xxxappSecretxxx",
        timestamp_ms=1572574909697,
        query=[("k3", "v3"), ("k1", "v1"), ("k2", "v2")],
        body=vector["body"].encode(),
    )

    assert headers == {
        "apim-accesstoken": "xxxxaaaxxxx",
        "apim-timestamp": "1572574909697",
        "apim-signature": "59828328f6c1f9771015dc74e4929ae30f518a35a3d2353972c2ea46556fc981",
    }


@each_encryption
def test_token_encryption(vector):
    found = token_encryption(vector["app_key"], vector["app_secret"], vector["timestamp"])

    assert found == vector["encryption"]


@each_encryption
def test_get_token_sends_the_recorded_body(vector):
    request = calls.get_token(settings_of(vector), vector["timestamp"]).request

    assert request.target == "/apim-token-service/v2.0/token/get"
    assert json.loads(request.body) == json.loads(vector["get_request_body_example"])


@each_encryption
def test_refresh_token_sends_the_recorded_body(vector):
    token = "APIM_TEST_TOKEN_0001"

    request = calls.refresh_token(settings_of(vector), vector["timestamp"], token).request

    assert request.target == "/apim-token-service/v2.0/token/refresh"
    assert json.loads(request.body) == json.loads(vector["refresh_request_body_example"])
