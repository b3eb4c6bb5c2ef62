"""When to ask next; the figures that all of it achieves are in tests/simulation."""

import itertools
import json
import random

import pytest

from airflow_provider_enos.api.pacing import MAX_HOLD_SECONDS, Pacing

T = 1_700_000_000.0


@pytest.fixture(autouse=True)
def _seed():
    random.seed(1)


def started(pacing, hold, *, at=T, starts=1, pipeline="p"):
    """
    Let a lock of constant length be met by the pacing alone, and the list show RUNNING a second
    after its end; return the time of the last start.
    """
    for number in range(starts):
        pacing.accepted_start(at, f"{pipeline}{number}")
        free_at = at + hold
        while pacing.ask_at < free_at:
            sent_at = pacing.ask_at
            pacing.refused_start(sent_at, sent_at + 0.01)
        if pacing.ask_at > free_at + 1:
            pacing.saw_running(f"{pipeline}{number}", free_at + 1)
        at = pacing.ask_at
    return at


def test_nothing_known_asks_at_once():
    assert Pacing().ask_at <= T


def test_first_hold_is_searched_for_in_growing_steps():
    pacing = Pacing()
    pacing.accepted_start(T, "p")
    asked = []
    while pacing.ask_at < T + 60:
        asked.append(pacing.ask_at - T)
        pacing.refused_start(pacing.ask_at, pacing.ask_at + 0.01)

    steps = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert asked[0] == pytest.approx(0.25)
    assert all(later >= 0.999 * sooner for sooner, later in itertools.pairwise(steps))
    assert len(asked) < 25


@pytest.mark.parametrize("hold", [0.5, 2.0, 60.0])
def test_constant_hold_is_learned_within_two_percent(hold):
    pacing = Pacing()
    started(pacing, hold, starts=12)

    assert pacing.hold_seconds == pytest.approx(hold, rel=0.03)
    at = started(pacing, hold, at=T + 10_000)
    assert at - (T + 10_000) == pytest.approx(hold, rel=0.04)


@pytest.mark.parametrize(("before", "after"), [(5.0, 40.0), (40.0, 5.0)])
def test_hold_that_changes_is_followed(before, after):
    pacing = Pacing()
    at = started(pacing, before, starts=20)

    started(pacing, after, at=at, starts=12)

    assert pacing.hold_seconds == pytest.approx(after, rel=0.15)


def test_service_that_answers_when_the_start_is_done_is_asked_at_once():
    """The time for the next request has passed when the answer to the last one comes."""
    pacing = Pacing()
    at = T
    for number in range(10):
        pacing.accepted_start(at, f"p{number}")
        at += 5.0
        assert pacing.ask_at <= at


def test_start_that_nobody_waited_for_tells_nothing():
    """A task came an hour later: that is no hold of an hour."""
    pacing = Pacing()
    started(pacing, 2.0, starts=8)
    known = pacing.hold_seconds

    pacing.accepted_start(pacing.ask_at + 3600, "later")

    assert pacing.hold_seconds == known


def test_strangers_starts_are_not_taken_for_a_long_hold():
    pacing = Pacing()
    at = started(pacing, 5.0, starts=10)
    pacing.accepted_start(at, "ours")
    known = pacing.hold_seconds
    while pacing.ask_at < at + 30:
        pacing.refused_start(pacing.ask_at, pacing.ask_at + 0.01)

    pacing.accepted_start(pacing.ask_at, "ours at last")

    assert pacing.hold_seconds == known
    assert pacing.stranger_starts


def test_refusal_before_any_start_of_ours_is_a_strangers_and_waits_longer_and_longer():
    pacing, now, pauses = Pacing(), T, []
    for _ in range(30):
        pacing.refused_start(now, now)
        pauses.append(pacing.ask_at - now)
        now = pacing.ask_at

    assert 0.5 <= pauses[0] <= 1.5
    assert 6 <= pauses[-1] <= 18
    assert pacing.hold_seconds is None


def test_retry_after_wins_when_it_is_larger():
    pacing = Pacing()
    pacing.refused_start(T, T, 30.0)
    assert pacing.ask_at == T + 30

    pacing.refused_start(T, T, 0.1)
    assert pacing.ask_at > T + 0.4


def test_trouble_at_the_gateway_holds_off_and_brings_nothing_forward():
    pacing = Pacing(ask_at=T + 5)
    pacing.hold_off(T + 1)
    assert pacing.ask_at == T + 5

    pacing.hold_off(T + 9)
    assert pacing.ask_at == T + 9


def test_own_pipeline_that_runs_is_a_hint_to_ask_now():
    pacing = Pacing(holds=[60.0] * 8)
    pacing.accepted_start(T, "p-1")

    pacing.saw_running("p-1", T + 20)

    assert T + 20 <= pacing.ask_at <= T + 24


def test_older_pipeline_of_ours_is_no_hint():
    pacing = Pacing(holds=[60.0] * 8)
    pacing.accepted_start(T - 60, "p-1")
    pacing.accepted_start(T, "p-2")
    before = pacing.ask_at

    pacing.saw_running("p-1", T + 30)

    assert pacing.ask_at == before


def test_strangers_pipeline_is_a_hint_to_some_of_those_who_wait():
    asked = 0
    for _ in range(200):
        pacing = Pacing(holds=[60.0] * 8)
        pacing.refused_start(T, T)
        pacing.saw_running("theirs", T + 20)
        asked += pacing.ask_at < T + 24
    assert 50 < asked < 150


def test_hint_just_after_our_own_start_is_of_the_start_before_it():
    pacing = Pacing(holds=[60.0] * 8, luck=1.0)
    pacing.accepted_start(T, "ours")
    before = pacing.ask_at

    pacing.saw_running("theirs", T + 2)

    assert pacing.ask_at == before


def test_luck_follows_what_hints_were_worth():
    lucky, unlucky = Pacing(luck=0.2), Pacing(luck=0.2)
    for pacing in (lucky, unlucky):
        pacing.is_hinted = True

    lucky.accepted_start(T, "p")
    unlucky.refused_start(T, T)

    assert unlucky.luck < 0.2 < lucky.luck


def test_list_is_looked_at_more_often_only_among_strangers():
    pacing = Pacing(holds=[10.0] * 8)
    assert pacing.look_interval_seconds(5.0) == 5.0

    pacing.refused_start(T, T)

    assert pacing.look_interval_seconds(5.0) == 2.0
    assert pacing.look_interval_seconds(1.5) == 1.5
    assert Pacing(holds=[0.5], stranger_starts=1).look_interval_seconds(5.0) == 1.0


def test_clock_that_was_put_back_makes_nobody_wait():
    pacing = Pacing()
    started(pacing, 3.0, starts=4)
    holds = list(pacing.holds)

    pacing.resume(T - 86_400)

    assert pacing == Pacing(holds=holds)


def test_turn_that_goes_on_a_little_later_changes_nothing():
    pacing = Pacing()
    at = started(pacing, 3.0, starts=4)
    before = pacing.to_payload()

    pacing.resume(at + 1)

    assert pacing.to_payload() == before


def test_it_travels_whole():
    pacing = Pacing()
    started(pacing, 3.0, starts=4)
    pacing.refused_start(pacing.ask_at, pacing.ask_at + 0.1)

    assert Pacing.from_payload(json.loads(json.dumps(pacing.to_payload()))) == pacing


@pytest.mark.parametrize(
    "change",
    [
        {"holds": [-1.0]},
        {"holds": ["5"]},
        {"holds": 5},
        {"accepted": "p-1"},
        {"accepted_at": 1000.0, "accepted": []},
        {"refusals": "3"},
        {"ask_at": None},
        {"ask_at": float("nan")},
        {"accepted_at": "yesterday"},
        {"luck": float("inf")},
        {"unknown": 1},
    ],
)
def test_what_another_version_or_a_dead_process_wrote_is_forgotten(change):
    assert Pacing.from_payload(Pacing(holds=[5.0]).to_payload() | change) == Pacing()


def test_no_hold_is_taken_for_longer_than_the_longest():
    pacing = Pacing()
    pacing.accepted_start(T, "p")

    pacing.refused_start(T + MAX_HOLD_SECONDS + 1, T + MAX_HOLD_SECONDS + 1)

    assert pacing.stranger_starts
