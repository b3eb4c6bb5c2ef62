"""
The trigger that tells Airflow when a pipeline's status changes, for an ``AssetWatcher``.

All watchers of an organization share one listing per interval: Airflow's shared stream. What a
watcher has seen last is in its asset's state store, written when Airflow has stored the events that
came of it; so a triggerer's death loses no event, and repeats one only if it comes within the
second or two between the two.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_enos.api import looks
from airflow_provider_enos.api.errors import EnOSError
from airflow_provider_enos.api.pipeline import Pipeline, PipelineStatus
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.api.transitions import TransitionRule
from airflow_provider_enos.arguments import flag, seconds
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.telemetry import detached

#: Connection, organization, whether the platform's own pipelines, seconds.
StreamKey = tuple[str, str | None, bool, float]

#: Airflow's triggerer may be shutting down.
STATE_STORE_TIMEOUT_SECONDS = 10.0

#: After a restart of everything, Airflow's API server may be there later than the triggerer: how
#: many listings are let pass until what was last is known.
RECALL_ATTEMPTS = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """
    The pipelines of an organization by ID.

    :param number: Counts the listings of a stream.
    """

    number: int
    org_id: str
    pipelines: Mapping[str, Pipeline]


class PipelineStatusChangeTrigger(BaseEventTrigger):
    """
    Fire each time a pipeline's status changes, e.g. when it is not RUNNING any more.

    For ``AssetWatcher(name=..., trigger=...)`` of an asset that a DAG is scheduled on. The event
    (``triggering_asset_events``, in ``extra["payload"]``) has ``pipeline_id``, ``org_id``,
    ``previous_status``, ``status`` and ``seen_at``. A status like STARTING or STOPPING is waited
    out; what comes and goes within one interval is not seen. The first look tells nothing: it is
    what later ones are compared with, also by other triggerers after a restart.

    Trouble never ends it: while EnOS cannot be asked, or does not list the pipeline, the log of the
    triggerer says so.

    :param pipeline_id: As shown under Stream Processing > Pipeline Operation.
    :param from_statuses: One status or several, in any case, that the pipeline leaves; ``None``:
        any.
    :param to_statuses: One or several that it comes to; ``None``: any other.
    :param org_id: Organization; by default the connection's.
    :param enos_conn_id: Airflow connection of type ``enos``.
    :param is_system: The pipeline is one of the platform's own.
    :param poll_interval_seconds: Pause between two listings; watchers with the same one share them.
    :raises InvalidSettingError: an argument is wrong; when the DAG is parsed.

    Source: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/list_pipelines
    """

    def __init__(
        self,
        *,
        pipeline_id: str,
        from_statuses: Sequence[str] | str | None = ("RUNNING",),
        to_statuses: Sequence[str] | str | None = None,
        org_id: str | None = None,
        enos_conn_id: str = EnOSStreamingHook.default_conn_name,
        is_system: bool = False,
        poll_interval_seconds: float = 30.0,
    ) -> None:
        super().__init__()
        self._rule = TransitionRule.parse(from_statuses, to_statuses)
        self.pipeline_id = parse_id(pipeline_id, "pipeline_id")
        # Airflow tells watchers apart by their arguments: one spelling for each.
        self.from_statuses = _sorted(self._rule.sources)
        self.to_statuses = _sorted(self._rule.targets)
        self.org_id = None if org_id is None else parse_id(org_id, "org_id")
        self.enos_conn_id = enos_conn_id
        self.is_system = flag(is_system, "is_system")
        self.poll_interval_seconds = seconds(
            poll_interval_seconds, "poll_interval_seconds", least=0.1
        )
        #: The last status.
        self._status: PipelineStatus | None = None
        #: The last one that Airflow has been told of, and the number of the listing that showed it.
        self._told: tuple[int, PipelineStatus] | None = None
        #: What is in the state store.
        self._stored: PipelineStatus | None = None
        self._is_missing = False
        self._recalls_left = RECALL_ATTEMPTS

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and all of its arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "pipeline_id": self.pipeline_id,
            "from_statuses": self.from_statuses,
            "to_statuses": self.to_statuses,
            "org_id": self.org_id,
            "enos_conn_id": self.enos_conn_id,
            "is_system": self.is_system,
            "poll_interval_seconds": self.poll_interval_seconds,
        }

    # ------------------------------------------------------------------ Airflow's calls

    def shared_stream_key(self) -> StreamKey:
        """Return what those have in common who see the same listings."""
        return _key(self.serialize()[1])

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Make what lists the pipelines for all of them."""
        return _Listings(_key(kwargs))

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Listing]
    ) -> AsyncIterator[TriggerEvent]:
        """Fire for the changes of this pipeline."""
        watchers = _watchers[self.shared_stream_key()]
        watchers.append(self)
        try:
            async for listing in shared_stream:
                if not await self._knows_the_last():
                    continue
                if event := self._change_in(listing):
                    yield event
                self._is_told(listing)
        finally:
            watchers.remove(self)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do the same alone, where Airflow offers no shared stream."""
        async for listing, _ in _Listings(self.shared_stream_key()).open_stream():
            if not await self._knows_the_last():
                continue
            if event := self._change_in(listing):
                yield event
            self._is_told(listing)
            await self.remember(listing)

    async def remember(self, listing: Listing) -> None:
        """Note the last status, if what came of this listing and all before has reached Airflow."""
        if self._told is None or not (stores := self._stores):
            return
        number, status = self._told
        if listing.number < number or status == self._stored:
            return
        try:
            for store in stores:
                await asyncio.wait_for(
                    store.aset(self._state_key, str(status)), STATE_STORE_TIMEOUT_SECONDS
                )
        except Exception as error:  # it costs an event after a restart, not those before
            log.warning("What pipeline %s was last cannot be noted: %r", self.pipeline_id, error)
        else:
            self._stored = status

    # ------------------------------------------------------------------ inside

    async def _knows_the_last(self) -> bool:
        """Whether what was last is known, or never will be: the next listing can be compared."""
        if self._recalls_left:
            is_known = await self._recall()
            self._recalls_left = 0 if is_known else self._recalls_left - 1
        return not self._recalls_left

    async def _recall(self) -> bool:
        found: list[Any] = []
        try:
            for store in self._stores:
                found.append(
                    await asyncio.wait_for(store.aget(self._state_key), STATE_STORE_TIMEOUT_SECONDS)
                )
        except Exception as error:
            log.warning("What pipeline %s was last cannot be told: %r", self.pipeline_id, error)
            if not found:
                return False
        known = [PipelineStatus(one) for one in found if isinstance(one, str)]
        if known:
            self._status = known[0]
            # An asset that is new to this trigger is told with the next listing.
            self._stored = known[0] if len(known) == len(self._stores) else None
        return True

    def _change_in(self, listing: Listing) -> TriggerEvent | None:
        pipeline = listing.pipelines.get(self.pipeline_id)
        if self._is_missing is not (pipeline is None):
            self._is_missing = pipeline is None
            state = "is not among" if pipeline is None else "is again among"
            log.log(
                logging.WARNING if pipeline is None else logging.INFO,
                "Pipeline %s, which is watched, %s the released pipelines of organization %s.",
                self.pipeline_id,
                state,
                listing.org_id,
            )
        if pipeline is None or self._rule.is_between(pipeline.status):
            return None
        before, self._status = self._status, pipeline.status
        if before is None or not self._rule.is_met(before, self._status):
            return None
        return TriggerEvent(
            {
                "pipeline_id": self.pipeline_id,
                "org_id": listing.org_id,
                "previous_status": str(before),
                "status": str(self._status),
                "seen_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )

    def _is_told(self, listing: Listing) -> None:
        """Airflow has taken the event of this listing, if there was one."""
        if self._status is not None and (self._told is None or self._told[1] != self._status):
            self._told = (listing.number, self._status)

    @property
    def _stores(self) -> list[Any]:
        """The state stores of the assets that have this trigger; each asset may go away."""
        store = self.asset_state_store
        if stores := getattr(store, "_by_name", None):
            return [stores[name] for name in sorted(stores)]
        return [] if store is None else [store]

    @property
    def _state_key(self) -> str:
        text = json.dumps(self.serialize(), sort_keys=True)
        return f"enos_status_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


#: Counts the listings of all streams.
_numbers = itertools.count()

#: Those that listen to each stream of listings, on the triggerer's one event loop.
_watchers: defaultdict[StreamKey, list[PipelineStatusChangeTrigger]] = defaultdict(list)


class _Listings(SharedStreamProducer):
    """List the pipelines of an organization again and again."""

    def __init__(self, key: StreamKey) -> None:
        self._key = key
        self._trouble: str | None = None

    async def open_stream(self) -> AsyncIterator[tuple[Listing, Listing]]:
        """Yield each listing twice: for the watchers, and to be remembered."""
        interval = self._key[-1]
        while True:
            begun = time.monotonic()
            if listing := await self._listing():
                yield listing, listing
            await asyncio.sleep(max(begun + interval - time.monotonic(), 0))

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Let the watchers remember what they have seen; Airflow has stored their events."""
        if any(item.outcome.failed for item in batch):
            return
        for watcher in tuple(_watchers[self._key]):
            await watcher.remember(batch[-1].broker_payload)

    async def _listing(self) -> Listing | None:
        """Ask EnOS; trouble is logged when it is new."""
        enos_conn_id, org_id, is_system, interval = self._key
        try:
            # A new hook each time: the connection may have been mended.
            hook = await EnOSStreamingHook.loaded(enos_conn_id, org_id=org_id)
            look = looks.see_pipelines(
                hook.org_id, is_system=is_system, max_age_seconds=interval * looks.SHARED_AGE
            )
            with detached():
                seen = await hook.run_async(look)
        except EnOSError as error:
            if str(error) != self._trouble:
                log.warning("The pipelines that are watched cannot be listed: %s", error)
            self._trouble = str(error)
            return None
        if self._trouble:
            log.info("The pipelines that are watched are listed again.")
        self._trouble = None
        return Listing(next(_numbers), hook.org_id, seen.pipelines)


def _key(kwargs: Mapping[str, Any]) -> StreamKey:
    return (
        kwargs["enos_conn_id"],
        kwargs["org_id"],
        kwargs["is_system"],
        kwargs["poll_interval_seconds"],
    )


def _sorted(statuses: frozenset[PipelineStatus] | None) -> list[str] | None:
    return None if statuses is None else sorted(map(str, statuses))
