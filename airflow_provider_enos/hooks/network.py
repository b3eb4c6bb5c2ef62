"""What both HTTP clients need to know of a connection, so that they behave alike."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import Self
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # typeshed lacks the second
    getproxies_environment,
    proxy_bypass_environment,
)

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.api.settings import EnOSSettings

#: A host that does not answer at all shows sooner than one that thinks.
MAX_CONNECT_TIMEOUT_SECONDS = 10.0

USER_AGENT = f"airflow-provider-enos/{version('airflow-provider-enos')}"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Network:
    """
    How to reach the gateway.

    :param ca_bundle: Path of the CA bundle, ``None`` for the client's own, ``False`` for no
        verification.
    :param proxy: The connection's proxy, else that of the environment (``HTTPS_PROXY``,
        ``NO_PROXY`` ...).
    """

    ca_bundle: str | bool | None
    proxy: str | None
    connect_timeout_seconds: float
    total_timeout_seconds: float

    @classmethod
    def of(cls, settings: EnOSSettings) -> Self:
        """
        Work it out.

        :raises InvalidSettingError: the CA bundle does not exist.
        """
        ca_bundle: str | bool | None
        if settings.verify is True:
            # The variables that requests reads; aiohttp reads none.
            ca_bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        else:
            ca_bundle = settings.verify
        if ca_bundle is False:
            log.warning(
                "TLS certificates of %s are NOT verified ('verify' of the Airflow connection).",
                settings.gateway_url,
            )
        elif ca_bundle and not os.path.exists(str(ca_bundle)):
            raise InvalidSettingError.of("verify", ca_bundle, "the path of an existing CA bundle")
        return cls(
            ca_bundle=ca_bundle or (None if ca_bundle is not False else False),
            proxy=settings.proxy or _environment_proxy(settings.gateway_url),
            connect_timeout_seconds=min(
                settings.request_timeout_seconds, MAX_CONNECT_TIMEOUT_SECONDS
            ),
            total_timeout_seconds=settings.request_timeout_seconds,
        )


def _environment_proxy(gateway_url: str) -> str | None:
    parts = urlsplit(gateway_url)
    proxies = getproxies_environment()
    if not parts.hostname or proxy_bypass_environment(parts.netloc, proxies):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")
