"""Waiting as a sensor does: the rule, the pauses, and the looks one after another."""

import itertools

import pytest

from airflow_provider_enos.api.errors import (
    AccessDeniedError,
    AuthenticationError,
    EnOSUnreachableError,
    InvalidSettingError,
    PipelineFailedError,
    PipelineNotFoundError,
    StatusTimeoutError,
    WrongGatewayError,
)
from airflow_provider_enos.api.messages import Answer
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.watch import PollPlan, StatusRule, watch_status

DOWN = EnOSUnreachableError("connection refused")
BUSY = Answer(503, b"")
#: Not said to pass, but maybe another try will do.
UNKNOWN_CODE = Answer(200, b'{"code":61999,"msg":"Quota of moons."}')
RUNNING = StatusRule.parse("RUNNING")


def plan(stage, *, seconds=60, interval=5, **options):
    return PollPlan(deadline=stage.now + seconds, poll_interval_seconds=interval, **options)


def pauses(count, **options):
    return list(itertools.islice(PollPlan(deadline=0, **options).pauses(), count))


@pytest.mark.parametrize(
    ("targets", "failures", "status", "ends"),
    [
        ("RUNNING", None, "RUNNING", True),
        ("running", None, "RUNNING", True),
        (["PAUSED", "STOPPED"], None, "STOPPED", True),
        (("RUNNING",), None, "STOPPED", False),
        ({"RUNNING"}, None, "STARTING", False),
        ("RUNNING", None, "DANCING", False),
        ("RUNNING", None, "START_ERROR", True),
        ("RUNNING", None, "FAILED", True),
        ("RUNNING", "STOPPED", "STOPPED", True),
        ("RUNNING", "STOPPED", "START_ERROR", False),
        ("RUNNING", [], "START_ERROR", False),
        ("START_ERROR", None, "START_ERROR", True),
    ],
)
def test_which_status_ends_a_wait(targets, failures, status, ends):
    rule = StatusRule.parse(targets, failures)

    assert rule.ends_wait(PipelineStatus(status)) is ends


@pytest.mark.parametrize(
    ("targets", "status", "met"),
    [("RUNNING", "RUNNING", True), ("RUNNING", "STOPPED", False), ("FAILED", "FAILED", True)],
)
def test_verdict_on_one_look(targets, status, met):
    assert StatusRule.parse(targets).is_met(PipelineStatus(status), "p-1") is met


def test_failing_status_names_pipeline_status_and_what_was_awaited():
    rule = StatusRule.parse(["STOPPED", "PAUSED"])

    with pytest.raises(PipelineFailedError) as caught:
        rule.is_met(PipelineStatus("RUN_ERROR"), "p-1")

    assert str(caught.value) == (
        "pipeline p-1 is RUN_ERROR, awaited was PAUSED or STOPPED. Look at the pipeline's run log "
        "in the EnOS console."
    )


@pytest.mark.parametrize(
    ("targets", "failures", "text"),
    [
        ([], None, "target_statuses: got [], allowed is at least one status."),
        (
            "",
            None,
            "target_statuses: got '', allowed is at least one status.",
        ),
        (
            None,
            None,
            "target_statuses: got None, allowed is a status such as 'RUNNING', or a list of them.",
        ),
        (
            ["RUNNING", 1],
            None,
            "target_statuses: got ['RUNNING', 1], allowed is a status such as 'RUNNING', or a list "
            "of them.",
        ),
        (
            "RUNNING",
            5,
            "failed_statuses: got 5, allowed is a status such as 'RUNNING', or a list of them.",
        ),
        (
            ["RUNNING", "PAUSED"],
            ["paused"],
            "failed_statuses: got ['PAUSED'], allowed is statuses that are not in target_statuses.",
        ),
    ],
)
def test_wrong_rule_names_field_given_and_allowed(targets, failures, text):
    with pytest.raises(InvalidSettingError) as caught:
        StatusRule.parse(targets, failures)

    assert str(caught.value) == text


def test_pauses_without_back_off_are_the_interval():
    assert pauses(4, poll_interval_seconds=5) == [5, 5, 5, 5]


def test_pauses_with_back_off_double_within_their_bounds():
    bases = [5, 10, 20, 40, 80]

    for _ in range(100):
        found = pauses(5, poll_interval_seconds=10, exponential_backoff=True)
        assert all(base <= pause <= 2 * base for base, pause in zip(bases, found, strict=True))


def test_back_off_never_pauses_for_less_than_a_second():
    found = pauses(3, poll_interval_seconds=0.01, exponential_backoff=True)

    assert all(1 <= pause <= 2 for pause in found)


def test_back_off_never_pauses_for_longer_than_max_wait():
    found = pauses(50, poll_interval_seconds=60, exponential_backoff=True, max_wait_seconds=90)

    assert max(found) == 90


def test_back_off_does_not_overflow():
    options = {"poll_interval_seconds": 60, "exponential_backoff": True}

    assert pauses(3000, **options)[-1] <= 2e9


def test_watch_looks_at_once_and_then_every_interval(stage, enos):
    enos.statuses = ["STOPPED", "STARTING", "STARTING", "RUNNING"]

    assert stage.run(watch_status("o1", "p-1", RUNNING, plan(stage))) == "RUNNING"

    assert stage.pauses == [5, 5, 5]
    assert stage.lines == [
        "Pipeline p-1 is STOPPED",
        "Pipeline p-1 is STARTING",
        "Pipeline p-1 is RUNNING",
    ]


def test_watch_returns_a_failing_status_for_the_rule_to_judge(stage, enos):
    enos.statuses = ["STARTING", "START_ERROR"]

    assert stage.run(watch_status("o1", "p-1", RUNNING, plan(stage))) == "START_ERROR"


def test_watch_backs_off(stage, enos):
    enos.statuses = ["STARTING"] * 4 + ["RUNNING"]

    stage.run(
        watch_status("o1", "p-1", RUNNING, plan(stage, seconds=1e6, exponential_backoff=True))
    )

    assert len(stage.pauses) == 4
    assert 20 <= stage.pauses[3] <= 40


def test_deadline_ends_the_watch_with_a_last_look(stage, enos):
    enos.statuses = ["STOPPED"]

    with pytest.raises(StatusTimeoutError) as caught:
        stage.run(watch_status("o1", "p-1", RUNNING, plan(stage, seconds=12)))

    assert stage.pauses == [5, 5, 2]
    assert enos.log == ["list"] * 4
    assert str(caught.value).startswith("pipeline p-1 is still STOPPED. ")


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(None, PipelineNotFoundError), (Answer(401, b""), AuthenticationError)],
)
def test_trouble_ends_the_watch(status, error_class, stage, enos):
    enos.statuses = [status]

    with pytest.raises(error_class):
        stage.run(watch_status("o1", "p-1", RUNNING, plan(stage)))


@pytest.mark.parametrize("status", [DOWN, BUSY, UNKNOWN_CODE])
def test_silent_fail_looks_again_after_trouble(status, stage, enos):
    """For longer than the 300 s for which an outage is waited out in any case."""

    def server(request):
        enos.statuses = [status if stage.elapsed_seconds < 400 else "RUNNING"]
        return enos(request)

    stage.server = server

    found = stage.run(
        watch_status("o1", "p-1", RUNNING, plan(stage, seconds=900, silent_fail=True))
    )

    assert found == "RUNNING"
    assert any(line.startswith("Looking again, since silent_fail is set:") for line in stage.lines)


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (None, PipelineNotFoundError),
        (Answer(401, b""), AuthenticationError),
        (Answer(403, b""), AccessDeniedError),
        (Answer(404, b""), WrongGatewayError),
    ],
)
def test_silent_fail_is_not_silent_of_what_no_look_can_change(status, error_class, stage, enos):
    """As in Airflow, where AirflowFailException ends a sensor with silent_fail too."""
    enos.statuses = [status]

    with pytest.raises(error_class):
        stage.run(watch_status("o1", "p-1", RUNNING, plan(stage, silent_fail=True)))

    assert stage.elapsed_seconds <= 17


@pytest.mark.parametrize("status", [UNKNOWN_CODE, DOWN])
def test_silent_fail_ends_with_the_deadline(status, stage, enos):
    enos.statuses = [status]

    with pytest.raises(StatusTimeoutError, match="pipeline p-1 is still unknown"):
        stage.run(watch_status("o1", "p-1", RUNNING, plan(stage, silent_fail=True)))

    assert stage.elapsed_seconds == 60


def test_silent_fail_does_not_go_on_when_the_task_is_killed(stage, enos):
    """The kill comes during a look, in the pause before it is repeated."""
    enos.statuses = [DOWN, "RUNNING"]

    stage.run_until_killed(
        watch_status("o1", "p-1", RUNNING, plan(stage, seconds=float("inf"), silent_fail=True))
    )

    assert enos.log == ["list"]


def test_outage_of_a_minute_does_not_end_a_watch(stage, enos):
    """A gateway's restart must not fail a task."""
    stage.server = lambda request: DOWN if stage.elapsed_seconds < 60 else enos(request)

    assert stage.run(watch_status("o1", "p-1", RUNNING, plan(stage, seconds=600))) == "RUNNING"


def test_outage_does_not_stretch_the_watch(stage):
    stage.server = lambda _: DOWN

    with pytest.raises(EnOSUnreachableError):
        stage.run(watch_status("o1", "p-1", RUNNING, plan(stage, seconds=30)))

    assert stage.elapsed_seconds <= 30


def test_outage_of_ten_minutes_ends_a_watch(stage):
    stage.server = lambda _: DOWN

    with pytest.raises(EnOSUnreachableError):
        stage.run(watch_status("o1", "p-1", RUNNING, plan(stage, seconds=3600)))

    assert 280 <= stage.elapsed_seconds <= 300
