"""Who last started a pipeline from Airflow: what our tasks have returned, as Airflow stores it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from cachetools.func import ttl_cache
from sqlalchemy import select
from sqlalchemy.orm import aliased

from airflow_provider_enos.links import PipelineConsoleLink

#: Ours: how many tasks are looked through, the newest first.
MOST_TASKS = 2000

#: However many look at the page, the database is asked so often.
FRESH_SECONDS = 10.0

#: What a task says that has started its pipeline; one that found it running has not.
STARTS = ("started", "adopted")


def last_starts(org_id: str, dag_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """
    Return by pipeline ID which task instance has started it last.

    :param dag_ids: The DAGs that the user may read; starts by others are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for pipeline_id, start in _starts(org_id):
        if start["dag_id"] in dag_ids:
            found.setdefault(pipeline_id, start)
    return found


@ttl_cache(maxsize=64, ttl=FRESH_SECONDS)
def _starts(org_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the pipelines of an organization that tasks have started, the newest first."""
    # Tasks of ours are found by their button, whose key has an index.
    button, result = aliased(XComModel), aliased(XComModel)
    same_task = (
        (result.dag_run_id == button.dag_run_id)
        & (result.task_id == button.task_id)
        & (result.map_index == button.map_index)
    )
    newest = (
        select(
            result.dag_id,
            result.run_id,
            result.task_id,
            result.map_index,
            result.value,
            result.timestamp,
            DagRun.triggering_user_name,
        )
        .join(button, same_task)
        .join(DagRun, DagRun.id == result.dag_run_id)
        .where(button.key == PipelineConsoleLink().xcom_key, result.key == "return_value")
        .order_by(result.timestamp.desc())
        .limit(MOST_TASKS)
    )
    with create_session() as session:
        rows = session.execute(newest).all()
    return [
        (
            str(row.value.get("pipeline_id")),
            {
                "dag_id": row.dag_id,
                "run_id": row.run_id,
                "task_id": row.task_id,
                "map_index": row.map_index,
                "at": row.timestamp.isoformat(),
                "user": row.triggering_user_name,
            },
        )
        for row in rows
        # A custom XCom backend may keep the value elsewhere.
        if isinstance(row.value, dict)
        and row.value.get("org_id") == org_id
        and row.value.get("outcome") in STARTS
    ]
