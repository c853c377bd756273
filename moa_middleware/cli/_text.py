"""
Text of models and files, made fit for a terminal.

Whatever a model said, or a file holds, can move the cursor, fill the clipboard (OSC 52) or turn the
reading direction round. `safe_text` is the one gate that such text goes through before it is shown.
This module must not know rich, or where the text goes.
"""

from __future__ import annotations

import re

from .._unsafe import UNSAFE

__all__ = ["SafeText", "cut_mark", "one_line", "safe_text", "set_output_encoding"]

_UNSAFE = re.compile(f"[{UNSAFE}]")


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code <= 0xFF:  # noqa: PLR2004 - two digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - four digits


_narrow: list[str] = []
"""The encoding of stdout, if it has not every character."""


def set_output_encoding(encoding: str | None) -> None:
    """
    Say what stdout is written in, before widths are counted: an escape is wider than what it stands for.

    Args:
        encoding: A name that Python knows; every form of Unicode has all characters.
    """
    _narrow[:] = [] if encoding is None or encoding.lower().startswith("utf") else [encoding]


class SafeText(str):
    """Text that has been escaped, so that it is not scanned again on its way to the screen. A part of it is a plain text."""

    __slots__ = ()


def safe_text(text: str) -> SafeText:
    r"""
    Return the text with all that a terminal might obey shown as an escape (`\x1b`), nothing dropped.

    So is what the encoding of stdout lacks.
    """
    if type(text) is SafeText:
        return text
    safe = _UNSAFE.sub(_escape, text)
    for encoding in _narrow:
        safe = safe.encode(encoding, "backslashreplace").decode(encoding)
    return SafeText(safe)


def cut_mark() -> str:
    """Return what a text ends in that was cut."""
    return "..." if _narrow else "…"


def one_line(text: str, limit: int = 500) -> SafeText:
    """
    Return the beginning of a text as safe text on one line.

    Args:
        text: Any text.
        limit: Characters to look at, so that a huge text costs nothing.
    """
    # Escaped first: `split` takes some control characters for white space, and would drop them.
    head = " ".join(safe_text(text[:limit]).split())
    return SafeText(head if len(text) <= limit else f"{head}{cut_mark()}")
