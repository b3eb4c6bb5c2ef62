"""A client that signs by itself, so that it shares no mistake with the emulator or the provider."""

import hashlib
import itertools
import json
import time
from urllib.parse import urlencode

import pytest
import requests

from airflow_provider_enos.emulator.server import Emulator

STREAMING = "/streaming/v2.0/streaming"

#: One for all clients: two token requests in the same millisecond would be refused (1001).
MILLIS = itertools.count(int(time.time() * 1000))


class Client:
    """Speaks to an emulator as an application does."""

    def __init__(self, url, access_key, secret_key, org_id):
        self.url, self.access_key, self.secret_key = url, access_key, secret_key
        self.org_id = org_id
        self.session = requests.Session()
        self.token = None

    def token_body(self, **more):
        stamp = next(MILLIS)
        text = f"{self.access_key}{stamp}{self.secret_key}"
        encryption = hashlib.sha256(text.encode()).hexdigest()
        return {"appKey": self.access_key, "timestamp": stamp, "encryption": encryption, **more}

    def ask_token(self, action="get", body=None, **more):
        path = f"{self.url}/apim-token-service/v2.0/token/{action}"
        return self.session.post(path, json=body or self.token_body(**more), timeout=10)

    def signed(self, method, path, query, body=b"", stamp=None, **kwargs):
        if self.token is None:
            self.token = self.ask_token().json()["data"]["accessToken"]
        stamp = str(stamp or int(time.time() * 1000))
        params = "".join(name + str(query[name]) for name in sorted(query))
        text = (self.token + params).encode() + body + (stamp + self.secret_key).encode()
        headers = {
            "apim-accesstoken": self.token,
            "apim-timestamp": stamp,
            "apim-signature": hashlib.sha256(text).hexdigest(),
            "Content-Type": "application/json;charset=UTF-8",
        }
        return self.session.request(
            method,
            f"{self.url}{path}?{urlencode(query)}",
            data=body,
            headers=headers | kwargs.pop("headers", {}),
            timeout=kwargs.pop("timeout", 10),
            **kwargs,
        )

    def get(self, path, **query):
        return self.signed("GET", STREAMING + path, {"orgId": self.org_id, **query})

    def post(self, path, body=None, **query):
        raw = b"" if body is None else json.dumps(body).encode()
        return self.signed("POST", STREAMING + path, {"orgId": self.org_id, **query}, raw)

    def operate(self, pipeline_id, action, body=None):
        return self.post(f"/pipeline/{pipeline_id}", body, action=action)

    def start(self, pipeline_id):
        return self.operate(pipeline_id, "start", {"executionMode": 0, "kafkaRate": 1000})

    def stage_state(self, action, body):
        query = {"orgId": self.org_id, "action": action}
        raw = json.dumps(body).encode()
        return self.signed("POST", "/streaming/v2.0/stage-state", query, raw)

    def control(self, method, path, body=None, **query):
        return requests.request(
            method, f"{self.url}/_emulator{path}", params=query, json=body, timeout=10
        )


@pytest.fixture
def enos():
    with Emulator(pipelines=3) as enos:
        yield enos


@pytest.fixture
def make_client():
    """Make a client of an emulator, as its own application or another."""
    clients = []

    def make(enos, access_key=None, secret_key=None, url=None):
        keys = (access_key or enos.access_key, secret_key or enos.secret_key)
        clients.append(Client(url or enos.url, *keys, enos.org_id))
        return clients[-1]

    yield make
    for client in clients:
        client.session.close()


@pytest.fixture
def client(enos, make_client):
    return make_client(enos)
