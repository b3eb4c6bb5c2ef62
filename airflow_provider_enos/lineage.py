"""What tasks tell OpenLineage; imported only where its provider is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.openlineage.extractors import OperatorLineage
from attrs import define
from openlineage.client.event_v2 import Dataset
from openlineage.client.facet_v2 import RunFacet

from airflow_provider_enos.api import calls, flows
from airflow_provider_enos.api.errors import EnOSError
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.assets import openlineage_names, pipeline_uri
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook

#: The whole event is lost when it takes OpenLineage's provider longer than ten seconds to make it.
TOPIC_TIMEOUT_SECONDS = 3.0


@define
class EnOSPipelineRunFacet(RunFacet):
    """
    The pipeline that a task was about, as run facet ``enos_pipeline``.

    :param gateway: Host of the API gateway.
    :param outcome: What came of it; ``None`` while the task runs, and for sensors.
    :param status: The last status seen.
    """

    gateway: str
    orgId: str
    pipelineId: str
    outcome: str | None = None
    status: str | None = None

    _additional_skip_redact = ["gateway", "orgId", "pipelineId", "outcome", "status"]  # noqa: RUF012


def lineage_of(
    hook: EnOSStreamingHook, pipeline_id: str, result: Mapping[str, Any] | None
) -> OperatorLineage[Any, Any]:
    """
    Return the pipeline as output, and the Kafka topic that it reads from as input.

    EnOS tells the topic of running pipelines only, and its brokers to nobody: the gateway stands
    for them.

    :param result: What the task has returned; ``None`` at its begin.
    """
    gateway, result = urlsplit(hook.settings.gateway_url).netloc, result or {}
    org_id, pipeline_id = hook.org_id, parse_id(pipeline_id, "pipeline_id")
    uri = pipeline_uri(host=gateway, org_id=org_id, pipeline_id=pipeline_id)
    namespace, name = openlineage_names(uri)
    topic = result.get("topic_name")
    if topic is None and result.get("status") == "RUNNING":
        topic = _topic(hook, pipeline_id)
    return OperatorLineage(
        inputs=[Dataset(namespace=f"kafka://{gateway}", name=topic)] if topic else [],
        outputs=[Dataset(namespace=namespace, name=name)],
        run_facets={
            "enos_pipeline": EnOSPipelineRunFacet(
                gateway=gateway,
                orgId=org_id,
                pipelineId=pipeline_id,
                outcome=result.get("outcome"),
                status=result.get("status"),
            )
        },
    )


def _topic(hook: EnOSStreamingHook, pipeline_id: str) -> str | None:
    call = calls.get_pipeline_offset_lag(hook.org_id, pipeline_id)
    try:
        return hook.apart(TOPIC_TIMEOUT_SECONDS).run(flows.once(call)).topic_name
    except EnOSError as error:
        hook.log.info("OpenLineage is not told the topic: %s", error)
        return None
