"""What we sign is what the gateway checks; the emulator's own check shares no code with ours."""

import hashlib
from urllib.parse import parse_qsl, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_enos.api.messages import Request
from airflow_provider_enos.api.signing import signed_headers, token_encryption
from airflow_provider_enos.emulator.auth import Application, Gate
from airflow_provider_enos.emulator.settings import Settings

NOW = 1_790_000_000.0
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
QUERIES = st.lists(st.tuples(KEYS, TEXTS), unique_by=lambda pair: pair[0], max_size=6)


def by_the_book(token, query, body, timestamp, secret_key):
    """EnOS's rule, step by step: sort by name, append all, hash."""
    text = token
    for name in sorted({name for name, _ in query}):
        text += name + dict(query)[name]
    digest = hashlib.sha256()
    for piece in (text.encode(), body, str(timestamp).encode(), secret_key.encode()):
        digest.update(piece)
    return digest.hexdigest()


@given(KEYS, QUERIES, st.binary(), st.integers(0, 10**14), KEYS)
def test_signature_is_that_of_the_book(token, query, body, timestamp, secret_key):
    headers = signed_headers(
        token=token, secret_key=secret_key, timestamp_ms=timestamp, query=query, body=body
    )

    assert headers["apim-signature"] == by_the_book(token, query, body, timestamp, secret_key)


@given(KEYS, QUERIES, st.binary(), KEYS, TEXTS)
def test_gateway_accepts_what_arrives(access_key, query, body, secret_key, path):
    """The gateway signs the query that it has decoded: the way there and back loses nothing."""
    gate = Gate(Settings(), lambda: NOW)
    gate.add_application(Application(access_key, secret_key))
    timestamp = int(NOW * 1000)
    asked = {
        "appKey": access_key,
        "timestamp": timestamp,
        "encryption": token_encryption(access_key, secret_key, timestamp),
    }
    token = gate.get_token(asked)["accessToken"]
    request = Request("POST", f"/{path}", "test", query=tuple(query), body=body)
    url = urlsplit("https://gateway.invalid" + request.target)
    arrived = parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(query))

    application = gate.check(
        signed_headers(
            token=token, secret_key=secret_key, timestamp_ms=timestamp, query=query, body=body
        ),
        arrived,
        body,
    )

    assert application.access_key == access_key
    assert arrived == query
    assert url.netloc == "gateway.invalid"
    assert not url.fragment
