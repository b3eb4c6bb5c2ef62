"""
One process that starts pipelines: ``python -m benchmarks.fleet triggers|sync`` with them on stdin.

``triggers`` runs them as a triggerer does, all on one event loop; ``sync`` one after another, as a
worker. Prints what it took as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

from airflow_provider_enos.api import flows
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.triggers.streaming import StartPipelineTrigger

CONFLICT_SECONDS = 3 * 3600.0
LAG_PROBE_SECONDS = 0.01


async def in_triggers(pairs: list[list[str]]) -> dict[str, Any]:
    """Start all of them at once."""
    lags: list[float] = []
    probe = asyncio.create_task(_probe(lags))
    # Modules and certificates are no waiter's cost: have them loaded by a first call.
    hook = EnOSStreamingHook(org_id=pairs[0][0])
    await hook.load()
    await hook.run_async(flows.list_pipelines(hook.org_id))
    before = _resident_bytes()
    tasks = [asyncio.create_task(_trigger(*pair)) for pair in pairs]
    await asyncio.sleep(8)  # all have come to wait
    waiting = _resident_bytes()
    outcomes = await asyncio.gather(*tasks)
    probe.cancel()
    lags.sort()
    return {
        "ok": outcomes.count("success"),
        "kB_each": (waiting - before) / len(pairs) / 1000,
        "lag_p99_ms": lags[int(0.99 * len(lags))] * 1000,
    }


async def _trigger(org_id: str, pipeline_id: str) -> str:
    trigger = StartPipelineTrigger(
        pipeline_id=pipeline_id,
        execution_mode=0,
        kafka_rate=1000,
        resource_config={"server": 0.1},
        org_id=org_id,
        enos_conn_id="enos_default",
        wait_for_running=True,
        conflict_timeout_seconds=CONFLICT_SECONDS,
        start_timeout_seconds=600.0,
        poll_interval_seconds=5.0,
    )
    event = await anext(trigger.run())
    return str(event.payload["status"])


async def _probe(lags: list[float]) -> None:
    while True:
        due = time.perf_counter() + LAG_PROBE_SECONDS
        await asyncio.sleep(LAG_PROBE_SECONDS)
        lags.append(time.perf_counter() - due)


def one_after_another(pairs: list[list[str]]) -> dict[str, Any]:
    """Start them as a worker's tasks would."""
    ok = 0
    for org_id, pipeline_id in pairs:
        hook = EnOSStreamingHook(org_id=org_id)
        settings = StartSettings.parse(pipeline_id=pipeline_id, execution_mode=0)
        terms = StartTerms(time.time() + CONFLICT_SECONDS, 600.0, 5.0, wait_for_running=False)
        hook.run(start(org_id, settings, terms, StartProgress(), hook.start_queue))
        ok += 1
    return {"ok": ok}


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    """Read the pipelines, start them, say what it took."""
    pairs = json.load(sys.stdin)
    took = (
        asyncio.run(in_triggers(pairs)) if sys.argv[1] == "triggers" else one_after_another(pairs)
    )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    took |= {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_MB": usage.ru_maxrss / 1000}
    sys.stdout.write(json.dumps(took) + "\n")


if __name__ == "__main__":
    main()
