"""
Tables for a terminal of 60 columns or 200: what does not fit is left out, the least important first.

In a pipe nothing is left out and names stay whole. Every cell becomes one line of safe text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ._screen import display_width, fit_width
from ._text import SafeText, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._screen import Screen

__all__ = ["Cell", "Column", "Table"]

Cell: TypeAlias = "str | tuple[str, str]"
"""A text, or a text and its style."""

_GAP = "  "
_PIPE = 200
"""Characters of a cell in a pipe."""


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column.

    Attributes:
        title: Its heading.
        rank: The column with the highest one is left out first; 0 stays.
        right: Whether it is aligned on the right.
        least: Columns of the terminal that it may be cut to; 0 is never cut.
        middle: Whether it is cut in the middle, so that its end can be read.
        wish: Columns of the terminal that are its own before a column of a higher rank is shown.
    """

    title: str
    rank: int = 0
    right: bool = False
    least: int = 0
    middle: bool = False
    wish: int = 0

    def floor(self, rank: int) -> int:
        """Return what it may be cut to for columns of a rank; 0 is never cut."""
        return max(self.least, self.wish) if rank > self.rank else self.least


class Table:
    """
    A table whose rows may come in pieces; the first piece tells the widths.

    Args:
        screen: Where it is printed.
        columns: Its columns.
        indent: What each line begins with.
    """

    def __init__(self, screen: Screen, columns: Sequence[Column], indent: str = "") -> None:
        self._screen = screen
        self._columns = columns
        self._indent = indent
        self._widths: list[int | None] = []

    def show(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Print rows, and the headings before the first ones."""
        # Each cell is escaped here, once: what is made of safe texts alone is marked as safe.
        shown = [[_split(cell) for cell in row] for row in rows]
        if not self._widths:
            self._widths = self._fit([[text for text, _ in row] for row in shown])
            if any(column.title for column in self._columns):
                self._print([(one_line(column.title), "dim") for column in self._columns])
        for row in shown:
            self._print(row)

    def _fit(self, rows: Sequence[Sequence[SafeText]]) -> list[int | None]:
        """Return the widths; `None` for a column that is left out."""
        columns = self._columns
        widths: list[int | None] = [
            max([display_width(column.title), *(display_width(row[place]) for row in rows)])
            for place, column in enumerate(columns)
        ]
        if not self._screen.wraps:
            return widths
        room = self._screen.width - len(self._indent)
        for rank in sorted({column.rank for column in columns}, reverse=True):
            least = [
                min(width, columns[place].floor(rank) or width)
                for place, width in enumerate(widths)
                if width is not None
            ]
            if rank and _total(least) > room:
                for place, column in enumerate(columns):
                    if column.rank == rank:
                        widths[place] = None
        # What can be cut is cut, the widest first.
        while _total([width for width in widths if width is not None]) > room:
            cut = [
                (width, place)
                for place, width in enumerate(widths)
                if width is not None and columns[place].least and width > columns[place].least
            ]
            if not cut:
                break
            width, place = max(cut)
            widths[place] = width - 1
        return widths

    def _print(self, row: Sequence[tuple[SafeText, str]]) -> None:
        parts: list[str | tuple[str, str]] = [self._indent]
        shown = [
            (column, width, text, style)
            for column, width, (text, style) in zip(self._columns, self._widths, row, strict=True)
            if width is not None
        ]
        for place, (column, width, text, style) in enumerate(shown):
            text = _cut(text, width, middle=column.middle) if self._screen.wraps else text  # noqa: PLW2901
            padding = " " * max(0, width - display_width(text))
            last = place == len(shown) - 1
            placed = SafeText(f"{padding}{text}" if column.right else text if last else f"{text}{padding}")
            parts += [_GAP] * bool(place)
            parts.append((placed, style) if style else placed)
        self._screen.line(*parts, wrap=False)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * max(0, len(widths) - 1)


def _split(cell: Cell) -> tuple[SafeText, str]:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return one_line(text, _PIPE), style


def _cut(text: SafeText, width: int, *, middle: bool) -> SafeText:
    if display_width(text) <= width:
        return text
    if not middle or width < 5:  # noqa: PLR2004 - too short to have a middle
        return SafeText(fit_width(text, width).rstrip())
    tail = SafeText(text[-(width // 2) :])
    while display_width(tail) > width // 2:
        tail = SafeText(tail[1:])
    return SafeText(f"{fit_width(text, width - display_width(tail)).rstrip()}{tail}")
