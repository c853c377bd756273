"""
The cost of calls, each request counted once, with unknown prices kept unknown.

A call that several others stand inside of repeats their tokens and prices: those count, it does
not. What a cache or another middleware answered asked no model, and cost nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._call import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._call import CallView

__all__ = ["Cost", "RunningSum", "cost_of", "sum_of", "usage_of"]

_SMALL = 0.01


@dataclass(frozen=True, slots=True)
class Cost:
    """
    Money, in USD.

    What was recorded and what the reader estimated are kept apart: `known_usd` and `unpriced` are the same
    whether prices are estimated or not.

    Attributes:
        known_usd: Sum of the recorded prices, `None` if none was recorded.
        unpriced: Calls whose price was not recorded; with any, the sum is a lower bound.
        estimated_usd: Sum of the prices that were estimated for calls among these, `None` if none was.
        estimated: Calls among the unpriced whose price was estimated.
        price_table: Name and version of the table that was used: `genai-prices 0.2.3`.
    """

    known_usd: float | None = None
    unpriced: int = 0
    estimated_usd: float | None = None
    estimated: int = 0
    price_table: str | None = None

    def __add__(self, other: Cost) -> Cost:
        """Add both."""
        return Cost(
            _plus(self.known_usd, other.known_usd),
            self.unpriced + other.unpriced,
            _plus(self.estimated_usd, other.estimated_usd),
            self.estimated + other.estimated,
            self.price_table or other.price_table,
        )

    @property
    def complete(self) -> bool:
        """Whether every price was recorded."""
        return not self.unpriced

    @property
    def total_usd(self) -> float | None:
        """Sum of the recorded and the estimated prices, `None` if there is neither."""
        return _plus(self.known_usd, self.estimated_usd)

    @property
    def unknown(self) -> int:
        """Calls whose price was neither recorded nor estimated."""
        return self.unpriced - self.estimated

    def __str__(self) -> str:
        """
        Return it in words.

        `$0.0412`, `>= $0.0380 (1 unpriced)`, `unknown (2 unpriced)`, or `$0` where no model was asked. With
        estimates `$0.0412 (estimated, genai-prices 0.2.3)`, and where only a part is one
        `>= $0.0412 ($0.0032 estimated, genai-prices 0.2.3; 1 unpriced)`.
        """
        total = self.total_usd
        if total is None:
            return f"unknown ({self.unpriced} unpriced)" if self.unpriced else "$0"
        notes = []
        if self.estimated_usd is not None:
            part = "" if self.known_usd is None else f"{_dollars(self.estimated_usd)} "
            notes.append(f"{part}estimated, {self.price_table}")
        if self.unknown:
            notes.append(f"{self.unknown} unpriced")
        shown = f"{'>= ' if self.unknown else ''}{_dollars(total)}"
        return f"{shown} ({'; '.join(notes)})" if notes else shown


class RunningSum:
    """A sum with what its rounding lost (Neumaier), so that a million prices cost no memory."""

    __slots__ = ("_rest", "_total")

    def __init__(self) -> None:
        self._total: float | None = None
        self._rest = 0.0

    def add(self, usd: float) -> None:
        """Take a price in."""
        before = self._total or 0.0
        total = before + usd
        self._rest += (before - total) + usd if abs(before) >= abs(usd) else (usd - total) + before
        self._total = total

    def add_sum(self, other: RunningSum) -> None:
        """Take the prices of another sum in."""
        if other._total is not None:
            self.add(other._total)
            self.add(other._rest)

    @property
    def usd(self) -> float | None:
        """The sum, `None` of none."""
        total = self._total
        return total + self._rest if total is not None and math.isfinite(total) else total


def _plus(one: float | None, other: float | None) -> float | None:
    return sum_of([usd for usd in (one, other) if usd is not None])


def sum_of(known: Sequence[float]) -> float | None:
    """Return the exact sum of prices, `None` of none; infinity where a float cannot hold it."""
    try:
        return math.fsum(known) if known else None
    except (OverflowError, ValueError):  # or one of them is infinite already
        return math.inf


def _dollars(usd: float) -> str:
    if not math.isfinite(usd) or usd == 0 or abs(usd) >= _SMALL:
        return f"${usd:,.4f}"
    # Two figures of a small price, so that it is not shown as nothing.
    return f"${usd:.{min(15, 1 - math.floor(math.log10(abs(usd))))}f}"


def cost_of(calls: Iterable[CallView], *, estimate: bool = False) -> Cost:
    """
    Return what calls that stand for one request each cost.

    Args:
        calls: The calls.
        estimate: Estimate the prices that were not recorded.
    """
    known: list[float] = []
    estimated: list[float] = []
    table = None
    unpriced = 0
    for call in calls:
        if call.source in (None, "provider"):
            usd = call.cost_usd
            if usd is not None:
                known.append(usd)
                continue
            unpriced += 1
            found = call.estimate() if estimate else None
            if found is not None:
                estimated.append(found.usd)
                table = found.table
    return Cost(sum_of(known), unpriced, sum_of(estimated), len(estimated), table)


def usage_of(calls: Iterable[CallView]) -> TokenUsage:
    """Return the tokens of calls that stand for one request each."""
    total = TokenUsage()
    for call in calls:
        if call.source in (None, "provider"):
            total += call.usage
    return total
