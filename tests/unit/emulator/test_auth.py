"""Tokens and signatures, against vectors that the vendor's own client and page produced."""

import hashlib

import pytest

from airflow_provider_enos.emulator.auth import (
    Application,
    Gate,
    TokenExpired,
    TokenRefused,
    Unauthorized,
    sha256,
    signature,
)

KEY = "11111111-2a3b-4c5d-8e9f-000000000001"
SECRET = "22222222-6d7e-4f80-9a1b-00000000000f"
ORG = ("orgId", "o15517683199241")


@pytest.fixture
def gate(settings, clock):
    gate = Gate(settings, clock)
    gate.add_application(Application(KEY, SECRET))
    return gate


def token_body(stamp=1700000000123, *, secret=SECRET, **more):
    encryption = hashlib.sha256(f"{KEY}{stamp}{secret}".encode()).hexdigest()
    return {"appKey": KEY, "timestamp": stamp, "encryption": encryption, **more}


def headers(token, stamp=1700000000000, query="", body=""):
    text = f"{token}{query}{body}{stamp}{SECRET}"
    return {
        "apim-accesstoken": token,
        "apim-timestamp": str(stamp),
        "apim-signature": hashlib.sha256(text.encode()).hexdigest(),
    }


def code_of(call, body):
    with pytest.raises(TokenRefused) as refused:
        call(body)
    return refused.value.code


def test_signature_of_the_documentations_worked_example():
    body = '{\n  "count": 20,\n  "page": 1,\n  "desc": "描述"\n}'
    query = [("k3", "v3"), ("k1", "v1"), ("k2", "v2")]

    assert signature("xxxxaaaxxxx", query, body.encode(), "1572574909697", "xxxappSecretxxx") == (
        "59828328f6c1f9771015dc74e4929ae30f518a35a3d2353972c2ea46556fc981"
    )


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        ([], "", "b6009e882e619923821107a0271b54bc7648edc0c617da9dd62d3a0041e7eb90"),
        (
            [ORG, ("ifReleased", "true")],
            "",
            "8f50b0fb042c52bd904c683ce580a07fa474609e2fa36e96bd665147faf67522",
        ),
        (
            [("ab", "2"), ("a", "1"), ("abc", "3"), ("a1", "4")],
            "",
            "ba5f9f7591c8ecbdfecfde8590f56fba4499499750768149f061a8c19b44b5d2",
        ),
        (
            [("name", "Zürich é"), ("orgId", "o1")],
            "",
            "8f0c9d956ead4f1d3ab1209a34d11276d275c38064bf7dbf1402a3ea1cc455d8",
        ),
        (
            [("action", "pause"), ORG],
            "{}",
            "acdc50f87026d7565f2c0d1d98239a9e75a628bc666b713650e8db8f40226d1b",
        ),
        (
            [("action", "start"), ORG],
            '{"executionMode": 0, "kafkaRate": 1000, "resourceConfig": {"server": 1}}',
            "ed409e976a37b9edfe17822cb1793c8554a293713ed1a1383b2e3f652fd03eee",
        ),
        (
            [("orgId", "o1")],
            '{"a":1}\n',
            "2a028c1c4b1cfd519afbbb477a424a41fa3d27df8d7165e08d8d8a8c042c0f4f",
        ),
    ],
    ids=["bare", "unsorted", "prefixes", "unicode", "empty object", "spaces", "newline"],
)
def test_signature_vectors(query, body, expected):
    token, stamp = "APIM_TEST_TOKEN_0001", "1700000000123"

    assert signature(token, query, body.encode(), stamp, SECRET) == expected


def test_encryption_vector():
    expected = "0f7d94f13ef7156146e946dd5cda63df8844a008da6f8a934035aee416b35dcd"

    assert sha256(KEY, "1700000000123", SECRET) == expected


def test_same_token_until_it_expires(gate, clock):
    first = gate.get_token(token_body(1))
    assert first["expire"] == 7200
    clock.now += 200
    assert gate.get_token(token_body(2)) == {**first, "expire": 7000}

    clock.now += 7000

    again = gate.get_token(token_body(3))
    assert again["expire"] == 7200
    assert again["accessToken"] != first["accessToken"]


def test_lifetime_is_a_setting(gate, settings):
    settings.token_seconds = 30

    assert gate.get_token(token_body())["expire"] == 30


def test_timestamp_may_be_text(gate):
    assert gate.get_token(token_body("1700000000123"))["expire"] == 7200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"appKey": ""}, 1202),
        ({"timestamp": None}, 1202),
        ({"encryption": ""}, 1202),
        ({"timestamp": "now"}, 1004),
        ({"timestamp": 1.5}, 1004),
        ({"appKey": True}, 1004),
        ({"appKey": "other"}, 1002),
        ({"encryption": "0" * 64}, 1003),
    ],
)
def test_wrong_token_request(gate, change, code):
    assert code_of(gate.get_token, {**token_body(), **change}) == code


def test_token_request_that_is_no_object(gate):
    assert code_of(gate.get_token, None) == 1004


def test_same_encryption_again(gate):
    gate.get_token(token_body())

    assert code_of(gate.get_token, token_body()) == 1001


def test_wrong_secret(gate):
    assert code_of(gate.get_token, token_body(secret="wrong")) == 1003


def test_refresh_ends_the_old_token(gate):
    old = gate.get_token(token_body(1))["accessToken"]

    new = gate.refresh_token(token_body(2, accessToken=old))

    assert new["expire"] == 7200
    assert gate.get_token(token_body(3)) == new
    with pytest.raises(TokenExpired):
        gate.check(headers(old), [], b"")


def test_wrong_refresh(gate, clock):
    token = gate.get_token(token_body(1))["accessToken"]
    assert code_of(gate.refresh_token, token_body(2)) == 1202
    assert code_of(gate.refresh_token, token_body(3, accessToken="other")) == 1204

    clock.now += 7200

    assert code_of(gate.refresh_token, token_body(4, accessToken=token)) == 1203


def test_signed_request_is_let_in(gate):
    token = gate.get_token(token_body())["accessToken"]
    signed = headers(token, query="a1b 2", body='{"x": 1}')

    application = gate.check(signed, [("b", " 2"), ("a", "1")], b'{"x": 1}')

    assert application.access_key == KEY


@pytest.mark.parametrize(
    "change",
    [
        {"apim-accesstoken": "other"},
        {"apim-accesstoken": ""},
        {"apim-signature": "0" * 64},
        {"apim-signature": ""},
        {"apim-timestamp": "now"},
        {"apim-timestamp": "1700000000001"},
    ],
)
def test_wrong_headers(gate, change):
    token = gate.get_token(token_body())["accessToken"]

    with pytest.raises(Unauthorized):
        gate.check({**headers(token), **change}, [], b"")


def test_other_body_than_signed(gate):
    token = gate.get_token(token_body())["accessToken"]

    with pytest.raises(Unauthorized):
        gate.check(headers(token, body="{}"), [], b"{ }")


@pytest.mark.parametrize("minutes", [-15, 15])
def test_clock_may_differ_by_fifteen_minutes(gate, minutes):
    token = gate.get_token(token_body())["accessToken"]
    limit = 1_700_000_000_000 + minutes * 60_000

    gate.check(headers(token, stamp=limit), [], b"")

    with pytest.raises(Unauthorized):
        gate.check(headers(token, stamp=limit + (1 if minutes > 0 else -1)), [], b"")


def test_expired_token_is_told_from_a_wrong_one(gate, clock):
    token = gate.get_token(token_body())["accessToken"]
    clock.now += 7200

    with pytest.raises(TokenExpired):
        gate.check(headers(token, stamp=1_700_007_200_000), [], b"")


def test_revoked_tokens_are_over_and_new_ones_differ(gate):
    token = gate.get_token(token_body(1))["accessToken"]

    gate.revoke()

    with pytest.raises(TokenExpired):
        gate.check(headers(token), [], b"")
    assert gate.get_token(token_body(2))["accessToken"] != token


def test_application_may_be_bound_to_organizations():
    assert Application("k", "s").may_use("any")
    assert Application("k", "s", frozenset({"o1"})).may_use("o1")
    assert not Application("k", "s", frozenset({"o1"})).may_use("o2")
