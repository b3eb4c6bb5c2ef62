"""What all operators and sensors have in common: they are about one pipeline."""

from __future__ import annotations

from functools import cached_property

from airflow_provider_enos.api.errors import EnOSError
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.hooks.kill_switch import KillSwitch
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook


class PipelineTask:
    """The hook of a task, and its pipeline's page in the EnOS console."""

    pipeline_id: str
    org_id: str | None
    enos_conn_id: str

    @cached_property
    def hook(self) -> EnOSStreamingHook:
        """The hook of this try; killing the task ends its calls."""
        return EnOSStreamingHook(
            self.enos_conn_id, org_id=self.org_id, kill_switch=self._kill_switch
        )

    @cached_property
    def _kill_switch(self) -> KillSwitch:
        return KillSwitch()

    @property
    def console_url(self) -> str:
        """Address of the pipeline in the EnOS console, ``""`` if it cannot be told."""
        try:
            return self.hook.console_link(parse_id(self.pipeline_id, "pipeline_id"))
        except EnOSError:
            return ""
