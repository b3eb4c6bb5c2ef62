"""One DAG for each sensor in each mode, with everything taken from the run's conf."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_enos.sensors.streaming import PipelineLagSensor, PipelineStatusSensor

MODES = {"poke": {}, "reschedule": {"mode": "reschedule"}, "deferrable": {"deferrable": True}}
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
            # Airflow's scheduler can take a task that comes back for a failed one, in reschedule
            # mode as well (apache/airflow issues 67287, 72716): another try goes on.
            default_args={"retries": 5, "retry_delay": timedelta(seconds=1)},
        ) as dag:
            sensor(
                task_id="wait",
                pipeline_id="{{ params.pipeline_id }}",
                org_id="{{ params.org_id }}",
                poke_interval=1,
                timeout=60,
                **awaited,
                **options,
            )
        globals()[dag.dag_id] = dag
