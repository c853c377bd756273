"""`moa verify`: whether traces are whole, and whether each reference reached a later prompt."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from ._exit import CLEAN, FINDINGS, UNREADABLE, Failure
from ._format import counted, size_text
from ._out import OutputClosed
from ._reading import Json, MaxLineBytes, Paths, exit_on_errors, open_run, progress_bar, show_json
from ._text import one_line
from ._verbs import VERBS

if TYPE_CHECKING:
    from ..read import VerifyReport

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HELP = f"{VERBS['verify']}\n\nIt ends with 1 if something is wrong, and with 3 if a file could not be read or there is none."


@app.command(help=_HELP)
def verify(
    paths: Paths = None,
    *,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="CODE", help="A code that does not count; repeatable.")
    ] = None,
    semantics: Annotated[
        bool,
        typer.Option("--semantics/--no-semantics", help="Look for references in the prompts that came after them."),
    ] = True,
    key_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            help="Key that the lines were made with (MOA_INTEGRITY=hmac); every line must have it. Repeatable.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let notices count as problems do.")] = False,
    as_json: Json = False,
    max_line_bytes: MaxLineBytes = None,
) -> None:
    """Verify."""
    with exit_on_errors("verify"):
        run = open_run(paths, max_line_bytes)
        with progress_bar(run):
            report = run.verify(semantics=semantics, ignore=ignore or (), key_files=key_files or ())
        code = (
            UNREADABLE
            if "E108" in report.counts
            else FINDINGS
            if not report.clean or (strict and report.notices)
            else CLEAN
        )
        nothing = not (report.files or report.late or report.total)
        try:
            if as_json:
                show_json({**_plain(report), "clean": report.clean and not nothing, "total": report.total})
            elif not nothing:
                _human(report)
        except OutputClosed:
            raise typer.Exit(code) from None
        if nothing:
            journals = f"; {counted(report.journals, 'journal')} in it: moa recover" if report.journals else ""
            message = f"moa verify: there is no trace file in {', '.join(map(one_line, run.names))}{journals}"
            raise Failure(message, UNREADABLE)
    if code:
        raise typer.Exit(code)


def _plain(report: VerifyReport) -> dict[str, object]:
    from ..read import to_jsonable

    found: dict[str, object] = to_jsonable(report)
    return found


def _human(report: VerifyReport) -> None:
    from ..read import CODES, NOTICES
    from ._screen import Screen

    screen = Screen()
    for problem in report.problems:
        place = f"{problem.file}:{problem.line}" if problem.line is not None else problem.file
        turn = f"({problem.turn_id})" if problem.turn_id is not None else ""
        parts = [f"{one_line(place)}: "] * bool(place)
        text = f" {problem.name}  {''.join(parts)}{one_line(problem.message)}"
        screen.line((problem.code, "red"), text, " " * bool(turn), (one_line(turn), "dim"))
    hidden = report.total - len(report.problems)
    if hidden:
        screen.line(f"and {hidden:,} more")
    if report.problems:
        screen.line()
        for code, count in report.counts.items():
            screen.line((code, "red"), f"  {count:>6,}  {CODES[code][1]}")
        screen.line()
    for code, count in report.notice_counts.items():
        name, means = NOTICES[code]
        where = next(one for one in report.notices if one.code == code)
        screen.line((code, "yellow"), f"  {count:>6,}  {name}: {means}; first {one_line(where.file)}:{where.line}")
    looked = (
        f"{counted(report.turns, 'turn')} of {counted(report.sessions, 'session')} in {counted(report.files, 'file')}, "
        f"{counted(report.lines, 'line')}, {size_text(report.bytes)}, {counted(report.late, 'late line')}"
    )
    if report.clean:
        mark = "+" if screen.ascii else "✓"
        # Not green: without the key an edited line with an HMAC looks like any other.
        part = f", but for {counted(report.unchecked, 'line')} that need the key" if report.unchecked else ""
        screen.line((f"{mark} clean{part}", "yellow" if part else "green"), f"  {looked}")
    else:
        screen.line((counted(report.total, "problem"), "red"), f"  {looked}")
    if report.proven:
        screen.line(_proven_text(report))
    if report.journals:
        screen.line(f"{counted(report.journals, 'open journal')}: moa recover writes the turns of processes that died")


def _proven_text(report: VerifyReport) -> str:
    """Return how many lines prove themselves, and what was not checked of that."""
    parts = [f"{counted(report.proven, 'line')} with a digest"]
    if report.unchecked:
        parts.append(f"{report.unchecked:,} not checked: they need the key (--key-file)")
    parts.append("chain checked" if report.chain_checked else "chain not checked: it needs the whole directory")
    return "; ".join(parts)
