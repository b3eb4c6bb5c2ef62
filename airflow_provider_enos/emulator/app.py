"""
EnOS over HTTP: routes, the gateway's checks, and the envelopes of its answers.

Gateway statuses and texts: https://support.enos-iot.com/docs/api/en/3.0.0/gettingstarted
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from airflow_provider_enos.emulator.actions import ActionList
from airflow_provider_enos.emulator.answers import HangUp, Reply, answer
from airflow_provider_enos.emulator.auth import (
    TOKEN_MESSAGES,
    Gate,
    TokenExpired,
    TokenRefused,
    Unauthorized,
)
from airflow_provider_enos.emulator.faults import Code, FaultList, RevokeToken
from airflow_provider_enos.emulator.log import RequestLog
from airflow_provider_enos.emulator.operations import Call, Done, Operations
from airflow_provider_enos.emulator.rules import Refused, message_of
from airflow_provider_enos.emulator.settings import Settings
from airflow_provider_enos.emulator.state import StreamService

#: Above it the gateway answers 413. The limit is ours; the pages give the answer but no number.
MAX_BODY_BYTES = 1_000_000

PIPELINE_ACTIONS = frozenset({"save", "release", "start", "pause", "stop"})

#: By HTTP status. 404 and 405: the pages have no text; 404 is the Kong gateway's, 405 is ours.
GATEWAY_MESSAGES = {
    401: "Invalid authentication credentials",
    404: "no Route matched with those values",
    405: "Method not allowed",
    413: "Request size limit exceeded",
}


class EnOSApp:
    """
    The ASGI application.

    :param clock: Seconds since 1970.
    :param control: What ``/_emulator`` leads to.
    """

    def __init__(
        self,
        *,
        service: StreamService,
        gate: Gate,
        faults: FaultList,
        log: RequestLog,
        actions: ActionList,
        settings: Settings,
        clock: Callable[[], float],
        control: ASGIApp,
    ) -> None:
        self._service = service
        self._gate = gate
        self._faults = faults
        self._log = log
        self._actions = actions
        self._settings = settings
        self._clock = clock
        self._operations = Operations(service, settings).by_name
        pipeline = "/streaming/v2.0/streaming/pipeline/{pipeline_id}"
        self.asgi = Starlette(
            routes=[
                Mount("/_emulator", control),
                self._route("POST", "/apim-token-service/v2.0/token/get", "token_get"),
                self._route("POST", "/apim-token-service/v2.0/token/refresh", "token_refresh"),
                self._route("GET", "/streaming/v2.0/streaming/pipelines", "list"),
                self._route("GET", pipeline, "details"),
                Route(pipeline, self._operate, methods=["POST"]),
                self._route("GET", f"{pipeline}/offset-lag", "offset_lag"),
                self._route("POST", f"{pipeline}/offset", "reset_offset"),
                Route("/streaming/v2.0/stage-state", self._stage_state, methods=["POST"]),
            ],
            exception_handlers={404: self._no_route, 405: self._no_route},
        )

    # Which call it is

    def _route(self, method: str, path: str, operation: str) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self._serve(request, operation)

        return Route(path, endpoint, methods=[method])

    async def _operate(self, request: Request) -> Response:
        action = request.query_params.get("action", "")
        return await self._serve(request, action if action in PIPELINE_ACTIONS else "unknown")

    async def _stage_state(self, request: Request) -> Response:
        action = request.query_params.get("action", "")
        known = action in ("get", "delete")
        return await self._serve(request, f"stage_state_{action}" if known else "unknown")

    async def _no_route(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return await self._serve(request, "unknown", error.status_code)

    # From request to answer

    async def _serve(self, request: Request, operation: str, no_route: int = 0) -> Response:
        arrived, began = self._clock(), time.perf_counter()
        raw = await _read(request)
        pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        pipeline_id = request.path_params.get("pipeline_id")
        call = Call(dict(pairs), _parsed(raw), pipeline_id or "")
        if operation.startswith("stage_state") and isinstance(call.body, dict):
            pipeline_id = call.body.get("pipelineId")
        fault = self._faults.take(operation, pipeline_id)
        reply = None
        if isinstance(fault, RevokeToken):
            self._gate.revoke(request.headers.get("apim-accesstoken", ""))
        if isinstance(fault, Code):
            text = TOKEN_MESSAGES.get(fault.code) or message_of(fault.code)
            reply = self._envelope(operation, fault.code, text if fault.msg is None else fault.msg)
        elif no_route or len(raw) > MAX_BODY_BYTES:
            reply = _gateway(no_route or 413)
        elif fault is None or fault.carried_out:
            reply = await self._carry_out(request, operation, pairs, raw, call)
        response = await answer(reply, fault)
        self._log.append(
            time=arrived,
            operation=operation,
            org_id=call.query.get("orgId"),
            pipeline_id=pipeline_id,
            query=call.query,
            body=call.body if operation in self._operations else None,
            http_status=None if isinstance(response, HangUp) else response.status_code,
            code=reply.code if reply is not None else None,
            duration_seconds=time.perf_counter() - began,
            effective=reply is not None and reply.effective,
            fault=type(fault).__name__ if fault is not None else None,
        )
        self._actions.run_due(operation, pipeline_id)
        return response

    async def _carry_out(
        self, request: Request, operation: str, pairs: list[tuple[str, str]], raw: bytes, call: Call
    ) -> Reply:
        try:
            if operation.startswith("token"):
                refresh = operation == "token_refresh"
                ask = self._gate.refresh_token if refresh else self._gate.get_token
                return self._envelope(operation, 0, TOKEN_MESSAGES[0], ask(call.body))
            application = self._gate.check(request.headers, pairs, raw)
            if not call.query.get("orgId"):
                raise Refused(99400, name="orgId", reason="orgId is missing")
            known = call.org_id in self._service.org_ids
            if not known or not application.may_use(call.org_id):
                raise Refused(99403, org_id=call.org_id)
            if operation == "unknown":
                raise Refused(99400, name="action", reason="action is missing")
            done = self._operations[operation](call)
        except TokenRefused as refused:
            return self._envelope(operation, refused.code, TOKEN_MESSAGES[refused.code])
        except TokenExpired:
            return self._expired(operation)
        except Unauthorized:
            return _gateway(401)
        except Refused as refused:
            return self._envelope(operation, refused.code, refused.message)
        return await self._finish(operation, call, done)

    async def _finish(self, operation: str, call: Call, done: Done) -> Reply:
        """Answer a call that was not refused, when its time has come."""
        if done.blocks:
            while (pipeline := self._service.pipeline(call.pipeline_id)).move is not None:
                until = pipeline.move.until
                # Nobody tells when a test finishes it; and sleep may end a hair before the clock.
                left = 0.01 if until is None else max(0.0, until - self._clock()) + 0.001
                await asyncio.sleep(left)
            if pipeline.status != "RUNNING":
                return self._envelope(operation, 99000, message_of(99000), effective=True)
        return self._envelope(operation, 0, done.msg, done.data, effective=done.effective)

    # Envelopes

    def _envelope(
        self, operation: str, code: int, msg: str, data: Any = None, *, effective: bool = False
    ) -> Reply:
        if operation.startswith("token"):
            key = self._settings.token_status_key
            business = "apim-token-service"
            return Reply(200, {key: code, "msg": msg, "business": business, "data": data}, code)
        content: dict[str, Any] = {"code": code, "msg": msg}
        if code == 0 and (data != "" or self._settings.write_data == "empty"):
            content["data"] = data
        if self._settings.request_id:
            content["requestId"] = str(uuid.uuid4())
        return Reply(200 if code == 0 else self._settings.refusal_status, content, code, effective)

    def _expired(self, operation: str) -> Reply:
        match self._settings.expired_token_answer:
            case "401":
                return _gateway(401)
            case "1203":
                return self._envelope(operation, 1203, TOKEN_MESSAGES[1203])
            case "4011":
                return Reply(200, {"apim_status": 4011})


def _gateway(status: int) -> Reply:
    return Reply(status, {"message": GATEWAY_MESSAGES[status]})


async def _read(request: Request) -> bytes:
    """The body; of one that is too large only as much as shows that, but it is read to its end."""
    body = bytearray()
    async for chunk in request.stream():
        if len(body) <= MAX_BODY_BYTES:
            body += chunk
    return bytes(body)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None
