"""How an answer is understood, whatever stands in it."""

import json

import pytest

from airflow_provider_enos.api.errors import (
    EnOSApiError,
    EnOSError,
    EnOSServerError,
    EnOSUnreadableAnswerError,
    RateLimitedError,
)
from airflow_provider_enos.api.messages import (
    Answer,
    Request,
    json_body,
    read_data,
    require_size,
    retry_after_seconds,
    token_was_rejected,
    without,
)

REQUEST = Request("GET", "/x", "list the pipelines of organization o1")
UNSIGNED = Request("POST", "/token", "get an access token", signed=False)
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


def answer(value, status=200):
    return Answer(status, value if isinstance(value, bytes) else json.dumps(value).encode())


def waited(retry_after, **headers):
    return retry_after_seconds(Answer(429, b"", {"retry-after": retry_after, **headers}))


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ({"code": 0, "msg": "OK", "data": {"a": 1}}, {"a": 1}),
        ({"code": 0, "msg": "OK", "data": ""}, ""),
        ({"code": 0, "msg": "OK", "data": None}, None),
        ({"code": 0, "msg": "OK"}, None),
        ({"code": 0}, None),
        ({"code": "0", "msg": " OK", "data": []}, []),
        ({"status": 0, "msg": "SUCCESS", "business": "apim-token-service", "data": 1}, 1),
        ({"stauts": 0, "data": 1}, 1),
        ({"code": 0, "requestId": "r", "submsg": None, "mood": "new", "data": 1}, 1),
        (b'\xef\xbb\xbf{"code":0,"data":1}', 1),
        (b'\r\n {"code":0,"data":1} \n', 1),
    ],
)
def test_data_of_a_good_answer(body, data):
    for status in (200, 201, 204):
        assert read_data(REQUEST, answer(body, status)) == data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"OK",
        b"<html><body>Welcome to nginx!</body></html>",
        b'{"code":0,"msg":"OK",}',
        b'{"code":0',
        b"[]",
        b"0",
        b"null",
        b'"OK"',
        b"{}",
        b'{"data": {"pipelines": []}}',
        b'{"code": null}',
        b'{"code": "success"}',
        b'{"code": true}',
        b'{"code": NaN}',
        b'{"code": ' + b"9" * 5000 + b"}",
        b"\xff\xfe\xfa",
        b'{"code":' * 100_000,
        b"[" * 100_000,
    ],
    ids=lambda body: body[:20],
)
def test_answer_that_is_not_the_json_of_enos_is_no_success(body):
    with pytest.raises(EnOSUnreadableAnswerError) as caught:
        read_data(REQUEST, answer(body))

    text = str(caught.value)
    assert text.startswith(
        "Cannot list the pipelines of organization o1: the answer is not the JSON of EnOS: "
    )
    assert text.endswith(
        "(HTTP 200). Is the host of the Airflow connection the API gateway of EnOS?"
    )
    assert len(text) < 700


def test_trailing_comma_of_the_sample_is_quoted_in_the_error():
    with pytest.raises(EnOSUnreadableAnswerError, match='"msg":"OK",}'):
        read_data(REQUEST, answer(b'{"code":0,"msg":"OK",}'))


@pytest.mark.parametrize("status", [300, 400, 500])
def test_code_0_is_no_success_under_an_http_error(status):
    with pytest.raises(EnOSApiError) as caught:
        read_data(REQUEST, answer({"code": 0, "msg": "OK", "data": 1}, status))

    assert caught.value.http_status == status


def test_answer_of_the_size_limit_is_read_and_one_byte_more_is_not():
    require_size(bytearray(10_000_000), REQUEST, 200)

    with pytest.raises(EnOSUnreadableAnswerError) as caught:
        require_size(bytearray(b"x" * 10_000_001), REQUEST, 200)

    assert "more than 10000000 bytes, which is no answer of EnOS" in str(caught.value)
    assert caught.value.http_status == 200
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("3600", 3600),
        ("86400", 3600),
        ("9" * 5000, 3600),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
    ],
)
def test_retry_after_in_seconds(text, seconds):
    assert waited(text) == seconds


@pytest.mark.parametrize(
    ("until", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2015 07:28:30 -0000", 30),
        ("Wed, 21 Oct 2015 09:29:00 +0200", 60),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 3600),
        ("Wed, 32 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after_as_a_date_is_read_against_the_gateways_clock(until, seconds):
    assert waited(until, date=DATE) == seconds


@pytest.mark.parametrize("date", ["", "today"])
def test_retry_after_as_a_date_says_nothing_without_the_gateways_clock(date):
    assert waited("Wed, 21 Oct 2015 07:28:30 GMT", date=date) is None


@pytest.mark.parametrize(
    "text",
    ["Wed, 21 Oct 99999999999999999999 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 +99999999999999"],
)
def test_retry_after_with_absurd_numbers_is_no_crash(text):
    assert waited(text, date=DATE) is None


@pytest.mark.parametrize(
    ("status", "error_class"), [(429, RateLimitedError), (503, EnOSServerError)]
)
def test_error_carries_retry_after(status, error_class):
    with pytest.raises(error_class) as caught:
        read_data(REQUEST, Answer(status, b"", {"retry-after": "30"}))

    assert caught.value.retry_after_seconds == 30


@pytest.mark.parametrize(
    ("status", "body", "rejected"),
    [
        (401, b"", True),
        (401, b'{"message":"Invalid authentication credentials"}', True),
        (200, b'{"code":401}', True),
        (200, b'{"status":1203}', True),
        (200, b'{"apim_status":4011}', True),
        (200, b'{"apim_status":"4012"}', True),
        (400, b'{"code":1203}', True),
        (200, b'{"code":0}', False),
        (200, b'{"code":1002}', False),
        (200, b"4011", False),
        (403, b'{"message":"Your IP address is not allowed"}', False),
        (500, b"", False),
    ],
)
def test_which_answers_ask_for_a_new_token(status, body, rejected):
    assert token_was_rejected(Answer(status, body)) is rejected


def test_rejected_token_is_known_by_its_code_under_http_403_too():
    assert token_was_rejected(Answer(403, b'{"apim_status":4011}'))


def test_body_is_compact_utf_8():
    assert json_body({"name": "演示", "n": 1}) == '{"name":"演示","n":1}'.encode()


def test_token_in_a_header_or_a_body_is_not_shown():
    request = Request("POST", "/x", "try", headers={"apim-accesstoken": "T0ken"}, body=b"T0ken")

    assert "T0ken" not in repr(request)
    assert "T0ken" not in repr(Answer(200, b"T0ken"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>T0ken</html>", "an answer that may hold a token and is not shown"),
        (b'{"data":"T0ken"}', "an answer that may hold a token and is not shown"),
        (b'{"status":7,"data":"T0ken"}', "an answer that may hold a token and is not shown"),
        (b" ", "an empty answer"),
    ],
)
def test_answer_to_an_unsigned_request_is_not_quoted(body, words):
    """Only the token service's requests are unsigned."""
    for http_status in (200, 500):
        with pytest.raises(EnOSError) as caught:
            read_data(UNSIGNED, Answer(http_status, body))

        assert words in str(caught.value)
        assert "T0ken" not in str(caught.value)


def test_too_large_answer_to_an_unsigned_request_is_not_quoted():
    with pytest.raises(EnOSUnreadableAnswerError) as caught:
        require_size(b"T0ken" * 2_000_001, UNSIGNED, 200)

    assert str(caught.value).startswith(
        "Cannot get an access token: more than 10000000 bytes, which is no answer of EnOS"
    )
    assert "T0ken" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"msg": "bad token APP_ab/c=="}',
        rb'{"msg": "bad token APP_ab/c\u003d\u003D"}',
        rb'{"msg": "bad token APP_ab\/c=="}',
        rb'{"msg": "bad token \u0041PP_ab/c=="}',
    ],
)
def test_secret_is_struck_from_an_answer_however_json_writes_it(body):
    seen = without(["APP_ab/c=="], answer(body))

    assert json.loads(seen.body) == {"msg": "bad token ***"}


def test_answer_with_half_a_character_is_left_as_it_is():
    body = rb'{"msg": "\ud800"}'

    assert without(["APP_abc"], answer(body)).body == body
