"""Who runs what many want, who waits for it, and what happens when it fails."""

import asyncio
import time

import pytest

from airflow_provider_enos.api.errors import EnOSUnreachableError
from airflow_provider_enos.api.messages import Answer, Request
from airflow_provider_enos.api.sharing import SharedResults, shared
from airflow_provider_enos.api.transport import Send, Share, run_async

LIST = Request("GET", "/pipelines", "list", repeatable=True)


class Gate:
    """A server that answers when it is told to, with the number of the request."""

    def __init__(self):
        self.requests, self.error = 0, None
        self._open = asyncio.Event()

    def open(self):
        self._open.set()

    async def send(self, request):
        self.requests += 1
        number = self.requests
        await self._open.wait()
        if self.error:
            raise self.error
        return Answer(200, str(number).encode())

    def log(self, message, *arguments):
        pass


def looking(max_age=0.0, key="o1"):
    def look():
        answer = yield Send(LIST)
        return int(answer.body)

    found = yield Share(key, look, max_age)
    return found


@pytest.fixture
def results():
    return SharedResults()


@pytest.fixture
async def gate():
    return Gate()


@pytest.fixture
def begin(results, gate):
    """Begin a flow on the event loop and let it come to its first wait."""

    async def start(flow):
        task = asyncio.create_task(run_async(shared(flow, results), gate))
        await asyncio.sleep(0)
        return task

    return start


async def test_those_who_come_while_it_is_under_way_wait_for_one_that_begins_after_them(
    begin, gate
):
    """A thousand who join at once cost two requests, and none of them sees an old list."""
    first = await begin(looking())
    later = [await begin(looking()) for _ in range(1000)]
    assert gate.requests == 1

    gate.open()
    found = await asyncio.gather(first, *later)

    assert gate.requests == 2
    assert [one.value for one in found] == [1] + [2] * 1000


async def test_who_takes_an_older_one_waits_for_that_which_is_under_way(begin, gate):
    first = await begin(looking())
    second = await begin(looking(max_age=5.0))

    gate.open()

    assert await first is await second
    assert gate.requests == 1


async def test_result_is_taken_as_long_as_it_is_not_too_old(begin, gate):
    gate.open()
    before = time.time()
    first = await (await begin(looking()))
    assert before <= first.begun_at <= time.time()

    assert (await (await begin(looking(max_age=60.0)))).value == 1
    assert (await (await begin(looking(max_age=0.0)))).value == 2


async def test_other_keys_are_other_requests(begin, gate):
    gate.open()

    for key in ("o1", "o2"):
        await (await begin(looking(max_age=60.0, key=key)))

    assert gate.requests == 2


async def test_failure_is_shared_and_is_not_kept_for_ever(begin, gate):
    gate.error = EnOSUnreachableError("down", during="list")
    first = await begin(looking())
    second = await begin(looking(max_age=5.0))
    gate.open()

    with pytest.raises(EnOSUnreachableError) as mine:
        await first
    with pytest.raises(EnOSUnreachableError, match="down") as theirs:
        await second
    assert theirs.value is not mine.value
    assert gate.requests == 1

    gate.error = None
    assert (await (await begin(looking()))).value == 2


async def test_somebody_else_takes_over_from_one_who_was_killed(begin, gate):
    first = await begin(looking())
    others = [await begin(looking(max_age=5.0)) for _ in range(10)]

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.open()
    found = await asyncio.gather(*others)

    assert gate.requests == 2
    assert {one.value for one in found} == {2}


async def test_who_waits_may_be_killed_without_harm_to_the_others(begin, gate):
    first = await begin(looking())
    second = await begin(looking(max_age=5.0))

    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.open()

    assert (await first).value == 1


def failing_at_first(stage):
    """A list that fails once; stage.requests counts."""
    answers = iter([EnOSUnreachableError("down", during="list")])
    stage.server = lambda _: next(answers, {"code": 0})


def look():
    yield Send(LIST)
    return "listed"


def test_failure_is_not_served_to_who_tries_again(stage, results):
    """A sensor that looks every ten minutes must not fail for one 503."""
    failing_at_first(stage)
    with pytest.raises(EnOSUnreachableError):
        stage.run(results.share(Share("o1", look, 300.0)))

    stage.now += 2

    assert stage.run(results.share(Share("o1", look, 300.0))).value == "listed"
    assert len(stage.requests) == 2


@pytest.mark.parametrize("max_age", [0.0, 300.0])
def test_list_from_before_the_clock_was_put_back_is_not_taken(stage, results, max_age):
    stage.server = lambda _: {"code": 0}
    stage.run(results.share(Share("o1", look, max_age)))

    stage.now -= 600
    stage.run(results.share(Share("o1", look, max_age)))

    assert len(stage.requests) == 2
