"""
What a chunk costs: the slope between a short and a long stream, so that what a call costs is not in it.

Each run is whole: the call, the chunks, the line in the file.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from . import ready
from .contenders import BARE, HAND, MIDDLEWARE, OFF, ON, SAME, contenders
from .measure import Cost, cost_of, differences, interleave, ratios
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .plan import Plan

__all__ = ["rows"]

SHORT, LONG = 200, 10_200
REQUEST = {"model": "m", "messages": ready.messages(1000), "stream": True}


def by_for(create: Callable[..., Any]) -> None:
    for _ in create(**REQUEST):
        pass


def by_next(create: Callable[..., Any]) -> None:
    stream = create(**REQUEST)
    step = iter(stream).__next__ if not hasattr(stream, "__next__") else stream.__next__
    try:
        while True:
            step()
    except StopIteration:
        pass


async def _by_async_for(create: Callable[..., Any]) -> None:
    async for _ in await create(**REQUEST):
        pass


def by_async_for(loop: asyncio.AbstractEventLoop, create: Callable[..., Any]) -> None:
    loop.run_until_complete(_by_async_for(create))


def slopes(
    plan: Plan, names: tuple[str, ...], make: Callable[[int], list[Any]], stream: Any, consume: Any, *, is_async: bool
) -> dict[str, list[Cost]]:
    """Return what one chunk takes, by contender and round, in nanoseconds."""
    parts = contenders(plan.directory, *names)
    chunks = {count: make(count) for count in (SHORT, LONG)}
    texts = {count: ready.text_of(count) for count in chunks}

    def sample(name: str) -> Cost:
        part = parts[name]
        costs = {}
        for count in chunks:
            part.ready()
            costs[count] = cost_of(partial(consume, creates[name, count]))
            part.check(texts[count])
        return costs[LONG].less(costs[SHORT]).per(LONG - SHORT)

    creates = {}
    for name, part in parts.items():
        for count, them in chunks.items():
            answer = partial(stream, them)
            creates[name, count] = part.creates_async(answer) if is_async else part.creates(answer)
    return interleave({name: partial(sample, name) for name in names}, plan.pairs)


def cpu(costs: list[Cost]) -> list[float]:
    return [one.process for one in costs]


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what chunks cost."""
    sync = partial(slopes, plan, is_async=False)
    loop = asyncio.new_event_loop()
    part = "chunks"

    found = sync((BARE, HAND, SAME, OFF, ON, MIDDLEWARE), ready.openai_chunks, ready.ready_stream, by_for)
    beside = plan.beside(found, "ns")
    yield Row(part, "OpenAI chunk, for: to by hand, text only", ratios(cpu(found[ON]), cpu(found[HAND])), "×", 1.35, beside)
    added = [one.less(two) for one, two in zip(found[ON], found[BARE], strict=True)]
    theirs = [one.less(two) for one, two in zip(found[HAND], found[BARE], strict=True)]
    yield Row(part, "the same, without what bare takes", ratios(cpu(added), cpu(theirs)), "×")
    yield Row(part, "OpenAI chunk, for: added", differences(cpu(found[ON]), cpu(found[BARE])), "ns")
    yield Row(part, "the same with 3 middleware", differences(cpu(found[MIDDLEWARE]), cpu(found[BARE])), "ns")
    yield Row(part, "off, per chunk", differences(cpu(found[OFF]), cpu(found[BARE])), "ns", 0)

    found = sync((BARE, HAND, SAME, ON), ready.plain_chunks, ready.ready_stream, by_for)
    yield Row(part, "plain chunk, for: added", differences(cpu(found[ON]), cpu(found[BARE])), "ns", 120, plan.beside(found, "ns"))

    found = sync((BARE, HAND, ON), ready.plain_chunks, ready.ready_stream, by_next)
    yield Row(part, "plain chunk, next(): added", differences(cpu(found[ON]), cpu(found[BARE])), "ns", 350, plan.beside(found, "ns"))

    found = slopes(plan, (BARE, HAND, ON), ready.plain_chunks, ready.ready_async_stream, partial(by_async_for, loop), is_async=True)
    yield Row(part, "plain chunk, async for: to by hand", ratios(cpu(found[ON]), cpu(found[HAND])), "×", 1.5, plan.beside(found, "ns"))
    found = slopes(plan, (BARE, HAND, ON), ready.openai_chunks, ready.ready_async_stream, partial(by_async_for, loop), is_async=True)
    yield Row(part, "OpenAI chunk, async for: to by hand", ratios(cpu(found[ON]), cpu(found[HAND])), "×", 1.5, plan.beside(found, "ns"))

    found = sync((BARE, HAND, ON), ready.openai_chunks, ready.OwnStream, by_for)
    yield Row(part, "stream of a class of one's own, OpenAI chunks: added", differences(cpu(found[ON]), cpu(found[BARE])), "ns", None, plan.beside(found, "ns"))
    loop.close()
