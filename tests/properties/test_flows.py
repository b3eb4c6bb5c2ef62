"""Flows against a model that knows the truth: they end, in time, and what they say is true."""

from hypothesis import event, given
from hypothesis import strategies as st

from airflow_provider_enos.api.change import stop_pipeline
from airflow_provider_enos.api.errors import (
    ConflictTimeoutError,
    EnOSError,
    PipelineFailedError,
    StatusTimeoutError,
)
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.queue import OwnTurn, StartQueue
from airflow_provider_enos.api.start import start
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.start_values import StartProgress, StartTerms
from airflow_provider_enos.api.watch import PollPlan, StatusRule, watch_status
from tests.properties.model import BEGIN, ORG, PIPELINE, TROUBLES, Event, World, drive

LONGEST_ROUND_TRIP = 30.0

#: What may follow a deadline: the request under way, a look at the status, Retry-After of a look.
SLACK_SECONDS = 4 * LONGEST_ROUND_TRIP + 60

STATUSES = ["PUBLISHED", "RUNNING", "PAUSED", "STOPPED", "START_ERROR", "STARTING", "STOPPING"]
SECONDS = st.floats(0, 120)
EVENTS = st.lists(
    st.builds(
        Event,
        SECONDS,
        st.sampled_from(
            ["somebody starts another pipeline"] * 3
            + ["somebody starts it", "somebody stops it", "it fails"]
        ),
    ),
    max_size=5,
)
WORLDS = st.builds(
    World,
    status=st.sampled_from(STATUSES),
    start_seconds=st.floats(0.1, 60),
    ends_in=st.sampled_from(["RUNNING"] * 6 + ["START_ERROR", "STOPPED", "PAUSED"]),
    events=EVENTS,
    troubles=st.lists(st.sampled_from(("fine",) * 8 + TROUBLES), max_size=20),
    round_trips=st.lists(st.floats(0.01, LONGEST_ROUND_TRIP), max_size=5),
    list_lag=st.sampled_from([0.0] * 4 + [3.0, 12.0]),
    shows_moves=st.sampled_from([True, True, False]),
    shows_update_time=st.booleans(),
)
TERMS = st.builds(
    StartTerms,
    conflict_deadline=st.floats(0, 900).map(lambda it: BEGIN + it),
    start_timeout_seconds=st.floats(0, 300),
    poll_interval_seconds=st.floats(0.1, 60),
    deadline=st.none() | st.floats(0, 600).map(lambda it: BEGIN + it),
    wait_for_running=st.booleans(),
)
SETTINGS = StartSettings.parse(pipeline_id=PIPELINE, execution_mode=0)


def run_by_itself(world):
    """A pipeline that is on its way arrives."""
    if world.status in ("STARTING", "STOPPING"):
        arrives = "RUNNING" if world.status == "STARTING" else "STOPPED"
        world._later(world.start_seconds, ("arrive", arrives))


@given(WORLDS, TERMS, st.booleans())
def test_start_ends_in_time_and_its_verdict_is_true(world, terms, earlier_try):
    run_by_itself(world)
    progress = StartProgress(ambiguous=earlier_try)
    queue = StartQueue(OwnTurn())

    end = drive(start(ORG, SETTINGS, terms, progress, queue), world)

    event(type(end).__name__ if isinstance(end, EnOSError) else str(end.outcome))
    # At most one start takes effect, unless somebody, or a failure, undid what it had begun.
    assert len(world.accepted) <= 1 + world.taken_away
    shown = [status for _, status in world.shown]
    if isinstance(end, EnOSError):
        assert progress.may_have_started or not world.accepted or world.is_unclear
        check_error(end, shown, world)
    else:
        check_result(end, shown, world, terms, earlier_try)
    longest = terms.conflict_deadline + 2 * terms.start_timeout_seconds
    assert world.now <= min(longest, terms.deadline or longest) + SLACK_SECONDS
    assert queue.before(queue.enter("p")) == [], "it is still in the queue"


def check_error(error, shown, world):
    assert ORG in str(error)
    match error:
        case ConflictTimeoutError():
            assert 61121 in world.codes
        case PipelineFailedError():
            assert shown[-1] != "RUNNING"
            if world.was_seen_before and not world.list_lag:
                # It has come to a status after the start, and not to RUNNING.
                since = [one for at, one in world.history if at >= world.accepted[-1]]
                assert set(since) - {"STARTING", "RUNNING"}
        case StatusTimeoutError():
            assert shown


def check_result(result, shown, world, terms, earlier_try):
    match str(result.outcome):
        case "started":
            assert world.accepted
            assert world.told_accepted
        case "adopted":
            assert world.accepted or earlier_try or "RUNNING" in shown
            # What ran, or was about to, at every look is somebody else's.
            assert earlier_try or not all(PipelineStatus(one).may_run for one in shown)
        case "already_running":
            assert not world.accepted or world.is_unclear
            assert not earlier_try
    if result.status is None:
        assert result.outcome == "started"
        assert not terms.wait_for_running
    else:
        assert (result.status, shown[-1]) == ("RUNNING", "RUNNING")


@given(WORLDS, st.floats(0, 300), st.floats(0.1, 60))
def test_stop_ends_in_time_and_its_verdict_is_true(world, seconds, interval):
    run_by_itself(world)
    flow = stop_pipeline(
        ORG,
        PIPELINE,
        deadline=BEGIN + seconds,
        limit="start_timeout",
        poll_interval_seconds=interval,
    )

    end = drive(flow, world)

    event(type(end).__name__ if isinstance(end, EnOSError) else "stopped")
    if not isinstance(end, EnOSError):
        assert world.shown[-1][1] == end == "STOPPED"
    assert world.now <= BEGIN + seconds + SLACK_SECONDS
    assert not world.accepted


@given(WORLDS, st.floats(0, 300), st.floats(0.1, 60), st.booleans(), st.booleans())
def test_sensor_ends_in_time_and_its_verdict_is_true(world, seconds, interval, backoff, silent):
    run_by_itself(world)
    plan = PollPlan(BEGIN + seconds, interval, exponential_backoff=backoff, silent_fail=silent)
    rule = StatusRule.parse(["RUNNING"])

    end = drive(watch_status(ORG, PIPELINE, rule, plan), world)

    event(type(end).__name__ if isinstance(end, EnOSError) else str(end))
    if not isinstance(end, EnOSError):
        assert world.shown[-1][1] == end
        assert rule.ends_wait(end)
    assert world.now <= BEGIN + seconds + SLACK_SECONDS
    assert set(world.sent.items()) >= {("start", 0), ("stop", 0)}
