"""What Airflow knows of the provider: its place in the lists, the connection form and its test."""

import json

import pytest


def test_airflow_lists_the_provider(stack):
    text = stack.airflow.command("providers", "list", "-o", "json").stdout
    listed, _ = json.JSONDecoder().raw_decode(text[text.index('[{"') :])  # amid lines at DEBUG

    assert "airflow-provider-enos" in {row["package_name"] for row in listed}


def test_connection_form_has_our_fields(stack):
    found = stack.airflow.ui("GET", "/connections/hook_meta")

    (form,) = [hook for hook in found if hook["connection_type"] == "enos"]
    assert form["hook_name"] == "EnOS"
    assert set(form["extra_fields"]) == {
        "org_id",
        "console_url",
        "verify",
        "proxy",
        "request_timeout_seconds",
    }
    assert form["standard_fields"]["host"]["title"] == "Gateway URL"
    assert form["standard_fields"]["login"]["title"] == "Access key"
    assert form["standard_fields"]["password"]["title"] == "Secret key"
    assert form["standard_fields"]["url_schema"]["hidden"] is True


@pytest.mark.parametrize(
    ("change", "works", "message"),
    [
        ({}, True, "EnOS knows these keys. Organization o15517683199241 has 14 released pipelines"),
        ({"password": "wrong"}, False, "Check login (access key) and password (secret key)"),
        ({"login": "nobody"}, False, "Check login (access key) and password (secret key)"),
        ({"host": "http://127.0.0.1:9"}, False, "Check the host and the proxy"),
        ({"host": "enos.invalid"}, False, "Check the host and the proxy"),
        ({"extra": "{}"}, False, "org_id: none is given"),
        ({"extra": '{"org_id": "o404"}'}, False, "organization"),
    ],
)
def test_connection_test_says_what_is_wrong_in_one_line(stack, change, works, message):
    body = {
        "connection_id": "tried",
        "conn_type": "enos",
        "host": stack.enos.url,
        "login": stack.enos.access_key,
        "password": stack.enos.secret_key,
        "extra": json.dumps({"org_id": stack.enos.org_id}),
    }

    answer = stack.airflow.api("POST", "/connections/test", json=body | change)

    assert answer["status"] is works
    assert message in answer["message"]
    assert "\n" not in answer["message"]
    assert stack.enos.secret_key not in answer["message"]


def test_connection_test_on_the_command_line(stack):
    right = stack.airflow.command("connections", "test", "enos_default")
    wrong = stack.airflow.command("connections", "test", "enos_wrong_key", may_fail=True)

    assert "Connection success!" in right.stdout
    assert wrong.returncode == 1
    assert "Check login (access key) and password (secret key)" in " ".join(wrong.stdout.split())
