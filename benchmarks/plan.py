"""How much is run, and where its files go."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from .measure import Cost, Spread
from .table import number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["Plan"]


class Plan(NamedTuple):
    """What a part of the benchmark is told."""

    directory: Path
    pairs: int
    quick: bool = False

    def exactly(self, value: float) -> Spread:
        """Return a figure that is counted, not measured."""
        return Spread(value, value, value, 1)

    def beside(self, found: Mapping[str, list[Cost]], unit: str = "µs") -> str:
        """Return the medians of all who took part: CPU of the process, and of the caller where it is less."""
        scale = {"ns": 1, "µs": 1000, "ms": 1_000_000}[unit]
        told = []
        for name, costs in found.items():
            process, caller = (median(values) / scale for values in list(zip(*costs, strict=True))[:2])
            own = f" (caller {number(caller)})" if caller < 0.97 * process else ""
            told.append(f"{name} {number(process)}{own}")
        return "; ".join(told) + f" {unit}"
