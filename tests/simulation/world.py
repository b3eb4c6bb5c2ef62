"""
One organization's start lock and the hosts that want it, in simulated time.

Each host has a queue; its head alone asks, as the turn in the package sees to.
"""

import heapq
import itertools
import random
import statistics
from dataclasses import dataclass

#: As often as a waiting task looks at the list.
POLL_INTERVAL_SECONDS = 5.0


class PacedHost:
    """A host whose head asks when our pacing says."""

    def __init__(self, pacing):
        self._pacing = pacing

    def ask_at(self):
        return self._pacing.ask_at

    def look_interval(self):
        return self._pacing.look_interval_seconds(POLL_INTERVAL_SECONDS)

    def next_start(self, now):
        pass

    def accepted(self, sent_at, now, pipeline_id):
        self._pacing.accepted_start(sent_at, pipeline_id)

    def refused(self, sent_at, now):
        self._pacing.refused_start(sent_at, now)

    def running(self, pipeline_id, now):
        self._pacing.saw_running(pipeline_id, now)


class FullJitterHost:
    """What a careful client does without knowing anything: full jitter, 2 s doubling to 20 s."""

    def __init__(self):
        self._ask_at = 0.0

    def ask_at(self):
        return self._ask_at

    def look_interval(self):
        return POLL_INTERVAL_SECONDS

    def next_start(self, now):
        self._ceiling, self._ask_at = 2.0, now

    def accepted(self, sent_at, now, pipeline_id):
        pass

    def refused(self, sent_at, now):
        self._ask_at = now + random.uniform(0, min(self._ceiling, 20.0))
        self._ceiling *= 2

    def running(self, pipeline_id, now):
        pass


@dataclass
class Queue:
    """A host's starts; ``left`` of them are not accepted yet, the first waits since ``since``."""

    host: object
    left: int
    since: float = 0.0
    plan: int = 0


@dataclass(frozen=True)
class Result:
    """
    What came of it.

    :param makespan: From the first acceptance to the end of the last hold, in sums of all holds.
    :param requests: Start requests per start.
    :param unfairness: Longest wait at the head of a queue, in mean waits.
    """

    makespan: float
    requests: float
    unfairness: float


class World:
    """
    Run starts until all are accepted.

    :param hold: Seconds for the n-th accepted start.
    :param blocking: The service answers an accepted start only when it is done.
    :param strangers: Share of the time that people at the console start pipelines.
    :param hints: Whether the list shows RUNNING just when the lock is free; else it never does.
    """

    def __init__(
        self,
        rng,
        hosts,
        starts,
        hold,
        *,
        blocking=False,
        strangers=0.0,
        stranger_hold=5.0,
        hints=True,
        round_trip=(0.02, 0.2),
        spread=1.0,
    ):
        self._rng = rng
        self._events, self._numbers = [], itertools.count()
        self._hold, self._blocking, self._hints = hold, blocking, hints
        self._strangers, self._stranger_hold = strangers, stranger_hold
        self._round_trip = round_trip
        self._locked_until, self._first, self._held = 0.0, None, 0.0
        self._posts, self._waits, self._starts = 0, [], 0
        self._queues = [Queue(host, starts) for host in hosts]
        for queue in self._queues:
            self._at(rng.uniform(0, spread), self._next_start, queue)
        if strangers:
            self._at(rng.expovariate(strangers / stranger_hold), self._stranger_comes)

    def run(self):
        while any(queue.left for queue in self._queues):
            self.now, _, event, arguments = heapq.heappop(self._events)
            assert self.now < 1e6, "somebody starves"
            event(*arguments)
        return Result(
            (self._last_end - self._first) / self._held,
            self._posts / self._starts,
            max(self._waits) / statistics.mean(self._waits),
        )

    def _at(self, moment, event, *arguments):
        heapq.heappush(self._events, (moment, next(self._numbers), event, arguments))

    def _next_start(self, queue):
        queue.since = self.now
        queue.host.next_start(self.now)
        self._plan(queue)

    def _plan(self, queue):
        queue.plan += 1
        self._at(max(self.now, queue.host.ask_at()), self._ask, queue, queue.plan)

    def _ask(self, queue, plan):
        if plan == queue.plan:  # else another time was planned since
            self._posts += 1
            way = self._rng.uniform(*self._round_trip) / 2
            self._at(self.now + way, self._arrive, queue, self.now, way)

    def _arrive(self, queue, sent_at, way):
        if self.now < self._locked_until:
            self._at(self.now + way, self._refused, queue, sent_at)
            return
        self._starts += 1
        hold = self._hold(self._starts - 1)
        self._take_lock(hold)
        self._first = self.now if self._first is None else self._first
        self._last_end = self._locked_until
        answered = (self._locked_until if self._blocking else self.now) + way
        self._at(answered, self._accepted, queue, sent_at, self._starts)

    def _take_lock(self, hold):
        if self._first is not None or self._starts:
            self._held += hold
        self._locked_until = self.now + hold
        if self._hints:
            for queue in self._queues:
                lag = self._rng.uniform(0, queue.host.look_interval())
                seen = self._locked_until + lag + self._rng.uniform(*self._round_trip)
                self._at(seen, self._seen, queue, self._starts)

    def _accepted(self, queue, sent_at, pipeline_id):
        self._waits.append(self.now - queue.since)
        queue.host.accepted(sent_at, self.now, pipeline_id)
        queue.left -= 1
        if queue.left:
            self._next_start(queue)

    def _refused(self, queue, sent_at):
        queue.host.refused(sent_at, self.now)
        self._plan(queue)

    def _seen(self, queue, pipeline_id):
        if queue.left:
            before = queue.host.ask_at()
            queue.host.running(pipeline_id, self.now)
            if queue.host.ask_at() != before:
                self._plan(queue)

    def _stranger_comes(self, tries_left=3, is_new=True):
        if is_new:
            pause = self._rng.expovariate(self._strangers / self._stranger_hold)
            self._at(self.now + pause, self._stranger_comes)
        if self.now >= self._locked_until:
            self._take_lock(self._stranger_hold * self._rng.lognormvariate(-0.045, 0.3))
        elif tries_left:
            again = self.now + self._rng.uniform(5, 15)
            self._at(again, self._stranger_comes, tries_left - 1, False)
