"""The waterfall of a turn: a bar for each call, and a row with how it ended and what reached the aggregator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._format import cost_text, count_text, duration_text, percent_text
from ._marks import call_mark, call_word, name_of, role_of
from ._screen import display_width, fit_width
from ._table import Column, Table
from ._text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..read import Span, TurnView
    from ._screen import Screen
    from ._table import Cell

__all__ = ["show_figures", "show_waterfall"]

_WAITS, _RUNS, _OPEN = ("░", "-"), ("█", "="), ("·", ".")
_INSIDE = ("↳ ", "> ")
"""Before the name of a request that is inside a call with a role."""
_NAME = 28
_BAR = 60
_TIME = 10
_HARDLY = 1.0
"""Milliseconds; who kept the aggregator waiting by less is not slower than another."""


def show_waterfall(screen: Screen, turn: TurnView, spans: Sequence[Span]) -> None:
    """
    Print a bar for each request, on the scale of the turn; until the first chunk of a stream it is pale.

    Args:
        screen: Where to print.
        turn: The turn.
        spans: Its timeline.
    """
    if not spans:
        screen.line(("no calls are told", "dim"))
        return
    if all(one.start_ms is None for one in spans):
        screen.line(("this trace tells no times", "dim"))
        return
    end = max([turn.duration_ms or 0.0, *(one.end_ms for one in spans if one.end_ms is not None)])
    heads = [_name(one, turn, screen) for one in spans]
    width = screen.width if screen.wraps else 100
    name = min(_NAME if width < 100 else 2 * _NAME, max(map(display_width, heads)), width // 3)  # noqa: PLR2004 - a wide one
    room = max(10, min(_BAR if width < 100 else 2 * _BAR, width - name - _TIME - 4))  # noqa: PLR2004
    if end > 0:
        last = duration_text(end)
        scale = f"0{' ' * max(1, room - 1 - len(last))}{last}"
        screen.line(" " * (name + 3), (scale, "dim"), wrap=False)
    for one, head in zip(spans, heads, strict=True):
        mark, style = call_mark(one.call, ascii_only=screen.ascii)
        bar = _bar(one, end, room, ascii_only=screen.ascii)
        took = duration_text(one.call.duration_ms).rjust(_TIME - 1)
        screen.line((mark, style), " ", fit_width(head, name), " ", (bar, style), took, wrap=False)


def _name(one: Span, turn: TurnView, screen: Screen) -> str:
    """Return the role and the name of a call, with an arrow for each call with a role around it."""
    role = role_of(one.call, turn)
    if one.depth and role == "call?":
        role = "call"  # the role of the call around it is known
    return f"{_INSIDE[screen.ascii] * one.depth}{one_line(role, 40)}  {one_line(name_of(one.call), 100)}"


def _bar(one: Span, end: float, room: int, *, ascii_only: bool) -> str:
    """Return the bar of a call."""
    if one.start_ms is None or end <= 0:
        return "?".ljust(room)
    waits, runs, opens = (form[ascii_only] for form in (_WAITS, _RUNS, _OPEN))
    start = min(room - 1, _place(one.start_ms, end, room))
    if one.end_ms is None:
        return (" " * start + opens * (room - start)).ljust(room)
    stop = max(start + 1, _place(one.end_ms, end, room))
    first = one.call.first_chunk_ms
    pale = 0 if first is None else min(stop - start - 1, _place(first, end, room))
    return (" " * start + waits * pale + runs * (stop - start - pale)).ljust(room)


def _place(ms: float, end: float, room: int) -> int:
    """Return the column of a moment; the quotient is bounded first, since an end of nearly nothing makes it infinite."""
    return round(room * min(1.0, max(0.0, ms / end)))


_COLUMNS = (
    Column(""),
    Column("CALL", least=18),
    Column("ENDED", rank=7),
    Column("IN", right=True, rank=3),
    Column("OUT", right=True, rank=3),
    Column("COST", right=True),
    Column("SHARE", right=True, rank=2),
    Column("WAIT", right=True, rank=8),
    Column("REACHED AGG", rank=1),
    Column("OVERLAP", right=True, rank=1),
    Column("ONLY HERE", right=True, rank=6),
)


def show_figures(screen: Screen, turn: TurnView, spans: Sequence[Span]) -> None:
    """
    Print a row for each request: how it ended, tokens, price, and what became of the text.

    A reference that made several requests has a row too, with their sums, and they follow with an arrow.

    WAIT is how much longer a reference could have taken without keeping the aggregator.

    Args:
        screen: Where to print.
        turn: The turn.
        spans: Its timeline.
    """
    fidelity = {
        id(call): str(one) if one.status else f"? ({one.reason})"
        for call, one in zip(turn.references, turn.fidelity(), strict=True)
    }
    overlap = turn.overlap()
    parts = {
        id(call): (covered, unique)
        for call, covered, unique in zip(turn.references, overlap.covered, overlap.unique, strict=True)
    }
    rows: list[Sequence[Cell]] = []
    for one in spans:
        call, usage = one.call, one.usage
        mark = call_mark(call, ascii_only=screen.ascii)
        covered, unique = parts.get(id(call), (None, None))
        reached = fidelity.get(id(call), "")
        rows.append(
            (
                mark,
                (_name(one, turn, screen), "" if one.depth else "bold"),
                (call_word(call), mark[1] if mark[1] != "green" else ""),
                count_text(usage.input_tokens),
                count_text(usage.output_tokens),
                _price(one),
                percent_text(one.cost_share),
                _waited(one),
                (reached, _reached_style(reached)),
                percent_text(covered) if id(call) in parts else "",
                percent_text(unique) if id(call) in parts else "",
            )
        )
    Table(screen, _COLUMNS).show(rows)
    if overlap.novel is not None:
        screen.line(
            f"{percent_text(overlap.novel)} of the answer's {overlap.total:,} {overlap.unit} stand in no reference, "
            f"{percent_text(overlap.shared)} in several (runs of {overlap.size}; lexical, no influence)"
        )


def _price(one: Span) -> str:
    call, cost = one.call, one.cost
    if not one.inside and call.source not in (None, "provider"):
        return f"- ({call.source})"
    return "?" if cost.total_usd is None else cost_text(cost)


def _waited(one: Span) -> str:
    if one.slack_ms is None:
        return ""
    return "none" if one.slack_ms < _HARDLY else duration_text(one.slack_ms)


def _reached_style(reached: str) -> str:
    if reached.startswith("absent"):
        return "red"
    return "yellow" if reached.startswith(("truncated", "altered")) else ""
