"""
The asset of a pipeline: ``enos://gateway/organization/pipeline``.

The operators emit an event of it when they have changed the pipeline, so that other DAGs can be
scheduled on it: ``schedule=[create_asset(...)]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_enos.api.start_settings import parse_id

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset

#: All events of our operators stand in its name; which assets they are of is known at run time.
PIPELINES = AssetAlias("enos_pipelines", group="enos")

_HTTPS_PORT = ":443"


def create_asset(*, host: str, org_id: str, pipeline_id: str, **more: Any) -> Asset:
    """
    Return the asset of a pipeline.

    Its name is its URI: Airflow has one name for each URI, whoever comes first, and an asset of
    another name stays inactive then.

    :param host: Of the API gateway, with the port if it is not that of the scheme.
    :param org_id: Organization ID.
    :param pipeline_id: Pipeline ID.
    :param more: What else an ``Asset`` takes, e.g. ``watchers``.
    :raises InvalidSettingError: an ID is none.
    """
    org_id, pipeline_id = parse_id(org_id, "org_id"), parse_id(pipeline_id, "pipeline_id")
    uri = sanitize_uri(urlsplit(f"enos://{host}/{org_id}/{pipeline_id}")).geturl()
    return Asset(name=uri, uri=uri, **more)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Spell an asset's URI in one way; Airflow calls it for all that begin with ``enos:``.

    :raises ValueError: it is not ``enos://gateway/organization/pipeline``.
    """
    ids = uri.path.split("/")[1:]
    if not uri.netloc or len(ids) != 2 or uri.query:
        allowed = "enos://gateway/organization/pipeline"
        raise ValueError(f"asset URI: got {uri.geturl()!r}, allowed is {allowed}")
    for name, value in zip(("org_id", "pipeline_id"), ids, strict=True):
        parse_id(value, name)
    return uri._replace(netloc=uri.netloc.lower().removesuffix(_HTTPS_PORT))


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> Dataset:
    """Return the asset in the words of OpenLineage."""
    from airflow.providers.common.compat.openlineage.facet import (  # noqa: PLC0415 - optional
        Dataset,
    )

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"enos://{uri.netloc}", name=uri.path.removeprefix("/"))
