"""What a person does in the Airflow UI: a connection, the Trigger form, the task, in a browser."""

import json
import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

#: An application of its own: Airflow keeps what is typed into the form in its database, where
#: another test searches for the keys of the tasks.
KEYS = ("application-of-a-person", "typed-into-the-form")


@pytest.fixture(scope="module", autouse=True)
def application(stack):
    stack.enos.add_application(*KEYS)


def open_connections(page):
    page.goto("/")
    page.get_by_role("button", name="Admin").click()
    page.get_by_role("menuitem", name="Connections").click()


def new_connection(page):
    """Open the form for a connection of our type."""
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_role("combobox").click()
    page.get_by_role("option", name="EnOS", exact=True).click()
    return form


def add_connection(page, conn_id, enos, org_id):
    form = new_connection(page)
    address = urlsplit(enos.url)
    form.get_by_label("Connection ID").fill(conn_id)
    form.get_by_label("Gateway URL").fill(f"http://{address.hostname}")
    form.get_by_label("Port").fill(str(address.port))
    form.get_by_label("Access key").fill(KEYS[0])
    form.locator("[name=password]").fill(KEYS[1])
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    form.locator("[name=element_org_id]").fill(org_id)
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_hidden()


def press_test(page, conn_id):
    """Press the Test button, by key as a message may cover it, and return what pops up."""
    row = page.get_by_role("row").filter(has_text=conn_id)
    row.get_by_label("Test Connection").press("Enter")
    return page.get_by_role("status").filter(has_text="Test Connection")


def trigger_form(page, dag_id):
    page.goto(f"/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").click()
    return page.get_by_role("dialog")


def open_section(form, name):
    form.get_by_role("button", name=name, exact=True).click()


def press_trigger(page, form):
    """Press it and return Airflow's answer."""
    with page.expect_response(re.compile("/dagRuns$")) as answer:
        form.get_by_role("button", name="Trigger", exact=True).click()
    return answer.value


def started(stack, pipeline_id):
    """Return the body of the start that EnOS has accepted."""
    (start,) = stack.accepted_starts(pipeline_id)
    return start.body


# Connections


def test_connection_form(page, screenshot):
    open_connections(page)
    form = new_connection(page)

    labels = ["Gateway URL", "Access key", "Secret key", "Port", "Description"]
    for label in labels:
        expect(form.get_by_text(label, exact=True)).to_be_visible()
    expect(form.get_by_text("Schema", exact=True)).to_have_count(0)
    expect(form.locator("[name=host]")).to_have_attribute("placeholder", "https://apim.example.com")
    expect(form.locator("[name=password]")).to_have_attribute("type", "password")
    screenshot(page, "connection_form")
    open_section(form, "Extra Fields")
    for label in ("Organization ID", "Console URL template", "Verify TLS", "Proxy"):
        expect(form.get_by_text(label, exact=True)).to_be_visible()
    expect(form.get_by_text("EnOS console, IAM > Organization Profile")).to_be_visible()
    screenshot(page, "connection_form_extra")


def test_connection_is_saved_and_read_back_whole(stack, page):
    open_connections(page)
    add_connection(page, "ui_whole", stack.enos, "o1")

    address = urlsplit(stack.enos.url)
    saved = stack.airflow.api("GET", "/connections/ui_whole")
    assert (saved["conn_type"], saved["host"], saved["port"], saved["login"]) == (
        "enos",
        f"http://{address.hostname}",
        address.port,
        KEYS[0],
    )
    assert saved["password"] == "***"
    assert {k: v for k, v in json.loads(saved["extra"]).items() if v} == {"org_id": "o1"}
    page.get_by_role("row").filter(has_text="ui_whole").get_by_label("Edit Connection").click()
    form = page.get_by_role("dialog")
    expect(form.locator("[name=host]")).to_have_value(saved["host"])
    expect(form.locator("[name=password]")).to_have_value("***")
    open_section(form, "Extra Fields")
    expect(form.locator("[name=element_org_id]")).to_have_value("o1")


def test_test_button(stack, page, screenshot):
    org_id = stack.new_organization()
    stack.enos.add_pipeline(org_id)
    open_connections(page)
    add_connection(page, "ui_right", stack.enos, org_id)
    expect(press_test(page, "ui_right")).to_contain_text(
        f"EnOS knows these keys. Organization {org_id} has 1 released pipelines"
    )
    screenshot(page, "connection_test")


#: What is wrong with a connection, and what the Test button says.
WRONG_CONNECTIONS = {
    "ui_wrong_key": ({"password": "wrong"}, "secret key"),
    "ui_wrong_host": ({"port": 1}, "Check the host"),
    "ui_wrong_organization": ({"org_id": "o404"}, "o404"),
}


def test_test_button_says_what_is_wrong(stack, page, screenshot):
    address = urlsplit(stack.enos.url)
    for conn_id, (changes, _) in WRONG_CONNECTIONS.items():
        connection = {"port": address.port, "org_id": stack.enos.org_id, **changes}
        stack.airflow.api(
            "POST",
            "/connections",
            json={
                "connection_id": conn_id,
                "conn_type": "enos",
                "host": f"http://{address.hostname}",
                "port": connection["port"],
                "login": KEYS[0],
                "password": connection.get("password", KEYS[1]),
                "extra": json.dumps({"org_id": connection["org_id"]}),
            },
        )
    open_connections(page)

    for conn_id, (_, said) in WRONG_CONNECTIONS.items():
        expect(press_test(page, conn_id).filter(has_text=said)).to_be_visible()
        screenshot(page, conn_id)


# The Trigger form


def test_from_an_empty_airflow_to_a_running_pipeline(stack, page, screenshot):
    """Only with the browser: the connection, the pipeline's ID, the run, its end."""
    org_id = stack.new_organization()
    pipeline_id = stack.enos.add_pipeline(org_id)
    open_connections(page)
    add_connection(page, "plant", stack.enos, org_id)
    expect(press_test(page, "plant")).to_contain_text("EnOS knows these keys")

    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="EnOS pipelines").click()
    page.get_by_label("Connection").select_option("plant")
    expect(page.get_by_role("cell", name=pipeline_id)).to_be_visible()

    form = trigger_form(page, "start_by_hand")
    open_section(form, "Pipeline")
    form.locator("[name=element_pipeline_id]").fill(pipeline_id)
    form.locator("[name=element_enos_conn_id]").fill("plant")
    screenshot(page, "trigger_form")
    run_id = press_trigger(page, form).json()["dag_run_id"]
    page.goto(f"/dags/start_by_hand/runs/{run_id}")
    expect(page.get_by_text("Success").first).to_be_visible(timeout=90_000)

    assert stack.enos.status_of(pipeline_id) == "RUNNING"
    assert started(stack, pipeline_id) == {
        "executionMode": 0,
        "kafkaRate": 1000,
        "resourceConfig": {"server": 1},
    }
    page.goto("/plugin/enos_pipelines?connection=plant")
    row = page.get_by_role("row").filter(has_text=pipeline_id)
    expect(row).to_contain_text("RUNNING")
    row.get_by_role("link", name="start_by_hand.start").click()
    expect(page.get_by_text("StartPipelineOperator").first).to_be_visible()


def test_cluster_mode_with_yarn_and_spark(stack, page, screenshot):
    pipeline_id = stack.enos.pipeline_ids[7]
    form = trigger_form(page, "start_by_hand")
    open_section(form, "Pipeline")
    form.locator("[name=element_pipeline_id]").fill(pipeline_id)
    open_section(form, "Resources")
    expect(form.locator("[name=element_kafka_rate]")).to_have_value("1000")
    form.locator("[name=element_kafka_rate]").fill("2500")
    form.get_by_role("combobox", name="Execution mode").click()
    page.get_by_role("option", name="Cluster (Yarn)").click()
    open_section(form, "Cluster mode only")
    for name, value in {"worker_count": "2", "master": "1", "slave": "1.5"}.items():
        form.locator(f"[name=element_{name}]").fill(value)
    form.locator("[name=element_advanced]").click()
    page.keyboard.type("spark.memory.fraction=0.8")
    page.keyboard.press("Enter")
    page.keyboard.type("spark.executor.extraJavaOptions=-Dx=1")
    screenshot(page, "trigger_form_cluster")
    run_id = press_trigger(page, form).json()["dag_run_id"]

    assert stack.airflow.wait_for_run("start_by_hand", run_id) == "success"
    assert started(stack, pipeline_id) == {
        "executionMode": 1,
        "kafkaRate": 2500,
        "resourceConfig": {
            "server": 1,
            "yarn": {"workerCount": 2, "master": 1, "slave": 1.5},
            "advanced": [
                {"key": "spark.memory.fraction", "value": "0.8"},
                {"key": "spark.executor.extraJavaOptions", "value": "-Dx=1"},
            ],
        },
    }


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("Pipeline", "pipeline_id", "../users"),
        ("Resources", "server", "-1"),
        ("Cluster mode only", "slave", "-1"),
    ],
)
def test_form_refuses_what_is_wrong_before_a_task_runs(stack, page, section, field, value):
    form = trigger_form(page, "start_by_hand")
    if field != "pipeline_id":
        open_section(form, "Pipeline")
        form.locator("[name=element_pipeline_id]").fill("p-1")
    open_section(form, section)
    form.locator(f"[name=element_{field}]").fill(value)

    answer = press_trigger(page, form)

    if answer.ok:  # the form itself has put it right
        assert answer.json()["conf"][field] != float(value)
        stack.airflow.end_run("start_by_hand", answer.json()["dag_run_id"], "failed")
    else:
        assert answer.status == 400
        expect(form.get_by_text(f"Invalid input for param {field}")).to_be_visible()


# The task


def test_task_that_waits_and_then_runs(stack, page, screenshot):
    org_id = stack.new_organization()
    stack.enos.hold_start_lock(600, org_id)
    run = stack.run("e2e_start_deferrable", org_id=org_id)
    stack.enos.wait_for_request("start", run.pipeline_id, timeout=60)
    task = f"/dags/{run.dag_id}/runs/{run.run_id}/tasks/start"

    page.goto(task)
    expect(page.get_by_text("Deferred").first).to_be_visible()
    expect(page.get_by_text("Somebody else is starting a pipeline").first).to_be_visible()
    screenshot(page, "task_waits")
    check_console_button(page, task, run)

    stack.enos.release_start_lock(org_id)
    assert stack.state(run) == "success"
    page.goto(task)
    for line in (
        f"EnOS accepted the start of pipeline {run.pipeline_id}",
        f"Pipeline {run.pipeline_id}: STARTING -> RUNNING",
        f"Pipeline {run.pipeline_id} of organization {org_id} was started and is RUNNING, ",
    ):
        expect(page.get_by_text(line)).to_be_visible()
    screenshot(page, "task_log")
    check_console_button(page, task, run)
    page.goto(f"{task}/rendered_templates")
    expect(page.get_by_text("resource_config")).to_be_visible()
    expect(page.get_by_text('"server"')).to_be_visible()
    screenshot(page, "task_rendered")
    page.goto(f"{task}/xcom")
    page.get_by_role("button", name="Expand all extra JSON").click()
    expect(page.get_by_text('"started"')).to_be_visible()
    screenshot(page, "task_result")


def check_console_button(page, task, run):
    page.goto(f"{task}/details")
    button = page.get_by_role("link", name="EnOS console")
    address = f"https://console.example.com/{run.org_id}/pipelines/{run.pipeline_id}"
    expect(button).to_have_attribute("href", address)


def test_failed_task_has_its_button_and_says_why(stack, page, screenshot):
    org_id = stack.new_organization(standalone=None)
    run = stack.run("e2e_start_deferrable", org_id=org_id)
    assert stack.state(run) == "failed"
    task = f"/dags/{run.dag_id}/runs/{run.run_id}/tasks/start"

    page.goto(task)
    expect(page.get_by_text("EnOS code 61128").first).to_be_visible()
    screenshot(page, "task_failed")
    check_console_button(page, task, run)


def test_mapped_tasks_show_their_pipelines(stack, page, screenshot):
    run_id = stack.airflow.trigger("start_many_pipelines")
    assert stack.airflow.wait_for_run("start_many_pipelines", run_id) == "success"
    pipeline_ids = stack.enos.pipeline_ids[2:5]

    page.goto(f"/dags/start_many_pipelines/runs/{run_id}/tasks/start/mapped")
    for pipeline_id in pipeline_ids:
        expect(page.get_by_text(pipeline_id).first).to_be_visible()
    screenshot(page, "task_mapped")
    page.goto(f"/dags/start_many_pipelines/runs/{run_id}/tasks/start/mapped/1/details")
    expect(page.get_by_role("link", name="EnOS console")).to_have_attribute(
        "href", f"https://console.example.com/{stack.enos.org_id}/pipelines/{pipeline_ids[1]}"
    )


@pytest.mark.parametrize(
    "dag_id",
    ["start_by_hand", "start_one_pipeline", "start_many_pipelines", "start_and_wait_elsewhere"],
)
def test_examples_are_documented(page, dag_id):
    page.goto(f"/dags/{dag_id}")
    page.get_by_role("button", name="Dag Docs").click()

    expect(page.get_by_role("dialog").get_by_text(re.compile("pipeline")).first).to_be_visible()
