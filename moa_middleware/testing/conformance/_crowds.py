"""Scenarios of several calls, threads and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._plan import Plan
from ._scenario import scenario

if TYPE_CHECKING:
    from ._caller import ClientCall, User

__all__: list[str] = []

_CROWD = 4


def _plan(number: int) -> Plan:
    return Plan(pieces=tuple(f"{word}{number} " for word in ("a", "b", "c", "d", "e", "f")))


@scenario("stream")
async def read_elsewhere(user: User) -> None:
    """Read in another thread or task than the one that called."""
    client_call = await user.ask()
    await user.elsewhere(client_call.read)
    client_call.ends("completed")


@scenario("stream")
async def called_elsewhere(user: User) -> None:
    """Call in another thread or task than the one that reads."""
    client_call = user.prepare()
    await user.elsewhere(client_call.begin)
    await client_call.read()
    client_call.ends("completed")


@scenario("stream")
async def dropped_elsewhere(user: User) -> None:
    """Read two pieces, and forget the stream in another thread or task."""
    client_call = await user.ask()
    await client_call.read(2)
    await user.elsewhere(client_call.drop)
    client_call.ends("abandoned")


@scenario("stream")
async def two_streams_interleaved(user: User) -> None:
    """Read two streams in turns, the second of them to its end only."""
    one, two = [await user.ask(_plan(number)) for number in range(2)]
    await one.steps(1)
    await two.steps(2)
    await one.steps(1)
    await two.read()
    two.ends("completed")
    await one.drop()
    one.ends("abandoned")


@scenario("value")
async def many_values_at_once(user: User) -> None:
    """Ask for four replies at the same time."""
    client_calls = [user.prepare(_plan(number), stream=False) for number in range(_CROWD)]
    if not user.is_async:
        user.harness.meet(_CROWD)
    await user.together(*(client_call.value for client_call in client_calls))
    for client_call in client_calls:
        client_call.ends("completed")


@scenario("stream")
async def many_streams_at_once(user: User) -> None:
    """Read four streams at the same time."""
    client_calls = [user.prepare(_plan(number)) for number in range(_CROWD)]
    if not user.is_async:
        user.harness.meet(_CROWD)

    async def use(client_call: ClientCall) -> None:
        await client_call.begin()
        await client_call.read()
        client_call.ends("completed")

    await user.together(*(lambda client_call=client_call: use(client_call) for client_call in client_calls))


@scenario("stream", "cut", "close")
async def many_ends_at_once(user: User) -> None:
    """Read three streams at the same time; one is read, one closed, one cut."""
    plans = (_plan(1), _plan(2), Plan(stop="cut", after=1))
    whole, left, broken = (user.prepare(plan) for plan in plans)

    async def read_all() -> None:
        await whole.begin()
        await whole.read()
        whole.ends("completed")

    async def leave() -> None:
        await left.begin()
        await left.read(3)
        await left.close()
        left.ends("closed")

    async def be_cut() -> None:
        with broken.catching():
            await broken.begin()
            await broken.read()
        broken.ends("error")

    await user.together(read_all, leave, be_cut)
