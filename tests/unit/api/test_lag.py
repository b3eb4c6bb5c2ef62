"""How far behind: what a look means, and how many of them in a row are enough."""

import json

import pytest

from airflow_provider_enos.api.errors import (
    AuthenticationError,
    EnOSServerError,
    InvalidSettingError,
    StatusTimeoutError,
)
from airflow_provider_enos.api.flows import Patience
from airflow_provider_enos.api.lag import LagLook, LagRule, Streak, look_at_lag, watch_lag
from airflow_provider_enos.api.messages import Answer
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.watch import PollPlan

AT_ONCE = Patience(0)


def answer(data):
    return Answer(200, json.dumps({"code": 0, "msg": "OK", "data": data}).encode())


def points(*rows):
    return answer({"pipelineId": "p-1", "topicName": "MEASURE_o1", "lagAndOffset": list(rows)})


def point(lag, ts):
    return {"lag": lag, "offset": 1, "ts": ts}


REFUSAL = Answer(200, b'{"code":99000,"msg":"Internal Server Error."}')


class Measured:
    """An EnOS that measures the lag; the last measurement stays."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self, request):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class NotRunning:
    """An EnOS that tells no lag, but a status."""

    def __init__(self, status, refusal=REFUSAL):
        self.status = status
        self.refusal = refusal

    def __call__(self, request):
        if request.path.endswith("/offset-lag"):
            return self.refusal
        return answer({"count": 1, "pipelines": [{"pipelineId": "p-1", "status": self.status}]})


def looks(*given):
    """Looks at lags measured one second after another; None: EnOS told none."""
    return [LagLook(100.0 + n, lag, 10.0 + n) for n, lag in enumerate(given)]


def streak_of(looks, max_lag=10):
    streak = Streak()
    for look in looks:
        streak = streak.and_then(look, max_lag)
    return streak


@pytest.mark.parametrize(
    ("lags", "count", "seconds"),
    [
        ([], 0, 0),
        ([10], 1, 0),
        ([0, 10, 5], 3, 2),
        ([11], 0, 0),
        ([0, 11, 0], 1, 0),
        ([0, None, 0], 1, 0),
        ([0, 0, 11], 0, 0),
    ],
)
def test_looks_within_the_limit_are_counted_in_a_row(lags, count, seconds):
    streak = streak_of(looks(*lags))

    assert (streak.looks, streak.seconds) == (count, seconds)


def test_the_same_measurement_counts_once():
    streak = streak_of([LagLook(100.0, 0, 10.0), LagLook(130.0, 0, 10.0), LagLook(160.0, 0, 9.0)])

    assert streak == Streak(1, 10.0, 10.0)


def test_measurement_that_was_too_high_does_not_come_back():
    """EnOS showed 50 and now 0, both at the same time: it is not news."""
    streak = streak_of([LagLook(100.0, 50, 10.0), LagLook(130.0, 0, 10.0)])

    assert streak.looks == 0


def test_without_a_time_each_look_counts():
    streak = streak_of([LagLook(100.0, 0), LagLook(130.0, 0)])

    assert (streak.looks, streak.seconds) == (2, 30)


@pytest.mark.parametrize(
    ("looks", "seconds", "met"), [(2, 0, True), (3, 0, False), (1, 60, True), (2, 61, False)]
)
def test_both_conditions_must_hold(looks, seconds, met):
    assert LagRule(10, looks, seconds).is_met(Streak(2, 100.0, 160.0)) is met


@pytest.mark.parametrize(
    ("max_lag", "looks", "text"),
    [
        (-1, 1, "max_lag: got -1, allowed is a whole number from 0 on."),
        (None, 1, "max_lag: got None, allowed is a whole number from 0 on."),
        ("many", 1, "max_lag: got 'many', allowed is a whole number from 0 on."),
        (True, 1, "max_lag: got True, allowed is a whole number from 0 on."),
        (1.5, 1, "max_lag: got 1.5, allowed is a whole number from 0 on."),
        (0, 0, "looks: got 0, allowed is a whole number from 1 on."),
    ],
)
def test_wrong_rule_names_field_given_and_allowed(max_lag, looks, text):
    with pytest.raises(InvalidSettingError) as error:
        LagRule.parse(max_lag, looks, 0)

    assert str(error.value) == text


def test_numbers_may_be_texts():
    assert LagRule.parse("100", "3", 5.0) == LagRule(100, 3, 5.0)


@pytest.mark.parametrize(
    ("data", "lag", "measured_at"),
    [
        ([point(5, 2000), point(9, 1000)], 5, 2.0),
        ([point(9, 1000), point(5, 2000)], 5, 2.0),
        ([point("7", "3000")], 7, 3.0),
        ([point(3, None)], 3, None),
        ([point(None, 4000), point(8, 3000)], 8, 3.0),
        ([point(1, 5000), point(2, 5000)], 2, 5.0),
    ],
)
def test_a_look_takes_the_newest_measurement_that_there_is(stage, data, lag, measured_at):
    stage.server = Measured(points(*data))

    look = stage.run(look_at_lag("o1", "p-1", AT_ONCE))

    assert (look.lag, look.measured_at, look.topic_name) == (lag, measured_at, "MEASURE_o1")


@pytest.mark.parametrize("data", [[], ["nonsense", None]])
def test_running_pipeline_without_a_measurement(stage, data):
    stage.server = NotRunning("RUNNING", points(*data))

    look = stage.run(look_at_lag("o1", "p-1", AT_ONCE))

    assert (look.lag, look.status) == (None, None)
    assert str(look) == "RUNNING, its lag is not known"


def test_one_point_may_stand_alone(stage):
    stage.server = Measured(answer({"lagAndOffset": point(4, 1000)}))

    assert stage.run(look_at_lag("o1", "p-1", AT_ONCE)).lag == 4


@pytest.mark.parametrize(
    "refusal",
    [
        REFUSAL,
        Answer(200, b'{"code":61999,"msg":"It does not run."}'),
        points(),
    ],
    ids=["server error", "code that nobody documented", "no measurement"],
)
@pytest.mark.parametrize("status", ["STOPPED", "PAUSED", "STARTING", "RUN_ERROR"])
def test_pipeline_that_does_not_run_shows_its_status(stage, status, refusal):
    stage.server = NotRunning(status, refusal)

    look = stage.run(look_at_lag("o1", "p-1", AT_ONCE))

    assert (look.lag, look.status, str(look)) == (None, status, status)
    assert look.has_failed is (status == "RUN_ERROR")


def test_trouble_of_a_running_pipeline_is_trouble(stage):
    stage.server = NotRunning("RUNNING")

    with pytest.raises(EnOSServerError, match="read the lag of pipeline p-1"):
        stage.run(look_at_lag("o1", "p-1", AT_ONCE))


def test_watch_ends_when_enough_measurements_in_a_row_were_low(stage):
    stage.server = Measured(
        *(points(point(lag, ts)) for lag, ts in [(0, 1000), (90, 2000), (5, 3000), (5, 3000)]),
        points(point(4, 4000)),
    )
    plan = PollPlan(deadline=stage.now + 600, poll_interval_seconds=30)

    look, streak = stage.run(watch_lag("o1", "p-1", LagRule(10, 2, 0), plan, Streak()))

    assert (look.lag, streak) == (4, Streak(2, 3.0, 4.0))
    assert len(stage.pauses) == 4


def test_watch_goes_on_where_the_worker_was(stage):
    stage.server = Measured(points(point(0, 2000)))
    plan = PollPlan(deadline=stage.now + 600, poll_interval_seconds=30)

    _, streak = stage.run(watch_lag("o1", "p-1", LagRule(10, 2, 0), plan, Streak(1, 1.0, 1.0)))

    assert streak == Streak(2, 1.0, 2.0)
    assert stage.pauses == []


def test_watch_that_takes_too_long_says_how_far_behind_it_is(stage):
    stage.server = Measured(points(point(5000, 1000)))
    plan = PollPlan(deadline=stage.now + 60, poll_interval_seconds=30)

    with pytest.raises(StatusTimeoutError, match="pipeline p-1 is still 5000 records behind"):
        stage.run(watch_lag("o1", "p-1", LagRule(10, 2, 0), plan, Streak()))


def test_silent_fail_does_not_hide_a_failed_pipeline(stage):
    stage.server = NotRunning("RUN_ERROR")
    plan = PollPlan(deadline=stage.now + 60, poll_interval_seconds=30, silent_fail=True)

    look, _ = stage.run(watch_lag("o1", "p-1", LagRule(10, 2, 0), plan, Streak()))

    assert look.status == PipelineStatus("RUN_ERROR")


def test_what_cannot_pass_ends_the_watch(stage):
    stage.server = Measured(Answer(200, b'{"code":1002,"msg":"no"}'))
    plan = PollPlan(deadline=stage.now + 60, poll_interval_seconds=30, silent_fail=True)

    with pytest.raises(AuthenticationError):
        stage.run(watch_lag("o1", "p-1", LagRule(10, 2, 0), plan, Streak()))
