"""
The emulator's own API under ``/_emulator``: what a test may do, by HTTP.

Path parameters, query and JSON body together are the arguments of the method behind a route.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_enos.emulator.faults import fault_as_json, fault_of_json

if TYPE_CHECKING:
    from airflow_provider_enos.emulator.server import Emulator


def control_app(enos: Emulator) -> Starlette:
    """The ASGI application over one emulator."""

    def requests(
        operation: str | None = None, pipeline_id: str | None = None, since: str = "0"
    ) -> Any:
        found = enos.requests_for(operation, pipeline_id=pipeline_id, since=int(since))
        return [asdict(request) for request in found]

    def change_settings(**values: Any) -> dict[str, Any]:
        enos.settings.update(values)
        return enos.settings.as_json()

    calls: list[tuple[str, str, Callable[..., Any]]] = [
        ("GET", "/health", lambda: {"status": "ok", "organizations": enos.org_ids}),
        ("GET", "/requests", requests),
        ("DELETE", "/requests", enos.clear_requests),
        ("GET", "/pipelines", lambda **where: [row.as_json() for row in enos.pipelines(**where)]),
        ("POST", "/pipelines", lambda **new: {"pipeline_id": enos.add_pipeline(**new)}),
        ("GET", "/pipelines/{pipeline_id}", lambda **one: enos.pipeline(**one).as_json()),
        ("PUT", "/pipelines/{pipeline_id}/status", enos.set_status),
        ("DELETE", "/pipelines/{pipeline_id}/transition", enos.finish_transition),
        ("PUT", "/pipelines/{pipeline_id}/start_outcome", enos.set_start_outcome),
        ("PUT", "/pipelines/{pipeline_id}/lag", enos.set_lag),
        ("POST", "/organizations", enos.add_organization),
        ("PUT", "/organizations/{org_id}/quota", enos.set_quota),
        ("POST", "/lock", enos.hold_start_lock),
        ("DELETE", "/lock", enos.release_start_lock),
        ("GET", "/faults", lambda: [fault_as_json(fault) for fault in enos.faults]),
        ("POST", "/faults", lambda **fault: enos.faults.append(fault_of_json(fault))),
        ("DELETE", "/faults", enos.faults.clear),
        ("GET", "/settings", enos.settings.as_json),
        ("PATCH", "/settings", change_settings),
        ("DELETE", "/tokens", enos.revoke_tokens),
    ]
    return Starlette(
        routes=[Route(path, _endpoint(call), methods=[method]) for method, path, call in calls]
    )


def _endpoint(call: Callable[..., Any]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            raw = await request.body()
            body = json.loads(raw) if raw else {}
            result = call(**{**request.query_params, **body, **request.path_params})
        except KeyError as error:
            return JSONResponse({"error": f"not found: {error.args[0]}"}, 404)
        except (TypeError, ValueError, AttributeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({} if result is None else result)

    return endpoint
