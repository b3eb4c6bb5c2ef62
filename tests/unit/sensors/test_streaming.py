"""The sensor without EnOS: arguments, deferral and verdicts on what the trigger saw."""

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from airflow.sdk.exceptions import TaskDeferralError

from airflow_provider_enos.api.errors import (
    EnOSNoAnswerError,
    InvalidSettingError,
    PipelineNotFoundError,
    StatusTimeoutError,
)
from airflow_provider_enos.sensors.streaming import PipelineStatusSensor


def sensor(**arguments):
    return PipelineStatusSensor(**{"task_id": "wait", "pipeline_id": "p-1"} | arguments)


def event_of(error):
    return {"status": "error", **error.to_payload()}


SEEN_RUNNING = {"status": "success", "result": {"pipeline_status": "RUNNING"}}
SEEN_FAILED = {"status": "success", "result": {"pipeline_status": "RUN_ERROR"}}
TIMED_OUT = event_of(StatusTimeoutError("pipeline p-1 is still PUBLISHED"))
GONE = event_of(PipelineNotFoundError("gone", code=61108))
NO_ANSWER = event_of(EnOSNoAnswerError("no answer"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pipeline_id": ""}, "pipeline_id: got '', allowed is the ID"),
        ({"target_statuses": []}, "target_statuses: got [], allowed is at least one status"),
        ({"target_statuses": [1]}, "target_statuses: got [1], allowed is a status such as"),
        ({"failed_statuses": ["running"]}, "failed_statuses: got ['RUNNING'], allowed is"),
    ],
)
def test_wrong_argument_breaks_the_dag_import_and_names_field_given_and_allowed(arguments, message):
    with pytest.raises(InvalidSettingError) as error:
        sensor(**arguments)

    assert str(error.value).startswith(message)


def test_templates_are_not_judged_before_they_are_rendered():
    assert sensor(pipeline_id="{{ params.p }}", target_statuses="{{ params.s }}")


def test_seen_target_is_the_result(context):
    assert sensor(deferrable=True).execute_complete(context, SEEN_RUNNING) == {
        "pipeline_id": "p-1",
        "org_id": "o1",
        "status": "RUNNING",
    }


@pytest.mark.parametrize(
    ("event", "plain", "soft_fail", "never_fail"),
    [
        (SEEN_FAILED, AirflowFailException, AirflowSkipException, AirflowSkipException),
        (GONE, AirflowFailException, AirflowSkipException, AirflowSkipException),
        (TIMED_OUT, AirflowSensorTimeout, AirflowSkipException, AirflowSensorTimeout),
        (NO_ANSWER, EnOSNoAnswerError, EnOSNoAnswerError, AirflowSkipException),
    ],
    ids=["failed", "gone", "timed out", "no answer"],
)
def test_bad_ends_are_what_they_are_in_poke_mode(context, event, plain, soft_fail, never_fail):
    """Airflow's own loop gives these exceptions when a poke raises or its time is over."""
    for option, raised in (({}, plain), ("soft_fail", soft_fail), ("never_fail", never_fail)):
        task = sensor(deferrable=True, **({option: True} if option else {}))

        with pytest.raises(raised) as error:
            task.resume_execution("execute_complete", {"event": event}, context)

        assert type(error.value) is raised, option


@pytest.mark.parametrize(
    ("option", "raised"),
    [(None, AirflowSensorTimeout), ("soft_fail", AirflowSkipException)],
)
def test_trigger_that_airflow_ended_is_a_timeout(context, option, raised):
    task = sensor(deferrable=True, **({option: True} if option else {}))

    with pytest.raises(raised, match="Sensor has timed out"):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)


@pytest.mark.parametrize(
    ("option", "raised"),
    [(None, TaskDeferralError), ("never_fail", AirflowSkipException)],
)
def test_trigger_that_crashed_fails_the_task(context, option, raised):
    task = sensor(deferrable=True, **({option: True} if option else {}))

    with pytest.raises(raised):
        task.resume_execution("__fail__", {"error": "Trigger failure"}, context)


@pytest.mark.parametrize("event", [{}, {"status": "success"}, {"status": "well"}])
def test_malformed_event_fails_the_task_instead_of_succeeding(context, event):
    with pytest.raises(AirflowFailException, match="Cannot read the trigger's event"):
        sensor(deferrable=True).execute_complete(context, event)


@pytest.mark.parametrize(
    "text", ["RUNNING, paused", "['RUNNING', 'PAUSED']", '["RUNNING","PAUSED"]']
)
def test_list_that_a_template_made_text_is_a_list_again(text):
    rule = sensor(target_statuses=text)._rule

    assert rule.targets == {"RUNNING", "PAUSED"}


def test_execution_timeout_ends_the_wait_in_the_triggerer_too(context):
    task = sensor(deferrable=True, timeout=600, execution_timeout=timedelta(seconds=60))

    assert task._deadline(context) == context["ti"].start_date.timestamp() + 60


@pytest.mark.parametrize(
    ("option", "raised"),
    [
        (None, AirflowTaskTimeout),
        ("soft_fail", AirflowSkipException),
        ("never_fail", AirflowSkipException),
    ],
)
def test_execution_timeout_in_the_triggerer_ends_like_that_of_a_worker(context, option, raised):
    """Airflow gives the task another try then, which it does not after a sensor's own timeout."""
    options = {option: True} if option else {}
    task = sensor(deferrable=True, timeout=600, execution_timeout=timedelta(seconds=60), **options)

    with pytest.raises(raised, match=r"after 60 seconds \(execution_timeout\): pipeline p-1 is"):
        task.execute_complete(context, TIMED_OUT)


@pytest.mark.parametrize("nothing", [None, "", "None"])
def test_template_without_a_value_leaves_the_failing_statuses_as_they_are(nothing):
    assert sensor(failed_statuses=nothing)._rule.failures is None


@pytest.mark.parametrize("nothing", ["", "None", "null", ["None"]])
def test_template_without_a_value_is_no_target(nothing):
    with pytest.raises(InvalidSettingError, match="target_statuses: got"):
        sensor(target_statuses=nothing)


def test_max_wait_may_be_a_timedelta():
    task = sensor(exponential_backoff=True, max_wait=timedelta(minutes=1))

    assert task.max_wait == timedelta(minutes=1)
