"""
Which words of the answer stand in which reference.

It is lexical: the same words in the same order. It tells nothing of influence: two models may say
the same unasked, and one may take a thought from another in words of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._grams import CHARACTERS, WORDS, grams, unit_of, units

if TYPE_CHECKING:
    from ._grams import Unit
    from ._turn import TurnView

__all__ = ["Overlap", "overlap", "overlap_of"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """
    Which part of the answer stands in which reference, in the order of `TurnView.references`.

    A word counts for a reference if it is part of a run of `size` words (characters where words are not
    spaced; fewer if the answer is shorter) that stands in its output too. Case and punctuation do not
    count. All parts are between 0 and 1, of all words of the answer.

    Attributes:
        covered: The part that stands in each reference; `None` for one that failed or said nothing.
        unique: The part that stands in it and in no other reference.
        shared: The part that stands in two references or more.
        novel: The part that stands in no reference.
        unit: `words`, or `characters`.
        size: Units of a run.
        total: Units of the answer; with none, `shared` and `novel` are `None` and so are all parts.
        spans: For each reference, the runs of units of the answer that stand in it, as (start, end).
    """

    covered: tuple[float | None, ...]
    unique: tuple[float | None, ...]
    shared: float | None
    novel: float | None
    unit: Unit
    size: int
    total: int
    spans: tuple[tuple[tuple[int, int], ...] | None, ...]


def overlap(turn: TurnView) -> Overlap:
    """Return the overlap of a turn's answer with its references."""
    answer = turn.output
    if not answer and turn.aggregator is not None:
        answer = turn.aggregator.output
    return overlap_of(answer or "", [None if one.failed else one.output for one in turn.references])


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
    own = grams(row, size)
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
    """Return the runs of the answer that stand in a text, as places in its row of units."""
    told = set(grams(units(text, unit), size))
    spans: list[tuple[int, int]] = []
    for place, gram in enumerate(own):  # type: ignore[arg-type, var-annotated]
        if gram in told:
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
