"""`moa report`: a run as one HTML page to look at."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ._exit import UNREADABLE, USAGE, Failure
from ._filters import Failed, MinCost, Model, Preset, Session, Since, Until, filters
from ._format import counted, size_text
from ._out import emit
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
from ._text import one_line
from ._verbs import VERBS

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HELP = (
    f"{VERBS['report']}\n\n"
    "The page needs no network and no other file, and what models said can do nothing in it. It holds whole prompts "
    "and answers, unless --no-content is given."
)
_SIZE = re.compile(r"(?P<number>\d{1,18}(?:\.\d+)?)\s*(?P<unit>[kKMG]?)(?P<binary>i?)B?")
_UNITS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3}


@app.command(help=_HELP)
def report(
    paths: Paths = None,
    *,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="PAGE", show_default=False, help="The file; with --split a directory."),
    ],
    content: Annotated[
        bool, typer.Option("--content/--no-content", help="Whether texts go in, or only times, tokens and prices.")
    ] = True,
    redact: Annotated[
        str | None, typer.Option("--redact", metavar="RULES", help="Rules of MOA_REDACT: secrets,emails,phones.")
    ] = None,
    split: Annotated[bool, typer.Option("--split", help="A page for each session, and index.html.")] = False,
    max_bytes: Annotated[str, typer.Option("--max-bytes", metavar="SIZE", help="Size of a page at most.")] = "64MiB",
    title: Annotated[str | None, typer.Option("--title", help="Its title; else what was read.")] = None,
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
    """Write a report."""
    with exit_on_errors("report"):
        from ..errors import ReadError
        from ..report import write as write_report

        if output == "-":
            raise Failure("moa report: -o: a report is a file and not written to stdout: name one", USAGE)
        most = _bytes(max_bytes)
        wanted = filters(
            session=session, preset=preset, model=model, since=since, until=until, failed=failed, min_cost=min_cost
        )
        run = open_run(paths, max_line_bytes, estimate=not no_estimate)
        with progress_bar(run):
            try:
                found = write_report(
                    run, output, content=content, redact=redact, split=split, max_bytes=most, title=title, **wanted
                )
            except ReadError:
                raise
            except OSError as error:
                why = error.strerror or type(error).__name__
                raise Failure(f"moa report: {one_line(output)} cannot be written: {why}", UNREADABLE) from None
        if as_json:
            show_json(found)
        else:
            if not found.turns:
                note_no_turns(run, asked=any(wanted.values()))
            first, *beside = found.paths
            more = f" and {counted(len(beside), 'page')} beside it" if beside else ""
            emit(f"{one_line(str(first))}{more}: {counted(found.turns, 'turn')}, {size_text(found.size)}")
        code = note_problems(run, "report")
    if code:
        raise typer.Exit(code)


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise Failure(f"moa report: --max-bytes: need a size, 64MiB or 20MB say, not {one_line(text, 40)!r}", USAGE)
    return int(float(found["number"]) * (1024 if found["binary"] else 1000) ** _UNITS[found["unit"]])
