"""
Plain output: JSON, CSV, and messages, without rich.

With `_screen` it is the only place that writes to a stream; whatever passes here passes through
`safe_text`. A reader that leaves early (`moa ls | head`) ends the command without a word.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from ._text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["OutputClosed", "emit", "emit_csv", "emit_json", "flush_or_silence", "note"]

_BLANK = "[^\\S\t\r\n]|[\"'\u200b-\u200d\u2060\ufeff]"
"""What a spreadsheet may skip at the beginning of a cell; not what ends a cell, so that each character is looked at once."""
_FORMULA = re.compile(f"^(?=[\t\r\n])|(^|[,;|\t\r\n])(?=(?:{_BLANK})*[=+\\-@\uff1d\uff0b\uff0d\uff20])")
"""
Where a cell begins that a spreadsheet takes for a formula; see OWASP, CSV Injection. Four signs are full-width.

It may begin inside a text: a spreadsheet of another country splits at `;` and not at the comma, and one that splits
elsewhere than the writer does not see its quotes.
"""


class OutputClosed(Exception):  # noqa: N818 - nothing is wrong
    """Whoever read the output has gone."""


def emit(text: str, *, flush: bool = False) -> None:
    """
    Write a line to stdout, as safe text.

    Args:
        text: The line, without its end.
        flush: Let a reader have it at once.

    Raises:
        OutputClosed: The reader has gone.
    """
    try:
        sys.stdout.write(f"{safe_text(text)}\n")
        if flush:
            sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def emit_json(value: Any, *, indent: int | None = None, flush: bool = False) -> None:
    """
    Write a value as JSON on a line; in ASCII, so that no terminal and no encoding spoils it.

    Args:
        value: Dicts, lists, texts and numbers.
        indent: Spaces for each level; `None` keeps it on one line.
        flush: As in `emit`.

    Raises:
        OutputClosed: The reader has gone.
    """
    try:
        text = json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), indent=indent)
    emit(text.replace("\x7f", "\\u007f"), flush=flush)


def _finite(value: Any) -> Any:
    """Return a value with `null` for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value


def emit_csv(rows: Iterable[Sequence[Any]]) -> None:
    """
    Write rows as CSV (RFC 4180, lines end in a newline alone).

    A text gets a `'` wherever a spreadsheet could begin a cell with a formula; numbers stay as they are.

    Raises:
        OutputClosed: The reader has gone.
    """
    for row in rows:
        line = io.StringIO()
        # The end of the line is given, and taken off again: before Python 3.13 a cell with a newline is quoted only if
        # the writer's own line ends have one (`test_no_text_begins_a_cell_with_a_formula`).
        csv.writer(line, lineterminator="\n").writerow(["" if cell is None else _cell(cell) for cell in row])
        emit(line.getvalue().removesuffix("\n"))


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return safe_text(_FORMULA.sub(r"\1'", value))


def note(text: str) -> None:
    """Write a line to stderr, as safe text."""
    try:
        sys.stderr.write(f"{safe_text(text)}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def flush_or_silence() -> str | None:
    """
    Write out what is buffered; what cannot be written goes nowhere, so that nothing is said at exit.

    Returns:
        Why the output could not be written, `None` if it was, or if its reader has gone.
    """
    why = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                why = error.strerror
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        except ValueError:
            continue  # it is closed
    return why
