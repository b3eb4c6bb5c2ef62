"""The changes other than a start: whose doing it was, and what is noted of it beforehand."""

import pytest

from airflow_provider_enos.api.change import (
    PAUSE,
    RELEASE,
    STOP,
    ChangeProgress,
    ChangeTerms,
    change_pipeline,
    stop_pipeline,
)
from airflow_provider_enos.api.errors import (
    EnOSNoAnswerError,
    EnOSUnreachableError,
    PipelineFailedError,
)
from airflow_provider_enos.api.messages import Answer

LOST, BUSY = EnOSNoAnswerError("no answer"), Answer(503, b"")
WRONG_STATUS = {"code": 61152, "msg": "Stream processing job with status [XX] cannot be stopped."}


@pytest.fixture
def progress():
    return ChangeProgress()


@pytest.fixture
def flow(stage, progress):
    """Make the flow of a stop."""

    def make(change=STOP, *, started_at=0.0):
        terms = ChangeTerms(stage.START + 600, "stop_timeout", 5, started_at)
        return change_pipeline(change, "o1", "p-1", terms, progress)

    return make


@pytest.fixture
def noted(enos, progress):
    """What was sent before the note was written."""
    found = []
    progress.note = lambda: found.append(list(enos.log))
    return found


@pytest.mark.parametrize("lost", [LOST, BUSY])
def test_what_was_stopped_before_the_lost_answer_is_not_ours(lost, stage, enos, flow, progress):
    enos.before, enos.stops, enos.statuses = ["STOPPED"], [lost], ["STOPPED"]

    assert stage.run(flow()).outcome == "already_stopped"
    assert not progress.may_have_changed


@pytest.mark.parametrize("lost", [LOST, BUSY])
def test_what_ran_before_the_lost_answer_was_stopped_by_us(lost, stage, enos, flow, progress):
    enos.before, enos.stops, enos.statuses = ["RUNNING"], [lost], ["STOPPED"]

    assert stage.run(flow()).outcome == "stopped"
    assert progress.may_have_changed


def test_what_is_started_meanwhile_is_stopped_by_us(stage, enos, flow, noted):
    enos.before, enos.stops, enos.statuses = ["STOPPED"], [LOST, LOST], ["RUNNING", "STOPPED"]

    assert stage.run(flow()).outcome == "stopped"
    assert noted == [["list", "stop", "list"]]


def test_change_is_noted_once_before_it_is_sent(stage, enos, flow, noted):
    enos.before, enos.stops, enos.statuses = ["RUNNING"], [LOST, enos.OK], ["RUNNING", "STOPPED"]

    stage.run(flow())

    assert noted == [["list"]]


def test_change_of_what_is_so_already_is_not_noted(stage, enos, flow, noted):
    enos.before, enos.stops, enos.statuses = ["STOPPED"], [WRONG_STATUS], ["STOPPED"]

    assert stage.run(flow()).outcome == "already_stopped"
    assert noted == []


def test_list_that_may_be_late_tells_nothing_of_what_was_before(stage, enos, flow):
    """It shows STOPPED, but the pipeline was started a moment ago."""
    enos.before, enos.stops, enos.statuses = ["STOPPED"], [LOST], ["STOPPED"]

    assert stage.run(flow(started_at=stage.START)).outcome == "stopped"


def test_list_that_fails_keeps_no_change_waiting(stage, enos, flow, noted):
    enos.before, enos.statuses = [BUSY], ["STOPPED"]

    assert stage.run(flow()).outcome == "stopped"
    assert (stage.elapsed_seconds, noted) == (0, [["list", "stop"]])


def test_nothing_is_claimed_where_it_is_not_known_what_was_before(stage, enos, flow, progress):
    enos.before, enos.stops, enos.statuses = [BUSY], [LOST], ["STOPPED"]

    assert stage.run(flow()).outcome == "already_stopped"
    assert not progress.may_have_changed


def test_what_is_stopped_while_enos_cannot_be_reached_is_not_ours(stage, enos, flow):
    """A look is as old as the request is late."""
    enos.before, enos.statuses = ["RUNNING"], ["STOPPED"]

    def server(request):
        if request.method == "GET":
            enos.before = ["RUNNING" if stage.elapsed_seconds < 100 else "STOPPED"]
            return enos(request)
        return EnOSUnreachableError("refused") if stage.elapsed_seconds < 200 else LOST

    stage.server = server

    assert stage.run(flow()).outcome == "already_stopped"


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (PAUSE, "RUNNING", "STOPPED"),
        (PAUSE, ("RUNNING", "2026-01-01"), ("RUNNING", "2026-01-02")),
        (STOP, ("RUNNING", "2026-01-01"), ("RUNNING", "2026-01-02")),
    ],
)
def test_change_that_was_undone_before_the_first_look_is_no_success(
    change, before, after, stage, enos, flow
):
    enos.before, enos.statuses = [before], [after]

    with pytest.raises(PipelineFailedError, match=f"EnOS accepted the {change.verb}"):
        stage.run(flow(change))

    assert stage.elapsed_seconds == 0


@pytest.mark.parametrize(
    ("before", "after", "seconds"),
    [
        ("STOPPED", "RUNNING", 0),
        (("STOPPED", "2026-01-01"), ("STOPPED", "2026-01-02"), 0),
        ("STOPPED", "STOPPED", 15),
    ],
)
def test_release_is_done_when_a_look_shows_something_new(before, after, seconds, stage, enos, flow):
    enos.before, enos.statuses = [before], [after]

    result = stage.run(flow(RELEASE))

    assert (result.outcome, stage.elapsed_seconds) == ("released", seconds)


def test_whoever_may_not_look_may_change_all_the_same(stage, enos, flow):
    enos.before, enos.statuses = [Answer(403, b"")], ["STOPPED"]

    assert stage.run(flow()).outcome == "stopped"


def test_stop_for_a_kill_wastes_no_time_on_a_look(stage, enos):
    enos.statuses = ["STOPPED"]

    stage.run(
        stop_pipeline(
            "o1", "p-1", deadline=stage.START + 4, limit="the time", poll_interval_seconds=1
        )
    )

    assert enos.log == ["stop", "list"]


def test_pause_of_a_paused_one_is_not_ours(stage, enos, flow):
    enos.before, enos.statuses = ["PAUSED"], ["PAUSED"]
    stage.server = lambda request: LOST if request.method == "POST" else enos(request)

    assert stage.run(flow(PAUSE)).outcome == "already_paused"
