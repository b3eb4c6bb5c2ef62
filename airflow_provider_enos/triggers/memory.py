"""
What one run of a trigger remembers for the next one of the same try.

A triggerer that dies has its triggers run again elsewhere, with the same arguments. Airflow's task
state store is out of a trigger's reach, its XComs are not: Airflow removes them when a worker
begins the next try.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk.execution_time.xcom import XCom

from airflow_provider_enos.memory import key_of, note_of_try

log = logging.getLogger(__name__)


class TriggerMemory:
    """
    The XComs of a trigger's task. What cannot be read or written costs no start.

    :param task_instance: The trigger's own; ``None``, as in ``dag.test()``: nothing is remembered.
    :param verb: What is done to the pipeline, in EnOS's words.
    """

    def __init__(self, task_instance: Any, verb: str = "start") -> None:
        self._key = key_of(verb)
        self._where: dict[str, Any] = {}
        self._try_number = None
        self._has_noted = False
        if task_instance is None:
            return
        self._try_number = task_instance.try_number
        self._where = {
            "dag_id": task_instance.dag_id,
            "task_id": task_instance.task_id,
            "run_id": task_instance.run_id,
            "map_index": -1 if task_instance.map_index is None else task_instance.map_index,
        }

    async def note(self, *, may_have_worked: bool = True, **facts: Any) -> None:
        """
        Remember what the next run of this try must know.

        :param may_have_worked: A request is on its way, or was.
        """
        note = {"try_number": self._try_number, "may_have_worked": may_have_worked, **facts}
        self._has_noted |= await self.push(self._key, note)

    async def recall(self) -> dict[str, Any] | None:
        """Return what an earlier run of this very try has noted."""
        try:
            note = await self._read()
        except Exception as error:
            log.warning("Whether an earlier run of the trigger began cannot be told: %s", error)
            return None
        self._has_noted |= note is not None
        return note

    async def is_of_the_past(self) -> bool:
        """
        Whether the next try has begun: what this one had noted is there no more.

        :raises Exception: Airflow cannot be asked.
        """
        return self._has_noted and await self._read() is None

    async def _read(self) -> dict[str, Any] | None:
        if not self._where:
            return None
        return note_of_try(await XCom.aget_one(key=self._key, **self._where), self._try_number)

    async def push(self, key: str, value: Any) -> bool:
        """Set an XCom and return whether that was possible."""
        if not self._where:
            return False
        try:
            await XCom.aset(key=key, value=value, **self._where)
        except Exception as error:
            log.warning("XCom %s cannot be set while the task is deferred: %s", key, error)
            return False
        return True
