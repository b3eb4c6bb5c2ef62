"""
Where the organizations and pipelines are kept: in memory, and in a file if one is given.

Time only passes when someone looks: each method first finishes the status changes whose time has
come. Every method may be called from any thread. What tests do to pipelines is here; what EnOS's
own calls do is in ``state.py``.
"""

from __future__ import annotations

import copy
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_enos.emulator.model import Design, Organization, Pipeline, Quota
from airflow_provider_enos.emulator.rules import UNRELEASED

#: The platform makes these for each channel, 0 real-time and 1 offline.
#: https://support.enos-iot.com/docs/stream-processing/en/2.4.0/monitoring_job ("System Pipeline")
SYSTEM_PIPELINES = (
    ("Real-Time Data Reader", 0),
    ("Real-Time Data Writer", 0),
    ("Offline Data Reader", 1),
    ("Offline Data Writer", 1),
)


class Store:
    """
    All organizations, and the hand that a test may lay on them.

    :param clock: Seconds since 1970.
    :param path: JSON file that is read now, if it exists, and written on every change.
    """

    def __init__(self, clock: Callable[[], float], path: Path | None = None) -> None:
        self._clock = clock
        self._path = path
        self._guard = threading.RLock()
        self._changed = threading.Condition(self._guard)
        self._organizations: dict[str, Organization] = {}
        if path is not None and path.exists():
            for values in json.loads(path.read_text("utf-8"))["organizations"]:
                self._organizations[values["org_id"]] = Organization.of_json(values)

    @property
    def org_ids(self) -> list[str]:
        """All organizations, in the order in which they were added."""
        with self._guard:
            return list(self._organizations)

    def add_organization(self, org_id: str, quota: Quota | None = None) -> None:
        """
        Add an organization with its system pipelines, which run from the beginning.

        :raises ValueError: it exists.
        """
        with self._changing() as now:
            if not org_id or org_id in self._organizations:
                raise ValueError(f"organization {org_id!r} exists or has no id")
            self._organizations[org_id] = Organization(org_id, quota or Quota())
            for name, channel in SYSTEM_PIPELINES:
                design = Design(name, message_channel=channel)
                self._add(org_id, _made_up_id(org_id, name), design, "RUNNING", now, is_system=True)

    def add_pipeline(
        self, org_id: str, pipeline_id: str | None, status: str, *, released: bool, name: str | None
    ) -> str:
        """
        Add a pipeline in any status, and return its id (made up from its number if None).

        :raises KeyError: no such organization.
        :raises ValueError: a pipeline with this id exists.
        """
        with self._changing() as now:
            number = 1 + len(self._organizations[org_id].pipelines) - len(SYSTEM_PIPELINES)
            new_id = pipeline_id or _made_up_id(org_id, str(number))
            if any(new_id in org.pipelines for org in self._organizations.values()):
                raise ValueError(f"pipeline {new_id!r} exists")
            design = Design(name or f"pipeline {number}")
            self._add(org_id, new_id, design, status if released else UNRELEASED, now)
            return new_id

    def pipelines(self, org_id: str | None = None) -> list[Pipeline]:
        """Copies of all user pipelines, of one organization or of all."""
        with self._looking() as now:
            found = [
                pipeline
                for organization in self._organizations.values()
                for pipeline in organization.pipelines.values()
                if org_id in (None, organization.org_id) and not pipeline.is_system
            ]
            for pipeline in found:
                pipeline.settle(now)
            return copy.deepcopy(found)

    def pipeline(self, pipeline_id: str) -> Pipeline:
        """
        Copy of one pipeline, whichever organization has it.

        :raises KeyError: no such pipeline.
        """
        with self._looking() as now:
            return copy.deepcopy(self._any(pipeline_id, now))

    def set_status(self, pipeline_id: str, status: str, *, at: float | None = None) -> None:
        """
        Put a pipeline into a status, whatever the rules say; a change under way is forgotten.

        :param at: When the status changed, in seconds since 1970; by default now. ``updateTime``
            has whole seconds, so two changes within one look alike.
        :raises KeyError: no such pipeline.
        """
        with self._changing() as now:
            pipeline = self._any(pipeline_id, now)
            pipeline.move = None
            pipeline.show(status, now if at is None else at)

    def finish_transition(self, pipeline_id: str) -> None:
        """
        End the pipeline's transition now, however long it was to last.

        :raises KeyError: no such pipeline.
        :raises ValueError: it is in no transition.
        """
        with self._changing() as now:
            self._any(pipeline_id, now).finish(now)

    def wait_for_status(self, pipeline_id: str, status: str, *, timeout: float = 10.0) -> None:
        """
        Wait until List Pipelines would show this status.

        :param timeout: In seconds.
        :raises KeyError: no such pipeline.
        :raises TimeoutError: it did not come in time; the message has the status instead.
        """
        with self._changed:
            until = self._clock() + timeout
            while (pipeline := self._any(pipeline_id, self._clock())).status != status:
                left = until - self._clock()
                if left <= 0:
                    raise TimeoutError(f"{pipeline_id} is {pipeline.status}, not {status}")
                # Nobody tells when a change under way comes to its end: look then.
                move_until = pipeline.move.until if pipeline.move else None
                due = left if move_until is None else move_until - self._clock()
                self._changed.wait(max(min(due, left), 0.001))

    def set_start_outcome(self, pipeline_id: str, status: str) -> None:
        """
        Let the pipeline's starts end in this status from now on.

        :raises KeyError: no such pipeline.
        """
        with self._changing() as now:
            self._any(pipeline_id, now).start_outcome = status

    def set_lag(self, pipeline_id: str, lag: int) -> None:
        """
        Let the pipeline be this many records behind.

        :raises KeyError: no such pipeline.
        """
        with self._changing() as now:
            pipeline = self._any(pipeline_id, now)
            pipeline.lag, pipeline.measured = lag, now

    def set_quota(self, org_id: str, quota: Quota) -> None:
        """
        Change what an organization may use.

        :raises KeyError: no such organization.
        """
        with self._changing():
            self._organizations[org_id].quota = quota

    def hold_start_lock(self, org_id: str, seconds: float) -> None:
        """
        Keep starts of the organization out, as if someone at the console had started a pipeline.

        :raises KeyError: no such organization.
        """
        with self._changing() as now:
            organization = self._organizations[org_id]
            organization.locked_until = max(organization.locked_until, now + seconds)

    def release_start_lock(self, org_id: str) -> None:
        """
        Let starts of the organization in again, whoever kept them out.

        :raises KeyError: no such organization.
        """
        with self._changing() as now:
            self._organizations[org_id].unlock(now)

    @contextmanager
    def _looking(self) -> Iterator[float]:
        with self._guard:
            yield self._clock()

    @contextmanager
    def _changing(self) -> Iterator[float]:
        """Like ``_looking``, and saves unless the change was refused."""
        with self._guard:
            yield self._clock()
            self._changed.notify_all()
            if self._path is not None:
                rows = [organization.as_json() for organization in self._organizations.values()]
                new = self._path.with_name(f"{self._path.name}.new")
                new.write_text(json.dumps({"organizations": rows}), "utf-8")
                os.replace(new, self._path)

    def _add(
        self,
        org_id: str,
        pipeline_id: str,
        design: Design,
        status: str,
        now: float,
        *,
        is_system: bool = False,
    ) -> None:
        online = None if status == UNRELEASED else design
        pipeline = Pipeline(
            pipeline_id, org_id, design, status, now, online=online, is_system=is_system
        )
        pipeline.history.append((now, status))
        self._organizations[org_id].pipelines[pipeline_id] = pipeline

    def _any(self, pipeline_id: str, now: float) -> Pipeline:
        for organization in self._organizations.values():
            if pipeline_id in organization.pipelines:
                pipeline = organization.pipelines[pipeline_id]
                pipeline.settle(now)
                return pipeline
        raise KeyError(f"no pipeline {pipeline_id!r}")


def _made_up_id(org_id: str, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"enos:{org_id}/{name}"))
