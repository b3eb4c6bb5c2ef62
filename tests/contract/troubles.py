"""
Everything that can happen to a request, as faults of the emulator, and what each of them leads to.
"""

from dataclasses import dataclass, replace

from airflow_provider_enos.api import errors
from airflow_provider_enos.emulator import faults as f

HTML = "<html><body>Sign in, please</body></html>"
PAST, JSON = "Wed, 21 Oct 2015 07:28:00 GMT", "application/json"


@dataclass(frozen=True)
class Trouble:
    """
    One kind of fault.

    :param error: What a request raises that meets it; None: the client itself sends it again.
    :param heals: Whether the same request gets through when the fault is over.
    :param may_be_done: Whether the client cannot know if EnOS has carried the request out.
    :param says: A part of the message.
    :param timeout: ``request_timeout_seconds`` of the connection.
    """

    fault: f.Fault
    error: type[errors.EnOSError] | None
    heals: bool = True
    may_be_done: bool = False
    says: str = ""
    timeout: float = 30.0

    @property
    def is_done(self):
        """Whether EnOS carries a request out that meets it."""
        return self.fault.carried_out and self.error is not None

    def on(self, operation, times=1, skip=0):
        """Return the fault, to be ordered."""
        return replace(self.fault, on=operation, times=times, skip=skip)


def lost(fault, timeout=30.0):
    return Trouble(fault, errors.EnOSNoAnswerError, may_be_done=True, timeout=timeout)


def broken(fault, says):
    return Trouble(fault, errors.EnOSServerError, may_be_done=True, says=says)


def unreadable(fault, says="the answer is not the JSON of EnOS"):
    return Trouble(fault, errors.EnOSUnreadableAnswerError, may_be_done=True, says=says)


def limited(retry_after, says='EnOS answered "API rate limit exceeded" (HTTP 429)'):
    return Trouble(f.TooManyRequests(retry_after=retry_after), errors.RateLimitedError, says=says)


def refused(fault, error, says):
    return Trouble(fault, error, heals=False, says=says)


def rejected(fault):
    """Make trouble that a new token helps against."""
    return Trouble(fault, None)


def troubles(quick_seconds):
    """Return all of them by name; for the slow ones the client waits so long."""
    return {
        "answer lost": lost(f.LoseAnswer()),
        "request lost": lost(f.DropRequest()),
        "answer cut": lost(f.CutAnswer()),
        "slow": lost(f.Slow(quick_seconds * 1.2), timeout=quick_seconds),
        "dripping": lost(f.Trickle(5 / quick_seconds), timeout=quick_seconds),
        "400": refused(
            f.HttpError(400, '{"message":"Cannot process request body"}'),
            errors.InvalidRequestError,
            'EnOS answered "Cannot process request body" (HTTP 400)',
        ),
        "401": rejected(f.HttpError(401, '{"message":"Invalid authentication credentials"}')),
        "403": refused(
            f.HttpError(403, '{"message":"Your IP address is not allowed"}'),
            errors.AccessDeniedError,
            'EnOS answered "Your IP address is not allowed" (HTTP 403)',
        ),
        "404": refused(
            f.HttpError(404, '{"message":"no Route matched with those values"}'),
            errors.WrongGatewayError,
            'EnOS answered "no Route matched with those values" (HTTP 404)',
        ),
        "413": refused(
            f.HttpError(413, '{"message":"Request size limit exceeded"}'),
            errors.InvalidRequestError,
            'EnOS answered "Request size limit exceeded" (HTTP 413)',
        ),
        "429": limited(None),
        "429 for a second": limited("1"),
        "429 until a date": limited(PAST),
        "500": broken(f.HttpError(500), "an empty answer (HTTP 500)"),
        "500 after the deed": broken(f.HttpError(500, carried_out=True), "HTTP 500"),
        "502 a page": broken(
            f.HttpError(502, HTML),
            'an answer that begins with "<html><body>Sign in, please</body></html>" (HTTP 502)',
        ),
        "502 after the deed": broken(f.HttpError(502, HTML, carried_out=True), "HTTP 502"),
        "503": broken(
            f.HttpError(503, '{"message":"Service unavailable"}'),
            'EnOS answered "Service unavailable" (HTTP 503)',
        ),
        "503 for a second": broken(f.HttpError(503, "", {"Retry-After": "1"}), "HTTP 503"),
        "503 until a date": broken(f.HttpError(503, "", {"Retry-After": PAST}), "HTTP 503"),
        "504": broken(f.HttpError(504), "HTTP 504"),
        "504 after the deed": broken(f.HttpError(504, carried_out=True), "HTTP 504"),
        "an empty answer": unreadable(f.Garbage(""), "an empty answer"),
        "a web page": unreadable(f.Garbage(HTML)),
        "half of JSON, after the deed": unreadable(f.Garbage('{"code"', JSON, carried_out=True)),
        "JSON of something else": unreadable(f.Garbage('{"ok":true}', JSON)),
        "a JSON list": unreadable(f.Garbage("[1,2]", JSON)),
        "a code that is no number": unreadable(f.Garbage('{"code":"fine"}', JSON)),
        "11 MB": unreadable(f.HugeBody(11), "more than 10000000 bytes"),
        "99000": broken(f.Code(99000), "EnOS code 99000"),
        "99500": broken(f.Code(99500), "EnOS code 99500"),
        "99403": refused(f.Code(99403), errors.AccessDeniedError, "EnOS code 99403"),
        "99404": refused(f.Code(99404), errors.PipelineNotFoundError, "EnOS code 99404"),
        "a code that nobody knows": refused(
            f.Code(61999, "Something new."), errors.EnOSApiError, 'EnOS answered "Something new."'
        ),
        "token revoked": rejected(f.RevokeToken()),
        "token unknown, 1203": rejected(f.Code(1203)),
        "token expired, 4011": rejected(f.Garbage('{"apim_status":4011}', JSON)),
        "redirect": refused(
            f.Redirect("https://login.invalid/?token=x"),
            errors.WrongGatewayError,
            'the gateway redirects to "https://login.invalid/"',
        ),
    }


TROUBLES = troubles(quick_seconds=0.25)
