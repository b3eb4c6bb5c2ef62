"""The emulator over real HTTP: gateway, calls, settings and life of the server."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from airflow_provider_enos.emulator.faults import HttpError
from airflow_provider_enos.emulator.server import Emulator

STANDALONE = {"executionMode": 0, "kafkaRate": 1000, "resourceConfig": {"server": 1}}


@pytest.fixture
def pipeline_id(enos):
    return enos.pipeline_ids[0]


def rows(client, **query):
    return client.get("/pipelines", ifReleased="true", **query).json()["data"]["pipelines"]


# Gateway and token service


def test_token_service_answers_in_its_own_envelope(client):
    answer = client.ask_token()

    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["msg"], body["business"]) == (0, "SUCCESS", "apim-token-service")
    assert body["data"]["expire"] == 7200


def test_token_service_may_misspell_status(enos, client):
    enos.settings.token_status_key = "stauts"

    assert client.ask_token().json()["stauts"] == 0


def test_token_request_repeated_or_not_json(client):
    body = client.token_body()
    client.ask_token(body=body)

    assert client.ask_token(body=body).json()["status"] == 1001
    path = f"{client.url}/apim-token-service/v2.0/token/get"
    assert requests.post(path, data=b"{", timeout=10).json()["status"] == 1004


def test_refreshed_token_replaces_the_old(client):
    client.get("/pipelines")
    old = client.token
    answer = client.ask_token("refresh", accessToken=old).json()

    assert client.get("/pipelines").status_code == 401
    client.token = answer["data"]["accessToken"]
    assert client.get("/pipelines").status_code == 200


def test_unsigned_request(client):
    answer = requests.get(f"{client.url}/streaming/v2.0/streaming/pipelines", timeout=10)

    assert answer.status_code == 401
    assert answer.json() == {"message": "Invalid authentication credentials"}


def test_old_request_and_signature_of_another_query(client):
    path, query = "/streaming/v2.0/streaming/pipelines", {"orgId": client.org_id}
    assert client.signed("GET", path, query).status_code == 200

    assert client.signed("GET", path, query, stamp=1_700_000_000_000).status_code == 401
    forged = {"apim-signature": "0" * 64}
    assert client.signed("GET", path, query, headers=forged).status_code == 401


def test_signature_covers_decoded_text(client):
    query = {"orgId": client.org_id, "a b": "Zürich +%&=", "A": ""}

    assert client.signed("GET", "/streaming/v2.0/streaming/pipelines", query).json()["code"] == 0


@pytest.mark.parametrize(
    ("setting", "status", "body"),
    [
        ("401", 401, {"message": "Invalid authentication credentials"}),
        ("1203", 200, {"code": 1203, "msg": "Access token has expired"}),
        ("4011", 200, {"apim_status": 4011}),
    ],
)
def test_revoked_token(enos, client, setting, status, body):
    enos.settings.request_id = False
    enos.settings.expired_token_answer = setting
    client.get("/pipelines")

    enos.revoke_tokens()

    answer = client.get("/pipelines")
    assert (answer.status_code, answer.json()) == (status, body)


def test_expired_token(enos, client):
    enos.settings.token_seconds = 0

    assert client.get("/pipelines").status_code == 401


def test_unknown_route_and_wrong_method(client):
    unknown = requests.get(f"{client.url}/streaming/v3.0/streaming/pipelines", timeout=10)
    assert unknown.status_code == 404
    assert unknown.json() == {"message": "no Route matched with those values"}

    wrong = requests.post(f"{client.url}/streaming/v2.0/streaming/pipelines", timeout=10)
    assert wrong.status_code == 405


def test_body_over_one_megabyte(client):
    path = f"{client.url}/apim-token-service/v2.0/token/get"

    assert requests.post(path, data=b"x" * 3_000_000, timeout=10).status_code == 413
    assert requests.post(path, data=b"x" * 1_000_000, timeout=10).status_code == 200


def test_organization_is_mandatory_known_and_allowed(enos, client, make_client):
    enos.add_organization("o2", pipelines=1)
    enos.add_application("key-2", "secret-2", ["o2"])

    assert client.get("/pipelines", orgId="").json()["code"] == 99400
    assert client.get("/pipelines", orgId="o3").json()["code"] == 99403
    bound = make_client(enos, "key-2", "secret-2")
    refused = bound.get("/pipelines").json()
    assert (refused["code"], refused["msg"]) == (99403, f"Denied resource:  orgId {enos.org_id}")
    assert len(rows(bound, orgId="o2")) == 1


# Calls


def test_start_with_documented_codes(enos, client, pipeline_id):
    """A table test would hide that these follow from one another."""
    enos.settings.start_seconds = 60
    other = enos.pipeline_ids[1]
    assert client.start("x").json()["code"] == 61108
    assert client.operate(pipeline_id, "start").json()["code"] == 61100
    assert client.start(pipeline_id).json()["code"] == 0
    assert client.start(pipeline_id).json()["code"] == 61165
    assert client.start(other).json()["code"] == 61121
    assert rows(client)[0]["status"] == "STARTING"


def test_quota_codes_over_http(enos, client, pipeline_id):
    enos.set_quota(standalone=None)
    assert client.start(pipeline_id).json()["code"] == 61128
    enos.set_quota(standalone=0.5)
    assert client.start(pipeline_id).json()["code"] == 61126
    enos.set_quota()
    assert client.start(pipeline_id).json()["code"] == 0


def test_answers_of_writes_as_in_samples_and_as_in_tables(enos, client, pipeline_id):
    enos.settings.request_id = False
    assert client.start(pipeline_id).json() == {"code": 0, "msg": "OK"}

    enos.settings.write_data = "empty"

    assert client.operate(pipeline_id, "stop").json() == {"code": 0, "msg": "OK", "data": ""}


def test_request_id_and_http_status_of_a_refusal(enos, client):
    answer = client.start("x")
    assert answer.status_code == 200
    assert len(answer.json()["requestId"]) == 36

    enos.settings.refusal_status = 400

    assert client.start("x").status_code == 400


def test_life_cycle(enos, client, pipeline_id):
    client.start(pipeline_id)
    for action, status in [("pause", "PAUSED"), ("stop", "STOPPED"), ("release", "PUBLISHED")]:
        assert client.operate(pipeline_id, action, {}).json()["code"] == 0
        assert enos.status_of(pipeline_id) == status


def test_unknown_or_missing_action(client, pipeline_id):
    assert client.operate(pipeline_id, "restart").json()["code"] == 99400
    assert client.post(f"/pipeline/{pipeline_id}").json()["code"] == 99400
    assert client.stage_state("set", {}).json()["code"] == 99400


def test_list_pages_and_flags(enos, client):
    assert client.get("/pipelines").json()["data"] == {"count": 0, "pipelines": []}
    assert len(rows(client, isSystem="False")) == 3
    assert len(rows(client, isSystem="TRUE")) == 4
    page = client.get("/pipelines", ifReleased="True", pageSize=2, pageNo=2).json()["data"]
    assert (page["count"], len(page["pipelines"])) == (3, 1)

    enos.settings.list_count = "page"

    page = client.get("/pipelines", ifReleased="True", pageSize=2, pageNo=2).json()["data"]
    assert page["count"] == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"pageSize": 0}, 61176),
        ({"pageNo": -1}, 61176),
        ({"pageNo": "x"}, 99400),
        ({"ifReleased": "yes"}, 99400),
    ],
)
def test_list_with_wrong_parameters(client, query, code):
    assert client.get("/pipelines", **query).json()["code"] == code


def test_save_and_details(enos, client):
    body = {"pipelineName": "demo", "templateType": 2, "messageChannel": 1, "desc": "text"}
    pipeline_id = client.operate("null", "save", body).json()["data"]

    assert client.get(f"/pipeline/{pipeline_id}").json()["data"] == {
        "pipelineId": pipeline_id,
        "pipelineName": "demo",
        "desc": "text",
        "version": "0.1.0",
        "templateType": 2,
        "templateName": {"en_us": "Origin Template", "zh_cn": "Origin Template"},
        "messageChannel": "1",
        "pipelineJson": {"points": []},
    }
    assert client.get(f"/pipeline/{pipeline_id}", ifReleased="true").json()["code"] == 61108
    assert client.operate(pipeline_id, "save", {"name": "new"}).json()["data"] == pipeline_id
    assert client.get(f"/pipeline/{pipeline_id}").json()["data"]["pipelineName"] == "new"
    assert client.operate(pipeline_id, "save", {"version": 1}).json()["code"] == 61100
    assert client.operate(pipeline_id, "save", []).json()["code"] == 61100


def test_offset_lag_and_reset(enos, client, pipeline_id):
    path = f"/pipeline/{pipeline_id}/offset"
    enos.set_lag(pipeline_id, 7)
    client.start(pipeline_id)

    data = client.get(f"{path}-lag").json()["data"]

    assert data["topicName"] == f"MEASURE_POINT_INTERNAL_{enos.org_id}"
    first, last = data["lagAndOffset"]
    assert (last["lag"], last["offset"], last["ts"] - first["ts"]) == (7, 6094977, 225_000)
    assert client.post(path).json()["code"] == 61168
    client.operate(pipeline_id, "stop")
    assert client.post(path).json()["code"] == 0


def lag_of(client, pipeline_id):
    points = client.get(f"/pipeline/{pipeline_id}/offset-lag").json()["data"]["lagAndOffset"]
    return points[-1]


def test_lag_is_measured_now_and_then(enos, client, pipeline_id):
    enos.settings.lag_interval_seconds = 3600
    client.start(pipeline_id)
    enos.set_lag(pipeline_id, 7)

    first, second = lag_of(client, pipeline_id), lag_of(client, pipeline_id)

    assert first == second
    enos.settings.lag_interval_seconds = 0
    assert lag_of(client, pipeline_id)["ts"] > first["ts"]


def test_running_pipeline_works_its_lag_off(enos, client, pipeline_id):
    enos.settings.lag_drains = True
    client.start(pipeline_id)
    enos.set_lag(pipeline_id, 100)

    give_up_at = time.monotonic() + 10
    while (last := lag_of(client, pipeline_id))["lag"] and time.monotonic() < give_up_at:
        pass

    assert (last["lag"], last["offset"]) == (0, 6094977 + 100)


def test_released_pipeline_stays_stopped_if_told_so(enos, client, pipeline_id):
    enos.settings.release_keeps_status = True
    enos.set_status(pipeline_id, "STOPPED")

    client.operate(pipeline_id, "release")

    assert enos.status_of(pipeline_id) == "STOPPED"


def test_stage_state(enos, client, pipeline_id):
    enos.set_status(pipeline_id, "PAUSED")
    body = {
        "pipelineId": pipeline_id,
        "stageInstanceName": "LatePointTagger_01",
        "assetIds": "a1,a2",
        "pointIds": "p1",
    }

    items = client.stage_state("get", body).json()["data"]["items"]
    assert [(item["assetId"], item["pointId"]) for item in items] == [("a1", "p1"), ("a2", "p1")]
    deleted = client.stage_state("delete", body).json()
    assert (deleted["data"], deleted["msg"]) == (True, " OK")
    assert client.stage_state("get", body).json()["data"] == {"items": []}

    body["stageInstanceName"] = "RecordCapturer_01"
    assert client.stage_state("get", body).json()["data"]["items"][0]["modelId"]
    body["stageInstanceName"] = "SlidingTimeWindowAggregator_01"
    assert client.stage_state("get", body).json()["data"]["items"][0] == {"assetId": "a1"}
    missing = client.stage_state("get", {"pipelineId": pipeline_id}).json()
    assert (missing["code"], missing["msg"]) == (61102, "Missing param stageInstanceName")


# Blocking start


def test_blocking_start_is_answered_when_done_and_blocks_nobody_else(
    enos, client, make_client, pipeline_id
):
    enos.settings.start_seconds, enos.settings.blocking_start = None, True
    watcher = make_client(enos)
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(client.start, pipeline_id)
        enos.wait_for_status(pipeline_id, "STARTING")
        seen = rows(watcher)[0]["status"]
        answered_before = enos.requests_for("start")
        enos.finish_transition(pipeline_id)

    assert start.result().json()["code"] == 0
    assert (seen, answered_before) == ("STARTING", [])
    assert enos.status_of(pipeline_id) == "RUNNING"


def test_blocking_start_takes_its_time(enos, client, pipeline_id):
    enos.settings.start_seconds, enos.settings.blocking_start = 0.1, True

    client.start(pipeline_id)

    assert enos.status_of(pipeline_id) == "RUNNING"
    assert enos.requests_for("start")[0].duration_seconds >= 0.1


def test_blocking_start_that_fails(enos, client, pipeline_id):
    enos.settings.blocking_start = True
    enos.set_start_outcome(pipeline_id, "START_ERROR")

    assert client.start(pipeline_id).json()["code"] == 99000

    assert enos.status_of(pipeline_id) == "START_ERROR"
    assert enos.requests_for("start")[0].effective


# Log


def test_log_tells_what_arrived(enos, client, pipeline_id):
    client.operate(pipeline_id, "start", STANDALONE)
    client.operate(pipeline_id, "start", STANDALONE)

    accepted, refused = enos.requests_for("start", pipeline_id=pipeline_id)
    assert (accepted.code, accepted.http_status, accepted.effective) == (0, 200, True)
    assert (refused.code, refused.http_status, refused.effective) == (61165, 200, False)
    assert accepted.body == STANDALONE
    assert accepted.query == {"orgId": enos.org_id, "action": "start"}
    assert accepted.org_id == enos.org_id
    assert [request.operation for request in enos.requests] == ["token_get", "start", "start"]
    assert [request.number for request in enos.requests] == [1, 2, 3]
    assert enos.requests_for(since=2) == [refused]
    enos.clear_requests()
    assert enos.requests == []


def test_log_keeps_no_secret(enos, client):
    client.get("/pipelines")
    client.ask_token("refresh", accessToken=client.token)
    requests.post(f"{enos.url}/nowhere", json=client.token_body(), timeout=10)

    text = repr(enos.requests)

    assert len(enos.requests) == 4
    for secret in (enos.secret_key, enos.access_key, client.token):
        assert secret not in text


def test_waiting_for_a_request(enos, client, pipeline_id):
    client.get("/pipelines")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(enos.wait_for_request, "start", pipeline_id, timeout=10)
        client.start(pipeline_id)
        assert waiting.result().code == 0

    with pytest.raises(TimeoutError, match="no 'start' request number 2"):
        enos.wait_for_request("start", count=2, timeout=0)


# Actions after a request


def test_action_runs_after_the_request_and_before_its_answer(enos, client, pipeline_id):
    logged = []

    def stop():
        logged.extend(enos.requests_for("list"))
        enos.set_status(pipeline_id, "STOPPED")

    enos.after_request("list", stop)

    assert rows(client)[0]["status"] == "PUBLISHED"
    assert enos.status_of(pipeline_id) == "STOPPED"
    assert logged == enos.requests_for("list")


def test_action_counts_requests_from_its_order_on(enos, client, pipeline_id):
    client.get("/pipelines")
    enos.after_request("list", lambda: enos.set_status(pipeline_id, "STOPPED"), count=2)

    statuses = [rows(client)[0]["status"] for _ in range(3)]

    assert statuses == ["PUBLISHED", "PUBLISHED", "STOPPED"]


def test_action_counts_requests_of_its_pipeline_only(enos, client):
    first, second, third = enos.pipeline_ids
    enos.after_request("start", lambda: enos.set_status(third, "STOPPED"), pipeline_id=second)

    client.start(first)
    assert enos.status_of(third) == "PUBLISHED"
    client.start(second)
    assert enos.status_of(third) == "STOPPED"


def test_action_may_order_the_next_one(enos, client, pipeline_id):
    def then_stop():
        enos.set_status(pipeline_id, "STARTING")
        enos.after_request("list", lambda: enos.set_status(pipeline_id, "STOPPED"))

    enos.after_request("list", then_stop)

    statuses = [rows(client)[0]["status"] for _ in range(3)]

    assert statuses == ["PUBLISHED", "STARTING", "STOPPED"]


def test_action_runs_after_a_request_that_a_fault_meets(enos, client):
    enos.faults.append(HttpError(500, on="list"))
    enos.after_request("list", enos.faults.clear)

    assert client.get("/pipelines").status_code == 500
    assert enos.pending_actions == []


def test_action_that_never_runs_fails_the_test():
    enos = Emulator()
    enos.after_request("start", print, count=2)

    with pytest.raises(AssertionError, match="2 more 'start' requests were to come"), enos:
        pass


def test_action_that_never_runs_does_not_hide_why_the_test_failed():
    enos = Emulator()
    enos.after_request("start", print)

    with pytest.raises(RuntimeError, match="of the test"), enos:
        raise RuntimeError("of the test")


def test_action_that_fails_fails_the_test_but_not_the_request(make_client):
    enos = Emulator()
    enos.after_request("list", lambda: enos.set_status("x", "RUNNING"))
    statuses = []

    def look_twice():
        with enos:
            client = make_client(enos)
            statuses.extend(client.get("/pipelines").status_code for _ in range(2))

    with pytest.raises(AssertionError, match="no pipeline 'x'"):
        look_twice()
    assert statuses == [200, 200]


@pytest.mark.parametrize(("operation", "count"), [("strat", 1), ("start", 0)])
def test_action_that_would_never_run_is_refused(enos, operation, count):
    with pytest.raises(ValueError, match=r"no operation 'strat'|count is 0"):
        enos.after_request(operation, print, count=count)


# Server


def test_connection_for_airflow(enos):
    assert enos.connection == {
        "conn_type": "enos",
        "host": enos.url,
        "login": enos.access_key,
        "password": enos.secret_key,
        "extra": {"org_id": "o15517683199241"},
    }
    assert json.loads(enos.connection_json) == enos.connection


def test_pipeline_ids_are_the_same_each_time(enos):
    assert enos.pipeline_ids == Emulator(pipelines=3).pipeline_ids
    assert [len(pipeline_id) for pipeline_id in enos.pipeline_ids] == [36, 36, 36]


def test_added_pipelines_are_listed(enos, client):
    added = enos.add_pipeline(name="mine", status="STOPPED")
    draft = enos.add_pipeline(pipeline_id="draft", released=False)

    assert (rows(client)[3]["pipelineId"], rows(client)[3]["status"]) == (added, "STOPPED")
    drafts = client.get("/pipelines").json()["data"]["pipelines"]
    assert [row["pipelineId"] for row in drafts] == [draft]


def test_stranger_in_the_console(enos, client, pipeline_id):
    enos.hold_start_lock(60)

    assert client.start(pipeline_id).json()["code"] == 61121


def test_outage_leaves_address_tokens_and_pipelines(enos, client, pipeline_id):
    client.start(pipeline_id)
    enos.stop()
    with pytest.raises(requests.ConnectionError):
        client.get("/pipelines")

    enos.start()

    assert rows(client)[0]["status"] == "RUNNING"
    assert enos.start() is enos  # a second time changes nothing


def test_stop_waits_for_no_request(enos, client, pipeline_id):
    enos.settings.start_seconds, enos.settings.blocking_start = 3600, True
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(client.start, pipeline_id)
        enos.wait_for_status(pipeline_id, "STARTING")

        enos.stop()

        assert isinstance(start.exception(), requests.ConnectionError)


def test_loopback_only_unless_allowed():
    with pytest.raises(ValueError, match="other machines"):
        Emulator(host="0.0.0.0")
    with pytest.raises(ValueError, match="other machines"):
        Emulator(host="example.com")
    Emulator(host="localhost")
    with Emulator(host="0.0.0.0", allow_remote=True) as enos:
        assert requests.get(f"{enos.url}/_emulator/health", timeout=10).status_code == 200


def test_a_status_can_be_awaited(enos, pipeline_id, client):
    enos.settings.start_seconds = 0.2
    client.start(pipeline_id)

    enos.wait_for_status(pipeline_id, "RUNNING")

    assert enos.status_of(pipeline_id) == "RUNNING"
    with pytest.raises(TimeoutError, match="is RUNNING, not STOPPED"):
        enos.wait_for_status(pipeline_id, "STOPPED", timeout=0.01)
    with pytest.raises(KeyError):
        enos.wait_for_status("nobody", "STOPPED")
