"""What stands in place of what is taken, and where a word begins."""

from __future__ import annotations

__all__ = ["EMAIL", "MARK", "PHONE", "word_start"]

MARK = "[secret]"
EMAIL = "[email]"
PHONE = "[phone]"


def word_start(inside: str) -> str:
    r"""
    Return a pattern for the begin of a word: nothing of the class stands before it.

    Inside JSON that is quoted as text a word may follow an escape, `\n` say, whose letter is not the word's.
    """
    return rf"(?:(?<![{inside}\\])|(?<=\\[nrtbf])|(?<=\\)(?![nrtbfu]))"
