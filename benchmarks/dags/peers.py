"""
The same starts as users write them today: an HTTP operator, or a task that asks until EnOS accepts.
"""

import json
import os
from datetime import timedelta

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG, task

from benchmarks.as_today import BODY, PATH, TENACITY, EnOSAuth, ask_in_a_loop, is_accepted

PIPELINES = json.loads(os.environ["BENCH_PIPELINES"])
HOST = os.environ["BENCH_HOST"]


def endpoints(dag_id):
    """What an HTTP operator is given."""
    return [PATH.format(pipeline_id, org_id) for org_id, pipeline_id in PIPELINES[dag_id]]


def dag(dag_id):
    """Make a DAG that runs when it is told to."""
    return DAG(dag_id, schedule=None, max_active_tasks=100)


HTTP = {
    "task_id": "start",
    "http_conn_id": "enos_http",
    "method": "POST",
    "auth_type": EnOSAuth,
    "headers": {"Content-Type": "application/json;charset=UTF-8"},
    "data": json.dumps(BODY),
    "response_check": is_accepted,
}

with dag("http_retries"):
    HttpOperator.partial(
        retries=20,
        retry_delay=timedelta(seconds=2),
        retry_exponential_backoff=True,
        max_retry_delay=timedelta(seconds=30),
        **HTTP,
    ).expand(endpoint=endpoints("http_retries"))

with dag("http_tenacity"):
    HttpOperator.partial(retry_args=TENACITY, **HTTP).expand(endpoint=endpoints("http_tenacity"))


def ask_until_accepted(endpoint):
    """As a task."""
    ask_in_a_loop(HOST + endpoint, EnOSAuth(os.environ["BENCH_KEY"], os.environ["BENCH_SECRET"]))


with dag("loop_in_a_task"):
    task(ask_until_accepted, task_id="start").expand(endpoint=endpoints("loop_in_a_task"))

with dag("pool_of_one_slot"):
    task(ask_until_accepted, task_id="start", pool="one_slot").expand(
        endpoint=endpoints("pool_of_one_slot")
    )
