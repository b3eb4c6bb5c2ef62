"""Buttons on the task's page in the Airflow UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


class PipelineConsoleLink(BaseOperatorLink):
    """
    Opens the pipeline in the EnOS console.

    EnOS documents no address for it, so the button works when the connection's ``console_url`` is
    set, e.g. ``https://console.example.com/streaming/{org_id}/pipelines/{pipeline_id}``.
    """

    name = "EnOS console"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address; Airflow asks for it on the worker and stores it as XCom."""
        return str(getattr(operator, "console_url", "") or "")
