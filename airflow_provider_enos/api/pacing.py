"""
When to ask EnOS again while it refuses starts (61121). Pure: fed with times, it returns times.

EnOS holds a lock over the starts of an organization and says neither for how long nor when it is
free again. What is known is when a start of ours was accepted, and so when the lock was taken:

* **Alone**, the next request is sent when the lock has mostly been free by now, then again in
  growing steps. Where the lock proves free sooner or later than it used to, the next guess follows.
* **Among strangers** (other hosts, people at the console) nobody knows whose turn it is. A pipeline
  that turns RUNNING in the list then says that the lock is probably free. Of those who see it each
  asks with a probability that follows its luck, so that few ask at once, however many they are.
  Who sees no such hint asks at random times, the sooner the longer it has waited.

Nothing depends on a hint: without one, the random times alone get everybody through.

The numbers are from the simulation in ``tests/simulation``, which also bounds what they achieve.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

#: How many holds are remembered, and which part of them is over when the first request is sent.
REMEMBERED = 8
FIRST_QUANTILE = 0.3

#: Steps after the first request: a share of the spread of the holds, growing.
STEP_SHARE = 0.33
STEP_GROWTH = 1.25
LEAST_STEP_SHARE = 0.02
LEAST_STEP_SECONDS = 0.02

#: Before there are this many holds, their spread is not known: steps are this share of the hold.
FEW_HOLDS = 4
FEW_HOLDS_STEP_SHARE = 0.1

#: A first request that is accepted may have come late: the next one comes by this share sooner ...
EARLIER_SHARE = 0.05
#: ... and after so many of them in a row, the hold is searched for from well below.
SEARCH_AFTER = 3
SEARCH_SHARE = 0.35
SEARCH_GROWTH = 1.4

#: The first hold of all is searched for from here on.
COLD_SECONDS = 0.25
COLD_GROWTH = 1.35

#: An acceptance is proof: holds that are this many times as long are of the past.
OUTDATED_FACTOR = 3

#: A refusal this many holds after our acceptance is somebody else's doing.
STRANGER_FACTOR = 2.2
#: No single hold is taken for longer.
MAX_HOLD_SECONDS = 90.0
#: Nobody is made to wait for longer: a Retry-After of an hour is the most that is obeyed.
MAX_WAIT_SECONDS = 3600.0
#: After a sign of strangers, so many starts of ours count with them.
STRANGER_STARTS = 3

#: Pause among strangers in holds: soon after a start of ours, and long after it.
PAUSE_YOUNG = 4.0
PAUSE_OLD = 1.3
OLD_HOLDS = 8.0
#: The same in seconds while no hold is known, as a share of the time waited so far.
COLD_PAUSE_SHARE = 0.3
COLD_PAUSE_LEAST_SECONDS = 1.0
COLD_PAUSE_MOST_SECONDS = 12.0

#: The list is worth a look so often in a hold, but not more often than this.
LOOKS_PER_HOLD = 5
LEAST_LOOK_SECONDS = 1.0
#: Shorter holds are better guessed than looked at.
SHORT_HOLD_SECONDS = 2.5

#: Luck with hints: the probability of asking falls with a refusal and rises with an acceptance. Who
#: has just had a start asks less often, who has waited long more often.
LUCK_YOUNG = 0.7
LUCK_OLD = 1.7
LUCK_DOWN = 0.91
LUCK_UP = 2.0
LEAST_LUCK = 0.05
HINT_SPREAD = 0.06

#: Taken for the hold until one is known.
UNKNOWN_HOLD_SECONDS = 2.0


@dataclass(slots=True)
class Pacing:
    """
    What this host knows of one organization's lock, and when it asks next.

    Whoever has the turn uses it alone; between two of them it travels as :meth:`to_payload`.
    All times are in seconds since 1970; distances are from request to request.

    :param ask_at: When to send the next start request.
    :param not_before: No hint brings it forward beyond this time.
    :param holds: How long EnOS has lately held the lock, in seconds, oldest first.
    :param accepted_at: When our last accepted request was sent.
    :param accepted: Pipelines of our last accepted requests, the newest last.
    """

    ask_at: float = 0.0
    not_before: float = 0.0
    holds: list[float] = field(default_factory=list)
    accepted_at: float | None = None
    accepted: list[str] = field(default_factory=list)
    refused_since: float | None = None
    last_refusal: float = 0.0
    refusals: int = 0
    steps: int = 0
    ran_after: float | None = None
    hints_work: bool = False
    is_lost: bool = False
    is_hinted: bool = False
    saw_strangers: bool = False
    stranger_starts: int = 0
    early_starts: int = 0
    luck: float = 0.5

    # ------------------------------------------------------------------ what happens

    def resume(self, now: float) -> None:
        """Go on now; where the clock was put back meanwhile, only the holds are still true."""
        if (self.accepted_at or 0.0) > now or self.ask_at > now + MAX_WAIT_SECONDS:
            self.__init__(holds=self.holds, luck=self.luck)  # type: ignore[misc]

    def accepted_start(self, sent_at: float, pipeline_id: str) -> None:
        """EnOS has accepted a request of ours."""
        if self.is_hinted:
            self.luck = min(1.0, self.luck * LUCK_UP)
        if self.accepted_at is not None:
            self.hints_work = self.ran_after is not None
            self._learn(sent_at - self.accepted_at, late=sent_at - self.ask_at)
        if not self.saw_strangers:
            self.stranger_starts = max(0, self.stranger_starts - 1)
        self.accepted_at = sent_at
        self.accepted = [*self.accepted, pipeline_id][-REMEMBERED:]
        self.refused_since = self.ran_after = None
        self.last_refusal, self.refusals, self.steps = 0.0, 0, 0
        self.is_lost = self.is_hinted = self.saw_strangers = False
        self.ask_at = sent_at + self._first_distance()

    def refused_start(self, sent_at: float, now: float, retry_after_seconds: float = 0.0) -> None:
        """EnOS has refused a request of ours: somebody is starting a pipeline."""
        self.refusals += 1
        if self.is_hinted:
            self.luck, self.is_hinted = max(LEAST_LUCK, self.luck * LUCK_DOWN), False
        if self.refused_since is None:
            self.refused_since = sent_at
        if self._is_strangers(sent_at):
            self.stranger_starts = STRANGER_STARTS
            self.saw_strangers = self.is_lost = True
        if self.accepted_at is None or self.is_lost:
            self.ask_at = now + self._pause_among_strangers(now)
        else:
            self.last_refusal = sent_at - self.accepted_at
            self.ask_at = max(now, self.accepted_at + self._next_distance())
        self.hold_off(now + retry_after_seconds)

    def saw_running(self, pipeline_id: str, now: float) -> None:
        """A pipeline of the organization has turned RUNNING in the list."""
        is_ours = pipeline_id in self.accepted
        if is_ours:
            if pipeline_id != self.accepted[-1] or self.accepted_at is None:
                return  # an older one of ours: the lock has changed hands since
            self.ran_after = self.ran_after or now - self.accepted_at
        if not is_ours or self.is_lost:
            since = now - (self.accepted_at or 0.0)
            if since < SEARCH_SHARE * self._usual_hold:
                return  # a start of ours has just begun
            chance = self.luck * (LUCK_YOUNG + (LUCK_OLD - LUCK_YOUNG) * self._age(now))
            if random.random() > chance:  # noqa: S311 - no secret
                return
        spread = HINT_SPREAD * self._usual_hold
        ask_at = max(now + random.uniform(0, spread), self.not_before)  # noqa: S311 - no secret
        if ask_at < self.ask_at:
            self.ask_at, self.is_hinted = ask_at, True

    def hold_off(self, until: float) -> None:
        """Nobody asks before this time: EnOS says so, or the gateway is in trouble."""
        self.not_before = max(self.not_before, until)
        self.ask_at = max(self.ask_at, until)

    # ------------------------------------------------------------------ what is known

    @property
    def hold_seconds(self) -> float | None:
        """How long EnOS usually holds the lock; ``None`` if that is not known."""
        return self._quantile(0.5) if self.holds else None

    def look_interval_seconds(self, longest: float) -> float:
        """How often a look at the list is worth its request, given how often there is one."""
        if not self.stranger_starts:
            return longest
        return min(longest, max(LEAST_LOOK_SECONDS, self._usual_hold / LOOKS_PER_HOLD))

    def to_payload(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """
        Rebuild what :meth:`to_payload` wrote; anything else is as if nothing was known.

        Another version of this package may have written it, or a process that was killed.
        """
        names = {one.name for one in fields(cls)}
        if not isinstance(payload, Mapping) or set(payload) != names:
            return cls()
        known = cls(**payload)
        return known if known._is_sound() else cls()

    # ------------------------------------------------------------------ inside

    def _is_sound(self) -> bool:
        numbers = [
            self.ask_at,
            self.not_before,
            self.last_refusal,
            self.luck,
            self.refusals,
            self.steps,
        ]
        numbers += [self.stranger_starts, self.early_starts]
        moments = [self.accepted_at, self.refused_since, self.ran_after]
        return (
            all(_is_number(one) for one in numbers)
            and all(one is None or _is_number(one) for one in moments)
            and isinstance(self.holds, list)
            and all(_is_number(one) and one > 0 for one in self.holds)
            and isinstance(self.accepted, list)
            and (bool(self.accepted) or self.accepted_at is None)
        )

    @property
    def _usual_hold(self) -> float:
        return self.hold_seconds or UNKNOWN_HOLD_SECONDS

    def _quantile(self, share: float) -> float:
        ordered = sorted(self.holds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    @property
    def _first_guess(self) -> float:
        return self._quantile(FIRST_QUANTILE)

    @property
    def _step(self) -> float:
        if len(self.holds) < FEW_HOLDS:
            return FEW_HOLDS_STEP_SHARE * self._first_guess
        spread = self._quantile(0.85) - self._quantile(0.15)
        least = max(LEAST_STEP_SHARE * self._first_guess, LEAST_STEP_SECONDS)
        return min(max(STEP_SHARE * spread, least), 0.3 * self._first_guess)

    def _first_distance(self) -> float:
        """From an acceptance to the next request."""
        if not self.holds:
            return COLD_SECONDS
        if self.stranger_starts and self.hints_work and self._usual_hold >= SHORT_HOLD_SECONDS:
            self.is_lost = True
            return self._usual_hold * random.uniform(1.3, 2.3)  # noqa: S311 - no secret
        is_unsure = self.stranger_starts > 0 and len(self.holds) < FEW_HOLDS - 1
        if is_unsure or self.early_starts >= SEARCH_AFTER:
            return SEARCH_SHARE * self._first_guess
        return self._first_guess * (1 - EARLIER_SHARE * self.early_starts)

    def _next_distance(self) -> float:
        """From an acceptance to the request after the last refused one."""
        refused = self.last_refusal
        if not self.holds:
            return refused + max(0.1, min((COLD_GROWTH - 1) * refused, max(2.0, refused / 5)))
        if refused < 0.97 * self._first_guess:
            return min(self._first_guess, max(refused * SEARCH_GROWTH, refused + 0.1))
        self.steps += 1
        return refused + self._step * STEP_GROWTH ** (self.steps - 1)

    def _is_strangers(self, sent_at: float) -> bool:
        if self.accepted_at is None:
            return True
        distance = sent_at - self.accepted_at
        if self.ran_after is not None:
            return distance > self.ran_after
        longest = STRANGER_FACTOR * self._quantile(0.5) if self.holds else MAX_HOLD_SECONDS
        return distance > longest

    def _waited(self, now: float) -> float:
        """Since our last start, or since our first refusal."""
        since = self.accepted_at if self.accepted_at is not None else self.refused_since
        return 0.0 if since is None else max(0.0, now - since)

    def _age(self, now: float) -> float:
        """The same as a share, from 0 (just had a start) to 1 (has waited long)."""
        return min(self._waited(now) / (OLD_HOLDS * self._usual_hold), 1.0)

    def _pause_among_strangers(self, now: float) -> float:
        if self.holds:
            hold = self._usual_hold
            pause = hold * (PAUSE_YOUNG + (PAUSE_OLD - PAUSE_YOUNG) * self._age(now))
        else:
            pause = min(
                max(COLD_PAUSE_SHARE * self._waited(now), COLD_PAUSE_LEAST_SECONDS),
                COLD_PAUSE_MOST_SECONDS,
            )
        return pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret

    def _learn(self, distance: float, *, late: float) -> None:
        """Take a hold from the distance between two acceptances, if it tells one."""
        ran_after, sample = self.ran_after, None
        if self.is_lost:
            # Others were in between: only the list knows when our own start was over.
            self.early_starts = 0
            if ran_after is not None:
                sample = 0.9 * ran_after
        elif late <= distance / 4:  # else nobody was there to ask when it was time
            distance = distance if ran_after is None else min(distance, ran_after)
            if self.refusals:
                self.early_starts = 0
                sample = (self.last_refusal + distance) / 2
            else:
                self.early_starts += 1
                sample = distance - self._step / 2 if self.holds else distance
        if sample is not None and sample > 0:
            kept = [hold for hold in self.holds if hold <= OUTDATED_FACTOR * sample]
            self.holds = [*kept, sample][-REMEMBERED:]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
