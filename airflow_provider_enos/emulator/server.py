"""The emulator to hold in a test: all parts together, served over HTTP from a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from starlette.types import Receive, Scope, Send

from airflow_provider_enos.emulator.actions import ActionList
from airflow_provider_enos.emulator.app import EnOSApp
from airflow_provider_enos.emulator.auth import Application, Gate
from airflow_provider_enos.emulator.control import control_app
from airflow_provider_enos.emulator.faults import FaultList
from airflow_provider_enos.emulator.log import LoggedRequest, RequestLog
from airflow_provider_enos.emulator.model import GENEROUS_CU, Quota
from airflow_provider_enos.emulator.serving import BACKLOG, Server
from airflow_provider_enos.emulator.settings import Settings
from airflow_provider_enos.emulator.state import StreamService

DEFAULT_ORG_ID = "o15517683199241"
DEFAULT_ACCESS_KEY = "7f3a2b10-5c4d-4e6f-8a9b-000000000001"
DEFAULT_SECRET_KEY = "0d1e2f30-1a2b-4c3d-9e8f-000000000002"


class Emulator:
    """
    An EnOS on this machine.

    As a context manager it serves from enter to exit, and an action that was ordered with
    ``after_request`` but never ran is an error then. It may be stopped and started again: the
    address stays, as do pipelines, tokens and the log, so that this is an outage. Every method may
    be called from any thread, and may be repeated.

    ``settings``, ``faults`` and ``requests`` are the switches, the trouble to come and the log. The
    methods that ``__init__`` assigns are those of ``StreamService``, ``RequestLog`` and
    ``ActionList``.

    :param pipelines: Number of released user pipelines in the first organization.
    :param org_id: The first organization.
    :param access_key: Of the application that may use all organizations.
    :param secret_key: Of the same.
    :param start_seconds: From an accepted start until the pipeline runs; None: until
        ``finish_transition``.
    :param lock_seconds: See :class:`~airflow_provider_enos.emulator.settings.Settings`.
    :param host: Address to listen on.
    :param port: 0: a free one.
    :param allow_remote: Whether ``host`` may be reached from other machines. The control API asks
        for no password.
    :param state_path: JSON file with organizations and pipelines; read if it exists, and written
        on every change. What it holds comes before ``pipelines`` and ``org_id``.
    :param clock: Seconds since 1970.
    :raises ValueError: ``host`` is no loopback address and ``allow_remote`` is not set.
    """

    def __init__(
        self,
        *,
        pipelines: int = 1,
        org_id: str = DEFAULT_ORG_ID,
        access_key: str = DEFAULT_ACCESS_KEY,
        secret_key: str = DEFAULT_SECRET_KEY,
        start_seconds: float | None = 0.0,
        lock_seconds: float | Callable[[], float] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_remote: bool = False,
        state_path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not allow_remote and not _is_loopback(host):
            raise ValueError(f"{host!r} can be reached from other machines; allow it explicitly")
        self.org_id = org_id
        self.access_key = access_key
        self.secret_key = secret_key
        self.settings = Settings(start_seconds=start_seconds, lock_seconds=lock_seconds)
        self.faults = FaultList()
        self._log = RequestLog()
        self.requests_for = self._log.find
        self.clear_requests = self._log.clear
        self.wait_for_request = self._log.wait
        self._actions = ActionList()
        self.after_request = self._actions.after_request
        self._service = StreamService(self.settings, clock, state_path)
        self.pipelines = self._service.pipelines
        self.pipeline = self._service.pipeline
        self.set_status = self._service.set_status
        self.wait_for_status = self._service.wait_for_status
        self.finish_transition = self._service.finish_transition
        self.set_start_outcome = self._service.set_start_outcome
        self.set_lag = self._service.set_lag
        self._gate = Gate(self.settings, clock)
        self._gate.add_application(Application(access_key, secret_key))
        if org_id not in self.org_ids:
            self.add_organization(org_id, pipelines)
        self._host = host
        self._port = port
        self._app = EnOSApp(
            service=self._service,
            gate=self._gate,
            faults=self.faults,
            log=self._log,
            actions=self._actions,
            settings=self.settings,
            clock=clock,
            control=control_app(self),
        ).asgi
        self._thread: threading.Thread | None = None
        self._server: Server | None = None

    # Serving

    def start(self) -> Self:
        """
        Begin to serve.

        :raises OSError: the address is taken or does not exist.
        """
        if self._thread is None:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            listener = socket.create_server(
                (self._host, self._port), family=family, backlog=BACKLOG
            )
            # Else an answer's body waits for the client's delayed ACK of its head: 40 ms each.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._port = listener.getsockname()[1]
            self._server = Server(self._serve_one)
            self._thread = threading.Thread(
                target=asyncio.run, args=[self._server.serve([listener])], name="enos-emulator"
            )
            self._thread.daemon = True
            self._thread.start()
            self._server.ready.wait()
        return self

    def stop(self) -> None:
        """Break all connections and serve no more."""
        if self._thread is not None and self._server is not None:
            self._server.stop()
            self._thread.join()
            self._thread = self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if kind is None:
            self.fail_if_actions_are_pending()

    async def _serve_one(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A request that stop() cuts off is no error to log.
        with contextlib.suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)

    # Where it is and who may call

    @property
    def url(self) -> str:
        """Address of the gateway, once it has been started."""
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"

    @property
    def connection(self) -> dict[str, Any]:
        """Airflow connection to the first organization, for ``AIRFLOW_CONN_...`` as JSON."""
        return {
            "conn_type": "enos",
            "host": self.url,
            "login": self.access_key,
            "password": self.secret_key,
            "extra": {"org_id": self.org_id},
        }

    @property
    def connection_json(self) -> str:
        """The same as text."""
        return json.dumps(self.connection)

    def add_application(
        self, access_key: str, secret_key: str, org_ids: list[str] | None = None
    ) -> None:
        """Let one more application in; ``org_ids`` None: it may use every organization."""
        orgs = None if org_ids is None else frozenset(org_ids)
        self._gate.add_application(Application(access_key, secret_key, orgs))

    def revoke_tokens(self) -> None:
        """End all tokens given so far."""
        self._gate.revoke()

    # Organizations and pipelines

    @property
    def org_ids(self) -> list[str]:
        """All organizations."""
        return self._service.org_ids

    @property
    def pipeline_ids(self) -> list[str]:
        """The user pipelines of the first organization; the same ones each time."""
        return [pipeline.pipeline_id for pipeline in self.pipelines(self.org_id)]

    def add_organization(self, org_id: str, pipelines: int = 1) -> None:
        """
        Add an organization with so many released user pipelines.

        :raises ValueError: it exists.
        """
        self._service.add_organization(org_id)
        for _ in range(pipelines):
            self.add_pipeline(org_id)

    def set_quota(
        self,
        *,
        org_id: str | None = None,
        standalone: float | None = GENEROUS_CU,
        server: float | None = GENEROUS_CU,
        yarn: float | None = GENEROUS_CU,
    ) -> None:
        """
        Say what an organization may use, in CU; None: it never requested this resource.

        :raises KeyError: no such organization.
        """
        self._service.set_quota(org_id or self.org_id, Quota(standalone, server, yarn))

    def hold_start_lock(self, seconds: float, org_id: str | None = None) -> None:
        """
        Keep starts out for so long, as if someone at the console had started a pipeline.

        :raises KeyError: no such organization.
        """
        self._service.hold_start_lock(org_id or self.org_id, seconds)

    def release_start_lock(self, org_id: str | None = None) -> None:
        """
        Let starts in again: whoever was starting a pipeline is done.

        :raises KeyError: no such organization.
        """
        self._service.release_start_lock(org_id or self.org_id)

    def add_pipeline(
        self,
        org_id: str | None = None,
        pipeline_id: str | None = None,
        *,
        status: str = "PUBLISHED",
        released: bool = True,
        name: str | None = None,
    ) -> str:
        """
        Add a user pipeline and return its id.

        :param status: Only of a released pipeline; the others have none.
        :raises KeyError: no such organization.
        :raises ValueError: a pipeline with this id exists.
        """
        return self._service.add_pipeline(
            org_id or self.org_id, pipeline_id, status, released=released, name=name
        )

    def status_of(self, pipeline_id: str) -> str:
        """
        What List Pipelines shows now.

        :raises KeyError: no such pipeline.
        """
        return self.pipeline(pipeline_id).status

    # What arrived

    @property
    def requests(self) -> list[LoggedRequest]:
        """All requests, in the order of their answers."""
        return self._log.find()

    # What was to happen after a request

    @property
    def pending_actions(self) -> list[str]:
        """The actions of ``after_request`` that have not run yet, or have failed."""
        return self._actions.pending

    def fail_if_actions_are_pending(self) -> None:
        """
        Tell a test that what it ordered has not happened.

        :raises AssertionError: an action of ``after_request`` has not run, or has failed.
        """
        if self.pending_actions:
            raise AssertionError("; ".join(self.pending_actions))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
