"""What all operators and sensors have in common: they are about one pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_enos.api.errors import EnOSError, InvalidSettingError
from airflow_provider_enos.api.start_settings import parse_id
from airflow_provider_enos.arguments import has_template
from airflow_provider_enos.hooks.kill_switch import KillSwitch
from airflow_provider_enos.hooks.streaming import EnOSStreamingHook
from airflow_provider_enos.links import PipelineConsoleLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage


class PipelineTask:
    """The hook of a task, and its pipeline's page in the EnOS console."""

    pipeline_id: str
    org_id: str | None
    enos_conn_id: str

    def _check_subject(self) -> None:
        """
        Check, when the DAG is parsed, what holds no template.

        :raises InvalidSettingError: an ID is none, or the connection has no name.
        """
        if not has_template(self.pipeline_id):
            parse_id(self.pipeline_id, "pipeline_id")
        if self.org_id is not None and not has_template(self.org_id):
            parse_id(self.org_id, "org_id")
        conn_id: object = self.enos_conn_id
        if not has_template(conn_id) and not (isinstance(conn_id, str) and conn_id.strip()):
            raise InvalidSettingError.of("enos_conn_id", conn_id, "the ID of an Airflow connection")

    @cached_property
    def hook(self) -> EnOSStreamingHook:
        """The hook of this try; killing the task ends its calls."""
        return EnOSStreamingHook(
            self.enos_conn_id, org_id=self.org_id, kill_switch=self._kill_switch
        )

    @cached_property
    def _kill_switch(self) -> KillSwitch:
        return KillSwitch()

    #: What the task has returned, for OpenLineage.
    _returned: Mapping[str, Any] | None = None

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage, where its provider is installed, which pipeline the task is about."""
        try:
            from airflow_provider_enos.lineage import lineage_of  # noqa: PLC0415 - optional

            return lineage_of(self.hook, self.pipeline_id, self._returned)
        except Exception as error:  # no task fails because of it
            self.hook.log.warning("OpenLineage is told nothing of the pipeline: %s", error)
            return None

    def get_openlineage_facets_on_complete(self, _: Any) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage what has come of it, and which topic the pipeline reads from."""
        return self.get_openlineage_facets_on_start()

    def _push_console_link(self, context: Context) -> None:
        """Let the button work while the task waits; Airflow itself does it at the end."""
        if url := self.console_url:
            try:
                context["ti"].xcom_push(key=PipelineConsoleLink().xcom_key, value=url)
            except Exception as error:
                self.hook.log.warning("The EnOS console button will not work yet: %s", error)

    @property
    def console_url(self) -> str:
        """Address of the pipeline in the EnOS console, ``""`` if it cannot be told."""
        try:
            return self.hook.console_link(parse_id(self.pipeline_id, "pipeline_id"))
        except EnOSError:
            return ""
