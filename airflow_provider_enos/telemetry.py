"""
Metrics and traces, through what Airflow is configured to use.

``enos.requests.<operation>``
    Counter: requests sent to EnOS, e.g. ``list_pipelines``, ``start_pipeline``, ``get_token``.
``enos.requests.<operation>.failed``
    Counter: those of them without an answer.
``enos.requests.<operation>.duration``
    Timer: until there was an answer, or none to be expected.
``enos.<verb>.<outcome>``
    Counter: tries of tasks by what came of them, e.g. ``enos.start.started``, ``enos.stop.failed``.
``enos.<verb>.wait``
    Timer: the ``waited_seconds`` of the tries that did not fail.
``enos.start.conflicts``
    Counter: starts refused because of other starts (61121), when the try is over.

All have the tag ``org_id``, but for requests of tokens. Spans: one for each request, named after
its operation, and around those ``WAITS``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from time import perf_counter
from typing import Any

from airflow.sdk.observability import stats
from opentelemetry import context, trace

from airflow_provider_enos.api.messages import Request

#: Flow -> the span around it.
WAITS = {
    "until_accepted": "enos.start.wait_for_turn",
    "until_running": "enos.start.wait_for_running",
    "change_pipeline": "enos.change.wait",
    "watch_status": "enos.status.wait",
    "watch_lag": "enos.lag.wait",
}

_tracer = trace.get_tracer("airflow_provider_enos")


@contextmanager
def observed(request: Request) -> Iterator[trace.Span]:
    """Count, time and trace one request; yield its span."""
    name, tags = f"enos.requests.{request.operation}", _tags(dict(request.query).get("orgId"))
    begun = perf_counter()
    attributes = {"http.request.method": request.method, "url.path": request.path}
    stats.incr(name, tags=tags)
    try:
        with _tracer.start_as_current_span(
            f"enos.{request.operation}", kind=trace.SpanKind.CLIENT, attributes=attributes
        ) as span:
            yield span
    except Exception:
        stats.incr(f"{name}.failed", tags=tags)
        raise
    finally:
        stats.timing(f"{name}.duration", _seconds(perf_counter() - begun), tags=tags)


def wait_span(flow: Any, org_id: str | None) -> AbstractContextManager[Any]:
    """Trace a flow that waits for something; the requests of all flows are traced anyway."""
    name = WAITS.get(getattr(flow, "__name__", ""))
    if name is None:
        return nullcontext()
    attributes = {} if org_id is None else {"enos.org_id": org_id}
    return _tracer.start_as_current_span(name, attributes=attributes)


@contextmanager
def detached() -> Iterator[None]:
    """Begin a trace of its own: what is done for many belongs to none of them."""
    token = context.attach(context.Context())
    try:
        yield
    finally:
        context.detach(token)


def count_task(
    verb: str,
    outcome: str,
    org_id: str | None,
    *,
    waited_seconds: float | None = None,
    conflicts: int = 0,
) -> None:
    """Count a try that is over, how long it took, and what was in its way."""
    tags = _tags(org_id)
    stats.incr(f"enos.{verb}.{outcome}", tags=tags)
    if waited_seconds is not None:
        stats.timing(f"enos.{verb}.wait", _seconds(waited_seconds), tags=tags)
    if conflicts:
        stats.incr(f"enos.{verb}.conflicts", conflicts, tags=tags)


def _tags(org_id: str | None) -> dict[str, str]:
    return {} if org_id is None else {"org_id": org_id}


def _seconds(number: float) -> timedelta:
    # A plain number would be milliseconds to some of Airflow's backends and seconds to others.
    return timedelta(seconds=number)
