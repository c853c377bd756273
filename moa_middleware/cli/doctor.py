"""`moa doctor`: why there are no traces, and what is in force."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from ._exit import FINDINGS
from ._format import counted, duration_text, size_text, time_text
from ._out import OutputClosed, emit_json
from ._reading import Json, exit_on_errors
from ._text import one_line
from ._verbs import VERBS

if TYPE_CHECKING:
    from ._checkup import Checkup
    from ._screen import Screen

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_JOURNALS = {
    "recovered": "of dead processes",
    "live": "of processes that run",
    "elsewhere": "of other machines or containers",
    "written": "whose turn is written",
    "foreign": "not ours",
}
_HELP = (
    f"{VERBS['doctor']}\n\n"
    "It ends with 1 if something keeps traces from being written. What a program says by moa.configure wins over the "
    "environment, and cannot be seen from here."
)


@app.command(help=_HELP)
def doctor(*, as_json: Json = False) -> None:
    """Look, and say what was found."""
    from ._checkup import check

    with exit_on_errors("doctor"):
        found = check()
        try:
            if as_json:
                emit_json({"ok": not found.problems, **asdict(found)})
            else:
                _human(found)
        except OutputClosed:
            pass
    if found.problems:
        raise typer.Exit(FINDINGS)


def _human(found: Checkup) -> None:
    from ._screen import Screen

    screen = Screen()
    marks = ("+", "x", "!") if screen.ascii else ("✓", "✗", "!")
    for problem in found.problems:
        screen.line((marks[1], "red"), " ", one_line(problem))
    for remark in found.notes:
        screen.line((marks[2], "yellow"), " ", one_line(remark))
    if not found.problems:
        screen.line((marks[0], "green"), " nothing keeps turns from being written")
    screen.heading("settings")
    _settings(screen, found)
    screen.heading("directory")
    _directory(screen, found)
    if found.targets:
        screen.heading("targets")
        for name, wrong in found.targets.items():
            is_note = f"MOA_INSTRUMENT: {wrong}" in found.notes
            mark = (marks[2], "yellow") if is_note else (marks[1], "red") if wrong else (marks[0], "green")
            wraps = ", ".join(found.wraps.get(name, ()))
            screen.line("  ", mark, f" {one_line(name)}", (f"  {wraps}" if wraps else "", "dim"))
    screen.heading("packages")
    _packages(screen, found)


def _settings(screen: Screen, found: Checkup) -> None:
    from ._table import Column, Table

    rows = [
        (
            one.name,
            ("bad value", "red") if one.problem else (one.value or "-", "bold" if one.origin == "environment" else ""),
            (one.origin, "" if one.origin == "environment" else "dim"),
        )
        for one in found.settings
    ]
    columns = (Column("VARIABLE"), Column("VALUE", least=12, middle=True), Column("FROM"))
    Table(screen, columns, "  ").show([*rows, *((name, "-", ("unknown", "yellow")) for name in found.unknown)])


def _directory(screen: Screen, found: Checkup) -> None:
    directory = found.directory
    if not directory:
        screen.line("  not known")
        return
    screen.line("  ", (one_line(directory["path"]), "bold"), wrap=False)
    if not directory["exists"]:
        screen.line("  does not exist")
    free = f"{size_text(directory['free_bytes'])} free" if "free_bytes" in directory else ""
    can = "writable" if directory.get("writable") else "cannot be written"
    mode = f"mode {directory['mode']}" if "mode" in directory else ""
    screen.line(f"  {', '.join(filter(None, [can, mode, free]))}")
    if directory.get("files"):
        ago = duration_text(1000 * directory["newest_seconds_ago"])
        files = f"{counted(directory['files'], 'file')}, {size_text(directory['bytes'])}"
        screen.line(f"  {files}, written last {time_text(directory['newest'])} ({ago} ago)")
    elif "files" in directory:
        screen.line("  no trace files")
    for what, count in found.journals.items():
        screen.line(f"  {counted(count, 'journal')} {_JOURNALS.get(what, what)}")


def _packages(screen: Screen, found: Checkup) -> None:
    versions = found.versions
    screen.line(f"  moa_middleware {versions['moa_middleware']}, Python {versions['python']}, {versions['system']}")
    for extra, packages in found.packages.items():
        installed = ", ".join(f"{name} {number or '-'}" for name, number in packages.items())
        missing = None in packages.values()
        label = f"extra {extra}" if extra else "base"
        hint = f'  pip install "moa-middleware[{extra}]"' if missing and extra else ""
        screen.line(f"  {label.ljust(13)} ", (installed, "dim" if missing else ""), (hint, "yellow"))
    sdks = ", ".join(f"{name} {number}" for name, number in found.sdks.items() if number is not None)
    screen.line(f"  {'SDKs'.ljust(13)} {sdks or 'none'}")
