"""Each example DAG, as a user would run it."""

import pytest

PIPELINES = [
    "f0dda744-13fa-59cc-9c8a-8c8bbd2d7941",
    "264262ea-faea-545b-9ee7-1087d3d03365",
    "dae99bf9-5c6e-51f4-968b-221cefefe64b",
    "667d14d9-72b4-5b6f-ab81-69ca229de328",
    "758a2602-6f29-545b-8055-a1eb8225826b",
    "a8d24d29-7ff7-5690-8751-d299307edf8d",
]


@pytest.mark.parametrize(
    ("dag_id", "conf", "pipelines"),
    [
        ("start_one_pipeline", {}, PIPELINES[:1]),
        ("start_and_wait_elsewhere", {}, PIPELINES[1:2]),
        ("start_many_pipelines", {}, PIPELINES[2:5]),
        ("start_by_hand", {"pipeline_id": PIPELINES[5], "kafka_rate": 2000}, PIPELINES[5:6]),
    ],
)
def test_example_starts_each_pipeline_once(stack, dag_id, conf, pipelines):
    run_id = stack.airflow.trigger(dag_id, conf)

    assert stack.airflow.wait_for_run(dag_id, run_id) == "success"
    for pipeline_id in pipelines:
        assert stack.enos.status_of(pipeline_id) == "RUNNING"
        assert len(stack.accepted_starts(pipeline_id)) == 1
    assert {t["try_number"] for t in stack.airflow.task_instances(dag_id, run_id)} == {1}


def test_mapped_starts_are_told_apart_by_their_pipeline(stack):
    run_id = stack.airflow.trigger("start_many_pipelines")
    stack.airflow.wait_for_run("start_many_pipelines", run_id)

    tasks = stack.airflow.task_instances("start_many_pipelines", run_id)

    names = {t["rendered_map_index"] for t in tasks if t["task_id"] == "start"}
    assert names == set(PIPELINES[2:5])


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"pipeline_id": "../../other"},
        {"pipeline_id": PIPELINES[5], "execution_mode": "both"},
        {"pipeline_id": PIPELINES[5], "kafka_rate": 0},
        {"pipeline_id": PIPELINES[5], "if_running": "explode"},
    ],
)
def test_trigger_form_refuses_wrong_values_before_anything_runs(stack, conf):
    with pytest.raises(RuntimeError, match="HTTP 4"):
        stack.airflow.trigger("start_by_hand", conf)


def test_settings_of_the_trigger_form_reach_enos(stack):
    org_id = stack.new_organization()
    run = stack.run(
        "start_by_hand",
        org_id=org_id,
        execution_mode="cluster",
        kafka_rate=700,
        server=0.5,
        worker_count=2,
        master=1,
        slave=1.5,
        advanced=["spark.memory.fraction=0.8"],
    )

    assert stack.state(run) == "success"
    (start,) = stack.accepted_starts(run.pipeline_id)
    assert start.body == {
        "executionMode": 1,
        "kafkaRate": 700,
        "resourceConfig": {
            "server": 0.5,
            "yarn": {"workerCount": 2, "master": 1, "slave": 1.5},
            "advanced": [{"key": "spark.memory.fraction", "value": "0.8"}],
        },
    }
