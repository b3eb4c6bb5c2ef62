"""The non-blocking client, for triggerers: ``aiohttp``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import cache
from typing import Self

import aiohttp
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
        self._gateway_url = settings.gateway_url
        self._network = Network.of(settings)
        self.log = log

    async def __aenter__(self) -> Self:
        # Reading a CA bundle takes tens of milliseconds, too long for an event loop.
        context = await asyncio.to_thread(_tls_context, self._network.ca_bundle)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(
                total=self._network.total_timeout_seconds,
                sock_connect=self._network.connect_timeout_seconds,
            ),
            # Else a request without a body would get a Content-Type of aiohttp's own.
            skip_auto_headers=("Content-Type",),
        )
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
                URL(self._gateway_url + request.target, encoded=True),
                data=request.body or None,
                headers=request.headers,
                allow_redirects=False,
                proxy=self._network.proxy,
            ) as response:
                body = await _body(response, request)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, body, headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _translated(error, request.purpose) from error


@cache
def _tls_context(ca_bundle: str | bool | None) -> ssl.SSLContext:
    if ca_bundle is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    # The same default as requests: the certificates that certifi brings.
    from certifi import where  # noqa: PLC0415 - not needed in a triggerer with its own bundle

    path = str(ca_bundle or where())
    return ssl.create_default_context(cafile=path)


async def _body(response: aiohttp.ClientResponse, request: Request) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        require_size(body, request, response.status)
    return bytes(body)


def _translated(error: Exception, purpose: str) -> EnOSError:
    text = excerpt(str(error) or type(error).__name__).rstrip(".")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return EnOSCertificateError(f"{text}.", during=purpose)
    if isinstance(error, _NEVER_SENT):
        return EnOSUnreachableError(f"{text}.", during=purpose)
    if isinstance(error, TimeoutError):
        return EnOSNoAnswerError("no answer in time.", during=purpose)
    return EnOSNoAnswerError(f"no answer: {text}.", during=purpose)
