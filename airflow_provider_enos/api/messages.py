"""
What goes over the wire, and how an answer is understood.

A :class:`Call` is one documented call: its request, and how to read ``data`` of its answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from airflow_provider_enos.api.errors import (
    EnOSApiError,
    EnOSUnreadableAnswerError,
    InvalidSettingError,
    class_for,
    excerpt,
)
from airflow_provider_enos.api.pipeline import as_int

T = TypeVar("T")

#: Largest answer that is read. Ours: a full listing of EnOS stays far below 1 MB.
MAX_ANSWER_BYTES = 10_000_000

#: Never sleep longer than this because a header says so.
MAX_RETRY_AFTER_SECONDS = 3600.0

#: Codes that say "get a new token": 1203 (token service), 4011 and 4012 (``apim_status``).
TOKEN_REJECTED_CODES = frozenset({401, 1203, 4011, 4012})

CONTENT_TYPE = "application/json;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Request:
    """
    One HTTP request to the gateway, not yet signed.

    :param purpose: What it does, for logs and errors: ``start pipeline p-1 of organization o1``.
    :param repeatable: Whether sending it twice does no harm.
    :param signed: Whether the gateway wants it signed (all but the token service's).
    :param operation: The call's name, for metrics: ``start_pipeline``.
    """

    method: str
    path: str
    purpose: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    repeatable: bool = False
    signed: bool = True
    operation: str = "other"

    @property
    def target(self) -> str:
        """Path and query as they stand in the URL."""
        path = quote(self.path, safe="/")
        return f"{path}?{urlencode(self.query, quote_via=quote)}" if self.query else path


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One HTTP answer.

    :param headers: Names in lower case.
    """

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and the reader of its answer's ``data``."""

    request: Request
    read: Callable[[Any], T]


def without(secrets: Iterable[str], answer: Answer) -> Answer:
    """Return an answer that repeats none of these, since parts of it may be shown."""
    body = answer.body
    if b"\\u" in body or b"\\/" in body:
        body = _unescaped(body)
    for secret in secrets:
        body = body.replace(secret.encode(), b"***")
    headers = {name: struck(secrets, value) for name, value in answer.headers.items()}
    return replace(answer, body=body, headers=headers)


def struck(secrets: Iterable[str], text: str) -> str:
    """Return a text that repeats none of these."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _unescaped(body: bytes) -> bytes:
    """Write JSON anew with plain characters, among which a secret can be found."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # no JSON, or half a character
        return body


def json_body(value: Mapping[str, Any]) -> bytes:
    """
    Serialize a body once: the signature covers these very bytes.

    :raises InvalidSettingError: a text in it holds half a character (JSON's escapes allow that).
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start : error.end]
        raise InvalidSettingError.of("request body", half, "text that UTF-8 can write") from None


def read_data(request: Request, answer: Answer) -> Any:
    """
    Return ``data`` of a good answer.

    :raises EnOSApiError: EnOS answered with an error; its class tells which.
    :raises EnOSUnreadableAnswerError: a 2xx answer that is no answer of EnOS.
    """
    envelope = _envelope(answer)
    code = _code(envelope)
    if envelope is not None and code == 0 and answer.status < 300:
        return envelope.get("data")
    if code is None and answer.status < 300:
        raise EnOSUnreadableAnswerError(
            f"the answer is not the JSON of EnOS: {_begin_of(answer.body, request)}",
            during=request.purpose,
            http_status=answer.status,
        )
    raise _error(request, answer, envelope or {}, code)


def require_size(body: bytes | bytearray, request: Request, http_status: int) -> None:
    """
    Check what has been read of an answer so far.

    :raises EnOSUnreadableAnswerError: it is larger than any answer of EnOS.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise EnOSUnreadableAnswerError(
            f"more than {MAX_ANSWER_BYTES} bytes, which is no answer of EnOS",
            during=request.purpose,
            http_status=http_status,
        )


def token_was_rejected(answer: Answer) -> bool:
    """Whether the gateway did not accept the token: nothing was carried out, get a new one."""
    return answer.status == 401 or _code(_envelope(answer)) in TOKEN_REJECTED_CODES


def retry_after_seconds(answer: Answer) -> float | None:
    """Read ``Retry-After``: seconds or a date (RFC 9110, section 10.2.3)."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_SECONDS)
    # A date is read against the gateway's own clock, which it sends along.
    until, now = _date(text), _date(answer.headers.get("date", ""))
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def _error(
    request: Request, answer: Answer, envelope: Mapping[str, Any], code: int | None
) -> EnOSApiError:
    message = envelope.get("msg") or envelope.get("message") or envelope.get("error")
    text = f'EnOS answered "{excerpt(str(message))}"' if message else None
    location = answer.headers.get("location")
    if 300 <= answer.status < 400 and location:
        text = f'the gateway redirects to "{excerpt(location.split("?")[0])}"'
    request_id = envelope.get("requestId", envelope.get("request_id"))
    return class_for(code, answer.status)(
        text or _begin_of(answer.body, request),
        during=request.purpose,
        code=code,
        http_status=answer.status,
        request_id=excerpt(str(request_id), 100) if request_id else None,
        retry_after_seconds=retry_after_seconds(answer),
    )


def _envelope(answer: Answer) -> Mapping[str, Any] | None:
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, Mapping) else None


def _code(envelope: Mapping[str, Any] | None) -> int | None:
    # The services say "code", the token service "status", its page also "stauts".
    for name in ("apim_status", "code", "status", "stauts"):
        if envelope and name in envelope:
            return as_int(envelope[name])
    return None


def _begin_of(body: bytes, request: Request) -> str:
    if not body.strip():
        return "an empty answer"
    if not request.signed:
        return "an answer that may hold a token and is not shown"
    return f'an answer that begins with "{excerpt(body[:1000].decode(errors="replace"))}"'


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
