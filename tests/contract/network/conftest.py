"""Servers below HTTP: they record, relay, encrypt and misbehave as no emulator of EnOS can."""

import contextlib
import datetime
import ipaddress
import json
import socket
import ssl
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class TcpServer:
    """Give each connection to ``handle``, in a thread of its own; ``tls`` encrypts it first."""

    def __init__(self, handle, tls=None):
        self._handle, self._tls = handle, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        # A client that does not like our certificate, or has heard enough, just leaves.
        with contextlib.suppress(OSError), connection:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._handle(connection)

    def close(self):
        for one in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@dataclass(frozen=True)
class Wire:
    """One request as it came over the wire; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


def read_request(connection):
    """Read one request; None when the client has left."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65_536)
    return Wire(method, target, headers, body)


def pump(left, right):
    """Carry bytes both ways until one side ends."""

    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=copy, args=[right, left], daemon=True)
    back.start()
    copy(left, right)
    back.join()


def answer(body, status="200 OK", headers=""):
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def serve():
    """Start a server of connections."""
    servers = []

    def start(handle, tls=None):
        servers.append(TcpServer(handle, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def gateway(serve, emulator, connect):
    """
    A gateway that gives tokens, and answers all else with the bytes that ``script`` sends.

    It returns the list of the requests that it saw.
    """

    def start(
        script=lambda connection: connection.sendall(answer(b'{"code":0}')), path="", **extra
    ):
        seen = []
        token = {"status": 0, "msg": "SUCCESS", "data": {"accessToken": "t-1", "expire": 7200}}

        def handle(connection):
            while request := read_request(connection):
                seen.append(request)
                if "/apim-token-service/" in request.target:
                    connection.sendall(answer(json.dumps(token).encode()))
                else:
                    script(connection)

        server = serve(handle)
        connect(emulator.connection, host=f"http://127.0.0.1:{server.port}{path}", extra=extra)
        return seen

    return start


class Proxy:
    """An HTTP proxy that writes down what it is asked for."""

    def __init__(self, serve, refuse=None):
        self.seen = []
        self._refuse = refuse
        self.address = f"127.0.0.1:{serve(self._handle).port}"
        self.url = f"http://{self.address}"

    def _handle(self, client):
        request = read_request(client)
        self.seen.append(request)
        if self._refuse:
            client.sendall(answer(b"", self._refuse))
            return
        is_tunnel = request.method == "CONNECT"
        parts = urlsplit(f"//{request.target}" if is_tunnel else request.target)
        with socket.create_connection((parts.hostname, parts.port)) as server:
            if is_tunnel:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                pump(client, server)
                return
            left_out = ("connection", "proxy-authorization")
            kept = {name: it for name, it in request.headers.items() if name not in left_out}
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            lines = [f"{request.method} {path} HTTP/1.1", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in kept.items()]
            server.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + request.body)
            while data := server.recv(65_536):
                client.sendall(data)


@pytest.fixture
def new_proxy(serve):
    return lambda **options: Proxy(serve, **options)


class Certificate:
    """A self-signed certificate for one name, and the server's side of TLS with it."""

    def __init__(self, folder, name):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EnOS of a test")])
        try:
            names = [x509.IPAddress(ipaddress.ip_address(name))]
        except ValueError:
            names = [x509.DNSName(name)]
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        key_path = folder / f"{name}.key"
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.path, key_path)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """One for this machine's loopback address, one for another host."""
    folder = tmp_path_factory.mktemp("certificates")
    return {name: Certificate(folder, name) for name in ("127.0.0.1", "other.example")}


@pytest.fixture
def https(serve, emulator, certificates):
    """The emulator behind TLS; returns the address."""

    def start(name="127.0.0.1"):
        emulator_port = int(emulator.url.rpartition(":")[2])

        def handle(client):
            with socket.create_connection(("127.0.0.1", emulator_port)) as enos:
                pump(client, enos)

        return f"https://127.0.0.1:{serve(handle, certificates[name].context).port}"

    return start
