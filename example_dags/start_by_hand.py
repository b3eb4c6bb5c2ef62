"""
Start any pipeline from the Trigger form of the Airflow UI, without reading code.

Choose the pipeline, the mode and the resources, and press Trigger. The run is green when the
pipeline is running. Browse > EnOS pipelines shows the IDs.
"""

from airflow.sdk import DAG, Param

from airflow_provider_enos.operators.streaming import StartPipelineOperator

CLUSTER = "Cluster mode only"

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
        "enos_conn_id": Param(
            "enos_default",
            type="string",
            minLength=1,
            title="Connection",
            description="Admin > Connections, of type EnOS.",
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
        "server": Param(
            1,
            type="number",
            exclusiveMinimum=0,
            title="Server",
            description="CU of the server; fractions are allowed.",
            section="Resources",
        ),
        "worker_count": Param(
            None,
            type=["integer", "null"],
            minimum=1,
            title="Workers",
            description="Number of Yarn workers.",
            section=CLUSTER,
        ),
        "master": Param(
            None,
            type=["number", "null"],
            exclusiveMinimum=0,
            title="Master",
            description="CU of the master worker.",
            section=CLUSTER,
        ),
        "slave": Param(
            None,
            type=["number", "null"],
            exclusiveMinimum=0,
            title="Slave",
            description="CU of each slave worker.",
            section=CLUSTER,
        ),
        "advanced": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "pattern": "^[^=]+=.*$"},
            title="Spark parameters",
            description="One in a line, e.g. spark.memory.fraction=0.8",
            section=CLUSTER,
        ),
    },
):
    StartPipelineOperator(
        task_id="start",
        pipeline_id="{{ params.pipeline_id }}",
        org_id="{{ params.org_id }}",
        enos_conn_id="{{ params.enos_conn_id }}",
        if_running="{{ params.if_running }}",
        execution_mode="{{ params.execution_mode }}",
        kafka_rate="{{ params.kafka_rate }}",
        resource_config={
            "server": "{{ params.server }}",
            "yarn": {
                "workerCount": "{{ params.worker_count }}",
                "master": "{{ params.master }}",
                "slave": "{{ params.slave }}",
            },
            "advanced": "{{ params.advanced }}",
        },
        deferrable=True,
    )
