"""
The screen, or the pipe in its place: one console, made the same way for every verb.

Nothing here interprets markup, and all text passes through `safe_text` on its way: no verb can forget
it. This module must not know where a text came from.
"""

from __future__ import annotations

import os
import re
import sys
from typing import IO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from ._out import OutputClosed
from ._text import SafeText, cut_mark, safe_text

__all__ = ["Screen", "StreamedText", "cell", "display_width", "fit_width"]

_PIECES = re.compile(r"\n|[^\S\n]+|\S+")


class _Console(Console):
    """A console whose reader may leave early."""

    goes_on = True

    def on_broken_pipe(self) -> None:
        """
        Go on in silence, or end: rich would exit with 1.

        Raises:
            OutputClosed: There is nothing to do but to print.
        """
        if not self.goes_on:
            raise OutputClosed
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class Screen:
    """
    Where a verb prints.

    Args:
        file: By default stdout.
        goes_on: Go on in silence when the reader has gone, for what has more to do than to print.

    Attributes:
        console: For what rich draws.
        ascii: Whether nothing but ASCII can be shown.
        animated: Whether lines may be redrawn: a terminal that can, and no pipe whatever FORCE_COLOR says.
        width: Columns of a terminal; of a pipe, what a long line is cut to where it is cut.
    """

    def __init__(self, file: IO[str] | None = None, *, goes_on: bool = False) -> None:
        self.console = _Console(file=sys.stdout if file is None else file, markup=False, emoji=False, highlight=False)
        self.console.goes_on = goes_on
        self.ascii = self.console.options.ascii_only
        terminal = self.console.file.isatty()
        self.animated = terminal and self.console.is_terminal and not self.console.is_dumb_terminal
        self.wraps = terminal
        """Whether lines are broken between words; in a pipe they stay whole."""

    @property
    def width(self) -> int:
        return self.console.width

    def line(self, *parts: str | tuple[str, str], wrap: bool = True) -> None:
        """
        Print a line.

        Args:
            *parts: Texts, or pairs of a text and its style.
            wrap: Break it between words on a terminal; a path stays whole, to be copied.
        """
        whole = not (wrap and self.wraps)
        self.console.print(Text.assemble(*map(_safe, parts)), soft_wrap=whole)

    def heading(self, text: str) -> None:
        """Print a blank line and a heading."""
        self.console.print()
        self.line((text, "bold"))


class StreamedText:
    """
    Text that comes in pieces, printed at once, and broken between words on a terminal.

    Args:
        screen: Where it is printed.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._column = 0

    def write(self, text: str) -> None:
        """Print a piece."""
        text = safe_text(text)
        if self._screen.wraps:
            text = "".join(map(self._placed, _PIECES.findall(text)))
        # Not `print`, which wraps each piece as if it stood alone.
        self._screen.console.out(text, end="", highlight=False)
        self._screen.console.file.flush()

    def _placed(self, piece: str) -> str:
        if piece == "\n":
            self._column = 0
            return piece
        width = cell_len(piece)
        if self._column and self._column + width > self._screen.width:
            self._column = 0
            if piece.isspace():
                return "\n"
            self._column = width
            return f"\n{piece}"
        self._column += width
        return piece

    def end(self) -> None:
        """End the last line."""
        self._screen.console.print()


def _safe(part: str | tuple[str, str]) -> str | tuple[str, str]:
    return safe_text(part) if isinstance(part, str) else (safe_text(part[0]), part[1])


def cell(text: str, style: str = "") -> Text:
    """Return a text as rich draws it, safe."""
    return Text(safe_text(text), style=style)


def display_width(text: str) -> int:
    """Return how many columns a text takes."""
    return cell_len(safe_text(text))


def fit_width(text: str, width: int) -> SafeText:
    """Return one line of text cut or padded to so many columns; one that is cut ends in `…`, or `...`."""
    line: str = safe_text(text)
    if cell_len(line) > width:
        mark = cut_mark()[:width]
        line = set_cell_size(line, max(0, width - len(mark))).rstrip() + mark
    return SafeText(line + " " * (width - cell_len(line)))
