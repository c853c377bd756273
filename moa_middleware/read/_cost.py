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

__all__ = ["Cost", "cost_of", "sum_of", "usage_of"]

_SMALL = 0.01


@dataclass(frozen=True, slots=True)
class Cost:
    """
    Money, in USD.

    Attributes:
        known_usd: Sum of the known prices, `None` if none is known.
        unpriced: Calls whose price is not known; with any, the sum is a lower bound.
    """

    known_usd: float | None = None
    unpriced: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Add both."""
        known = [usd for usd in (self.known_usd, other.known_usd) if usd is not None]
        return Cost(sum_of(known), self.unpriced + other.unpriced)

    @property
    def complete(self) -> bool:
        """Whether every price is known."""
        return not self.unpriced

    def __str__(self) -> str:
        """Return it as `$0.0412`, `>= $0.0380 (1 unpriced)`, `unknown (2 unpriced)`, or `$0` where no model was asked."""
        if self.known_usd is None:
            return f"unknown ({self.unpriced} unpriced)" if self.unpriced else "$0"
        shown = _dollars(self.known_usd)
        return f">= {shown} ({self.unpriced} unpriced)" if self.unpriced else shown


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


def cost_of(calls: Iterable[CallView]) -> Cost:
    """Return what calls that stand for one request each cost."""
    known: list[float] = []
    unpriced = 0
    for call in calls:
        if call.source in (None, "provider"):
            usd = call.cost_usd
            if usd is None:
                unpriced += 1
            else:
                known.append(usd)
    return Cost(sum_of(known), unpriced)


def usage_of(calls: Iterable[CallView]) -> TokenUsage:
    """Return the tokens of calls that stand for one request each."""
    total = TokenUsage()
    for call in calls:
        if call.source in (None, "provider"):
            total += call.usage
    return total
