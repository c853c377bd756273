"""`moa prune`: old trace files removed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from ._exit import FINDINGS
from ._format import counted, size_text, time_text
from ._out import emit
from ._reading import Json, exit_on_errors, folder_of_settings, parts_of, show_json
from ._text import one_line
from ._verbs import VERBS

if TYPE_CHECKING:
    from ..read import PrunedFile, PruneReport

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HELP = (
    f"{VERBS['prune']}\n\n"
    "Sessions, sealed segments, late lines and journals of dead processes go by the time of their last write. What a "
    "process may still write to stays, and so does what is not a file of this library, whatever its name. Without "
    "--dry-run the files are gone at once: nothing is asked, and nothing brings them back."
)
_SAYS = {
    "removed": "removed",
    "busy": "stays, it is in use",
    "live": "stays, its process runs",
    "elsewhere": "stays, its process is of another machine or container",
    "needed": "stays, its turns do",
    "foreign": "stays, it is not of this library",
    "failed": "could not be removed",
}


@app.command(help=_HELP)
def prune(
    directory: Annotated[
        str | None, typer.Argument(metavar="DIR", show_default=False, help="The traces; else MOA_TRACE_DIR.")
    ] = None,
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", show_default=False, help="For example 30d, 12h, 2w.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    elsewhere: Annotated[
        bool,
        typer.Option(
            "--elsewhere", help="Also journals of other machines and containers, if their processes have ended."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove old files, and end with 1 if one could not be."""
    from .. import read

    with exit_on_errors("prune"):
        folder = directory if directory is not None else folder_of_settings()
        report = read.prune(folder, older_than=older_than, dry_run=dry_run, elsewhere=elsewhere)
        failed = any(one.status == "failed" for one in report.files)
        if as_json:
            show_json({**parts_of(report, "directory", "dry_run", "before", "files", "recent", "bytes")})
        else:
            _human(report)
    if failed:
        raise typer.Exit(FINDINGS)


def _human(report: PruneReport) -> None:
    for one in report.files:
        emit(f"{one_line(str(one.path))}  {_status_text(one, dry_run=report.dry_run)}")
    fates = Counter(one.status for one in report.files)
    done = "would be removed" if report.dry_run else "removed"
    kept = len(report.files) - fates["removed"]
    more = f"; {counted(kept, 'old one')} stay{'s' if kept == 1 else ''}" * bool(kept)
    emit(
        f"{counted(fates['removed'], 'file')} {done}, {size_text(report.bytes)}{more}; "
        f"{counted(report.recent, 'file')} written since {time_text(report.before, '%Y-%m-%d %H:%M')}"
    )


def _status_text(one: PrunedFile, *, dry_run: bool) -> str:
    says = "would be removed" if dry_run and one.status == "removed" else _SAYS[one.status]
    if one.status in ("failed", "foreign"):
        return f"{says}: {one_line(one.error or 'unknown')}"
    return f"{says}, {one.kind}, {size_text(one.bytes)}, last written {time_text(one.modified, '%Y-%m-%d %H:%M')}"
