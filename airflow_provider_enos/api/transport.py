"""
The steps that a flow may ask for, and the two drivers that carry them out.

A flow is a generator: it yields a step, is sent the step's result, and returns its outcome. An
:class:`EnOSError` that a step raises is thrown into the flow, which may handle it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from airflow_provider_enos.api.errors import EnOSError
from airflow_provider_enos.api.messages import Answer, Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the result is its :class:`Answer`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until somebody else is done with ``future``, or for so many seconds at most."""

    future: Future[Any]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Now:
    """Ask for the time; the result is in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Log:
    """Tell the reader of the task's log that something has changed."""

    message: str
    arguments: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """
    Write something down that must be known after a crash, before anything else is done.

    :param write: Blocks in a worker, is awaited in the triggerer.
    """

    write: Callable[[], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Share(Generic[T]):
    """
    Have the result of a flow, perhaps one that another flow has just found.

    The result is a :class:`Shared`. Drivers do not know this step; ``sharing.shared`` carries it
    out.

    :param key: Equal for flows with equal results.
    :param make_flow: Makes the flow if it has to be run.
    :param max_age_seconds: How long before now the flow may have begun.
    """

    key: Hashable
    make_flow: Callable[[], Generator[Any, Any, T]]
    max_age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Shared(Generic[T]):
    """
    The result of a :class:`Share`.

    :param begun_at: When the flow that found it began, in seconds since 1970.
    """

    value: T
    begun_at: float


Step: TypeAlias = Send | Sleep | Wait | Now | Log | Note | Share[Any]
Flow: TypeAlias = Generator[Step, Any, T]


def translated(
    flow: Flow[T], translation: Callable[[Step], Flow[Any] | None]
) -> Generator[Step, Any, T]:
    """Run a flow with each step replaced for which ``translation`` returns a flow."""
    try:
        step = next(flow)
        while True:
            try:
                instead = translation(step)
                result = (yield step) if instead is None else (yield from instead)
            except EnOSError as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as done:
        outcome: T = done.value
        return outcome
    finally:
        flow.close()


class BlockingIO(Protocol):
    """What :func:`run` needs from a worker."""

    def send(self, request: Request) -> Answer:
        """Send a signed request and return the answer."""

    def sleep(self, seconds: float) -> None:
        """Sleep, or end the flow with ``TaskKilledError`` when the task is killed meanwhile."""

    def wait(self, future: Future[Any], seconds: float | None) -> None:
        """Wait until a future is done; killing the task ends it as it ends a sleep."""

    def log(self, message: str, *arguments: object) -> None:
        """Write one line."""


class AsyncIO(Protocol):
    """What :func:`run_async` needs from a triggerer."""

    async def send(self, request: Request) -> Answer:
        """Send a signed request and return the answer."""

    def log(self, message: str, *arguments: object) -> None:
        """Write one line."""


def run(flow: Flow[T], io: BlockingIO) -> T:
    """Drive a flow on a worker, blocking."""
    try:
        step = next(flow)
        while True:
            result: Any = None
            try:
                match step:
                    case Send(request):
                        result = io.send(request)
                    case Sleep(seconds):
                        io.sleep(seconds)
                    case Wait(future, seconds):
                        io.wait(future, seconds)
                    case Note(write):
                        write()
                    case _:
                        result = _at_once(step, io)
            except EnOSError as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as done:
        outcome: T = done.value
        return outcome
    finally:
        flow.close()


async def run_async(flow: Flow[T], io: AsyncIO) -> T:
    """
    Drive a flow on an event loop. Cancelling it ends the flow: nothing more is sent.

    A write that is under way then is waited for, so that the flow still hears what came of it.
    """
    cancelled: asyncio.CancelledError | None = None
    try:
        step = next(flow)
        while True:
            result: Any = None
            if cancelled and not isinstance(step, Now | Log):
                raise cancelled
            try:
                if isinstance(step, Send) and not step.request.repeatable:
                    writing = asyncio.ensure_future(io.send(step.request))
                    cancelled = await _done(writing)
                    result = writing.result()
                else:
                    result = await _perform(step, io)
            except EnOSError as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except EnOSError:
        if cancelled:
            raise cancelled from None
        raise
    except StopIteration as done:
        if cancelled:
            raise cancelled from None
        outcome: T = done.value
        return outcome
    finally:
        flow.close()


async def _perform(step: Step, io: AsyncIO) -> Any:
    match step:
        case Send(request):
            return await io.send(request)
        case Sleep(seconds):
            return await asyncio.sleep(seconds)
        case Wait(future, seconds) if not future.done():
            # Not cancelled with us: others may wait for it too.
            waiting = asyncio.wrap_future(future)
            # Whoever has the future looks at its error; asyncio shall not complain of this one.
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.wait([waiting], timeout=seconds)
            return None
        case Note(write):
            if (writing := write()) is not None:
                await writing
            return None
        case _:
            return _at_once(step, io)


async def _done(writing: asyncio.Future[Answer]) -> asyncio.CancelledError | None:
    """Wait for a write whatever happens; return the first cancellation that came meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not writing.done():
        try:
            await asyncio.wait([writing])
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    return cancelled


def _at_once(step: Step, io: BlockingIO | AsyncIO) -> Any:
    match step:
        case Now():
            return time.time()
        case Log(message, arguments):
            return io.log(message, *arguments)
        case Wait():
            return None  # it is over
        case _:
            raise AssertionError(f"no step: {step!r}")
