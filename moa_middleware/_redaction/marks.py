"""What stands in place of what is taken, and where a word begins."""

from __future__ import annotations

import re

__all__ = ["EMAIL", "MARK", "PHONE", "word_start", "word_start_behind"]

MARK = "[secret]"
EMAIL = "[email]"
PHONE = "[phone]"


def word_start(inside: str) -> str:
    r"""
    Return a pattern for the begin of a word: nothing of the class stands before it.

    Inside JSON that is quoted as text a word may follow an escape such as `\n`, whose letter is not the word's.

    Args:
        inside: A class of letters, as it is between brackets; a dash is its first letter.
    """
    return rf"(?:(?<![{inside}\\])|(?<=\\[nrtbf])|(?<=\\)(?![nrtbfu]))"


def word_start_behind(inside: str, first: str) -> str:
    """
    Return the same as `word_start`, for the place behind a word's first letter.

    Args:
        inside: As in `word_start`.
        first: The first letter.
    """
    letter = re.escape(first)
    if first in "nrtbfu":
        return rf"(?:(?<![{inside}\\]{letter})|(?<=\\[nrtbf]{letter}))"
    return rf"(?:(?<![{inside}]{letter})|(?<=\\[nrtbf]{letter}))"
