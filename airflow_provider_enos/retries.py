"""Which errors are worth another try of the Airflow task."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy

from airflow_provider_enos.api.errors import EnOSError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class EnOSRetryPolicy(RetryPolicy):
    """
    Decide by EnOS's error code whether the task is tried again.

    An error that only a person can mend (wrong ID, wrong configuration, no resource requested)
    fails the task at once; one with a ``Retry-After`` is retried after that time; all others, and
    errors that are not EnOS's, follow the task's ``retries`` and ``retry_delay``.

    It is the default of this provider's operators and sensors, and may be given to any task that
    uses the hook: ``@task(retry_policy=EnOSRetryPolicy())``.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide for an exception, or for the EnOS error that is its cause."""
        error = _enos_error(exception)
        if error is None:
            return RetryDecision.default()
        reason = f"{type(error).__name__}: {error.message}"
        if not error.retryable:
            return RetryDecision.fail(reason)
        if error.retry_after_seconds:
            return RetryDecision.retry(timedelta(seconds=error.retry_after_seconds), reason)
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return nothing: it has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> EnOSRetryPolicy:
        """Build it anew."""
        return cls()


def _enos_error(exception: BaseException | None) -> EnOSError | None:
    while exception is not None and not isinstance(exception, EnOSError):
        exception = exception.__cause__
    return exception
