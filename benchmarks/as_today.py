"""
Starts as users write them today: with ``requests``, a signature of their own, and a way to wait.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_random_exponential

BODY = {"executionMode": 0, "kafkaRate": 1000, "resourceConfig": {"server": 0.1}}
PATH = "/streaming/v2.0/streaming/pipeline/{}?action=start&orgId={}"
LOOP_SECONDS = 1.5

#: What HttpOperator's ``retry_args`` take.
TENACITY: dict[str, Any] = {
    "retry": retry_if_result(lambda response: response.json()["code"] == 61121),
    "wait": wait_random_exponential(multiplier=1, max=20),
    "stop": stop_after_delay(1800),
}


def is_accepted(response: requests.Response) -> bool:
    """EnOS says so in the body."""
    return bool(response.json()["code"] == 0)


def ask(url: str, auth: EnOSAuth) -> requests.Response:
    """Send one start."""
    return requests.post(url, json=BODY, auth=auth, timeout=30)


def ask_in_a_loop(url: str, auth: EnOSAuth) -> None:
    """Ask until EnOS accepts."""
    while not is_accepted(ask(url, auth)):
        time.sleep(LOOP_SECONDS)


def ask_with_tenacity(url: str, auth: EnOSAuth) -> None:
    """Ask with pauses that grow."""
    assert is_accepted(Retrying(**TENACITY)(ask, url, auth))


class EnOSAuth(requests.auth.AuthBase):
    """Get a token and sign with it."""

    def __init__(self, access_key: str, secret_key: str) -> None:
        self._access_key, self._secret_key = access_key, secret_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request."""
        parts = urlsplit(str(request.url))
        token = self._token(f"{parts.scheme}://{parts.netloc}")
        stamp = str(int(time.time() * 1000))
        query = "".join(name + value for name, value in sorted(parse_qsl(parts.query)))
        body = request.body or ""
        body = body.decode() if isinstance(body, bytes) else body
        signed = token + query + body + stamp + self._secret_key
        request.headers["apim-accesstoken"] = token
        request.headers["apim-timestamp"] = stamp
        request.headers["apim-signature"] = hashlib.sha256(signed.encode()).hexdigest()
        return request

    def _token(self, gateway: str) -> str:
        while True:
            stamp = str(int(time.time() * 1000))
            proof = hashlib.sha256((self._access_key + stamp + self._secret_key).encode())
            answer = requests.post(
                f"{gateway}/apim-token-service/v2.0/token/get",
                json={
                    "appKey": self._access_key,
                    "timestamp": stamp,
                    "encryption": proof.hexdigest(),
                },
                timeout=30,
            ).json()
            if answer["status"] == 0:
                return str(answer["data"]["accessToken"])
