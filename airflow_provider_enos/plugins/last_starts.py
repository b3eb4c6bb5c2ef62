"""Who last started a pipeline from Airflow: what our tasks have returned, as Airflow stores it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import aliased

from airflow_provider_enos.links import PipelineConsoleLink

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: Ours: how many tasks are looked through, the newest first.
MOST_TASKS = 2000

#: What a task says that has started its pipeline; one that found it running has not.
STARTS = ("started", "adopted")


def last_starts(
    session: Session, org_id: str, dag_ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """
    Return by pipeline ID which task instance has started it last.

    :param dag_ids: The DAGs that the user may read; starts by others are left out.
    """
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
        .where(
            button.key == PipelineConsoleLink().xcom_key,
            result.key == "return_value",
            result.dag_id.in_(dag_ids),
        )
        .order_by(result.timestamp.desc())
        .limit(MOST_TASKS)
    )
    found: dict[str, dict[str, Any]] = {}
    for row in session.execute(newest):
        value = row.value
        # A custom XCom backend may keep it elsewhere.
        if not isinstance(value, dict) or value.get("org_id") != org_id:
            continue
        if value.get("outcome") in STARTS:
            start = {
                "dag_id": row.dag_id,
                "run_id": row.run_id,
                "task_id": row.task_id,
                "map_index": row.map_index,
                "at": row.timestamp.isoformat(),
                "user": row.triggering_user_name,
            }
            found.setdefault(str(value.get("pipeline_id")), start)
    return found
