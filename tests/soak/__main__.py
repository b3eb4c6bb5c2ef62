"""
``make soak``: ten minutes of starts, stops, kills, strangers and faults, and every verdict checked.

EnOS (the emulator) is a process of its own, with 20 organizations. Here are the users: some as
triggers on one event loop, some as workers in threads. Each pipeline has one user at a time, so
that EnOS's log of it says what is true. ``python -m tests.soak 60 7`` takes 60 seconds, with seed
7.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from dataclasses import replace

import psutil
import structlog

from airflow_provider_enos.api.change import stop_pipeline
from airflow_provider_enos.api.errors import EnOSError, TaskKilledError
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.emulator.faults import RevokeToken, fault_as_json
from airflow_provider_enos.hooks.kill_switch import KillSwitch
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from benchmarks.enos import running_enos
from tests.contract.troubles import TROUBLES

SECONDS = 600.0
ORGANIZATIONS, PIPELINES = 20, 8
TRIGGERS, WORKERS = 60, 6
HOLD_SECONDS = 0.3
POLL_INTERVAL_SECONDS = 1.0
REQUEST_TIMEOUT_SECONDS = 2.0
MAX_GROWTH = 0.05


class Soak:
    """The users' side."""

    def __init__(self, enos, seconds, seed):
        self.enos = enos
        self.end = time.monotonic() + seconds
        self.rng = random.Random(seed)
        self.ends, self.faults, self.wrong = Counter(), Counter(), []
        self._free = [(one.org_id, one.pipeline_id) for one in enos.starts()]
        self._guard = threading.Lock()

    @property
    def goes_on(self):
        return time.monotonic() < self.end

    def borrow(self):
        """Have a pipeline that nobody else uses, and the number of its last request."""
        with self._guard:
            org_id, pipeline_id = self._free.pop(self.rng.randrange(len(self._free)))
        return Case(self, org_id, pipeline_id)

    def give_back(self, case):
        with self._guard:
            self._free.append((case.org_id, case.pipeline_id))

    def note(self, end, problem=""):
        with self._guard:
            self.ends[end] += 1
            if problem:
                self.wrong.append(problem)


class Case:
    """One start or stop of one pipeline: what is asked for, and whether the verdict is true."""

    def __init__(self, soak, org_id, pipeline_id):
        self._soak, rng = soak, soak.rng
        self.org_id, self.pipeline_id = org_id, pipeline_id
        self.progress = StartProgress()
        self.status_before = self._status()
        self._since = self._log()[-1]["number"] if self._log() else 0
        self.is_stop = self.status_before == "RUNNING" and rng.random() < 0.9
        self.kill_after = rng.choice([None] * 6 + [rng.uniform(0, 6)])
        now = time.time()
        self._terms = StartTerms(
            conflict_deadline=now + rng.choice([2, 20, 60]),
            start_timeout_seconds=rng.choice([2, 20]),
            poll_interval_seconds=POLL_INTERVAL_SECONDS,
            wait_for_running=rng.random() < 0.8,
        )
        self._stop_deadline = now + rng.choice([5, 30])

    def flow(self, hook):
        if self.is_stop:
            return stop_pipeline(
                self.org_id,
                self.pipeline_id,
                deadline=self._stop_deadline,
                limit="the time for a stop",
                poll_interval_seconds=POLL_INTERVAL_SECONDS,
            )
        settings = StartSettings.parse(pipeline_id=self.pipeline_id, execution_mode=0)
        return start(self.org_id, settings, self._terms, self.progress, hook.start_queue)

    def conclude(self, verdict):
        """Compare the verdict, a result or an error, with what EnOS has seen."""
        effective = [one["operation"] for one in self._log() if one["effective"]]
        what = "stop" if self.is_stop else "start"
        others = [one for one in effective if one != what]
        if isinstance(verdict, EnOSError):
            end, is_true = type(verdict).__name__, len(effective) <= 1
            if not self.is_stop and effective:
                is_true = is_true and (self.progress.may_have_started or self._is_unclear())
        elif verdict is None:
            end, is_true = "killed", len(effective) <= 1
        elif self.is_stop:
            end, is_true = "stopped", self._status() == "STOPPED"
        else:
            end = str(verdict.outcome)
            is_true = self._is_true(verdict, effective)
        facts = (
            f"{what} of {self.pipeline_id}, before {self.status_before}, {effective}: {verdict!r}"
        )
        self._soak.note(f"{what}: {end}", "" if is_true and not others else facts)

    def _is_true(self, result, effective):
        is_claimed = result.outcome != "already_running"
        if bool(effective) is not is_claimed and (is_claimed or not self._is_unclear()):
            return False
        if len(effective) > 1:
            return False
        return result.status is None or (result.status, self._status()) == ("RUNNING", "RUNNING")

    def _status(self):
        return self._soak.enos.control("GET", f"/pipelines/{self.pipeline_id}")["status"]

    def _is_unclear(self):
        """Whether a look may have failed: what is done after it is not claimed."""
        since = self._soak.enos.control("GET", f"/requests?since={self._since}")
        return any(
            one["fault"] and one["operation"] in ("list", "token_get", "token_refresh")
            for one in since
            if one["org_id"] in (None, self.org_id)
        )

    def _log(self):
        since = getattr(self, "_since", 0)
        path = f"/requests?pipeline_id={self.pipeline_id}&since={since}"
        return self._soak.enos.control("GET", path)


async def as_trigger(soak):
    """One task after another, as a triggerer runs them."""
    while soak.goes_on:
        case = await asyncio.to_thread(soak.borrow)
        hook = EnOSStreamingHook(org_id=case.org_id)
        await hook.load()
        running = asyncio.create_task(hook.run_async(case.flow(hook)))
        done, _ = await asyncio.wait([running], timeout=case.kill_after)
        if not done:
            running.cancel()
        try:
            verdict = await running
        except EnOSError as error:
            verdict = error
        except asyncio.CancelledError:
            verdict = None
        await asyncio.to_thread(case.conclude, verdict)
        soak.give_back(case)


def as_worker(soak):
    """One task after another, as a worker runs them."""
    while soak.goes_on:
        case = soak.borrow()
        switch = KillSwitch()
        hook = EnOSStreamingHook(org_id=case.org_id, kill_switch=switch)
        if case.kill_after is not None:
            killer = threading.Timer(case.kill_after, switch.pull)
            killer.start()
        try:
            verdict = hook.run(case.flow(hook))
        except EnOSError as error:
            verdict = error
        except TaskKilledError:
            verdict = None
        hook.get_conn().close()
        case.conclude(verdict)
        soak.give_back(case)


def disturb(soak):
    """Faults of all kinds, and people at the console."""
    rng = random.Random(soak.rng.random())
    orgs = sorted({one.org_id for one in soak.enos.starts()})
    while soak.goes_on:
        name = rng.choice(list(TROUBLES))
        operation = rng.choice(["start", "start", "stop", "list", "list", "token_get"])
        fault = replace(TROUBLES[name].fault, on=operation, times=1)
        soak.enos.control("POST", "/faults", **fault_as_json(fault))
        soak.faults[name] += 1
        if isinstance(fault, RevokeToken) or rng.random() < 0.05:
            soak.enos.control("DELETE", "/tokens")
        if rng.random() < 0.3:
            lock = {"org_id": rng.choice(orgs), "seconds": rng.uniform(0.1, 3)}
            soak.enos.control("POST", "/lock", **lock)
        time.sleep(rng.expovariate(4))


class Meter(threading.Thread):
    """
    What Python holds, and open files, four times a second.

    The least of a quarter is what stays: the faults have answers of 11 MB, which come and go. The
    size of the process would say more of the C library, which keeps memory for each thread that has
    ever read one.
    """

    def __init__(self, soak):
        super().__init__(daemon=True)
        self._soak, self._process = soak, psutil.Process()
        self.megabytes, self.files = [], []

    def run(self):
        tracemalloc.start()
        while self._soak.goes_on:
            self.megabytes.append(tracemalloc.get_traced_memory()[0] / 1e6)
            self.files.append(self._process.num_fds())
            time.sleep(0.25)

    def quarter(self, values, number):
        size = len(values) // 4
        return min(values[size * number : size * (number + 1)])

    def quarters(self, values):
        return ", ".join(f"{self.quarter(values, number):.1f}" for number in range(4))

    def growth(self, values):
        """From the second quarter to the last one; the first one warms up."""
        return self.quarter(values, 3) / self.quarter(values, 1) - 1


async def all_of_it(soak):
    threads = [threading.Thread(target=as_worker, args=[soak]) for _ in range(WORKERS)]
    threads.append(threading.Thread(target=disturb, args=[soak]))
    for thread in threads:
        thread.start()
    await asyncio.gather(*[as_trigger(soak) for _ in range(TRIGGERS)])
    for thread in threads:
        await asyncio.to_thread(thread.join)


def main(seconds=SECONDS, seed=0):
    # Its own lines only, not those of thousands of tasks.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.ERROR)
    random.seed(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_enos(organizations=ORGANIZATIONS, pipelines=PIPELINES, hold=HOLD_SECONDS) as enos,
    ):
        tempfile.tempdir = folder
        os.environ["AIRFLOW_CONN_ENOS_DEFAULT"] = enos.connection.replace(
            '"org_id"', f'"request_timeout_seconds": {REQUEST_TIMEOUT_SECONDS}, "org_id"'
        )
        soak = Soak(enos, seconds, seed)
        meter = Meter(soak)
        meter.start()
        asyncio.run(all_of_it(soak))
    for end, count in sorted(soak.ends.items()):
        print(f"{count:7d}  {end}")
    growth, files = meter.growth(meter.megabytes), meter.growth(meter.files)
    print(f"{sum(soak.faults.values())} faults of {len(soak.faults)} kinds, seed {seed}")
    print(f"memory held {meter.quarters(meter.megabytes)} MB, grown by {growth:+.1%}")
    print(f"open files {meter.quarters(meter.files)}, grown by {files:+.1%}")
    print(f"{len(soak.wrong)} wrong verdicts of {sum(soak.ends.values())}")
    for problem in soak.wrong:
        print(f"WRONG: {problem}")
    if soak.wrong or growth > MAX_GROWTH or files > MAX_GROWTH:
        sys.exit(1)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
