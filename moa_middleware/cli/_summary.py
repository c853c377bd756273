"""
The summary of one turn's record, in a few lines, from what its file holds.

It takes the record as decoded JSON and must not trust it: any key may be missing or of another type,
any text may be hostile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..read import TurnView
from ._format import estimate_text
from ._screen import fit_width
from ._text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._screen import Screen

__all__ = ["print_summary"]

_FAILED = ("error", "crashed")
_INDENT = "  "
_HEADER = ("role", "model", "outcome", "time", "tokens")
_TIME = 3  # the column that is aligned on the right


def print_summary(screen: Screen, record: Mapping[str, Any], hide: Callable[[str], str] = lambda text: text) -> None:
    """
    Print a turn: itself, each call, and what it came to.

    Args:
        screen: Where to print.
        record: The turn's record.
        hide: Takes out of an error's message what must not be shown.
    """
    outcome = _word(record.get("outcome"))
    screen.line("turn     ", (_word(record.get("turn_id")), "bold"), wrap=False)
    screen.line("outcome  ", (outcome, _style(outcome)), f" after {_ms(record.get('duration_ms'))}")
    calls = [
        call
        for call in (*_list(record.get("references")), record.get("aggregator"), *_list(record.get("calls")))
        if isinstance(call, dict)
    ]
    rows = [list(_HEADER), *map(_row, calls)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        row[_TIME] = row[_TIME].rjust(widths[_TIME])
    if screen.wraps:
        rest = sum(widths) - widths[1] + 2 * (len(widths) - 1)
        widths[1] = max(8, min(widths[1], screen.width - rest))
    screen.line()
    screen.line(("  ".join(map(fit_width, rows[0], widths)).rstrip(), "dim"), wrap=False)
    for call, row in zip(calls, rows[1:], strict=True):
        role, name, ended, took, tokens = map(fit_width, row, widths)
        parts = (role, "  ", (name, "bold"), "  ", (ended, _style(row[2])), "  ", took, "  ", tokens.rstrip())
        screen.line(*parts, wrap=False)
        room = max(40, min(screen.width, 120)) - len(_INDENT)
        screen.line(_INDENT, (fit_width(_reply_text(call, hide), room).rstrip(), "dim"), wrap=False)
    screen.line()
    totals = record.get("totals")
    totals = totals if isinstance(totals, dict) else {}
    # As in `moa show`: a sum that lacks some call's tokens is a lower bound.
    least = ">= " if totals.get("no_usage") else ""
    count, failed = _count(totals.get("calls")), _count(totals.get("failed"))
    screen.line("totals   ", f"{count} calls, {failed} failed, tokens {_tokens(totals.get('usage'), least=least)}")
    cost = TurnView(record, estimates=True).cost
    screen.line("cost     ", str(cost))
    if not cost.estimated and (about := estimate_text(cost)):
        screen.line((about, "dim"))


def _row(call: Mapping[str, Any]) -> list[str]:
    """Return role, names, outcome, time and tokens."""
    label, model = _word(call.get("label")), _word(call.get("model"))
    return [
        _word(call.get("role")),
        label if model in (label, "?") else f"{label} ({model})",
        "still running" if call.get("outcome") is None else _word(call["outcome"]),
        _ms(call.get("duration_ms")),
        _tokens(call.get("usage")),
    ]


def _reply_text(call: Mapping[str, Any], hide: Callable[[str], str]) -> str:
    """Return the head of what a call said, else of its error."""
    error = call.get("error")
    if isinstance(error, dict):
        message = error.get("message")
        return one_line(f"{error.get('type')}: {hide(message) if isinstance(message, str) else ''}")
    output = call.get("output")
    return one_line(output) if isinstance(output, str) and output.strip() else "(no text)"


def _tokens(usage: Any, *, least: str = "") -> str:
    known = usage if isinstance(usage, dict) else {}
    counts = [_count(known.get(name)) for name in ("input_tokens", "output_tokens")]
    return "unknown" if counts == ["?", "?"] else f"{least}{counts[0]} in, {least}{counts[1]} out"


def _count(value: Any) -> str:
    return str(value) if isinstance(value, int) else "?"


def _ms(value: Any) -> str:
    return f"{value:,.0f} ms" if isinstance(value, int | float) else "? ms"


def _word(value: Any) -> str:
    return one_line(value, 100) if isinstance(value, str) else "?"


def _style(outcome: str) -> str:
    return "red" if outcome in _FAILED else "green" if outcome == "completed" else "yellow"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
