"""The asset of a pipeline: one spelling of its address."""

import pytest
from airflow.sdk import Asset

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.assets import convert_asset_to_openlineage, create_asset


def test_asset_names_gateway_organization_and_pipeline():
    asset = create_asset(host="apim.example.com", org_id="o1", pipeline_id="p-1")

    assert asset.uri == asset.name == "enos://apim.example.com/o1/p-1"


def test_asset_has_one_name_however_its_gateway_is_spelled():
    asset = create_asset(host="APIM.example.com:443", org_id="o1", pipeline_id="p-1", group="g")

    assert asset.uri == asset.name == "enos://apim.example.com/o1/p-1"
    assert asset.group == "g"


@pytest.mark.parametrize(
    "uri",
    [
        "enos://APIM.example.com/o1/p-1",
        "enos://apim.example.com:443/o1/p-1",
        "ENOS://apim.example.com/o1/p-1/",
    ],
)
def test_airflow_spells_an_asset_in_one_way(uri):
    assert Asset(uri=uri).uri == "enos://apim.example.com/o1/p-1"


@pytest.mark.parametrize(
    "uri",
    [
        "enos:///o1/p-1",
        "enos://apim.example.com",
        "enos://apim.example.com/o1",
        "enos://apim.example.com/o1/p-1/more",
        "enos://apim.example.com/o1/p%201",
        "enos://apim.example.com/o1/p-1?x=1",
    ],
)
def test_what_is_no_asset_of_ours_is_refused(uri):
    with pytest.raises(ValueError, match=r"asset URI: got|pipeline_id: got"):
        Asset(uri=uri)


def test_wrong_id_is_refused():
    with pytest.raises(InvalidSettingError, match="pipeline_id: got 'a/b'"):
        create_asset(host="apim.example.com", org_id="o1", pipeline_id="a/b")


def test_asset_in_the_words_of_openlineage():
    asset = create_asset(host="apim.example.com", org_id="o1", pipeline_id="p-1")

    dataset = convert_asset_to_openlineage(asset, None)

    assert (dataset.namespace, dataset.name) == ("enos://apim.example.com", "o1/p-1")
