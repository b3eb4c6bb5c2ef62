"""
The queue of the starts of one organization: first come, first served, and its head alone asks EnOS.

All tasks of a process that start a pipeline of an organization wait in one :class:`StartQueue`. The
processes of a host take turns by a :class:`SharedTurn`, which also carries what was learned from
one to the next. Hosts do not know of each other; see ``pacing.py``.
"""

from __future__ import annotations

import itertools
import threading
from bisect import insort
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_provider_enos.api.pacing import Pacing


class SharedTurn(Protocol):
    """One turn for several processes. Used by one :class:`StartQueue` of each."""

    def claim(self, on_turn: Callable[[object], None]) -> None:
        """
        Call ``on_turn`` once the turn is this process's, from any thread, with what
        :meth:`give_back` was given last; ``None`` if nothing is known.
        """

    def give_back(self, known: dict[str, Any]) -> None:
        """Let another process have the turn."""


class OwnTurn:
    """The turn of a process that shares it with no other."""

    def __init__(self) -> None:
        self._known: dict[str, Any] | None = None

    def claim(self, on_turn: Callable[[object], None]) -> None:
        """Call ``on_turn`` at once."""
        on_turn(self._known)

    def give_back(self, known: dict[str, Any]) -> None:
        """Keep it for the next claim."""
        self._known = known


@dataclass(order=True, slots=True)
class Place:
    """
    A place in the queue.

    :param number: The lower, the sooner.
    :param pipeline_id: What is to be started.
    :param turn: Done once this place is at the head and the turn is this process's.
    """

    number: int
    pipeline_id: str = field(compare=False)
    turn: Future[Pacing] = field(default_factory=Future, compare=False, repr=False)


class StartQueue:
    """The starts of one organization in this process; for all of its threads and event loops."""

    def __init__(self, shared: SharedTurn) -> None:
        self._shared = shared
        # Reentrant: a turn may be had at once, and the garbage collector may end a flow in here.
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._places: list[Place] = []
        self._head: Place | None = None
        self._is_claimed = False
        self._known = Pacing()

    def enter(self, pipeline_id: str, number: int | None = None) -> Place:
        """
        Queue up.

        :param pipeline_id: What is to be started.
        :param number: Of the place that was left for a while, to have it again.
        """
        with self._lock:
            number = next(self._numbers) if number is None else number
            place = Place(number, pipeline_id)
            insort(self._places, place)
            self._next_turn()
            return place

    def leave(self, place: Place) -> None:
        """Make room, in whatever way the place was used; may be repeated."""
        with self._lock:
            if place not in self._places:
                return
            self._places.remove(place)
            if place is self._head:
                self._head = None
                self._is_claimed = False
                self._shared.give_back(self._known.to_payload())
                self._next_turn()

    def before(self, place: Place) -> list[str]:
        """Return the pipelines of this process that are before a place, the next one first."""
        with self._lock:
            return [other.pipeline_id for other in self._places if other.number < place.number]

    @property
    def known(self) -> Pacing:
        """What this process has last known of the organization's lock; to read only."""
        return self._known

    def _next_turn(self) -> None:
        if self._places and not self._is_claimed:
            self._is_claimed = True
            self._shared.claim(self._on_turn)

    def _on_turn(self, known: object) -> None:
        with self._lock:
            self._known = Pacing.from_payload(known)
            if self._places:
                self._head = self._places[0]
                self._head.turn.set_result(self._known)
            else:  # all have left meanwhile
                self._is_claimed = False
                self._shared.give_back(self._known.to_payload())
