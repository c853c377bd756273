"""
The clock: contenders are run in turns, in random order, and compared round by round.

CPU time of the whole process is what counts, since work that another thread does is work; the
caller's own is beside it. The interval of a median is that of the order statistics, which assumes
nothing of how the noise of a shared machine is distributed.
"""

from __future__ import annotations

import gc
import random
from math import comb
from statistics import median
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    Name = TypeVar("Name", bound=Hashable)

__all__ = ["FEWEST", "Cost", "Spread", "cost_of", "cpu", "differences", "interleave", "ratios", "spread"]

FEWEST = 30
"""Pairs, for a table that can be quoted."""


class Cost(NamedTuple):
    """What one run took, in nanoseconds."""

    process: float
    """CPU of all threads."""
    caller: float
    """CPU of the thread that called."""
    wall: float

    def per(self, count: float) -> Cost:
        """Return the share of one of `count`."""
        return Cost(self.process / count, self.caller / count, self.wall / count)

    def less(self, other: Cost) -> Cost:
        """Return the difference to another run of the same round."""
        return Cost(self.process - other.process, self.caller - other.caller, self.wall - other.wall)


class Spread(NamedTuple):
    """A median and the interval that holds it with 95 %."""

    middle: float
    low: float
    high: float
    pairs: int


def cost_of(run: Callable[[], object]) -> Cost:
    """Run something once; what earlier runs left behind is collected first."""
    gc.collect()
    wall, caller, process = perf_counter_ns(), thread_time_ns(), process_time_ns()
    run()
    return Cost(process_time_ns() - process, thread_time_ns() - caller, perf_counter_ns() - wall)


def interleave(samples: Mapping[Name, Callable[[], Cost]], rounds: int) -> dict[Name, list[Cost]]:
    """Take each sample once a round, in random order; the first round warms up and does not count."""
    found: dict[Name, list[Cost]] = {name: [] for name in samples}
    order = list(samples)
    shuffle = random.Random(20).shuffle  # noqa: S311  # an order that can be repeated
    gc.collect()
    gc.freeze()  # ready-made objects and modules are not what a collection in here shall walk
    for number in range(rounds + 1):
        shuffle(order)
        for name in order:
            cost = samples[name]()
            if number:
                found[name].append(cost)
    return found


def cpu(costs: Iterable[Cost]) -> list[float]:
    """Return the CPU time of all threads, in nanoseconds."""
    return [one.process for one in costs]


def spread(values: Iterable[float]) -> Spread:
    """Return the median with its 95 % interval."""
    ordered = sorted(values)
    count = len(ordered)
    rank, outside = 0, 0.0
    # The median lies below the k-th smallest of n values with the probability that fewer than k of
    # n fair coins show heads.
    while rank < count // 2:
        outside += comb(count, rank) / 2**count
        if outside > 0.025:
            break
        rank += 1
    rank = max(rank - 1, 0)
    return Spread(median(ordered), ordered[rank], ordered[count - 1 - rank], count)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the ratio of two contenders, pair by pair."""
    return spread(one / other for one, other in zip(ours, theirs, strict=True))


def differences(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return what one contender takes beyond another, pair by pair."""
    return spread(one - other for one, other in zip(ours, theirs, strict=True))
