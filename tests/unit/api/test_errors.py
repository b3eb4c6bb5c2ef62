"""Which error an answer becomes, what it says, and how it crosses to the worker."""

import copy
import json
import pickle

import pytest

from airflow_provider_enos.api import errors
from airflow_provider_enos.api.errors import (
    AccessDeniedError,
    AuthenticationError,
    EnOSApiError,
    EnOSCertificateError,
    EnOSError,
    EnOSNoAnswerError,
    EnOSServerError,
    EnOSUnreachableError,
    EnOSUnreadableAnswerError,
    InvalidPipelineConfigError,
    InvalidRequestError,
    InvalidSettingError,
    KafkaRateUnknownError,
    ListFailedError,
    NoTokenError,
    PipelineNotFoundError,
    PipelineStateError,
    RateLimitedError,
    RepeatedRequestError,
    ResourceNotEnoughError,
    ResourceNotRequestedError,
    SaveFailedError,
    StageStateError,
    StartInProgressError,
    StopFailedError,
    TaskKilledError,
    WrongGatewayError,
    excerpt,
)
from airflow_provider_enos.api.messages import Answer, Request, read_data

ALL_CLASSES = sorted(
    (
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, EnOSError)
    ),
    key=lambda cls: cls.__name__,
)

CODES = [
    (61100, InvalidPipelineConfigError),
    (61102, InvalidRequestError),
    (61105, InvalidRequestError),
    (61106, AccessDeniedError),
    (61107, InvalidRequestError),
    (61108, PipelineNotFoundError),
    (61112, SaveFailedError),
    (61115, ListFailedError),
    (61121, StartInProgressError),
    (61122, StopFailedError),
    (61126, ResourceNotEnoughError),
    (61128, ResourceNotRequestedError),
    (61152, PipelineStateError),
    (61165, PipelineStateError),
    (61168, KafkaRateUnknownError),
    (61169, PipelineStateError),
    (61176, InvalidRequestError),
    (61199, StageStateError),
    (99000, EnOSServerError),
    (99400, InvalidRequestError),
    (99403, AccessDeniedError),
    (99404, PipelineNotFoundError),
    (99500, EnOSServerError),
    (1001, RepeatedRequestError),
    (1002, AuthenticationError),
    (1003, AuthenticationError),
    (1004, InvalidRequestError),
    (1005, EnOSServerError),
    (1202, InvalidRequestError),
    (1203, AuthenticationError),
    (1204, AuthenticationError),
    (401, AuthenticationError),
    (4011, AuthenticationError),
    (4012, AuthenticationError),
]

#: transient, ambiguous, retryable
TRAITS = [
    (EnOSError, False, False, True),
    (EnOSUnreachableError, True, False, True),
    (EnOSCertificateError, False, False, False),
    (NoTokenError, True, False, True),
    (EnOSNoAnswerError, True, True, True),
    (EnOSUnreadableAnswerError, True, True, True),
    (InvalidSettingError, False, False, False),
    (EnOSApiError, False, False, True),
    (EnOSServerError, True, True, True),
    (RateLimitedError, True, False, True),
    (AuthenticationError, False, False, False),
    (RepeatedRequestError, True, False, True),
    (AccessDeniedError, False, False, False),
    (InvalidRequestError, False, False, False),
    (WrongGatewayError, False, False, False),
    (InvalidPipelineConfigError, False, False, False),
    (PipelineNotFoundError, False, False, False),
    (SaveFailedError, False, False, True),
    (ListFailedError, True, False, True),
    (StartInProgressError, False, False, True),
    (StopFailedError, False, False, True),
    (ResourceNotEnoughError, False, False, True),
    (ResourceNotRequestedError, False, False, False),
    (PipelineStateError, False, False, False),
    (KafkaRateUnknownError, False, False, True),
    (StageStateError, False, False, True),
    (errors.ConflictTimeoutError, False, False, True),
    (errors.StatusTimeoutError, False, False, True),
    (errors.PipelineFailedError, False, False, True),
]


def error_of(status, body, **headers):
    """The error that an answer becomes."""
    request = Request("POST", "/x", "start pipeline p-1 of organization o1")
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(EnOSError) as caught:
        read_data(request, Answer(status, body, headers))
    return caught.value


@pytest.mark.parametrize(("code", "error_class"), CODES)
def test_code_decides_the_class_whatever_the_http_status(code, error_class):
    for http_status in (200, 400, 404, 500):
        error = error_of(http_status, {"code": code, "msg": "No.", "requestId": "r-1"})

        assert type(error) is error_class
        assert (error.code, error.http_status, error.request_id) == (code, http_status, "r-1")


@pytest.mark.parametrize("key", ["code", "status", "stauts", "apim_status"])
def test_code_is_found_under_every_key_as_number_or_text(key):
    for number in (1203, "1203", " 1203 "):
        error = error_of(200, {key: number, "msg": "expired"})

        assert type(error) is AuthenticationError
        assert error.code == 1203


@pytest.mark.parametrize(
    ("http_status", "error_class"),
    [
        (300, WrongGatewayError),
        (301, WrongGatewayError),
        (302, WrongGatewayError),
        (304, WrongGatewayError),
        (307, WrongGatewayError),
        (308, WrongGatewayError),
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, AccessDeniedError),
        (404, WrongGatewayError),
        (405, EnOSApiError),
        (413, InvalidRequestError),
        (429, RateLimitedError),
        (500, EnOSServerError),
        (502, EnOSServerError),
        (503, EnOSServerError),
        (504, EnOSServerError),
    ],
)
def test_http_status_decides_where_no_known_code_does(http_status, error_class):
    bodies = (
        b"",
        b"<html>oops</html>",
        b"[]",
        b'{"message":"no"}',
        b'{"code":0,"msg":"OK"}',
        b'{"code":7}',
    )
    for body in bodies:
        error = error_of(http_status, body)

        assert type(error) is error_class
        assert error.http_status == http_status


def test_quota_is_used_up_whatever_code_stands_in_the_body():
    error = error_of(429, {"code": 61121, "msg": "API rate limit exceeded"})

    assert type(error) is RateLimitedError
    assert error.code == 61121


def test_traits_of_each_class():
    found = {(cls, cls.transient, cls.ambiguous, cls.retryable) for cls in ALL_CLASSES}

    assert found == set(TRAITS)


def test_tree_at_the_top_of_the_page_is_the_real_one():
    """Each class stands there once, below its parent."""
    parents, path = {}, []
    for line in errors.__doc__.splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None or not line.startswith("    "):
            continue
        depth = line.index(name)
        path = [(d, n) for d, n in path if d < depth]
        parents[name] = path[-1][1] if path else "Exception"
        path.append((depth, name))

    all_classes = [*ALL_CLASSES, TaskKilledError]
    assert parents == {cls.__name__: cls.__bases__[0].__name__ for cls in all_classes}


def test_kill_is_no_trouble_with_enos():
    """Else the loops that wait out trouble would go on after it."""
    assert not issubclass(TaskKilledError, EnOSError)


def test_no_code_belongs_to_two_classes():
    codes = [code for cls in ALL_CLASSES for code in cls.codes]

    assert sorted(codes) == sorted(code for code, _ in CODES)


def test_unknown_error_code_keeps_code_and_message():
    error = error_of(200, {"code": 61999, "msg": "Quota of moons.", "requestId": "8f2"})

    assert type(error) is EnOSApiError
    assert str(error) == (
        'Cannot start pipeline p-1 of organization o1: EnOS answered "Quota of moons." '
        "(EnOS code 61999, HTTP 200, request ID 8f2)."
    )


def test_message_tells_what_failed_why_and_what_to_do():
    error = error_of(200, {"code": 61128, "msg": "Your organization has not requested it."})

    assert str(error) == (
        'Cannot start pipeline p-1 of organization o1: EnOS answered "Your organization has not '
        'requested it." (EnOS code 61128, HTTP 200). Request the resource for this execution_mode '
        "on the Resource Management page of the EnOS console."
    )


def test_address_without_enos_asks_for_the_host_of_the_connection():
    error = error_of(404, {"message": "no Route matched with those values"})

    assert str(error) == (
        'Cannot start pipeline p-1 of organization o1: EnOS answered "no Route matched with those '
        'values" (HTTP 404). Is the host of the Airflow connection the API gateway of EnOS, with '
        "the right scheme (http or https), port and path?"
    )


def test_pipeline_that_is_not_found_is_no_wrong_address():
    error = error_of(404, {"code": 99404, "msg": "Not found."})

    assert type(error) is PipelineNotFoundError


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "It broke."),
        ({"code": 0}, "It broke (EnOS code 0)."),
        ({"during": "stop p"}, "Cannot stop p: It broke."),
        ({"http_status": 502, "request_id": "r"}, "It broke (HTTP 502, request ID r)."),
    ],
)
def test_message_leaves_out_what_is_not_known(facts, text):
    assert str(EnOSError("It broke.", **facts)) == text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"code": 7, "msg": "from msg", "message": "other"}, '"from msg"'),
        ({"message": "no Route matched with those values"}, '"no Route matched'),
        ({"status": 404, "error": "Not Found"}, '"Not Found"'),
        ({"code": 7, "msg": None}, 'begins with "{"code": 7'),
        ({"code": 7, "msg": {"en": "object"}}, "object"),
        (b"", "an empty answer"),
        (b" \r\n", "an empty answer"),
        (b"<html>busy</html>", 'begins with "<html>busy</html>"'),
        (b"\xff\xfe\x00", "an answer that begins with"),
    ],
)
def test_message_repeats_whatever_text_the_gateway_gave(body, words):
    assert words in str(error_of(404, body))


@pytest.mark.parametrize("key", ["requestId", "request_id"])
def test_request_id_is_kept(key):
    assert error_of(200, {"code": 7, key: "r-9"}).request_id == "r-9"


def test_redirect_names_the_place_but_not_its_query():
    error = error_of(302, b"", location="https://login.example.invalid/in?ticket=abc")

    assert 'redirects to "https://login.example.invalid/in"' in str(error)
    assert "ticket" not in str(error)


@pytest.mark.parametrize("where", ["msg", "requestId"])
def test_control_characters_cannot_forge_log_lines(where):
    error = error_of(200, {"code": 7, "msg": "m", where: "a\r\n[ERROR] \x1b[31mforged\u2028\x00"})

    assert str(error).isprintable()


def test_control_characters_are_escaped_once():
    """Twice, and a reader would search EnOS for a text with backslashes."""
    for body in ({"code": 7, "msg": "a\nb"}, b"a\nb"):
        assert '"a\\nb"' in str(error_of(400, body))


def test_lone_surrogates_can_be_logged():
    error = error_of(200, b'{"code": 7, "msg": "\\ud800"}')

    assert str(error).encode()


def test_foreign_texts_are_cut():
    error = error_of(200, {"code": 7, "msg": "m" * 10_000, "requestId": "r" * 10_000})

    assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("描述", "描述"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[0m\u2028", "\\x1b[0m\\u2028"),
        ("12345678901", "1234567890..."),
    ],
)
def test_excerpt(text, shown):
    assert excerpt(text, 10) == shown


def test_payload_brings_every_error_to_the_worker():
    facts = {
        "during": "start p",
        "code": 61121,
        "http_status": 200,
        "request_id": "r-1",
        "retry_after_seconds": 2.5,
    }
    for error_class in ALL_CLASSES:
        error = error_class("It broke.", **facts)
        payload = json.loads(json.dumps(error.to_payload()))

        rebuilt = EnOSError.from_payload(payload)

        assert payload == {"error": error_class.__name__, "message": "It broke.", **facts}
        assert type(rebuilt) is error_class
        assert str(rebuilt) == str(error)
        assert rebuilt.to_payload() == payload


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"error": "OfALaterVersionError"},
        {"error": "OSError", "message": "no message"},
        {"error": "TaskKilledError"},
    ],
)
def test_payload_of_an_unknown_class_is_a_plain_error(payload):
    error = EnOSError.from_payload(payload)

    assert type(error) is EnOSError
    assert str(error) == "no message."


@pytest.mark.parametrize("move", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_error_survives_copy_and_pickle(move):
    error = move(PipelineNotFoundError("gone", during="find p", code=61108))

    assert (error.message, error.during, error.code) == ("gone", "find p", 61108)


def test_wrong_setting_names_field_given_and_allowed():
    error = InvalidSettingError.of("kafka_rate", "fast", "a number")

    assert str(error) == "kafka_rate: got 'fast', allowed is a number."
    assert isinstance(error, ValueError)


def test_wrong_setting_repeats_at_most_the_beginning_of_what_was_given():
    error = InvalidSettingError.of("field", "x" * 10_000, "less")

    assert len(str(error)) < 150
