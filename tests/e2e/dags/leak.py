"""A task that says what it should not, for the test that must find it."""

import os

from airflow.sdk import DAG, task

with DAG("e2e_leak", schedule=None):

    @task
    def say():
        print("it is", os.environ["E2E_PLANTED"])

    say()
