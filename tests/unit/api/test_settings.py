"""The fields of an Airflow connection: what is accepted, and what an error says of the rest."""

import pytest

from airflow_provider_enos.api.errors import InvalidSettingError
from airflow_provider_enos.api.settings import (
    EXTRA_FIELDS,
    EnOSSettings,
    misspelt_fields,
    require_json_object,
)


def read(*, extra=None, **fields):
    given = {
        "host": "apim.example.invalid",
        "port": None,
        "login": "AK",
        "password": "s3cret-key",
        **fields,
    }
    return EnOSSettings.from_connection("enos_default", extra=extra or {}, **given)


def refusal_of(**fields):
    with pytest.raises(InvalidSettingError) as caught:
        read(**fields)
    return str(caught.value)


def test_connection_with_the_least_gets_safe_defaults():
    settings = read()

    assert settings == EnOSSettings(
        gateway_url="https://apim.example.invalid",
        access_key="AK",
        secret_key="s3cret-key",
        org_id=None,
        console_url=None,
        verify=True,
        proxy=None,
        request_timeout_seconds=30.0,
        conn_id="enos_default",
    )


def test_connection_with_everything():
    extra = {
        "org_id": " o1 ",
        "console_url": "https://console.example.invalid/{org_id}/{pipeline_id}",
        "verify": "/etc/ca.pem",
        "proxy": "http://proxy.example.invalid:3128",
        "request_timeout_seconds": "12.5",
    }

    settings = read(host="http://gw", port=8080, login=" AK ", password=" SK\n", extra=extra)

    assert settings == EnOSSettings(
        gateway_url="http://gw:8080",
        access_key="AK",
        secret_key="SK",
        org_id="o1",
        console_url="https://console.example.invalid/{org_id}/{pipeline_id}",
        verify="/etc/ca.pem",
        proxy="http://proxy.example.invalid:3128",
        request_timeout_seconds=12.5,
        conn_id="enos_default",
    )


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("gw", None, "https://gw"),
        ("gw/", None, "https://gw"),
        (" https://gw/ ", None, "https://gw"),
        ("gw:8443", None, "https://gw:8443"),
        ("gw", 8443, "https://gw:8443"),
        ("gw:8443", 8443, "https://gw:8443"),
        ("gw:8443", 1, "https://gw:8443"),
        ("HTTP://gw", None, "http://gw"),
        ("https://GW:443/", None, "https://gw"),
        ("gw", 443, "https://gw"),
        ("http://gw", 80, "http://gw"),
        ("http://gw", 443, "http://gw:443"),
        ("[::1]:443", None, "https://[::1]"),
        ("gw:0443", None, "https://gw"),
        ("gw:08443", None, "https://gw:8443"),
        ("https://gw/base/", 8443, "https://gw:8443/base"),
        ("[::1]", 8443, "https://[::1]:8443"),
    ],
)
def test_gateway_address(host, port, url):
    assert read(host=host, port=port).gateway_url == url


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "  ",
        5,
        ["gw"],
        "ftp://gw",
        "gw?x=1",
        "gw#x",
        "g w",
        "gw\nx",
        "gw:port",
        "gw:65536",
        "[::1",
        "[fe80::1%eth0]",
        "g" * 64,
        ".".join(["gw"] * 100),
        "gw..example",
        "gateway.例子",
        "gw\u3002example",
        "https://gw/a b",
        "https://gw/路",
        "https://gw/a%2Fb",
        "https://gw/../b",
        "https://gw//b",
        "https://gw/\ud800",
    ],
)
def test_wrong_host_is_named_with_what_is_allowed(host):
    text = refusal_of(host=host)

    assert text.startswith("Airflow connection 'enos_default', host: ")
    assert "the address of the EnOS API gateway, e.g. https://apim.example.com" in text
    assert text.isprintable()


def test_host_of_another_script_is_told_how_to_be_written():
    assert refusal_of(host="gateway.例子").endswith(
        "(in ASCII, a name of another script as xn--...)."
    )
    assert read(host="gateway.xn--fsqu00a").gateway_url == "https://gateway.xn--fsqu00a"


@pytest.mark.parametrize(
    "host",
    [
        "https://user:hunter2@gw",
        "https://hunter2@gw",
        "https://user:hunter2#x@gw",
        "user:hunter2/x@gw",
        "user:hunter2@[gw",
        "http:/user:hunter2@gw",
        "https:user:hunter2@gw",
    ],
)
def test_password_in_the_host_is_not_repeated(host):
    assert "hunter2" not in refusal_of(host=host)


@pytest.mark.parametrize(
    "host",
    ["http:/apim.example.invalid", "HTTPS:gw", "https://", "https:///x", "https:", "/", "//gw"],
)
def test_slip_in_the_scheme_is_no_host(host):
    assert "host: " in refusal_of(host=host)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("https://a-b_c.example.", "https://a-b_c.example."),
        ("g" * 63, f"https://{'g' * 63}"),
        ("https://gw/api/v1.2/..x", "https://gw/api/v1.2/..x"),
        ("10.0.0.1", "https://10.0.0.1"),
    ],
)
def test_unusual_hosts_that_both_clients_can_reach(host, url):
    assert read(host=host).gateway_url == url


@pytest.mark.parametrize(
    ("schema", "host", "url"),
    [
        (None, "gw", "https://gw"),
        ("", "gw", "https://gw"),
        (" ", "gw", "https://gw"),
        ("http", "gw", "http://gw"),
        (" HTTP ", "gw:8080", "http://gw:8080"),
        ("https", "gw", "https://gw"),
        ("http", "https://gw", "https://gw"),
    ],
)
def test_schema_is_the_scheme_of_a_host_that_has_none(schema, host, url):
    assert read(schema=schema, host=host).gateway_url == url


@pytest.mark.parametrize("schema", ["ftp", "base", "http://", 5, False, ["http"]])
def test_schema_that_is_no_scheme_is_refused(schema):
    assert refusal_of(schema=schema) == (
        f"Airflow connection 'enos_default', schema: got {schema!r}, allowed is http or https, "
        "for a host without a scheme, or nothing."
    )


@pytest.mark.parametrize("port", [None, "", " ", 1, 65535, "8443", " 8443 "])
def test_port(port):
    suffix = f":{int(port)}" if port and str(port).strip() else ""

    assert read(port=port).gateway_url == f"https://apim.example.invalid{suffix}"


@pytest.mark.parametrize("host", ["gw", "gw:8443"])
@pytest.mark.parametrize(
    "port",
    [
        0,
        -1,
        65536,
        99999,
        1.5,
        443.0,
        True,
        False,
        "0",
        "-1",
        "99999",
        "abc",
        "\uff18\uff10",
        [443],
    ],
)
def test_wrong_port_is_named_also_beside_a_port_in_the_host(port, host):
    assert refusal_of(port=port, host=host) == (
        f"Airflow connection 'enos_default', port: got {port!r}, allowed is a port number from 1 "
        "to 65535."
    )


@pytest.mark.parametrize("login", [None, "", " ", 5, ["AK"], "A\nK", "A\x00K", "\ud800"])
def test_missing_access_key(login):
    text = refusal_of(login=login)

    assert text == (
        f"Airflow connection 'enos_default', login: got {login!r}, allowed is the access key."
    )


@pytest.mark.parametrize("password", [None, "", " "])
def test_missing_secret_key(password):
    text = refusal_of(password=password)

    assert text == (
        "Airflow connection 'enos_default', password: it is empty, allowed is the secret key."
    )


@pytest.mark.parametrize(
    "password", [5, ["hunter2"], "hunter2\nx", "hunter2\u200b", "hunter2\ud800"]
)
def test_secret_key_that_is_none_is_not_repeated(password):
    text = refusal_of(password=password)

    assert text.startswith("Airflow connection 'enos_default', password: ")
    assert "hunter2" not in text


def test_access_key_and_secret_key_may_be_of_any_script_and_length():
    settings = read(login="密" * 5000, password="密" * 5000)

    assert (settings.access_key, settings.secret_key) == ("密" * 5000, "密" * 5000)


@pytest.mark.parametrize("org_id", ["o1", 1, "1"])
def test_organization(org_id):
    assert read(extra={"org_id": org_id}).org_id == str(org_id)


@pytest.mark.parametrize("org_id", [True, False, ["o1"], {"o": 1}, 1.5, "o/1", "null", "o" * 201])
def test_wrong_organization_names_the_connection(org_id):
    text = refusal_of(extra={"org_id": org_id})

    assert text.startswith("Airflow connection 'enos_default', org_id: got ")


@pytest.mark.parametrize(
    ("given", "verify"),
    [
        (None, True),
        ("", True),
        (True, True),
        (False, False),
        ("true", True),
        ("Yes", True),
        (1, True),
        ("FALSE", False),
        ("no", False),
        (0, False),
        (" /etc/ca.pem ", "/etc/ca.pem"),
        ("ca.pem", "ca.pem"),
    ],
)
def test_verify(given, verify):
    assert read(extra={"verify": given}).verify == verify


@pytest.mark.parametrize("given", [["/etc/ca.pem"], {"a": "."}, 1.0, 5, "/ca\x00.pem", "/\ud800"])
def test_verify_that_no_file_can_be_is_refused(given):
    assert refusal_of(extra={"verify": given}) == (
        f"Airflow connection 'enos_default', verify: got {given!r}, allowed is true, false or the "
        "path of a CA bundle."
    )


def test_misspelt_verify_does_not_turn_verification_off():
    text = refusal_of(extra={"verify": "flase"})

    assert text == (
        "Airflow connection 'enos_default', verify: got 'flase', allowed is true, false or the "
        "path of a CA bundle."
    )


@pytest.mark.parametrize(
    ("given", "proxy"),
    [
        ("HTTP://Proxy:3128/", "http://proxy:3128"),
        ("https://proxy", "https://proxy"),
        ("http://[::1]:3128", "http://[::1]:3128"),
        ("http://me:p%40ss@proxy", "http://me:p%40ss@proxy"),
        ("http://me:100%@proxy", "http://me:100%25@proxy"),
        ("http://me:a b+c@proxy", "http://me:a%20b%2Bc@proxy"),
        ("http://me:pé@proxy", "http://me:p%C3%A9@proxy"),
        ("http://me:p%C3%A9@proxy", "http://me:p%C3%A9@proxy"),
        ("http://me:@proxy", "http://me:@proxy"),
        ("http://me@proxy", "http://me:@proxy"),
    ],
)
def test_proxy_is_written_in_the_way_that_both_clients_read_alike(given, proxy):
    assert read(extra={"proxy": given}).proxy == proxy


@pytest.mark.parametrize("given", [None, "", "  "])
def test_blank_extras_are_no_extras(given):
    extra = {"org_id": given, "console_url": given, "proxy": given}

    settings = read(extra=extra)

    assert (settings.org_id, settings.console_url, settings.proxy) == (None, None, None)


@pytest.mark.parametrize(
    "proxy",
    [
        "user:hunter2@proxy",
        "socks5://user:hunter2@proxy",
        "http://",
        "http://user:hunter2@[proxy",
        "http://user:x[hunter2]@proxy",
        "http://user:hunter2@proxy:port",
        "http://user:hunter2@proxy:99999",
        "http://user:hunter2@proxy:0",
        f"http://user:hunter2@{'p' * 64}",
        "http://user:hunter2@pro xy",
        "http://user:hunter2@代理",
        "http://user:hun\nter2@proxy",
        "http://user:hunter2@proxy/path",
        "http://user:1/hunter2@proxy",
        "http://user:1#hunter2@proxy",
        "http://user:hunter2@proxy?x=1",
        ["http://user:hunter2@proxy"],
        {"https": "http://user:hunter2@proxy"},
        True,
        5,
    ],
)
def test_wrong_proxy_is_named_but_not_repeated(proxy):
    assert refusal_of(extra={"proxy": proxy}) == (
        "Airflow connection 'enos_default', proxy: allowed is a URL like http://proxy.example:3128."
    )


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:hunter2密@proxy",
        "http://user:hunter2%E5%AF%86@proxy",
        "http://user:hunter2%FF@proxy",
        "http://user:hunter2\ud800@proxy",
        "http://us%3Aer:hunter2@proxy",
        "http://:hunter2@proxy",
    ],
)
def test_password_that_no_proxy_can_be_sent_is_named_but_not_repeated(proxy):
    assert refusal_of(extra={"proxy": proxy}) == (
        "Airflow connection 'enos_default', proxy: user name or password cannot be sent to a "
        "proxy, allowed are characters of ISO 8859-1 (Latin-1), and no colon in the user name."
    )


@pytest.mark.parametrize(
    "template",
    [
        "console.example.invalid/{pipeline_id}",
        "javascript:alert({pipeline_id})",
        "https://console.example.invalid/{pipeline}",
        "http://[console/{pipeline_id}",
        "https:///{pipeline_id}",
        "https://console\n/{pipeline_id}",
        "https://console/\ud800{pipeline_id}",
        ["https://console/{pipeline_id}"],
        True,
        5,
    ],
)
def test_wrong_console_url(template):
    assert refusal_of(extra={"console_url": template}) == (
        f"Airflow connection 'enos_default', console_url: got {template!r}, allowed is an http(s) "
        "address with {pipeline_id} and {org_id} in it."
    )


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@console:port/{pipeline_id}", ["https://me:hunter2@console"]]
)
def test_password_in_the_console_url_is_not_repeated(url):
    text = refusal_of(extra={"console_url": url})

    assert text.startswith("Airflow connection 'enos_default', console_url: ")
    assert "hunter2" not in text


def test_scheme_of_the_console_url_may_be_in_capitals():
    settings = read(extra={"console_url": "HTTPS://c.invalid/{pipeline_id}"})

    link = settings.console_link(pipeline_id="p-1", org_id="o1")

    assert link == "HTTPS://c.invalid/p-1"


def test_console_link_fills_in_the_ids_safely():
    settings = read(extra={"console_url": "https://c.invalid/{org_id}?p={pipeline_id}"})

    link = settings.console_link(pipeline_id="a/b&{org_id}", org_id="o 1")

    # The organization is filled in last: what a pipeline ID holds is percent-encoded by then.
    assert link == "https://c.invalid/o%201?p=a%2Fb%26%7Borg_id%7D"


def test_no_console_url_no_link():
    assert read().console_link(pipeline_id="p-1", org_id="o1") == ""


@pytest.mark.parametrize(("given", "seconds"), [(None, 30.0), ("", 30.0), (5, 5.0), ("600", 600.0)])
def test_request_timeout(given, seconds):
    assert read(extra={"request_timeout_seconds": given}).request_timeout_seconds == seconds


@pytest.mark.parametrize("given", [0, -1, "0", 600.5, "inf", "nan", "soon", True, [30]])
def test_there_is_always_a_request_timeout(given):
    text = refusal_of(extra={"request_timeout_seconds": given})

    assert text == (
        f"Airflow connection 'enos_default', request_timeout_seconds: got {given!r}, allowed is a "
        "number of seconds from above 0 to 600."
    )


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_secrets_are_not_shown(show):
    shown = show(read(extra={"proxy": "http://user:hunter2@proxy"}))

    assert "AK" in shown
    assert "s3cret-key" not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize("extra", [None, "", "  ", "{}", '{"org_id": "o1"}'])
def test_extra_that_is_empty_or_a_json_object(extra):
    require_json_object("enos_default", extra)


@pytest.mark.parametrize(
    "extra",
    [
        "{'proxy': 'http://me:hunter2@proxy'}",
        '{"proxy": "http://me:hunter2@proxy"',
        '"{\\"proxy\\": \\"hunter2\\"}"',
        '["hunter2"]',
        '[["proxy", "hunter2"]]',
        "hunter2",
        "5",
        "true",
        "null",
        "[" * 100_000,
        {"proxy": "hunter2"},
    ],
)
def test_extra_that_is_no_json_object_is_named_but_not_repeated(extra):
    with pytest.raises(InvalidSettingError) as caught:
        require_json_object("enos_default", extra)

    assert str(caught.value) == (
        "Airflow connection 'enos_default', extra: allowed is a JSON object, with names and texts "
        'in double quotes, e.g. {"org_id": "o1"}.'
    )
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("orgId", "org_id"),
        ("ORG_ID", "org_id"),
        ("org-id", "org_id"),
        ("extra__enos__org_id", "org_id"),
        ("organization_id", "org_id"),
        ("consoleUrl", "console_url"),
        ("verfy", "verify"),
        ("verify_ssl", "verify"),
        ("proxies", "proxy"),
        ("https_proxy", "proxy"),
        (" proxy", "proxy"),
        ("timeout", "request_timeout_seconds"),
        ("request-timeout", "request_timeout_seconds"),
        ("extra__enos__request_timeout_seconds", "request_timeout_seconds"),
    ],
)
def test_name_that_looks_like_ours(name, meant):
    assert misspelt_fields({name: "x", "org_id": "o1"}) == {name: meant}


@pytest.mark.parametrize(
    "name", [*EXTRA_FIELDS, "", "密", "team", "no_proxy", "region", "port", "x" * 9999]
)
def test_name_that_does_not_look_like_ours(name):
    assert misspelt_fields({name: "x"}) == {}
