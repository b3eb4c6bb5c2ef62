"""
What Airflow learns of this provider without importing it.

Every Airflow process reads this when it starts, hence no imports of Airflow or of our hooks.
"""

from __future__ import annotations

from typing import Any

_INTEGRATION = "EnOS"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, as Airflow's ``provider_info.schema.json`` wants it."""
    return {
        "package-name": "airflow-provider-enos",
        "name": "EnOS",
        "description": "Stream processing pipelines of EnOS, Envision's IoT platform.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/",
                "tags": ["service"],
            }
        ],
        "hooks": _modules("hooks"),
        "operators": _modules("operators"),
        "sensors": _modules("sensors"),
        "triggers": _modules("triggers", "streaming", "events"),
        "extra-links": ["airflow_provider_enos.links.PipelineConsoleLink"],
        "asset-uris": [
            {
                "schemes": ["enos"],
                "handler": "airflow_provider_enos.assets.sanitize_uri",
                "factory": "airflow_provider_enos.assets.create_asset",
                "to_openlineage_converter": (
                    "airflow_provider_enos.assets.convert_asset_to_openlineage"
                ),
            }
        ],
        "plugins": [
            {
                "name": "enos",
                "plugin-class": "airflow_provider_enos.plugins.pipelines.EnOSPlugin",
            }
        ],
        "connection-types": [
            {
                "connection-type": "enos",
                "hook-class-name": "airflow_provider_enos.hooks.streaming.EnOSStreamingHook",
                "hook-name": "EnOS",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "extra"],
                    "relabeling": {
                        "host": "Gateway URL",
                        "login": "Access key",
                        "password": "Secret key",
                    },
                    "placeholders": {
                        "host": "https://apim.example.com",
                        "login": "of the application: Application Registration > App Detail",
                        "password": "of the same application",
                        # https://github.com/apache/airflow/pull/73298
                        "port": "443 (the Test button of Airflow 3.3 needs it)",
                    },
                },
                "conn-fields": {
                    "org_id": _text_field(
                        "Organization ID", "EnOS console, IAM > Organization Profile; o and digits."
                    ),
                    "console_url": _text_field(
                        "Console URL template",
                        "Address of a pipeline's page in the EnOS console, with {pipeline_id} and "
                        "{org_id} in it; makes the 'EnOS console' button work.",
                    ),
                    "verify": _text_field(
                        "Verify TLS",
                        "true (default), the path of a CA bundle, or false (not recommended).",
                    ),
                    "proxy": _text_field("Proxy", "URL of an HTTP proxy for calls of EnOS."),
                    "request_timeout_seconds": {
                        "label": "Request timeout (seconds)",
                        "description": "Longest wait for one answer of EnOS; 30 by default.",
                        "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
                    },
                },
            }
        ],
    }


def _modules(layer: str, *names: str) -> list[dict[str, Any]]:
    return [
        {
            "integration-name": _INTEGRATION,
            "python-modules": [
                f"airflow_provider_enos.{layer}.{name}" for name in names or ("streaming",)
            ],
        }
    ]


def _text_field(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}
