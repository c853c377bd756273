"""
The overlap of texts: which words of the answer are in which reference, and how similar references are.

It is lexical: the same words in the same order. It tells nothing of influence: two models may say
the same unasked, and one may take a thought from another in words of its own.

Chinese, Japanese, Thai and their like put no space between words: 10 characters count there for 5
words. Case and punctuation do not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = [
    "CHARACTERS",
    "WORDS",
    "Overlap",
    "Unit",
    "ngrams",
    "overlap_of",
    "similarities",
    "unit_of",
    "unit_spans",
    "units",
]

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
_PAIR = 2
"""Units of a run where texts are compared by pairs of neighbours."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """
    Which part of the answer is in which reference, in the order of `TurnView.references`.

    A word counts for a reference if it is part of a run of `size` words (characters where words are not
    spaced; fewer if the answer is shorter) that is in its output too. Case and punctuation do not
    count. All parts are between 0 and 1, of all words of the answer.

    Attributes:
        covered: The part that is in each reference; `None` for one that failed or said nothing.
        unique: The part that is in it and in no other reference.
        shared: The part that is in two references or more.
        novel: The part that is in no reference.
        unit: `words`, or `characters`.
        size: Units of a run.
        total: Units of the answer; with none, `shared` and `novel` are `None` and so are all parts.
        spans: For each reference, the runs of units of the answer that are in it, as (start, end).
    """

    covered: tuple[float | None, ...]
    unique: tuple[float | None, ...]
    shared: float | None
    novel: float | None
    unit: Unit
    size: int
    total: int
    spans: tuple[tuple[tuple[int, int], ...] | None, ...]

    def pieces(self, answer: str) -> list[tuple[str, list[int]]]:
        """
        Return the answer in pieces, each with the places of the references that have its words.

        Args:
            answer: The text whose overlap this is.

        Returns:
            Pieces that make up the answer. What is between two words of a run belongs to the run.
        """
        where = unit_spans(answer, self.unit)
        begins: dict[int, set[int]] = {}
        ends: dict[int, set[int]] = {}
        for reference, spans in enumerate(self.spans):
            for start, end in spans or ():
                begins.setdefault(where[start][0], set()).add(reference)
                ends.setdefault(where[end - 1][1], set()).add(reference)
        open_now: set[int] = set()
        pieces: list[tuple[str, list[int]]] = []
        last = 0
        for place in sorted({*begins, *ends}):
            if place > last:
                _add_piece(pieces, answer[last:place], sorted(open_now))
            open_now = (open_now - ends.get(place, set())) | begins.get(place, set())
            last = place
        if last < len(answer):
            _add_piece(pieces, answer[last:], sorted(open_now))
        return pieces


def overlap_of(answer: str, references: list[str | None]) -> Overlap:
    """
    Return the overlap of an answer with texts.

    Args:
        answer: The text that is explained.
        references: The texts that it may be made of; `None` for one that failed.
    """
    unit = unit_of(answer)
    row = units(answer, unit)
    total = len(row)
    size = min(WORDS if unit == "words" else CHARACTERS, total)
    if not total:
        nothing = (None,) * len(references)
        return Overlap(nothing, nothing, None, None, unit, size, 0, nothing)
    own = ngrams(row, size)
    spans = [_spans(own, text, unit, size) if text else None for text in references]
    marks = [_marks(one, total) if one is not None else None for one in spans]
    count = [0] * total
    for mark in marks:
        if mark is not None:
            for place in range(total):
                count[place] += mark[place]
    alone = bytes(number == 1 for number in count)
    covered = tuple(None if mark is None else sum(mark) / total for mark in marks)
    unique = tuple(
        None if mark is None else sum(one & other for one, other in zip(mark, alone, strict=True)) / total
        for mark in marks
    )
    shared = sum(number > 1 for number in count) / total
    return Overlap(covered, unique, shared, count.count(0) / total, unit, size, total, tuple(spans))


def _spans(own: object, text: str, unit: Unit, size: int) -> tuple[tuple[int, int], ...]:
    """Return the runs of the answer that are in a text, as places in its row of units."""
    known = set(ngrams(units(text, unit), size))
    spans: list[tuple[int, int]] = []
    for place, gram in enumerate(own):  # type: ignore[arg-type, var-annotated]
        if gram in known:
            if spans and place <= spans[-1][1]:
                spans[-1] = (spans[-1][0], place + size)
            else:
                spans.append((place, place + size))
    return tuple(spans)


def _marks(spans: tuple[tuple[int, int], ...], total: int) -> bytearray:
    marks = bytearray(total)
    for start, end in spans:
        marks[start:end] = b"\1" * (end - start)
    return marks


def _add_piece(pieces: list[tuple[str, list[int]]], text: str, references: list[int]) -> None:
    """Add a piece; what is before its first word goes to the marked one before it, so that marks begin with words."""
    if references and pieces and pieces[-1][1]:
        word = _LETTER.search(text)
        start = word.start() if word else 0
        pieces[-1] = (pieces[-1][0] + text[:start], pieces[-1][1])
        text = text[start:]
    pieces.append((text, references))


# Runs of units --------------------------------------------------------------------------------


def unit_of(text: str) -> Unit:
    """Return what a text is counted in: characters if most of its letters are of a script without spaces."""
    letters = len(_LETTER.findall(text[:100_000]))
    return "characters" if 2 * len(_UNSPACED.findall(text[:100_000])) > letters else "words"


def units(text: str, unit: Unit) -> Sequence[str]:
    """Return the words of a text, or its letters and figures joined."""
    low = text.casefold()
    return _WORD.findall(low) if unit == "words" else "".join(_WORD.findall(low))


def unit_spans(text: str, unit: Unit) -> list[tuple[int, int]]:
    """Return where each of the `units` of a text is in it, as (start, end)."""
    low = text.casefold()
    pattern = _WORD if unit == "words" else _LETTER
    found = [match.span() for match in pattern.finditer(low)]
    if len(low) == len(text):
        return found
    # A letter that is folded to several: each of these stands where it stood.
    at = [place for place, letter in enumerate(text) for _ in letter.casefold()]
    return [(at[start], at[end - 1] + 1) for start, end in found]


def ngrams(row: Sequence[str], size: int) -> Sequence[Hashable]:
    """Return each run of `size` units, in order; none if there are fewer."""
    if isinstance(row, str):
        return [row[start : start + size] for start in range(len(row) - size + 1)]
    return list(zip(*(row[start:] for start in range(size)), strict=False))


# Similarity ------------------------------------------------------------------------------------


def similarities(texts: Sequence[str | None]) -> list[list[float | None]]:
    """
    Return how similar texts are by their words, each with each, from 0 to 1.

    It is Dice's coefficient of their pairs of neighbouring words (of characters where words are not
    spaced): twice the pairs that both have, divided by the pairs of each. It is lexical: the same
    meaning in other words counts for nothing.

    Args:
        texts: The texts; one that is `None` or empty is compared with nothing.

    Returns:
        A square of the length of `texts`; `None` where one of both texts is missing.
    """
    pairs = [_pairs(text) for text in texts]
    cells: list[list[float | None]] = [[None] * len(pairs) for _ in pairs]
    for row, one in enumerate(pairs):
        for column in range(row, len(pairs)):
            cells[row][column] = cells[column][row] = _dice(one, pairs[column])
    return cells


def _pairs(text: str | None) -> frozenset[Hashable]:
    if not text:
        return frozenset()
    unit = unit_of(text)
    row = units(text, unit)
    return frozenset(ngrams(row, min(_PAIR, len(row)))) if row else frozenset()


def _dice(one: frozenset[Hashable], other: frozenset[Hashable]) -> float | None:
    return 2 * len(one & other) / (len(one) + len(other)) if one and other else None
