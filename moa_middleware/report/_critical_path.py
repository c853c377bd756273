"""The critical path of a turn: the calls that, had they been quicker, would have made the turn quicker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..read import Span, TurnView

__all__ = ["critical_path"]

_HARDLY = 1.0
"""Milliseconds by which clocks of two threads may differ."""


def critical_path(turn: TurnView, spans: Sequence[Span]) -> set[int]:
    """
    Return the places of the spans on the critical path.

    It is followed backwards: from the aggregator, or the last call to end, to the last call that had
    ended when that began, and so on. It rests on times, not on what the program truly waited for.

    Args:
        turn: The turn.
        spans: Its timeline.
    """
    timed = [place for place, one in enumerate(spans) if one.end_ms is not None and not one.call.late]
    last = next((place for place in timed if spans[place].call is turn.aggregator), None)
    if last is None:
        last = max(timed, key=lambda place: spans[place].end_ms or 0.0, default=None)
    found: set[int] = set()
    while last is not None:
        found.add(last)
        start = spans[last].start_ms
        before = [
            place
            for place in timed
            if place not in found and start is not None and (spans[place].end_ms or 0.0) <= start + _HARDLY
        ]
        last = max(before, key=lambda place: spans[place].end_ms or 0.0, default=None)
    return found
