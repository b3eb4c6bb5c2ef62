"""
Every documented call of the service, one function each.

They check their arguments and build the request; nothing is sent here. Pages, one per call:
https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/<function's name> for the pipeline
calls, https://support.enos-iot.com/docs/api/en/3.0.0/ for the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from airflow_provider_enos.api.errors import EnOSUnreadableAnswerError, InvalidSettingError
from airflow_provider_enos.api.messages import CONTENT_TYPE, Call, Request, json_body
from airflow_provider_enos.api.pipeline import OffsetLag, Pipeline, PipelineDetails, as_int
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.api.signing import token_encryption
from airflow_provider_enos.api.start_settings import StartSettings, parse_id

SERVICE = "/streaming/v2.0"
TOKEN_SERVICE = "/apim-token-service/v2.0/token"  # noqa: S105 - an address

#: What the page save_pipeline wants in place of an ID that does not exist yet.
NEW_PIPELINE = "null"

#: Most points, counted as assets x points, of one stage state call (page get_stage_state).
MAX_STAGE_POINTS = 100_000


@dataclass(frozen=True)
class PipelinePage:
    """One page of List Pipelines; ``count`` is EnOS's, and nobody says of what."""

    pipelines: tuple[Pipeline, ...]
    count: int | None

    @cached_property
    def by_id(self) -> dict[str, Pipeline]:
        """The pipelines by ID; made once for all who look at the page."""
        return {pipeline.pipeline_id: pipeline for pipeline in self.pipelines}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and for how many seconds from now it is good."""

    value: str = field(repr=False)
    expires_in_seconds: float


def list_pipelines(
    org_id: str,
    *,
    page_no: int = 1,
    page_size: int = 100,
    is_system: bool = False,
    if_released: bool = True,
) -> Call[PipelinePage]:
    """
    One page of the organization's pipelines.

    :param if_released: Only released pipelines have a status. EnOS's own default is ``false``.
    """
    for name, number in (("page_no", page_no), ("page_size", page_size)):
        if number < 1:
            raise InvalidSettingError.of(name, number, "a number from 1 on")
    query = {
        "pageSize": str(page_size),
        "pageNo": str(page_no),
        "isSystem": _flag(is_system),
        "ifReleased": _flag(if_released),
    }
    org_id = parse_id(org_id, "org_id")
    purpose = f"list the pipelines of {_org(org_id)}"
    request = _get("/streaming/pipelines", org_id, purpose, query, "list_pipelines")

    def read(data: Any) -> PipelinePage:
        if isinstance(data, list) and not any(
            isinstance(row, Mapping) and "pipelines" in row for row in data
        ):
            data = {"pipelines": data}
        data = _object(data, request)
        rows = data.get("pipelines")
        if rows is not None and not isinstance(rows, list):
            raise EnOSUnreadableAnswerError("'pipelines' is not a list", during=request.purpose)
        return PipelinePage(
            tuple(Pipeline.read(row) for row in rows or () if isinstance(row, Mapping)),
            as_int(data.get("count")),
        )

    return Call(request, read)


def get_pipeline_details(
    org_id: str, pipeline_id: str, *, if_released: bool = False
) -> Call[PipelineDetails]:
    """
    A pipeline's design.

    :param if_released: The online version instead of the one that is being designed.
    """
    request = _pipeline_get(
        org_id,
        pipeline_id,
        "read the details of",
        "",
        "get_pipeline_details",
        if_released=if_released,
    )
    return Call(request, lambda data: PipelineDetails.read(_object(data, request)))


def get_pipeline_offset_lag(org_id: str, pipeline_id: str) -> Call[OffsetLag]:
    """Offset and lag of a running pipeline."""
    request = _pipeline_get(
        org_id, pipeline_id, "read the lag of", "/offset-lag", "get_pipeline_offset_lag"
    )
    return Call(request, lambda data: OffsetLag.read(_object(data, request)))


def start_pipeline(org_id: str, settings: StartSettings) -> Call[None]:
    """Start a published, paused or stopped pipeline; resuming is a start as well."""
    return _operate("start", org_id, settings.pipeline_id, settings.to_json())


def stop_pipeline(org_id: str, pipeline_id: str) -> Call[None]:
    """Stop a running or paused pipeline; EnOS forgets the consumption offset."""
    return _operate("stop", org_id, pipeline_id)


def pause_pipeline(org_id: str, pipeline_id: str) -> Call[None]:
    """Pause a running pipeline, for 24 hours at most."""
    return _operate("pause", org_id, pipeline_id)


def release_pipeline(org_id: str, pipeline_id: str) -> Call[None]:
    """Put a pipeline's design online."""
    return _operate("release", org_id, pipeline_id)


def save_pipeline(
    org_id: str, pipeline_id: str | None, configuration: Mapping[str, Any]
) -> Call[str]:
    """
    Save a pipeline's design and return its ID.

    :param pipeline_id: ``None`` creates a new pipeline.
    :param configuration: Fields as documented: ``name``, ``version``, ``templateType`` ...
    """
    if not isinstance(configuration, Mapping):
        raise InvalidSettingError.of("configuration", configuration, "an object")
    if pipeline_id is None:
        what, path_id = "save a new pipeline", NEW_PIPELINE
    else:
        path_id = parse_id(pipeline_id, "pipeline_id")
        what = f"save pipeline {path_id}"
    request = _request("save", org_id, path_id, what, configuration)

    def read(data: Any) -> str:
        saved = _saved_id(data) or path_id
        if saved == NEW_PIPELINE:
            raise EnOSUnreadableAnswerError(
                "no ID of the new pipeline in the answer", during=request.purpose
            )
        return saved

    return Call(request, read)


def reset_pipeline_offset(org_id: str, pipeline_id: str) -> Call[None]:
    """Skip what is waiting in Kafka; the pipeline must be paused or stopped."""
    org_id, pipeline_id = parse_id(org_id, "org_id"), parse_id(pipeline_id, "pipeline_id")
    return Call(
        Request(
            "POST",
            f"{SERVICE}/streaming/pipeline/{pipeline_id}/offset",
            f"reset the offset of pipeline {pipeline_id} of {_org(org_id)}",
            query=(("orgId", org_id),),
            operation="reset_pipeline_offset",
        ),
        _nothing,
    )


def get_stage_state(
    org_id: str,
    pipeline_id: str,
    *,
    stage_instance_name: str,
    asset_ids: Sequence[str],
    point_ids: Sequence[str],
) -> Call[tuple[Mapping[str, Any], ...]]:
    """What an operator of the pipeline remembers of these points; the items as EnOS sends them."""
    request = _stage_state("get", org_id, pipeline_id, stage_instance_name, asset_ids, point_ids)

    def read(data: Any) -> tuple[Mapping[str, Any], ...]:
        items = data.get("items") if isinstance(data, Mapping) else data
        if items is not None and not isinstance(items, list):
            raise EnOSUnreadableAnswerError("'items' is not a list", during=request.purpose)
        return tuple(item for item in items or () if isinstance(item, Mapping))

    return Call(request, read)


def delete_stage_state(
    org_id: str,
    pipeline_id: str,
    *,
    stage_instance_name: str,
    asset_ids: Sequence[str],
    point_ids: Sequence[str],
) -> Call[bool]:
    """Let an operator forget these points; the pipeline must be paused."""
    request = _stage_state("delete", org_id, pipeline_id, stage_instance_name, asset_ids, point_ids)
    return Call(request, lambda data: str(data).strip().lower() != "false")


def get_token(settings: EnOSSettings, timestamp_ms: int) -> Call[Token]:
    """Get the access token. While one lives, EnOS returns the same one again."""
    return _token_call("get", settings, timestamp_ms)


def refresh_token(settings: EnOSSettings, timestamp_ms: int, token: str) -> Call[Token]:
    """Get a longer life for an access token that has not expired yet."""
    return _token_call("refresh", settings, timestamp_ms, accessToken=token)


def _token_call(action: str, settings: EnOSSettings, timestamp_ms: int, **more: str) -> Call[Token]:
    body = {
        "appKey": settings.access_key,
        "encryption": token_encryption(settings.access_key, settings.secret_key, timestamp_ms),
        "timestamp": timestamp_ms,
        **more,
    }
    request = Request(
        "POST",
        f"{TOKEN_SERVICE}/{action}",
        f"{action} an access token",
        body=json_body(body),
        headers={"Content-Type": CONTENT_TYPE},
        signed=False,
        repeatable=True,
        operation=f"{action}_token",
    )

    def read(data: Any) -> Token:
        data = _object(data, request)
        value, expire = data.get("accessToken"), as_int(data.get("expire"))
        if (
            not isinstance(value, str)
            or not value.isascii()
            or not value.isprintable()
            or not value
        ):
            raise EnOSUnreadableAnswerError("no access token in the answer", during=request.purpose)
        return Token(value, float(expire if expire is not None else 0))

    return Call(request, read)


def _operate(
    action: str, org_id: str, pipeline_id: str, body: Mapping[str, Any] | None = None
) -> Call[None]:
    pipeline_id = parse_id(pipeline_id, "pipeline_id")
    what = f"{action} pipeline {pipeline_id}"
    return Call(_request(action, org_id, pipeline_id, what, body), _nothing)


def _request(
    action: str, org_id: str, path_id: str, what: str, body: Mapping[str, Any] | None
) -> Request:
    org_id = parse_id(org_id, "org_id")
    return Request(
        "POST",
        f"{SERVICE}/streaming/pipeline/{path_id}",
        f"{what} of {_org(org_id)}",
        query=(("action", action), ("orgId", org_id)),
        body=b"" if body is None else json_body(body),
        headers={} if body is None else {"Content-Type": CONTENT_TYPE},
        operation=f"{action}_pipeline",
    )


def _get(path: str, org_id: str, purpose: str, query: Mapping[str, str], operation: str) -> Request:
    pairs = (("orgId", org_id), *query.items())
    path = SERVICE + path
    return Request("GET", path, purpose, query=pairs, repeatable=True, operation=operation)


def _pipeline_get(
    org_id: str,
    pipeline_id: str,
    verb: str,
    suffix: str,
    operation: str,
    *,
    if_released: bool | None = None,
) -> Request:
    org_id, pipeline_id = parse_id(org_id, "org_id"), parse_id(pipeline_id, "pipeline_id")
    query = {} if if_released is None else {"ifReleased": _flag(if_released)}
    purpose = f"{verb} pipeline {pipeline_id} of {_org(org_id)}"
    path = f"/streaming/pipeline/{pipeline_id}{suffix}"
    return _get(path, org_id, purpose, query, operation)


def _stage_state(
    action: str,
    org_id: str,
    pipeline_id: str,
    stage_instance_name: str,
    asset_ids: Sequence[str],
    point_ids: Sequence[str],
) -> Request:
    org_id, pipeline_id = parse_id(org_id, "org_id"), parse_id(pipeline_id, "pipeline_id")
    if not stage_instance_name.strip():
        allowed = "the stage's name, e.g. LatePointTagger_01"
        raise InvalidSettingError.of("stage_instance_name", stage_instance_name, allowed)
    for name, ids in (("asset_ids", asset_ids), ("point_ids", point_ids)):
        if isinstance(ids, str) or not ids or any("," in one or not one.strip() for one in ids):
            raise InvalidSettingError.of(name, ids, "a list of at least one ID, none with a comma")
    if len(asset_ids) * len(point_ids) > MAX_STAGE_POINTS:
        allowed = f"at most {MAX_STAGE_POINTS} assets x points in one call"
        raise InvalidSettingError.of("point_ids", f"{len(point_ids)} points", allowed)
    body = {
        "pipelineId": pipeline_id,
        "stageInstanceName": stage_instance_name,
        "assetIds": ",".join(asset_ids),
        "pointIds": ",".join(point_ids),
    }
    return Request(
        "POST",
        f"{SERVICE}/stage-state",
        f"{action} the stage state of pipeline {pipeline_id} of {_org(org_id)}",
        query=(("action", action), ("orgId", org_id)),
        body=json_body(body),
        headers={"Content-Type": CONTENT_TYPE},
        repeatable=action == "get",
        operation=f"{action}_stage_state",
    )


def _org(org_id: str) -> str:
    return f"organization {org_id}"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _nothing(_: Any) -> None:
    """Writes document an empty ``data`` and their samples have none."""


def _saved_id(data: Any) -> str | None:
    if isinstance(data, Mapping):
        data = data.get("pipelineId")
    return data.strip() or None if isinstance(data, str) else None


def _object(data: Any, request: Request) -> Mapping[str, Any]:
    """Take the object, also out of a list of one (tables say List, samples show an object)."""
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, Mapping):
        raise EnOSUnreadableAnswerError("'data' is missing or no object", during=request.purpose)
    return data
