"""
The grid of similarities between references, by their words.

Two texts are as alike as the part of their pairs of neighbouring words that they share (Dice's
coefficient, 0 to 1; pairs of characters where words are not spaced). It is lexical: who says the
same in other words is not alike.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..read import similarities

if TYPE_CHECKING:
    from ..read import TurnView

__all__ = ["Grid", "similarity"]

_MOST = 12
"""Names in the grid of a run."""
_WIDEST = 24
"""References in the grid of a turn: pairs grow with the square."""


def similarity(turn: TurnView) -> list[list[float | None]]:
    """
    Return how similar the references of a turn are, each with each; `None` for one that failed or said nothing.

    Of more than 24 references it is the first ones.
    """
    return similarities([None if one.failed else one.output for one in turn.references[:_WIDEST]])


class Grid:
    """The means over many turns, by the names of the references."""

    def __init__(self) -> None:
        self._sums: Counter[tuple[str, str]] = Counter()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seen: Counter[str] = Counter()

    def add(self, turn: TurnView, grid: list[list[float | None]]) -> None:
        """Take in a turn, and what `similarity` measures of it."""
        names = [one.name for one in turn.references]
        self._seen.update(names)
        for one, name in enumerate(names[: len(grid)]):
            for other in range(one + 1, len(grid)):
                value = grid[one][other]
                if value is not None:
                    key = (name, names[other]) if name <= names[other] else (names[other], name)
                    self._sums[key] += value  # type: ignore[assignment]
                    self._counts[key] += 1

    def to_jsonable(self) -> dict[str, Any]:
        """Return the names that are met most, and for each two of them the mean and how many turns tell it."""
        names = sorted(name for name, _ in self._seen.most_common(_MOST))
        cells = [[self._cell(one, other) for other in names] for one in names]
        return {"names": names, "cells": cells, "left_out": len(self._seen) - len(names)}

    def _cell(self, one: str, other: str) -> tuple[float, int] | None:
        key = (one, other) if one <= other else (other, one)
        count = self._counts[key]
        return (self._sums[key] / count, count) if count else None
