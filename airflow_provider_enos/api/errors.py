"""
Everything that can go wrong between Airflow and EnOS.

    EnOSError
    ├── InvalidSettingError             an argument or a connection field is wrong
    ├── EnOSUnreachableError            the request never arrived               transient
    │   ├── EnOSCertificateError        TLS verification failed
    │   └── NoTokenError                no token could be had, so nothing was sent     transient
    ├── EnOSNoAnswerError               sent, but no usable answer  ambiguous, transient
    │   └── EnOSUnreadableAnswerError   empty, too large, not the JSON of EnOS
    ├── EnOSApiError                    EnOS answered with an error
    │   ├── EnOSServerError             5xx, 99000, 99500, 1005     ambiguous, transient
    │   ├── RateLimitedError            429                                     transient
    │   ├── AuthenticationError         401, 1002, 1003, 1203, 1204, 4011, 4012
    │   ├── RepeatedRequestError        1001                                    transient
    │   ├── AccessDeniedError           403, 99403, 61106
    │   ├── InvalidRequestError         400, 413, 1004, 1202, 61102, 61105, 61107, 61176, 99400
    │   ├── WrongGatewayError           3xx, 404 without a known code
    │   ├── InvalidPipelineConfigError  61100
    │   ├── PipelineNotFoundError       61108, 99404
    │   ├── SaveFailedError             61112
    │   ├── ListFailedError             61115                                   transient
    │   ├── StartInProgressError        61121
    │   ├── StopFailedError             61122
    │   ├── ResourceNotEnoughError      61126
    │   ├── ResourceNotRequestedError   61128
    │   ├── PipelineStateError          61152, 61165, 61169
    │   ├── KafkaRateUnknownError       61168
    │   └── StageStateError             61199
    ├── ConflictTimeoutError            other starts of the organization took too long
    ├── StatusTimeoutError              the pipeline did not get there in time
    └── PipelineFailedError             the pipeline ended in a failing status

    TaskKilledError                     the task was killed; not to be waited out like an EnOSError

Three questions are answered by the class, so that the retry loops, the operators and the
documentation cannot disagree:

``transient``: may the same request succeed if it is sent again a little later?
``ambiguous``: may the request have been carried out although it failed?
``retryable``: may another try of the Airflow task succeed without anybody's help?

Codes: the "Error Code" table of each page of
https://support.enos-iot.com/docs/stream-processing-api/en/2.4.4/ and, for 1001 to 1204,
https://support.enos-iot.com/docs/api/en/3.0.0/ (Get Access Token).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

#: Longest piece of a foreign text (a message, a body) that is repeated in an error.
EXCERPT_LENGTH = 300


def excerpt(text: str, length: int = EXCERPT_LENGTH) -> str:
    """Return the beginning of a foreign text, safe to log: line ends and controls escaped."""
    cut = text if len(text) <= length else text[:length] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


class EnOSError(Exception):
    """
    Base of everything that this provider raises on its own account.

    :param message: What happened, in one line.
    :param during: What was being done, e.g. ``start pipeline p-1 of organization o1``.
    :param code: The code in the body of EnOS's answer, e.g. 61108.
    :param http_status: HTTP status of the answer.
    :param request_id: EnOS's own name for the request; its support asks for it.
    :param retry_after_seconds: How long EnOS asked to be left alone.
    """

    transient: ClassVar[bool] = False
    ambiguous: ClassVar[bool] = False
    retryable: ClassVar[bool] = True
    codes: ClassVar[frozenset[int]] = frozenset()
    #: What a person can do about it.
    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        during: str | None = None,
        code: int | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.during = during
        self.code = code
        self.http_status = http_status
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        text = self.message.rstrip(".")
        if self.during:
            text = f"Cannot {self.during}: {text}"
        facts = [
            f"EnOS code {self.code}" if self.code is not None else "",
            f"HTTP {self.http_status}" if self.http_status is not None else "",
            f"request ID {self.request_id}" if self.request_id else "",
        ]
        if any(facts):
            text += f" ({', '.join(filter(None, facts))})"
        return f"{text}. {self.advice}" if self.advice else f"{text}."

    def to_payload(self) -> dict[str, Any]:
        """Turn the error into JSON values, for the way from the triggerer to the worker."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "during": self.during,
            "code": self.code,
            "http_status": self.http_status,
            "request_id": self.request_id,
            "retry_after_seconds": self.retry_after_seconds,
        }

    def again(self, during: str, message: str | None = None) -> EnOSError:
        """Return the same error, seen from what was being done at large."""
        facts = {"during": during, "message": self.message if message is None else message}
        return self.from_payload({**self.to_payload(), **facts})

    @staticmethod
    def from_payload(payload: Mapping[str, Any]) -> EnOSError:
        """
        Rebuild what :meth:`to_payload` wrote.

        A class that this version does not know becomes a plain, retryable :class:`EnOSError`.
        """
        facts = dict(payload)
        error_class = _CLASS_OF_NAME.get(str(facts.pop("error", "")), EnOSError)
        known = ("during", "code", "http_status", "request_id", "retry_after_seconds")
        return error_class(
            str(facts.get("message", "no message")), **{name: facts.get(name) for name in known}
        )

    @classmethod
    def _tree(cls) -> Iterator[type[Self]]:
        yield cls
        for child in cls.__subclasses__():
            yield from child._tree()


class InvalidSettingError(EnOSError, ValueError):
    """An argument or a connection field is wrong; nothing was sent."""

    retryable = False

    @classmethod
    def of(cls, field: str, given: object, allowed: str) -> Self:
        """Build the error from the three things that its reader needs."""
        return cls(f"{excerpt(field, 200)}: got {excerpt(repr(given), 100)}, allowed is {allowed}")


class EnOSUnreachableError(EnOSError):
    """The request never arrived: name not resolved, connection refused, no route, time-out."""

    transient = True
    advice = "Check the host and the proxy of the Airflow connection, and the network."


class EnOSCertificateError(EnOSUnreachableError):
    """The gateway's certificate could not be verified."""

    transient = False
    retryable = False
    advice = (
        "If the gateway has a private certificate authority, put the path of its bundle into "
        "'verify' of the Airflow connection."
    )


class NoTokenError(EnOSUnreachableError):
    """No access token could be had, so the request itself was not sent."""

    advice = ""


class EnOSNoAnswerError(EnOSError):
    """The request was sent and may have been carried out, but no usable answer came."""

    transient = True
    ambiguous = True


class EnOSUnreadableAnswerError(EnOSNoAnswerError):
    """An answer came that is empty, too large, or not the JSON that EnOS documents."""

    advice = "Is the host of the Airflow connection the API gateway of EnOS?"


class EnOSApiError(EnOSError):
    """EnOS answered with an error; a code that nobody documented gets this class."""


class EnOSServerError(EnOSApiError):
    """EnOS or its gateway failed inside; the request may have been carried out."""

    codes = frozenset({99000, 99500, 1005})
    transient = True
    ambiguous = True


class RateLimitedError(EnOSApiError):
    """The gateway's request quota is used up (HTTP 429)."""

    transient = True
    advice = "Ask the owner of the API proxy for a higher limit, or poll less often."


class AuthenticationError(EnOSApiError):
    """The gateway does not accept the access key, the signature or the token."""

    codes = frozenset({401, 1002, 1003, 1203, 1204, 4011, 4012})
    retryable = False
    advice = (
        "Check login (access key) and password (secret key) of the Airflow connection, and this "
        "machine's clock: EnOS refuses requests that are more than 15 minutes off."
    )


class RepeatedRequestError(EnOSApiError):
    """The token service saw the same request twice in one millisecond."""

    codes = frozenset({1001})
    transient = True


class AccessDeniedError(EnOSApiError):
    """The application may not do this in this organization."""

    codes = frozenset({99403, 61106})
    retryable = False
    advice = (
        "Check the organization ID and the pipeline ID, and whether the application may use the "
        "stream processing API in this organization."
    )


class InvalidRequestError(EnOSApiError):
    """EnOS does not accept the form or the values of the request."""

    codes = frozenset({1004, 1202, 61102, 61105, 61107, 61176, 99400})
    retryable = False


class WrongGatewayError(EnOSApiError):
    """No EnOS service at this address: 404, or a redirect, which a signed request never follows."""

    retryable = False
    advice = (
        "Is the host of the Airflow connection the API gateway of EnOS, with the right scheme "
        "(http or https), port and path?"
    )


class InvalidPipelineConfigError(EnOSApiError):
    """EnOS does not accept the stream configuration."""

    codes = frozenset({61100})
    retryable = False
    advice = "Check execution_mode, kafka_rate and resource_config."


class PipelineNotFoundError(EnOSApiError):
    """There is no such pipeline in the organization, or it was never released."""

    codes = frozenset({61108, 99404})
    retryable = False
    advice = (
        "Check the pipeline ID and the organization ID, and that the pipeline has been released "
        "(EnOS console, Stream Processing > Pipeline Operation)."
    )


class SaveFailedError(EnOSApiError):
    """EnOS could not save the pipeline."""

    codes = frozenset({61112})


class ListFailedError(EnOSApiError):
    """EnOS could not list the pipelines."""

    codes = frozenset({61115})
    transient = True


class StartInProgressError(EnOSApiError):
    """Somebody in the organization is starting a pipeline; EnOS allows one start at a time."""

    codes = frozenset({61121})
    advice = "Try again when the other start is done."


class StopFailedError(EnOSApiError):
    """EnOS tried to stop the pipeline and failed."""

    codes = frozenset({61122})
    advice = "Look at the pipeline's status before you repeat it."


class ResourceNotEnoughError(EnOSApiError):
    """The organization's resources are taken by other pipelines."""

    codes = frozenset({61126})
    advice = (
        "Stop or pause other pipelines, ask for less in resource_config, or request more "
        "resources on the Resource Management page of the EnOS console."
    )


class ResourceNotRequestedError(EnOSApiError):
    """The organization never requested resources of the kind that this mode needs."""

    codes = frozenset({61128})
    retryable = False
    advice = (
        "Request the resource for this execution_mode on the Resource Management page of the "
        "EnOS console."
    )


class PipelineStateError(EnOSApiError):
    """The pipeline's status does not allow the action."""

    codes = frozenset({61152, 61165, 61169})
    retryable = False
    advice = (
        "Look at the pipeline in the EnOS console: a start needs PUBLISHED, PAUSED or STOPPED, a "
        "pause RUNNING, a stop RUNNING or PAUSED, a release PAUSED, STOPPED or never released."
    )


class KafkaRateUnknownError(EnOSApiError):
    """EnOS could not read the average rate from Kafka."""

    codes = frozenset({61168})


class StageStateError(EnOSApiError):
    """Another error of the stage state calls; EnOS's message says which."""

    codes = frozenset({61199})


class ConflictTimeoutError(EnOSError):
    """Other starts of the organization were in the way all the time that the task had."""

    advice = (
        "EnOS allows one start at a time in an organization. See in the EnOS console who is "
        "starting pipelines, or raise that limit."
    )


class StatusTimeoutError(EnOSError):
    """The pipeline did not reach the status in time."""

    advice = "Look at the pipeline's run log in the EnOS console."


class PipelineFailedError(EnOSError):
    """The pipeline ended in a status that says it failed."""

    advice = "Look at the pipeline's run log in the EnOS console."


class TaskKilledError(Exception):
    """The task was killed while it waited; nothing more is sent."""


_CLASS_OF_NAME = {cls.__name__: cls for cls in EnOSError._tree()}
_CLASS_OF_CODE = {code: cls for cls in EnOSApiError._tree() for code in cls.codes}
_CLASS_OF_HTTP_STATUS: dict[int, type[EnOSApiError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: AccessDeniedError,
    404: WrongGatewayError,
    413: InvalidRequestError,
}


def class_for(code: int | None, http_status: int) -> type[EnOSApiError]:
    """Return the most telling class for an error answer: by its code, else by HTTP status."""
    if http_status == 429:
        return RateLimitedError
    if code in _CLASS_OF_CODE:
        return _CLASS_OF_CODE[code]
    if 300 <= http_status < 400:
        return WrongGatewayError
    if http_status >= 500:
        return EnOSServerError
    return _CLASS_OF_HTTP_STATUS.get(http_status, EnOSApiError)
