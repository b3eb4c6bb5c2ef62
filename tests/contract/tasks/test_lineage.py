"""What tasks tell OpenLineage's provider, as its listener asks them."""

from airflow_provider_enos.assets import convert_asset_to_openlineage, create_asset
from airflow_provider_enos.emulator.faults import Code
from airflow_provider_enos.operators.streaming import StartPipelineOperator, StopPipelineOperator
from airflow_provider_enos.sensors.streaming import PipelineLagSensor


def carried_out(stage, operator, **arguments):
    """Carry a task out; return it and what it has told at its begin."""
    task = operator(
        task_id="task", pipeline_id=stage.pipeline_id, enos_conn_id=stage.conn_id, **arguments
    )
    begin = task.get_openlineage_facets_on_start()
    stage.run(lambda *_: task, "sync")
    assert stage.error is None
    return task, begin


def names(datasets):
    return [(one.namespace, one.name) for one in datasets]


def facet_of(lineage):
    facet = lineage.run_facets["enos_pipeline"]
    return facet.gateway, facet.orgId, facet.pipelineId, facet.outcome, facet.status


def test_start_tells_pipeline_outcome_and_topic(stage):
    task, begin = carried_out(stage, StartPipelineOperator, execution_mode="standalone")
    end = task.get_openlineage_facets_on_complete(None)

    gateway = stage.enos.url.removeprefix("http://")
    ids = (gateway, stage.org_id, stage.pipeline_id)
    assert facet_of(begin) == (*ids, None, None)
    assert facet_of(end) == (*ids, "started", "RUNNING")
    assert begin.inputs == []
    assert names(end.inputs) == [(f"kafka://{gateway}", f"MEASURE_POINT_INTERNAL_{stage.org_id}")]
    for lineage in (begin, end):
        assert names(lineage.outputs) == [
            (f"enos://{gateway}", f"{stage.org_id}/{stage.pipeline_id}")
        ]


def test_topic_that_cannot_be_read_is_left_out(stage):
    stage.enos.faults.append(Code(99000, on="offset_lag"))
    task, _ = carried_out(stage, StartPipelineOperator, execution_mode="standalone")

    assert task.get_openlineage_facets_on_complete(None).inputs == []


def test_stop_tells_no_topic(stage):
    stage.enos.set_status(stage.pipeline_id, "RUNNING")
    task, _ = carried_out(stage, StopPipelineOperator)

    end = task.get_openlineage_facets_on_complete(None)

    assert (facet_of(end)[3:], end.inputs) == (("stopped", "STOPPED"), [])
    assert stage.enos.requests_for("offset_lag") == []


def test_sensor_tells_the_topic_that_it_has_seen(stage):
    stage.enos.set_status(stage.pipeline_id, "RUNNING")
    task, _ = carried_out(stage, PipelineLagSensor, max_lag=0, looks=1)
    asked = len(stage.enos.requests_for("offset_lag"))

    (topic,) = task.get_openlineage_facets_on_complete(None).inputs

    assert topic.name == f"MEASURE_POINT_INTERNAL_{stage.org_id}"
    assert len(stage.enos.requests_for("offset_lag")) == asked


def test_dataset_is_that_of_the_pipelines_asset(stage):
    """Whatever the pipeline's ID is made of."""
    pipeline_id = stage.enos.add_pipeline(pipeline_id="管道-1", status="RUNNING")
    task = StopPipelineOperator(task_id="stop", pipeline_id=pipeline_id, enos_conn_id=stage.conn_id)

    lineage = task.get_openlineage_facets_on_start()

    host = stage.enos.url.removeprefix("http://")
    asset = create_asset(host=host, org_id=stage.org_id, pipeline_id=pipeline_id)
    dataset = convert_asset_to_openlineage(asset, None)
    assert names(lineage.outputs) == [(dataset.namespace, dataset.name)]
    assert facet_of(lineage)[2] == "管道-1"


def test_trouble_is_logged_and_ends_nothing(stage, log_lines):
    task = StopPipelineOperator(task_id="stop", pipeline_id="p-1", enos_conn_id="no_such_one")

    assert task.get_openlineage_facets_on_start() is None
    assert "OpenLineage is told nothing of the pipeline" in "\n".join(log_lines())
