"""The non-blocking client, for triggerers: ``aiohttp``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Self
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.http_exceptions import ContentLengthError, TransferEncodingError
from yarl import URL

from airflow_provider_enos.api.errors import (
    EnOSCertificateError,
    EnOSError,
    EnOSNoAnswerError,
    EnOSUnreachableError,
    excerpt,
)
from airflow_provider_enos.api.messages import Answer, Request, require_size
from airflow_provider_enos.api.settings import EnOSSettings
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

_CLOSED = (
    ConnectionError,
    aiohttp.ServerDisconnectedError,
    ContentLengthError,
    TransferEncodingError,
)


class AiohttpIO:
    """
    Carry out the steps of a flow on the running event loop.

    All flows of an event loop that reach the gateway in the same way use one session.

    :param log: Takes a message and its arguments, like ``Logger.info``.
    """

    def __init__(self, settings: EnOSSettings, log: Callable[..., None]) -> None:
        self._settings = settings
        self.log = log

    async def __aenter__(self) -> Self:
        # Loading certificates takes tens of milliseconds, too long for an event loop.
        self._network = await asyncio.to_thread(Network.of, self._settings)
        self._sessions = _sessions.setdefault(asyncio.get_running_loop(), {})
        if self._network not in self._sessions:
            self._sessions[self._network] = _Used(_session(self._network))
        self._used = self._sessions[self._network]
        self._used.by += 1
        self._session = self._used.session
        return self

    async def __aexit__(self, *_: object) -> None:
        self._used.by -= 1
        if not self._used.by:
            # Perhaps on another loop: the garbage collector ends flows where it runs.
            if self._sessions.get(self._network) is self._used:
                del self._sessions[self._network]
            await self._session.close()

    async def send(self, request: Request) -> Answer:
        """
        Send one request.

        :raises EnOSUnreachableError: it never arrived.
        :raises EnOSNoAnswerError: it may have arrived.
        """
        with observed(request) as span:
            answer = await self._send(request)
            span.set_attribute("http.response.status_code", answer.status)
        return answer

    async def _send(self, request: Request) -> Answer:
        connected = asyncio.Event()
        try:
            async with self._session.request(
                request.method,
                URL(self._settings.gateway_url + request.target, encoded=True),
                data=request.body or None,
                headers=request.headers,
                allow_redirects=False,
                proxy=self._network.proxy,
                trace_request_ctx=connected,
            ) as response:
                body = await _body(response, request)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, body, headers)
        except EnOSError:
            raise
        except Exception as error:
            is_connected = connected.is_set()
            if is_invalid_address(error, is_connected):
                raise invalid_address(self._settings) from None
            if isinstance(error, aiohttp.ClientError | OSError):
                # What cannot be read as HTTP is quoted in its text, and may hold anything.
                is_quoted = isinstance(error, aiohttp.ClientResponseError)
                translated = _translated(error, request.purpose, self._network, is_connected)
                raise translated from (None if is_quoted else error)
            raise unexpected(error, request.purpose, is_connected) from None


@dataclass(slots=True)
class _Used:
    session: aiohttp.ClientSession
    by: int = 0


#: Only ever touched by code on the event loop in question.
_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Network, _Used]] = WeakKeyDictionary()


async def _note_connection(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.set()


def _trace() -> aiohttp.TraceConfig:
    """Set the event of a request as soon as there is a connection to send it on."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_note_connection)
    trace.on_connection_reuseconn.append(_note_connection)
    return trace


def _session(network: Network) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        # As many connections as there are requests: one that hangs keeps no other waiting.
        connector=aiohttp.TCPConnector(ssl=network.tls, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
        timeout=aiohttp.ClientTimeout(
            total=network.total_timeout_seconds,
            sock_connect=network.connect_timeout_seconds,
        ),
        # Else a request without a body would get a Content-Type of aiohttp's own.
        skip_auto_headers=("Content-Type",),
        trace_configs=[_trace()],
    )
    # How often a request is sent is for the flow to say; aiohttp has no public switch for it.
    session._retry_connection = False
    return session


async def _body(response: aiohttp.ClientResponse, request: Request) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        require_size(body, request, response.status)
    return bytes(body)


def _translated(error: Exception, purpose: str, network: Network, is_connected: bool) -> EnOSError:
    text = excerpt(str(error) or type(error).__name__).rstrip(".")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        # Its own text has the proxy's address, password included.
        text = f"the proxy answered {error.status} {excerpt(error.message)}"
    elif isinstance(error, aiohttp.ClientResponseError):
        text = "the answer is not HTTP"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return EnOSCertificateError(f"{text}.", during=purpose)
    if not is_connected:
        is_late = isinstance(error, TimeoutError)
        text = network.no_connection if is_late else explained(text)
        return EnOSUnreachableError(text, during=purpose)
    if isinstance(error, TimeoutError):
        return EnOSNoAnswerError(network.no_answer, during=purpose)
    if isinstance(error, _CLOSED) or isinstance(error.__cause__, _CLOSED):
        return EnOSNoAnswerError(CLOSED, during=purpose)
    return EnOSNoAnswerError(f"no answer: {text}.", during=purpose)
