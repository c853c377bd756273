"""Scenarios of how a stream is read and left."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import moa_middleware as moa

from ._plan import Plan
from ._scenario import ConsumerError, scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ._talk import Talk, User

__all__: list[str] = []

# Read to the end. ---------------------------------------------------------------------------------


@scenario("stream")
async def read_by_for(user: User) -> None:
    """Read by `for`."""
    talk = await user.ask()
    await talk.read()
    talk.ends("completed")


@scenario("stream")
async def read_by_next(user: User) -> None:
    """Read by `next`, and once more after the end."""
    talk = await user.ask()
    while await talk.step():
        pass
    await talk.step()
    talk.ends("completed")


@scenario("stream")
async def next_then_for(user: User) -> None:
    """Read a piece by `next`, the rest by `for`."""
    talk = await user.ask()
    await talk.steps(1)
    await talk.read()
    talk.ends("completed")


@scenario("stream")
async def for_then_next(user: User) -> None:
    """Leave a `for` by `break`, read on by `next`, then by `for` again."""
    talk = await user.ask()
    await talk.read(1)
    await talk.steps(2)
    await talk.read()
    talk.ends("completed")


@scenario("stream")
async def read_at_once(user: User) -> None:
    """Read all chunks in one expression."""
    talk = await user.ask()
    if user.is_async:
        for chunk in [chunk async for chunk in talk.got]:
            talk.take(chunk)
    else:
        deque(map(talk.take, talk.got), maxlen=0)
    talk.ends("completed")


@scenario("stream")
async def passed_on_by_a_generator(user: User) -> None:
    """Pass the chunks on by a generator of the caller's."""
    talk = await user.ask()
    talk.got = _pass_on_async(talk.got) if user.is_async else _pass_on(talk.got)
    await talk.read()
    talk.ends("completed")


def _pass_on(stream: Any) -> Iterator[object]:
    yield from stream


async def _pass_on_async(stream: Any) -> AsyncIterator[object]:
    async for chunk in stream:
        yield chunk


@scenario("stream")
async def read_and_read_again(user: User) -> None:
    """Read to the end, and try to read again."""
    talk = await user.ask()
    await talk.read()
    await talk.read()
    talk.ends("completed")


@scenario("stream", "close")
async def read_then_closed(user: User) -> None:
    """Read to the end, and close."""
    talk = await user.ask()
    await talk.read()
    await talk.close()
    talk.ends("completed")


@scenario("stream")
async def broken_off_and_resumed(user: User) -> None:
    """Leave a `for` by `break`, and go on in a second one."""
    talk = await user.ask()
    await talk.read(2)
    await talk.read()
    talk.ends("completed")


# Left before the end. -----------------------------------------------------------------------------


@scenario("stream")
async def broken_off_and_dropped(user: User) -> None:
    """Leave a `for` by `break`, and forget the stream."""
    talk = await user.ask()
    await talk.read(2)
    await talk.drop()
    talk.ends("abandoned")


@scenario("stream")
async def dropped_after_next(user: User) -> None:
    """Read a piece by `next`, and forget the stream."""
    talk = await user.ask()
    await talk.steps(1)
    await talk.drop()
    talk.ends("abandoned")


@scenario("stream")
async def never_iterated(user: User) -> None:
    """Forget the stream unread."""
    talk = await user.ask()
    await talk.drop()
    talk.ends("abandoned")


@scenario("stream")
async def held_open_then_flushed(user: User) -> None:
    """Leave a `for` by `break`, keep the stream, flush the traces, and read on after all."""
    talk = await user.ask()
    await talk.read(2)
    await user.idle()
    moa.flush()
    talk.ends("abandoned")
    await talk.read()


@scenario("stream", "close")
async def closed_early(user: User) -> None:
    """Close after two pieces."""
    talk = await user.ask()
    await talk.read(2)
    await talk.close()
    talk.ends("closed")


@scenario("stream", "close")
async def closed_after_next(user: User) -> None:
    """Read a piece by `next`, and close twice."""
    talk = await user.ask()
    await talk.steps(1)
    await talk.close()
    await talk.close()
    talk.ends("closed")


@scenario("stream", "close", "exact")
async def read_on_after_close(user: User) -> None:
    """Close after a piece, and try to read on."""
    talk = await user.ask()
    await talk.steps(1)
    await talk.close()
    talk.ends("closed")
    with talk.catching():
        await talk.step()


@scenario("stream", "close")
async def closed_unread(user: User) -> None:
    """Close at once."""
    talk = await user.ask()
    await talk.close()
    talk.ends("closed")


# In a `with`. -------------------------------------------------------------------------------------


@scenario("stream", "with")
async def read_in_with(user: User) -> None:
    """Read in a `with`."""
    talk = await user.ask()
    async with talk.within():
        await talk.read()
    talk.ends("completed")


@scenario("stream", "with")
async def left_with_early(user: User) -> None:
    """Leave a `with` after two pieces."""
    talk = await user.ask()
    async with talk.within():
        await talk.read(2)
    talk.ends("closed")


@scenario("stream", "with")
async def raised_in_with(user: User) -> None:
    """Raise in a `with` after two pieces."""
    talk = await user.ask()
    with talk.catching():
        async with talk.within():
            await talk.read(2)
            raise ConsumerError("mine")
    talk.ends("consumer_error")


@scenario("stream", "with", "sync")
async def exited_in_with(user: User) -> None:
    """Leave the program in a `with`."""
    talk = await user.ask()
    with talk.catching():
        async with talk.within():
            await talk.read(1)
            raise SystemExit(3)
    talk.ends("cancelled")


@scenario("stream")
async def raised_in_for(user: User) -> None:
    """Raise in a `for`, outside any `with`: the stream cannot see that."""
    talk = await user.ask()
    with talk.catching():
        await talk.read(2)
        raise ConsumerError("mine")
    await talk.drop()
    talk.ends("abandoned")


# Broken by the other side. ------------------------------------------------------------------------


async def _broken(user: User, plan: Plan, outcome: str) -> Talk:
    talk = user.prepare(plan)
    with talk.catching():
        await talk.begin()
        await talk.read()
    talk.ends(outcome)
    return talk


@scenario("stream", "cut")
async def cut_before_the_first_chunk(user: User) -> None:
    """Lose the connection before the first chunk."""
    await _broken(user, Plan(stop="cut"), "error")


@scenario("stream", "cut")
async def cut_in_the_middle(user: User) -> None:
    """Lose the connection after two pieces."""
    await _broken(user, Plan(stop="cut", after=2), "error")


@scenario("stream", "cut", "exact")
async def read_on_after_a_cut(user: User) -> None:
    """Lose the connection after two pieces, and try to read on."""
    talk = await _broken(user, Plan(stop="cut", after=2), "error")
    with talk.catching():
        await talk.step()


@scenario("stream", "error")
async def error_in_the_middle(user: User) -> None:
    """Get an error of the provider's after two pieces."""
    await _broken(user, Plan(stop="error", after=2), "error")


@scenario("stream", "error")
async def error_by_next(user: User) -> None:
    """Get an error of the provider's after two pieces, read by `next`."""
    talk = user.prepare(Plan(stop="error", after=2))
    with talk.catching():
        await talk.begin()
        while await talk.step():
            pass
    talk.ends("error")


@scenario("stream", "with", "cut")
async def cut_in_with(user: User) -> None:
    """Lose the connection in a `with`."""
    talk = user.prepare(Plan(stop="cut", after=2))
    with talk.catching():
        await talk.begin()
        async with talk.within():
            await talk.read()
    talk.ends("error")


@scenario("stream", "interrupt", "sync")
async def interrupted(user: User) -> None:
    """Be interrupted from the keyboard after two pieces."""
    await _broken(user, Plan(stop="interrupt", after=2), "cancelled")


# Cancelled. ---------------------------------------------------------------------------------------


@scenario("stream", "hang", "async")
async def cancelled(user: User) -> None:
    """Be cancelled while the stream hangs."""
    talk = user.prepare(Plan(stop="hang", after=2))
    hanging = user.expect_to_hang()

    async def consume() -> None:
        await talk.begin()
        await talk.read()

    task = asyncio.ensure_future(consume())
    await hanging.wait()
    task.cancel()
    with talk.catching():
        await task
    talk.ends("cancelled")


@scenario("value", "hang", "async")
async def cancelled_value(user: User) -> None:
    """Be cancelled while a whole reply is awaited."""
    talk = user.prepare(Plan(stop="hang"), stream=False)
    hanging = user.expect_to_hang()
    task = asyncio.ensure_future(talk.value())
    await hanging.wait()
    task.cancel()
    with talk.catching():
        await task
    talk.ends("cancelled")


@scenario("stream", "hang", "async")
async def timed_out(user: User) -> None:
    """Run into a timeout while the stream hangs."""
    talk = user.prepare(Plan(stop="hang", after=2))
    hanging = user.expect_to_hang()
    await talk.begin()
    with talk.catching():
        async with asyncio.timeout(None) as limit:
            watch = asyncio.ensure_future(_expire(hanging, limit))
            await talk.read()
    await watch
    talk.ends("cancelled", error="asyncio.exceptions.CancelledError")


async def _expire(hanging: asyncio.Event, limit: asyncio.Timeout) -> None:
    await hanging.wait()
    limit.reschedule(asyncio.get_running_loop().time())


@scenario("stream", "hang", "async")
async def left_by_a_cancelled_consumer(user: User) -> None:
    """Be cancelled in the body of a `for`, not in the stream."""
    talk = await user.ask()
    reached = asyncio.Event()

    async def consume() -> None:
        await talk.read(2)
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(consume())
    await reached.wait()
    task.cancel()
    with talk.catching():
        await task
    await talk.drop()
    talk.ends("abandoned")
