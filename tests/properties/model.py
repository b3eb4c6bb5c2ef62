"""
A small model of EnOS in simulated time, with trouble on the way and other people in between.

It knows what is true: what was carried out, when, by whom, and what a look has shown.
"""

import json
from dataclasses import dataclass, field

from airflow_provider_enos.api.errors import (
    EnOSError,
    EnOSNoAnswerError,
    EnOSUnreachableError,
)
from airflow_provider_enos.api.messages import Answer
from airflow_provider_enos.api.pipeline import PipelineStatus
from airflow_provider_enos.api.sharing import SharedResults, shared
from airflow_provider_enos.api.transport import Log, Now, Send, Sleep, Wait

BEGIN = 1_790_000_000.0
PIPELINE, ORG = "p-1", "o1"
STARTABLE = {"PUBLISHED", "PAUSED", "STOPPED", "START_ERROR", "RUN_ERROR"}

#: What can happen to a request; the second word says whether EnOS has carried it out.
TROUBLES = (
    "fine",
    "unreachable",
    "lost before",
    "lost after",
    "500 before",
    "500 after",
    "garbage before",
    "garbage after",
    "429",
    "429 for a while",
    "403",
    "61126",
    "61100",
    "99000 before",
)


@dataclass
class Event:
    """What somebody at the console does, so many seconds after the beginning."""

    at: float
    action: str


@dataclass
class World:
    """
    :param status: Of the one pipeline, in the beginning.
    :param start_seconds: How long a start takes and keeps the organization's lock.
    :param ends_in: What a start of ours leads to.
    :param events: Other people's deeds.
    :param troubles: What happens to the first requests; all later ones go well.
    :param round_trips: How long the first requests take; all later ones take 0.1 s.
    :param list_lag: How old a list is.
    :param shows_moves: Whether a list shows STARTING and STOPPING, or the status from before.
    :param shows_update_time: Whether a list has ``updateTime``, in whole seconds.
    """

    status: str
    start_seconds: float
    ends_in: str = "RUNNING"
    events: list = field(default_factory=list)
    troubles: list = field(default_factory=list)
    round_trips: list = field(default_factory=list)
    list_lag: float = 0.0
    shows_moves: bool = True
    shows_update_time: bool = False
    now: float = BEGIN

    def __post_init__(self):
        self.accepted = []  # starts of ours that were carried out
        self.stopped = []  # stops of ours that were carried out
        self.told_accepted = False
        self.shown = []  # statuses that a look has shown: (when, status)
        self.is_unclear = False  # a look before a start of ours failed, or showed that it may run
        self._may_run = False  # what is known of it before a start
        self.was_seen_before = False  # the last look before our start shows the true status
        self.sent = {"start": 0, "list": 0, "stop": 0}
        self.codes = []
        self.taken_away = 0  # times that others, or the start itself, ended what ours began
        self._locked_until = 0.0
        self._pending = sorted(
            ((BEGIN + event.at, event.action) for event in self.events), key=lambda it: it[0]
        )
        self.history = [(0.0, self.status)]
        self._troubles, self._round_trips = iter(self.troubles), iter(self.round_trips)

    # ------------------------------------------------------------------ time

    def advance(self, seconds):
        assert seconds >= 0
        end = self.now + seconds
        while self._pending and self._pending[0][0] <= end:
            self.now, action = self._pending.pop(0)
            self._happen(action)
        self.now = end

    def _later(self, seconds, action):
        self._pending.append((self.now + seconds, action))
        self._pending.sort(key=lambda it: it[0])

    def _become(self, status):
        self.status = status
        self.history.append((self.now, status))

    def _happen(self, action):
        match action:
            case "somebody starts another pipeline":
                self._locked_until = max(self._locked_until, self.now + self.start_seconds)
            case "somebody starts it" if self.status in STARTABLE and not self._is_locked:
                self._start("RUNNING")
            case "somebody stops it" if self.status in ("RUNNING", "PAUSED"):
                self._become("STOPPED")
                self.taken_away += 1
            case "it fails" if self.status == "RUNNING":
                self._become("RUN_ERROR")
                self.taken_away += 1
            case ("arrive", status) if self.status in ("STARTING", "STOPPING"):
                self._become(status)
                self.taken_away += status != "RUNNING"

    @property
    def _is_locked(self):
        return self.now < self._locked_until

    def _start(self, ends_in):
        self._locked_until = self.now + self.start_seconds
        self._become("STARTING")
        self._later(self.start_seconds, ("arrive", ends_in))

    # ------------------------------------------------------------------ steps of a flow

    def carry_out(self, step):
        match step:
            case Send(request):
                return self.send(request)
            case Sleep(seconds):
                self.advance(seconds)
            case Wait(future, seconds):
                assert future.done() or seconds is not None, "waits for ever"
                self.advance(0 if future.done() else seconds)
            case Now():
                return self.now
            case Log(message, arguments):
                assert (message % arguments).isprintable()
        return None

    def send(self, request):
        operation = request.query[0][1] if request.method == "POST" else "list"
        self.sent[operation] += 1
        assert sum(self.sent.values()) < 20_000, "it never ends"
        trouble, seconds = next(self._troubles, "fine"), next(self._round_trips, 0.1)
        self.advance(seconds / 2)
        is_done = trouble == "fine" or trouble.endswith("after")
        body = getattr(self, f"on_{operation}")() if is_done else {}
        self.advance(seconds / 2)
        if operation == "list" and trouble != "fine":
            self._may_run = True
        match trouble.split()[0]:
            case "unreachable":
                raise EnOSUnreachableError("refused", during=request.purpose)
            case "lost":
                raise EnOSNoAnswerError("no answer", during=request.purpose)
            case "500":
                return Answer(500, b"")
            case "garbage":
                return Answer(200, b"<html>")
            case "429":
                header = {"retry-after": "40"} if "while" in trouble else {}
                return Answer(429, b"{}", header)
            case "403":
                return Answer(403, b"{}")
            case "61126" | "61100" | "99000" as code:
                return Answer(200, json.dumps({"code": int(code), "msg": "no"}).encode())
        self.codes.append(body["code"])
        self.told_accepted |= operation == "start" and body["code"] == 0
        if operation == "list":
            status = body["data"]["pipelines"][0]["status"]
            self.shown.append((self.now, status))
            self._may_run |= PipelineStatus(status).may_run
        return Answer(200, json.dumps(body).encode())

    def on_start(self):
        if self.status not in STARTABLE:
            return {"code": 61165, "msg": f"[{self.status}] cannot be started"}
        if self._is_locked:
            return {"code": 61121, "msg": "another start"}
        self.is_unclear |= self._may_run
        self.was_seen_before = bool(self.shown) and self.shown[-1][1] == self._listed[1]
        self.accepted.append(self.now)
        self._start(self.ends_in)
        return {"code": 0}

    @property
    def _listed(self):
        """What a list shows, and since when."""
        seen = [
            (at, status)
            for at, status in self.history
            if at <= self.now - self.list_lag
            and (self.shows_moves or at == 0.0 or status not in ("STARTING", "STOPPING"))
        ]
        return seen[-1]

    def on_list(self):
        at, status = self._listed
        row = {"pipelineId": PIPELINE, "status": status}
        if self.shows_update_time:
            row["updateTime"] = str(int(at))
        return {"code": 0, "data": {"count": 1, "pipelines": [row]}}

    def on_stop(self):
        if self.status not in ("RUNNING", "PAUSED"):
            return {"code": 61152, "msg": f"[{self.status}] cannot be stopped"}
        self.stopped.append(self.now)
        self._become("STOPPING")
        self._later(self.start_seconds, ("arrive", "STOPPED"))
        return {"code": 0}


def drive(flow, world):
    """Carry a flow out in a world; return its result or its error."""
    flow = shared(flow, SharedResults())
    try:
        step = next(flow)
        while True:
            try:
                result = world.carry_out(step)
            except EnOSError as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as done:
        return done.value
    except EnOSError as error:
        return error
