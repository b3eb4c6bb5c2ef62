"""
Fifty starts of one organization with this provider.

The names of the DAGs are those of the rows of the table; each has an organization of its own.
"""

import json
import os

from airflow.sdk import DAG

from airflow_provider_enos.operators.streaming import StartPipelineOperator

PIPELINES = json.loads(os.environ["BENCH_PIPELINES"])
OURS = {"execution_mode": 0, "resource_config": {"server": 0.1}}

for name, deferrable in {"deferrable": True, "two_triggerers": True, "sync": False}.items():
    with DAG(name, schedule=None, max_active_tasks=100):
        StartPipelineOperator.partial(task_id="start", deferrable=deferrable, **OURS).expand_kwargs(
            [{"org_id": org_id, "pipeline_id": one} for org_id, one in PIPELINES[name]]
        )

with DAG("start_from_trigger", schedule=None, max_active_tasks=100) as dag:
    for number, (org_id, pipeline_id) in enumerate(PIPELINES[dag.dag_id]):
        StartPipelineOperator(
            task_id=f"start_{number}",
            org_id=org_id,
            pipeline_id=pipeline_id,
            start_from_trigger=True,
            **OURS,
        )
