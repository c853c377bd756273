"""
Texts as rows of words, or of characters where words are not spaced, and the rows of n that two share.

Chinese, Japanese, Thai and their like put no space between words: 10 characters stand there for 5
words. Case and punctuation do not count.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["CHARACTERS", "WORDS", "Unit", "grams", "places", "unit_of", "units"]

Unit = Literal["words", "characters"]
WORDS = 5
CHARACTERS = 10

_WORD = re.compile(r"\w+")
_LETTER = re.compile(r"\w")
# Han, Kana, Bopomofo, Thai, Lao, Tibetan, Burmese, Khmer: scripts that are written without spaces.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)


def unit_of(text: str) -> Unit:
    """Return what a text is counted in: characters if most of its letters are of a script without spaces."""
    letters = len(_LETTER.findall(text[:100_000]))
    return "characters" if 2 * len(_UNSPACED.findall(text[:100_000])) > letters else "words"


def units(text: str, unit: Unit) -> Sequence[str]:
    """Return the words of a text, or its letters and figures joined."""
    low = text.casefold()
    return _WORD.findall(low) if unit == "words" else "".join(_WORD.findall(low))


def places(text: str, unit: Unit) -> list[tuple[int, int]]:
    """Return where each of the `units` of a text stands in it, as (start, end)."""
    low = text.casefold()
    pattern = _WORD if unit == "words" else _LETTER
    found = [match.span() for match in pattern.finditer(low)]
    if len(low) == len(text):
        return found
    # A letter that is folded to several: each of these stands where it stood.
    at = [place for place, letter in enumerate(text) for _ in letter.casefold()]
    return [(at[start], at[end - 1] + 1) for start, end in found]


def grams(row: Sequence[str], size: int) -> Sequence[Hashable]:
    """Return each run of `size` units, in order; none if there are fewer."""
    if isinstance(row, str):
        return [row[start : start + size] for start in range(len(row) - size + 1)]
    return list(zip(*(row[start:] for start in range(size)), strict=False))
