"""
Start many pipelines of one organization, one mapped task for each.

EnOS allows one start at a time in an organization; the tasks queue by themselves and hold no worker
meanwhile. No pool and no retries are needed for that.
"""

from airflow.sdk import DAG, task

from airflow_provider_enos.operators.streaming import StartPipelineOperator

with DAG("start_many_pipelines", schedule=None, doc_md=__doc__):

    @task
    def pipelines():
        return [
            "dae99bf9-5c6e-51f4-968b-221cefefe64b",
            "667d14d9-72b4-5b6f-ab81-69ca229de328",
            "758a2602-6f29-545b-8055-a1eb8225826b",
        ]

    StartPipelineOperator.partial(
        task_id="start",
        execution_mode="standalone",
        kafka_rate=1000,
        resource_config={"server": 0.5},
        deferrable=True,
        map_index_template="{{ task.pipeline_id }}",
    ).expand(pipeline_id=pipelines())
