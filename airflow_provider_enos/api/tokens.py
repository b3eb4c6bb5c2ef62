"""
Access tokens: fetched by one caller at a time, renewed early, kept in memory only.

:func:`signed` is what other modules use: it signs every request of a flow.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from airflow_provider_enos.api import calls
from airflow_provider_enos.api.errors import (
    EnOSApiError,
    EnOSError,
    NoTokenError,
    RepeatedRequestError,
)
from airflow_provider_enos.api.messages import (
    Answer,
    Call,
    Request,
    read_data,
    struck,
    token_was_rejected,
    without,
)
from airflow_provider_enos.api.registry import Registry
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.api.signing import signed_headers
from airflow_provider_enos.api.transport import Flow, Now, Send, Sleep, Step, Wait, translated

T = TypeVar("T")

#: A token is renewed when a tenth of its life is left, but at most this long before its end.
MAX_RENEWAL_LEAD_SECONDS = 300.0

#: How long a token that could not be renewed is used before the next attempt.
RENEWAL_PAUSE_SECONDS = 10.0

#: EnOS refuses a token request that it saw before (1001): processes that asked in the same
#: millisecond. A later time stamp makes it another request.
REPEATED_REQUEST_TRIES = 5
REPEATED_REQUEST_MAX_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class _Held:
    value: str = field(repr=False)
    renew_at: float
    expires_at: float


class TokenCache:
    """
    The token of one application at one gateway, for all threads and event loops of a process.

    The first caller who finds no good token fetches one and the others wait for that caller. If
    the fetch fails they get the same error; if its caller is killed, one of them takes over.
    """

    def __init__(self) -> None:
        # Reentrant: the garbage collector may end an abandoned flow, and so its fetch, in here.
        self._lock = threading.RLock()
        self._held: _Held | None = None
        self._fetch: Future[None] | None = None

    def token(self, settings: EnOSSettings) -> Flow[str]:
        """
        Return a good token.

        :raises EnOSError: the token service did not give one.
        """
        while True:
            now = yield Now()
            with self._lock:
                held, fetch = self._held, self._fetch
                if held and now < held.renew_at:
                    return held.value
                is_mine = fetch is None
                if fetch is None:
                    fetch = self._fetch = Future()
            if is_mine:
                return (yield from self._renew(settings, held, fetch))
            if held and now < held.expires_at:
                return held.value  # good for a while, and somebody is renewing it
            yield Wait(fetch)
            try:
                fetch.result()
            except EnOSError as error:
                raise EnOSError.from_payload(error.to_payload()) from None

    def drop(self, token: str) -> None:
        """Forget a token that the gateway rejected, unless it has been replaced already."""
        with self._lock:
            if self._held and self._held.value == token:
                self._held = None

    def _renew(self, settings: EnOSSettings, held: _Held | None, fetch: Future[None]) -> Flow[str]:
        error: EnOSError | None = None
        renewed: _Held | None = None
        try:
            renewed = yield from _fetched(settings, held)
        except EnOSError as failure:
            now = yield Now()
            if held is None or now >= held.expires_at:
                error = failure
                raise
            renewed = replace(held, renew_at=min(now + RENEWAL_PAUSE_SECONDS, held.expires_at))
        finally:
            # Also when the caller was killed: the others must not wait for it.
            with self._lock:
                self._fetch = None
                # An old token that could not be renewed may have been rejected meanwhile.
                if renewed and (renewed.value != (held and held.value) or self._held is held):
                    self._held = renewed
            if error is not None:
                fetch.set_exception(error)
            else:
                fetch.set_result(None)
        return renewed.value


def _fetched(settings: EnOSSettings, held: _Held | None) -> Flow[_Held]:
    now = yield Now()
    if held is not None and now < held.expires_at:
        try:
            return (yield from _ask(settings, held.value))
        except EnOSApiError:
            pass  # too late or refused: a new one will do
    return (yield from _ask(settings, None))


def _ask(settings: EnOSSettings, refresh: str | None) -> Flow[_Held]:
    for tries_left in reversed(range(REPEATED_REQUEST_TRIES)):
        now = yield Now()
        stamp = int(now * 1000)
        call: Call[calls.Token]
        if refresh is None:
            call = calls.get_token(settings, stamp)
        else:
            call = calls.refresh_token(settings, stamp, refresh)
        try:
            answer = yield from _send(call.request, (json.loads(call.request.body)["encryption"],))
            token = call.read(read_data(call.request, answer))
        except RepeatedRequestError:
            if not tries_left:
                raise
            pause = random.uniform(0.001, REPEATED_REQUEST_MAX_PAUSE_SECONDS)  # noqa: S311
            yield Sleep(pause)
        else:
            life = token.expires_in_seconds
            lead = min(life / 10, MAX_RENEWAL_LEAD_SECONDS)
            return _Held(token.value, renew_at=now + life - lead, expires_at=now + life)
    raise AssertionError("unreachable")


_caches: Registry[tuple[str, str, str], TokenCache] = Registry(lambda _: TokenCache())


def cache_for(settings: EnOSSettings) -> TokenCache:
    """Return the process's cache for this gateway and application."""
    return _caches.get(settings.application)


def signed(flow: Flow[T], settings: EnOSSettings, cache: TokenCache) -> Generator[Step, Any, T]:
    """
    Run ``flow`` with each of its requests signed.

    A token that the gateway rejects is renewed once and the request sent again; that is safe, as
    a request with a rejected token was not carried out.
    """

    def translation(step: Step) -> Flow[Answer] | None:
        if isinstance(step, Send) and step.request.signed:
            return _send_signed(step.request, settings, cache)
        return None

    return translated(flow, translation)


def _send_signed(request: Request, settings: EnOSSettings, cache: TokenCache) -> Flow[Answer]:
    for is_last in (False, True):
        token = yield from _token(request, settings, cache)
        now = yield Now()
        headers = signed_headers(
            token=token,
            secret_key=settings.secret_key,
            timestamp_ms=int(now * 1000),
            query=request.query,
            body=request.body,
        )
        answer = yield from _send(
            replace(request, headers={**request.headers, **headers}),
            (token, headers["apim-signature"]),
        )
        if is_last or not token_was_rejected(answer):
            return answer
        cache.drop(token)
    raise AssertionError("unreachable")


def _send(request: Request, secrets: tuple[str, ...]) -> Flow[Answer]:
    """Send a request; neither the answer nor an error repeats its secrets."""
    try:
        answer: Answer = yield Send(request)
    except EnOSError as error:
        message = struck(secrets, error.message)
        if message == error.message:
            raise
        raise error.again(error.during or request.purpose, message) from None
    return without(secrets, answer)


def _token(request: Request, settings: EnOSSettings, cache: TokenCache) -> Flow[str]:
    try:
        return (yield from cache.token(settings))
    except EnOSError as error:
        if not error.ambiguous:
            raise error.again(request.purpose, f"no access token: {error.message}") from error
        # What may have happened at the token service says nothing of the request itself.
        raise NoTokenError(
            f"no access token: {error.message.rstrip('.')}. {error.advice}".strip(),
            during=request.purpose,
            code=error.code,
            http_status=error.http_status,
            request_id=error.request_id,
            retry_after_seconds=error.retry_after_seconds,
        ) from error
