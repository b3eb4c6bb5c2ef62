"""
One process of a fleet: ``python -m benchmarks.fleet KIND`` with pipelines on stdin.

``triggers`` starts them as a triggerer does, all on one event loop; ``watchers`` waits a minute for
a status that does not come; ``sync`` starts them one after another, as a worker; ``loop`` and
``tenacity`` start them as users do today, each in a thread, ``pool`` in one. Prints what it took as
JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

from airflow.triggers.base import BaseTrigger

from airflow_provider_enos.api import flows
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.triggers.streaming import PipelineStatusTrigger, StartPipelineTrigger
from benchmarks.as_today import PATH, EnOSAuth, ask_in_a_loop, ask_with_tenacity

CONFLICT_SECONDS = 3 * 3600.0
POLL_INTERVAL_SECONDS = 5.0
WATCH_SECONDS = 60.0
LAG_PROBE_SECONDS = 0.01

#: After it all have come to wait; Airflow takes a millisecond to look up a connection.
SETTLE_SECONDS = 8.0
SETTLE_SECONDS_EACH = 0.002


async def in_triggers(triggers: list[BaseTrigger], org_id: str) -> dict[str, Any]:
    """Run all of them at once."""
    # Modules and certificates are no waiter's cost: have them loaded by a first call.
    hook = EnOSStreamingHook(org_id=org_id)
    await hook.load()
    await hook.run_async(flows.list_pipelines(hook.org_id))
    lags: list[float] = []
    before, cpu_before = _resident_bytes(), time.process_time()
    tasks = [asyncio.create_task(_outcome(trigger)) for trigger in triggers]
    await asyncio.sleep(SETTLE_SECONDS + SETTLE_SECONDS_EACH * len(triggers))
    probe = asyncio.create_task(_probe(lags))
    waiting = _resident_bytes()
    outcomes = await asyncio.gather(*tasks)
    probe.cancel()
    lags.sort()
    return {
        "ok": outcomes.count("success"),
        "kB_each": (waiting - before) / len(triggers) / 1000,
        "lag_p99_ms": lags[int(0.99 * len(lags))] * 1000,
        "cpu_ms_each": (time.process_time() - cpu_before) / len(triggers) * 1000,
    }


async def _outcome(trigger: BaseTrigger) -> str:
    event = await anext(aiter(trigger.run()))
    return str(event.payload["status"])


def starting(org_id: str, pipeline_id: str) -> BaseTrigger:
    """Make a trigger that starts a pipeline."""
    return StartPipelineTrigger(
        pipeline_id=pipeline_id,
        execution_mode=0,
        kafka_rate=1000,
        resource_config={"server": 0.1},
        org_id=org_id,
        enos_conn_id="enos_default",
        wait_for_running=True,
        conflict_timeout_seconds=CONFLICT_SECONDS,
        start_timeout_seconds=600.0,
        poll_interval_seconds=POLL_INTERVAL_SECONDS,
    )


def watching(org_id: str, pipeline_id: str) -> BaseTrigger:
    """Make a trigger that waits for a status that does not come."""
    return PipelineStatusTrigger(
        pipeline_id=pipeline_id,
        target_statuses=["STOPPED"],
        org_id=org_id,
        enos_conn_id="enos_default",
        failed_statuses=None,
        poll_interval_seconds=POLL_INTERVAL_SECONDS,
        deadline=time.time() + WATCH_SECONDS,
    )


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


def as_today(pairs: list[list[str]], ask: Callable[..., None], threads: int) -> dict[str, Any]:
    """Start them without this provider."""
    connection = json.loads(os.environ["AIRFLOW_CONN_ENOS_DEFAULT"])
    auth = EnOSAuth(connection["login"], connection["password"])
    urls = [connection["host"] + PATH.format(pipeline_id, org_id) for org_id, pipeline_id in pairs]
    with ThreadPoolExecutor(threads) as pool:
        return {"ok": len(list(pool.map(ask, urls, repeat(auth))))}


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    """Read the pipelines, start them, say what it took."""
    pairs = json.load(sys.stdin)
    match sys.argv[1]:
        case "triggers":
            took = asyncio.run(in_triggers([starting(*pair) for pair in pairs], pairs[0][0]))
        case "watchers":
            took = asyncio.run(in_triggers([watching(*pair) for pair in pairs], pairs[0][0]))
        case "sync":
            took = one_after_another(pairs)
        case "loop":
            took = as_today(pairs, ask_in_a_loop, threads=len(pairs))
        case "tenacity":
            took = as_today(pairs, ask_with_tenacity, threads=len(pairs))
        case "pool":
            took = as_today(pairs, ask_in_a_loop, threads=1)
        case kind:
            sys.exit(f"{kind} is no kind of fleet")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    took |= {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_MB": usage.ru_maxrss / 1000}
    sys.stdout.write(json.dumps(took) + "\n")


if __name__ == "__main__":
    main()
