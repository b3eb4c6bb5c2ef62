"""One DAG for each way to start, with everything taken from the run's conf."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_enos.operators.streaming import StartPipelineOperator

LIMIT = timedelta(seconds=20)
WAYS = {
    "sync": {},
    "deferrable": {"deferrable": True},
    "from_trigger": {"start_from_trigger": True},
    "stop_on_kill_sync": {"on_kill": "stop"},
    "stop_on_kill_deferrable": {"on_kill": "stop", "deferrable": True},
    "execution_timeout_sync": {"execution_timeout": LIMIT, "retries": 0},
    "execution_timeout_deferrable": {"execution_timeout": LIMIT, "deferrable": True, "retries": 0},
}

#: Of a whole run.
LIMITED = {
    "dagrun_timeout_sync": {},
    "dagrun_timeout_deferrable": {"deferrable": True},
    "dagrun_timeout_from_trigger": {"start_from_trigger": True},
}

for name, options in {**WAYS, **LIMITED}.items():
    is_templated = "from_trigger" not in name
    with DAG(
        f"e2e_start_{name}",
        schedule=None,
        dagrun_timeout=LIMIT if name in LIMITED else None,
        params={
            "pipeline_id": Param("set by the run", type="string"),
            "org_id": Param("set by the run", type="string"),
            "if_running": Param("succeed", type="string"),
        },
        default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
    ) as dag:
        StartPipelineOperator(
            task_id="start",
            pipeline_id="{{ params.pipeline_id }}",
            org_id="{{ params.org_id }}",
            if_running="{{ params.if_running }}" if is_templated else "succeed",
            execution_mode="{{ 'standalone' }}",
            kafka_rate="1000",
            resource_config={"server": "{{ 1 }}"},
            poll_interval_seconds=0.5,
            **options,
        )
    globals()[dag.dag_id] = dag
