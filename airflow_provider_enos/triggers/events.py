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
from airflow_provider_enos.arguments import seconds
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook

#: Connection, organization, whether the platform's own pipelines, seconds.
StreamKey = tuple[str, str | None, bool, float]

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

    Trouble never ends it: while EnOS cannot be asked, the triggerer's log says so.

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
        self.is_system = is_system
        self.poll_interval_seconds = seconds(
            poll_interval_seconds, "poll_interval_seconds", least=0.1
        )
        self._status: PipelineStatus | None = None
        #: The listing that has shown it first, and what is in the state store.
        self._since: int | None = None
        self._stored: PipelineStatus | None = None

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
            await self._recall()
            async for listing in shared_stream:
                if event := self._change_in(listing):
                    yield event
        finally:
            watchers.remove(self)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do the same alone, where Airflow offers no shared stream."""
        await self._recall()
        async for listing, _ in _Listings(self.shared_stream_key()).open_stream():
            if event := self._change_in(listing):
                yield event
            await self.remember(listing)

    async def remember(self, listing: Listing) -> None:
        """Note the last status, if what came of this listing and all before has reached Airflow."""
        status, is_news = self._status, self._status != self._stored
        if self.asset_state_store is None or self._since is None or not is_news:
            return
        if listing.number < self._since:
            return
        try:
            await self.asset_state_store.aset(self._state_key, str(status))
        except Exception as error:  # it costs an event after a restart, not those before
            log.warning("What pipeline %s was last cannot be noted: %s", self.pipeline_id, error)
        else:
            self._stored = status

    # ------------------------------------------------------------------ inside

    async def _recall(self) -> None:
        if self.asset_state_store is None:
            return
        try:
            found = await self.asset_state_store.aget(self._state_key)
        except Exception as error:
            log.warning("What pipeline %s was last cannot be told: %s", self.pipeline_id, error)
            return
        if isinstance(found, str):
            self._status = self._stored = PipelineStatus(found)

    def _change_in(self, listing: Listing) -> TriggerEvent | None:
        pipeline = listing.pipelines.get(self.pipeline_id)
        if pipeline is None or self._rule.is_between(pipeline.status):
            return None
        before, self._status = self._status, pipeline.status
        if self._since is None or before != self._status:
            self._since = listing.number
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

    @property
    def _state_key(self) -> str:
        text = json.dumps(self.serialize(), sort_keys=True)
        return f"enos_status_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


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
        for number in itertools.count():
            begun = time.monotonic()
            if listing := await self._listing(number):
                yield listing, listing
            await asyncio.sleep(max(begun + interval - time.monotonic(), 0))

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Let the watchers remember what they have seen; Airflow has stored their events."""
        if batch[-1].outcome.failed:
            return
        for watcher in tuple(_watchers[self._key]):
            await watcher.remember(batch[-1].broker_payload)

    async def _listing(self, number: int) -> Listing | None:
        """Ask EnOS; trouble is logged when it is new."""
        enos_conn_id, org_id, is_system, interval = self._key
        try:
            # A new hook each time: the connection may have been mended.
            hook = EnOSStreamingHook(enos_conn_id, org_id=org_id)
            await hook.load()
            seen = await hook.run_async(
                looks.see_pipelines(
                    hook.org_id, is_system=is_system, max_age_seconds=interval * looks.SHARED_AGE
                )
            )
        except EnOSError as error:
            trouble = str(error)
        except Exception as error:  # of Airflow; its text may hold a secret
            trouble = f"connection {enos_conn_id!r} cannot be read ({type(error).__name__})."
        else:
            if self._trouble:
                log.info("The pipelines that are watched are listed again.")
            self._trouble = None
            return Listing(number, hook.org_id, seen.pipelines)
        if trouble != self._trouble:
            log.warning("The pipelines that are watched cannot be listed: %s", trouble)
            self._trouble = trouble
        return None


def _key(kwargs: Mapping[str, Any]) -> StreamKey:
    return (
        kwargs["enos_conn_id"],
        kwargs["org_id"],
        kwargs["is_system"],
        kwargs["poll_interval_seconds"],
    )


def _sorted(statuses: frozenset[PipelineStatus] | None) -> list[str] | None:
    return None if statuses is None else sorted(map(str, statuses))
