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

    from ._caller import ClientCall, User

__all__: list[str] = []

# Read to the end. ---------------------------------------------------------------------------------


@scenario("stream")
async def read_by_for(user: User) -> None:
    """Read by `for`."""
    client_call = await user.ask()
    await client_call.read()
    client_call.ends("completed")


@scenario("stream")
async def read_by_next(user: User) -> None:
    """Read by `next`, and once more after the end."""
    client_call = await user.ask()
    while await client_call.step():
        pass
    await client_call.step()
    client_call.ends("completed")


@scenario("stream")
async def next_then_for(user: User) -> None:
    """Read a piece by `next`, the rest by `for`."""
    client_call = await user.ask()
    await client_call.steps(1)
    await client_call.read()
    client_call.ends("completed")


@scenario("stream")
async def for_then_next(user: User) -> None:
    """Leave a `for` by `break`, read on by `next`, then by `for` again."""
    client_call = await user.ask()
    await client_call.read(1)
    await client_call.steps(2)
    await client_call.read()
    client_call.ends("completed")


@scenario("stream")
async def read_at_once(user: User) -> None:
    """Read all chunks in one expression."""
    client_call = await user.ask()
    if user.is_async:
        for chunk in [chunk async for chunk in client_call.got]:
            client_call.take(chunk)
    else:
        deque(map(client_call.take, client_call.got), maxlen=0)
    client_call.ends("completed")


@scenario("stream")
async def passed_on_by_a_generator(user: User) -> None:
    """Pass the chunks on by a generator of the caller's."""
    client_call = await user.ask()
    client_call.got = _pass_on_async(client_call.got) if user.is_async else _pass_on(client_call.got)
    await client_call.read()
    client_call.ends("completed")


def _pass_on(stream: Any) -> Iterator[object]:
    yield from stream


async def _pass_on_async(stream: Any) -> AsyncIterator[object]:
    async for chunk in stream:
        yield chunk


@scenario("stream")
async def read_and_read_again(user: User) -> None:
    """Read to the end, and try to read again."""
    client_call = await user.ask()
    await client_call.read()
    await client_call.read()
    client_call.ends("completed")


@scenario("stream", "close")
async def read_then_closed(user: User) -> None:
    """Read to the end, and close."""
    client_call = await user.ask()
    await client_call.read()
    await client_call.close()
    client_call.ends("completed")


@scenario("stream")
async def broken_off_and_resumed(user: User) -> None:
    """Leave a `for` by `break`, and go on in a second one."""
    client_call = await user.ask()
    await client_call.read(2)
    await client_call.read()
    client_call.ends("completed")


# Left before the end. -----------------------------------------------------------------------------


@scenario("stream")
async def broken_off_and_dropped(user: User) -> None:
    """Leave a `for` by `break`, and forget the stream."""
    client_call = await user.ask()
    await client_call.read(2)
    await client_call.drop()
    client_call.ends("abandoned")


@scenario("stream")
async def dropped_after_next(user: User) -> None:
    """Read a piece by `next`, and forget the stream."""
    client_call = await user.ask()
    await client_call.steps(1)
    await client_call.drop()
    client_call.ends("abandoned")


@scenario("stream")
async def never_iterated(user: User) -> None:
    """Forget the stream unread."""
    client_call = await user.ask()
    await client_call.drop()
    client_call.ends("abandoned")


@scenario("stream")
async def held_open_then_flushed(user: User) -> None:
    """Leave a `for` by `break`, keep the stream, flush the traces, and read on after all."""
    client_call = await user.ask()
    await client_call.read(2)
    await user.idle()
    moa.flush()
    client_call.ends("abandoned")
    await client_call.read()


@scenario("stream", "close")
async def closed_early(user: User) -> None:
    """Close after two pieces."""
    client_call = await user.ask()
    await client_call.read(2)
    await client_call.close()
    client_call.ends("closed")


@scenario("stream", "close")
async def closed_after_next(user: User) -> None:
    """Read a piece by `next`, and close twice."""
    client_call = await user.ask()
    await client_call.steps(1)
    await client_call.close()
    await client_call.close()
    client_call.ends("closed")


@scenario("stream", "close", "exact")
async def read_on_after_close(user: User) -> None:
    """Close after a piece, and try to read on."""
    client_call = await user.ask()
    await client_call.steps(1)
    await client_call.close()
    client_call.ends("closed")
    with client_call.catching():
        await client_call.step()


@scenario("stream", "close")
async def closed_unread(user: User) -> None:
    """Close at once."""
    client_call = await user.ask()
    await client_call.close()
    client_call.ends("closed")


# In a `with`. -------------------------------------------------------------------------------------


@scenario("stream", "with")
async def read_in_with(user: User) -> None:
    """Read in a `with`."""
    client_call = await user.ask()
    async with client_call.within():
        await client_call.read()
    client_call.ends("completed")


@scenario("stream", "with")
async def left_with_early(user: User) -> None:
    """Leave a `with` after two pieces."""
    client_call = await user.ask()
    async with client_call.within():
        await client_call.read(2)
    client_call.ends("closed")


@scenario("stream", "with")
async def raised_in_with(user: User) -> None:
    """Raise in a `with` after two pieces."""
    client_call = await user.ask()
    with client_call.catching():
        async with client_call.within():
            await client_call.read(2)
            raise ConsumerError("mine")
    client_call.ends("consumer_error")


@scenario("stream", "with", "sync")
async def exited_in_with(user: User) -> None:
    """Leave the program in a `with`."""
    client_call = await user.ask()
    with client_call.catching():
        async with client_call.within():
            await client_call.read(1)
            raise SystemExit(3)
    client_call.ends("cancelled")


@scenario("stream")
async def raised_in_for(user: User) -> None:
    """Raise in a `for`, outside any `with`: the stream cannot see that."""
    client_call = await user.ask()
    with client_call.catching():
        await client_call.read(2)
        raise ConsumerError("mine")
    await client_call.drop()
    client_call.ends("abandoned")


# Broken by the other side. ------------------------------------------------------------------------


async def _broken(user: User, plan: Plan, outcome: str) -> ClientCall:
    client_call = user.prepare(plan)
    with client_call.catching():
        await client_call.begin()
        await client_call.read()
    client_call.ends(outcome)
    return client_call


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
    client_call = await _broken(user, Plan(stop="cut", after=2), "error")
    with client_call.catching():
        await client_call.step()


@scenario("stream", "error")
async def error_in_the_middle(user: User) -> None:
    """Get an error of the provider's after two pieces."""
    await _broken(user, Plan(stop="error", after=2), "error")


@scenario("stream", "error")
async def error_by_next(user: User) -> None:
    """Get an error of the provider's after two pieces, read by `next`."""
    client_call = user.prepare(Plan(stop="error", after=2))
    with client_call.catching():
        await client_call.begin()
        while await client_call.step():
            pass
    client_call.ends("error")


@scenario("stream", "with", "cut")
async def cut_in_with(user: User) -> None:
    """Lose the connection in a `with`."""
    client_call = user.prepare(Plan(stop="cut", after=2))
    with client_call.catching():
        await client_call.begin()
        async with client_call.within():
            await client_call.read()
    client_call.ends("error")


@scenario("stream", "interrupt", "sync")
async def interrupted(user: User) -> None:
    """Be interrupted from the keyboard after two pieces."""
    await _broken(user, Plan(stop="interrupt", after=2), "cancelled")


# Cancelled. ---------------------------------------------------------------------------------------


@scenario("stream", "hang", "async")
async def cancelled(user: User) -> None:
    """Be cancelled while the stream hangs."""
    client_call = user.prepare(Plan(stop="hang", after=2))
    hanging = user.expect_to_hang()

    async def consume() -> None:
        await client_call.begin()
        await client_call.read()

    task = asyncio.ensure_future(consume())
    await hanging.wait()
    task.cancel()
    with client_call.catching():
        await task
    client_call.ends("cancelled")


@scenario("value", "hang", "async")
async def cancelled_value(user: User) -> None:
    """Be cancelled while a whole reply is awaited."""
    client_call = user.prepare(Plan(stop="hang"), stream=False)
    hanging = user.expect_to_hang()
    task = asyncio.ensure_future(client_call.value())
    await hanging.wait()
    task.cancel()
    with client_call.catching():
        await task
    client_call.ends("cancelled")


@scenario("stream", "hang", "async")
async def timed_out(user: User) -> None:
    """Run into a timeout while the stream hangs."""
    client_call = user.prepare(Plan(stop="hang", after=2))
    hanging = user.expect_to_hang()
    await client_call.begin()
    with client_call.catching():
        async with asyncio.timeout(None) as limit:
            watch = asyncio.ensure_future(_expire(hanging, limit))
            await client_call.read()
    await watch
    client_call.ends("cancelled", error="asyncio.exceptions.CancelledError")


async def _expire(hanging: asyncio.Event, limit: asyncio.Timeout) -> None:
    await hanging.wait()
    limit.reschedule(asyncio.get_running_loop().time())


@scenario("stream", "hang", "async")
async def left_by_a_cancelled_consumer(user: User) -> None:
    """Be cancelled in the body of a `for`, not in the stream."""
    client_call = await user.ask()
    reached = asyncio.Event()

    async def consume() -> None:
        await client_call.read(2)
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(consume())
    await reached.wait()
    task.cancel()
    with client_call.catching():
        await task
    await client_call.drop()
    client_call.ends("abandoned")
