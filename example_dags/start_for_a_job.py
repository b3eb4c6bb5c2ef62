"""
Start a pipeline for a job and stop it afterwards, however the job ends: a setup and its teardown.

A pipeline that was running before is left running: the teardown stops what the setup has started.
One run at a time, or one would stop the pipeline that the next one has found running.
"""

from airflow.sdk import DAG, task

from airflow_provider_enos.operators.streaming import StartPipelineOperator, StopPipelineOperator

PIPELINE_ID = "b88f81a5-73e6-56ad-9d5a-c60c2c7f7d35"

with DAG("start_for_a_job", schedule=None, max_active_runs=1, doc_md=__doc__):
    start = StartPipelineOperator(
        task_id="start",
        pipeline_id=PIPELINE_ID,
        execution_mode="standalone",
        resource_config={"server": 1},
        deferrable=True,
    )
    stop = StopPipelineOperator(
        task_id="stop",
        pipeline_id=PIPELINE_ID,
        started_by=start.output,
        deferrable=True,
    )

    @task
    def do_the_job():
        print("The pipeline is running.")

    with stop.as_teardown(setups=start):
        do_the_job()
