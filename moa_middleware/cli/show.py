"""`moa show`: one turn, from what it was asked to what it cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._exit import USAGE, Failure
from ._out import OutputClosed
from ._reading import Json, MaxLineBytes, NoEstimate, Paths, exit_on_errors, open_run, parts_of, progress_bar, show_json
from ._verbs import VERBS

if TYPE_CHECKING:
    from ..read import Run, TurnView

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HELP = (
    f"{VERBS['show']}\n\n"
    "TURN is SESSION#N, the beginning of an id, last, or first; without it, the last. Fidelity is whether a reference's text stands in what "
    "the aggregator got; overlap is the part of the answer's words that stands in a reference, which tells nothing of "
    "influence."
)


@app.command(help=_HELP)
def show(
    turn: Annotated[
        str, typer.Argument(metavar="TURN", show_default=False, help="SESSION#N, an id, first, last.")
    ] = "last",
    paths: Paths = None,
    *,
    full: Annotated[bool, typer.Option("--full", help="Whole texts, not their beginnings.")] = False,
    inputs: Annotated[bool, typer.Option("--inputs", help="What each model saw, too.")] = False,
    call: Annotated[
        str | None,
        typer.Option(
            "--call",
            metavar="CALL",
            help="Whole texts of one call, with --json that call alone: agg, ref:1, or the beginning of an id.",
        ),
    ] = None,
    no_estimate: NoEstimate = False,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes of its line, into a file or a pipe.")] = False,
    as_json: Json = False,
    max_line_bytes: MaxLineBytes = None,
) -> None:
    """Show a turn."""
    if raw and sys.stdout.isatty():
        raise Failure("moa show: --raw is for a file or a pipe, not for a terminal: its bytes could do anything", USAGE)
    for option, given in (("--call", call is not None), ("--json", as_json)):
        if raw and given:
            raise Failure(f"moa show: --raw or {option}, not both: --raw is the whole line as it stands", USAGE)
    with exit_on_errors("show"):
        if not paths and turn not in ("first", "last") and _is_there(turn):
            turn, paths = "last", [turn]
        run = open_run(paths, max_line_bytes, estimate=not no_estimate)
        with progress_bar(run):
            found = run.turn(turn)
            inner = run.children(found) if found.turns and not raw else ()
        if raw:
            try:
                sys.stdout.buffer.write(found.raw + b"\n")
            except BrokenPipeError:
                raise OutputClosed from None
        elif as_json:
            show_json(_all_of(found, inner) if call is None else _call_of(found, call))
        else:
            _human(run, found, inner, full=full, inputs=inputs, call=call, wanted=not no_estimate)


def _is_there(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:
        return False  # no file could have such a name


def _human(
    run: Run, turn: TurnView, inner: tuple[TurnView, ...], *, full: bool, inputs: bool, call: str | None, wanted: bool
) -> None:
    from ._format import estimate_text
    from ._screen import Screen
    from ._turn_view import one_call, show_call, show_turn

    screen = Screen()
    if call is not None:
        show_call(screen, turn, one_call(turn, call))
        return
    outer = run.parent(turn) if turn.parent_turn_id is not None else None
    show_turn(screen, turn, inner, outer, full=full, inputs=inputs)
    if not turn.cost.estimated and (about := estimate_text(turn.cost, wanted=wanted)):
        screen.line()
        screen.line(about)


def _call_of(turn: TurnView, name: str) -> dict[str, Any]:
    from ..read import to_jsonable
    from ._turn_view import one_call

    return {"turn": turn.name, **to_jsonable(one_call(turn, name))}


def _all_of(turn: TurnView, inner: tuple[TurnView, ...]) -> dict[str, Any]:
    from ..read import to_jsonable

    spans = [
        {"call_id": span.call.call_id, **parts_of(span, "start_ms", "end_ms", "cost", "cost_share", "slack_ms")}
        for span in turn.timeline()
    ]
    return {
        **to_jsonable(turn),
        "id": turn.id,
        **parts_of(turn, "call_count", "failed_calls", "handled_calls", "late_calls", "pending_calls", "usage", "cost"),
        "timeline": spans,
        "fidelity": to_jsonable(turn.fidelity()),
        "overlap": to_jsonable(turn.overlap()),
        "children": [one.name for one in inner],
    }
