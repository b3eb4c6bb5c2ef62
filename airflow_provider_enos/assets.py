"""
Assets: ``enos_pipelines`` for all pipelines, and ``enos://gateway/organization/pipeline`` for one.

The operators emit events of them when they have changed a pipeline, so that other DAGs can be
scheduled on them: ``schedule=[PIPELINES]`` or ``schedule=[create_asset(...)]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow.providers.common.compat.sdk import Asset

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.api.start_settings import parse_id

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset

#: An outlet of every operator: it has an event of each change of a pipeline, whichever it is.
PIPELINES = Asset("enos_pipelines", group="enos")

#: Of what Airflow stores: ASCII characters.
MAX_URI_LENGTH = 1500

_HTTPS_PORT = ":443"


def create_asset(*, host: str, org_id: str, pipeline_id: str, **more: Any) -> Asset:
    """
    Return the asset of a pipeline.

    Its events are those of the tasks that have it among their ``outlets`` and have changed the
    pipeline. Its name is its URI: Airflow has one name for each URI, whoever comes first, and an
    asset of another name stays inactive then.

    :param host: Of the API gateway, with the port if it is not that of the scheme.
    :param org_id: Organization ID.
    :param pipeline_id: Pipeline ID.
    :param more: What else an ``Asset`` takes, e.g. ``watchers``.
    :raises InvalidSettingError: there can be no such asset.
    """
    uri = pipeline_uri(host=host, org_id=org_id, pipeline_id=pipeline_id)
    return Asset(name=uri, uri=uri, **more)


def pipeline_uri(*, host: str, org_id: str, pipeline_id: str) -> str:
    """
    Return the URI of a pipeline's asset; see :func:`create_asset`.

    :raises InvalidSettingError: there can be no such asset.
    """
    org_id, pipeline_id = parse_id(org_id, "org_id"), parse_id(pipeline_id, "pipeline_id")
    return sanitize_uri(urlsplit(f"enos://{host}/{quote(org_id)}/{quote(pipeline_id)}")).geturl()


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Spell an asset's URI in one way; Airflow calls it for all that begin with ``enos:``.

    The API server takes ASCII characters only, and would fail a task that is done because of
    others: they are percent-encoded, the host as in DNS.

    :raises InvalidSettingError: it is not ``enos://gateway/organization/pipeline``, or too long.
    """
    try:
        host = uri.netloc.lower().removesuffix(_HTTPS_PORT).encode("idna").decode()
        ids = [unquote(one, errors="strict") for one in uri.path.split("/")[1:]]
    except UnicodeError:
        host, ids = "", []
    if not host or len(ids) != 2 or uri.query:
        allowed = "enos://gateway/organization/pipeline"
        raise InvalidSettingError.of("asset URI", uri.geturl(), allowed)
    for name, value in zip(("org_id", "pipeline_id"), ids, strict=True):
        parse_id(value, name)
    sanitized = uri._replace(netloc=host, path="".join(f"/{quote(one, safe='')}" for one in ids))
    if len(sanitized.geturl()) > MAX_URI_LENGTH:
        allowed = f"one of at most {MAX_URI_LENGTH} characters, those that are not ASCII encoded"
        raise InvalidSettingError.of("asset URI", uri.geturl(), allowed)
    return sanitized


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> Dataset:
    """Return the asset in the words of OpenLineage."""
    from airflow.providers.common.compat.openlineage.facet import (  # noqa: PLC0415 - optional
        Dataset,
    )

    namespace, name = openlineage_names(asset.uri)
    return Dataset(namespace=namespace, name=name)


def openlineage_names(uri: str) -> tuple[str, str]:
    """Return namespace and name of the dataset that stands for a pipeline."""
    parts = urlsplit(uri)
    return f"enos://{parts.netloc}", parts.path.removeprefix("/")
