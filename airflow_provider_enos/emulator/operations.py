"""
What each call of the API does: reads the query and body, asks the service, shapes the data.

The shapes follow the samples of the pages where samples and tables differ (details, offset-lag).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.emulator.rules import InvalidConfig, Refused
from airflow_provider_enos.emulator.settings import Settings
from airflow_provider_enos.emulator.state import StreamService

#: Seconds between two points of offset-lag, as in the page's sample.
OFFSET_INTERVAL_SECONDS = 225


@dataclass(frozen=True, slots=True)
class Call:
    """A request as far as it is understood; ``body`` is parsed JSON, or None."""

    query: Mapping[str, str]
    body: Any = None
    pipeline_id: str = ""

    @property
    def org_id(self) -> str:
        """The organization it is about."""
        return self.query["orgId"]

    def flag(self, name: str) -> bool:
        """
        A Boolean of the query, in any case, since the vendor's samples send ``False``.

        :raises Refused: it is neither true nor false.
        """
        text = self.query.get(name, "false").lower()
        if text not in ("true", "false"):
            raise Refused(99400, name=name, reason=f"{name} is not a Boolean")
        return text == "true"

    def positive(self, name: str, default: int) -> int:
        """
        A number of the query.

        :raises Refused: it is no whole number, or not positive.
        """
        try:
            value = int(self.query.get(name, default))
        except ValueError:
            raise Refused(99400, name=name, reason=f"{name} is not a number") from None
        if value <= 0:
            raise Refused(61176)
        return value


@dataclass(frozen=True, slots=True)
class Done:
    """
    What a call that was not refused comes to.

    :param blocks: Whether the answer waits until the pipeline's transition is over.
    """

    data: Any = ""
    msg: str = "OK"
    effective: bool = False
    blocks: bool = False


class Operations:
    """The calls, by the names that the request log uses."""

    def __init__(self, service: StreamService, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self.by_name: Mapping[str, Callable[[Call], Done]] = {
            "list": self._list,
            "details": self._details,
            "save": self._save,
            "release": self._release,
            "start": self._start,
            "pause": self._pause,
            "stop": self._stop,
            "offset_lag": self._offset_lag,
            "reset_offset": self._reset_offset,
            "stage_state_get": self._stage_state_get,
            "stage_state_delete": self._stage_state_delete,
        }

    def _list(self, call: Call) -> Done:
        count, rows = self._service.list_pipelines(
            call.org_id,
            is_system=call.flag("isSystem"),
            if_released=call.flag("ifReleased"),
            page_size=call.positive("pageSize", 10),
            page_no=call.positive("pageNo", 1),
        )
        if self._settings.list_count == "page":
            count = len(rows)
        return Done({"count": count, "pipelines": rows})

    def _details(self, call: Call) -> Done:
        design = self._service.details(
            call.org_id, call.pipeline_id, if_released=call.flag("ifReleased")
        )
        names = design.template_name
        if isinstance(names, str):
            names = {"en_us": names, "zh_cn": names}
        return Done(
            {
                "pipelineId": call.pipeline_id,
                "pipelineName": design.name,
                "desc": design.desc,
                "version": design.version,
                "templateType": design.template_type,
                "templateName": names,
                "messageChannel": str(design.message_channel),
                "pipelineJson": design.pipeline_json,
            }
        )

    def _save(self, call: Call) -> Done:
        changes = _design_changes({} if call.body is None else call.body)
        pipeline_id = None if call.pipeline_id == "null" else call.pipeline_id
        return Done(self._service.save(call.org_id, pipeline_id, changes), effective=True)

    def _release(self, call: Call) -> Done:
        self._service.release(call.org_id, call.pipeline_id)
        return Done(effective=True)

    def _start(self, call: Call) -> Done:
        self._service.start(call.org_id, call.pipeline_id, call.body)
        return Done(effective=True, blocks=self._settings.blocking_start)

    def _pause(self, call: Call) -> Done:
        self._service.pause(call.org_id, call.pipeline_id)
        return Done(effective=True)

    def _stop(self, call: Call) -> Done:
        self._service.stop(call.org_id, call.pipeline_id)
        return Done(effective=True)

    def _offset_lag(self, call: Call) -> Done:
        now, offset, lag = self._service.offset_lag(call.org_id, call.pipeline_id)
        points = [
            {"lag": lag, "offset": offset, "ts": int((now - ago) * 1000)}
            for ago in (OFFSET_INTERVAL_SECONDS, 0)
        ]
        topic = f"MEASURE_POINT_INTERNAL_{call.org_id}"
        return Done({"topicName": topic, "lagAndOffset": points, "pipelineId": call.pipeline_id})

    def _reset_offset(self, call: Call) -> Done:
        self._service.reset_offset(call.org_id, call.pipeline_id)
        return Done(effective=True)

    def _stage_state_get(self, call: Call) -> Done:
        pipeline_id, stage, points = _stage_body(call.body)
        now, shape, kept = self._service.stage_state(call.org_id, pipeline_id, stage, points)
        items = [_stage_item(shape, asset, point, int(now * 1000)) for asset, point in kept]
        return Done({"items": items}, msg=" OK")  # the blank is in the page's sample

    def _stage_state_delete(self, call: Call) -> Done:
        pipeline_id, stage, points = _stage_body(call.body)
        self._service.erase_stage_state(call.org_id, pipeline_id, stage, points)
        return Done(data=True, msg=" OK", effective=True)


def _design_changes(body: object) -> dict[str, Any]:
    """
    What a save body changes (save_pipeline). The table says ``name``, the sample ``pipelineName``.

    :raises InvalidConfig: it is no object, or a field is of the wrong type.
    """
    if not isinstance(body, Mapping):
        raise InvalidConfig("the body is not a JSON object")
    known: dict[str, tuple[str, type]] = {
        "version": ("version", str),
        "name": ("name", str),
        "pipelineName": ("name", str),
        "desc": ("desc", str),
        "templateType": ("template_type", int),
        "templateName": ("template_name", str),
        "messageChannel": ("message_channel", int),
        "pipelineJson": ("pipeline_json", dict),
    }
    for field, (_, kind) in known.items():
        if field in body and not isinstance(body[field], kind):
            raise InvalidConfig(f"{field} has the wrong type")
    return {name: body[field] for field, (name, _) in known.items() if field in body}


def _stage_body(body: object) -> tuple[str, str, list[tuple[str, str]]]:
    """
    Pipeline, stage and (asset, point) pairs of a stage-state body (get_stage_state).

    :raises Refused: a parameter is missing (61102).
    """
    values = body if isinstance(body, Mapping) else {}
    for name in ("pipelineId", "stageInstanceName", "assetIds", "pointIds"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise Refused(61102, name=name)
    assets, points = (values[name].split(",") for name in ("assetIds", "pointIds"))
    pairs = [(asset.strip(), point.strip()) for asset in assets for point in points]
    return values["pipelineId"], values["stageInstanceName"], pairs


def _stage_item(shape: str, asset: str, point: str, time_ms: int) -> dict[str, Any]:
    if shape == "window":
        return {"assetId": asset}  # the rest of the page's table could not be read
    if shape == "time":
        return {"assetId": asset, "pointId": point, "time": time_ms}
    return {
        "modelId": "emulated_model",
        "modelIdPath": "/emulated_model",
        "attr": {},
        "assetId": asset,
        "pointId": point,
        "time": time_ms,
        "value": 1.0,
        "quality": 0,
    }
