"""The blocking client, for workers: ``requests``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import connection, connectionpool
from urllib3.exceptions import (
    HTTPError,
    IncompleteRead,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
)

from airflow_provider_enos.api.errors import (
    EnOSCertificateError,
    EnOSError,
    EnOSNoAnswerError,
    EnOSUnreachableError,
    TaskKilledError,
    excerpt,
)
from airflow_provider_enos.api.messages import Answer, Request, require_size
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.hooks.kill_switch import KillSwitch
from airflow_provider_enos.hooks.network import (
    CLOSED,
    USER_AGENT,
    Network,
    explained,
    invalid_address,
    is_invalid_address,
    unexpected,
)
from airflow_provider_enos.telemetry import observed

_CHUNK_BYTES = 65_536

#: Of the request that is being sent: set as soon as there is a connection to send it on.
_connected: ContextVar[threading.Event | None] = ContextVar("connected", default=None)


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
        self._settings = settings
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
        connected = threading.Event()
        outer = _connected.set(connected)  # a signal handler may send while this one waits
        try:
            with self.session.request(
                request.method,
                self._settings.gateway_url + request.target,
                data=request.body or None,
                headers=dict(request.headers),
                timeout=(network.connect_timeout_seconds, network.total_timeout_seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _body(response, request, deadline, network.no_answer)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, body, headers)
        except (EnOSError, TaskKilledError):
            raise
        except Exception as error:
            is_connected = connected.is_set()
            if is_invalid_address(error, is_connected):
                raise invalid_address(self._settings) from None
            if isinstance(error, requests.RequestException | HTTPError | OSError):
                raise _translated(error, request.purpose, network, is_connected) from error
            raise unexpected(error, request.purpose, is_connected) from None
        finally:
            _connected.reset(outer)


# Their names are in the library's errors.


class HTTPConnection(connection.HTTPConnection):
    """Connects before it begins to send, and notes it."""

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request."""
        if self.is_closed:
            self.connect()
        if connected := _connected.get():
            connected.set()
        super().request(*args, **options)


class HTTPSConnection(HTTPConnection, connection.HTTPSConnection):
    """The same with TLS."""


class HTTPConnectionPool(connectionpool.HTTPConnectionPool):
    """Makes these connections."""

    ConnectionCls = HTTPConnection


class HTTPSConnectionPool(connectionpool.HTTPSConnectionPool):
    """The same with TLS."""

    ConnectionCls = HTTPSConnection


_POOLS = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}


class _Adapter(HTTPAdapter):
    """Uses these pools, with and without a proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Return the pools of a proxy."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def _session(network: Network) -> requests.Session:
    session = requests.Session()
    session.mount("https://", _Adapter())
    session.mount("http://", _Adapter())
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


def _translated(error: Exception, purpose: str, network: Network, is_connected: bool) -> EnOSError:
    is_late = isinstance(error, requests.exceptions.Timeout | ReadTimeoutError)
    reason: object = error.args[0] if error.args else error
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    text = excerpt(str(reason)).rstrip(".")
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return EnOSCertificateError(f"{text}.", during=purpose)
    if not is_connected:
        text = network.no_connection if is_late else explained(text)
        return EnOSUnreachableError(text, during=purpose)
    if is_late:
        return EnOSNoAnswerError(network.no_answer, during=purpose)
    # urllib3 puts what happened behind words of its own.
    if isinstance(reason, ProxyError):
        reason = reason.original_error
        text = excerpt(str(reason)).rstrip(".")
    protocol_error = error if isinstance(error, ProtocolError) else reason
    inner = protocol_error.args[-1] if isinstance(protocol_error, ProtocolError) else reason
    if isinstance(inner, ConnectionError | IncompleteRead):
        return EnOSNoAnswerError(CLOSED, during=purpose)
    return EnOSNoAnswerError(f"no answer: {text}.", during=purpose)
