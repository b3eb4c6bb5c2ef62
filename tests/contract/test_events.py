"""The trigger of watchers on Airflow's own shared stream, with an EnOS behind it."""

import asyncio
import itertools

import pytest
from airflow.triggers.shared_stream import SharedStreamManager

from airflow_provider_enos.emulator.faults import HttpError
from airflow_provider_enos.triggers.events import RECALL_ATTEMPTS, PipelineStatusChangeTrigger

POLL_INTERVAL_SECONDS = 0.2


class AssetStore(dict):
    """An asset's state store: two of its methods over a dict."""

    def __init__(self):
        super().__init__()
        self.written = asyncio.Event()

    async def aget(self, key, default=None):
        return self.get(key, default)

    async def aset(self, key, value):
        self[key] = value
        self.written.set()


class SharedStore(AssetStore):
    """What Airflow hands to a trigger that two assets have."""

    def __init__(self):
        super().__init__()
        self._by_name = {"b": AssetStore(), "a": AssetStore()}

    async def aget(self, key, default=None):
        raise ValueError("the task has two assets")

    aset = aget


class BrokenStore:
    async def aget(self, key, default=None):
        raise RuntimeError("no state store")

    aset = aget


class LateStore(AssetStore):
    """Airflow's API server comes up later than the triggerer."""

    failures = 0

    async def aget(self, key, default=None):
        if self.failures:
            self.failures -= 1
            raise TimeoutError
        return await super().aget(key, default)


class Triggerer:
    """What Airflow's triggerer does with event triggers: it runs them, and stores their events."""

    def __init__(self, *, stores_events=True, takes_events=True):
        self.events = asyncio.Queue()
        self.offered = asyncio.Event()
        self._takes_events = takes_events
        self._manager = SharedStreamManager()
        self._ids = itertools.count(1)
        self._tasks = []
        self._stores_events = stores_events

    def run(self, trigger):
        number, key = next(self._ids), trigger.shared_stream_key()

        async def consume():
            stream = self._manager.subscribe(trigger_id=number, trigger=trigger, key=key)
            events = trigger.filter_shared_stream(stream)
            try:
                async for event in events:
                    self.offered.set()
                    if not self._takes_events:
                        await asyncio.Event().wait()
                    seq = self._manager.bind_pending_event(trigger_id=number, key=key)
                    if self._stores_events:
                        self._manager.confirm_persisted([seq])
                    await self.events.put(event.payload)
            finally:
                await self._manager.unsubscribe(number, key)

        self._tasks.append(asyncio.create_task(consume()))

    async def die(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._manager.stop_all()


@pytest.fixture
async def triggerers():
    """Make triggerers; all of them die in the end."""
    made = []

    def make(**options):
        made.append(Triggerer(**options))
        return made[-1]

    yield make
    for one in made:
        await one.die()


def watcher(pipeline_id, store=None, **options):
    # Through Airflow's database and back.
    first = PipelineStatusChangeTrigger(
        pipeline_id=pipeline_id, poll_interval_seconds=POLL_INTERVAL_SECONDS, **options
    )
    trigger = PipelineStatusChangeTrigger(**first.serialize()[1])
    trigger.asset_state_store = store
    return trigger


async def looks(enos, count=1):
    """Wait for so many more listings."""
    so_far = len(enos.requests_for("list"))
    await asyncio.to_thread(enos.wait_for_request, "list", count=so_far + count, timeout=20)


async def event_of(triggerer):
    event = await asyncio.wait_for(triggerer.events.get(), 20)
    assert event.pop("seen_at")
    return event


def change(enos, pipeline_id, before, after):
    return {
        "pipeline_id": pipeline_id,
        "org_id": enos.org_id,
        "previous_status": before,
        "status": after,
    }


async def test_each_change_is_told_once(emulator, pipeline_id, triggerers):
    triggerer = triggerers()
    emulator.set_status(pipeline_id, "RUNNING")
    triggerer.run(watcher(pipeline_id))
    await looks(emulator, 2)

    for status in ("STOPPED", "RUNNING", "RUN_ERROR"):
        emulator.set_status(pipeline_id, status)
        await looks(emulator, 2)

    assert await event_of(triggerer) == change(emulator, pipeline_id, "RUNNING", "STOPPED")
    assert await event_of(triggerer) == change(emulator, pipeline_id, "RUNNING", "RUN_ERROR")
    assert triggerer.events.empty()


async def test_status_in_between_is_waited_out(emulator, pipeline_id, triggerers):
    triggerer = triggerers()
    emulator.set_status(pipeline_id, "RUNNING")
    triggerer.run(watcher(pipeline_id))
    await looks(emulator, 2)

    emulator.set_status(pipeline_id, "STOPPING")
    await looks(emulator, 2)
    assert triggerer.events.empty()
    emulator.set_status(pipeline_id, "STOPPED")

    assert await event_of(triggerer) == change(emulator, pipeline_id, "RUNNING", "STOPPED")


async def test_watchers_share_their_listings(emulator, triggerers):
    triggerer = triggerers()
    for pipeline_id in emulator.pipeline_ids:
        emulator.set_status(pipeline_id, "RUNNING")
        triggerer.run(watcher(pipeline_id))
    await looks(emulator, 4)

    times = [request.time for request in emulator.requests_for("list")]
    assert times[-1] - times[0] >= (len(times) - 1) * POLL_INTERVAL_SECONDS * 0.9
    emulator.set_status(emulator.pipeline_ids[1], "PAUSED")
    event = await event_of(triggerer)
    assert event["pipeline_id"] == emulator.pipeline_ids[1]


async def test_trouble_ends_no_watch(emulator, pipeline_id, triggerers, caplog):
    triggerer = triggerers()
    emulator.set_status(pipeline_id, "RUNNING")
    triggerer.run(watcher(pipeline_id))
    await looks(emulator, 2)

    emulator.faults.append(HttpError(503, on="list", times=2))
    emulator.set_status(pipeline_id, "STOPPED")

    assert (await event_of(triggerer))["status"] == "STOPPED"
    trouble = [line for line in caplog.messages if "cannot be listed" in line]
    assert len(trouble) == 1
    assert "HTTP 503" in trouble[0]


async def test_unknown_pipeline_is_no_event_but_a_warning(emulator, triggerers, caplog):
    triggerer = triggerers()
    triggerer.run(watcher("unknown-pipeline", from_statuses=None))

    await looks(emulator, 3)

    assert triggerer.events.empty()
    warnings = [line for line in caplog.messages if "is not among the released" in line]
    assert len(warnings) == 1
    assert "unknown-pipeline" in warnings[0]


async def test_pipeline_that_is_listed_at_last_is_no_warning(emulator, triggerers, caplog):
    caplog.set_level("INFO", logger="airflow_provider_enos")
    triggerers().run(watcher("p-1", from_statuses=None))
    await looks(emulator, 2)

    emulator.add_pipeline(pipeline_id="p-1")
    await looks(emulator, 3)

    told = [
        (one.levelname, "is again" in one.message) for one in caplog.records if "p-1" in one.message
    ]
    assert told == [("WARNING", False), ("INFO", True)]


async def test_event_that_nobody_took_is_told_again(emulator, pipeline_id, triggerers):
    """The trigger is cancelled after it has seen the change, before Airflow has its event."""
    first, store = triggerers(takes_events=False), AssetStore()
    emulator.set_status(pipeline_id, "RUNNING")
    first.run(watcher(pipeline_id, store))
    await asyncio.wait_for(store.written.wait(), 20)
    emulator.set_status(pipeline_id, "STOPPED")
    await asyncio.wait_for(first.offered.wait(), 20)
    await first.die()

    assert list(store.values()) == ["RUNNING"]
    second = triggerers()
    second.run(watcher(pipeline_id, store))
    assert (await event_of(second))["status"] == "STOPPED"


@pytest.mark.parametrize("gone", ["a", "b"])
async def test_trigger_of_two_assets_outlives_each_of_them(emulator, pipeline_id, triggerers, gone):
    """An asset that is new, or gone, loses no event of the other one."""
    first, store = triggerers(), SharedStore()
    emulator.set_status(pipeline_id, "RUNNING")
    first.run(watcher(pipeline_id, store))
    for one in store._by_name.values():
        await asyncio.wait_for(one.written.wait(), 20)
    await first.die()
    emulator.set_status(pipeline_id, "STOPPED")
    store._by_name[gone] = AssetStore()
    second = triggerers()

    second.run(watcher(pipeline_id, store))

    assert await event_of(second) == change(emulator, pipeline_id, "RUNNING", "STOPPED")
    await asyncio.wait_for(store._by_name[gone].written.wait(), 20)
    assert list(store._by_name[gone].values()) == ["STOPPED"]


async def dies_while_a_triggerer_is_away(enos, pipeline_id, triggerer, store):
    """Let a triggerer note that the pipeline runs, and die before it stops."""
    enos.set_status(pipeline_id, "RUNNING")
    triggerer.run(watcher(pipeline_id, store))
    await asyncio.wait_for(store.written.wait(), 20)
    await triggerer.die()
    enos.set_status(pipeline_id, "STOPPED")


async def test_next_triggerer_tells_what_happened_meanwhile(emulator, pipeline_id, triggerers):
    store, second = AssetStore(), triggerers()
    await dies_while_a_triggerer_is_away(emulator, pipeline_id, triggerers(), store)

    second.run(watcher(pipeline_id, store))

    assert await event_of(second) == change(emulator, pipeline_id, "RUNNING", "STOPPED")
    await looks(emulator, 3)
    await second.die()
    third = triggerers()
    third.run(watcher(pipeline_id, store))
    await looks(emulator, 3)
    assert third.events.empty()


async def test_no_event_is_lost_when_the_state_store_is_late(emulator, pipeline_id, triggerers):
    store, second = LateStore(), triggerers()
    await dies_while_a_triggerer_is_away(emulator, pipeline_id, triggerers(), store)
    store.failures = 2

    second.run(watcher(pipeline_id, store))

    assert await event_of(second) == change(emulator, pipeline_id, "RUNNING", "STOPPED")
    assert store.failures == 0


async def test_event_that_airflow_did_not_store_is_told_again(emulator, pipeline_id, triggerers):
    first, store = triggerers(stores_events=False), AssetStore()
    emulator.set_status(pipeline_id, "RUNNING")
    first.run(watcher(pipeline_id, store))
    await asyncio.wait_for(store.written.wait(), 20)
    emulator.set_status(pipeline_id, "STOPPED")
    await event_of(first)
    await looks(emulator, 2)
    await first.die()

    assert list(store.values()) == ["RUNNING"]
    second = triggerers()
    second.run(watcher(pipeline_id, store))
    assert await event_of(second) == change(emulator, pipeline_id, "RUNNING", "STOPPED")


async def test_watch_goes_on_without_the_state_store(emulator, pipeline_id, triggerers, caplog):
    triggerer = triggerers()
    emulator.set_status(pipeline_id, "RUNNING")
    triggerer.run(watcher(pipeline_id, BrokenStore()))
    await looks(emulator, RECALL_ATTEMPTS + 1)

    emulator.set_status(pipeline_id, "STOPPED")

    assert (await event_of(triggerer))["status"] == "STOPPED"
    assert "cannot be told: RuntimeError('no state store')" in caplog.text


async def test_without_a_shared_stream_it_does_the_same_alone(emulator, pipeline_id):
    store = AssetStore()
    emulator.set_status(pipeline_id, "RUNNING")
    events = watcher(pipeline_id, store).run()
    first = asyncio.create_task(anext(events))
    await looks(emulator, 2)

    emulator.set_status(pipeline_id, "STOPPED")
    event = await asyncio.wait_for(first, 20)

    assert event.payload["status"] == "STOPPED"
    await events.aclose()
    assert list(store.values()) == ["RUNNING"]  # Airflow may not have stored the event yet


def test_watchers_of_other_pipelines_or_statuses_are_others():
    one, other = watcher("p-1"), watcher("p-1", to_statuses="RUN_ERROR")

    assert one.shared_stream_key() == other.shared_stream_key()
    assert one._state_key != other._state_key
    assert watcher("p-1", from_statuses="running").serialize() == one.serialize()
    assert watcher("p-1", org_id="o2").shared_stream_key() != one.shared_stream_key()
