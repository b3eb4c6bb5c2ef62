"""
Who may call: the token service and the check of signed requests. No HTTP here.

Written from the pages alone, and apart from the provider's own signing, so that a mistake cannot
hide on both sides.

https://support.enos-iot.com/docs/apim/en/3.0.0/token (get, refresh, codes)
https://support.enos-iot.com/docs/api/en/3.0.0/authen_overview (signature)
https://support.enos-iot.com/docs/enos/en/2.3.0/security/security_mechanisms (15 minutes)
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.emulator.settings import Settings

#: How old, or how far ahead, the time stamp of a signed request may be.
MAX_SKEW_SECONDS = 15 * 60

#: Codes as printed; the texts are ours, since the pages only describe the codes.
TOKEN_MESSAGES: Mapping[int, str] = {
    0: "SUCCESS",
    1001: "Repeated request",
    1002: "AppKey does not exist",
    1003: "Encryption is not valid",
    1004: "Invalid parameter",
    1005: "Internal service exception",
    1202: "Parameter is empty",
    1203: "Access token has expired",
    1204: "Failed to refresh access token",
}


class TokenRefused(Exception):
    """The token service says no, with one of its codes."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"{code} {TOKEN_MESSAGES[code]}")


class Unauthorized(Exception):
    """The gateway does not accept the request's headers."""


class TokenExpired(Unauthorized):
    """The headers are well signed, but their token is over."""


@dataclass(frozen=True, slots=True)
class Application:
    """A service account; ``org_ids`` None: it may use every organization."""

    access_key: str
    secret_key: str
    org_ids: frozenset[str] | None = None

    def may_use(self, org_id: str) -> bool:
        """Whether the application is authorized for this organization."""
        return self.org_ids is None or org_id in self.org_ids


@dataclass(frozen=True, slots=True)
class _Token:
    application: Application
    expires: float


def sha256(*parts: str | bytes) -> str:
    """Lower-case hex SHA-256 of the parts joined, text as UTF-8."""
    joined = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(joined).hexdigest()


def signature(
    token: str, query: Iterable[tuple[str, str]], body: bytes, timestamp: str, secret_key: str
) -> str:
    """What ``apim-signature`` must be; ``query`` is decoded, in any order."""
    params = "".join(name + value for name, value in sorted(query, key=lambda pair: pair[0]))
    return sha256(token, params, body, timestamp, secret_key)


class Gate:
    """
    Gives tokens to applications, and lets in who shows one and signs.

    May be called from any thread.

    :param settings: Read at each call.
    :param clock: Seconds since 1970.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._guard = threading.Lock()
        self._applications: dict[str, Application] = {}
        self._tokens: dict[str, _Token] = {}
        self._current: dict[str, str] = {}
        self._encryptions: set[str] = set()

    def add_application(self, application: Application) -> None:
        """Let an application in; one with the same access key is replaced."""
        with self._guard:
            self._applications[application.access_key] = application

    def get_token(self, body: object) -> dict[str, Any]:
        """
        The application's token, the same one until it expires.

        :raises TokenRefused: with the code of the first thing that is wrong.
        """
        with self._guard:
            application = self._identify(body)
            token = self._current.get(application.access_key)
            if token is None or self._tokens[token].expires <= self._clock():
                return self._new_token(application)
            return self._shown(token)

    def refresh_token(self, body: object) -> dict[str, Any]:
        """
        A new token for one that lives; the old one is over then.

        :raises TokenRefused: with the code of the first thing that is wrong.
        """
        with self._guard:
            application = self._identify(body, "accessToken")
            assert isinstance(body, Mapping)
            old = str(body["accessToken"])
            token = self._tokens.get(old)
            if token is None or token.application.access_key != application.access_key:
                raise TokenRefused(1204)
            if token.expires <= self._clock():
                raise TokenRefused(1203)
            self._expire(old)
            return self._new_token(application)

    def check(
        self, headers: Mapping[str, str], query: Iterable[tuple[str, str]], body: bytes
    ) -> Application:
        """
        The application that signed the request.

        :param headers: By lower-case name.
        :param query: Decoded names and values.
        :param body: As it came over the wire.
        :raises TokenExpired: all is well but the token's age.
        :raises Unauthorized: anything else is not.
        """
        text, timestamp = headers.get("apim-accesstoken", ""), headers.get("apim-timestamp", "")
        with self._guard:
            token = self._tokens.get(text)
        if token is None or not (timestamp.isascii() and timestamp.isdigit()):
            raise Unauthorized
        now = self._clock()
        if abs(now - int(timestamp) / 1000) > MAX_SKEW_SECONDS:
            raise Unauthorized
        expected = signature(text, query, body, timestamp, token.application.secret_key)
        if headers.get("apim-signature") != expected:
            raise Unauthorized
        if token.expires <= now:
            raise TokenExpired
        return token.application

    def revoke(self, token: str | None = None) -> None:
        """End one token, or all."""
        with self._guard:
            for text in list(self._tokens) if token is None else [token]:
                if text in self._tokens:
                    self._expire(text)

    def _identify(self, body: object, *more_names: str) -> Application:
        if not isinstance(body, Mapping):
            raise TokenRefused(1004)
        for name in ("appKey", "timestamp", "encryption", *more_names):
            if body.get(name) in (None, ""):
                raise TokenRefused(1202)
            if isinstance(body[name], bool) or not isinstance(body[name], (str, int)):
                raise TokenRefused(1004)
        # The table says Long, but some of the vendor's own clients send text.
        timestamp, encryption = str(body["timestamp"]), str(body["encryption"])
        if not (timestamp.isascii() and timestamp.isdigit()):
            raise TokenRefused(1004)
        application = self._applications.get(str(body["appKey"]))
        if application is None:
            raise TokenRefused(1002)
        if encryption != sha256(application.access_key, timestamp, application.secret_key):
            raise TokenRefused(1003)
        if encryption in self._encryptions:
            raise TokenRefused(1001)
        self._encryptions.add(encryption)
        return application

    def _new_token(self, application: Application) -> dict[str, Any]:
        token = str(uuid.uuid4())
        self._tokens[token] = _Token(application, self._clock() + self._settings.token_seconds)
        self._current[application.access_key] = token
        return self._shown(token)

    def _shown(self, token: str) -> dict[str, Any]:
        left = self._tokens[token].expires - self._clock()
        return {"accessToken": token, "expire": max(0, round(left))}

    def _expire(self, token: str) -> None:
        self._tokens[token] = _Token(self._tokens[token].application, expires=0.0)
