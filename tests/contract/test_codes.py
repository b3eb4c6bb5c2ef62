"""
Every code that EnOS documents: the class it becomes, and that the message says of what.

``STATE`` cases arise in the emulator by themselves; ``ORDERED`` ones it only says when told to.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_enos.api import calls, errors, flows
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.emulator.auth import TOKEN_MESSAGES
from airflow_provider_enos.emulator.faults import Code

ORG = "o15517683199241"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
GET_STATE = "get the stage state of pipeline {id}"
GET_DETAILS = "read the details of pipeline {id}"
STAGE = {"stage_instance_name": "LatePointTagger_01", "asset_ids": ["a"], "point_ids": ["p"]}


def start(org_id, pipeline_id, **given):
    given = {"execution_mode": "standalone", **given}
    return calls.start_pipeline(org_id, StartSettings.parse(pipeline_id=pipeline_id, **given))


def list_page(org_id, _):
    return calls.list_pipelines(org_id)


def stage_state(org_id, pipeline_id, **given):
    return calls.get_stage_state(org_id, pipeline_id, **{**STAGE, **given})


def delete_state(org_id, pipeline_id):
    return calls.delete_stage_state(org_id, pipeline_id, **STAGE)


def unsupported_stage(org_id, pipeline_id):
    return stage_state(org_id, pipeline_id, stage_instance_name="Filter_01")


def save_wrong(org_id, pipeline_id):
    return calls.save_pipeline(org_id, pipeline_id, {"version": 1})


def save_empty(org_id, pipeline_id):
    return calls.save_pipeline(org_id, pipeline_id, {})


def running(enos, pipeline_id):
    enos.set_status(pipeline_id, "RUNNING")


def as_it_is(enos, pipeline_id):
    pass


@dataclass(frozen=True)
class Refusal:
    """What to do, and how EnOS refuses it."""

    code: int
    call: Callable[[str, str], Any]
    arrange: Callable[[Any, str], None]
    error: type[errors.EnOSApiError]
    message: str
    during: str
    pipeline_id: str | None = None


STATE = [
    Refusal(
        61100,
        save_wrong,
        as_it_is,
        errors.InvalidPipelineConfigError,
        "The Stream configuration JSON is invalid. (version has the wrong type)",
        "save pipeline {id}",
    ),
    Refusal(
        61106,
        stage_state,
        as_it_is,
        errors.AccessDeniedError,
        "Wrong pipelineId or OU has no privilege",
        "get the stage state of pipeline {id}",
        "unknown",
    ),
    Refusal(
        61107,
        unsupported_stage,
        as_it_is,
        errors.InvalidRequestError,
        "Not supported stage type",
        "get the stage state of pipeline {id}",
    ),
    *(
        Refusal(
            61108,
            call,
            as_it_is,
            errors.PipelineNotFoundError,
            "Stream processing pipeline does not exit.",
            f"{verb} pipeline {{id}}",
            "unknown",
        )
        for call, verb in [
            (start, "start"),
            (calls.stop_pipeline, "stop"),
            (calls.pause_pipeline, "pause"),
            (calls.release_pipeline, "release"),
            (calls.get_pipeline_details, "read the details of"),
            (calls.get_pipeline_offset_lag, "read the lag of"),
            (calls.reset_pipeline_offset, "reset the offset of"),
        ]
    ),
    Refusal(
        61121,
        start,
        lambda enos, pipeline_id: enos.hold_start_lock(60),
        errors.StartInProgressError,
        "Another user in the organization is starting a stream processing job. "
        "Please try again later.",
        "start pipeline {id}",
    ),
    Refusal(
        61126,
        start,
        lambda enos, pipeline_id: enos.set_quota(standalone=0.5),
        errors.ResourceNotEnoughError,
        "Allocated resource is not enough to start a stream processing job. "
        "Please check the resource configuration.",
        "start pipeline {id}",
    ),
    Refusal(
        61128,
        start,
        lambda enos, pipeline_id: enos.set_quota(standalone=None),
        errors.ResourceNotRequestedError,
        "Your organization has not requested Standalone processing resource. "
        "Please request the resource and then start the jobs.",
        "start pipeline {id}",
    ),
    Refusal(
        61152,
        calls.stop_pipeline,
        as_it_is,
        errors.PipelineStateError,
        "Status of the stream processing job cannot be changed from [PUBLISHED] to Stopped.",
        "stop pipeline {id}",
    ),
    Refusal(
        61152,
        calls.pause_pipeline,
        as_it_is,
        errors.PipelineStateError,
        "Status of the stream processing job cannot be changed from [PUBLISHED] to Paused.",
        "pause pipeline {id}",
    ),
    Refusal(
        61165,
        start,
        running,
        errors.PipelineStateError,
        "Stream processing job with status [RUNNING] cannot be started.",
        "start pipeline {id}",
    ),
    Refusal(
        61168,
        calls.reset_pipeline_offset,
        running,
        errors.KafkaRateUnknownError,
        "Failed to get the Kafka average rate.",
        "reset the offset of pipeline {id}",
    ),
    Refusal(
        61169,
        calls.release_pipeline,
        running,
        errors.PipelineStateError,
        "Failed to release the stream processing job because it is not stopped or paused.",
        "release pipeline {id}",
    ),
    Refusal(
        61199,
        delete_state,
        running,
        errors.StageStateError,
        "The stream processing job is not paused.",
        "delete the stage state of pipeline {id}",
    ),
    Refusal(
        99000,
        calls.get_pipeline_offset_lag,
        as_it_is,
        errors.EnOSServerError,
        "Internal Server Error.",
        "read the lag of pipeline {id}",
    ),
]

#: Code, the call it is documented for, the emulator's name of that, class, what was being done.
ORDERED = [
    (61100, start, "start", errors.InvalidPipelineConfigError, "start pipeline {id}"),
    (61102, stage_state, "stage_state_get", errors.InvalidRequestError, GET_STATE),
    (61105, stage_state, "stage_state_get", errors.InvalidRequestError, GET_STATE),
    (61112, save_empty, "save", errors.SaveFailedError, "save pipeline {id}"),
    (61115, list_page, "list", errors.ListFailedError, "list the pipelines"),
    (61122, calls.stop_pipeline, "stop", errors.StopFailedError, "stop pipeline {id}"),
    (61176, list_page, "list", errors.InvalidRequestError, "list the pipelines"),
    (61199, stage_state, "stage_state_get", errors.StageStateError, GET_STATE),
    (99000, list_page, "list", errors.EnOSServerError, "list the pipelines"),
    (99400, list_page, "list", errors.InvalidRequestError, "list the pipelines"),
    (99403, list_page, "list", errors.AccessDeniedError, "list the pipelines"),
    (99404, calls.get_pipeline_details, "details", errors.PipelineNotFoundError, GET_DETAILS),
    (99500, list_page, "list", errors.EnOSServerError, "list the pipelines"),
    (54321, start, "start", errors.EnOSApiError, "start pipeline {id}"),
]


@pytest.mark.parametrize("case", STATE, ids=lambda case: f"{case.code}-{case.during.split()[0]}")
def test_refusal_says_code_reason_pipeline_and_organization(emulator, run, pipeline_id, case):
    asked = case.pipeline_id or pipeline_id
    case.arrange(emulator, pipeline_id)

    with pytest.raises(errors.EnOSApiError) as refused:
        run(flows.once(case.call(ORG, asked)))

    error = refused.value
    assert type(error) is case.error
    assert (error.code, error.http_status) == (case.code, 200)
    assert re.fullmatch(UUID, error.request_id)
    what = f"Cannot {case.during.format(id=asked)} of organization {ORG}: EnOS answered "
    facts = f" (EnOS code {case.code}, HTTP 200, request ID {error.request_id})"
    assert str(error).startswith(what)
    assert case.message in str(error)
    assert facts in str(error)
    assert str(error).endswith(case.error.advice or facts + ".")
    assert "\n" not in str(error)
    assert emulator.requests[-1].code == case.code


@pytest.mark.parametrize(
    ("code", "call", "operation", "error_class", "during"), ORDERED, ids=lambda it: f"{it}"[:5]
)
def test_code_that_only_an_order_brings(
    emulator, run, pipeline_id, code, call, operation, error_class, during
):
    emulator.faults.append(Code(code, "what EnOS says", on=operation))

    with pytest.raises(errors.EnOSApiError) as refused:
        run(flows.once(call(ORG, pipeline_id)))

    error = refused.value
    assert type(error) is error_class
    assert (error.code, error.http_status) == (code, 200)
    assert str(error).startswith(
        f"Cannot {during.format(id=pipeline_id)} of organization {ORG}: EnOS answered "
        f'"what EnOS says" (EnOS code {code}, HTTP 200, request ID {error.request_id}).'
    )


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (1001, errors.RepeatedRequestError),
        (1002, errors.AuthenticationError),
        (1003, errors.AuthenticationError),
        (1004, errors.InvalidRequestError),
        (1005, errors.NoTokenError),
        (1202, errors.InvalidRequestError),
        (1203, errors.AuthenticationError),
        (1204, errors.AuthenticationError),
    ],
)
@pytest.mark.parametrize("key", ["status", "stauts"])
def test_code_of_the_token_service_in_either_spelling(emulator, run, code, error_class, key):
    """Some of the documentation's samples misspell status."""
    emulator.settings.token_status_key = key
    emulator.faults.append(Code(code, on="token_get", times=None))

    with pytest.raises(errors.EnOSError) as refused:
        run(flows.once(calls.list_pipelines(ORG)))

    assert (type(refused.value), refused.value.code) == (error_class, code)
    assert f'access token: EnOS answered "{TOKEN_MESSAGES[code]}"' in str(refused.value)
    assert emulator.requests_for("list") == []


def test_message_without_a_request_id(emulator, run, pipeline_id):
    emulator.settings.request_id = False

    with pytest.raises(errors.PipelineStateError, match=r"\(EnOS code 61152, HTTP 200\)\. ") as it:
        run(flows.once(calls.stop_pipeline(ORG, pipeline_id)))

    assert it.value.request_id is None


def test_foreign_text_cannot_forge_log_lines(emulator, run, pipeline_id):
    text = "ok\n[2026-01-01] INFO - Pipeline is RUNNING\x1b[31m" + "x" * 10_000
    emulator.faults.append(Code(61122, text, on="stop"))

    with pytest.raises(errors.StopFailedError) as refused:
        run(flows.once(calls.stop_pipeline(ORG, pipeline_id)))

    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 1000
