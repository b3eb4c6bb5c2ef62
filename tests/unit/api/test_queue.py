"""Who is at the head, and what happens to the turn when somebody leaves."""

import gc
import threading

import pytest

from airflow_provider_enos.api.pacing import Pacing
from airflow_provider_enos.api.queue import OwnTurn, StartQueue


class SlowTurn:
    """A turn that another process has until ``grant`` is called."""

    def __init__(self, known=None):
        self.known, self.claims, self._on_turn = known, 0, None

    def claim(self, on_turn):
        assert self._on_turn is None, "claimed twice"
        self.claims, self._on_turn = self.claims + 1, on_turn

    def give_back(self, known):
        assert self._on_turn is None, "given back before it was had"
        self.known = known

    def grant(self):
        on_turn, self._on_turn = self._on_turn, None
        on_turn(self.known)


@pytest.fixture
def queue():
    return StartQueue(OwnTurn())


def heads(*places):
    return [place.turn.done() for place in places]


def test_first_come_is_first_served_and_one_at_a_time(queue):
    first, second, third = queue.enter("p1"), queue.enter("p2"), queue.enter("p3")
    assert heads(first, second, third) == [True, False, False]
    assert queue.before(third) == ["p1", "p2"]

    queue.leave(first)

    assert heads(second, third) == [True, False]
    assert queue.before(third) == ["p2"]


def test_who_leaves_from_the_middle_holds_up_nobody(queue):
    first, second, third = queue.enter("p"), queue.enter("p"), queue.enter("p")

    queue.leave(second)
    queue.leave(first)

    assert heads(second, third) == [False, True]


def test_leaving_twice_takes_nobody_elses_turn(queue):
    first, second, third = queue.enter("p"), queue.enter("p"), queue.enter("p")

    queue.leave(first)
    queue.leave(first)

    assert heads(second, third) == [True, False]


def test_place_that_was_left_for_a_while_is_had_again(queue):
    """Who had trouble of its own comes back before those who came later."""
    first, second, third = queue.enter("p"), queue.enter("p"), queue.enter("p")
    queue.leave(first)

    again = queue.enter("p", first.number)
    queue.leave(second)

    assert heads(again, third) == [True, False]


def test_what_was_learned_goes_on_to_the_next(queue):
    first, second = queue.enter("p"), queue.enter("p")
    first.turn.result().accepted_start(1000.0, "p-1")

    queue.leave(first)

    known = second.turn.result()
    assert known is not first.turn.result()
    assert (known.accepted_at, known.accepted) == (1000.0, ["p-1"])
    assert queue.known.accepted_at == 1000.0


def test_turn_that_comes_when_all_have_left_is_given_back():
    shared = SlowTurn(Pacing(accepted_at=7.0, accepted=["p"]).to_payload())
    queue = StartQueue(shared)
    queue.leave(queue.enter("p"))

    shared.grant()
    late = queue.enter("p")
    shared.grant()

    assert heads(late) == [True]
    assert late.turn.result().accepted_at == 7.0


def test_turn_is_claimed_once_however_many_come_and_go_before_it_is_had():
    """Else a thread would be left behind for each of them."""
    shared = SlowTurn()
    queue = StartQueue(shared)
    for _ in range(100):
        queue.leave(queue.enter("p"))
    last = queue.enter("p")

    shared.grant()

    assert shared.claims == 1
    assert heads(last) == [True]


def test_other_processes_may_come_in_between():
    shared = SlowTurn()
    queue = StartQueue(shared)
    first, second = queue.enter("p"), queue.enter("p")
    shared.grant()

    queue.leave(first)

    assert heads(second) == [False]
    shared.grant()
    assert heads(second) == [True]


@pytest.mark.parametrize("nonsense", [None, [], "x", {"holds": 3}, {"ask_at": 1.0}, 7])
def test_nonsense_from_another_process_is_as_if_nothing_was_known(nonsense):
    queue = StartQueue(SlowTurn(nonsense))
    place = queue.enter("p")

    queue._shared.grant()

    assert place.turn.result() == Pacing()


def test_flow_that_the_garbage_collector_ends_in_the_queue_does_not_block_it(queue):
    def waits():
        place = queue.enter("p")
        try:
            yield place
        finally:
            queue.leave(place)

    abandoned = waits()
    next(abandoned)
    behind = queue.enter("p")

    with queue._lock:  # where a collection may happen at any time
        del abandoned
        gc.collect()

    assert heads(behind) == [True]


def test_threads_get_the_turn_one_after_another(queue):
    inside, most, done = 0, 0, []
    guard = threading.Lock()

    def work(number):
        nonlocal inside, most
        place = queue.enter("p")
        place.turn.result()
        with guard:
            inside += 1
            most = max(most, inside)
        with guard:
            inside -= 1
        queue.leave(place)
        done.append(number)

    threads = [threading.Thread(target=work, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (most, sorted(done)) == (1, list(range(20)))
