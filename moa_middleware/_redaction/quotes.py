"""
Where a value in quotes ends.

A text that only opens quotes would be read to its end for each of them. So what was found is kept: for each kind of
quote a text is read once, from its begin to its end.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["OPENING", "Quotes", "is_end_of_code"]

OPENING = re.compile(r"""(?:[bru]{1,2}(?=["']))?(?P<slashes>\\{0,7})(?P<quote>["'`\u201c\u2018])""", re.IGNORECASE)
_ENDS = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019"}
_LONGEST = 10_000
"""Characters of a value in quotes."""
_AFTER_CLOSING = re.compile(r"[+,;)\]}%.\s]|\Z")
_LINE = 500
"""Characters of a line in which quotes are counted."""


class Quotes:
    """
    The quotes of one text.

    Args:
        text: The text.
        is_cut: More followed, so that a quote may have its end there.
    """

    def __init__(self, text: str, *, is_cut: bool = False) -> None:
        self._text = text
        self.is_cut = is_cut
        # By the quote and the backslashes before it: from where to where the text was read, and what is at that place:
        # the end of a value, -1 for the end of the line, `None` if it was only read so far.
        self._read: dict[tuple[str, int], tuple[int, int, int | None]] = {}

    def closing(self, opening: re.Match[str]) -> int | None:
        r"""
        Return where a value in quotes ends: in its line, else at the end of the text; `None` if it does not.

        In JSON that is quoted as text the quotes are `\\"`, and one inside the value is `\\\\\\"`.

        Args:
            opening: A match of `OPENING`.
        """
        start, quote, slashes = opening.end(), opening["quote"], len(opening["slashes"])
        last = min(start + _LONGEST, len(self._text))
        low, high, end = self._read.get((quote, slashes), (0, -1, None))
        if not low <= start <= high:
            low, high, end = start, start, None
        if end is None and high < last:
            high, end = self._next(high, last, quote, slashes)
            self._read[quote, slashes] = (low, high, end)
        if end is None or high >= last:
            ends_with_text = last == len(self._text) and (self.is_cut or quote == '"')
            return last if ends_with_text else None
        return end if end >= 0 else None

    def _next(self, start: int, last: int, quote: str, slashes: int) -> tuple[int, int | None]:
        """Return up to where the text was read, and what is there."""
        text, closing = self._text, _ENDS[quote]
        at = start
        while True:
            place = text.find(closing, at, last)
            line = text.find("\n", at, last if place < 0 else place)
            if line >= 0:
                return line, -1
            if place < 0:
                return last, None
            before = place - 1
            while text[before] == "\\":
                before -= 1
            run = place - 1 - before
            if run < slashes:
                return place, before + 1
            if run % (2 * (slashes + 1)) == slashes:
                return place, place - slashes
            at = place + 1


def is_end_of_code(text: str, opening: re.Match[str]) -> bool:
    """Return True if a quote that is after a name ends a text in code, as in `"password=" + password`."""
    if _AFTER_CLOSING.match(text, opening.end()) is None:
        return False
    start = max(0, opening.start() - _LINE)
    line = text[start : opening.start()].rpartition("\n")[2].replace('"""', "")
    if opening[0] == '"' and "\\" not in line:
        return line.count('"') % 2 == 1
    return len(_same(opening["slashes"] + opening["quote"]).findall(line)) % 2 == 1


@lru_cache(maxsize=64)
def _same(quote: str) -> re.Pattern[str]:
    """Return a pattern for a quote with as many backslashes; an apostrophe inside a word is none."""
    return re.compile(rf"(?<!\\){re.escape(quote)}(?<![A-Za-z]'(?=[a-z]))")
