"""
The rules of EnOS: which status follows which, and what is refused with which words. Pure.

Rule: every status change that a call makes goes through ``MOVES``, every refusal through
``MESSAGES``. If the real service does something else, the table is wrong: correct it and cite the
page.

Pages: https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/<page>, where <page> is
list_pipelines, get_pipeline_details, save_pipeline, release_pipeline, start_pipeline,
pause_pipeline, stop_pipeline, get_pipeline_offset_lag, reset_pipeline_offset, get_stage_state or
delete_stage_state. What no page says is listed in COVERAGE.md.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Of a pipeline that was never released. The pages give it no name, hence the empty text.
UNRELEASED = ""

#: Action -> status now -> status afterwards.
#: https://support.enos-iot.com/docs/stream-processing/en/2.4.0/monitoring_job and the page of each
#: action. The English stop page allows PAUSED, the Chinese one does not; the English one is newer.
MOVES: Mapping[str, Mapping[str, str]] = {
    "release": {UNRELEASED: "PUBLISHED", "PAUSED": "PUBLISHED", "STOPPED": "PUBLISHED"},
    "start": {
        "PUBLISHED": "RUNNING",
        "PAUSED": "RUNNING",
        "STOPPED": "RUNNING",
        "START_ERROR": "RUNNING",
        "RUN_ERROR": "RUNNING",
    },
    "pause": {"RUNNING": "PAUSED"},
    "stop": {"RUNNING": "STOPPED", "PAUSED": "STOPPED"},
}

#: Action -> the code that refuses it in the wrong status.
REFUSAL_CODES: Mapping[str, int] = {"release": 61169, "start": 61165, "pause": 61152, "stop": 61152}

#: Text of each code as the pages print it, spelling included ("exit").
#: 99400 and 99403: https://support.enos-iot.com/docs/api/en/3.0.0/overview
MESSAGES: Mapping[int, str] = {
    61100: "The Stream configuration JSON is invalid.{reason}",
    61102: "Missing param {name}",
    61105: "Too many points",
    61106: "Wrong pipelineId or OU has no privilege",
    61107: "Not supported stage type",
    61108: "Stream processing pipeline does not exit.",
    61112: "Failed to save the stream configuration.",
    61115: "Failed to get stream processing jobs.",
    61121: "Another user in the organization is starting a stream processing job. "
    "Please try again later.",
    61122: "Failed to stop the stream processing job.",
    61126: "Allocated resource is not enough to start a stream processing job. "
    "Please check the resource configuration.",
    61128: "Your organization has not requested {mode} processing resource. "
    "Please request the resource and then start the jobs.",
    61152: "Status of the stream processing job cannot be changed from [{status}] to {target}.",
    61165: "Stream processing job with status [{status}] cannot be started.",
    61168: "Failed to get the Kafka average rate.",
    61169: "Failed to release the stream processing job because it is not stopped or paused.",
    61176: "Param must be positive.",
    61199: "{reason}",
    99000: "Internal Server Error.",
    99400: "Invalid Argument {name}:{reason}",
    99403: "Denied resource:  orgId {org_id}",
}

#: Most points of one stage-state call (get_stage_state). The Chinese page counts assets x points.
MAX_STAGE_POINTS = 100_000

#: The operators that keep a state, by the shape of an item (get_stage_state, 2.4.0).
STAGE_SHAPES: Mapping[str, str] = {
    "LastRecordAppender": "record",
    "LastChangedRecordAppender": "record",
    "LatestRecordMerger": "record",
    "RecordCapturer": "record",
    "LatePointTagger": "time",
    "FixedTimeWindowAggregator": "window",
    "SlidingTimeWindowAggregator": "window",
}


def message_of(code: int, **blanks: str) -> str:
    """Text of a code, with its blanks filled; empty if no page prints one."""
    return MESSAGES.get(code, "").format_map(defaultdict(str, blanks))


class Refused(Exception):
    """
    EnOS says no.

    :param code: The code in the answer's body.
    :param blanks: What fills the blanks of the code's message.
    """

    def __init__(self, code: int, **blanks: str) -> None:
        self.code = code
        self.message = message_of(code, **blanks)
        super().__init__(f"{code} {self.message}")


class InvalidConfig(Refused):
    """61100, with the reason added, which EnOS itself may not give."""

    def __init__(self, reason: str) -> None:
        super().__init__(61100, reason=f" ({reason})")


def refusal(action: str, status: str) -> Refused:
    """What EnOS says to an action that a pipeline in this status cannot take."""
    target = {"pause": "Paused", "stop": "Stopped"}.get(action, "")
    return Refused(REFUSAL_CODES[action], status=status, target=target)


def status_after(action: str, status: str) -> str:
    """
    Status that ``action`` leads to.

    :raises Refused: the action is not allowed in this status.
    """
    if status not in MOVES[action]:
        raise refusal(action, status)
    return MOVES[action][status]


def stage_shape(stage_instance_name: str) -> str:
    """
    Shape of a stage's state, told by the operator's name before the underscore.

    :raises Refused: no such operator keeps a state (61107).
    """
    try:
        return STAGE_SHAPES[stage_instance_name.rpartition("_")[0] or stage_instance_name]
    except KeyError:
        raise Refused(61107) from None


@dataclass(frozen=True, slots=True)
class StartConfig:
    """A valid start body (start_pipeline), and what it asks of the organization's quotas."""

    execution_mode: int
    kafka_rate: int
    resource_config: Mapping[str, Any] | None
    server: float
    yarn: float

    @property
    def mode(self) -> str:
        """Name of the execution mode as in the message of 61128."""
        return "Cluster" if self.execution_mode else "Standalone"

    @classmethod
    def of_body(cls, body: object) -> StartConfig:
        """
        Read and check a start body.

        Numbers may come as numeric text: the pages' samples send numbers, the vendor's older
        sample code sends text.

        :raises InvalidConfig: something is missing or of the wrong kind.
        """
        if not isinstance(body, Mapping):
            raise InvalidConfig("the body is not a JSON object")
        mode = _number(body, "executionMode")
        if mode not in (0, 1):
            raise InvalidConfig("executionMode is neither 0 nor 1")
        rate = _positive(body, "kafkaRate", whole=True)
        resources = body.get("resourceConfig")
        if resources is None:
            resources_read: Mapping[str, Any] = {}
        elif isinstance(resources, Mapping):
            resources_read = resources
        else:
            raise InvalidConfig("resourceConfig is not a JSON object")
        server = _positive(resources_read, "server") if "server" in resources_read else 1.0
        _check_advanced(resources_read.get("advanced"))
        # Whether EnOS looks at yarn in Standalone mode is not documented; here it does not.
        yarn = _yarn_demand(resources_read.get("yarn")) if mode == 1 else 0.0
        return cls(int(mode), int(rate), resources, server, yarn)


def _number(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        raise InvalidConfig(f"{name} is not a number") from None
    if not math.isfinite(number):
        raise InvalidConfig(f"{name} is not a number")
    return number


def _positive(values: Mapping[str, Any], name: str, *, whole: bool = False) -> float:
    number = _number(values, name)
    if number <= 0:
        raise InvalidConfig(f"{name} is not positive")
    if whole and not number.is_integer():
        raise InvalidConfig(f"{name} is not a whole number")
    return number


def _yarn_demand(yarn: object) -> float:
    """CU that the workers and their master take; one of each when nothing is given."""
    if yarn is None:
        return 2.0
    if not isinstance(yarn, Mapping):
        raise InvalidConfig("yarn is not a JSON object")
    workers = _positive(yarn, "workerCount", whole=True)
    return workers * _positive(yarn, "slave") + _positive(yarn, "master")


def _check_advanced(advanced: object) -> None:
    """Accept both documented forms: the table's JSON object and the sample's key/value list."""
    if advanced is None:
        return
    if isinstance(advanced, Mapping):
        texts = [*advanced.keys(), *advanced.values()]
    elif isinstance(advanced, list) and all(isinstance(pair, Mapping) for pair in advanced):
        texts = [pair.get(name) for pair in advanced for name in ("key", "value")]
    else:
        raise InvalidConfig("advanced is neither a JSON object nor a list of key and value")
    if not all(isinstance(text, str) for text in texts):
        raise InvalidConfig("a key or value in advanced is not text")
