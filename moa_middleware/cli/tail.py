"""`moa tail`: turns as other processes write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._exit import UNREADABLE
from ._out import emit_json, note
from ._reading import Json, folder_of_settings, reading
from ._text import one_line
from ._verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..read import LateCall, Turn

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_NAMED = 20
"""Problems that are named at the end."""


@app.command(help=f"{VERBS['tail']}\n\nA call that ended after its turn gets a line of its own.")
def tail(
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH", show_default=False, help="A directory, or a session's file; else MOA_TRACE_DIR."
        ),
    ] = None,
    *,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Turns that are there already, shown first.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show the last turns, and what comes."""
    from .. import read

    with reading("tail"):
        if path is None and not follow:
            path = folder_of_settings()
        found = read.tail(path, last=last, follow=follow)
        try:
            if as_json:
                _json(found)
            else:
                _human(found)
        finally:
            # Also behind Ctrl-C, which is how following ends.
            for problem in found.problems[:_NAMED]:
                note(f"moa tail: {one_line(str(problem))}")
            if len(found.problems) > _NAMED:
                note(f"moa tail: and {len(found.problems) - _NAMED:,} more; moa verify names them")
        if any(problem.code == "E108" for problem in found.problems):
            raise typer.Exit(UNREADABLE)


def _json(found: Iterable[Turn | LateCall]) -> None:
    from ..read import LateCall, plain
    from ._rows import summary_of

    for one in found:
        told: dict[str, Any] = plain(one) if isinstance(one, LateCall) else summary_of(one)
        emit_json({"kind": "late" if isinstance(one, LateCall) else "turn", **told}, flush=True)


def _human(found: Iterable[Turn | LateCall]) -> None:
    from ..read import LateCall
    from ._marks import call_mark, call_word, name_of, turn_mark
    from ._rows import calls_of, question_of
    from ._screen import Screen, fitted, width_of
    from ._words import moment, money, span

    screen = Screen()
    for one in found:
        if isinstance(one, LateCall):
            mark, style = call_mark(one.call, ascii_only=screen.ascii)
            what = f"late: {one_line(name_of(one.call), 60)} {one_line(call_word(one.call), 60)} after {span(one.call.duration_ms)}"
            whose, at, rest = one.session_id or "unknown-session", one.ts, f"of turn {one.turn_id}"
        else:
            mark, style = turn_mark(one, ascii_only=screen.ascii)
            what = f"{span(one.duration_ms)}  {_calls(calls_of(one))}  {money(one.cost)}"
            whose, at, rest = one.name, one.at, question_of(one)
        line = f"{moment(at, '%H:%M:%S')}  {one_line(whose, 100)}  {what}"
        room = screen.width - 2 if screen.wraps else 1000
        left = max(0, room - width_of(line) - 2)
        shown = fitted(line, min(room, width_of(line))).rstrip()
        last = fitted(one_line(rest), left).rstrip()
        screen.line((mark, style), " ", shown, "  " * bool(last), (last, "dim"), wrap=False)


def _calls(told: str) -> str:
    """Return `1 call`, `4 calls, 1 failed`."""
    count, comma, rest = told.partition(", ")
    return f"{count} call{'' if count == '1' else 's'}{comma}{rest}"
