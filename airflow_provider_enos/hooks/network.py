"""What both HTTP clients need to know of a connection, so that they behave alike."""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from certifi import where

from airflow_provider_enos.api.errors import (
    EnOSError,
    EnOSNoAnswerError,
    EnOSUnreachableError,
    InvalidSettingError,
)
from airflow_provider_enos.api.settings import EnOSSettings, field_of, parse_proxy

#: A host that does not answer at all shows sooner than one that thinks.
MAX_CONNECT_TIMEOUT_SECONDS = 10.0
CONNECT_SHARE_OF_TIMEOUT = 0.9

USER_AGENT = f"airflow-provider-enos/{version('airflow-provider-enos')}"

LOOPBACK = ("127.0.0.1", "::1", "localhost")

#: In the words of both clients.
CLOSED = "the connection was closed before the answer was complete."

#: What OpenSSL says when the other side does not answer in TLS.
_NO_TLS = ("wrong version number", "record layer failure", "packet length too long")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Network:
    """
    How to reach the gateway.

    :param ca_bundle: File or folder of the trusted certificates; ``None`` for no verification.
    :param tls: The same, loaded.
    :param proxy: The connection's proxy, else that of the environment (``HTTPS_PROXY``,
        ``NO_PROXY`` ...).
    """

    ca_bundle: str | None
    tls: ssl.SSLContext = field(repr=False)
    proxy: str | None = field(repr=False)
    connect_timeout_seconds: float
    total_timeout_seconds: float

    @classmethod
    def of(cls, settings: EnOSSettings) -> Self:
        """
        Work it out; reads files, so not on an event loop.

        :raises InvalidSettingError: there is no CA bundle at the path given, or the proxy of the
            environment is none.
        """
        ca_bundle, source = _ca_bundle(settings)
        try:
            modified_at = os.stat(ca_bundle).st_mtime if ca_bundle else 0.0
            tls = _tls_context(ca_bundle, modified_at)
        except (OSError, ValueError):  # also what ssl raises; a path that no file can have
            allowed = "the path of a CA bundle (PEM file or folder)"
            raise InvalidSettingError.of(source, ca_bundle, allowed) from None
        timeout = settings.request_timeout_seconds
        proxy = settings.proxy or _environment_proxy(settings.gateway_url)
        _warn_of_plain_http(settings.gateway_url, proxy)
        return cls(
            ca_bundle=ca_bundle,
            tls=tls,
            proxy=proxy,
            connect_timeout_seconds=min(
                timeout * CONNECT_SHARE_OF_TIMEOUT, MAX_CONNECT_TIMEOUT_SECONDS
            ),
            total_timeout_seconds=timeout,
        )

    @property
    def no_connection(self) -> str:
        """Say that the time for a connection is over."""
        return f"no connection within {self.connect_timeout_seconds:g} s."

    @property
    def no_answer(self) -> str:
        """Say that the time for an answer is over."""
        return f"no answer within {self.total_timeout_seconds:g} s."


def _warn_of_plain_http(gateway_url: str, proxy: str | None) -> None:
    parts = urlsplit(gateway_url)
    if parts.scheme == "http" and (proxy or parts.hostname not in LOOPBACK):
        who = "the proxy and others" if proxy else "others"
        log.warning(
            "Requests to %s are NOT encrypted: %s on the way can read and change them.",
            gateway_url,
            who,
        )


def explained(text: str) -> str:
    """Add to the text of a failed connection what its reader may not know."""
    if any(sign in text.lower() for sign in _NO_TLS):
        text += ": the other side does not speak TLS. A host without http:// means https://"
    return f"{text}."


def is_invalid_address(error: Exception, is_connected: bool) -> bool:
    """Whether a client could make no request of what it was given; its text may hold a password."""
    is_value = isinstance(error, ValueError) and not isinstance(error, ssl.SSLError)
    return is_value and not is_connected


def invalid_address(settings: EnOSSettings) -> InvalidSettingError:
    """Return the error for a host or proxy that no client can use. It repeats nothing."""
    field_name = field_of(settings.conn_id, "host or proxy")
    return InvalidSettingError(f"{field_name}: no address that can be connected to")


def unexpected(error: Exception, purpose: str, is_connected: bool) -> EnOSError:
    """
    Return the error for what no HTTP client should raise.

    The text of such an exception may hold a secret; where it was raised is kept.
    """
    name = type(error).__name__
    found = (
        EnOSNoAnswerError(f"no answer: {name} in the HTTP client.", during=purpose)
        if is_connected
        else EnOSUnreachableError(f"no connection: {name} in the HTTP client.", during=purpose)
    )
    return found.with_traceback(error.__traceback__)


def _ca_bundle(settings: EnOSSettings) -> tuple[str | None, str]:
    """Return the path and where it is from."""
    field_name = field_of(settings.conn_id, "verify")
    if settings.verify is False:
        log.warning(
            "TLS certificates of %s are NOT verified ('verify' of the Airflow connection).",
            settings.gateway_url,
        )
        return None, field_name
    if isinstance(settings.verify, str):
        return settings.verify, field_name
    # What requests does by itself; aiohttp would take the system's certificates.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            return path, f"environment variable {name}"
    return where(), "package certifi"


@lru_cache(maxsize=16)
def _tls_context(ca_bundle: str | None, modified_at: float) -> ssl.SSLContext:
    """Load the certificates, anew when they have changed."""
    if ca_bundle is None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if os.path.isdir(ca_bundle):
        return ssl.create_default_context(capath=ca_bundle)
    return ssl.create_default_context(cafile=ca_bundle)


def _environment_proxy(gateway_url: str) -> str | None:
    """Return the one that requests would use."""
    proxies = getproxies_environment()
    scheme = urlsplit(gateway_url).scheme
    name = scheme if scheme in proxies else "all"
    proxy = proxies.get(name)
    if not proxy:
        return None
    from requests.utils import should_bypass_proxies  # parse cost

    if should_bypass_proxies(gateway_url, no_proxy=None):
        return None
    variable = f"{name}_proxy"
    if variable not in os.environ:
        variable = variable.upper()
    if "://" not in proxy:
        proxy = f"http://{proxy}"  # "proxy:3128" is usual there
    return parse_proxy(f"environment variable {variable}", proxy)
