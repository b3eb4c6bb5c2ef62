"""One DAG for each sensor in each mode, with everything taken from the run's conf."""

from airflow.sdk import DAG, Param

from airflow_provider_enos.sensors.streaming import PipelineLagSensor, PipelineStatusSensor

MODES = {
    "poke": {"poke_interval": 1},
    # As the README says: longer than Airflow may take to see that a worker is done.
    "reschedule": {"poke_interval": 4, "mode": "reschedule"},
    "deferrable": {"poke_interval": 1, "deferrable": True},
}
SENSORS = {
    "sensor": (PipelineStatusSensor, {"target_statuses": ["RUNNING"]}),
    "lag_sensor": (PipelineLagSensor, {"max_lag": "{{ params.max_lag }}", "looks": 3}),
}

for name, (sensor, awaited) in SENSORS.items():
    for mode, options in MODES.items():
        with DAG(
            f"e2e_{name}_{mode}",
            schedule=None,
            params={
                "pipeline_id": Param("set by the run"),
                "org_id": Param("set by the run"),
                "max_lag": 100,
            },
        ) as dag:
            sensor(
                task_id="wait",
                pipeline_id="{{ params.pipeline_id }}",
                org_id="{{ params.org_id }}",
                timeout=60,
                **awaited,
                **options,
            )
        globals()[dag.dag_id] = dag
