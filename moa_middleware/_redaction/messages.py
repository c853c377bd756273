"""The texts of errors, whose size no one bounds: a server's answer may be in one, and the rules are always applied to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import secrets

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONGEST", "without_secrets"]

LONGEST = 16_384
"""Characters of a message that are kept."""
_ENDS_OF_WORDS = " \t\r\n\f\v\"'"


def without_secrets(
    message: str,
    *,
    most: int = LONGEST,
    replace: Callable[[str], str] | None = None,
    room: int = 0,
    is_whole: bool = True,
) -> str:
    """
    Return a message without credentials; of a long one its begin, and how long it was.

    It is cut before the rules look at it, so that a long message costs no more than a short one. A word that touches
    the cut is dropped: it may be the begin of a key, which no rule knows by its begin.

    Args:
        message: The message.
        most: Characters that are kept.
        replace: Takes out the texts that are known by their value.
        room: Characters of the longest of these.
        is_whole: False for a message that was cut before, so that its length is not known here.
    """
    if len(message) <= most:
        return secrets(replace(message) if replace else message)
    # The begin of a text that is known by its value is known no more, so it is in what is cut off again.
    kept = message[: most + room]
    if replace:
        kept = replace(kept)
    kept = kept[: max(0, len(kept) - room)][:most]
    end = len(kept)
    while end and kept[end - 1] not in _ENDS_OF_WORDS:
        end -= 1
    how = f"cut from {len(message):,} characters" if is_whole else "cut"
    return f"{secrets(kept[:end], is_cut=True)}\u2026 ({how})"
