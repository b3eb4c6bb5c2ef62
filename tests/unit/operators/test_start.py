"""The start operator without EnOS: arguments, deferral, memory and verdicts."""

import time
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk import DAG, Param, XComArg
from airflow.sdk.exceptions import TaskDeferralTimeout

from airflow_provider_enos.api.errors import (
    InvalidSettingError,
    PipelineNotFoundError,
    ResourceNotEnoughError,
    StatusTimeoutError,
    TaskKilledError,
)
from airflow_provider_enos.api.start_settings import ExecutionMode, ResourceConfig
from airflow_provider_enos.operators.streaming import StartPipelineOperator
from airflow_provider_enos.retries import EnOSRetryPolicy
from airflow_provider_enos.triggers.streaming import StartPipelineTrigger

BEGUN = 1767225600.0  # 2026-01-01, as in the context fixture

RESULT = {
    "pipeline_id": "p-1",
    "org_id": "o1",
    "outcome": "started",
    "status": "RUNNING",
    "attempts": 2,
    "conflicts": 1,
    "waited_seconds": 3.5,
}


def operator(**arguments):
    needed = {"task_id": "start", "pipeline_id": "p-1", "execution_mode": "standalone"}
    return StartPipelineOperator(**needed | arguments)


def fail(context, *, may_have_worked):
    """Let a try of the task end red."""
    error = ResourceNotEnoughError("full", code=61126)
    event = {"status": "error", "may_have_worked": may_have_worked, **error.to_payload()}
    with pytest.raises(ResourceNotEnoughError):
        operator().execute_complete(context, event)


def deferral(task, context):
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    return deferred.value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"execution_mode": "both"}, "execution_mode: got 'both', allowed is"),
        ({"execution_mode": True}, "execution_mode: got True, allowed is"),
        ({"kafka_rate": 0}, "kafka_rate: got 0, allowed is a whole number"),
        ({"kafka_rate": "many"}, "kafka_rate: got 'many', allowed is a whole number"),
        ({"pipeline_id": "a/../b"}, "pipeline_id: got 'a/../b', allowed is the ID"),
        ({"org_id": "o 1"}, "org_id: got 'o 1', allowed is the ID"),
        ({"resource_config": {"sever": 1}}, "resource_config.sever: got 1, allowed is"),
        ({"resource_config": '{"server": 0}'}, "resource_config.server: got 0, allowed is"),
        ({"resource_config": {"yarn": {"slave": 1}}}, "resource_config.yarn: got"),
        (
            {"execution_mode": 1, "resource_config": {"yarn": {"slave": "x"}}},
            "resource_config.yarn.slave: got 'x', allowed is a number of CU above 0",
        ),
        ({"if_running": "explode"}, "if_running: got 'explode', allowed is 'succeed', 'fail'"),
        ({"on_kill": "pause"}, "on_kill: got 'pause', allowed is 'leave', 'stop'"),
        ({"conflict_timeout": -1}, "conflict_timeout: got -1, allowed is a timedelta"),
        ({"start_timeout": "soon"}, "start_timeout: got 'soon', allowed is a timedelta"),
        ({"poll_interval_seconds": 0}, "poll_interval_seconds: got 0, allowed is a timedelta"),
    ],
)
def test_wrong_argument_breaks_the_dag_import_and_names_field_given_and_allowed(arguments, message):
    with pytest.raises(InvalidSettingError) as error:
        operator(**arguments)

    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "arguments",
    [
        {"execution_mode": "{{ params.mode }}"},
        {"kafka_rate": "{{ 1000 }}"},
        {"pipeline_id": "{{ params.pipeline_id }}"},
        {"resource_config": {"server": "{{ params.cu }}"}},
        {"resource_config": {"advanced": [{"key": "{{ 'a' }}", "value": "b"}]}},
        {"resource_config": "{% if 1 %}1{% endif %}"},
        {"resource_config": "resources.json"},
        {"org_id": "{{ var.value.org }}"},
        {"if_running": "{{ params.if_running }}"},
    ],
)
def test_templates_are_not_judged_before_they_are_rendered(arguments):
    assert operator(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"execution_mode": ExecutionMode.CLUSTER, "resource_config": ResourceConfig(server=0.5)},
        {"execution_mode": "1", "kafka_rate": "500", "resource_config": {"server": "0.5"}},
        {"execution_mode": "Cluster", "resource_config": {"advanced": {"a.b": True}}},
        {"execution_mode": 0, "resource_config": 2},
        {"execution_mode": "STANDALONE", "resource_config": ""},
    ],
)
def test_what_people_write_is_accepted(arguments):
    assert operator(**arguments)


def test_value_that_a_template_renders_to_is_judged_before_anything_is_sent(context):
    task = operator(kafka_rate="{{ params.rate }}", deferrable=True)
    task.kafka_rate = ""

    with pytest.raises(AirflowFailException, match="kafka_rate: got '', allowed is a whole number"):
        task.execute(context)


def test_missing_organization_fails_for_good_and_says_where_to_put_it(context, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ENOS_DEFAULT", "enos://a:b@enos.invalid")

    with pytest.raises(AirflowFailException, match=r"org_id: none is given.*'enos_default'"):
        operator(deferrable=True).execute(context)


def test_deferral_carries_checked_values_absolute_times_and_no_secret(context):
    task = operator(
        execution_mode="cluster",
        kafka_rate="700",
        resource_config='{"server": "0.5", "advanced": {"x": true}}',
        conflict_timeout=60,
        start_timeout=timedelta(minutes=2),
        execution_timeout=timedelta(minutes=5),
        deferrable=True,
        on_kill="stop",
    )

    before = time.time()
    deferred = deferral(task, context)

    path, arguments = deferred.trigger.serialize()
    assert before <= arguments.pop("begun_at") <= time.time()
    assert path == "airflow_provider_enos.triggers.streaming.StartPipelineTrigger"
    assert arguments == {
        "pipeline_id": "p-1",
        "execution_mode": 1,
        "kafka_rate": 700,
        "resource_config": {"server": 0.5, "advanced": [{"key": "x", "value": "true"}]},
        "org_id": "o1",
        "enos_conn_id": "enos_default",
        "wait_for_running": True,
        "conflict_timeout_seconds": 60.0,
        "start_timeout_seconds": 120.0,
        "poll_interval_seconds": 5.0,
        "deadline": BEGUN + 300,
        "earlier_try": False,
        "stop_on_kill": True,
    }
    assert deferred.method_name == "execute_complete"
    assert deferred.timeout == timedelta(minutes=13)


def test_console_link_is_pushed_before_the_wait(context):
    deferral(operator(deferrable=True), context)

    assert context["ti"].xcoms == {"_link_PipelineConsoleLink": "https://console.invalid/o1/p-1"}


def test_second_try_knows_that_the_first_may_have_started_the_pipeline(context):
    first = deferral(operator(deferrable=True), context)
    fail(context, may_have_worked=True)
    second = deferral(operator(deferrable=True), context)

    assert first.trigger.earlier_try is False
    assert second.trigger.earlier_try is True


@pytest.mark.parametrize(
    "change", ["cleared", "cleared alone", "other pipeline", "other organization"]
)
def test_memory_of_something_else_does_not_count(context, change):
    fail(context, may_have_worked=True)
    if change == "cleared":
        context["dag_run"].clear_number = 1
    if change == "cleared alone":  # without its run
        context["ti"].max_tries += 1
    other = {
        "other pipeline": {"pipeline_id": "p-2"},
        "other organization": {"org_id": "o2"},
    }.get(change, {})

    again = deferral(operator(deferrable=True, **other), context)

    assert again.trigger.earlier_try is False


def test_airflow_without_a_state_store_starts_all_the_same(context):
    del context["task_state_store"]

    assert deferral(operator(deferrable=True), context).trigger.earlier_try is False


def test_event_of_success_becomes_the_result(context):
    event = {"status": "success", "result": RESULT}

    assert operator().execute_complete(context, event) == RESULT


@pytest.mark.parametrize(
    "event",
    [None, {}, {"status": "success"}, {"status": "well"}, {"status": "error"}, {"result": RESULT}],
)
def test_malformed_event_fails_the_task_instead_of_succeeding(context, event):
    with pytest.raises(ValueError, match="Cannot read the trigger's event"):
        operator().execute_complete(context, event)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (PipelineNotFoundError("gone", code=61108), AirflowFailException),
        (ResourceNotEnoughError("full", code=61126), ResourceNotEnoughError),
    ],
)
def test_error_event_fails_for_good_only_when_another_try_is_useless(context, error, raised):
    event = {"status": "error", "may_have_worked": False, **error.to_payload()}

    with pytest.raises(raised, match=f"EnOS code {error.code}") as failure:
        operator().execute_complete(context, event)

    assert type(failure.value) is raised


def test_trouble_of_the_trigger_with_the_connection_fails_the_task_for_good(context):
    """Without a worker before, it is the first to read the connection; the worker cannot either."""
    task = operator(enos_conn_id="no_such_connection", start_from_trigger=True)
    error = InvalidSettingError("The conn_id `no_such_connection` isn't defined")
    event = {"status": "error", "may_have_worked": False, "conflicts": 0, **error.to_payload()}

    with pytest.raises(AirflowFailException, match="isn't defined"):
        task.execute_complete(context, event)


@pytest.mark.parametrize(("may_have_started", "remembered"), [(True, True), (False, False)])
def test_failed_try_is_remembered_only_if_it_may_have_started_the_pipeline(
    context, may_have_started, remembered
):
    fail(context, may_have_worked=True)
    fail(context, may_have_worked=may_have_started)

    assert deferral(operator(deferrable=True), context).trigger.earlier_try is remembered


@pytest.mark.parametrize(("outcome", "remembered"), [("started", True), ("already_running", False)])
def test_what_was_running_already_is_not_remembered_as_ours(context, outcome, remembered):
    """The worker may die before Airflow knows that the task was green."""
    fail(context, may_have_worked=not remembered)

    operator().execute_complete(
        context, {"status": "success", "result": RESULT | {"outcome": outcome}}
    )

    assert deferral(operator(deferrable=True), context).trigger.earlier_try is remembered


def test_dry_run_shows_the_request_and_hides_what_is_secret(connection, capsys):
    task = operator(resource_config={"server": 1}, org_id="o7")

    task.dry_run()

    shown = capsys.readouterr().out
    assert (
        "POST https://127.0.0.1:9/streaming/v2.0/streaming/pipeline/p-1?action=start&orgId=o7"
        in shown
    )
    assert '"kafkaRate": 1000' in shown
    assert "apim-signature: ***" in shown
    assert "the-secret-key" not in shown


def test_start_from_trigger_tells_the_scheduler_all_that_the_trigger_needs(connection):
    task = operator(
        pipeline_id="{{ params.p }}",
        execution_mode=ExecutionMode.CLUSTER,
        resource_config=ResourceConfig(server=1),
        start_from_trigger=True,
    )

    arguments = task.start_trigger_args
    trigger = StartPipelineTrigger(**arguments.trigger_kwargs)
    assert task.start_from_trigger is True
    assert arguments.trigger_cls == trigger.serialize()[0]
    assert arguments.next_method == "execute_complete"
    assert trigger.pipeline_id == "{{ params.p }}"
    assert trigger.execution_mode == 1
    assert trigger.resource_config == {"server": 1}
    assert trigger.begun_at is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"pipeline_id": "{{ ti.xcom_pull(task_ids='up') }}"},
        {"resource_config": {"server": "{{ ti.xcom_pull('up') }}"}},
        {"resource_config": {"{{ ti.xcom_pull('up') }}": 1}},
        {"resource_config": "{% set f = ti.xcom_pull %}{{ f('up') }}"},
        {"resource_config": "resources.json"},
        {"if_running": "restart"},
        {"if_running": "{{ params.x }}"},
    ],
)
def test_start_from_trigger_refuses_what_the_triggerer_cannot_do(arguments):
    with pytest.raises(InvalidSettingError, match="start_from_trigger=True"):
        operator(start_from_trigger=True, **arguments)


def test_start_from_trigger_refuses_the_output_of_another_task():
    """The triggerer would get a reference instead of the value, and start a wrong pipeline."""
    with DAG("d", schedule=None):
        other = operator(task_id="other")

        with pytest.raises(InvalidSettingError, match="no value of another task"):
            operator(pipeline_id=XComArg(other), start_from_trigger=True)


@pytest.mark.parametrize("param", [Param(type="string"), Param(None, type="string")])
def test_start_from_trigger_refuses_params_that_would_end_the_triggerer(param):
    """Airflow 3.3 validates them in the triggerer before it looks at the run's conf."""
    with (
        DAG("d", schedule=None, params={"p": param}),
        pytest.raises(InvalidSettingError, match=r"params\['p'\]: it has no valid default"),
    ):
        operator(pipeline_id="{{ params.p }}", start_from_trigger=True)


def test_start_from_trigger_accepts_an_xcom_pull_that_works_there():
    text = "{{ ti.xcom_pull(task_ids='up', map_indexes=-1) }}"

    assert operator(pipeline_id=text, start_from_trigger=True).start_from_trigger is True


def test_retry_policy_is_ours_unless_the_dag_says_otherwise():
    other = EnOSRetryPolicy()
    with DAG("d", schedule=None, default_args={"retry_policy": other}):
        told = operator()

    assert isinstance(operator().retry_policy, EnOSRetryPolicy)
    assert told.retry_policy is other


def test_kill_before_anything_happened_ends_the_try_all_the_same(context):
    task = operator(on_kill="stop")

    task.on_kill()

    with pytest.raises(TaskKilledError):
        task.execute(context)


def test_wrong_type_of_wait_for_running_is_no_truth():
    with pytest.raises(InvalidSettingError, match="wait_for_running: got 'false', allowed is True"):
        operator(wait_for_running="false")


def test_deferral_that_airflow_ended_names_the_pipeline(context):
    with pytest.raises(
        TaskDeferralTimeout, match="that was starting pipeline p-1, which may go on"
    ):
        operator().resume_execution("__fail__", {"error": "Trigger timeout"}, context)


@pytest.mark.parametrize(
    ("note", "remembered"),
    [
        ({"try_number": 1, "may_have_worked": True}, True),
        ({"try_number": 1, "may_have_worked": False}, False),
        ({"try_number": 2, "may_have_worked": True}, False),
        (None, False),
    ],
)
def test_next_try_knows_what_a_trigger_had_done_that_airflow_ended(context, note, remembered):
    context["ti"].xcoms["enos_start"] = note
    with pytest.raises(TaskDeferralTimeout):
        operator().resume_execution("__fail__", {"error": "Trigger timeout"}, context)

    assert deferral(operator(deferrable=True), context).trigger.earlier_try is remembered


@pytest.mark.parametrize(("max_tries", "told"), [(0, False), (1, True)])
def test_next_try_in_the_triggerer_is_told_only_if_there_will_be_one(context, max_tries, told):
    """A person who clears the task wants it done afresh."""
    context["ti"].max_tries = max_tries
    event = {"status": "error", "may_have_worked": True, **StatusTimeoutError("late").to_payload()}

    with pytest.raises(StatusTimeoutError):
        operator(start_from_trigger=True).execute_complete(context, event)

    assert ("enos_start" in context["ti"].xcoms) is told


def test_missing_connection_fails_for_good(context, monkeypatch):
    with pytest.raises(AirflowFailException, match="enos_missing"):
        operator(enos_conn_id="enos_missing", deferrable=True).execute(context)


def test_broken_xcom_backend_costs_the_button_and_not_the_start(context):
    def push(key, value):
        raise RuntimeError("no XCom today")

    context["ti"].xcom_push = push

    assert deferral(operator(deferrable=True), context).trigger.pipeline_id == "p-1"


class BrokenStore:
    """A state store that cannot be reached."""

    def get(self, key):
        raise ConnectionError("no store today")

    def set(self, key, value):
        raise ConnectionError("no store today")

    def delete(self, key):
        raise ConnectionError("no store today")


def test_broken_state_store_neither_hides_a_verdict_nor_makes_one(context):
    context["task_state_store"] = BrokenStore()
    task = operator(deferrable=True)

    assert not deferral(task, context).trigger.earlier_try
    event = PipelineNotFoundError("no such pipeline", code=61108).to_payload()
    with pytest.raises(AirflowFailException, match="EnOS code 61108"):
        task.execute_complete(context, {"status": "error", **event, "may_have_worked": False})
