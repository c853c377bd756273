"""
Whether cost grows in proportion to chunks and to bytes.

A machine is not linear itself: what no longer fits its caches costs more. So the growth is that
beyond the growth of a capture by hand, which is a loop and a dump.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from . import ready
from .calls import whole_calls
from .chunks import REQUEST
from .contenders import HAND, ON, SEED, contenders
from .measure import Cost, cost_of, cpu, interleave, ratios
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["rows"]

LINEAR = 1.25
"""Times that a chunk or byte of a long input may cost that of a short one; any power above 1 costs more."""
COUNTS = (200, 2000, 200_000)
SIZES = (1000, 1_000_000, 50_000_000)


def streams(plan: Plan) -> dict[tuple[str, int], list[Cost]]:
    """Return what whole streams take, by contender, length and round."""
    parts = contenders(plan.directory, HAND, ON)
    chunks = {count: ready.openai_chunks(count) for count in COUNTS}

    def sample(name: str, count: int) -> Cost:
        part = parts[name]
        part.ready()
        create = part.creates(partial(ready.ready_stream, chunks[count]))

        def run() -> None:
            for _ in create(**REQUEST):
                pass

        cost = cost_of(run)
        part.check(ready.text_of(count))
        return cost

    return interleave({(name, count): partial(sample, name, count) for name in parts for count in COUNTS}, plan.pairs)


def slopes(costs: list[list[float]], counts: tuple[int, ...]) -> list[tuple[float, float]]:
    """Return what one more costs among the few and among the many, by round."""
    few, some, many = costs
    return [
        ((b - a) / (counts[1] - counts[0]), (c - b) / (counts[2] - counts[1]))
        for a, b, c in zip(few, some, many, strict=True)
    ]


def told(name: str, pairs: list[tuple[float, float]]) -> str:
    few, many = (sorted(values)[len(values) // 2] for values in zip(*pairs, strict=True))
    return f"{name} {few:.3g}, then {many:.3g} ns"


def rows(plan: Plan) -> Iterator[Row]:
    """Yield how cost grows."""
    found = streams(plan)
    pairs = {name: slopes([cpu(found[name, count]) for count in COUNTS], COUNTS) for name in (ON, HAND)}
    growth = {name: [many / few for few, many in them] for name, them in pairs.items()}
    note = "a chunk: " + "; ".join(told(name, them) for name, them in pairs.items())
    what = "growth of a chunk's cost, 200 to 200,000 chunks, to by hand"
    yield Row("growth", what, ratios(growth[ON], growth[HAND]), "×", LINEAR, note)

    sizes = {size: whole_calls(plan, size, (SEED, ON), max(1, 100_000 // size)) for size in SIZES}
    pairs = {name: slopes([cpu(sizes[size][name]) for size in SIZES], SIZES) for name in (ON, SEED)}
    growth = {name: [many / few for few, many in them] for name, them in pairs.items()}
    note = "a byte: " + "; ".join(told(name, them) for name, them in pairs.items())
    what = "growth of a byte's cost, 1 kB to 50 MB of messages, to seed's writer"
    yield Row("growth", what, ratios(growth[ON], growth[SEED]), "×", LINEAR, note)
