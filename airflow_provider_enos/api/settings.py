"""Where EnOS is and who we are: the fields of an Airflow connection, checked once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import IPv6Address
from typing import Any, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.api.start_settings import parse_id

#: Longest wait for one answer. Ours: EnOS documents none; its own Go client uses 30 s.
DEFAULT_REQUEST_TIMEOUT_SECONDS = 30.0
MAX_REQUEST_TIMEOUT_SECONDS = 600.0

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_PORT = 65535

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

#: What DNS can resolve; an international name only in its ASCII form.
_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_MAX_HOST_LENGTH = 253

#: What both HTTP clients send as it is.
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:-]+)*")


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
    :param conn_id: The Airflow connection that all of this is from.
    """

    gateway_url: str
    access_key: str
    secret_key: str = field(repr=False)
    org_id: str | None = None
    console_url: str | None = None
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    request_timeout_seconds: float = DEFAULT_REQUEST_TIMEOUT_SECONDS
    conn_id: str = ""

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
        port: int | str | None,
        login: str | None,
        password: str | None,
        schema: str | None = None,
        extra: Mapping[str, Any],
    ) -> Self:
        """
        Read the fields of an Airflow connection of type ``enos``.

        :param schema: ``http`` or ``https``, for a host without a scheme; by default ``https``.
        :raises InvalidSettingError: names the connection and the field.
        """
        gateway_url = _gateway_url(conn_id, host, port, schema)
        return cls(
            gateway_url=gateway_url,
            access_key=_access_key(field_of(conn_id, "login"), login),
            secret_key=_secret_key(field_of(conn_id, "password"), password),
            org_id=_org_id(field_of(conn_id, "org_id"), extra.get("org_id")),
            console_url=_console_url(field_of(conn_id, "console_url"), extra.get("console_url")),
            verify=_verify(field_of(conn_id, "verify"), extra.get("verify")),
            proxy=parse_proxy(field_of(conn_id, "proxy"), extra.get("proxy")),
            request_timeout_seconds=_timeout(
                field_of(conn_id, "request_timeout_seconds"), extra.get("request_timeout_seconds")
            ),
            conn_id=conn_id,
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


def _access_key(field_name: str, value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or not text.isprintable():
        raise InvalidSettingError.of(field_name, value, "the access key")
    return text


def _secret_key(field_name: str, value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if text and text.isprintable():
        return text
    # The value is never repeated, not even a blank one.
    fault = "it is empty" if _is_blank(value) else "it is no text, or has an invisible character"
    raise InvalidSettingError(f"{field_name}: {fault}, allowed is the secret key")


def _org_id(field_name: str, value: object) -> str | None:
    return None if _is_blank(value) else parse_id(value, field_name)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _gateway_url(conn_id: str, host: object, port: object, schema: object) -> str:
    allowed = "the address of the EnOS API gateway, e.g. https://apim.example.com"
    field_name = field_of(conn_id, "host")
    scheme = _scheme(field_of(conn_id, "schema"), schema)
    port_number = _port(field_of(conn_id, "port"), port)
    text = host.strip() if isinstance(host, str) else ""
    if not text.isascii():
        allowed += " (in ASCII, a name of another script as xn--...)"
    parts = _split(text if "://" in text else f"{scheme}://{text}")
    if not parts or re.match(r"https?:(?!//[^/])", text, re.IGNORECASE):
        raise _address_refused(field_name, host, allowed)
    if parts.username is not None:
        # Not repeated: it may hold a password.
        raise InvalidSettingError(f"{field_name}: it holds credentials, allowed is {allowed}")
    path = parts.path.rstrip("/")
    if parts.query or parts.fragment or not _PATH.fullmatch(path):
        raise _address_refused(field_name, host, allowed)
    # One spelling for one gateway: its starts queue up together.
    return f"{parts.scheme}://{_host_and_port(parts, parts.port or port_number)}{path}"


def _scheme(field_name: str, value: object) -> str:
    if _is_blank(value):
        return "https"
    scheme = str(value).strip().lower()
    if scheme not in DEFAULT_PORTS:
        raise InvalidSettingError.of(
            field_name, value, "http or https, for a host without a scheme, or nothing"
        )
    return scheme


def _port(field_name: str, value: object) -> int | None:
    if _is_blank(value):
        return None
    number = value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value.strip()):
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= MAX_PORT:
        raise InvalidSettingError.of(field_name, value, f"a port number from 1 to {MAX_PORT}")
    return number


def _split(text: str) -> SplitResult | None:
    """Split an http(s) address that both HTTP clients can connect to; ``None`` for all others."""
    if any(c < " " or c == "\x7f" for c in text):  # urlsplit drops some of them
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        if "[" in parts.netloc:
            IPv6Address(host)
    except ValueError:  # no such port, no such IPv6 address
        return None
    is_name = ":" in host or (_HOST.fullmatch(host) and len(host) <= _MAX_HOST_LENGTH)
    is_good = parts.scheme in DEFAULT_PORTS and is_name and "%" not in host
    return parts if is_good and port != 0 and not parts.netloc.endswith(":") else None


def _host_and_port(parts: SplitResult, port: int | None) -> str:
    """Write them in one way; a port that goes without saying is left out."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    return f"{host}:{port}" if port and port != DEFAULT_PORTS[parts.scheme] else host


def _address_refused(field_name: str, given: object, allowed: str) -> InvalidSettingError:
    if "@" in str(given):  # it may hold a password
        return InvalidSettingError(f"{field_name}: no address, allowed is {allowed}")
    return InvalidSettingError.of(field_name, given, allowed)


def _console_url(field_name: str, value: object) -> str | None:
    if _is_blank(value):
        return None
    template = value.strip() if isinstance(value, str) else ""
    filled = _fill(template, pipeline_id="p", org_id="o")
    if not _is_link(filled) or "{" in filled:
        allowed = "an http(s) address with {pipeline_id} and {org_id} in it"
        raise _address_refused(field_name, value, allowed)
    return template


def _is_link(text: str) -> bool:
    """Whether a browser can follow it, also to a host with an international name."""
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in DEFAULT_PORTS and parts.hostname and parts.port != 0
    except ValueError:  # no such port, no such IPv6 address
        return False
    return bool(is_good) and text.isprintable()


def _fill(template: str, *, pipeline_id: str, org_id: str) -> str:
    return template.replace("{pipeline_id}", quote(pipeline_id, safe="")).replace(
        "{org_id}", quote(org_id, safe="")
    )


def _verify(field_name: str, value: object) -> bool | str:
    if _is_blank(value):
        return True
    # As text it may be JSON, a URI or a form that it comes from.
    is_number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value).strip() if isinstance(value, str | bool) or is_number else ""
    if text.lower() in _FALSE:
        return False
    if text.lower() in _TRUE:
        return True
    if ("/" in text or "." in text) and text.isprintable():
        return text
    raise InvalidSettingError.of(field_name, value, "true, false or the path of a CA bundle")


def parse_proxy(field_name: str, value: object) -> str | None:
    """
    Read the URL of an HTTP proxy, and write it in the way that all clients read alike.

    :raises InvalidSettingError: it is none; the value is not repeated, as it may hold a password.
    """
    if _is_blank(value):
        return None
    parts = _split(value.strip()) if isinstance(value, str) else None
    if not parts or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InvalidSettingError(f"{field_name}: allowed is a URL like http://proxy.example:3128")
    address = _host_and_port(parts, parts.port)
    if parts.username is None:
        return f"{parts.scheme}://{address}"
    user, password = unquote(parts.username), unquote(parts.password or "")
    # HTTP's basic authentication cannot write others.
    if not user or ":" in user or not _is_latin_1(user + password):
        raise InvalidSettingError(
            f"{field_name}: user name or password cannot be sent to a proxy, allowed are "
            "characters of ISO 8859-1 (Latin-1), and no colon in the user name"
        )
    return f"{parts.scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{address}"


def _is_latin_1(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


def _timeout(field_name: str, value: object) -> float:
    if _is_blank(value):
        return DEFAULT_REQUEST_TIMEOUT_SECONDS
    try:
        seconds = float(str(value))
    except ValueError:  # also of true
        seconds = -1.0
    if not 0 < seconds <= MAX_REQUEST_TIMEOUT_SECONDS:
        raise InvalidSettingError.of(
            field_name,
            value,
            f"a number of seconds from above 0 to {MAX_REQUEST_TIMEOUT_SECONDS:g}",
        )
    return seconds
