"""The arguments of a start: every form people write, and errors that name the path."""

import json

import pytest

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.api.start_settings import (
    ExecutionMode,
    ResourceConfig,
    StartSettings,
    YarnConfig,
    parse_id,
    parse_kafka_rate,
)

CLUSTER, STANDALONE = ExecutionMode.CLUSTER, ExecutionMode.STANDALONE

SPARK = {"spark.memory.fraction": "0.8", "spark.streaming.backpressure.enabled": "true"}
SPARK_LIST = [
    {"key": "spark.memory.fraction", "value": "0.8"},
    {"key": "spark.streaming.backpressure.enabled", "value": "true"},
]


def refusal_of(read, *args, **kwargs):
    with pytest.raises(InvalidSettingError) as caught:
        read(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ("standalone", STANDALONE),
        ("cluster", CLUSTER),
        (" Cluster ", CLUSTER),
        (0, STANDALONE),
        (1, CLUSTER),
        ("0", STANDALONE),
        ("1", CLUSTER),
        (CLUSTER, CLUSTER),
    ],
)
def test_execution_mode(given, mode):
    assert ExecutionMode.parse(given) is mode


@pytest.mark.parametrize("given", ["yarn", "", "2", 2, -1, True, False, None, [], {}, 0.5])
def test_wrong_execution_mode(given):
    assert refusal_of(ExecutionMode.parse, given) == (
        f"execution_mode: got {given!r}, allowed is 'standalone' (0) or 'cluster' (1)."
    )


@pytest.mark.parametrize(
    ("given", "rate"),
    [(1, 1), (1000, 1000), ("1000", 1000), (" 500 ", 500), (2.0, 2), (2147483647, 2147483647)],
)
def test_kafka_rate(given, rate):
    assert parse_kafka_rate(given) == rate
    assert isinstance(parse_kafka_rate(given), int)


@pytest.mark.parametrize(
    "given", [0, -5, 0.5, "0.5", "fast", "", None, True, "nan", "inf", float("nan"), [1000]]
)
def test_wrong_kafka_rate(given):
    assert refusal_of(parse_kafka_rate, given) == (
        f"kafka_rate: got {given!r}, allowed is a whole number of records per second from 1 to "
        "2147483647."
    )


@pytest.mark.parametrize("given", [2147483648, "1e300", 10**99])
def test_too_large_kafka_rate_is_told_the_limit(given):
    text = refusal_of(parse_kafka_rate, given)

    assert text.endswith("allowed is a whole number of records per second from 1 to 2147483647.")


A_1_B = [{"key": "a", "value": "1"}, {"key": "b", "value": "-Dx=2"}]


@pytest.mark.parametrize(
    ("given", "mode", "body"),
    [
        (None, STANDALONE, {}),
        ("", STANDALONE, {}),
        (" ", STANDALONE, {}),
        ("null", STANDALONE, {}),
        ({}, STANDALONE, {}),
        (2, STANDALONE, {"server": 2}),
        (0.5, STANDALONE, {"server": 0.5}),
        ("2", STANDALONE, {"server": 2}),
        ("0.5", None, {"server": 0.5}),
        ({"server": 1}, STANDALONE, {"server": 1}),
        ({"server": "1"}, STANDALONE, {"server": 1}),
        ({"server": " 0.5 "}, STANDALONE, {"server": 0.5}),
        ({"server": 1.0}, STANDALONE, {"server": 1}),
        ({"server": None, "yarn": None, "advanced": None}, STANDALONE, {}),
        ({"server": 1, "advanced": []}, STANDALONE, {"server": 1}),
        ('{"server": 1}', STANDALONE, {"server": 1}),
        (ResourceConfig(server=1), STANDALONE, {"server": 1}),
        (
            {"yarn": {"workerCount": "2", "master": 1, "slave": 0.5}},
            CLUSTER,
            {"yarn": {"workerCount": 2, "master": 1, "slave": 0.5}},
        ),
        ({"yarn": {"workerCount": 2}}, CLUSTER, {"yarn": {"workerCount": 2}}),
        ({"yarn": {"workerCount": None, "slave": None}}, STANDALONE, {}),
        ({"advanced": ["a = 1", "b=-Dx=2"]}, CLUSTER, {"advanced": A_1_B}),
        ({"advanced": SPARK}, CLUSTER, {"advanced": SPARK_LIST}),
        ({"advanced": SPARK_LIST}, CLUSTER, {"advanced": SPARK_LIST}),
        ({"advanced": tuple(SPARK_LIST)}, CLUSTER, {"advanced": SPARK_LIST}),
        (
            {"advanced": {"a": True, "b": False, "c": 2, "d": 0.8}},
            CLUSTER,
            {
                "advanced": [
                    {"key": "a", "value": "true"},
                    {"key": "b", "value": "false"},
                    {"key": "c", "value": "2"},
                    {"key": "d", "value": "0.8"},
                ]
            },
        ),
        (
            json.dumps({"server": 1, "yarn": {"slave": 2}, "advanced": SPARK}),
            CLUSTER,
            {"server": 1, "yarn": {"slave": 2}, "advanced": SPARK_LIST},
        ),
        (
            ResourceConfig(server=1, yarn=YarnConfig(2, 1, 2), advanced=SPARK),
            CLUSTER,
            {
                "server": 1,
                "yarn": {"workerCount": 2, "master": 1, "slave": 2},
                "advanced": SPARK_LIST,
            },
        ),
    ],
)
def test_resource_config_in_every_form(given, mode, body):
    assert ResourceConfig.parse(given, mode=mode).to_json() == body


@pytest.mark.parametrize(
    ("given", "mode", "text"),
    [
        (
            [1],
            None,
            "resource_config: got [1], allowed is an object with server, yarn, advanced.",
        ),
        (
            True,
            None,
            "resource_config: got True, allowed is an object with server, yarn, advanced.",
        ),
        (
            "2 CU",
            None,
            "resource_config: got '2 CU', allowed is JSON text, an object or a number.",
        ),
        (
            "{server: 1}",
            None,
            "resource_config: got '{server: 1}', allowed is JSON text, an object or a number.",
        ),
        (
            2,
            CLUSTER,
            "resource_config: got 2, allowed is an object with server, yarn and advanced in "
            "cluster mode.",
        ),
        (
            {"sever": 1},
            None,
            "resource_config.sever: got 1, allowed is one of the names server, yarn, advanced.",
        ),
        (
            {"server": 0},
            None,
            "resource_config.server: got 0, allowed is a number of CU above 0, at most 2147483647.",
        ),
        (
            {"server": "two"},
            None,
            "resource_config.server: got 'two', allowed is a number of CU above 0, "
            "at most 2147483647.",
        ),
        (
            {"server": True},
            None,
            "resource_config.server: got True, allowed is a number of CU above 0, "
            "at most 2147483647.",
        ),
        (
            '{"server": NaN}',
            None,
            "resource_config.server: got nan, allowed is a number of CU above 0, "
            "at most 2147483647.",
        ),
        (
            {"yarn": 3},
            CLUSTER,
            "resource_config.yarn: got 3, allowed is an object with workerCount, master, slave.",
        ),
        (
            {"yarn": {"slave": -1}},
            CLUSTER,
            "resource_config.yarn.slave: got -1, allowed is a number of CU above 0, "
            "at most 2147483647.",
        ),
        (
            {"yarn": {"master": "x"}},
            CLUSTER,
            "resource_config.yarn.master: got 'x', allowed is a number of CU above 0, "
            "at most 2147483647.",
        ),
        (
            {"yarn": {"workerCount": 1.5}},
            CLUSTER,
            "resource_config.yarn.workerCount: got 1.5, allowed is a number of workers from 1 to "
            "2147483647.",
        ),
        (
            {"yarn": {"workers": 1}},
            CLUSTER,
            "resource_config.yarn.workers: got 1, allowed is one of the names workerCount, "
            "master, slave.",
        ),
        (
            {"yarn": {"slave": 1}},
            STANDALONE,
            "resource_config.yarn: got {'slave': 1}, allowed is nothing in standalone mode; it is "
            "for execution_mode 'cluster'.",
        ),
        (
            {"advanced": {"a": "1"}},
            STANDALONE,
            "resource_config.advanced: got {'a': '1'}, allowed is nothing in standalone mode; it "
            "is for execution_mode 'cluster'.",
        ),
        (
            {"advanced": "a=1"},
            CLUSTER,
            "resource_config.advanced: got 'a=1', allowed is a list of "
            '{"key", "value"} or "name=value", or an object of Spark parameters.',
        ),
        (
            {"advanced": 1},
            CLUSTER,
            'resource_config.advanced: got 1, allowed is a list of {"key", "value"} or '
            '"name=value", or an object of Spark parameters.',
        ),
        (
            {"advanced": {"a": None}},
            CLUSTER,
            "resource_config.advanced.a: got None, allowed is a text, a number, true or false.",
        ),
        (
            {"advanced": [{"key": "a", "value": []}]},
            CLUSTER,
            "resource_config.advanced[0]: got [], allowed is a text, a number, true or false.",
        ),
        (
            {"advanced": [{"key": "a", "value": "1"}, "b:2"]},
            CLUSTER,
            "resource_config.advanced[1]: got 'b:2', allowed is name=value.",
        ),
        (
            {"advanced": ["=1"]},
            CLUSTER,
            "resource_config.advanced[0]: got '', allowed is the name of a Spark parameter as the "
            "key.",
        ),
        (
            {"advanced": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]},
            CLUSTER,
            "resource_config.advanced[1]: got 'a', allowed is each key once.",
        ),
        (
            {"advanced": [{"name": "a", "value": "1"}]},
            CLUSTER,
            "resource_config.advanced[0].name: got 'a', allowed is one of the names key, value.",
        ),
        (
            {"advanced": {" ": "1"}},
            CLUSTER,
            "resource_config.advanced. : got ' ', allowed is the name of a Spark parameter as the "
            "key.",
        ),
    ],
)
def test_wrong_resource_config_names_the_path(given, mode, text):
    assert refusal_of(ResourceConfig.parse, given, mode=mode) == text


def test_row_without_a_key_is_named_by_its_number():
    config = {"advanced": [{"key": "a", "value": "1"}, {"value": "2"}]}

    text = refusal_of(ResourceConfig.parse, config, mode=CLUSTER)

    assert text == (
        "resource_config.advanced[1]: got None, allowed is the name of a Spark parameter as the "
        "key."
    )


@pytest.mark.parametrize(
    ("advanced", "text"),
    [
        (
            r'[{"key": "a", "value": "\ud800"}]',
            r"resource_config.advanced[0]: got '\ud800', allowed is a text, a number, "
            "true or false.",
        ),
        (
            r'[{"key": "a\udfff", "value": "1"}]',
            r"resource_config.advanced[0]: got 'a\udfff', allowed is the name of a Spark parameter "
            "as the key.",
        ),
        (
            r'{"a": "x\ud800"}',
            r"resource_config.advanced.a: got 'x\ud800', allowed is a text, a number, "
            "true or false.",
        ),
    ],
)
def test_half_a_character_in_a_spark_parameter_is_refused(advanced, text):
    """JSON text can name one; UTF-8 cannot write it, so it could not be sent."""
    config = f'{{"advanced": {advanced}}}'

    assert refusal_of(ResourceConfig.parse, config, mode=CLUSTER) == text


@pytest.mark.parametrize("value", ["演示", "\U0001f600", "?", "a\nb", ""])
def test_any_other_text_is_a_spark_value(value):
    config = ResourceConfig.parse({"advanced": {"a": value}}, mode=CLUSTER)

    assert config.advanced == {"a": value}


@pytest.mark.parametrize(
    "config",
    [
        r'{"advanced": {"\ud800": "1"}}',
        r'{"a\nb": 1}',
        r'{"yarn": {"\u001b[31m": 1}}',
    ],
)
def test_path_in_an_error_can_be_logged(config):
    assert refusal_of(ResourceConfig.parse, config).isprintable()


def test_number_above_the_limit_is_told_the_limit():
    assert refusal_of(ResourceConfig.parse, 2147483648) == (
        "resource_config.server: got 2147483648, allowed is a number of CU above 0, at most "
        "2147483647."
    )


def test_nested_json_cannot_exhaust_the_stack():
    text = refusal_of(ResourceConfig.parse, "[" * 100_000)

    assert text.startswith("resource_config: got '[[[")
    assert len(text) < 250


def test_path_of_the_caller_stands_in_the_error():
    text = refusal_of(ResourceConfig.parse, {"server": 0}, path="params.resources")

    assert text.startswith("params.resources.server: got 0")


def test_start_with_defaults():
    settings = StartSettings.parse(pipeline_id=" p-1 ", execution_mode="standalone")

    assert settings.pipeline_id == "p-1"
    assert settings.to_json() == {"executionMode": 0, "kafkaRate": 1000}


def test_start_as_the_page_shows_it():
    settings = StartSettings.parse(
        pipeline_id="p-1",
        execution_mode="1",
        kafka_rate="500",
        resource_config={"server": "0.5", "yarn": {"slave": 2}, "advanced": {"a": "1"}},
    )

    assert settings.to_json() == {
        "executionMode": 1,
        "kafkaRate": 500,
        "resourceConfig": {
            "server": 0.5,
            "yarn": {"slave": 2},
            "advanced": [{"key": "a", "value": "1"}],
        },
    }


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"pipeline_id": "a/b"}, "pipeline_id"),
        ({"execution_mode": "fast"}, "execution_mode"),
        ({"kafka_rate": 0}, "kafka_rate"),
        ({"resource_config": "x"}, "resource_config"),
        ({"resource_config": {"yarn": {"slave": 1}}}, "resource_config.yarn"),
    ],
)
def test_wrong_start_names_the_field(wrong, field):
    arguments = {"pipeline_id": "p-1", "execution_mode": "standalone", **wrong}

    assert refusal_of(StartSettings.parse, **arguments).startswith(f"{field}: got ")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("565c0114-9585-4372-86d1-50dde5ab8ce4", "565c0114-9585-4372-86d1-50dde5ab8ce4"),
        (" o15517683199241\n", "o15517683199241"),
        (15517683199241, "15517683199241"),
        ("管道", "管道"),
        ("a.b", "a.b"),
        ("x" * 200, "x" * 200),
    ],
)
def test_id(given, found):
    assert parse_id(given, "pipeline_id") == found


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        None,
        7.5,
        True,
        b"p-1",
        ".",
        "..",
        "a/b",
        "../token/get",
        "a\\b",
        "a%2Fb",
        "a?action=stop",
        "a#b",
        "a b",
        "a\u00a0b",
        "a\r\nHost: evil",
        "a\nb",
        "a\tb",
        "a\x00b",
        "a\u200bb",
        "\ud800",
        "null",
        "NULL",
        "None",
        "x" * 201,
        "x" * 10_000,
    ],
)
def test_id_that_could_lead_to_another_address_is_refused(given):
    text = refusal_of(parse_id, given, "pipeline_id")

    assert text.startswith("pipeline_id: got ")
    assert text.endswith(", allowed is the ID as the EnOS console shows it.")
    assert text.isprintable()
    assert len(text) < 200
