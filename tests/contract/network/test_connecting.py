"""From no network to a strange one: refused, unknown, silent, encrypted, proxied."""

import asyncio
import gzip
import logging
import os
import signal
import socket
import threading
import time
from base64 import b64encode
from dataclasses import replace
from urllib.parse import unquote

import pytest

from airflow_provider_enos.api import calls, errors, flows
from airflow_provider_enos.api.messages import Request
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.hooks.aiohttp_io import AiohttpIO
from airflow_provider_enos.hooks.requests_io import RequestsIO
from tests.contract.network.conftest import read_request
from tests.contract.test_secrets import told

#: requests warns of what we warn of already.
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

ORG = "o15517683199241"
LIST = "list the pipelines of organization o15517683199241"
TOKEN = f"Cannot list the pipelines of organization {ORG}: no access token: "


def look():
    return flows.once(calls.list_pipelines(ORG))


def look_unsigned():
    """Without a token first, whose trouble is told in other words."""
    call = calls.list_pipelines(ORG)
    return flows.once(replace(call, request=replace(call.request, signed=False)))


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_connection_refused_is_known_to_have_sent_nothing(emulator, connect, run):
    connect(emulator.connection, host=f"http://127.0.0.1:{closed_port()}")

    with pytest.raises(errors.EnOSUnreachableError) as raised:
        run(look())

    assert type(raised.value) is errors.EnOSUnreachableError
    assert str(raised.value).startswith(TOKEN)
    assert "127.0.0.1" in str(raised.value)
    assert str(raised.value).endswith(
        "Check the host and the proxy of the Airflow connection, and the network."
    )


def test_unknown_host_is_named(emulator, connect, run):
    connect(emulator.connection, host="http://enos.invalid")

    with pytest.raises(errors.EnOSUnreachableError) as raised:
        run(look())

    assert str(raised.value).startswith(TOKEN)
    assert "enos.invalid" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_host_that_does_not_even_connect_is_unreachable_in_time(emulator, connect, run):
    """A start whose connection was never made was never sent: no look at the status is needed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        # The queue of those that wait to be accepted is full, so the next one gets no answer.
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            connect(
                emulator.connection,
                host=f"http://127.0.0.1:{address[1]}",
                extra={"request_timeout_seconds": 0.4},
            )
            began = time.monotonic()

            with pytest.raises(errors.EnOSError) as raised:
                run(look_unsigned())

    assert time.monotonic() - began < 3
    assert type(raised.value) is errors.EnOSUnreachableError


# What was sent, and what cannot have been


def hang_up(connection):
    """Read the request, and leave."""
    read_request(connection)


def never_answer(connection):
    read_request(connection)
    connection.recv(1)  # until the client leaves


@pytest.mark.parametrize("handle", [hang_up, never_answer])
def test_request_that_a_proxy_has_read_may_have_arrived(emulator, connect, run, serve, handle):
    """It may have handed it on: a start must not be sent again as if nothing had happened."""
    proxy = f"http://me:the-secret@127.0.0.1:{serve(handle).port}"
    connect(emulator.connection, extra={"proxy": proxy, "request_timeout_seconds": 1})

    with pytest.raises(errors.EnOSNoAnswerError) as raised:
        run(look_unsigned())

    assert "the-secret" not in told(raised.value)


@pytest.mark.parametrize("handle", [hang_up, never_answer])
def test_request_for_which_a_proxy_made_no_tunnel_never_arrived(
    emulator, connect, run, serve, handle
):
    proxy = f"http://me:the-secret@127.0.0.1:{serve(handle).port}"
    extra = {"proxy": proxy, "request_timeout_seconds": 1}
    connect(emulator.connection, host="https://enos.invalid", extra=extra)

    with pytest.raises(errors.EnOSUnreachableError) as raised:
        run(look_unsigned())

    assert "the-secret" not in told(raised.value)


@pytest.mark.parametrize("handle", [hang_up, never_answer])
def test_request_for_which_there_was_no_tls_never_arrived(emulator, connect, run, serve, handle):
    host = f"https://127.0.0.1:{serve(lambda connection: handle_hello(connection, handle)).port}"
    connect(emulator.connection, host=host, extra={"request_timeout_seconds": 1})

    with pytest.raises(errors.EnOSUnreachableError):
        run(look_unsigned())


def handle_hello(connection, handle):
    connection.recv(65_536)
    if handle is never_answer:
        connection.recv(1)


def test_request_that_a_gateway_behind_tls_has_read_may_have_arrived(
    emulator, connect, run, serve, certificates
):
    server = serve(hang_up, certificates["127.0.0.1"].context)
    bundle = str(certificates["127.0.0.1"].path)
    connect(emulator.connection, host=f"https://127.0.0.1:{server.port}", extra={"verify": bundle})

    with pytest.raises(errors.EnOSNoAnswerError):
        run(look_unsigned())


@pytest.fixture(params=["sync", "async"])
def send(request):
    """Send a request with a client, past the checks of the connection."""

    def send_sync(settings, message):
        return RequestsIO(settings, print).send(message)

    def send_async(settings, message):
        async def open_and_send():
            async with AiohttpIO(settings, print) as io:
                return await io.send(message)

        return asyncio.run(open_and_send())

    return send_sync if request.param == "sync" else send_async


GET = Request("GET", "/x", "look")


@pytest.mark.parametrize(
    ("gateway_url", "proxy"),
    [
        ("http://a..b", None),
        (f"http://{'g' * 64}", None),
        ("http://127.0.0.1:99999", None),
        ("http://127.0.0.1:-1", None),
        ("gateway", None),
        ("http://127.0.0.1:9", "http://me:hunter2密@127.0.0.1:9"),
        ("https://127.0.0.1:9", "http://me:hunter2密@127.0.0.1:9"),
        ("http://127.0.0.1:9", "http://me:hunter2@127.0.0.1:99999"),
        ("http://127.0.0.1:9", f"http://me:hunter2@{'p' * 70}"),
    ],
)
def test_no_library_error_for_an_address_gets_through(send, gateway_url, proxy):
    """Whatever the check of the connection may miss."""
    settings = EnOSSettings(gateway_url, "AK", "SK", proxy=proxy, conn_id="c")

    with pytest.raises(errors.InvalidSettingError) as raised:
        send(settings, GET)

    assert str(raised.value) == (
        "Airflow connection 'c', host or proxy: no address that can be connected to."
    )
    assert "hunter2" not in told(raised.value)
    assert "密" not in told(raised.value)


@pytest.mark.parametrize(
    "headers",
    [{"x": "hunter2\nx: y"}, {"x": 5}, {"hunter2\n": "x"}],
    ids=["line end", "number", "name"],
)
def test_no_library_error_for_a_request_gets_through(send, emulator, headers):
    with pytest.raises(errors.EnOSError) as raised:
        send(EnOSSettings(emulator.url, "AK", "SK"), Request("GET", "/", "look", headers=headers))

    assert "hunter2" not in told(raised.value)
    assert emulator.requests == []


def test_session_that_is_closed_has_sent_nothing(emulator):
    async def close_and_send():
        async with AiohttpIO(EnOSSettings(emulator.url, "AK", "SK"), print) as io:
            pass
        await io.send(GET)

    with pytest.raises(errors.EnOSUnreachableError, match="RuntimeError in the HTTP client"):
        asyncio.run(close_and_send())


def test_unexpected_error_says_where_it_came_from_but_not_what_it_held(emulator):
    request = Request("GET", "/", "look", headers={"x": "密"})

    with pytest.raises(errors.EnOSNoAnswerError, match="UnicodeEncodeError") as raised:
        RequestsIO(EnOSSettings(emulator.url, "AK", "SK"), print).send(request)

    assert "putheader" in told(raised.value)
    assert "密" not in told(raised.value)


@pytest.fixture
def interrupt():
    """Run a function as a signal handler in the middle of a request."""
    before = signal.getsignal(signal.SIGUSR1)
    is_done = threading.Event()

    def in_the_middle_of(handler):
        def handle_signal(*_):
            try:
                handler()
            finally:
                is_done.set()

        signal.signal(signal.SIGUSR1, handle_signal)

        def handle_request(connection):
            read_request(connection)
            os.kill(os.getpid(), signal.SIGUSR1)
            is_done.wait()

        return handle_request

    yield in_the_middle_of
    signal.signal(signal.SIGUSR1, before)


def test_request_that_a_signal_handler_cannot_send_says_nothing_of_the_one_it_interrupts(
    serve, interrupt, certificates
):
    """A killed task sends a stop while its own request is under way, here while it connects."""
    failed = []

    def send_to_nobody():
        try:
            nobody = EnOSSettings(f"http://127.0.0.1:{closed_port()}", "AK", "SK")
            RequestsIO(nobody, print).send(GET)
        except errors.EnOSUnreachableError as error:
            failed.append(error)

    interrupt_connect = interrupt(send_to_nobody)

    def make_tunnel_and_hang_up(connection):
        interrupt_connect(connection)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with certificates["127.0.0.1"].context.wrap_socket(connection, server_side=True) as tls:
            read_request(tls)

    proxy = f"http://127.0.0.1:{serve(make_tunnel_and_hang_up).port}"
    settings = EnOSSettings("https://127.0.0.1", "AK", "SK", proxy=proxy, verify=False)

    with pytest.raises(errors.EnOSNoAnswerError):
        RequestsIO(settings, print).send(GET)

    assert len(failed) == 1


def test_kill_in_the_middle_of_a_request_is_no_trouble_of_the_network(serve, interrupt):
    def kill():
        raise errors.TaskKilledError("killed")

    server = serve(interrupt(kill))

    with pytest.raises(errors.TaskKilledError, match="killed"):
        RequestsIO(EnOSSettings(f"http://127.0.0.1:{server.port}", "AK", "SK"), print).send(GET)


# Answers that no HTTP framework would send


def test_answer_shorter_than_it_says_is_no_answer(gateway, run):
    def cut(connection):
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"code":0}')
        connection.shutdown(socket.SHUT_WR)

    gateway(cut)

    with pytest.raises(errors.EnOSNoAnswerError, match="Cannot stop pipeline p-1"):
        run(flows.once(calls.stop_pipeline(ORG, "p-1")))


def test_compressed_answer_is_read(gateway, run):
    body = gzip.compress(b'{"code":0,"data":{"count":0,"pipelines":[]}}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    gateway(lambda connection: connection.sendall(head.encode() + body))

    assert run(look()).pipelines == ()


def test_small_answer_that_unpacks_to_a_huge_one_is_refused(gateway, run):
    body = gzip.compress(b'{"code":0,"msg":"' + b"x" * 20_000_000 + b'"}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    gateway(lambda connection: connection.sendall(head.encode() + body))

    with pytest.raises(errors.EnOSUnreadableAnswerError, match="more than 10000000 bytes"):
        run(look())


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ids=["not http", "bad status", "not gzip", "bad chunk", "bad length", "not utf-8", "204"],
)
def test_broken_http_is_no_answer(gateway, run, bytes_sent):
    def send(connection):
        connection.sendall(bytes_sent)
        connection.shutdown(socket.SHUT_WR)

    gateway(send)

    with pytest.raises(errors.EnOSNoAnswerError, match=f"Cannot {LIST}: ") as raised:
        run(look())

    assert "\n" not in str(raised.value)


# TLS


def test_self_signed_certificate_is_refused_for_good(https, emulator, connect, run):
    connect(emulator.connection, host=https())

    with pytest.raises(errors.EnOSCertificateError) as raised:
        run(flows.ask(calls.list_pipelines(ORG)))

    assert "self-signed certificate" in str(raised.value)
    assert "put the path of its bundle into 'verify'" in str(raised.value)
    assert emulator.requests == []


def test_certificate_is_accepted_with_its_bundle(https, emulator, connect, run, certificates):
    bundle = str(certificates["127.0.0.1"].path)
    connect(emulator.connection, host=https(), extra={"verify": bundle})

    assert len(run(look()).pipelines) == 3


def test_bundle_of_the_environment_counts(https, emulator, connect, run, certificates, monkeypatch):
    """Companies set REQUESTS_CA_BUNDLE for all of their machines."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates["127.0.0.1"].path))
    connect(emulator.connection, host=https())

    assert len(run(look()).pipelines) == 3


def test_certificate_of_another_host_is_refused(https, emulator, connect, run, certificates):
    bundle = str(certificates["other.example"].path)
    connect(emulator.connection, host=https("other.example"), extra={"verify": bundle})

    with pytest.raises(errors.EnOSCertificateError, match=r"127\.0\.0\.1"):
        run(look())

    assert emulator.requests == []


@pytest.mark.parametrize("off", [False, "false", "False"])
def test_verification_can_be_turned_off_with_a_warning(https, emulator, connect, run, caplog, off):
    host = https()
    connect(emulator.connection, host=host, extra={"verify": off})

    assert len(run(look()).pipelines) == 3

    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.getMessage() == (
        f"TLS certificates of {host} are NOT verified ('verify' of the Airflow connection)."
    )


@pytest.mark.parametrize("name", [None, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(
    "content", [None, "no certificate\n", ""], ids=["missing", "no certificate", "empty"]
)
def test_bundle_that_is_none_is_an_error_of_the_place_that_names_it(
    emulator, connect, run, monkeypatch, tmp_path, content, name
):
    """Any other exception would end a trigger without an event."""
    monkeypatch.chdir(tmp_path)
    path = "bundle.pem"
    if content is not None:
        (tmp_path / path).write_text(content)
    if name:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.setenv(name, path)
    else:
        connect(emulator.connection, extra={"verify": path})

    with pytest.raises(errors.InvalidSettingError) as raised:
        run(look())

    place = f"environment variable {name}" if name else "Airflow connection 'enos_default', verify"
    assert str(raised.value) == (
        f"{place}: got {path!r}, allowed is the path of a CA bundle (PEM file or folder)."
    )
    assert emulator.requests == []


@pytest.mark.parametrize("verify", ["", True, "false"])
def test_broken_bundle_of_the_environment_counts_only_without_verify(
    emulator, connect, run, monkeypatch, verify
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    connect(emulator.connection, extra={"verify": verify})

    if verify == "false":
        assert len(run(look()).pipelines) == 3
    else:
        with pytest.raises(errors.InvalidSettingError, match="REQUESTS_CA_BUNDLE"):
            run(look())


def test_bundle_may_be_a_folder_for_both_or_for_none(
    https, emulator, connect, run, certificates, tmp_path
):
    (tmp_path / "one.pem").write_bytes(certificates["127.0.0.1"].path.read_bytes())
    connect(emulator.connection, host=https(), extra={"verify": str(tmp_path)})

    # An unhashed folder holds no certificate for OpenSSL, so either verdict is right.
    with pytest.raises((errors.EnOSCertificateError, errors.InvalidSettingError)):
        run(look())


def test_https_address_of_a_plain_server_says_so_at_once(emulator, connect, run):
    """The scheme is https unless given, so this is the first mistake that everybody makes."""
    connect(emulator.connection, host=emulator.url.removeprefix("http://"))

    with pytest.raises(errors.EnOSUnreachableError, match=r"(?i)ssl") as raised:
        run(look())

    assert str(raised.value).endswith(
        "the other side does not speak TLS. A host without http:// means https://. Check the host "
        "and the proxy of the Airflow connection, and the network."
    )


# Proxies


@pytest.fixture(autouse=True)
def _no_proxies_of_this_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_proxy_of_the_connection_is_used(emulator, connect, run, new_proxy):
    proxy = new_proxy()
    connect(emulator.connection, extra={"proxy": proxy.url})

    assert len(run(look()).pipelines) == 3

    assert [request.target.split("?")[0] for request in proxy.seen] == [
        f"{emulator.url}/apim-token-service/v2.0/token/get",
        f"{emulator.url}/streaming/v2.0/streaming/pipelines",
    ]
    assert len(emulator.requests) == 2


def test_proxy_sees_nothing_of_an_encrypted_call(
    https, emulator, connect, run, new_proxy, certificates
):
    proxy, host = new_proxy(), https()
    bundle = str(certificates["127.0.0.1"].path)
    connect(emulator.connection, host=host, extra={"proxy": proxy.url, "verify": bundle})

    assert len(run(look()).pipelines) == 3

    target = host.removeprefix("https://")
    assert {(request.method, request.target) for request in proxy.seen} == {("CONNECT", target)}
    assert "apim-" not in repr([request.headers for request in proxy.seen])


def test_password_of_a_proxy_goes_to_the_proxy_only(emulator, connect, run, new_proxy):
    proxy = new_proxy()
    connect(emulator.connection, extra={"proxy": f"http://me:the-secret@{proxy.address}"})

    run(look())

    # Base64 of me:the-secret
    assert {request.headers.get("proxy-authorization") for request in proxy.seen} == {
        "Basic bWU6dGhlLXNlY3JldA=="
    }
    assert not [request for request in proxy.seen if "authorization" in request.headers]


@pytest.mark.parametrize("password", ["p%C3%A9", "pé", "100%", "a%20b", "a b", "a+b", "", None])
@pytest.mark.parametrize("is_tunnel", [True, False])
def test_password_of_a_proxy_is_the_same_for_both_clients(
    https, emulator, connect, run, new_proxy, password, is_tunnel
):
    proxy = new_proxy()
    credentials = "me" if password is None else f"me:{password}"
    host = https() if is_tunnel else emulator.url
    address = f"http://{credentials}@{proxy.address}"
    connect(emulator.connection, host=host, extra={"proxy": address, "verify": False})

    run(look())

    plain = b"me:" + unquote(password or "").encode("latin-1")
    assert {request.headers.get("proxy-authorization") for request in proxy.seen} == {
        f"Basic {b64encode(plain).decode()}"
    }


BAD_PROXIES = [
    "http://me:hunter2密@127.0.0.1:1",
    "http://me:hunter2%FF@127.0.0.1:1",
    f"http://me:hunter2@{'p' * 70}:1",
    "http://me:hunter2@代理:1",
    "http://me:hunter2@pro xy:1",
    "http://me:hunter2@[::1:1",
    "http://me:hunter2@127.0.0.1:99999",
    "http://me:hunter2@127.0.0.1:0",
    "http://me:hun\nter2@127.0.0.1:1",
    "socks5://me:hunter2@127.0.0.1:1",
]


@pytest.mark.parametrize("place", ["Airflow connection 'enos_default', proxy", "HTTP_PROXY"])
@pytest.mark.parametrize("proxy", BAD_PROXIES)
def test_bad_proxy_is_refused_by_both_clients_without_its_password(
    emulator, connect, run, monkeypatch, caplog, place, proxy
):
    caplog.set_level(logging.DEBUG)
    if place == "HTTP_PROXY":
        monkeypatch.setenv(place, proxy)
    else:
        connect(emulator.connection, extra={"proxy": proxy})

    with pytest.raises(errors.InvalidSettingError) as raised:
        run(look())

    assert f"{place}: " in str(raised.value)
    for part in ("hunter2", "hun", "密"):
        assert part not in told(raised.value) + caplog.text
    assert emulator.requests == []


BAD_HOSTS = [f"{'g' * 70}", "gateway.例子", "g w", "[::1", "g..w", "gw:99999", "gw:0", "gw/路"]


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_bad_host_is_refused_by_both_clients(emulator, connect, run, host):
    connect(emulator.connection, host=f"http://{host}")

    with pytest.raises(errors.InvalidSettingError) as raised:
        run(look())

    assert str(raised.value).startswith("Airflow connection 'enos_default', host: ")


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_proxy_of_the_environment_is_used(emulator, run, new_proxy, monkeypatch, name):
    proxy = new_proxy()
    monkeypatch.setenv(name, proxy.url)

    assert len(run(look()).pipelines) == 3

    assert len(proxy.seen) == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("via_proxy", [True, False])
def test_plain_http_is_warned_of(
    emulator, connect, run, new_proxy, monkeypatch, caplog, scheme, via_proxy
):
    connect(emulator.connection, host=f"{scheme}://enos.invalid")
    if via_proxy:
        monkeypatch.setenv("ALL_PROXY", new_proxy(refuse="503 Service Unavailable").url)

    with pytest.raises(errors.EnOSError):
        run(look())

    warned = "Requests to http://enos.invalid are NOT encrypted" in caplog.text
    assert warned is (scheme == "http")
    assert ("the proxy and others on the way" in caplog.text) is (warned and via_proxy)


def test_plain_http_to_an_emulator_on_this_machine_is_not_warned_of(run, emulator, caplog):
    run(look())

    assert "NOT encrypted" not in caplog.text


def test_proxy_of_the_environment_may_lack_its_scheme(emulator, run, new_proxy, monkeypatch):
    proxy = new_proxy()
    monkeypatch.setenv("HTTP_PROXY", proxy.address)

    assert len(run(look()).pipelines) == 3

    assert len(proxy.seen) == 2


@pytest.mark.parametrize(
    "proxy", ["http://me:the-secret@127.0.0.1:99999", "socks5://me:the-secret@127.0.0.1:9"]
)
def test_wrong_proxy_of_the_environment_is_named_without_its_password(
    emulator, run, monkeypatch, proxy
):
    monkeypatch.setenv("HTTP_PROXY", proxy)

    with pytest.raises(errors.InvalidSettingError, match="HTTP_PROXY") as raised:
        run(look())

    assert "the-secret" not in str(raised.value)


def test_unreachable_proxy_of_the_environment_is_said_without_its_password(
    emulator, run, monkeypatch
):
    monkeypatch.setenv("HTTP_PROXY", f"me:the-secret@127.0.0.1:{closed_port()}")

    with pytest.raises(errors.EnOSUnreachableError) as raised:
        run(look())

    assert "the-secret" not in str(raised.value)


def test_https_proxy_of_the_environment_is_used(
    https, emulator, connect, run, new_proxy, certificates, monkeypatch
):
    proxy = new_proxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    bundle = str(certificates["127.0.0.1"].path)
    connect(emulator.connection, host=https(), extra={"verify": bundle})

    assert len(run(look()).pipelines) == 3

    assert {request.method for request in proxy.seen} == {"CONNECT"}


@pytest.mark.parametrize(
    "no_proxy",
    ["127.0.0.1", "example.com,127.0.0.1", "*", "127.0.0.0/8", "10.0.0.0/8, 127.0.0.0/8"],
)
def test_no_proxy_of_the_environment_is_obeyed(emulator, run, new_proxy, monkeypatch, no_proxy):
    proxy = new_proxy()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", no_proxy)

    assert len(run(look()).pipelines) == 3

    assert proxy.seen == []


@pytest.mark.parametrize("no_proxy", ["10.0.0.0/8", "127.0.0.2", "example.com", "127.0.0.0/99"])
def test_no_proxy_of_the_environment_for_others_changes_nothing(
    emulator, run, new_proxy, monkeypatch, no_proxy
):
    proxy = new_proxy()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", no_proxy)

    assert len(run(look()).pipelines) == 3

    assert len(proxy.seen) == 2


@pytest.mark.parametrize("is_tunnel", [True, False])
def test_proxy_that_cannot_be_reached_is_said_without_its_password(
    https, emulator, connect, run, is_tunnel
):
    proxy = f"http://me:the-secret@127.0.0.1:{closed_port()}"
    host = https() if is_tunnel else emulator.url
    connect(emulator.connection, host=host, extra={"proxy": proxy, "verify": False})

    with pytest.raises(errors.EnOSUnreachableError) as raised:
        run(look())

    assert "the-secret" not in str(raised.value)
    assert emulator.requests == []


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden"])
def test_proxy_that_refuses_the_tunnel_is_said_without_its_password(
    https, emulator, connect, run, new_proxy, status
):
    proxy = new_proxy(refuse=status)
    address = f"http://me:the-secret@{proxy.address}"
    connect(emulator.connection, host=https(), extra={"proxy": address, "verify": False})

    with pytest.raises(errors.EnOSUnreachableError) as raised:
        run(look())

    assert status.split()[0] in str(raised.value)
    assert "the-secret" not in str(raised.value)
    assert emulator.requests == []
