"""The words for a cost in a row of the page, where the totals name the price table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..read import Cost

__all__ = ["cost_words"]


def cost_words(cost: Cost) -> str:
    """Return a cost in words, without the name of the price table: `$0.0412 (estimated)`."""
    return str(cost).replace(f", {cost.price_table}", "")
