"""`moa tail`: turns as other processes write them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._exit import UNREADABLE
from ._out import emit_json, note
from ._reading import Json, MaxLineBytes, NoEstimate, exit_on_errors, folder_of_settings
from ._text import one_line
from ._verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..read import LateCall, Tail, TurnView

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_NAMED = 20
"""Problems of one look that are named."""


_HELP = (
    f"{VERBS['tail']}\n\n"
    "A call that ended after its turn gets a line of its own. With -f, a directory or file that is not there yet is "
    "waited for. What is wrong with lines and files is told on stderr."
)


@app.command(help=_HELP)
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
    no_estimate: NoEstimate = False,
    as_json: Json = False,
    max_line_bytes: MaxLineBytes = None,
) -> None:
    """Show the last turns, and what comes."""
    from .. import read

    with exit_on_errors("tail"):
        if path is None:
            path = folder_of_settings(needed=not follow)
        notes = _ProblemNotes()
        found: Tail = read.tail(
            path,
            last=last,
            follow=follow,
            stop=lambda: notes.report_new(found),
            max_line_bytes=max_line_bytes,
            estimate=not no_estimate,
        )
        if not Path(path).exists():
            note(f"moa tail: {one_line(path, 4000)} does not exist yet: waiting for it")
        try:
            if as_json:
                _json(found)
            else:
                _human(found)
        finally:
            # Also behind Ctrl-C, which is how following ends.
            notes.report_new(found)
        if any(problem.code == "E108" for problem in found.problems):
            raise typer.Exit(UNREADABLE)


class _ProblemNotes:
    """How many problems of a tail were told."""

    def __init__(self) -> None:
        self._count = 0

    def report_new(self, found: Tail) -> None:
        """Say on stderr what came to be wrong since the last look."""
        problems = found.problems[self._count :]
        # First: Ctrl-C may come in the middle of the writing, and nothing is told twice.
        self._count += len(problems)
        for problem in problems[:_NAMED]:
            note(f"moa tail: {one_line(str(problem))}")
        if len(problems) > _NAMED:
            note(f"moa tail: and {len(problems) - _NAMED:,} more; moa verify names them")


def _json(found: Iterable[TurnView | LateCall]) -> None:
    from ..read import LateCall, to_jsonable
    from ._turn_row import summary_of

    for one in found:
        values: dict[str, Any] = to_jsonable(one) if isinstance(one, LateCall) else summary_of(one)
        emit_json({"kind": "late" if isinstance(one, LateCall) else "turn", **values}, flush=True)


def _human(found: Iterable[TurnView | LateCall]) -> None:
    from ..read import LateCall
    from ._format import cost_text, duration_text, time_text
    from ._marks import call_mark, call_word, name_of, turn_mark
    from ._screen import Screen, display_width, fit_width
    from ._turn_row import calls_of, question_of

    screen = Screen()
    for one in found:
        if isinstance(one, LateCall):
            mark, style = call_mark(one.call, ascii_only=screen.ascii)
            what = f"late: {one_line(name_of(one.call), 60)} {one_line(call_word(one.call), 60)} after {duration_text(one.call.duration_ms)}"
            whose, at, rest = one.session_id or "unknown-session", one.ts, f"of turn {one.turn_id}"
        else:
            mark, style = turn_mark(one, ascii_only=screen.ascii)
            what = f"{duration_text(one.duration_ms)}  {_calls(calls_of(one))}  {cost_text(one.cost)}"
            whose, at, rest = one.name, one.at, question_of(one)
        line = f"{time_text(at, '%H:%M:%S')}  {one_line(whose, 100)}  {what}"
        room = screen.width - 2 if screen.wraps else 1000
        left = max(0, room - display_width(line) - 2)
        shown = fit_width(line, min(room, display_width(line))).rstrip()
        last = fit_width(one_line(rest), left).rstrip()
        screen.line((mark, style), " ", shown, "  " * bool(last), (last, "dim"), wrap=False)


def _calls(text: str) -> str:
    """Return `1 call`, `4 calls, 1 failed`."""
    count, comma, rest = text.partition(", ")
    return f"{count} call{'' if count == '1' else 's'}{comma}{rest}"
