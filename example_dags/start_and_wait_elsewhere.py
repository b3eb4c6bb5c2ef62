"""
Start a pipeline without waiting, do other work, and go on once the pipeline is running.

The sensor may as well stand in another DAG: it needs only the pipeline's ID.
"""

from airflow.sdk import DAG, task

from airflow_provider_enos.operators.streaming import StartPipelineOperator
from airflow_provider_enos.sensors.streaming import PipelineStatusSensor

PIPELINE_ID = "264262ea-faea-545b-9ee7-1087d3d03365"

with DAG("start_and_wait_elsewhere", schedule=None, doc_md=__doc__):
    start = StartPipelineOperator(
        task_id="start",
        pipeline_id=PIPELINE_ID,
        execution_mode="cluster",
        kafka_rate=5000,
        resource_config={
            "server": 1,
            "yarn": {"workerCount": 2, "master": 1, "slave": 2},
            "advanced": {"spark.streaming.backpressure.enabled": True},
        },
        wait_for_running=False,
        deferrable=True,
    )

    is_running = PipelineStatusSensor(
        task_id="is_running",
        pipeline_id=PIPELINE_ID,
        target_statuses=["RUNNING"],
        poke_interval=5,
        timeout=600,
        deferrable=True,
    )

    @task
    def use_the_data(seen):
        print(f"Pipeline {seen['pipeline_id']} is {seen['status']}.")

    start >> is_running
    use_the_data(is_running.output)
