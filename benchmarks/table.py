"""The rows, and how they are told: in a terminal, in Markdown, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .measure import Spread

__all__ = ["BEGIN", "END", "Row", "as_json", "as_markdown", "as_text", "number", "write_markdown"]


class Row(NamedTuple):
    """One line of the table."""

    part: str
    """The part of the benchmark that measured it, for `--only`."""
    what: str
    measured: Spread
    unit: str
    limit: float | None = None
    """At most, in `unit`; `None` for a figure that is only told."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the lower end of the interval lies at or below the limit."""
        return None if self.limit is None else self.measured.low <= self.limit

    def cells(self) -> tuple[str, ...]:
        """Return what stands in its columns."""
        middle, low, high, pairs = self.measured
        interval = f"{number(low)} … {number(high)}" if pairs > 1 else ""
        limit = "" if self.limit is None else f"≤ {number(self.limit)}"
        share = ""
        if self.limit:
            share = f"{middle / self.limit:.2f}"
            share += f" ({low / self.limit:.2f} … {high / self.limit:.2f})" if pairs > 1 else ""
        verdict = {None: "", True: "met", False: "NOT MET"}[self.met]
        return self.what, f"{number(middle)} {self.unit}", interval, limit, share, verdict, self.note


BEGIN = "<!-- python -m benchmarks --markdown -->"
END = "<!-- end of the tables -->"
HEADS = ("what", "measured", "95 % interval", "limit", "of the limit", "", "beside it")


def number(value: float) -> str:
    """Return a number with as many figures as it is good for."""
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def as_text(rows: Sequence[Row]) -> str:
    """Return the table for a terminal."""
    cells = [HEADS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def as_markdown(rows: Sequence[Row], about: Sequence[str]) -> str:
    """Return the tables in Markdown, between marks: what they rest on, the figures, and everybody's medians."""
    figures = [HEADS[:-1], ["---"] * (len(HEADS) - 1), *(row.cells()[:-1] for row in rows)]
    medians = [(HEADS[0], HEADS[-1]), ("---", "---"), *((row.what, row.note) for row in rows if row.note)]
    tables = ("\n".join("| " + " | ".join(line) + " |" for line in lines) for lines in (figures, medians))
    return "\n\n".join([BEGIN, "\n".join(f"* {line}" for line in about), *tables, END])


def write_markdown(page: Path, tables: str) -> None:
    """
    Replace the tables of a page, from mark to mark.

    Raises:
        ValueError: The page lacks a mark.
    """
    text = page.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN), text.index(END) + len(END)
    page.write_text(text[:begin] + tables + text[end:], encoding="utf-8")


def as_json(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """Return the table for a program."""
    told = [{**row._asdict(), "measured": row.measured._asdict(), "met": row.met} for row in rows]
    return json.dumps({**about, "rows": told}, indent=1, ensure_ascii=False)
