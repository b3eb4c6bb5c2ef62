"""Which errors get another try."""

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, RetryAction

from airflow_provider_enos.api.errors import (
    EnOSNoAnswerError,
    PipelineNotFoundError,
    RateLimitedError,
    ResourceNotEnoughError,
)
from airflow_provider_enos.retries import EnOSRetryPolicy


@pytest.mark.parametrize(
    ("error", "action", "delay"),
    [
        (PipelineNotFoundError("gone"), RetryAction.FAIL, None),
        (ResourceNotEnoughError("full"), RetryAction.DEFAULT, None),
        (EnOSNoAnswerError("no answer"), RetryAction.DEFAULT, None),
        (
            RateLimitedError("slow down", retry_after_seconds=7),
            RetryAction.RETRY,
            timedelta(seconds=7),
        ),
        (ValueError("not ours"), RetryAction.DEFAULT, None),
    ],
)
def test_policy_decides_by_the_error(error, action, delay):
    decision = EnOSRetryPolicy().evaluate(error, 1, 3)

    assert decision.action is action
    assert decision.retry_delay == delay


def test_policy_looks_through_what_a_users_task_wraps_around():
    try:
        try:
            raise PipelineNotFoundError("gone", code=61108)
        except PipelineNotFoundError as error:
            raise AirflowException("my task failed") from error
    except AirflowException as error:
        decision = EnOSRetryPolicy().evaluate(error, 1, 3)

    assert decision.action is RetryAction.FAIL
    assert decision.reason == "PipelineNotFoundError: gone"


def test_policy_survives_serialization():
    assert isinstance(EnOSRetryPolicy.deserialize(EnOSRetryPolicy().serialize()), EnOSRetryPolicy)
