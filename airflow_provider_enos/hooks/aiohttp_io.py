"""The non-blocking client, for triggerers: ``aiohttp``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

import aiohttp
from yarl import URL

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
from airflow_provider_enos.hooks.network import USER_AGENT, Network

_CHUNK_BYTES = 65_536

_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientProxyConnectionError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientSSLError,
)


class AiohttpIO:
    """
    Carry out the steps of a flow with one session, on the running event loop.

    :param log: Takes a message and its arguments, like ``Logger.info``.
    """

    def __init__(self, settings: EnOSSettings, log: Callable[..., None]) -> None:
        self._settings = settings
        self.log = log

    async def __aenter__(self) -> Self:
        # Loading certificates takes tens of milliseconds, too long for an event loop.
        self._network = await asyncio.to_thread(Network.of, self._settings)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._network.tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(
                total=self._network.total_timeout_seconds,
                sock_connect=self._network.connect_timeout_seconds,
            ),
            # Else a request without a body would get a Content-Type of aiohttp's own.
            skip_auto_headers=("Content-Type",),
        )
        # How often a request is sent is for the flow to say; aiohttp has no public switch for it.
        self._session._retry_connection = False
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, request: Request) -> Answer:
        """
        Send one request.

        :raises EnOSUnreachableError: it never arrived.
        :raises EnOSNoAnswerError: it may have arrived.
        """
        try:
            async with self._session.request(
                request.method,
                URL(self._settings.gateway_url + request.target, encoded=True),
                data=request.body or None,
                headers=request.headers,
                allow_redirects=False,
                proxy=self._network.proxy,
            ) as response:
                body = await _body(response, request)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, body, headers)
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
            raise _translated(error, request.purpose) from error


async def _body(response: aiohttp.ClientResponse, request: Request) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        require_size(body, request, response.status)
    return bytes(body)


def _translated(error: Exception, purpose: str) -> EnOSError:
    text = excerpt(str(error) or type(error).__name__).rstrip(".")
    if isinstance(error, aiohttp.ClientResponseError):
        # Its own text has the proxy's address, password included.
        text = f"the proxy answered {error.status} {excerpt(error.message)}"
    if isinstance(error, aiohttp.InvalidURL | UnicodeError):
        return InvalidSettingError("host or proxy: no address that can be connected to")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return EnOSCertificateError(f"{text}.", during=purpose)
    if isinstance(error, _NEVER_SENT):
        return EnOSUnreachableError(f"{text}.", during=purpose)
    if isinstance(error, TimeoutError):
        return EnOSNoAnswerError("no answer in time.", during=purpose)
    return EnOSNoAnswerError(f"no answer: {text}.", during=purpose)
