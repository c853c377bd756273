"""What is held of a stream while it is read: counted by `tracemalloc`, so the same in each run."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

from . import ready
from .contenders import HAND, ON, Contender
from .table import Row, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["rows"]

FIRST, LAST = 500, 8500


def fresh(count: int) -> Iterator[Any]:
    """Yield chunks that nobody else holds, each with a text of its own, of ten characters."""
    for which in range(count):
        yield ready.one_chunk(f"{which:09d} ")


def held(part: Contender) -> float:
    """Return the bytes that are held for each chunk between the first and the last of many."""
    part.ready()
    create = part.creates(lambda: ready.ready_stream(fresh(LAST + 10)))
    steps = iter(create(model="m", messages=ready.messages(1000), stream=True))
    sizes = {}
    tracemalloc.start()
    try:
        for which in range(LAST + 1):
            next(steps)
            if which in (FIRST, LAST):
                gc.collect()
                sizes[which] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    for _ in steps:
        pass
    part.check("".join(f"{which:09d} " for which in range(LAST + 10)))
    return (sizes[LAST] - sizes[FIRST]) / (LAST - FIRST)


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what is held."""
    by_hand = held(Contender(HAND, plan.directory))
    ours = plan.exactly(held(Contender(ON, plan.directory)))
    yield Row("memory", "held per chunk of 10 characters", ours, "B", 100, f"{HAND} {number(by_hand)} B")
