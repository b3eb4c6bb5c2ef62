"""One DAG for each mode of the sensor, with everything taken from the run's conf."""

from airflow.sdk import DAG, Param

from airflow_provider_enos.sensors.streaming import PipelineStatusSensor

MODES = {"poke": {}, "reschedule": {"mode": "reschedule"}, "deferrable": {"deferrable": True}}

for name, options in MODES.items():
    with DAG(
        f"e2e_sensor_{name}",
        schedule=None,
        params={"pipeline_id": Param(type="string"), "org_id": Param(type="string")},
    ) as dag:
        PipelineStatusSensor(
            task_id="wait",
            pipeline_id="{{ params.pipeline_id }}",
            org_id="{{ params.org_id }}",
            target_statuses=["RUNNING"],
            poke_interval=1,
            timeout=60,
            **options,
        )
    globals()[dag.dag_id] = dag
