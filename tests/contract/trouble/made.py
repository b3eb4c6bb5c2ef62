"""The calls of the provider, each as the hook makes it, and what holds for their errors."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_enos.api import calls
from airflow_provider_enos.api.pipeline import OffsetLag, PipelineDetails
from airflow_provider_enos.api.queue import OwnTurn, StartQueue
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms

ORG = "o15517683199241"
STAGE = {"stage_instance_name": "LatePointTagger_01", "asset_ids": ["a"], "point_ids": ["p"]}


def start_flow(pipeline_id, progress=None):
    terms = StartTerms(
        conflict_deadline=time.time() + 20,
        start_timeout_seconds=10,
        poll_interval_seconds=0.05,
    )
    settings = StartSettings.parse(pipeline_id=pipeline_id, execution_mode="standalone")
    queue = StartQueue(OwnTurn())
    return start(ORG, settings, terms, progress or StartProgress(), queue)


@dataclass(frozen=True)
class Made:
    """
    A call as the hook makes it.

    :param returns: Type of its value.
    :param purpose: How its errors begin, after "Cannot ".
    :param status: What the pipeline must be for it; None: any.
    """

    build: Callable[[str], Any]
    returns: type
    purpose: str
    status: str | None = None


READS = {
    "list": Made(
        lambda _: calls.list_pipelines(ORG), calls.PipelinePage, "list the pipelines of {org}"
    ),
    "details": Made(
        lambda it: calls.get_pipeline_details(ORG, it),
        PipelineDetails,
        "read the details of pipeline {id} of {org}",
    ),
    "offset_lag": Made(
        lambda it: calls.get_pipeline_offset_lag(ORG, it),
        OffsetLag,
        "read the lag of pipeline {id} of {org}",
        "RUNNING",
    ),
    "stage_state_get": Made(
        lambda it: calls.get_stage_state(ORG, it, **STAGE),
        tuple,
        "get the stage state of pipeline {id} of {org}",
    ),
}
WRITES = {
    "save": Made(lambda it: calls.save_pipeline(ORG, it, {}), str, "save pipeline {id} of {org}"),
    "release": Made(
        lambda it: calls.release_pipeline(ORG, it),
        type(None),
        "release pipeline {id} of {org}",
        "STOPPED",
    ),
    "pause": Made(
        lambda it: calls.pause_pipeline(ORG, it),
        type(None),
        "pause pipeline {id} of {org}",
        "RUNNING",
    ),
    "stop": Made(
        lambda it: calls.stop_pipeline(ORG, it),
        type(None),
        "stop pipeline {id} of {org}",
        "RUNNING",
    ),
    "reset_offset": Made(
        lambda it: calls.reset_pipeline_offset(ORG, it),
        type(None),
        "reset the offset of pipeline {id} of {org}",
        "PAUSED",
    ),
    "stage_state_delete": Made(
        lambda it: calls.delete_stage_state(ORG, it, **STAGE),
        bool,
        "delete the stage state of pipeline {id} of {org}",
        "PAUSED",
    ),
}


def arrived(emulator, operation, count):
    """Return what has been answered; a slow one is answered after we have given up."""
    emulator.wait_for_request(operation, count=count)
    return emulator.requests_for(operation)


def check_error(error, trouble, purpose, pipeline_id):
    """It is the one of the table, and says what was being done and what happened."""
    purpose = purpose.format(id=pipeline_id, org=f"organization {ORG}")
    assert type(error) is trouble.error
    assert str(error).startswith(f"Cannot {purpose}: ")
    assert trouble.says in str(error)
    assert "\n" not in str(error)
    assert "token=x" not in str(error)
