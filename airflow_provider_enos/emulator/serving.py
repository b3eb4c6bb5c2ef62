"""uvicorn, made fit for tests: it starts in a thread, stops at once, and can break connections."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

#: Connections that may wait to be accepted: a benchmark opens thousands at once.
BACKLOG = 4096

#: As nginx has it, on which the gateway's kind stands. uvicorn's own 5 s are rare out there.
KEEP_ALIVE_SECONDS = 75


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Lets a fault reach the transport, to close it where HTTP has no words for that."""

    app_state: dict[str, Any]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Put the transport into the state of every request's scope."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Server(uvicorn.Server):
    """uvicorn without its patience: it waits for no client and stops at once."""

    def __init__(self, app: Callable[..., Any]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self.ready = threading.Event()

    def stop(self) -> None:
        """From another thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        """Serve until :meth:`stop`."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self.ready.set()
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Break all connections."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the transports close their sockets in the next round
