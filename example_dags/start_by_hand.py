"""
Start any pipeline from the Trigger form of the Airflow UI, without reading code.

Choose the pipeline, the mode and the resources, and press Trigger. The run is green when the
pipeline is running.
"""

from airflow.sdk import DAG, Param

from airflow_provider_enos.operators.streaming import StartPipelineOperator

with DAG(
    "start_by_hand",
    schedule=None,
    doc_md=__doc__,
    render_template_as_native_obj=True,
    params={
        "pipeline_id": Param(
            type="string",
            title="Pipeline ID",
            description="EnOS console, Stream Processing > Pipeline Operation.",
            pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,199}$",
            section="Pipeline",
        ),
        "org_id": Param(
            None,
            type=["string", "null"],
            title="Organization ID",
            description="Empty: the organization of the connection.",
            section="Pipeline",
        ),
        "if_running": Param(
            "succeed",
            type="string",
            enum=["succeed", "fail", "skip", "restart"],
            values_display={
                "succeed": "Leave it, that is fine",
                "fail": "Fail",
                "skip": "Skip",
                "restart": "Restart it with these settings",
            },
            title="If it is running already",
            section="Pipeline",
        ),
        "execution_mode": Param(
            "standalone",
            type="string",
            enum=["standalone", "cluster"],
            values_display={"standalone": "Standalone", "cluster": "Cluster (Yarn)"},
            title="Execution mode",
            section="Resources",
        ),
        "kafka_rate": Param(
            1000,
            type="integer",
            minimum=1,
            maximum=2147483647,
            title="Kafka rate",
            description="Records per second.",
            section="Resources",
        ),
        "resource_config": Param(
            {"server": 1},
            type=["object", "null"],
            title="Resources",
            description_md=(
                'Standalone: `{"server": 1}` (CU). Cluster: `{"server": 1, "yarn": {"workerCount": '
                '2, "master": 1, "slave": 2}, "advanced": {"spark.memory.fraction": "0.8"}}`'
            ),
            section="Resources",
        ),
    },
):
    StartPipelineOperator(
        task_id="start",
        pipeline_id="{{ params.pipeline_id }}",
        org_id="{{ params.org_id }}",
        if_running="{{ params.if_running }}",
        execution_mode="{{ params.execution_mode }}",
        kafka_rate="{{ params.kafka_rate }}",
        resource_config="{{ params.resource_config }}",
        deferrable=True,
    )
