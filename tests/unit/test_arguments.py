"""Arguments of all operators, sensors and triggers: one check for all, when the DAG is parsed."""

from datetime import timedelta

import pytest
from airflow.sdk import DAG

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.operators.streaming import (
    PausePipelineOperator,
    ReleasePipelineOperator,
    ResetPipelineOffsetOperator,
    StartPipelineOperator,
    StopPipelineOperator,
)
from airflow_provider_enos.sensors.streaming import PipelineLagSensor, PipelineStatusSensor
from airflow_provider_enos.triggers.events import PipelineStatusChangeTrigger

#: What each task needs, and its durations.
TASKS = {
    StartPipelineOperator: (
        {"execution_mode": "standalone"},
        ["conflict_timeout", "start_timeout", "poll_interval_seconds"],
    ),
    StopPipelineOperator: ({}, ["stop_timeout", "poll_interval_seconds"]),
    PausePipelineOperator: ({}, ["pause_timeout", "poll_interval_seconds"]),
    ReleasePipelineOperator: ({}, ["release_timeout", "poll_interval_seconds"]),
    ResetPipelineOffsetOperator: ({}, ["reset_timeout", "poll_interval_seconds"]),
    PipelineStatusSensor: ({}, ["timeout", "poke_interval", "max_wait"]),
    PipelineLagSensor: ({"max_lag": 0}, ["timeout", "poke_interval", "max_wait", "duration"]),
}
SENSORS = (PipelineStatusSensor, PipelineLagSensor)
LONGEST = timedelta(days=366)


def task(kind, **arguments):
    return kind(**{"task_id": "t", "pipeline_id": "p-1"} | TASKS[kind][0] | arguments)


def refused(make, **arguments):
    with pytest.raises(InvalidSettingError) as error:
        make(**arguments)
    return str(error.value)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize(
    "value",
    [
        timedelta(days=4_000_000),
        timedelta.max,
        LONGEST + timedelta(seconds=1),
        10**12,
        10**400,
        float("inf"),
        float("nan"),
        -1,
        timedelta(seconds=-1),
        True,
        "600",
    ],
    ids=repr,
)
def test_duration_out_of_bounds_is_refused_with_its_name_and_the_largest(kind, value):
    for name in TASKS[kind][1]:
        text = refused(task, kind=kind, **{name: value})

        assert text.startswith(f"{name}: got ")
        assert text.endswith("to 3.16224e+07 s (366 days).")


@pytest.mark.parametrize("kind", TASKS)
def test_longest_duration_is_accepted(kind):
    for name in TASKS[kind][1]:
        assert task(kind, **{name: LONGEST})


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("value", ["false", "True", "{{ params.wait }}", 0, 1, None])
def test_text_is_no_boolean(kind, value):
    names = ["deferrable"]
    if kind in SENSORS:
        names += ["soft_fail", "never_fail", "silent_fail", "exponential_backoff"]
    if kind is StartPipelineOperator:
        names += ["wait_for_running", "start_from_trigger"]
    for name in names:
        text = refused(task, kind=kind, **{name: value})

        assert text == f"{name}: got {value!r}, allowed is True or False."


def test_text_is_no_boolean_of_a_watcher_either():
    text = refused(PipelineStatusChangeTrigger, pipeline_id="p-1", is_system="false")

    assert text == "is_system: got 'false', allowed is True or False."


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pipeline_id", "a/b"),
        ("pipeline_id", None),
        ("org_id", "a/b"),
        ("org_id", ""),
        ("enos_conn_id", ""),
        ("enos_conn_id", " "),
        ("enos_conn_id", None),
        ("enos_conn_id", 7),
    ],
)
def test_subject_is_checked_when_the_dag_is_parsed(kind, name, value):
    assert refused(task, kind=kind, **{name: value}).startswith(f"{name}: got {value!r}, allowed")


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", ["pipeline_id", "org_id", "enos_conn_id"])
def test_template_is_judged_when_it_is_rendered(kind, name):
    assert task(kind, **{name: "{{ params.it }}"})


@pytest.mark.parametrize("statuses", [{"{{ params.s }}"}, ("{{ params.s }}",), ["{{ params.s }}"]])
def test_template_in_any_collection_is_judged_when_it_is_rendered(statuses):
    assert task(PipelineStatusSensor, target_statuses=statuses)


# Files


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "resources.json").write_text('{"server": "{{ params.cu }}"}')
    return tmp_path


@pytest.fixture
def rendered(folder):
    """Make an operator of a DAG in this folder and render its fields."""

    def make(**arguments):
        with DAG("d", schedule=None, template_searchpath=str(folder), params={"cu": 2}) as dag:
            found = task(StartPipelineOperator, **arguments)
        dag.resolve_template_files()
        found.render_template_fields({"params": dag.params, "task": found, "dag": dag})
        return found

    return make


def test_resource_config_may_be_a_file_with_templates(rendered):
    assert rendered(resource_config="resources.json").resource_config == '{"server": "2"}'


def test_resource_config_of_a_mapped_task_may_be_a_file(folder):
    with DAG("d", schedule=None, template_searchpath=str(folder), params={"cu": 2}) as dag:
        mapped = StartPipelineOperator.partial(
            task_id="t", execution_mode="standalone", resource_config="resources.json"
        ).expand(pipeline_id=["p-1"])
    found = mapped.unmap({"pipeline_id": "p-1"})

    found.render_template_fields({"params": dag.params, "task": found, "dag": dag})

    assert found.resource_config == '{"server": "2"}'


def test_missing_file_is_named(rendered):
    with pytest.raises(Exception, match=r"resource_config: got 'none.json', allowed is a file"):
        rendered(resource_config="none.json")


def test_text_that_ends_like_a_file_is_sent_as_it_is(rendered):
    config = {"server": 1, "advanced": ["spark.files=hdfs:///x/app.json"]}

    found = rendered(
        execution_mode="cluster", pipeline_id="p.json", org_id="o.json", resource_config=config
    )

    assert found.resource_config == config
    assert (found.pipeline_id, found.org_id) == ("p.json", "o.json")


@pytest.mark.parametrize("kind", TASKS)
def test_id_that_ends_like_a_file_is_an_id(kind):
    assert task(kind, pipeline_id="p.json", org_id="o.json", enos_conn_id="c.json")


def test_text_that_ends_like_a_file_works_from_the_trigger_alone():
    found = task(
        StartPipelineOperator,
        execution_mode="cluster",
        pipeline_id="p.json",
        resource_config={"advanced": {"spark.files": "hdfs:///x/app.json"}},
        start_from_trigger=True,
    )

    assert found.start_from_trigger is True
