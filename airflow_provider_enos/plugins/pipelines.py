"""The "EnOS pipelines" page of the Airflow UI, as Airflow's plugin manager wants to hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

#: Where the API server serves the page's program and data.
URL_PREFIX = "/enos"


class PipelinesApp:
    """The page's server side; built for the first request, as every Airflow process loads this."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        from airflow_provider_enos.plugins.pipelines_app import app  # noqa: PLC0415 - start-up cost

        await app(scope, receive, send)


class EnOSPlugin(AirflowPlugin):
    """Browse > EnOS pipelines: the pipelines of an organization, and who has started them."""

    name = "enos"
    fastapi_apps: list[Any] = [  # noqa: RUF012 - as Airflow declares it
        {"name": "EnOS pipelines", "app": PipelinesApp(), "url_prefix": URL_PREFIX}
    ]
    react_apps: list[Any] = [  # noqa: RUF012
        {
            "name": "EnOS pipelines",
            "bundle_url": f"{URL_PREFIX.removeprefix('/')}/pipelines.js",
            "destination": "nav",
            "category": "browse",
            "url_route": "enos_pipelines",
        }
    ]
