"""What a start remembers from one try of its task to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_KEY = "enos_start"


class StartMemory:
    """
    A note in the task's state store, of Airflow 3.3: an earlier try may have started this pipeline.

    It is written before the first start request and outlives the worker. A person who clears the
    task wants a fresh start, so a note from before a clear does not count.
    """

    def __init__(self, context: Context) -> None:
        self._store: Any = context.get("task_state_store")
        # Airflow counts the clears of a run, not of a task.
        self._clear_number = getattr(context.get("dag_run"), "clear_number", 0) or 0

    def has(self, pipeline_id: str, org_id: str) -> bool:
        """Whether an earlier try may have started the pipeline."""
        note = None if self._store is None else self._store.get(_KEY)
        subject = self._subject(pipeline_id, org_id)
        return isinstance(note, dict) and subject.items() <= note.items()

    def note(self, pipeline_id: str, org_id: str, **outcome: Any) -> None:
        """Remember that this try may start the pipeline, and then what has come of it."""
        if self._store is not None:
            self._store.set(_KEY, {**self._subject(pipeline_id, org_id), **outcome})

    def forget(self) -> None:
        """EnOS certainly did not start it for us."""
        if self._store is not None:
            self._store.delete(_KEY)

    def _subject(self, pipeline_id: str, org_id: str) -> dict[str, Any]:
        return {
            "pipeline_id": pipeline_id,
            "org_id": org_id,
            "clear_number": self._clear_number,
        }
