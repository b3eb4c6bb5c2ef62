"""
How an answer leaves: whole, or as a fault wants it.

Faults that break the connection need the transport below HTTP; ``server.py`` puts it into the
scope's state.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from airflow_provider_enos.emulator.faults import (
    CutAnswer,
    DropRequest,
    Fault,
    Garbage,
    HttpError,
    HugeBody,
    LoseAnswer,
    Redirect,
    Slow,
    TooManyRequests,
    Trickle,
)

#: Closing a socket with this option sends a reset instead of an orderly end.
LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What the gateway or EnOS says.

    :param code: EnOS's code; None if the gateway speaks.
    :param effective: Whether the state was changed.
    """

    status: int
    content: dict[str, Any]
    code: int | None = None
    effective: bool = False


class HangUp(Response):
    """
    Close the connection, after the first half of ``content`` if there is some.

    :param content: Body of the answer that is cut; None: not even a status line is sent.
    :param status: HTTP status of the answer that is cut.
    """

    def __init__(self, content: bytes | None = None, status: int = 200) -> None:
        super().__init__(content, status, media_type="application/json")
        self._says_something = content is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is to be sent, break the connection and wait until it is broken."""
        transport: asyncio.Transport = scope["state"]["transport"]
        if self._says_something:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            half = bytes(self.body[: len(self.body) // 2])
            await send({"type": "http.response.body", "body": half, "more_body": True})
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO
            )
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


async def answer(reply: Reply | None, fault: Fault | None) -> Response:
    """
    The response to send.

    :param reply: None if the request was not carried out.
    :param fault: What disturbs it, if anything does.
    """
    own = JSONResponse(reply.content, reply.status) if reply is not None else Response()
    match fault:
        case LoseAnswer() | DropRequest():
            return HangUp()
        case CutAnswer():
            return HangUp(bytes(own.body), own.status_code)
        case Slow(seconds):
            await asyncio.sleep(seconds)
        case Trickle(rate):
            return StreamingResponse(
                _trickle(bytes(own.body), rate), own.status_code, dict(own.headers)
            )
        case HttpError(status, body, headers):
            return Response(body, status, dict(headers))
        case TooManyRequests(retry_after):
            after = {} if retry_after is None else {"Retry-After": retry_after}
            return JSONResponse({"message": "API rate limit exceeded"}, 429, after)
        case Garbage(body, content_type):
            return Response(body, media_type=content_type)
        case HugeBody(megabytes):
            return StreamingResponse(_huge(megabytes), media_type="application/json")
        case Redirect(location):
            return Response(status_code=302, headers={"Location": location})
    return own


async def _trickle(body: bytes, bytes_per_second: float) -> AsyncIterator[bytes]:
    for position in range(len(body)):
        yield body[position : position + 1]
        await asyncio.sleep(1 / bytes_per_second)


async def _huge(megabytes: int) -> AsyncIterator[bytes]:
    yield b'{"code":0,"msg":"'
    for _ in range(megabytes * 16):
        yield b"x" * 65_536
    yield b'"}'
