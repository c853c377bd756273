"""
`moa ls`: turns in a list, the newest last.

Of each turn only its line of the list is kept, so that a directory of any size can be listed.
"""

from __future__ import annotations

import heapq
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ._filters import Failed, MinCost, Model, Preset, Session, Since, Until, filters
from ._out import emit_json, note
from ._reading import (
    Json,
    MaxLineBytes,
    NoEstimate,
    Paths,
    exit_on_errors,
    note_no_turns,
    note_problems,
    open_run,
    progress_bar,
)
from ._verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..read import Filters, Run, TurnView
    from ._table import Cell

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

T = TypeVar("T")

_PIECE = 200
"""Rows that are laid out together where all are shown."""


class _Sort(StrEnum):
    time = "time"
    cost = "cost"
    duration = "duration"


class _Looked:
    """How many turns there were to choose from."""

    def __init__(self) -> None:
        self.turns = 0

    def of(self, turns: Iterable[TurnView]) -> Iterator[TurnView]:
        """Yield turns, and count them."""
        for turn in turns:
            self.turns += 1
            yield turn


@app.command(help=f"{VERBS['ls']}\n\nSESSION#N in the first column is what moa show takes.")
def ls(
    paths: Paths = None,
    *,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="How many; 0 for all, in the order of files.")
    ] = 20,
    sort: Annotated[
        _Sort, typer.Option("--sort", help="Which come last: the newest, the most expensive, or the slowest.")
    ] = _Sort.time,
    session: Session = None,
    preset: Preset = None,
    model: Model = None,
    since: Since = None,
    until: Until = None,
    failed: Failed = None,
    min_cost: MinCost = None,
    no_estimate: NoEstimate = False,
    as_json: Json = False,
    max_line_bytes: MaxLineBytes = None,
) -> None:
    """List turns."""
    with exit_on_errors("ls"):
        run = open_run(paths, max_line_bytes, estimate=not no_estimate)
        wanted = filters(
            session=session, preset=preset, model=model, since=since, until=until, failed=failed, min_cost=min_cost
        )
        if as_json:
            _json(run, wanted, limit, sort)
        else:
            shown, there = _human(run, wanted, limit, sort)
            if not shown:
                note_no_turns(run, asked=any(wanted.values()))
            elif shown < there:
                note(f"{shown:,} of {there:,} turns: -n {there} shows all")
        code = note_problems(run, "ls")
    if code:
        raise typer.Exit(code)


def _human(run: Run, wanted: Filters, limit: int, sort: _Sort) -> tuple[int, int]:
    """Print the table; return how many turns it shows, and how many there are."""
    from ._screen import Screen
    from ._table import Table
    from ._turn_row import COLUMNS, cells_of

    screen = Screen()
    table = Table(screen, COLUMNS)
    rows: list[Sequence[Cell]] = []
    shown = 0
    looked = _Looked()
    for row in _chosen(
        run, looked.of(run.turns(**wanted)), limit, sort, lambda turn: cells_of(turn, ascii_only=screen.ascii)
    ):
        rows.append(row)
        shown += 1
        if len(rows) >= _PIECE:
            table.show(rows)
            rows.clear()
    if rows:
        table.show(rows)
    return shown, looked.turns


def _json(run: Run, wanted: Filters, limit: int, sort: _Sort) -> None:
    from ._turn_row import summary_of

    for one in _chosen(run, run.turns(**wanted), limit, sort, summary_of):
        emit_json(one)


def _chosen(
    run: Run, turns: Iterable[TurnView], limit: int, sort: _Sort, describe: Callable[[TurnView], T]
) -> Iterator[T]:
    """Yield what is told of each turn, or of those that come last in an order, in that order."""
    if not limit:
        yield from map(describe, turns)
        return
    kept: list[tuple[float, int, T]] = []
    newest: dict[str | None, float] = {}
    with progress_bar(run):
        for place, turn in enumerate(turns):
            value = _key(turn, sort)
            if sort is _Sort.time:
                # Turns of a session are numbered by their lines, and clocks of several processes differ: the
                # order of the list is that of the numbers.
                value = newest[turn.session_id] = max(value, newest.get(turn.session_id, value))
            key = (value, place)
            if len(kept) < limit:
                heapq.heappush(kept, (*key, describe(turn)))
            elif key > kept[0][:2]:
                heapq.heapreplace(kept, (*key, describe(turn)))
    yield from (one for _, _, one in sorted(kept, key=lambda entry: entry[:2]))


def _key(turn: TurnView, sort: _Sort) -> float:
    written = turn.at if turn.ts is None else turn.ts
    value = written if sort is _Sort.time else turn.cost.total_usd if sort is _Sort.cost else turn.duration_ms
    return float("-inf") if value is None else value
