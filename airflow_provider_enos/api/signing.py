"""
How a request proves who sends it.

The secret key goes into hashes only. Rules:
https://support.enos-iot.com/docs/api/en/3.0.0/ (Get Access Token; Request Signature).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def token_encryption(access_key: str, secret_key: str, timestamp_ms: int) -> str:
    """Return the ``encryption`` of a token request made at ``timestamp_ms``."""
    return sha256(f"{access_key}{timestamp_ms}{secret_key}".encode()).hexdigest()


def signature(
    *,
    token: str,
    secret_key: str,
    timestamp_ms: int,
    query: Iterable[tuple[str, str]],
    body: bytes,
) -> str:
    """
    Return the ``apim-signature`` of a request.

    :param query: Names and values as they were before percent-encoding, in any order.
    :param body: The bytes exactly as they are sent; empty if there is no body.
    """
    parameters = "".join(name + value for name, value in sorted(query))
    head, tail = f"{token}{parameters}", f"{timestamp_ms}{secret_key}"
    return sha256(head.encode() + body + tail.encode()).hexdigest()


def signed_headers(
    *,
    token: str,
    secret_key: str,
    timestamp_ms: int,
    query: Iterable[tuple[str, str]],
    body: bytes,
) -> dict[str, str]:
    """Return the three headers that the gateway asks for."""
    return {
        "apim-accesstoken": token,
        "apim-timestamp": str(timestamp_ms),
        "apim-signature": signature(
            token=token, secret_key=secret_key, timestamp_ms=timestamp_ms, query=query, body=body
        ),
    }
