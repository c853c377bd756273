"""
What a chunk costs: the slope between a short and a long stream, so that what a call costs is not in it.

Each run is whole: the call, the chunks, the line in the file.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

from . import ready
from .contenders import BARE, HAND, MIDDLEWARE, OFF, ON, SAME, contenders
from .measure import Cost, cost_of, cpu, differences, interleave, ratios
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .measure import Spread
    from .plan import Plan

__all__ = ["LONG", "REQUEST", "SHORT", "added_by_chunk", "by_for", "rows"]

SHORT, LONG = 200, 10_200
TAIL = 4
"""Chunks that are read after the measuring where only the passing is measured: a line has a limit of its own."""
REQUEST = {"model": "m", "messages": ready.messages(1000), "stream": True}


def by_for(create: Callable[..., Any]) -> None:
    for _ in create(**REQUEST):
        pass


def pass_by_for(stream: Any, count: int, rest: list[Any]) -> None:
    """Read so many chunks of a stream, and leave the others to be read outside of what is measured."""
    steps = iter(stream)
    for _ in islice(steps, count):
        pass
    rest.append(steps)


def pass_by_next(stream: Any, count: int, rest: list[Any]) -> None:
    step = stream.__next__ if hasattr(stream, "__next__") else iter(stream).__next__
    for _ in repeat(None, count):
        step()
    rest.append(stream)


async def _by_async_for(create: Callable[..., Any]) -> None:
    async for _ in await create(**REQUEST):
        pass


def by_async_for(loop: asyncio.Runner, create: Callable[..., Any]) -> None:
    loop.run(_by_async_for(create))


Sampler = dict[str, "Callable[[], Cost]"]


def samplers(
    plan: Plan, names: tuple[str, ...], make: Callable[[int], list[Any]], stream: Any, consume: Any, *, is_async: bool
) -> Sampler:
    """Return by contender what takes the cost of one chunk: the slope between two lengths."""
    parts = contenders(plan.directory, *names)
    chunks = {count: make(count) for count in (SHORT, LONG)}
    texts = {count: ready.text_of(count) for count in chunks}
    creates = {}
    for name, part in parts.items():
        for count, them in chunks.items():
            answer = partial(stream, them)
            creates[name, count] = part.creates_async(answer) if is_async else part.creates(answer)

    def sample(name: str) -> Cost:
        costs = {}
        for count in chunks:
            parts[name].ready()
            if consume in (pass_by_for, pass_by_next):
                rest: list[Any] = []
                costs[count] = cost_of(partial(consume, creates[name, count](**REQUEST), count - TAIL, rest))
                deque(rest[0], maxlen=0)
            else:
                costs[count] = cost_of(partial(consume, creates[name, count]))
            parts[name].check(texts[count])
        return costs[LONG].less(costs[SHORT]).per(LONG - SHORT)

    return {name: partial(sample, name) for name in names}


def added_by_chunk(plan: Plan) -> Callable[[], Cost]:
    """Return what takes the cost that is added to a chunk of OpenAI's in a `for`."""
    found = samplers(plan, (BARE, ON), ready.openai_chunks, ready.ready_stream, by_for, is_async=False)
    return lambda: found[ON]().less(found[BARE]())


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what chunks cost."""

    def run(consume: Any, make: Any, stream: Any, *names: str, is_async: bool = False) -> dict[str, list[Cost]]:
        return interleave(samplers(plan, names, make, stream, consume, is_async=is_async), plan.pairs)

    def row(what: str, measured: Spread, unit: str, limit: float | None = None, *, told: bool = False) -> Row:
        return Row("chunks", what, measured, unit, limit, plan.beside(found, "ns") if told else "")

    def added(name: str = ON) -> Spread:
        return differences(cpu(found[name]), cpu(found[BARE]))

    def to_hand() -> Spread:
        return ratios(cpu(found[ON]), cpu(found[HAND]))

    found = run(by_for, ready.openai_chunks, ready.ready_stream, BARE, HAND, SAME, OFF, ON, MIDDLEWARE)
    yield row("OpenAI chunk, for: to by hand, text only", to_hand(), "×", 1.35, told=True)
    ours, theirs = ([one.less(two) for one, two in zip(found[name], found[BARE], strict=True)] for name in (ON, HAND))
    yield row("OpenAI chunk, for: to by hand, both less bare", ratios(cpu(ours), cpu(theirs)), "×")
    yield row("OpenAI chunk, for: added", added(), "ns")
    yield row("OpenAI chunk, for, 3 middleware: added", added(MIDDLEWARE), "ns")
    yield row("OpenAI chunk, for, off: added", added(OFF), "ns", 0)
    found = run(pass_by_for, ready.plain_chunks, ready.ready_stream, BARE, HAND, SAME, ON)
    yield row("plain chunk, for: added, without its share of the line", added(), "ns", 120, told=True)
    found = run(pass_by_next, ready.plain_chunks, ready.ready_stream, BARE, HAND, ON)
    yield row("plain chunk, next(): added, without its share of the line", added(), "ns", 350, told=True)
    found = run(pass_by_for, ready.plain_chunks, ready.OwnStream, BARE, HAND, ON)
    yield row("plain chunk, a stream class of one's own: added, the same", added(), "ns", 400, told=True)
    loop = asyncio.Runner()
    by_async = partial(by_async_for, loop)
    for kind, make in (("plain", ready.plain_chunks), ("OpenAI", ready.openai_chunks)):
        found = run(by_async, make, ready.ready_async_stream, BARE, HAND, ON, is_async=True)
        yield row(f"{kind} chunk, async for: to by hand, text only", to_hand(), "×", 1.5, told=True)
    loop.close()
