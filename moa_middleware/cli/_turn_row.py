"""The row of a turn: what `moa ls` and `moa tail` show of it on a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._format import cost_text, duration_text, time_text
from ._marks import turn_mark
from ._reading import parts_of
from ._table import Column
from ._text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..read import TurnView
    from ._table import Cell

__all__ = ["COLUMNS", "calls_of", "cells_of", "question_of", "summary_of"]

COLUMNS = (
    Column(""),
    Column("TURN", least=24, middle=True),
    Column("WHEN", rank=3),
    Column("PRESET", rank=5, least=12),
    Column("TIME", right=True),
    Column("CALLS", rank=2, least=11),
    Column("COST", right=True),
    Column("ID", rank=7),
    Column("QUESTION", rank=6, least=16, wish=40),
)
_HEAD = 80


def cells_of(turn: TurnView, *, ascii_only: bool) -> Sequence[Cell]:
    """Return the cells of a turn, as `COLUMNS` has them."""
    return (
        turn_mark(turn, ascii_only=ascii_only),
        (turn.name, "bold"),
        time_text(turn.at, "%m-%d %H:%M:%S"),
        turn.preset or "-",
        duration_text(turn.duration_ms),
        (calls_of(turn), "red" if turn.failed_calls else "yellow" if turn.late_calls or turn.pending_calls else ""),
        cost_text(turn.cost),
        (turn.id, "dim"),
        (question_of(turn), "dim"),
    )


def calls_of(turn: TurnView) -> str:
    """Return how many calls a turn has, and what is amiss with them: `4, 2 failed, 1 handled`."""
    counts = (
        (turn.failed_calls, "failed"),
        (turn.handled_calls, "handled"),
        (turn.late_calls, "late"),
        (turn.pending_calls, "open"),
    )
    return ", ".join((f"{turn.call_count:,}", *(f"{count:,} {what}" for count, what in counts if count)))


def question_of(turn: TurnView, limit: int = _HEAD) -> str:
    """Return the head of what the user asked, in a line; `-` if that is unknown."""
    return one_line(turn.question, limit) or "-"


def summary_of(turn: TurnView) -> dict[str, Any]:
    """Return what a list tells of a turn, for JSON."""
    return parts_of(
        turn,
        *("name", "id", "session_id", "preset", "outcome", "failed", "at", "duration_ms", "call_count"),
        *("failed_calls", "handled_calls", "late_calls", "pending_calls", "usage", "cost", "parent_turn_id", "turns"),
        *("file", "line"),
    )
