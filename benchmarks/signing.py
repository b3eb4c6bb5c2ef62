"""EnOS's signature for ``requests``, as users of an HTTP operator write it for themselves."""

import hashlib
import time
from urllib.parse import parse_qsl, urlsplit

import requests


class EnOSAuth(requests.auth.AuthBase):
    """Get a token and sign with it."""

    def __init__(self, access_key, secret_key):
        self._access_key, self._secret_key = access_key, secret_key

    def __call__(self, request):
        """Sign a request."""
        parts = urlsplit(request.url)
        token = self._token(f"{parts.scheme}://{parts.netloc}")
        stamp = str(int(time.time() * 1000))
        query = "".join(name + value for name, value in sorted(parse_qsl(parts.query)))
        body = request.body or ""
        body = body.decode() if isinstance(body, bytes) else body
        signed = token + query + body + stamp + self._secret_key
        request.headers["apim-accesstoken"] = token
        request.headers["apim-timestamp"] = stamp
        request.headers["apim-signature"] = hashlib.sha256(signed.encode()).hexdigest()
        return request

    def _token(self, gateway):
        while True:
            stamp = str(int(time.time() * 1000))
            proof = hashlib.sha256((self._access_key + stamp + self._secret_key).encode())
            answer = requests.post(
                f"{gateway}/apim-token-service/v2.0/token/get",
                json={
                    "appKey": self._access_key,
                    "timestamp": stamp,
                    "encryption": proof.hexdigest(),
                },
                timeout=30,
            ).json()
            if answer["status"] == 0:
                return answer["data"]["accessToken"]
