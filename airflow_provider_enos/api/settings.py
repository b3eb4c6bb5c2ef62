"""Where EnOS is and who we are: the fields of an Airflow connection, checked once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Self
from urllib.parse import quote, urlsplit

from airflow_provider_enos.api.errors import InvalidSettingError

#: Longest wait for one answer. Ours: EnOS documents none; its own Go client uses 30 s.
DEFAULT_REQUEST_TIMEOUT_SECONDS = 30.0
MAX_REQUEST_TIMEOUT_SECONDS = 600.0

DEFAULT_PORTS = {"http": 80, "https": 443}

#: Fields in the connection's extra.
EXTRA_FIELDS = ("org_id", "console_url", "verify", "proxy", "request_timeout_seconds")

#: What other clients and earlier forms of Airflow call these fields, without case and separators.
_OTHER_NAMES = {
    "org": "org_id",
    "organization": "org_id",
    "organizationid": "org_id",
    "proxies": "proxy",
    "httpproxy": "proxy",
    "httpsproxy": "proxy",
    "verifyssl": "verify",
    "sslverify": "verify",
    "cabundle": "verify",
    "timeout": "request_timeout_seconds",
    "timeoutseconds": "request_timeout_seconds",
    "requesttimeout": "request_timeout_seconds",
}
_NAMES = {name.replace("_", ""): name for name in EXTRA_FIELDS} | _OTHER_NAMES

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True, slots=True)
class EnOSSettings:
    """
    All that is needed to talk to EnOS as one application.

    :param gateway_url: ``https://host[:port][/path]``, without a slash at the end.
    :param access_key: The application's access key.
    :param secret_key: The application's secret key; never sent, logged or stored.
    :param org_id: Organization used when a call names none, e.g. ``o15517683199241``.
    :param console_url: Address of a pipeline's page; ``{pipeline_id}`` and ``{org_id}`` are filled
        in. EnOS documents no pattern, so there is no default.
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle.
    :param proxy: URL of an HTTP proxy.
    :param request_timeout_seconds: Longest wait for one answer, in seconds.
    """

    gateway_url: str
    access_key: str
    secret_key: str = field(repr=False)
    org_id: str | None = None
    console_url: str | None = None
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    request_timeout_seconds: float = DEFAULT_REQUEST_TIMEOUT_SECONDS

    @property
    def application(self) -> tuple[str, str, str]:
        """
        What tells one application at one gateway from another, within a process.

        The secret belongs to it: a corrected one must not be answered from what a wrong one left.
        """
        return self.gateway_url, self.access_key, self.secret_key

    @classmethod
    def from_connection(
        cls,
        conn_id: str,
        *,
        host: str | None,
        port: int | None,
        login: str | None,
        password: str | None,
        extra: Mapping[str, Any],
    ) -> Self:
        """
        Read the fields of an Airflow connection of type ``enos``.

        :raises InvalidSettingError: names the connection and the field.
        """
        where = f"Airflow connection {conn_id!r}, "
        if not (login or "").strip():
            raise InvalidSettingError.of(where + "login", login, "the access key")
        if not (password or "").strip():
            # The value is never repeated, not even a blank one.
            raise InvalidSettingError(where + "password: it is empty, allowed is the secret key")
        return cls(
            gateway_url=_gateway_url(where + "host", host, port),
            access_key=str(login).strip(),
            secret_key=str(password).strip(),
            org_id=_text(extra.get("org_id")),
            console_url=_console_url(where + "console_url", _text(extra.get("console_url"))),
            verify=_verify(where + "verify", extra.get("verify")),
            proxy=parse_proxy(where + "proxy", _text(extra.get("proxy"))),
            request_timeout_seconds=_timeout(
                where + "request_timeout_seconds", extra.get("request_timeout_seconds")
            ),
        )

    def console_link(self, *, pipeline_id: str, org_id: str) -> str:
        """Return the address of a pipeline's page in the EnOS console, or ``""`` if none is set."""
        if not self.console_url:
            return ""
        return _fill(self.console_url, pipeline_id=pipeline_id, org_id=org_id)


def field_of(conn_id: str, name: str) -> str:
    """Name a field of a connection, for errors."""
    return f"Airflow connection {conn_id!r}, {name}"


def require_json_object(conn_id: str, extra: object) -> None:
    """
    Check the text of the connection's extra, as Airflow reads one that is no JSON as ``{}``.

    :raises InvalidSettingError: it is no JSON object; it may hold a password and is not repeated.
    """
    if _is_blank(extra):
        return
    try:
        value = json.loads(extra) if isinstance(extra, str) else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidSettingError(
            f"{field_of(conn_id, 'extra')}: allowed is a JSON object, with names and texts in "
            'double quotes, e.g. {"org_id": "o1"}'
        )


def misspelt_fields(extra: Mapping[str, Any]) -> dict[str, str]:
    """Return the names in extra that mean a field of ours but have no effect, with its name."""
    found = {}
    for name in extra:
        plain = re.sub(r"[^a-z]", "", name.lower()).removeprefix("extraenos")
        meant = get_close_matches(plain, _NAMES, n=1, cutoff=0.85)
        if meant and name not in EXTRA_FIELDS:
            found[name] = _NAMES[meant[0]]
    return found


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None


def _gateway_url(field_name: str, host: str | None, port: int | None) -> str:
    allowed = "the address of the EnOS API gateway, e.g. https://apim.example.com"
    text = (host or "").strip()
    if re.match(r"https?:(?!//[^/])", text, re.IGNORECASE):
        raise InvalidSettingError(f"{field_name}: no address, allowed is {allowed}")
    if not text:
        raise InvalidSettingError.of(field_name, host, allowed)
    try:
        parts = urlsplit((text if "://" in text else f"https://{text}").rstrip("/"))
        in_host = parts.port
        (parts.hostname or "").encode("idna")  # as both HTTP clients will do
    except ValueError:
        # Not repeated, nor Python's words for it: they may hold a password.
        raise InvalidSettingError(f"{field_name}: no address, allowed is {allowed}") from None
    if parts.username is not None or parts.password is not None:
        # Not repeated: it may hold a password.
        raise InvalidSettingError(f"{field_name}: it holds credentials, allowed is {allowed}")
    good = parts.scheme in ("http", "https") and parts.hostname
    has_port = in_host != 0 and not parts.netloc.endswith(":")
    if (
        not good
        or not has_port
        or parts.query
        or parts.fragment
        or not text.isprintable()
        or " " in text
    ):
        raise InvalidSettingError.of(field_name, host, allowed)
    # One spelling for one gateway: its starts queue up together.
    name = parts.netloc.lower()
    if in_host is not None:
        name = name.rpartition(":")[0]
    port = in_host or port
    suffix = f":{port}" if port and port != DEFAULT_PORTS[parts.scheme] else ""
    return f"{parts.scheme}://{name}{suffix}{parts.path}"


def _console_url(field_name: str, template: str | None) -> str | None:
    if template is None:
        return None
    filled = _fill(template, pipeline_id="p", org_id="o")
    if not _is_address(filled) or "{" in filled:
        raise InvalidSettingError.of(
            field_name, template, "an http(s) address with {pipeline_id} and {org_id} in it"
        )
    return template


def _fill(template: str, *, pipeline_id: str, org_id: str) -> str:
    return template.replace("{pipeline_id}", quote(pipeline_id, safe="")).replace(
        "{org_id}", quote(org_id, safe="")
    )


def _verify(field_name: str, value: object) -> bool | str:
    if value is None or isinstance(value, bool):
        return value is not False
    text = str(value).strip()
    if text.lower() in _FALSE:
        return False
    if not text or text.lower() in _TRUE:
        return True
    if "/" in text or "." in text:
        return text
    raise InvalidSettingError.of(field_name, value, "true, false or the path of a CA bundle")


def parse_proxy(field_name: str, value: str | None) -> str | None:
    """
    Read the URL of an HTTP proxy.

    :raises InvalidSettingError: it is none; the value is not repeated, as it may hold a password.
    """
    if value is None:
        return None
    if not _is_address(value):
        raise InvalidSettingError(f"{field_name}: allowed is a URL like http://proxy.example:3128")
    return value


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no such port, no such IPv6 address
        return False


def _timeout(field_name: str, value: object) -> float:
    if value is None or value == "":
        return DEFAULT_REQUEST_TIMEOUT_SECONDS
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= MAX_REQUEST_TIMEOUT_SECONDS:
        raise InvalidSettingError.of(
            field_name,
            value,
            f"a number of seconds from above 0 to {MAX_REQUEST_TIMEOUT_SECONDS:g}",
        )
    return seconds
