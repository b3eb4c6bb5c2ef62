"""A stage for flows: their requests are answered from plain lists, their sleeps move a clock."""

import json

import pytest

from airflow_provider_enos.api.errors import EnOSError, TaskKilledError
from airflow_provider_enos.api.messages import Answer
from airflow_provider_enos.api.settings import EnOSSettings
from airflow_provider_enos.api.sharing import SharedResults, shared
from airflow_provider_enos.api.start_settings import StartSettings
from airflow_provider_enos.api.transport import (
    Log,
    Note,
    Now,
    Send,
    Share,
    Shared,
    Sleep,
    Wait,
    run,
)


def _answer(value):
    """An Answer as it is; anything else is the JSON body of an HTTP 200."""
    return value if isinstance(value, Answer) else Answer(200, json.dumps(value).encode())


class Course:
    """A flow on its way; ``step`` is what it asks for, ``outcome`` what it returned."""

    def __init__(self, flow, stage):
        self.flow, self.stage = flow, stage
        self.is_done, self.outcome, self.step = False, None, None
        self._advance(lambda: next(flow))

    def carry_out(self):
        """Do what the flow asks for and let it go on to its next step."""
        try:
            result = self.stage.result_of(self.step)
        except EnOSError as error:
            self.throw(error)
        else:
            self._advance(lambda: self.flow.send(result))

    def throw(self, error):
        self._advance(lambda: self.flow.throw(error))

    def go_to(self, kind):
        """Go on until the flow asks for a step of this kind, which is not carried out yet."""
        while not isinstance(self.step, kind):
            assert not self.is_done, f"ended with {self.outcome!r} before a {kind.__name__}"
            self.carry_out()
        return self.step

    def finish(self):
        while not self.is_done:
            self.carry_out()
        return self.outcome

    def _advance(self, move):
        try:
            self.step = move()
        except StopIteration as done:
            self.is_done, self.outcome, self.step = True, done.value, None


class Stage:
    """
    Carries out steps without socket or clock.

    ``server`` takes a request and gives an Answer, the JSON value of an HTTP 200, or an EnOSError,
    which is raised.
    """

    START = 1_700_000_000.0

    def __init__(self, server):
        self.server = server
        self.now = self.START
        self.seconds_per_request = 0.0
        self.requests, self.pauses, self.lines = [], [], []

    @property
    def elapsed_seconds(self):
        return self.now - self.START

    def begin(self, flow):
        return Course(flow, self)

    def run(self, flow):
        return Course(flow, self).finish()

    def run_until_killed(self, flow):
        """
        Drive a flow as a worker does, whose task is killed in its first sleep.

        Or sooner, when the server raises TaskKilledError. The clock is the real one.
        """
        with pytest.raises(TaskKilledError):
            run(shared(flow, SharedResults()), _WorkerToBeKilled(self))

    def result_of(self, step):
        match step:
            case Send(request):
                self.requests.append(request)
                assert len(self.requests) < 5000, "the flow never ends"
                self.now += self.seconds_per_request
                given = self.server(request)
                if isinstance(given, EnOSError):
                    raise given
                return _answer(given)
            case Sleep(seconds):
                self.pauses.append(seconds)
                self.now += seconds
                return None
            case Wait(future, seconds):
                assert future.done() or seconds is not None, "waits for ever"
                self.now += 0 if future.done() else seconds
                return None
            case Share(_, make_flow):
                begun_at = self.now
                return Shared(self.run(make_flow()), begun_at)
            case Note(write):
                return write()
            case Now():
                return self.now
            case Log(message, arguments):
                self.lines.append(message % arguments)
                return None
        raise AssertionError(f"unknown step {step!r}")


class _WorkerToBeKilled:
    """What the driver of a worker needs, on a stage; nobody sleeps in here."""

    def __init__(self, stage):
        self.stage = stage

    def send(self, request):
        return self.stage.result_of(Send(request))

    def sleep(self, _):
        raise TaskKilledError("the task was killed")

    def wait(self, future, seconds):
        self.stage.result_of(Wait(future, seconds))

    def log(self, message, *arguments):
        self.stage.result_of(Log(message, arguments))


class FakeEnOS:
    """
    One pipeline, p-1 of o1, and a script for each call; the last entry of a script stays.

    A status is what a listing shows, also as ``(status, updateTime)``; ``None`` stands for an empty
    listing, an EnOSError or an Answer for itself.
    With ``before``, that is what listings show until the first start, stop, pause or release.
    """

    def __init__(self):
        self.OK = {"code": 0, "msg": "OK"}
        self.starts, self.stops, self.statuses = [self.OK], [self.OK], ["RUNNING"]
        self.before = None
        self.tokens = [{"status": 0, "data": {"accessToken": "T1", "expire": 7200}}]
        self.is_system = False
        self.log = []

    def __call__(self, request):
        query = dict(request.query)
        if "token" in request.path:
            self.log.append(request.path.rsplit("/", 1)[1])
            return self._next(self.tokens)
        if request.method == "POST":
            self.log.append(query["action"])
            scripts = {"start": self.starts, "stop": self.stops}
            return self._next(scripts.get(query["action"], [self.OK]))
        if (query["isSystem"] == "true") != self.is_system:
            return {"code": 0, "msg": "OK", "data": {"count": 0, "pipelines": []}}
        self.log.append("list")
        is_before = self.before and not {"start", "stop", "pause", "release"} & set(self.log)
        status = self._next(self.before if is_before else self.statuses)
        if isinstance(status, EnOSError | Answer):
            return status
        rows = [_row(status)] if status else []
        return {"code": 0, "msg": "OK", "data": {"count": len(rows), "pipelines": rows}}

    @staticmethod
    def _next(script):
        return script.pop(0) if len(script) > 1 else script[0]


def _row(status):
    status, update_time = status if isinstance(status, tuple) else (status, None)
    row = {"pipelineId": "p-1", "status": status}
    return row if update_time is None else {**row, "updateTime": update_time}


def _refusal(code, *, message="no", http_status=200, **headers):
    """An answer with an error code; header names with _ for -."""
    body = json.dumps({"code": code, "msg": message}).encode()
    return Answer(http_status, body, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.fixture
def enos():
    return FakeEnOS()


@pytest.fixture
def stage(enos):
    """A stage whose server is the ``enos`` fixture."""
    return Stage(enos)


@pytest.fixture
def stage_for():
    """Make a stage for another server: a function, or a list of answers."""

    def make(server):
        if callable(server):
            return Stage(server)
        rest = list(server)
        return Stage(lambda _: rest.pop(0))

    return make


@pytest.fixture
def refusal():
    return _refusal


@pytest.fixture
def settings():
    return EnOSSettings("https://apim.example.invalid", access_key="AK", secret_key="s3cret-key")


@pytest.fixture
def start_settings():
    return StartSettings.parse(pipeline_id="p-1", execution_mode="standalone")
