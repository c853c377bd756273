"""`moa stats`: the figures of traces, by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._exit import USAGE, Failure
from ._filters import By, Failed, GroupBy, MinCost, Model, Preset, Session, Since, Until, filters
from ._format import cost_text, count_text, counted, duration_text, estimate_text, percent_text
from ._out import emit_csv
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
    show_json,
)
from ._verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..read import Stats, StatsRow
    from ._table import Cell

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_COUNTS = ("turns", "failed_turns", "calls", "failed", "handled", "late", "pending")
_ESTIMATES = ("estimated_usd", "estimated", "price_table")
_SPREADS = ("turn_ms", "call_ms", "first_chunk_ms")


_HELP = (
    f"{VERBS['stats']}\n\n"
    "P50 and P95 are nearest ranks of the durations of calls, failed ones among them. Calls are those that asked a "
    "model. A price that is not known is never taken for nothing: >= says that some are not, ~ that some are estimated."
)


@app.command(help=_HELP)
def stats(
    paths: Paths = None,
    *,
    by: By = GroupBy.model,
    session: Session = None,
    preset: Preset = None,
    model: Model = None,
    since: Since = None,
    until: Until = None,
    failed: Failed = None,
    min_cost: MinCost = None,
    no_estimate: NoEstimate = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, safe to open in a spreadsheet.")] = False,
    as_json: Json = False,
    max_line_bytes: MaxLineBytes = None,
) -> None:
    """Show figures."""
    if as_csv and as_json:
        raise Failure("moa stats: --csv or --json, not both", USAGE)
    with exit_on_errors("stats"):
        run = open_run(paths, max_line_bytes, estimate=not no_estimate)
        wanted = filters(
            session=session, preset=preset, model=model, since=since, until=until, failed=failed, min_cost=min_cost
        )
        with progress_bar(run):
            found = run.stats(None if by is GroupBy.none else by.value, **wanted)
        if as_json:
            show_json(found)
        elif as_csv:
            emit_csv(_csv(found))
        elif not found.total.turns:
            note_no_turns(run, asked=any(wanted.values()))
        else:
            _human(found, estimate=not no_estimate)
        code = note_problems(run, "stats")
    if code:
        raise typer.Exit(code)


def _csv(found: Stats) -> list[Sequence[Any]]:
    head = [found.by or "all", *_COUNTS, *_TOKENS, "cost_usd", "unpriced", "unread", "calls_without_usage"]
    head += [f"{name}_{figure_name}" for name in _SPREADS for figure_name in ("count", "p50", "p95", "longest", "mean")]
    head += _ESTIMATES
    rows: list[Sequence[Any]] = [head]
    for row in found.rows:
        cells: list[Any] = [row.key, *(getattr(row, name) for name in _COUNTS)]
        cells += [getattr(row.usage, name) for name in _TOKENS]
        cells += [row.cost.known_usd, row.cost.unpriced, row.unread, row.calls_without_usage]
        for name in _SPREADS:
            spread = getattr(row, name)
            cells += [spread.count, spread.p50, spread.p95, spread.longest, spread.mean]
        cells += [getattr(row.cost, name) for name in _ESTIMATES]
        rows.append(cells)
    return rows


def _human(found: Stats, *, estimate: bool) -> None:
    from ._screen import Screen
    from ._table import Column, Table

    screen = Screen()
    total = found.total.cost.total_usd
    columns = (
        Column((found.by or "").upper(), least=12, middle=True),
        Column("TURNS", right=True, rank=5),
        Column("CALLS", right=True),
        Column("FAILED", right=True, rank=1),
        *[Column("HANDLED", right=True, rank=6)] * bool(found.total.handled),
        Column("LATE", right=True, rank=6),
        Column("IN", right=True, rank=4),
        Column("OUT", right=True, rank=4),
        Column("COST", right=True),
        Column("SHARE", right=True, rank=2),
        Column("P50", right=True, rank=3),
        Column("P95", right=True, rank=3),
        Column("LONGEST", right=True, rank=7),
    )
    named = [("?" if row.key is None else row.key, row) for row in found.rows] if found.by else []
    rows = [_row(row, name, total, handled=found.total.handled > 0) for name, row in (*named, ("all", found.total))]
    Table(screen, columns).show(rows)
    screen.line()
    spread = found.total.turn_ms
    screen.line(
        f"{counted(found.total.turns, 'turn')}, {count_text(found.total.failed_turns)} failed; a turn takes "
        f"{duration_text(spread.p50)} at the median, {duration_text(spread.p95)} at the 95th percentile, {duration_text(spread.longest)} at most"
    )
    if found.total.handled:
        screen.line(
            f"{counted(found.total.failed, 'call')} failed, {count_text(found.total.handled)} handled: "
            "its function caught the error or cancellation, and went on"
        )
    if found.total.unread:
        screen.line(
            f"{counted(found.total.unread, 'call')} returned what was not understood: register its type with "
            "moa.register_shape; moa verify lists the turns (N302)"
        )
    if found.total.calls_without_usage:
        screen.line(
            f"{counted(found.total.calls_without_usage, 'call')} told no tokens: a sum with a + is at least so much"
        )
    if about := estimate_text(found.total.cost, wanted=estimate):
        screen.line(about)
    if found.total.cost.unknown:
        screen.line(
            f"{counted(found.total.cost.unknown, 'call')} without a known price: the cost is {found.total.cost}"
        )


def _tokens(row: StatsRow, count: int | None) -> str:
    return f"{count:,}+" if count is not None and row.calls_without_usage else count_text(count)


def _row(row: StatsRow, name: str, total: float | None, *, handled: bool) -> Sequence[Cell]:
    """Return the cells of a group; `handled` is whether the table has that column."""
    share = None if row.cost.total_usd is None or not total else row.cost.total_usd / total
    failed = percent_text(row.failed / row.calls) if row.calls else "-"
    return (
        (name, "bold"),
        count_text(row.turns),
        count_text(row.calls),
        (f"{row.failed:,} ({failed})" if row.failed else "0", "red" if row.failed else ""),
        *[count_text(row.handled)] * handled,
        (count_text(row.late), "yellow" if row.late else ""),
        _tokens(row, row.usage.input_tokens),
        _tokens(row, row.usage.output_tokens),
        cost_text(row.cost),
        percent_text(share),
        duration_text(row.call_ms.p50),
        duration_text(row.call_ms.p95),
        duration_text(row.call_ms.longest),
    )
