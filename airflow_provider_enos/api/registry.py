"""What a process has one of for each gateway, application or organization."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Registry(Generic[K, V]):
    """
    One object for each key, for all threads of a process.

    A forked process begins anew: it has none of the threads that its parent's objects wait for.

    :param make: Makes the object of a key.
    """

    def __init__(self, make: Callable[[K], V]) -> None:
        self._make = make
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def get(self, key: K) -> V:
        """Return the object of a key, and make it the first time."""
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(key)
            return self._made[key]

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[K, V] = {}
