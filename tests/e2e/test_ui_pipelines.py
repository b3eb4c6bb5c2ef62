"""Browse > EnOS pipelines, in a browser; and who is let in."""

import itertools
import json
import re

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from airflow_provider_enos.plugins.pipelines_app import LIST_SECONDS
from demo.local_airflow import free_port
from tests.e2e.conftest import BROWSER_TIMEOUT_MS

PATHS = [
    "pipelines.js",
    "connections",
    "connections/enos_default/pipelines",
    "connections/enos_default/pipelines/p-1/lag",
]


def open_pipelines(page, org_id, **params):
    query = "&".join(f"{k}={v}" for k, v in {"org_id": org_id, **params}.items())
    page.goto(f"/plugin/enos_pipelines?{query}")
    expect(page.get_by_text(f"pipelines of organization {org_id}")).to_be_visible()


BAD_IDS = {"../o1", "o1%2F..", "o1#x", "o 1"}


def row_of(page, pipeline_id):
    return page.get_by_role("row").filter(has_text=pipeline_id)


def names(page):
    """Return the pipelines shown, in their order."""
    return page.locator("[data-pipeline] td:first-child > :first-child").all_inner_texts()


@pytest.fixture(scope="module")
def plant(stack):
    """An organization with one pipeline of each kind; the running one was started by a task."""
    org_id = stack.new_organization()
    add = stack.enos.add_pipeline
    run = stack.run("e2e_start_deferrable", org_id=org_id, pipeline_id=add(org_id, name="wind 10"))
    assert stack.state(run) == "success"
    stack.enos.set_lag(run.pipeline_id, 12345)
    statuses = {"wind 2": "PAUSED", "solar": "STOPPED", "coal": "RUN_ERROR", "water": "PUBLISHED"}
    ids = {n: add(org_id, name=n, status=status) for n, status in statuses.items()}
    return run, ids | {"wind 10": run.pipeline_id}


def test_what_is_shown(stack, page, plant, screenshot):
    run, ids = plant
    open_pipelines(page, run.org_id)

    row = row_of(page, run.pipeline_id)
    for text in (
        "wind 10",
        "RUNNING",
        "Standalone",
        "cpu 1",
        "12,345",
        "e2e_start_deferrable.start",
    ):
        expect(row).to_contain_text(text)
    expect(row.get_by_role("link", name="wind 10")).to_have_attribute(
        "href", f"https://console.example.com/{run.org_id}/pipelines/{run.pipeline_id}"
    )
    expect(row).to_contain_text(re.compile(r"\d+ seconds ago by Anonymous"))
    expect(row_of(page, ids["coal"])).to_contain_text("RUN_ERROR")
    screenshot(page, "pipelines")
    row.get_by_role("link", name="e2e_start_deferrable.start").click()
    expect(page).to_have_url(re.compile("/dags/e2e_start_deferrable/runs/.*/tasks/start"))
    expect(page.get_by_text("StartPipelineOperator").first).to_be_visible()


def test_mapped_task_is_linked(stack, page):
    run_id = stack.airflow.trigger("start_many_pipelines")
    assert stack.airflow.wait_for_run("start_many_pipelines", run_id) == "success"
    open_pipelines(page, stack.enos.org_id, search=stack.enos.pipeline_ids[3])

    page.get_by_role("link", name="start_many_pipelines.start[1]").click()

    expect(page).to_have_url(re.compile("/tasks/start/mapped/1"))


def test_filter_and_sort(stack, page, plant):
    run, _ = plant
    open_pipelines(page, run.org_id)
    assert names(page) == ["coal", "solar", "water", "wind 2", "wind 10"]

    page.get_by_role("button", name="Pipeline").click()
    expect(page.get_by_role("columnheader", name="Pipeline")).to_have_attribute(
        "aria-sort", "descending"
    )
    assert names(page) == ["wind 10", "wind 2", "water", "solar", "coal"]
    page.get_by_role("button", name="Status").click()
    assert names(page) == ["wind 2", "water", "coal", "wind 10", "solar"]
    page.get_by_label("Search").fill("WIND")
    expect(page.get_by_text("2 of 5 pipelines")).to_be_visible()
    page.get_by_label("Status").select_option("RUNNING (1)")
    expect(page.get_by_text("1 of 5 pipelines")).to_be_visible()
    page.reload()
    expect(page.get_by_text("1 of 5 pipelines")).to_be_visible()
    assert names(page) == ["wind 10"]


def test_refreshes_by_itself(stack, page):
    org_id = stack.new_organization()
    pipeline_id = stack.enos.add_pipeline(org_id, status="STOPPED")
    open_pipelines(page, org_id)
    expect(row_of(page, pipeline_id)).to_contain_text("STOPPED")

    stack.enos.set_status(pipeline_id, "PAUSED")

    expect(row_of(page, pipeline_id)).to_contain_text("PAUSED")


def test_keyboard_only(stack, page, plant):
    run, _ = plant
    open_pipelines(page, run.org_id)
    focused = page.locator(":focus")
    while focused.count() == 0 or focused.get_attribute("placeholder") != "Name or ID":
        page.keyboard.press("Tab")
    page.keyboard.type("wind")
    expect(page.get_by_text("2 of 5 pipelines")).to_be_visible()
    while focused.inner_text() != "Pipeline ▲":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(focused).to_have_text("Pipeline ▼")
    assert names(page) == ["wind 10", "wind 2"]
    while focused.inner_text() != "e2e_start_deferrable.start":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/tasks/start"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_in_light_and_dark(stack, page, plant, screenshot, scheme):
    run, _ = plant
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    open_pipelines(page, run.org_id)
    expect(row_of(page, run.pipeline_id)).to_contain_text("12,345")

    assert page.locator(f"html.{scheme}").count() == 1
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []
    screenshot(page, f"pipelines_{scheme}")


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        ("enos_wrong_key", "secret key"),
        ("enos_broken_extra", "extra: allowed is a JSON object"),
        ("no_such_connection", "an Airflow connection of type enos"),
        ("ui_other_type", "an Airflow connection of type enos"),
    ],
)
def test_says_what_is_wrong(stack, page, connection, said):
    if connection == "ui_other_type":
        other = {"connection_id": connection, "conn_type": "http", "host": stack.enos.url}
        stack.airflow.api("POST", "/connections", json=other)
    page.goto(f"/plugin/enos_pipelines?connection={connection}")

    expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible()


def test_bad_ids_reach_nobody(stack):
    for org_id in BAD_IDS:
        with pytest.raises(RuntimeError, match=r"HTTP 400 .*org_id"):
            stack.airflow.enos("/connections/enos_default/pipelines", params={"org_id": org_id})
    assert {request.org_id for request in stack.enos.requests}.isdisjoint(BAD_IDS)


def test_no_secret_reaches_the_browser(stack, page, plant):
    run, _ = plant
    answers = []
    page.on("response", lambda answer: answers.append(answer) if "/enos/" in answer.url else None)
    open_pipelines(page, run.org_id)
    expect(row_of(page, run.pipeline_id)).to_contain_text("12,345")

    assert {answer.status for answer in answers} == {200}
    texts = [answer.text() for answer in answers] + [page.content()]
    for secret in (stack.enos.secret_key, *stack.enos._gate._tokens):
        assert not any(secret in text for text in texts)


def test_ten_browsers_and_ten_organizations(stack, new_page, screenshot):
    """Each sees its 50 of 500 pipelines at once; together they cause one listing per interval."""
    org_ids = [stack.new_organization() for _ in range(10)]
    for org_id in org_ids:
        ids = [stack.enos.add_pipeline(org_id) for _ in range(50)]
    pages = [new_page() for _ in org_ids]
    paints = []
    for page, org_id in zip(pages, org_ids, strict=True):
        page.add_init_script(NOTE_FIRST_PAINT)
        open_pipelines(page, org_id)
        expect(page.locator("[data-pipeline]")).to_have_count(50)
        paints.append(page.evaluate(MILLISECONDS_FROM_ANSWER_TO_PAINT))
    assert min(paints) < 1000, paints  # the machine may have been busy with another test

    for page in pages:
        open_pipelines(page, org_ids[-1])
    stack.enos.set_status(ids[0], "STOPPED")
    for page in pages:
        expect(row_of(page, ids[0])).to_contain_text("STOPPED")
    listings = [
        request.time
        for request in stack.enos.requests_for("list", org_id=org_ids[-1])
        if request.query["pageNo"] == "1"
    ]
    assert len(listings) >= 2
    gaps = [after - before for before, after in itertools.pairwise(listings)]
    assert min(gaps) > LIST_SECONDS * 0.95


NOTE_FIRST_PAINT = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("[data-pipeline]")) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { globalThis.painted = performance.now(); }));
}).observe(document, { childList: true, subtree: true });
"""

MILLISECONDS_FROM_ANSWER_TO_PAINT = """() => {
  const asked = performance.getEntriesByType("resource");
  return globalThis.painted - asked.find((one) => one.name.includes("/pipelines?")).responseEnd;
}"""


# Who is let in


@pytest.fixture(scope="module")
def guarded(stack):
    """An API server that knows three users, where the other one takes everybody for an admin."""
    airflow, port = stack.airflow, free_port()
    users = "admin:admin,reader:viewer,nobody:"
    airflow.start_component(
        "api-server",
        name="guarded-api-server",
        environment={
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users,
        },
    )
    passwords = airflow.home / "simple_auth_manager_passwords.json.generated"
    url = f"http://127.0.0.1:{port}"

    def is_there():
        try:
            return requests.get(f"{url}/api/v2/version", timeout=5).ok and passwords.exists()
        except requests.ConnectionError:
            return False

    airflow.wait_until(is_there, "second API server")
    yield url, json.loads(passwords.read_text())
    airflow.stop("guarded-api-server")


def status_for(guarded, user, path):
    url, passwords = guarded
    headers = {}
    if user is not None:
        login = {"username": user, "password": passwords[user]}
        token = requests.post(f"{url}/auth/token", json=login, timeout=30).json()["access_token"]
        headers["Authorization"] = f"Bearer {token}"
    return requests.get(f"{url}/enos/{path}", headers=headers, timeout=30).status_code


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_served_without_login_or_right(guarded, path):
    assert status_for(guarded, None, path) == 401
    assert status_for(guarded, "nobody", path) == 403
    assert status_for(guarded, "reader", path) == (404 if path.endswith("lag") else 200)
    assert status_for(guarded, "admin", path) == (404 if path.endswith("lag") else 200)


def test_who_may_not_read_connections_sees_no_other_organization(guarded):
    path = "connections/enos_default/pipelines?org_id=o90001"

    assert status_for(guarded, "reader", path) == 403
    assert status_for(guarded, "admin", path) == 200


def test_a_forged_token_is_worth_nothing(guarded):
    url, _ = guarded
    headers = {"Authorization": "Bearer forged"}
    for path in PATHS:
        answer = requests.get(f"{url}/enos/{path}", headers=headers, timeout=30)
        assert answer.status_code == 403


def test_browser_without_login_is_sent_to_the_login(guarded, browser):
    url, _ = guarded
    with browser.new_context() as stranger:
        page = stranger.new_page()
        page.goto(f"{url}/plugin/enos_pipelines", timeout=BROWSER_TIMEOUT_MS)

        expect(page).to_have_url(re.compile("/auth/.*login"))
