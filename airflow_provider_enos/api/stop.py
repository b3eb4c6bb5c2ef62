"""Stop a pipeline and see it stopped."""

from __future__ import annotations

from airflow_provider_enos.api import calls, flows, looks
from airflow_provider_enos.api.errors import EnOSError, PipelineStateError
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.transport import Flow, Now, Sleep


def stop_pipeline(
    org_id: str,
    pipeline_id: str,
    *,
    deadline: float,
    limit: str,
    poll_interval_seconds: float,
    started_at: float = 0.0,
) -> Flow[PipelineStatus]:
    """
    Stop a pipeline and wait until it is STOPPED; one that is stopped already is left as it is.

    A pipeline that is between two statuses is stopped when it has arrived at one.

    :param deadline: Seconds since 1970.
    :param limit: What the user calls the deadline.
    :param started_at: When EnOS accepted a start, in seconds since 1970: for a while after it the
        list may still say that the pipeline does not run.
    :raises PipelineStateError: its status does not allow a stop.
    :raises StatusTimeoutError: the deadline has passed.
    """
    patience = flows.Patience(flows.WAIT_PATIENCE.seconds, deadline)
    refused_since: float | None = None
    while True:
        try:
            yield from flows.ask(calls.stop_pipeline(org_id, pipeline_id), patience)
            break
        except EnOSError as error:
            if not (error.ambiguous or isinstance(error, PipelineStateError)):
                raise
            status = (yield from looks.find_pipeline(org_id, pipeline_id, patience)).status
            now = yield Now()
            is_stale = now < started_at + looks.LIST_LAG_SECONDS and not status.is_running
            if status == "STOPPED" and not is_stale:
                return status
            if status in ("RUNNING", "PAUSED") and not (error.ambiguous or is_stale):
                # Refused, though the status allows it: it has just changed.
                refused_since = now if refused_since is None else refused_since
                is_hopeless = now >= refused_since + looks.LIST_LAG_SECONDS
            else:
                is_hopeless = not (error.ambiguous or is_stale or status.is_in_transition)
            if is_hopeless or now >= deadline:
                raise
            pause = max(poll_interval_seconds, error.retry_after_seconds or 0)
            yield Sleep(min(pause, deadline - now))
    return (
        yield from looks.wait_for_status(
            org_id,
            pipeline_id,
            "STOPPED",
            deadline=deadline,
            limit=limit,
            poll_interval_seconds=poll_interval_seconds,
        )
    )
