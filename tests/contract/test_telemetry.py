"""Metrics over a real StatsD client, and spans of a real tracer, of both clients."""

import inspect
import json
import socket

import pytest
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_provider_enos import telemetry
from airflow_provider_enos.api import calls, flows
from airflow_provider_enos.api.errors import EnOSError
from airflow_provider_enos.api.start import until_accepted, until_running
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.api.watch import PollPlan, StatusRule, watch_status
from airflow_provider_enos.emulator.faults import DropRequest
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook


@pytest.fixture
def statsd(monkeypatch):
    """What Airflow's own client sends, line by line."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)

        def sent(until):
            lines = []
            while not any(until in line for line in lines):
                lines += server.recv(65536).decode().splitlines()
            return {line.split(":")[0].removeprefix("airflow."): line for line in lines}

        yield sent
    monkeypatch.undo()
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)


_exporter = InMemorySpanExporter()


@pytest.fixture(scope="module")
def tracer():
    """A tracer of the kind that Airflow sets up; there can be one in a process."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_exporter))
    trace.set_tracer_provider(provider)


@pytest.fixture
def spans(tracer):
    _exporter.clear()
    return lambda: {span.name: span for span in _exporter.get_finished_spans()}


def test_request_is_counted_and_timed(emulator, pipeline_id, run, statsd):
    emulator.set_status(pipeline_id, "RUNNING")

    run(flows.ask(calls.stop_pipeline(emulator.org_id, pipeline_id)))

    tag = f"org_id={emulator.org_id}"
    lines = statsd("stop_pipeline.duration")
    assert lines[f"enos.requests.stop_pipeline,{tag}"].endswith(":1|c")
    assert lines[f"enos.requests.stop_pipeline.duration,{tag}"].endswith("|ms")
    assert lines["enos.requests.get_token"].endswith(":1|c")


def test_request_without_an_answer_is_counted(emulator, pipeline_id, run, statsd):
    emulator.faults.append(DropRequest(on="stop"))

    with pytest.raises(EnOSError):
        run(flows.once(calls.stop_pipeline(emulator.org_id, pipeline_id)))

    lines = statsd("stop_pipeline.duration")
    assert lines[f"enos.requests.stop_pipeline.failed,org_id={emulator.org_id}"].endswith(":1|c")


def test_each_wait_and_each_request_is_a_span(emulator, pipeline_id, run, spans):
    settings = StartSettings.parse(pipeline_id=pipeline_id, execution_mode=0)
    terms = StartTerms(
        conflict_deadline=float("inf"), start_timeout_seconds=60, poll_interval_seconds=0.1
    )
    queue = EnOSStreamingHook().start_queue
    progress = StartProgress()
    result = run(until_accepted(emulator.org_id, settings, terms, progress, queue))
    run(until_running(result, terms, progress))
    plan = PollPlan(deadline=float("inf"), poll_interval_seconds=1)
    run(watch_status(emulator.org_id, pipeline_id, StatusRule.parse("RUNNING"), plan))

    found = spans()
    assert {"enos.get_token", "enos.list_pipelines", "enos.start_pipeline"} <= set(found)
    start, turn = found["enos.start_pipeline"], found["enos.start.wait_for_turn"]
    assert start.parent.span_id == turn.context.span_id
    assert start.kind is trace.SpanKind.CLIENT
    assert dict(start.attributes) == {
        "http.request.method": "POST",
        "url.path": f"/streaming/v2.0/streaming/pipeline/{pipeline_id}",
        "http.response.status_code": 200,
    }
    assert dict(turn.attributes) == {"enos.org_id": emulator.org_id}
    assert {"enos.start.wait_for_running", "enos.status.wait"} <= set(found)


def test_hook_apart_is_not_observed(emulator, pipeline_id, statsd, spans):
    """It is for signal handlers, which must not wait for a lock of a metrics back-end."""
    hook = EnOSStreamingHook().apart(5)
    emulator.set_status(pipeline_id, "RUNNING")
    hook.stop_pipeline(pipeline_id)
    hook.get_conn().close()
    EnOSStreamingHook().list_pipelines()

    lines = statsd("list_pipelines.duration")
    assert not any("stop_pipeline" in line for line in lines)
    assert "enos.stop_pipeline" not in spans()


def test_no_span_holds_a_secret(emulator, pipeline_id, run, spans):
    emulator.faults.append(DropRequest(on="stop"))
    with pytest.raises(EnOSError):
        run(flows.once(calls.stop_pipeline(emulator.org_id, pipeline_id)))

    text = json.dumps([json.loads(span.to_json()) for span in spans().values()])
    assert "stop_pipeline" in text
    assert emulator.secret_key not in text
    assert not any(token in text for token in emulator._gate._tokens)


def test_each_wait_that_has_a_span_is_a_flow_of_that_name():
    from airflow_provider_enos.api import change, lag, start, watch

    flow_names = {
        name
        for module in (change, lag, start, watch)
        for name, function in vars(module).items()
        if inspect.isgeneratorfunction(function)
    }
    assert set(telemetry.WAITS) <= flow_names
