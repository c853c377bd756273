"""`moa compare`: two runs side by side."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ._exit import FINDINGS
from ._filters import By, Failed, GroupBy, MinCost, Model, Preset, Session, Since, Until, filters
from ._format import cost_text, count_text, counted, duration_text, estimate_text, percent_text, price_text
from ._out import OutputClosed
from ._reading import Json, MaxLineBytes, NoEstimate, exit_on_errors, note_problems, progress_bar, show_json
from ._verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..read import Comparison, GroupDiff, StatsRow, TurnDiff
    from ._screen import Screen
    from ._table import Cell

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HELP = (
    f"{VERBS['compare']}\n\n"
    "Differences are those of B less those of A. Turns are matched by equal input messages, in their order."
)


class _Fail(StrEnum):
    failed = "failed"
    output = "output"
    unmatched = "unmatched"


@app.command(help=_HELP)
def compare(
    a: Annotated[str, typer.Argument(metavar="A", show_default=False, help="A file, a directory, a pattern, or -.")],
    b: Annotated[str, typer.Argument(metavar="B", show_default=False, help="Another one.")],
    *,
    by: By = GroupBy.model,
    worst: Annotated[int, typer.Option("--worst", min=0, help="Pairs that are named as costlier or slower.")] = 5,
    fail_on: Annotated[
        list[_Fail] | None,
        typer.Option("--fail-on", help="End with 1 if turns fail newly, differ in output, or are of one run only."),
    ] = None,
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
    """Compare."""
    from .. import read

    with exit_on_errors("compare"):
        wanted = filters(
            session=session, preset=preset, model=model, since=since, until=until, failed=failed, min_cost=min_cost
        )
        run_a, run_b = (read.open(one, max_line_bytes=max_line_bytes, estimate=not no_estimate) for one in (a, b))
        with progress_bar(run_a), progress_bar(run_b):
            found = read.compare(run_a, run_b, by=None if by is GroupBy.none else by.value, worst=worst, **wanted)
        counts = {
            _Fail.failed: found.newly_failed,
            _Fail.output: found.matched - found.same_output,
            _Fail.unmatched: found.only_a + found.only_b,
        }
        code = FINDINGS if any(counts[what] for what in fail_on or ()) else 0
        try:
            if as_json:
                show_json(found)
            else:
                _human(found)
        except OutputClosed:
            raise typer.Exit(code) from None
        code = max(code, note_problems(run_a, "compare"), note_problems(run_b, "compare"))
    if code:
        raise typer.Exit(code)


def _human(found: Comparison) -> None:
    from ._screen import Screen
    from ._table import Column, Table

    screen = Screen()
    columns = (
        Column((found.by or "").upper(), least=12, middle=True),
        Column(""),
        Column("TURNS", right=True, rank=4),
        Column("CALLS", right=True),
        Column("FAILED", right=True),
        Column("OUT", right=True, rank=3),
        Column("COST", right=True),
        Column("P50", right=True, rank=1),
        Column("P95", right=True, rank=1),
    )
    rows: list[Sequence[Cell]] = []
    for delta in found.rows:
        rows += _three(delta, "?" if delta.key is None else delta.key)
    Table(screen, columns).show([*rows, *_three(found.total, "all")])
    screen.line()
    screen.line(
        f"{counted(found.matched, 'turn')} matched, {found.same_output:,} with the same output, "
        f"{found.newly_failed:,} failed in B only; {found.only_a:,} in A only, {found.only_b:,} in B only"
    )
    if found.versions_differ:
        a, b = (", ".join(versions) or "unknown" for versions in (found.versions_a, found.versions_b))
        screen.line(f"A was written by version {a}, B by {b}: a figure may mean something else; see the changelog")
    if about := estimate_text(found.a.total.cost + found.b.total.cost, wanted=False):
        screen.line(about)
    _pairs(screen, "costlier in B", found.costlier)
    _pairs(screen, "slower in B", found.slower)


def _three(delta: GroupDiff, name: str) -> list[Sequence[Cell]]:
    """Return a row for each side that is there, and one for the difference of both."""
    sides = [
        _side(row, name if row is delta.a or delta.a is None else "", which)
        for row, which in ((delta.a, "A"), (delta.b, "B"))
        if row is not None
    ]
    if len(sides) == 1:
        return sides
    change: Sequence[Cell] = (
        "",
        ("B-A", "bold"),
        *_less(delta, "turns", "calls"),
        _points(delta.failed_share),
        *_less(delta, "output"),
        _signed(delta.cost_usd, price_text(delta.cost_usd)),
        _signed(delta.p50_ms, duration_text(delta.p50_ms)),
        _signed(delta.p95_ms, duration_text(delta.p95_ms)),
    )
    return [*sides, change]


def _side(row: StatsRow, name: str, which: str) -> Sequence[Cell]:
    failed = (
        f"{row.failed:,} ({percent_text(row.failed / row.calls)})"
        if row.calls and row.failed
        else count_text(row.failed)
    )
    return (
        (name, "bold"),
        which,
        count_text(row.turns),
        count_text(row.calls),
        (failed, "red" if row.failed else ""),
        count_text(row.usage.output_tokens),
        cost_text(row.cost),
        duration_text(row.call_ms.p50),
        duration_text(row.call_ms.p95),
    )


def _less(delta: GroupDiff, *names: str) -> list[Cell]:
    cells: list[Cell] = []
    for name in names:
        one, other = (
            None if row is None else row.usage.output_tokens if name == "output" else getattr(row, name)
            for row in (delta.a, delta.b)
        )
        cells.append("-" if one is None or other is None else (f"{other - one:+,}", "dim"))
    return cells


def _points(share: float | None) -> Cell:
    return "-" if share is None else _signed(share, percent_text(share))


def _signed(value: float | None, text: str) -> Cell:
    if value is None:
        return "-"
    if not any(one in "123456789" for one in text):
        return (text.removeprefix("-"), "dim")  # what rounds to nothing is no difference
    return (f"+{text}" if value > 0 else text, "red" if value > 0 else "green" if value < 0 else "dim")


def _pairs(screen: Screen, title: str, pairs: Sequence[TurnDiff]) -> None:
    from ._table import Column, Table

    if not pairs:
        return
    screen.heading(title)
    columns = (
        Column("A", least=14, middle=True),
        Column("B", least=14, middle=True),
        Column("COST", right=True),
        Column("TIME", right=True),
        Column("OUTPUT", rank=1),
    )
    Table(screen, columns, "  ").show(
        [
            (
                pair.a,
                pair.b,
                _signed(pair.cost_usd, price_text(pair.cost_usd)),
                _signed(pair.duration_ms, duration_text(pair.duration_ms)),
                "same" if pair.same_output else "differs",
            )
            for pair in pairs
        ]
    )
