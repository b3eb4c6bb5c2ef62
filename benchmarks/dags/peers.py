"""
The same starts as users write them today: an HTTP operator, or a task that asks until EnOS accepts.
"""

import json
import os
import time
from datetime import timedelta

import requests
from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG, task
from tenacity import retry_if_result, stop_after_delay, wait_random_exponential

from benchmarks.signing import EnOSAuth

PIPELINES = json.loads(os.environ["BENCH_PIPELINES"])
HOST = os.environ["BENCH_HOST"]
BODY = {"executionMode": 0, "kafkaRate": 1000, "resourceConfig": {"server": 0.1}}
PATH = "/streaming/v2.0/streaming/pipeline/{}?action=start&orgId={}"


def endpoints(dag_id):
    """What an HTTP operator is given."""
    return [PATH.format(pipeline_id, org_id) for org_id, pipeline_id in PIPELINES[dag_id]]


def is_accepted(response):
    """EnOS says so in the body."""
    return response.json()["code"] == 0


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
    HttpOperator.partial(
        retry_args={
            "retry": retry_if_result(lambda response: response.json()["code"] == 61121),
            "wait": wait_random_exponential(multiplier=1, max=20),
            "stop": stop_after_delay(1800),
        },
        **HTTP,
    ).expand(endpoint=endpoints("http_tenacity"))


def ask_until_accepted(endpoint):
    """Every two seconds."""
    while True:
        answer = requests.post(
            HOST + endpoint,
            json=BODY,
            auth=EnOSAuth(os.environ["BENCH_KEY"], os.environ["BENCH_SECRET"]),
            timeout=30,
        )
        if answer.json()["code"] == 0:
            return
        time.sleep(2)


with dag("loop_in_a_task"):
    task(ask_until_accepted, task_id="start").expand(endpoint=endpoints("loop_in_a_task"))

with dag("pool_of_one_slot"):
    task(ask_until_accepted, task_id="start", pool="one_slot").expand(
        endpoint=endpoints("pool_of_one_slot")
    )
