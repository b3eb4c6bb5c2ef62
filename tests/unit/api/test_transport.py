"""The two drivers: the same flow ends the same way in both."""

import asyncio
import time
from concurrent.futures import Future

import pytest

from airflow_provider_enos.api.errors import (
    EnOSError,
    EnOSUnreachableError,
    TaskKilledError,
)
from airflow_provider_enos.api.messages import Answer, Request
from airflow_provider_enos.api.transport import Log, Note, Now, Send, Sleep, Wait, run, run_async

REQUEST = Request("POST", "/x", "try")
READ = Request("GET", "/x", "look", repeatable=True)


class BlockingFake:
    """Notes what it is asked for; ``answers`` may hold errors."""

    def __init__(self, *answers):
        self.answers, self.seen = list(answers), []

    def _answer(self, request):
        self.seen.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def send(self, request):
        return self._answer(request)

    def sleep(self, seconds):
        self.seen.append(seconds)

    def wait(self, future, seconds):
        self.seen.append((future, seconds))

    def log(self, message, *arguments):
        self.seen.append(message % arguments)


class AsyncFake(BlockingFake):
    async def send(self, request):
        return self._answer(request)


def drive_blocking(flow, *answers):
    io = BlockingFake(*answers)
    try:
        return run(flow, io), io.seen
    except Exception as error:
        return error, io.seen


def drive_async(flow, *answers):
    async def main():
        io = AsyncFake(*answers)
        try:
            return await run_async(flow, io), io.seen
        except Exception as error:
            return error, io.seen

    return asyncio.run(main())


@pytest.fixture(params=[drive_blocking, drive_async], ids=["blocking", "async"])
def drive(request):
    """Drive a flow to its end; returns its outcome or error, and what the driver was asked for."""
    return request.param


def test_every_step_gets_its_result(drive):
    ready = Future()
    ready.set_result("from somebody else")
    never = Future()

    def flow():
        answer = yield Send(REQUEST)
        slept = yield Sleep(0)
        logged = yield Log("%s is %s", ("p", "RUNNING"))
        waited = yield Wait(ready)
        given_up = yield Wait(never, 0)
        now = yield Now()
        return answer.status, slept, logged, waited, given_up, now

    before = time.time()
    outcome, seen = drive(flow(), Answer(204, b""))

    assert outcome[:5] == (204, None, None, None, None)
    assert before <= outcome[5] <= time.time()
    waits = [(ready, None), (never, 0)]
    assert [one for one in seen if one != 0 and one not in waits] == [REQUEST, "p is RUNNING"]


def test_note_is_written_before_the_next_step(drive):
    written = []

    def flow():
        yield Note(lambda: written.append("now"))
        answer = yield Send(REQUEST)
        return list(written), answer.status

    assert drive(flow(), Answer(200, b""))[0] == (["now"], 200)


def test_note_that_takes_a_while_is_awaited_in_the_triggerer():
    written = []

    async def write():
        await asyncio.sleep(0)
        written.append("later")

    def flow():
        yield Note(write)
        return list(written)

    assert drive_async(flow())[0] == ["later"]


def test_error_of_a_step_is_thrown_into_the_flow_which_may_go_on(drive):
    def flow():
        errors = []
        try:
            yield Send(REQUEST)
        except EnOSError as error:
            errors.append(error.message)
        answer = yield Send(REQUEST)
        return errors, answer.status

    outcome, seen = drive(flow(), EnOSUnreachableError("refused"), Answer(200, b""))

    assert outcome == (["refused"], 200)
    assert seen == [REQUEST, REQUEST]


def test_error_that_the_flow_does_not_handle_comes_out(drive):
    refused = EnOSUnreachableError("refused")

    def flow():
        yield Send(REQUEST)

    outcome, _ = drive(flow(), refused)

    assert outcome is refused


def test_flow_may_end_by_an_error_step_without_another_step(drive):
    def flow():
        try:
            yield Send(REQUEST)
        except EnOSError:
            return "handled"

    assert drive(flow(), EnOSError("refused")) == ("handled", [REQUEST])


def test_flow_without_steps(drive):
    def flow():
        return "at once"
        yield

    assert drive(flow()) == ("at once", [])


@pytest.mark.parametrize("error", [TypeError("our bug"), TaskKilledError("killed")])
def test_foreign_error_closes_the_flow_and_comes_out_as_it_is(error, drive):
    """A mistake of ours, or a kill, must not be handled like trouble with EnOS."""
    events = []

    def flow():
        try:
            yield Send(REQUEST)
        except EnOSError:
            events.append("handled")
        finally:
            events.append("closed")

    outcome, _ = drive(flow(), error)

    assert outcome is error
    assert events == ["closed"]


@pytest.mark.parametrize("step", [None, "sleep", Send])
def test_what_is_no_step_closes_the_flow_and_is_told(step, drive):
    """Not taken for a step without a result: the flow would go on with nothing."""
    events = []

    def flow():
        try:
            yield step
        except EnOSError:
            events.append("handled")
        finally:
            events.append("closed")

    outcome, _ = drive(flow())

    assert isinstance(outcome, AssertionError)
    assert str(outcome) == f"no step: {step!r}"
    assert events == ["closed"]


def test_sleep_of_a_killed_task_closes_the_flow_and_sends_nothing_more():
    events = []

    class Killed(BlockingFake):
        def sleep(self, seconds):
            raise TaskKilledError("the task was killed")

    def flow():
        try:
            yield Sleep(3600)
        except EnOSError:
            events.append("handled")
        finally:
            events.append("closed")
        yield Send(REQUEST)

    io = Killed()
    with pytest.raises(TaskKilledError):
        run(flow(), io)

    assert io.seen == []
    assert events == ["closed"]


@pytest.mark.parametrize("step", [Send(READ), Sleep(3600), Wait(Future())])
async def test_cancelling_closes_the_flow_and_sends_nothing_more(step):
    events = []

    class Hanging(AsyncFake):
        async def send(self, request):
            events.append("sent")
            await asyncio.Event().wait()

    def flow():
        try:
            yield step
            yield Send(READ)
        except EnOSError:
            events.append("handled")
        finally:
            events.append("closed")

    task = asyncio.create_task(run_async(flow(), Hanging()))
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert events == (["sent", "closed"] if isinstance(step, Send) else ["closed"])


async def test_cancelled_flow_hears_the_answer_to_a_write_and_does_nothing_more():
    """Only the answer tells whether there is a pipeline to stop."""
    answered, heard = asyncio.Event(), []

    class Slow(AsyncFake):
        async def send(self, request):
            await answered.wait()
            return Answer(200, b"accepted")

    def flow():
        heard.append((yield Send(REQUEST)).body)
        heard.append((yield Now()) > 0)
        yield Sleep(0)
        heard.append("went on")

    task = asyncio.create_task(run_async(flow(), Slow()))
    await asyncio.sleep(0)

    task.cancel("by a person")
    await asyncio.sleep(0)
    task.cancel("again")
    answered.set()
    with pytest.raises(asyncio.CancelledError, match="by a person"):
        await task

    assert heard == [b"accepted", True]


async def test_flow_that_ends_with_the_write_is_cancelled_all_the_same():
    answered = asyncio.Event()

    class Slow(AsyncFake):
        async def send(self, request):
            await answered.wait()
            return Answer(200, b"")

    def flow():
        yield Send(REQUEST)
        return "done"

    task = asyncio.create_task(run_async(flow(), Slow()))
    await asyncio.sleep(0)

    task.cancel()
    answered.set()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_one_who_waits_does_not_cancel_what_others_wait_for():
    future = Future()

    def flow():
        yield Wait(future)
        return future.result()

    first = asyncio.create_task(run_async(flow(), AsyncFake()))
    second = asyncio.create_task(run_async(flow(), AsyncFake()))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    future.set_result("done")

    assert await second == "done"
    assert first.cancelled()


async def test_cancellation_is_not_lost_when_the_write_that_was_waited_for_fails():
    answered = asyncio.Event()

    class Slow(AsyncFake):
        async def send(self, request):
            await answered.wait()
            raise EnOSUnreachableError("refused")

    def flow():
        yield Send(REQUEST)

    task = asyncio.create_task(run_async(flow(), Slow()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    answered.set()

    with pytest.raises(asyncio.CancelledError):
        await task
