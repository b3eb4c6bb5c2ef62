"""The start: one test or more for each branch of the diagram at the top of start.py."""

import json

import pytest

from airflow_provider_enos.api import flows, tokens
from airflow_provider_enos.api.errors import (
    AccessDeniedError,
    ConflictTimeoutError,
    EnOSApiError,
    EnOSCertificateError,
    EnOSNoAnswerError,
    EnOSServerError,
    EnOSUnreachableError,
    InvalidPipelineConfigError,
    InvalidRequestError,
    PipelineFailedError,
    PipelineNotFoundError,
    PipelineStateError,
    ResourceNotEnoughError,
    ResourceNotRequestedError,
    StatusTimeoutError,
    WrongGatewayError,
)
from airflow_provider_enos.api.messages import Answer
from airflow_provider_enos.api.pacing import HINT_SPREAD, UNKNOWN_HOLD_SECONDS
from airflow_provider_enos.api.queue import OwnTurn, StartQueue
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_values import Outcome, StartProgress, StartResult, StartTerms
from airflow_provider_enos.api.tokens import TokenCache
from airflow_provider_enos.api.transport import Sleep

DOWN = EnOSUnreachableError("connection refused")
LOST = EnOSNoAnswerError("no answer")
BUSY = Answer(503, b"")
CONFLICT = {"code": 61121, "msg": "Another user is starting a job."}
#: Refused, with a pause that is longer than any of ours, so that the test knows it.
CONFLICT_30_S = Answer(200, json.dumps(CONFLICT).encode(), {"retry-after": "30"})
WRONG_STATUS = {"code": 61165, "msg": "Stream processing job with status [XX] cannot be started."}


@pytest.fixture
def enos(enos):
    enos.before = ["STOPPED"]
    return enos


@pytest.fixture
def progress():
    return StartProgress()


@pytest.fixture
def queue():
    return StartQueue(OwnTurn())


@pytest.fixture
def flow(stage, start_settings, progress, queue):
    """Make the flow of a start; times are seconds from the beginning of the stage."""

    def make(
        *, conflict=1800, execution=None, start_timeout=600, wait_for_running=True, interval=5
    ):
        terms = StartTerms(
            conflict_deadline=stage.START + conflict,
            start_timeout_seconds=start_timeout,
            poll_interval_seconds=interval,
            deadline=None if execution is None else stage.START + execution,
            wait_for_running=wait_for_running,
        )
        return start("o1", start_settings, terms, progress, queue)

    return make


def test_accepted_start_is_watched_until_it_runs(stage, enos, flow, progress):
    accepted_at = stage.now
    enos.statuses = ["STOPPED", "STARTING", "RUNNING"]

    result = stage.run(flow())

    assert result == StartResult("p-1", "o1", Outcome.STARTED, "RUNNING", 1, 0, 10.0)
    assert enos.log == ["list", "start", "list", "list", "list"]
    assert progress == StartProgress(1, 0, accepted_at=accepted_at, ambiguous=False)
    assert stage.lines[0] == "EnOS accepted the start of pipeline p-1 (attempt 1, 0 conflicts)."


def test_start_sends_what_the_page_documents(stage, enos, flow):
    stage.run(flow())

    _, request, _ = stage.requests
    assert request.target == "/streaming/v2.0/streaming/pipeline/p-1?action=start&orgId=o1"
    assert request.body == b'{"executionMode":0,"kafkaRate":1000}'


def test_start_that_is_not_waited_for_ends_with_its_acceptance(stage, enos, flow):
    result = stage.run(flow(wait_for_running=False))

    assert (result.outcome, result.status) == (Outcome.STARTED, None)
    assert enos.log == ["list", "start"]


def test_conflicts_are_waited_out(stage, enos, flow, progress):
    enos.starts = [CONFLICT] * 3 + [enos.OK]

    result = stage.run(flow())

    assert (result.outcome, result.attempts, result.conflicts) == (Outcome.STARTED, 4, 3)
    assert [call for call in enos.log if call == "start"] == ["start"] * 4
    assert (progress.accepted_at is not None, progress.ambiguous) == (True, False)
    assert result.waited_seconds == pytest.approx(sum(stage.pauses), abs=0.001)


def test_pipeline_that_turns_running_brings_the_next_start_forward(stage, enos, flow, queue):
    """Somebody's start is over: EnOS may let ours in now."""
    place = queue.enter("p")
    place.turn.result().luck = 1.0
    queue.leave(place)
    shown = iter(["STARTING"] * 4 + ["RUNNING"])
    moments = {}

    def server(request):
        if request.method == "POST":
            if "over" in moments:
                moments.setdefault("asked", stage.now)
            return enos(request)
        status = next(shown, "RUNNING")
        if status == "RUNNING":
            moments.setdefault("over", stage.now)
        rows = [{"pipelineId": "theirs", "status": status}]
        return {"code": 0, "data": {"count": 1, "pipelines": rows}}

    stage.server = server
    enos.starts = [CONFLICT_30_S] * 2 + [CONFLICT] * 12 + [enos.OK]

    stage.run(flow(interval=0.2, wait_for_running=False))

    assert 0 <= moments["asked"] - moments["over"] <= HINT_SPREAD * UNKNOWN_HOLD_SECONDS


def test_long_pause_before_the_turn_is_used_is_explained(stage, enos, flow, queue):
    place = queue.enter("p")
    place.turn.result().hold_off(stage.now + 20)
    queue.leave(place)

    stage.run(flow())

    assert stage.lines[0] == (
        "It is the turn of pipeline p-1; EnOS is asked in 20 s, when it may be free."
    )
    assert stage.pauses == [20]


def test_trouble_of_one_pipeline_does_not_stop_the_queue_for_an_hour(stage, enos, flow, queue):
    enos.starts, enos.statuses = [Answer(503, b"", {"retry-after": "3600"})], ["STOPPED"]

    with pytest.raises(EnOSServerError):
        stage.run(flow())

    assert queue.enter("p").turn.result().ask_at <= stage.now + 60


def test_two_short_troubles_far_apart_are_no_long_one(stage, enos, flow):
    """Between them it may have queued up for half an hour."""
    enos.starts, enos.statuses = [DOWN, DOWN, enos.OK], ["RUNNING"]

    def server(request):
        if request.method == "POST" and len(enos.log) == 1:
            stage.now += 400
        return enos(request)

    stage.server = server

    assert stage.run(flow()).attempts == 3


def test_clock_that_is_put_back_while_it_waits_does_not_prolong_the_wait(stage, enos, flow, queue):
    place = queue.enter("p")
    place.turn.result().holds = [60.0] * 8
    place.turn.result().accepted_start(stage.now, "p-0")
    queue.leave(place)
    course = stage.begin(flow())
    course.go_to(Sleep)

    stage.now -= 3600
    course.finish()

    assert stage.now <= stage.START - 3600 + 120


def test_slow_list_does_not_make_the_start_late(stage, enos, flow, queue):
    place = queue.enter("p")
    place.turn.result().holds = [60.0] * 8
    place.turn.result().accepted_start(stage.now, "p-0")
    queue.leave(place)
    sent = []

    def server(request):
        if request.method == "POST":
            sent.append(stage.now - stage.START)
        else:
            stage.now += 7
        return enos(request)

    stage.server = server
    stage.run(flow(wait_for_running=False))

    assert sent[0] == pytest.approx(60, abs=1)


def test_list_that_fails_while_we_queue_up_fails_nothing(stage, enos, flow):
    enos.starts = [CONFLICT] * 8 + [enos.OK]
    enos.statuses = [Answer(403, b""), "RUNNING"]

    assert stage.run(flow(interval=1)).outcome is Outcome.STARTED


@pytest.mark.parametrize(("asked", "least", "most"), [("30", 30, 30), ("0", 0, 2), ("1", 1, 2)])
def test_retry_after_of_a_conflict_wins_when_it_is_larger(asked, least, most, stage, enos, flow):
    conflict = Answer(200, json.dumps(CONFLICT).encode(), {"retry-after": asked})
    enos.starts = [conflict, enos.OK]

    stage.run(flow())

    assert least <= stage.pauses[0] <= most


def test_conflicts_are_logged_at_1_2_4_8_and_no_more(stage, enos, flow):
    enos.starts = [CONFLICT_30_S] * 10 + [enos.OK]

    stage.run(flow())

    refusals = [(1, 0, 1800), (2, 30, 1770), (4, 90, 1710), (8, 210, 1590)]
    assert stage.lines[:-2] == [
        "Somebody else is starting a pipeline of organization o1 (EnOS code 61121). Pipeline p-1 "
        f"waits: refusal {number}, for {age} s now; asked again in 30.0 s, given up in {left} s."
        for number, age, left in refusals
    ]
    assert stage.lines[-2] == (
        "EnOS accepted the start of pipeline p-1 (attempt 11, 10 conflicts)."
    )


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"conflict": 100}, "conflict_timeout"),
        ({"conflict": 100, "execution": 5000}, "conflict_timeout"),
        ({"conflict": 5000, "execution": 100}, "execution_timeout"),
    ],
)
def test_conflict_budget_is_time_and_its_limit_is_named(limits, name, stage, enos, flow):
    enos.starts = [CONFLICT_30_S]

    with pytest.raises(ConflictTimeoutError) as caught:
        stage.run(flow(**limits))

    assert str(caught.value) == (
        "Cannot start pipeline p-1 of organization o1: EnOS refused 4 times because somebody else "
        f"in the organization was starting a pipeline, and {name} is over (EnOS code 61121). EnOS "
        "allows one start at a time in an organization. See in the EnOS console who is starting "
        "pipelines, or raise that limit."
    )
    assert stage.pauses == [30, 30, 30]
    assert caught.value.retryable


@pytest.mark.parametrize("budget", [0, 1, 60, 1800])
def test_conflict_budget_is_never_overrun(budget, stage, enos, flow):
    enos.starts = [CONFLICT]

    with pytest.raises(ConflictTimeoutError):
        stage.run(flow(conflict=budget))

    assert stage.elapsed_seconds <= budget
    assert enos.log[-1] == "start"


def test_running_pipeline_is_found_already_running(stage, enos, flow, progress):
    enos.starts = [WRONG_STATUS]

    result = stage.run(flow())

    assert result == StartResult("p-1", "o1", Outcome.ALREADY_RUNNING, "RUNNING", 1, 0, 0.0)
    assert enos.log == ["list", "start", "list"]
    assert progress.accepted_at is None


def test_pipeline_that_somebody_else_starts_is_waited_for(stage, enos, flow):
    enos.starts, enos.statuses = [WRONG_STATUS], ["STARTING", "STARTING", "RUNNING"]

    result = stage.run(flow())

    assert (result.outcome, result.status) == (Outcome.ALREADY_RUNNING, "RUNNING")
    assert enos.log.count("start") == 1


@pytest.mark.parametrize("wait_for_running", [True, False])
def test_refused_start_is_no_success_before_the_pipeline_runs(stage, enos, flow, wait_for_running):
    enos.starts, enos.statuses = [WRONG_STATUS], ["STARTING", "STARTING", "RUNNING"]

    result = stage.run(flow(wait_for_running=wait_for_running))

    assert result.status == "RUNNING"
    assert result.outcome is Outcome.ALREADY_RUNNING
    assert enos.log == ["list", "start", "list", "list", "list"]


@pytest.mark.parametrize("wait_for_running", [True, False])
def test_pipeline_that_was_stopping_is_started_when_it_has_stopped(
    stage, enos, flow, wait_for_running
):
    """61165 while it stops is neither a success nor a failure."""
    enos.starts = [WRONG_STATUS, enos.OK]
    enos.statuses = ["STOPPING", "STOPPED", "RUNNING"]

    result = stage.run(flow(wait_for_running=wait_for_running))

    assert result.outcome is Outcome.STARTED
    assert enos.log.count("start") == 2


def test_status_that_never_settles_ends_with_the_start_timeout(stage, enos, flow, progress):
    enos.starts, enos.statuses = [WRONG_STATUS], ["FINISHED"]

    with pytest.raises(StatusTimeoutError, match="still FINISHED, and start_timeout is over"):
        stage.run(flow())

    assert not progress.may_have_started


def test_second_try_of_task_finds_pipeline_already_running(stage, enos, flow, progress):
    """The first try's worker died; what it had started is ours."""
    progress.ambiguous = True
    enos.starts = [WRONG_STATUS]

    assert stage.run(flow()).outcome is Outcome.ADOPTED


def test_status_that_changed_in_between_is_asked_again(stage, enos, flow):
    """61165 although STOPPED may be started: it was running a moment ago."""
    enos.starts, enos.statuses = [WRONG_STATUS, enos.OK], ["STOPPED", "RUNNING"]

    result = stage.run(flow())

    assert (result.outcome, result.attempts) == (Outcome.STARTED, 2)
    assert stage.pauses == [5]


def test_status_that_changed_in_between_is_asked_again_however_long_the_interval(stage, enos, flow):
    enos.starts, enos.statuses = [WRONG_STATUS, enos.OK], ["STOPPED", "RUNNING"]

    assert stage.run(flow(interval=60)).outcome is Outcome.STARTED


def test_patience_with_a_contradiction_begins_anew_after_a_conflict(stage, enos, flow):
    """The second contradiction has its own reason: the other's start is over, the list late."""
    enos.starts = [WRONG_STATUS, CONFLICT_30_S, WRONG_STATUS, enos.OK]
    enos.statuses = ["STOPPED"] * 4 + ["RUNNING"]

    assert stage.run(flow()).outcome is Outcome.STARTED


def test_refusal_that_contradicts_the_status_ends_with_the_acceptance(stage, enos, flow):
    enos.starts, enos.statuses = [WRONG_STATUS], ["STOPPED"]

    with pytest.raises(PipelineStateError):
        stage.run(flow(conflict=7))

    assert stage.pauses == [5]


@pytest.mark.parametrize("status", ["STOPPED", "PUBLISHED", "PAUSED"])
def test_refusal_that_contradicts_the_status_is_not_asked_for_ever(status, stage, enos, flow):
    enos.starts, enos.statuses = [WRONG_STATUS], [status]

    with pytest.raises(PipelineStateError) as caught:
        stage.run(flow())

    assert caught.value.code == 61165
    assert stage.pauses == [5, 5, 5]
    assert enos.log == ["list", "start", "list"] * 4


def test_pipeline_in_a_failing_status_that_cannot_be_started_fails_at_once(stage, enos, flow):
    enos.starts, enos.statuses = [WRONG_STATUS], ["START_ERROR"]

    with pytest.raises(PipelineStateError):
        stage.run(flow())

    assert enos.log == ["list", "start", "list"]


def test_refusal_of_a_pipeline_without_a_status_is_what_the_reader_sees(stage, enos, flow):
    """It was never released, so the second message would only tell half of it."""
    enos.starts, enos.statuses = [WRONG_STATUS], [None]

    with pytest.raises(PipelineStateError):
        stage.run(flow())


@pytest.mark.parametrize(
    "lost", [LOST, BUSY, Answer(200, b""), Answer(502, b"<html>"), {"code": 99000}]
)
def test_lost_answer_to_start_is_looked_up_and_adopted(lost, stage, enos, flow, progress):
    enos.starts = [lost]

    result = stage.run(flow())

    assert (result.outcome, result.attempts) == (Outcome.ADOPTED, 1)
    assert enos.log == ["list", "start", "list"]
    assert (progress.accepted_at, progress.ambiguous) == (None, True)


def test_lost_answer_to_start_is_looked_up_and_sent_again(stage, enos, flow):
    enos.starts, enos.statuses = [LOST, enos.OK], ["STOPPED", "RUNNING"]

    result = stage.run(flow())

    assert (result.outcome, result.attempts) == (Outcome.STARTED, 2)
    assert enos.log == ["list", "start", "list", "start", "list"]
    assert stage.pauses[0] <= 2


@pytest.mark.parametrize("before", ["RUNNING", "STARTING"])
@pytest.mark.parametrize("lost", [LOST, BUSY, {"code": 99000}])
def test_what_ran_before_the_lost_answer_is_not_ours(before, lost, stage, enos, flow, progress):
    enos.starts, enos.before = [lost], [before]

    result = stage.run(flow())

    assert (result.outcome, result.status) == (Outcome.ALREADY_RUNNING, "RUNNING")
    assert not progress.may_have_started


def test_what_somebody_else_starts_while_we_wait_is_not_ours(stage, enos, flow, progress):
    """The start that is in the way may be one of the same pipeline."""
    enos.starts, enos.statuses = [CONFLICT_30_S, CONFLICT_30_S, LOST], ["STARTING", "RUNNING"]

    result = stage.run(flow(interval=1))

    assert result.outcome is Outcome.ALREADY_RUNNING
    assert not progress.may_have_started


def test_what_has_stopped_before_the_lost_answer_is_ours(stage, enos, flow, progress):
    enos.before, enos.starts = ["RUNNING"], [WRONG_STATUS, LOST]
    enos.statuses = ["STOPPED", "STOPPED", "RUNNING"]

    assert stage.run(flow()).outcome is Outcome.ADOPTED


@pytest.mark.parametrize("refusal", [Answer(403, b""), Answer(404, b""), {"code": 99404}, None])
def test_whoever_may_not_look_may_start_all_the_same(refusal, stage, enos, flow):
    enos.before = [refusal]

    result = stage.run(flow(wait_for_running=False))

    assert (result.outcome, result.attempts) == (Outcome.STARTED, 1)


@pytest.mark.parametrize("trouble", [DOWN, LOST, BUSY, Answer(429, b"", {"retry-after": "60"})])
def test_list_that_fails_keeps_no_start_waiting(trouble, stage, enos, flow):
    enos.before = [trouble]

    result = stage.run(flow(wait_for_running=False))

    assert (result.outcome, result.attempts, stage.elapsed_seconds) == (Outcome.STARTED, 1, 0)


def test_nothing_is_adopted_where_it_is_not_known_what_ran_before(stage, enos, flow, progress):
    enos.before, enos.starts = [BUSY], [LOST]

    assert stage.run(flow()).outcome is Outcome.ALREADY_RUNNING
    assert not progress.may_have_started


@pytest.fixture
def noted(enos, progress):
    """What was noted, and what had been sent until then."""
    found = []
    progress.note = lambda may_be_ours: found.append((may_be_ours, list(enos.log)))
    return found


def test_start_is_noted_once_before_it_is_sent(stage, enos, flow, noted):
    enos.starts = [CONFLICT, DOWN, BUSY, enos.OK]
    enos.statuses = ["STOPPED", "STOPPED", "STOPPED", "RUNNING"]

    stage.run(flow())

    assert noted == [(True, ["list"])]


def test_nothing_is_noted_in_the_queue(stage, enos, flow, queue, noted):
    queue.enter("p-0")

    with pytest.raises(ConflictTimeoutError):
        stage.run(flow())

    assert (noted, enos.log) == ([], [])


def test_nothing_is_noted_long_before_the_start_is_sent(stage, enos, flow, queue, noted):
    place = queue.enter("p")
    place.turn.result().hold_off(stage.now + 600)
    queue.leave(place)
    course = stage.begin(flow())
    course.go_to(Sleep)

    assert (noted, enos.log) == ([], [])
    course.finish()
    assert noted == [(True, ["list"])]


def test_start_of_what_runs_already_is_not_noted(stage, enos, flow, noted):
    enos.starts, enos.before = [BUSY], ["RUNNING"]

    stage.run(flow())

    assert noted == []


def test_note_is_taken_back_when_somebody_else_has_started_it(stage, enos, flow, noted):
    enos.starts, enos.statuses = [CONFLICT_30_S, CONFLICT_30_S, WRONG_STATUS], ["RUNNING"]

    assert stage.run(flow(interval=1)).outcome is Outcome.ALREADY_RUNNING
    assert [may_be_ours for may_be_ours, _ in noted] == [True, False]


@pytest.mark.parametrize("before", ["RUNNING", BUSY])
def test_accepted_start_is_noted_whatever_was_seen_before(before, stage, enos, flow, noted):
    """The list may be late."""
    enos.before = [before]

    assert stage.run(flow()).outcome is Outcome.STARTED
    assert noted == [(True, ["list", "start"])]


def test_what_an_earlier_try_has_noted_is_not_noted_again(stage, enos, flow, progress, noted):
    progress.ambiguous = progress.is_noted = True

    stage.run(flow())

    assert (noted, enos.log) == ([], ["list", "start", "list"])


def test_start_that_had_worked_although_its_answer_was_lost_is_adopted(stage, enos, flow):
    enos.starts, enos.statuses = [LOST, WRONG_STATUS], ["STOPPED", "RUNNING"]

    result = stage.run(flow())

    assert (result.outcome, result.attempts) == (Outcome.ADOPTED, 2)


def test_start_under_way_although_its_answer_was_lost_is_waited_for(stage, enos, flow):
    enos.starts, enos.statuses = [LOST], ["STARTING", "STARTING", "RUNNING"]

    result = stage.run(flow())

    assert (result.outcome, result.status, result.attempts) == (Outcome.ADOPTED, "RUNNING", 1)


def test_own_lost_start_that_conflicts_with_the_next_is_adopted(stage, enos, flow):
    """The lock that is in the way may be our own."""
    enos.starts = [LOST, CONFLICT, CONFLICT, WRONG_STATUS]
    enos.statuses = ["STOPPED", "RUNNING"]

    result = stage.run(flow())

    assert (result.outcome, result.conflicts) == (Outcome.ADOPTED, 2)


@pytest.mark.parametrize(
    "old",
    [
        "STOPPED",
        "PAUSED",
        "PUBLISHED",
        "START_ERROR",
    ],
)
def test_listing_that_is_late_does_not_fail_a_start_that_worked(old, stage, enos, flow):
    """The list may show the old status for a while, here for 5 seconds."""
    enos.starts = [LOST, WRONG_STATUS]

    def server(request):
        enos.statuses = [old if stage.elapsed_seconds < 5 else "RUNNING"]
        return enos(request)

    stage.server = server

    assert stage.run(flow()).outcome is Outcome.ADOPTED


@pytest.mark.parametrize("trouble", [DOWN, Answer(429, b"")])
def test_start_that_was_not_carried_out_is_sent_again(trouble, stage, enos, flow):
    enos.starts = [trouble, trouble, enos.OK]

    result = stage.run(flow())

    assert (result.outcome, result.attempts) == (Outcome.STARTED, 3)
    assert enos.log == ["list", "start"] * 3 + ["list"]
    assert stage.pauses[0] <= 2
    assert stage.pauses[1] <= 4


def test_start_that_never_arrived_adopts_nothing(stage, enos, flow):
    enos.starts = [DOWN, WRONG_STATUS]

    assert stage.run(flow()).outcome is Outcome.ALREADY_RUNNING


def test_trouble_with_the_token_adopts_nothing(stage, enos, flow, settings):
    """No start was sent, so the pipeline that runs is somebody else's: on_kill must not stop it."""
    enos.tokens.insert(0, BUSY)
    enos.starts = [WRONG_STATUS]

    result = stage.run(tokens.signed(flow(), settings, TokenCache()))

    assert result.outcome is Outcome.ALREADY_RUNNING


def test_retry_after_of_an_outage_is_kept(stage, enos, flow):
    enos.starts = [Answer(429, b"", {"retry-after": "45"}), enos.OK]

    stage.run(flow())

    assert stage.pauses == [45]
    assert stage.lines[0].endswith("Trying again in 45.0 s, giving up in 300 s.")


def test_outage_of_minutes_is_waited_out(stage, enos, flow):
    stage.server = lambda request: DOWN if stage.elapsed_seconds < 240 else enos(request)

    assert stage.run(flow()).outcome is Outcome.STARTED


def test_outage_for_ever_is_an_error_after_the_patience(stage, enos, flow):
    enos.starts = [DOWN]

    with pytest.raises(EnOSUnreachableError):
        stage.run(flow())

    assert 280 <= stage.elapsed_seconds <= 300


def test_outage_ends_with_the_acceptance_deadline(stage, enos, flow):
    enos.starts = [DOWN]

    with pytest.raises(EnOSUnreachableError):
        stage.run(flow(conflict=60))

    assert stage.elapsed_seconds <= 60


def test_patience_with_outages_begins_anew_after_an_answer(stage, enos, flow):
    """Between the two outages EnOS answered, so it is not one long outage."""
    conflicts, looks = iter([True]), iter([True])

    def server(request):
        if stage.elapsed_seconds < 200:
            return DOWN
        if request.method == "POST" and next(conflicts, False):
            return CONFLICT
        if next(looks, False):
            return enos(request)
        return DOWN if stage.elapsed_seconds < 400 else enos(request)

    stage.server = server

    result = stage.run(flow())

    assert (result.outcome, result.conflicts) == (Outcome.STARTED, 1)


def test_look_after_a_lost_answer_does_not_overrun_the_deadline(stage, enos, flow):
    enos.starts, enos.statuses = [LOST], [DOWN]

    with pytest.raises((EnOSUnreachableError, EnOSNoAnswerError)):
        stage.run(flow(execution=30))

    assert stage.elapsed_seconds <= 30


@pytest.mark.parametrize(
    ("answer", "error_class"),
    [
        ({"code": 61100}, InvalidPipelineConfigError),
        ({"code": 61108}, PipelineNotFoundError),
        ({"code": 61126}, ResourceNotEnoughError),
        ({"code": 61128}, ResourceNotRequestedError),
        ({"code": 99400}, InvalidRequestError),
        ({"code": 99403}, AccessDeniedError),
        ({"code": 61999}, EnOSApiError),
        (Answer(403, b""), AccessDeniedError),
        (Answer(404, b""), WrongGatewayError),
        (EnOSCertificateError("self-signed"), EnOSCertificateError),
    ],
)
def test_refusal_that_waiting_does_not_help_fails_at_once(answer, error_class, stage, enos, flow):
    enos.starts = [answer]

    with pytest.raises(error_class):
        stage.run(flow())

    assert enos.log == ["list", "start"]


def test_accepted_start_that_never_runs_times_out(stage, enos, flow, progress):
    enos.statuses = ["STARTING"]

    with pytest.raises(
        StatusTimeoutError, match=r"is still STARTING, .* and start_timeout is over"
    ):
        stage.run(flow(start_timeout=60))

    assert stage.elapsed_seconds == 60
    assert progress.accepted_at is not None


def test_start_timeout_begins_with_the_acceptance(stage, enos, flow):
    """The time that other starts took does not count."""
    enos.starts, enos.statuses = [CONFLICT_30_S] * 4 + [enos.OK], ["STARTING"]

    with pytest.raises(StatusTimeoutError):
        stage.run(flow(start_timeout=60))

    assert stage.elapsed_seconds == 180


def test_execution_timeout_caps_the_wait_for_running(stage, enos, flow):
    enos.statuses = ["STARTING"]

    with pytest.raises(StatusTimeoutError, match="and execution_timeout is over"):
        stage.run(flow(start_timeout=600, execution=20))

    assert stage.elapsed_seconds == 20


@pytest.mark.parametrize("statuses", [["START_ERROR"], ["STARTING", "STOPPED"]])
def test_accepted_start_that_fails(statuses, stage, enos, flow):
    enos.statuses = statuses

    with pytest.raises(PipelineFailedError):
        stage.run(flow())


def test_failure_from_before_the_start_does_not_fail_it(stage, enos, flow):
    enos.before, enos.statuses = ["START_ERROR"], ["START_ERROR", "STARTING", "RUNNING"]

    assert stage.run(flow()).outcome is Outcome.STARTED


def test_look_before_the_start_tells_that_it_stopped_again(stage, enos, flow):
    enos.before, enos.statuses = ["PUBLISHED"], ["STOPPED"]

    with pytest.raises(PipelineFailedError, match="stopped again before it was running"):
        stage.run(flow())

    assert (stage.elapsed_seconds, enos.log) == (0, ["list", "start", "list"])


def test_next_try_knows_as_well_that_it_stopped_again(stage, enos, flow, progress):
    progress.ambiguous = True
    enos.before, enos.statuses = [("STOPPED", "2026-01-01")], [("STOPPED", "2026-01-02")]

    with pytest.raises(PipelineFailedError, match="stopped again before it was running"):
        stage.run(flow())


def test_start_after_a_lost_answer_is_compared_with_the_look_between_them(stage, enos, flow):
    """The first start took effect and failed; the second one works and shows the old status."""
    enos.before, enos.starts = ["PUBLISHED"], [LOST, enos.OK]
    enos.statuses = ["STOPPED"] * 5 + ["RUNNING"]

    assert stage.run(flow()).status == "RUNNING"
    assert enos.log[:5] == ["list", "start", "list", "start", "list"]


@pytest.mark.parametrize("late", ["RUNNING", "STOPPING"])
def test_list_that_was_late_before_the_start_fails_nothing(late, stage, enos, flow):
    """EnOS starts no pipeline of this status, so it had another one."""
    enos.before, enos.statuses = [late], ["STOPPED", "STARTING", "RUNNING"]

    assert stage.run(flow()).outcome is Outcome.STARTED


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (CONFLICT, ["list", "start"]),
        (DOWN, ["list", "start"]),
        (BUSY, ["list", "start", "list"]),
        (WRONG_STATUS, ["list", "start", "list"]),
        ({"code": 0}, ["list", "start", "list"]),
    ],
)
def test_killed_start_sends_nothing_more(answer, sent, stage, enos, flow):
    enos.starts, enos.statuses = [answer], ["STOPPED"]

    stage.run_until_killed(flow(conflict=float("inf")))

    assert enos.log == sent


def test_result_makes_the_trip_to_the_worker():
    result = StartResult("p-1", "o1", Outcome.ADOPTED, "RUNNING", 3, 2, 12.5)
    payload = json.loads(json.dumps(result.to_payload()))

    assert payload == {
        "pipeline_id": "p-1",
        "org_id": "o1",
        "outcome": "adopted",
        "status": "RUNNING",
        "attempts": 3,
        "conflicts": 2,
        "waited_seconds": 12.5,
    }
    assert StartResult.from_payload(payload) == result


@pytest.mark.parametrize(
    "damage", [{"outcome": "lost"}, {"attempts": "many"}, {"waited_seconds": None}]
)
def test_strange_result_is_not_taken_for_a_start(damage):
    payload = StartResult("p-1", "o1", Outcome.STARTED, None, 1, 0, 0.0).to_payload()

    with pytest.raises((ValueError, TypeError)):
        StartResult.from_payload({**payload, **damage})


def test_incomplete_result_is_not_taken_for_a_start():
    with pytest.raises(KeyError):
        StartResult.from_payload({"pipeline_id": "p-1"})


@pytest.mark.parametrize(
    ("conflict", "deadline", "acceptance", "name"),
    [
        (100, None, 100, "conflict_timeout"),
        (100, 200, 100, "conflict_timeout"),
        (100, 100, 100, "conflict_timeout"),
        (100, 50, 50, "execution_timeout"),
    ],
)
def test_acceptance_ends_with_the_earlier_limit(conflict, deadline, acceptance, name):
    terms = StartTerms(conflict, 600, 5, deadline)

    assert terms.acceptance_deadline == acceptance
    assert terms.limit(conflict, "conflict_timeout") == name


def test_server_errors_for_ever_are_an_error_after_the_patience(stage, enos, flow):
    """Read and sent in turn; the reads are answered, the starts are not."""
    enos.starts, enos.statuses = [BUSY], ["STOPPED"]

    with pytest.raises(EnOSServerError):
        stage.run(flow())

    assert stage.elapsed_seconds <= flows.WAIT_PATIENCE.seconds
    assert set(enos.log) == {"start", "list"}
