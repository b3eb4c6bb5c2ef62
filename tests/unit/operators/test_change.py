"""The operators that change a pipeline, without EnOS: arguments, deferral and verdicts."""

import time
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferralTimeout

from airflow_provider_enos.api.errors import InvalidSettingError, StatusTimeoutError
from airflow_provider_enos.operators.streaming import (
    PausePipelineOperator,
    ReleasePipelineOperator,
    ResetPipelineOffsetOperator,
    StartPipelineOperator,
    StopPipelineOperator,
)
from airflow_provider_enos.triggers.streaming import ChangePipelineTrigger

BEGUN = 1767225600.0  # 2026-01-01, as in the context fixture
POLICIES = {
    StopPipelineOperator: "if_not_running",
    PausePipelineOperator: "if_not_running",
    ReleasePipelineOperator: "if_not_stopped",
    ResetPipelineOffsetOperator: "if_not_stopped",
}
OPERATORS = list(POLICIES)


def fail(task, context, *, may_have_worked):
    """Let a try of the task end red."""
    error = StatusTimeoutError("too late").to_payload()
    event = {"status": "error", **error, "may_have_worked": may_have_worked}
    with pytest.raises(StatusTimeoutError, match="too late"):
        task.execute_complete(context, event)


def deferral(task, context):
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    return deferred.value


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pipeline_id": "a/../b"}, "pipeline_id: got 'a/../b', allowed is the ID"),
        ({"org_id": "o 1"}, "org_id: got 'o 1', allowed is the ID"),
        ({"poll_interval_seconds": 0}, "poll_interval_seconds: got 0, allowed is a timedelta"),
    ],
)
def test_wrong_argument_breaks_the_dag_import(operator, arguments, message):
    with pytest.raises(InvalidSettingError) as error:
        operator(**{"task_id": "change", "pipeline_id": "p-1"} | arguments)

    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("operator", "policy"), POLICIES.items())
def test_wrong_policy_breaks_the_dag_import(operator, policy):
    with pytest.raises(InvalidSettingError, match=f"{policy}: got 'explode', allowed is 'succeed'"):
        operator(task_id="change", pipeline_id="p-1", **{policy: "explode"})


@pytest.mark.parametrize(
    "started_by",
    ["started", {}, {"pipeline_id": "p-2", "outcome": "started"}, {"pipeline_id": "p-1"}],
)
def test_what_is_no_result_of_the_pipelines_start_breaks_the_dag_import(started_by):
    with pytest.raises(InvalidSettingError, match=r"started_by: got .*, allowed is the result"):
        StopPipelineOperator(task_id="stop", pipeline_id="p-1", started_by=started_by)


def test_stop_depends_on_the_start_that_it_undoes():
    with DAG("setup_and_teardown", schedule=None):
        start = StartPipelineOperator(
            task_id="start", pipeline_id="p-1", execution_mode="standalone"
        ).as_setup()
        stop = StopPipelineOperator(
            task_id="stop", pipeline_id="p-1", started_by=start.output
        ).as_teardown(setups=start)

    assert stop.upstream_task_ids == {"start"}
    assert stop.is_teardown


def test_wrong_time_out_is_called_what_the_user_calls_it():
    with pytest.raises(InvalidSettingError, match="stop_timeout: got -1, allowed is a timedelta"):
        StopPipelineOperator(task_id="change", pipeline_id="p-1", stop_timeout=-1)
    with pytest.raises(InvalidSettingError, match="pause_timeout: got 'soon', allowed is a time"):
        PausePipelineOperator(task_id="change", pipeline_id="p-1", pause_timeout="soon")
    with pytest.raises(InvalidSettingError, match="release_timeout: got None, allowed is a time"):
        ReleasePipelineOperator(task_id="change", pipeline_id="p-1", release_timeout=None)
    with pytest.raises(InvalidSettingError, match="reset_timeout: got True, allowed is a timedel"):
        ResetPipelineOffsetOperator(task_id="change", pipeline_id="p-1", reset_timeout=True)


@pytest.mark.parametrize(("operator", "policy"), POLICIES.items())
def test_templates_are_left_for_the_run(operator, policy):
    task = operator(
        task_id="change",
        pipeline_id="{{ params.pipeline_id }}",
        org_id="{{ params.org_id }}",
        **{policy: "{{ params.policy }}"},
    )

    assert {"pipeline_id", "org_id", "enos_conn_id", policy} <= set(task.template_fields)


def test_trigger_is_told_that_the_start_may_have_been_a_moment_ago(context):
    task = StopPipelineOperator(
        task_id="change",
        pipeline_id="p-1",
        started_by={"pipeline_id": "p-1", "outcome": "started"},
        deferrable=True,
    )
    before = time.time()

    assert before <= deferral(task, context).trigger.started_at <= time.time()


def test_trigger_is_told_all_that_it_needs(context):
    task = StopPipelineOperator(
        task_id="change", pipeline_id="p-1", stop_timeout=60, deferrable=True
    )

    deferred = deferral(task, context)

    path, arguments = deferred.trigger.serialize()
    deadline = arguments.pop("deadline")
    assert path == "airflow_provider_enos.triggers.streaming.ChangePipelineTrigger"
    assert arguments == {
        "verb": "stop",
        "pipeline_id": "p-1",
        "org_id": "o1",
        "enos_conn_id": "enos_default",
        "limit": "stop_timeout",
        "poll_interval_seconds": 5.0,
        "started_at": 0.0,
        "earlier_try": False,
    }
    assert deadline == pytest.approx(time.time() + 60, abs=10)
    assert deferred.timeout > timedelta(minutes=10)
    assert context["ti"].xcoms["_link_PipelineConsoleLink"] == "https://console.invalid/o1/p-1"
    assert ChangePipelineTrigger(**arguments, deadline=deadline).serialize() == (
        path,
        arguments | {"deadline": deadline},
    )


def test_execution_timeout_counts_from_the_start_of_the_task(context):
    task = PausePipelineOperator(
        task_id="change",
        pipeline_id="p-1",
        execution_timeout=timedelta(seconds=30),
        deferrable=True,
    )

    arguments = deferral(task, context).trigger.serialize()[1]

    assert arguments["deadline"] == BEGUN + 30
    assert arguments["limit"] == "execution_timeout"


def test_second_try_knows_of_the_first_one(context):
    task = StopPipelineOperator(task_id="change", pipeline_id="p-1", deferrable=True)
    fail(task, context, may_have_worked=True)

    assert deferral(task, context).trigger.earlier_try


@pytest.mark.parametrize("may_have_worked", [True, False])
def test_failed_try_is_remembered_only_if_it_may_have_worked(context, may_have_worked):
    task = StopPipelineOperator(task_id="change", pipeline_id="p-1", deferrable=True)
    fail(task, context, may_have_worked=True)
    fail(task, context, may_have_worked=may_have_worked)

    assert deferral(task, context).trigger.earlier_try is may_have_worked


@pytest.mark.parametrize(("outcome", "remembered"), [("stopped", True), ("already_stopped", False)])
def test_what_was_so_already_is_not_remembered_as_ours(context, outcome, remembered):
    task = StopPipelineOperator(task_id="change", pipeline_id="p-1", deferrable=True)
    fail(task, context, may_have_worked=not remembered)
    result = {
        "pipeline_id": "p-1",
        "org_id": "o1",
        "outcome": outcome,
        "status": "STOPPED",
        "attempts": 1,
        "waited_seconds": 1.0,
    }

    task.execute_complete(context, {"status": "success", "result": result})

    assert deferral(task, context).trigger.earlier_try is remembered


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, {"status": "error"}])
def test_malformed_event_fails_the_task(context, event):
    task = StopPipelineOperator(task_id="change", pipeline_id="p-1")

    with pytest.raises(ValueError, match="Cannot read the trigger's event"):
        task.execute_complete(context, event)


def test_deferral_that_airflow_ended_names_the_pipeline(context):
    task = PausePipelineOperator(task_id="change", pipeline_id="p-1")

    with pytest.raises(TaskDeferralTimeout, match="was pausing pipeline p-1, which may go on"):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)


def test_default_args_and_mapping_reach_what_the_operators_share():
    with DAG(
        "changes", schedule=None, default_args={"org_id": "o2", "poll_interval_seconds": 1}
    ) as dag:
        StopPipelineOperator(task_id="one", pipeline_id="p-1")
        StopPipelineOperator.partial(task_id="many", enos_conn_id="other").expand(
            pipeline_id=["p-1", "p-2"]
        )

    one, second = dag.get_task("one"), dag.get_task("many").unmap({"pipeline_id": "p-2"})
    assert (one.org_id, one.poll_interval_seconds) == ("o2", 1)
    assert (second.pipeline_id, second.org_id, second.enos_conn_id) == ("p-2", "o2", "other")
