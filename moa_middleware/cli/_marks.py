"""The marks of outcomes, with their colours, and the names of calls and turns in a column."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..read import CallView, TurnView

__all__ = ["FAILED", "LATE", "call_mark", "call_word", "name_of", "role_of", "turn_mark"]

GOOD, FAILED, LATE, OPEN, OTHER = ("✓", "+"), ("✗", "x"), ("~", "~"), ("…", "."), ("!", "!")
_STYLES = {GOOD: "green", FAILED: "red", LATE: "yellow", OPEN: "yellow", OTHER: "yellow"}
_ROLES = {"reference": "ref", "aggregator": "agg"}


def _shown(mark: tuple[str, str], *, ascii_only: bool) -> tuple[str, str]:
    return mark[ascii_only], _STYLES[mark]


def turn_mark(turn: TurnView, *, ascii_only: bool) -> tuple[str, str]:
    """Return the mark of a turn, and its style."""
    if turn.failed:
        return _shown(FAILED, ascii_only=ascii_only)
    # Of a trace without outcomes nothing bad is known.
    return _shown(GOOD if turn.outcome in (None, "completed") else OTHER, ascii_only=ascii_only)


def call_mark(call: CallView, *, ascii_only: bool) -> tuple[str, str]:
    """Return the mark of a call, and its style; that it failed goes before that it was late."""
    mark = (
        FAILED
        if call.failed
        else OPEN
        if call.pending
        else LATE
        if call.late
        else GOOD
        if call.outcome in (None, "completed")
        else OTHER
    )
    return _shown(mark, ascii_only=ascii_only)


def call_word(call: CallView) -> str:
    """Return how a call ended, in a word or two."""
    if call.pending:
        return "never ended"
    ended = call.outcome or ("failed" if call.failed else "ended")
    return ", ".join((ended, *["handled"] * call.handled, *["late"] * call.late))


def role_of(call: CallView, turn: TurnView) -> str:
    """
    Return `ref 1`, `agg`, or the role of another call, `call?` if it is unknown.

    The number is its place in `TurnView.references`.
    """
    for place, one in enumerate(turn.references):
        if one is call:
            return f"ref {place}"
    if call.role_source == "unknown":
        return "call?"
    return _ROLES.get(call.role or "call", call.role or "call") if call is not turn.aggregator else "agg"


def name_of(call: CallView) -> str:
    """Return the label and the model of a call, one where they are the same."""
    if call.label and call.model and call.model not in call.label:
        return f"{call.label} ({call.model})"
    retry = f" #{call.attempt}" if (call.attempt or 1) > 1 else ""
    return f"{call.name}{retry}"
