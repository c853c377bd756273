"""What a step costs of a generator that is itself a call or a turn: each sets the scope for its body."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import moa_middleware as moa

from . import ready
from .chunks import LONG, REQUEST, SHORT, by_for
from .contenders import BARE, ON, Contender
from .measure import Cost, cost_of, cpu, differences, interleave
from .table import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from .plan import Plan

__all__ = ["rows"]

CHUNKS = {count: ready.plain_chunks(count) for count in (SHORT, LONG)}


def plain(*, model: str, messages: Any, stream: bool, count: int) -> Iterator[Any]:
    yield from CHUNKS[count]


async def plain_async(*, model: str, messages: Any, stream: bool, count: int) -> AsyncIterator[Any]:
    for chunk in CHUNKS[count]:
        yield chunk


def consume_async(loop: asyncio.Runner, create: Any) -> None:
    async def consume() -> None:
        async for _ in create(**REQUEST):
            pass

    loop.run(consume())


def steps(plan: Plan, bare: Any, wrapped: Any, consume: Any) -> dict[str, list[Cost]]:
    """Return what a step takes, by contender and round."""
    kinds = {BARE: bare, ON: wrapped}

    def sample(name: str) -> Cost:
        part = Contender(name, plan.directory)
        costs = {}
        for count in CHUNKS:
            part.ready()
            costs[count] = cost_of(partial(consume, partial(kinds[name], count=count)))
            part.check(ready.text_of(count))
        return costs[LONG].less(costs[SHORT]).per(LONG - SHORT)

    return interleave({name: partial(sample, name) for name in kinds}, plan.pairs)


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what the steps of generators cost."""
    loop = asyncio.Runner()
    for what, wrap in (("a call", moa.aggregator), ("a turn", moa.turn)):
        found = steps(plan, plain, wrap(plain), by_for)
        added = differences(cpu(found[ON]), cpu(found[BARE]))
        yield Row("generators", f"generator that is {what}: added a chunk", added, "ns", 400, plan.beside(found, "ns"))
        found = steps(plan, plain_async, wrap(plain_async), partial(consume_async, loop))
        added = differences(cpu(found[ON]), cpu(found[BARE]))
        told = plan.beside(found, "ns")
        yield Row("generators", f"async generator that is {what}: added a chunk", added, "ns", None, told)
    loop.close()
