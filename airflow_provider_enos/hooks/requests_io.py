"""The blocking client, for workers: ``requests``."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from urllib3.exceptions import (
    HTTPError,
    IncompleteRead,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from airflow_provider_enos.api.errors import (
    EnOSCertificateError,
    EnOSError,
    EnOSNoAnswerError,
    EnOSUnreachableError,
    InvalidSettingError,
    excerpt,
)
from airflow_provider_enos.api.messages import Answer, Request, require_size
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.hooks.kill_switch import KillSwitch
from airflow_provider_enos.hooks.network import CLOSED, USER_AGENT, Network
from airflow_provider_enos.telemetry import observed

_CHUNK_BYTES = 65_536


class RequestsIO:
    """
    Carry out the steps of a flow with one pooled session.

    :param log: Takes a message and its arguments, like ``Logger.info``.
    :param is_observed: Whether Airflow's metrics and traces are told of the requests.
    """

    def __init__(
        self,
        settings: EnOSSettings,
        log: Callable[..., None],
        kill_switch: KillSwitch | None = None,
        *,
        is_observed: bool = True,
    ) -> None:
        self._is_observed = is_observed
        self._gateway_url = settings.gateway_url
        self._network = Network.of(settings)
        self._kill_switch = kill_switch or KillSwitch()
        self.log = log
        self.session = _session(self._network)

    def sleep(self, seconds: float) -> None:
        """Sleep, or end with :class:`TaskKilledError`."""
        self._kill_switch.sleep(seconds)

    def wait(self, future: Future[Any], seconds: float | None) -> None:
        """Wait for a future, or end with :class:`TaskKilledError`."""
        self._kill_switch.wait(future, seconds)

    def send(self, request: Request) -> Answer:
        """
        Send one request.

        :raises EnOSUnreachableError: it never arrived.
        :raises EnOSNoAnswerError: it may have arrived.
        :raises TaskKilledError: the task was killed before it was sent.
        """
        self._kill_switch.check()
        if not self._is_observed:
            return self._send(request)
        with observed(request) as span:
            answer = self._send(request)
            span.set_attribute("http.response.status_code", answer.status)
        return answer

    def _send(self, request: Request) -> Answer:
        network = self._network
        deadline = time.monotonic() + network.total_timeout_seconds
        try:
            with self.session.request(
                request.method,
                self._gateway_url + request.target,
                data=request.body or None,
                headers=dict(request.headers),
                timeout=(network.connect_timeout_seconds, network.total_timeout_seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _body(response, request, deadline, network.no_answer)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, body, headers)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise _translated(error, request.purpose, network) from error


def _session(network: Network) -> requests.Session:
    session = requests.Session()
    # Proxies and CA bundles of the environment are in `network`; a netrc must not sign for us.
    session.trust_env = False
    session.verify = network.ca_bundle or False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = USER_AGENT
    session.headers["Accept"] = "application/json"
    if network.proxy:
        session.proxies = {"http": network.proxy, "https": network.proxy}
    return session


def _body(response: requests.Response, request: Request, deadline: float, late: str) -> bytes:
    body = bytearray()
    # read1 returns what has arrived, so that a body that drips cannot hold us for ever. (A head
    # that drips can for longer: requests has no limit on the whole of it.)
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        body += chunk
        require_size(body, request, response.status_code)
        if time.monotonic() > deadline:
            raise EnOSNoAnswerError(late, during=request.purpose)
    return bytes(body)


def _translated(error: Exception, purpose: str, network: Network) -> EnOSError:
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return InvalidSettingError("host or proxy: no address that can be connected to")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return EnOSUnreachableError(network.no_connection, during=purpose)
    reason: object = error.args[0] if error.args else error
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    text = excerpt(str(reason)).rstrip(".")
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return EnOSCertificateError(f"{text}.", during=purpose)
    if isinstance(reason, NewConnectionError | NameResolutionError) or isinstance(
        error, requests.exceptions.ProxyError | requests.exceptions.SSLError
    ):
        return EnOSUnreachableError(f"{text}.", during=purpose)
    if isinstance(error, requests.exceptions.ReadTimeout | ReadTimeoutError):
        return EnOSNoAnswerError(network.no_answer, during=purpose)
    # urllib3 puts what happened behind words of its own.
    protocol_error = error if isinstance(error, ProtocolError) else reason
    inner = protocol_error.args[-1] if isinstance(protocol_error, ProtocolError) else reason
    if isinstance(inner, ConnectionError | IncompleteRead):
        return EnOSNoAnswerError(CLOSED, during=purpose)
    return EnOSNoAnswerError(f"no answer: {text}.", during=purpose)
