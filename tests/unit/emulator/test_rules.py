"""The tables and the check of a start body, without any state."""

import pytest

from airflow_provider_enos.emulator.rules import Refused, StartConfig, stage_shape, status_after


@pytest.mark.parametrize(
    ("action", "status", "after"),
    [
        ("release", "", "PUBLISHED"),
        ("release", "STOPPED", "PUBLISHED"),
        ("start", "PUBLISHED", "RUNNING"),
        ("start", "PAUSED", "RUNNING"),
        ("start", "STOPPED", "RUNNING"),
        ("start", "START_ERROR", "RUNNING"),
        ("pause", "RUNNING", "PAUSED"),
        ("stop", "RUNNING", "STOPPED"),
        ("stop", "PAUSED", "STOPPED"),
    ],
)
def test_allowed_moves(action, status, after):
    assert status_after(action, status) == after


@pytest.mark.parametrize(
    ("action", "status", "code", "message"),
    [
        ("start", "RUNNING", 61165, "job with status [RUNNING] cannot be started."),
        ("pause", "STOPPED", 61152, "cannot be changed from [STOPPED] to Paused."),
        ("stop", "PUBLISHED", 61152, "cannot be changed from [PUBLISHED] to Stopped."),
        ("stop", "STARTING", 61152, "cannot be changed from [STARTING] to Stopped."),
        ("release", "RUNNING", 61169, "because it is not stopped or paused."),
        ("release", "PUBLISHED", 61169, "because it is not stopped or paused."),
    ],
)
def test_refused_moves_name_the_status(action, status, code, message):
    with pytest.raises(Refused) as refused:
        status_after(action, status)

    assert refused.value.code == code
    assert refused.value.message.endswith(message)


def test_start_body_of_numbers():
    yarn = {"workerCount": 2, "master": 1, "slave": 2}
    config = StartConfig.of_body(
        {"executionMode": 1, "kafkaRate": 1000, "resourceConfig": {"server": 1, "yarn": yarn}}
    )

    assert (config.mode, config.kafka_rate) == ("Cluster", 1000)
    assert (config.server, config.yarn) == (1.0, 5.0)


def test_start_body_of_numeric_text_with_fraction():
    """The vendor's older sample code sends this."""
    config = StartConfig.of_body(
        {"executionMode": "0", "kafkaRate": "500", "resourceConfig": {"server": "0.5"}}
    )

    assert (config.mode, config.kafka_rate) == ("Standalone", 500)
    assert (config.server, config.yarn) == (0.5, 0.0)


@pytest.mark.parametrize(
    "advanced",
    [[{"key": "spark.memory.fraction", "value": "0.8"}], {"spark.memory.fraction": "0.8"}, []],
)
def test_advanced_in_both_documented_forms(advanced):
    body = {"executionMode": 1, "kafkaRate": 1, "resourceConfig": {"advanced": advanced}}

    assert StartConfig.of_body(body).yarn == 2.0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "the body is not a JSON object"),
        ([], "the body is not a JSON object"),
        ({"kafkaRate": 1}, "executionMode is not a number"),
        ({"executionMode": 2, "kafkaRate": 1}, "executionMode is neither 0 nor 1"),
        ({"executionMode": True, "kafkaRate": 1}, "executionMode is not a number"),
        ({"executionMode": "x", "kafkaRate": 1}, "executionMode is not a number"),
        ({"executionMode": "nan", "kafkaRate": 1}, "executionMode is not a number"),
        ({"executionMode": 0}, "kafkaRate is not a number"),
        ({"executionMode": 0, "kafkaRate": 0}, "kafkaRate is not positive"),
        ({"executionMode": 0, "kafkaRate": 1.5}, "kafkaRate is not a whole number"),
    ],
)
def test_wrong_start_body(body, reason):
    with pytest.raises(Refused) as refused:
        StartConfig.of_body(body)

    assert refused.value.code == 61100
    assert refused.value.message == f"The Stream configuration JSON is invalid. ({reason})"


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (2, "resourceConfig is not a JSON object"),
        ({"server": -1}, "server is not positive"),
        ({"yarn": 3}, "yarn is not a JSON object"),
        ({"yarn": {"workerCount": 1.5, "master": 1, "slave": 1}}, "workerCount is not a whole"),
        ({"yarn": {"workerCount": 1, "master": 1}}, "slave is not a number"),
        ({"advanced": "x"}, "advanced is neither"),
        ({"advanced": [{"key": "a", "value": 1}]}, "a key or value in advanced is not text"),
        ({"advanced": {"a": True}}, "a key or value in advanced is not text"),
    ],
)
def test_wrong_resource_config(resources, reason):
    with pytest.raises(Refused, match=f"[(]{reason}") as refused:
        StartConfig.of_body({"executionMode": 1, "kafkaRate": 1, "resourceConfig": resources})

    assert refused.value.code == 61100


def test_yarn_is_not_looked_at_in_standalone_mode():
    body = {"executionMode": 0, "kafkaRate": 1, "resourceConfig": {"yarn": "anything"}}

    assert StartConfig.of_body(body).yarn == 0.0


def test_stage_shape_by_the_operators_name():
    assert stage_shape("LatePointTagger_01") == "time"
    assert stage_shape("RecordCapturer") == "record"
    with pytest.raises(Refused) as refused:
        stage_shape("Unknown_01")
    assert refused.value.code == 61107
