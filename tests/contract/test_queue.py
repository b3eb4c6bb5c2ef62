"""Many starts of one organization in one process, some of them killed, cut short or in trouble."""

import asyncio
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_enos.api import errors
from airflow_provider_enos.api.errors import TaskKilledError
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.emulator import faults as f
from airflow_provider_enos.emulator.server import Emulator
from airflow_provider_enos.hooks.kill_switch import KillSwitch
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook

HOLD_SECONDS = 0.1


@pytest.fixture
def emulator():
    """An EnOS with twenty pipelines, each of which holds the lock for a moment."""
    with Emulator(pipelines=20, start_seconds=HOLD_SECONDS, access_key="queue") as enos:
        yield enos


def start_flow(hook, pipeline_id, *, conflict_seconds=60.0, wait_for_running=False):
    terms = StartTerms(
        conflict_deadline=time.time() + conflict_seconds,
        start_timeout_seconds=10,
        poll_interval_seconds=0.5,
        wait_for_running=wait_for_running,
    )
    settings = StartSettings.parse(pipeline_id=pipeline_id, execution_mode="standalone")
    return start(hook.org_id, settings, terms, StartProgress(), hook.start_queue)


async def begin(pipeline_ids, **options):
    """Queue them up in this order."""
    tasks = {}
    for pipeline_id in pipeline_ids:
        hook = EnOSStreamingHook()
        await hook.load()
        flow = start_flow(hook, pipeline_id, **options)
        tasks[pipeline_id] = asyncio.create_task(hook.run_async(flow))
        await asyncio.sleep(0)
    return tasks


def accepted(emulator):
    return [one.pipeline_id for one in emulator.requests_for("start") if one.effective]


async def accepted_one_more(emulator, count):
    """Wait until so many starts were accepted."""
    number = 0
    while len(accepted(emulator)) < count:
        number += 1
        await asyncio.to_thread(emulator.wait_for_request, "start", count=number)


async def test_all_start_one_after_another_with_hardly_a_request_too_many(emulator):
    tasks = await begin(emulator.pipeline_ids)

    results = await asyncio.gather(*tasks.values())

    assert {str(one.outcome) for one in results} == {"started"}
    assert sorted(accepted(emulator)) == sorted(emulator.pipeline_ids)
    assert len(emulator.requests_for("start")) <= 4 * len(tasks)
    assert len(emulator.requests_for("token_get")) == 1


async def test_one_list_serves_the_start_before_and_the_next(emulator):
    tasks = await begin(emulator.pipeline_ids, wait_for_running=True)

    results = await asyncio.gather(*tasks.values())

    assert {one.status for one in results} == {"RUNNING"}
    assert len(emulator.requests_for("list")) < 1.5 * len(tasks)


async def test_first_come_is_first_served(emulator):
    emulator.hold_start_lock(0.5)  # until all have queued up
    ids = random.Random(5).sample(emulator.pipeline_ids, 20)
    first = await begin(ids[:1])
    await asyncio.to_thread(emulator.wait_for_request, "start")
    tasks = first | await begin(ids[1:])

    await asyncio.gather(*tasks.values())

    # Those that begin in the same moment come in any order: their certificates load in threads.
    assert accepted(emulator)[0] == ids[0]


@pytest.mark.parametrize("seed", range(3))
async def test_killed_ones_send_nothing_more_and_hold_up_nobody(emulator, seed):
    rng = random.Random(seed)
    tasks = await begin(emulator.pipeline_ids)
    sent_when_killed = {}
    for number in range(1, 8):
        await accepted_one_more(emulator, number)
        waiting = [pipeline_id for pipeline_id, task in tasks.items() if not task.done()]
        for pipeline_id in rng.sample(waiting, min(2, len(waiting))):
            tasks[pipeline_id].cancel()
            await asyncio.wait([tasks[pipeline_id]])
            sent_when_killed[pipeline_id] = len(emulator.requests_for("start", pipeline_id))

    await asyncio.gather(*tasks.values(), return_exceptions=True)

    killed = {one for one, task in tasks.items() if task.cancelled()}
    assert len(killed) >= 10
    for pipeline_id in killed:
        assert len(emulator.requests_for("start", pipeline_id)) == sent_when_killed[pipeline_id]
    assert set(tasks) - killed <= set(accepted(emulator))
    assert len(accepted(emulator)) == len(set(accepted(emulator)))


@pytest.mark.parametrize("place", ["at the head", "in the queue"])
async def test_who_runs_out_of_time_says_where_it_was(emulator, place):
    emulator.hold_start_lock(60)
    patient = await begin(emulator.pipeline_ids[:1])
    await asyncio.to_thread(emulator.wait_for_request, "start")
    hurried = await begin(emulator.pipeline_ids[1:2], conflict_seconds=0.3)
    (pipeline_id, task), (head_id, head) = *hurried.items(), *patient.items()
    if place == "at the head":
        head.cancel()

    with pytest.raises(errors.ConflictTimeoutError) as late:
        await task

    assert f"start pipeline {pipeline_id} of organization" in str(late.value)
    assert "conflict_timeout is over" in str(late.value)
    if place == "in the queue":
        assert "it was number 2 in the queue of this process" in str(late.value)
        assert emulator.requests_for("start", pipeline_id) == []
        emulator.release_start_lock()
        await head
        assert accepted(emulator) == [head_id]
    else:
        assert "EnOS refused" in str(late.value)


async def test_pipeline_in_trouble_holds_up_nobody(emulator):
    """Its own trouble is waited out beside the queue, not in it."""
    troubled, *others = emulator.pipeline_ids[:4]
    emulator.faults.append(f.HttpError(503, on="start", pipeline_id=troubled, times=None))
    tasks = await begin([troubled, *others])

    await asyncio.gather(*(tasks[pipeline_id] for pipeline_id in others))
    emulator.faults.clear()
    result = await tasks[troubled]

    assert str(result.outcome) == "started"
    assert sorted(accepted(emulator)[:-1]) == sorted(others)


async def test_organizations_do_not_wait_for_each_other(emulator):
    emulator.add_organization("o2", pipelines=1)
    emulator.hold_start_lock(60)
    stuck = await begin(emulator.pipeline_ids[:1])
    hook = EnOSStreamingHook(org_id="o2")
    await hook.load()
    [other] = emulator.pipelines("o2")

    result = await hook.run_async(start_flow(hook, other.pipeline_id))

    assert str(result.outcome) == "started"
    for task in stuck.values():
        task.cancel()


async def test_those_who_wait_for_running_look_together(emulator):
    emulator.settings.start_seconds = 60
    emulator.settings.lock_seconds = 0
    tasks = await begin(emulator.pipeline_ids, wait_for_running=True)
    await accepted_one_more(emulator, 20)
    emulator.clear_requests()

    await asyncio.to_thread(emulator.wait_for_request, "list", count=4)

    moments = [one.time for one in emulator.requests_for("list")]
    assert moments[-1] - moments[0] > 0.5  # four looks of twenty tasks, every half a second
    for pipeline_id in tasks:
        emulator.set_status(pipeline_id, "RUNNING")
    results = await asyncio.gather(*tasks.values())
    assert {one.status for one in results} == {"RUNNING"}


def test_workers_take_turns_and_a_kill_ends_the_wait_at_once(emulator):
    """Threads here; processes are in test_host_turn.py."""
    switches = {pipeline_id: KillSwitch() for pipeline_id in emulator.pipeline_ids[:8]}
    killed = list(switches)[5:]
    emulator.hold_start_lock(60)

    def work(pipeline_id):
        hook = EnOSStreamingHook(kill_switch=switches[pipeline_id])
        return hook.run(start_flow(hook, pipeline_id))

    with ThreadPoolExecutor(len(switches)) as pool:
        runs = {pipeline_id: pool.submit(work, pipeline_id) for pipeline_id in switches}
        emulator.wait_for_request("start")
        for pipeline_id in killed:
            threading.Thread(target=switches[pipeline_id].pull).start()
        for pipeline_id in killed:
            with pytest.raises(TaskKilledError):
                runs[pipeline_id].result(timeout=10)
        emulator.release_start_lock()
        for pipeline_id in list(switches)[:5]:
            assert str(runs[pipeline_id].result(timeout=30).outcome) == "started"

    assert sorted(accepted(emulator)) == sorted(list(switches)[:5])
