"""The bytes of a request: the same from both clients, and what the documentation asks for."""

import contextlib
import hashlib
import re

import pytest

from airflow_provider_enos.api import calls, errors, flows
from airflow_provider_enos.api.start_settings import StartSettings

ORG = "o15517683199241"
PIPELINE = "/streaming/v2.0/streaming/pipeline"
START = StartSettings.parse(pipeline_id="p-1", execution_mode="standalone", resource_config=1)
STAGE = {"stage_instance_name": "LatePointTagger_01", "asset_ids": ["ä", "b"], "point_ids": ["p"]}

#: Call, method, target, body. Paths: the page of each call.
WIRE = {
    "list": (
        calls.list_pipelines(ORG, page_no=2),
        "GET",
        "/streaming/v2.0/streaming/pipelines"
        f"?orgId={ORG}&pageSize=100&pageNo=2&isSystem=false&ifReleased=true",
        b"",
    ),
    "details": (
        calls.get_pipeline_details(ORG, "p-1"),
        "GET",
        f"{PIPELINE}/p-1?orgId={ORG}&ifReleased=false",
        b"",
    ),
    "lag": (
        calls.get_pipeline_offset_lag(ORG, "p-1"),
        "GET",
        f"{PIPELINE}/p-1/offset-lag?orgId={ORG}",
        b"",
    ),
    "start": (
        calls.start_pipeline(ORG, START),
        "POST",
        f"{PIPELINE}/p-1?action=start&orgId={ORG}",
        b'{"executionMode":0,"kafkaRate":1000,"resourceConfig":{"server":1}}',
    ),
    "stop": (
        calls.stop_pipeline(ORG, "p-1"),
        "POST",
        f"{PIPELINE}/p-1?action=stop&orgId={ORG}",
        b"",
    ),
    "pause": (
        calls.pause_pipeline(ORG, "p-1"),
        "POST",
        f"{PIPELINE}/p-1?action=pause&orgId={ORG}",
        b"",
    ),
    "release": (
        calls.release_pipeline(ORG, "p-1"),
        "POST",
        f"{PIPELINE}/p-1?action=release&orgId={ORG}",
        b"",
    ),
    "save": (
        calls.save_pipeline(ORG, None, {"name": "Zürich"}),
        "POST",
        f"{PIPELINE}/null?action=save&orgId={ORG}",
        '{"name":"Zürich"}'.encode(),
    ),
    "reset offset": (
        calls.reset_pipeline_offset(ORG, "p-1"),
        "POST",
        f"{PIPELINE}/p-1/offset?orgId={ORG}",
        b"",
    ),
    "stage state": (
        calls.get_stage_state(ORG, "p-1", **STAGE),
        "POST",
        f"/streaming/v2.0/stage-state?action=get&orgId={ORG}",
        '{"pipelineId":"p-1","stageInstanceName":"LatePointTagger_01",'
        '"assetIds":"ä,b","pointIds":"p"}'.encode(),
    ),
    "letters": (
        calls.get_pipeline_details("ö+&1", "a=b"),
        "GET",
        f"{PIPELINE}/a%3Db?orgId=%C3%B6%2B%261&ifReleased=false",
        b"",
    ),
}


@pytest.mark.parametrize("case", WIRE.values(), ids=WIRE)
def test_request_on_the_wire(gateway, emulator, run, case):
    call, method, target, body = case
    seen = gateway()

    # This gateway has no data for reads.
    with contextlib.suppress(errors.EnOSUnreadableAnswerError):
        run(flows.once(call))

    token, request = seen
    assert (token.method, token.target) == ("POST", "/apim-token-service/v2.0/token/get")
    assert not [name for name in token.headers if name.startswith("apim-")]
    assert (request.method, request.target, request.body) == (method, target, body)
    headers = request.headers
    json_type = "application/json;charset=UTF-8" if body else None
    assert headers.get("content-type") == json_type
    assert headers.get("content-length") == (str(len(body)) if method == "POST" else None)
    assert headers["accept"] == "application/json"
    assert headers["user-agent"].startswith("airflow-provider-enos/")
    assert headers["apim-accesstoken"] == "t-1"
    assert re.fullmatch(r"[0-9]{13}", headers["apim-timestamp"])
    assert re.fullmatch(r"[0-9a-f]{64}", headers["apim-signature"])
    assert "authorization" not in headers
    assert "cookie" not in headers
    assert emulator.secret_key not in repr(seen)


def test_signature_is_the_documented_one(gateway, emulator, run):
    """Token, parameters sorted by name and decoded, body, time stamp, secret; SHA-256, hex."""
    seen = gateway()

    run(flows.once(calls.start_pipeline(ORG, START)))

    headers, body = seen[1].headers, seen[1].body.decode()
    text = f"t-1actionstartorgId{ORG}{body}{headers['apim-timestamp']}{emulator.secret_key}"
    assert headers["apim-signature"] == hashlib.sha256(text.encode()).hexdigest()


def test_cookies_of_the_gateway_are_not_sent_back(gateway, run):
    """A gateway's session cookie would pin or mix up the requests of different tasks."""

    def set_cookie(connection):
        body = b'{"code":0}'
        head = f"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    seen = gateway(set_cookie)

    def stop_twice():
        yield from flows.once(calls.stop_pipeline(ORG, "p-1"))
        yield from flows.once(calls.stop_pipeline(ORG, "p-1"))

    run(stop_twice())

    assert ["cookie" in request.headers for request in seen] == [False, False, False]


def test_netrc_is_ignored(gateway, run, monkeypatch, tmp_path):
    """Else a password for this host would go out with each request."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret-of-netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    seen = gateway()

    run(flows.once(calls.stop_pipeline(ORG, "p-1")))

    assert ["authorization" in request.headers for request in seen] == [False, False]


def test_path_of_the_gateway_is_kept(gateway, run):
    """Private installations stand behind a path."""
    seen = gateway(path="/enos/")

    run(flows.once(calls.stop_pipeline(ORG, "p-1")))

    assert [request.target for request in seen] == [
        "/enos/apim-token-service/v2.0/token/get",
        f"/enos{PIPELINE}/p-1?action=stop&orgId={ORG}",
    ]
