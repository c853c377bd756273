"""
Whether cost grows in proportion to chunks and to bytes.

A machine is not linear itself: what no longer fits its caches costs more. So the growth is that
beyond the growth of a capture by hand, which is a loop and a dump.
"""

from __future__ import annotations

import asyncio
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from . import ready
from .calls import whole_call
from .chunks import by_async_for, by_for
from .contenders import HAND, ON, SEED, contenders
from .measure import Cost, cost_of, cpu, interleave, ratios
from .table import Row, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["rows"]

LINEAR = 1.25
"""Times that a chunk or byte of a long input may cost that of a short one; any power above 1 costs more."""
COUNTS = (200, 2000, 200_000)
SIZES = (1000, 1_000_000, 50_000_000)

Costs = dict[tuple[str, int], list[Cost]]


def streams(plan: Plan, counts: tuple[int, ...], runner: asyncio.Runner | None) -> Costs:
    """Return what whole streams take, by contender, length and round."""
    parts = contenders(plan.directory, HAND, ON)
    chunks = {count: ready.openai_chunks(count) for count in counts}

    def sample(name: str, count: int) -> Cost:
        part = parts[name]
        part.ready()
        if runner is None:
            cost = cost_of(partial(by_for, part.creates(partial(ready.ready_stream, chunks[count]))))
        else:
            create = part.creates_async(partial(ready.ready_async_stream, chunks[count]))
            cost = cost_of(partial(by_async_for, runner, create))
        part.check(ready.text_of(count))
        return cost

    return interleave({(name, count): partial(sample, name, count) for name in parts for count in counts}, plan.pairs)


def calls(plan: Plan, sizes: tuple[int, ...]) -> Costs:
    """Return what whole calls take, by contender, bytes of messages and round."""
    samples = {
        (name, size): sample
        for size in sizes
        for name, sample in whole_call(plan, size, (SEED, ON), max(1, 100_000 // size)).items()
    }
    return interleave(samples, plan.pairs)


def slopes(found: Costs, name: str, sizes: tuple[int, ...]) -> list[tuple[float, float]]:
    """Return what one more costs among the few and among the many, by round."""
    few, some, many = sizes
    return [
        ((b - a) / (some - few), (c - b) / (many - some))
        for a, b, c in zip(*(cpu(found[name, size]) for size in sizes), strict=True)
    ]


def growth(plan: Plan, found: Costs, sizes: tuple[int, ...], *, what: str, other: str, unit: str) -> Iterator[Row]:
    """Yield how the cost of one grows, and what each length takes."""
    pairs = {name: slopes(found, name, sizes) for name in (ON, other)}
    grown = {name: [many / few for few, many in them] for name, them in pairs.items()}
    told = []
    for name, them in pairs.items():
        few, many = (median(values) for values in zip(*them, strict=True))
        told.append(f"{name} {number(few)}, then {number(many)} ns")
    note = f"a {unit}: " + "; ".join(told)
    span = f"{sizes[0]:,} to {sizes[-1]:,}"
    yield Row("growth", f"{what}, {span}: growth, to {other}", ratios(grown[ON], grown[other]), "×", LINEAR, note)
    for size in sizes:
        both = {name: found[name, size] for name in (ON, other)}
        note = plan.beside(both, "ms")
        yield Row("growth", f"{what}, {size:,}: to {other}", ratios(cpu(both[ON]), cpu(both[other])), "×", None, note)


def rows(plan: Plan) -> Iterator[Row]:
    """Yield how cost grows."""
    counts, sizes = ((*COUNTS[:2], 20_000), (*SIZES[:2], 5_000_000)) if plan.quick else (COUNTS, SIZES)
    yield from growth(plan, streams(plan, counts, None), counts, what="chunks in a for", other=HAND, unit="chunk")
    with asyncio.Runner() as runner:
        yield from growth(
            plan, streams(plan, counts, runner), counts, what="chunks in an async for", other=HAND, unit="chunk"
        )
    yield from growth(plan, calls(plan, sizes), sizes, what="bytes of messages", other=SEED, unit="byte")
