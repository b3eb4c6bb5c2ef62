"""A task that says what it should not, for the test that must find it."""

import logging
import os

from airflow.sdk import DAG, task

with DAG("e2e_leak", schedule=None):

    @task
    def say():
        logging.getLogger(__name__).info("it is %s", os.environ["E2E_PLANTED"])
        return os.environ["E2E_PLANTED"]

    say()
