"""The answer cut where another reference, or none, says the same words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..read._grams import places

if TYPE_CHECKING:
    from ..read import Overlap

__all__ = ["answer_pieces"]

_WORD = re.compile(r"\w")


def answer_pieces(answer: str, overlap: Overlap) -> list[tuple[str, list[int]]]:
    """
    Return the pieces of an answer, each with the places of the references in which its words stand.

    Args:
        answer: The text.
        overlap: Its overlap.

    Returns:
        Pieces that make up the answer. What stands between two words of a run belongs to the run.
    """
    where = places(answer, overlap.unit)
    begins: dict[int, set[int]] = {}
    ends: dict[int, set[int]] = {}
    for reference, spans in enumerate(overlap.spans):
        for start, end in spans or ():
            begins.setdefault(where[start][0], set()).add(reference)
            ends.setdefault(where[end - 1][1], set()).add(reference)
    open_now: set[int] = set()
    pieces: list[tuple[str, list[int]]] = []
    last = 0
    for place in sorted({*begins, *ends}):
        if place > last:
            _add(pieces, answer[last:place], sorted(open_now))
        open_now = (open_now - ends.get(place, set())) | begins.get(place, set())
        last = place
    if last < len(answer):
        _add(pieces, answer[last:], sorted(open_now))
    return pieces


def _add(pieces: list[tuple[str, list[int]]], text: str, references: list[int]) -> None:
    """Add a piece; what stands before its first word goes to the marked one before it, so that marks begin with words."""
    if references and pieces and pieces[-1][1]:
        word = _WORD.search(text)
        start = word.start() if word else 0
        pieces[-1] = (pieces[-1][0] + text[:start], pieces[-1][1])
        text = text[start:]
    pieces.append((text, references))
