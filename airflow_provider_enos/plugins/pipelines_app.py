"""
What the "EnOS pipelines" page asks the API server for.

Reading only, for users who may read connections or DAGs. EnOS is asked in threads of our own, so
that a gateway that hangs takes none of the API server's, and all browsers share what was read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.secrets.environment_variables import CONN_ENV_PREFIX
from airflow.utils.session import create_session
from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.responses import FileResponse, JSONResponse
from sqlalchemy import select

from airflow_provider_enos.api import looks
from airflow_provider_enos.api.errors import EnOSError, InvalidSettingError, PipelineNotFoundError
from airflow_provider_enos.api.pipeline import Pipeline
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.plugins.last_starts import last_starts

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

T = TypeVar("T")

#: How old a list may be that is shown: so often EnOS is asked, however many look.
LIST_SECONDS = 10.0

#: The same for a pipeline's lag, which is a call for each pipeline.
LAG_SECONDS = 30.0

#: Requests of browsers that wait for EnOS at the same time; more wait for a place.
THREADS = CapacityLimiter(8)

CONNECTION_TYPE = EnOSStreamingHook.conn_type


def may_read(request: Request, user: GetUserDep) -> None:
    """
    Let in who may read connections or DAGs.

    :raises HTTPException: 401 without a login, 403 without the right.
    """
    if not _may_read(user, request.path_params.get("connection_id")):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "You may read neither connections nor DAGs.")


def _may_read(user: BaseUser, connection_id: str | None) -> bool:
    team = _team_of(connection_id)
    dags = DagDetails(team_name=team) if team else None
    return _may_read_connection(user, connection_id) or get_auth_manager().is_authorized_dag(
        method="GET", details=dags, user=user
    )


def _may_read_connection(user: BaseUser, connection_id: str | None) -> bool:
    details = ConnectionDetails(conn_id=connection_id, team_name=_team_of(connection_id))
    return get_auth_manager().is_authorized_connection(method="GET", details=details, user=user)


def _team_of(connection_id: str | None) -> str | None:
    if connection_id and conf.getboolean("core", "multi_team", fallback=False):
        return Connection.get_team_name(connection_id)
    return None


app = FastAPI(
    title="EnOS pipelines",
    dependencies=[Depends(may_read)],
    # They would be served to everybody.
    openapi_url=None,
)


@app.exception_handler(EnOSError)
def _explain(_: Request, error: Exception) -> JSONResponse:
    """Answer with the one line that says what is wrong; the page shows it."""
    code = 502
    if isinstance(error, InvalidSettingError):
        code = 400
    elif isinstance(error, PipelineNotFoundError):
        code = 404
    return JSONResponse({"detail": str(error)}, code)


@app.get("/pipelines.js")
def program() -> FileResponse:
    """Return the page's program."""
    return FileResponse(
        Path(__file__).with_name("pipelines.js"),
        media_type="text/javascript",
        headers={"Cache-Control": "no-cache"},
    )


@app.get("/connections")
async def connections(user: GetUserDep) -> list[str]:
    """Return the IDs of the connections of type ``enos``, the default one first."""

    def read() -> list[str]:
        ids = [conn_id for conn_id in _connection_ids() if _may_read(user, conn_id)]
        default = EnOSStreamingHook.default_conn_name
        return sorted(ids, key=lambda conn_id: (conn_id != default, conn_id))

    return await _in_a_thread(read)


@app.get("/connections/{connection_id}/pipelines")
async def pipelines(
    connection_id: str, user: GetUserDep, org_id: str | None = None
) -> dict[str, Any]:
    """
    Return the released pipelines of an organization, and who has started them from Airflow.

    :param org_id: By default the connection's.
    """

    def read() -> dict[str, Any]:
        with _hook(connection_id, org_id, user) as hook:
            listing = hook.run(looks.see_pipelines(hook.org_id, max_age_seconds=LIST_SECONDS))
        starts = last_starts(hook.org_id, get_auth_manager().get_authorized_dag_ids(user=user))
        return {
            "org_id": hook.org_id,
            # Whoever asks when this is over makes the next list, for all.
            "fresh_seconds": max(listing.begun_at + LIST_SECONDS - time.time(), 0.0),
            "pipelines": [
                _row(pipeline, hook.console_link(pipeline_id), starts.get(pipeline_id))
                for pipeline_id, pipeline in listing.pipelines.items()
            ],
        }

    return await _in_a_thread(read)


@app.get("/connections/{connection_id}/pipelines/{pipeline_id}/lag")
async def lag(
    connection_id: str, pipeline_id: str, user: GetUserDep, org_id: str | None = None
) -> dict[str, Any]:
    """Return how many records in Kafka a running pipeline has still to read."""

    def read() -> dict[str, Any]:
        with _hook(connection_id, org_id, user) as hook:
            look = looks.see_lag(hook.org_id, pipeline_id, max_age_seconds=LAG_SECONDS)
            seen = hook.run(look).value
        newest = seen.newest
        return {"lag": newest.lag if newest else None, "topic": seen.topic_name}

    return await _in_a_thread(read)


async def _in_a_thread(read: Callable[[], T]) -> T:
    return await to_thread.run_sync(read, limiter=THREADS)


def _connection_ids() -> set[str]:
    """Those of the database and of the environment; a secrets backend cannot be listed."""
    with create_session() as session:
        of_type = select(Connection.conn_id).where(Connection.conn_type == CONNECTION_TYPE)
        ids = set(session.scalars(of_type))
    for name in os.environ:
        conn_id = name.removeprefix(CONN_ENV_PREFIX).lower()
        if name.startswith(CONN_ENV_PREFIX) and _is_ours(conn_id):
            ids.add(conn_id)
    return ids


def _is_ours(connection_id: str) -> bool:
    try:
        return EnOSStreamingHook.get_connection(connection_id).conn_type == CONNECTION_TYPE
    except Exception:
        return False


@contextmanager
def _hook(connection_id: str, org_id: str | None, user: BaseUser) -> Iterator[EnOSStreamingHook]:
    """
    Yield the connection's hook, and close its HTTP session.

    :raises InvalidSettingError: it is no connection of type ``enos``: keys of others are not sent.
    :raises HTTPException: 403, the organization is not the connection's own, and the user may not
        read the connection.
    """
    if not _is_ours(connection_id):
        raise InvalidSettingError.of(
            "connection", connection_id, "an Airflow connection of type enos"
        )
    hook = EnOSStreamingHook(connection_id, org_id=org_id)
    if hook.org_id != hook.settings.org_id and not _may_read_connection(user, connection_id):
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            "Who may not read the connection may only see the pipelines of its own organization.",
        )
    with hook.get_conn():
        yield hook


def _row(pipeline: Pipeline, console_url: str, last_start: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "pipeline_id": pipeline.pipeline_id,
        "name": pipeline.name,
        "status": pipeline.status,
        "has_failed": pipeline.status.has_failed,
        "execution_mode": pipeline.execution_mode,
        "resource_config": pipeline.resource_config,
        "update_time": pipeline.update_time,
        "console_url": console_url,
        "last_start": last_start,
    }
