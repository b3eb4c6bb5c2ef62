"""What a task remembers from one try to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class TryMemory:
    """
    A note in the task's state store, of Airflow 3.3: an earlier try may have done this already.

    It is written before the first request and outlives the worker. A person who clears the task
    wants it done afresh, so a note from before a clear does not count.

    :param verb: What is done to the pipeline, in EnOS's words.
    """

    def __init__(self, context: Context, verb: str) -> None:
        self._key = f"enos_{verb}"
        self._store: Any = context.get("task_state_store")
        # Airflow counts the clears of a run, not of a task.
        self._clear_number = getattr(context.get("dag_run"), "clear_number", 0) or 0

    def has(self, pipeline_id: str, org_id: str) -> bool:
        """Whether an earlier try may have done it to this pipeline."""
        note = None if self._store is None else self._store.get(self._key)
        subject = self._subject(pipeline_id, org_id)
        return isinstance(note, dict) and subject.items() <= note.items()

    def note(self, pipeline_id: str, org_id: str, **outcome: Any) -> None:
        """Remember that this try may do it, and then what has come of it."""
        if self._store is not None:
            self._store.set(self._key, {**self._subject(pipeline_id, org_id), **outcome})

    def forget(self) -> None:
        """EnOS certainly did not do it for us."""
        if self._store is not None:
            self._store.delete(self._key)

    def _subject(self, pipeline_id: str, org_id: str) -> dict[str, Any]:
        return {
            "pipeline_id": pipeline_id,
            "org_id": org_id,
            "clear_number": self._clear_number,
        }
