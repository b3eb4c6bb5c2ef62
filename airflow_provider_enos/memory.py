"""What a task remembers from one try to the next."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)


def key_of(verb: str) -> str:
    """Return the key of all notes on what a task does to its pipeline."""
    return f"enos_{verb}"


def note_of_try(xcom: Any, try_number: int | None) -> dict[str, Any] | None:
    """Return what a trigger has noted in an XCom, if that was in this very try."""
    is_mine = isinstance(xcom, dict) and xcom.get("try_number") == try_number
    return xcom if is_mine else None


class TryMemory:
    """
    A note in the task's state store, of Airflow 3.3: an earlier try may have done this already.

    It is written before the first request, or before the task is deferred, and outlives the worker.
    A person who clears the task wants it done afresh, so a note from before a clear does not count.

    :param verb: What is done to the pipeline, in EnOS's words.
    """

    def __init__(self, context: Context, verb: str) -> None:
        self._key = key_of(verb)
        self._store: Any = context.get("task_state_store")
        # Airflow counts the clears of a run, not of a task, and only those that begin the run anew;
        # others give the task more tries.
        self._clear_number = getattr(context.get("dag_run"), "clear_number", 0) or 0
        self._max_tries = getattr(context.get("ti"), "max_tries", None)

    def has(self, pipeline_id: str, org_id: str) -> bool:
        """Whether an earlier try may have done it to this pipeline."""
        return self.recall(pipeline_id, org_id) is not None

    def recall(self, pipeline_id: str, org_id: str) -> dict[str, Any] | None:
        """Return what was noted of this pipeline."""
        note = self._ask(lambda store: store.get(self._key))
        subject = self._subject(pipeline_id, org_id)
        is_mine = isinstance(note, dict) and subject.items() <= note.items()
        return note if is_mine else None

    def note(self, pipeline_id: str, org_id: str, **facts: Any) -> None:
        """Remember that this try may do it, and what else the next one must know."""
        note = {**self._subject(pipeline_id, org_id), **facts}
        self._ask(lambda store: store.set(self._key, note))

    def forget(self) -> None:
        """EnOS certainly did not do it for us."""
        self._ask(lambda store: store.delete(self._key))

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """Use the store, if there is one; trouble with it neither hides a verdict nor makes one."""
        if self._store is None:
            return None
        try:
            return question(self._store)
        except Exception as error:
            log.warning("The task's state store cannot be used: %s", error)
            return None

    def _subject(self, pipeline_id: str, org_id: str) -> dict[str, Any]:
        return {
            "pipeline_id": pipeline_id,
            "org_id": org_id,
            "clear_number": self._clear_number,
            "max_tries": self._max_tries,
        }
