"""The asset of a pipeline: one spelling of its address."""

import pytest
from airflow.models.asset import AssetModel
from airflow.sdk import Asset

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.assets import (
    MAX_URI_LENGTH,
    PIPELINES,
    convert_asset_to_openlineage,
    create_asset,
)


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
        "enos://APIM.example.com/o1/%70%2D1",
        "enos://apim.example.com/%6f1/p-1",
    ],
)
def test_character_and_its_code_are_the_same(uri):
    assert Asset(uri=uri).uri == "enos://apim.example.com/o1/p-1"


@pytest.mark.parametrize(
    ("host", "org_id", "pipeline_id", "uri"),
    [
        ("h", "o1", "管道-1", "enos://h/o1/%E7%AE%A1%E9%81%93-1"),
        ("h", "组织", "p-1", "enos://h/%E7%BB%84%E7%BB%87/p-1"),
        ("网关.example:8443", "o1", "p-1", "enos://xn--d6q013i.example:8443/o1/p-1"),
        ("Bücher.example", "o1", "p-1", "enos://xn--bcher-kva.example/o1/p-1"),
        ("[2001:DB8::1]:8443", "o1", "p-1", "enos://[2001:db8::1]:8443/o1/p-1"),
        ("h", "o1", "a:b@c&d='e'", "enos://h/o1/a%3Ab%40c%26d%3D%27e%27"),
        ("h", "o1", "😀", "enos://h/o1/%F0%9F%98%80"),
    ],
)
def test_what_airflow_would_refuse_is_encoded(host, org_id, pipeline_id, uri):
    asset = create_asset(host=host, org_id=org_id, pipeline_id=pipeline_id)

    assert asset.uri == asset.name == uri
    # What Airflow's API server makes of an asset; it takes only ASCII characters.
    assert AssetModel(name=asset.name, uri=asset.uri).uri == uri
    for spelling in (f"enos://{host}/{org_id}/{pipeline_id}", uri.replace("%E7", "%e7")):
        assert Asset("mine", uri=spelling).uri == uri


def test_asset_whose_uri_airflow_cannot_store_is_refused():
    longest = "管" * ((MAX_URI_LENGTH - len("enos://h/o1/")) // len("%E7%AE%A1"))
    create_asset(host="h", org_id="o1", pipeline_id=longest)

    with pytest.raises(InvalidSettingError, match=r"asset URI: got .* at most 1500 characters"):
        create_asset(host="h", org_id="o1", pipeline_id=longest + "管")
    assert AssetModel.__table__.c.uri.type.length == MAX_URI_LENGTH


def test_asset_of_all_pipelines_can_be_stored():
    assert AssetModel(name=PIPELINES.name, uri=PIPELINES.uri).uri == "enos_pipelines"


@pytest.mark.parametrize(
    "uri",
    [
        "enos:///o1/p-1",
        "enos://apim.example.com",
        "enos://apim.example.com/o1",
        "enos://apim.example.com/o1/p-1/more",
        "enos://apim.example.com/o1/p%201",
        "enos://apim.example.com/o1/p-1?x=1",
        "enos://apim.example.com/o1/%ff",
        "enos://apim.example.com/o1/%00",
        "enos://apim.example.com/o1/a%2Fb",
        "enos://" + "h" * 64 + ".example/o1/p-1",
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


def test_asset_that_is_encoded_in_the_words_of_openlineage():
    asset = create_asset(host="h", org_id="o1", pipeline_id="管道-1")

    assert convert_asset_to_openlineage(asset, None).name == "o1/%E7%AE%A1%E9%81%93-1"
