"""Scenarios of several calls, threads and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._plan import Plan
from ._scenario import scenario

if TYPE_CHECKING:
    from ._talk import Talk, User

__all__: list[str] = []

_CROWD = 4


def _plan(number: int) -> Plan:
    return Plan(pieces=tuple(f"{word}{number} " for word in ("a", "b", "c", "d", "e", "f")))


@scenario("stream")
async def read_elsewhere(user: User) -> None:
    """Read in another thread or task than the one that called."""
    talk = await user.ask()
    await user.elsewhere(talk.read)
    talk.ends("completed")


@scenario("stream")
async def called_elsewhere(user: User) -> None:
    """Call in another thread or task than the one that reads."""
    talk = user.prepare()
    await user.elsewhere(talk.begin)
    await talk.read()
    talk.ends("completed")


@scenario("stream")
async def dropped_elsewhere(user: User) -> None:
    """Read two pieces, and forget the stream in another thread or task."""
    talk = await user.ask()
    await talk.read(2)
    await user.elsewhere(talk.drop)
    talk.ends("abandoned")


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
    talks = [user.prepare(_plan(number), stream=False) for number in range(_CROWD)]
    if not user.is_async:
        user.harness.meet(_CROWD)
    await user.together(*(talk.value for talk in talks))
    for talk in talks:
        talk.ends("completed")


@scenario("stream")
async def many_streams_at_once(user: User) -> None:
    """Read four streams at the same time."""
    talks = [user.prepare(_plan(number)) for number in range(_CROWD)]
    if not user.is_async:
        user.harness.meet(_CROWD)

    async def use(talk: Talk) -> None:
        await talk.begin()
        await talk.read()
        talk.ends("completed")

    await user.together(*(lambda talk=talk: use(talk) for talk in talks))


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
