"""
`moa recover`: the turns of processes that died, from what they had written down by then.

It says which turns and how many calls, never what they hold.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from ._exit import FINDINGS, UNREADABLE, USAGE, Failure
from ._out import emit, emit_json
from ._text import one_line
from ._verbs import VERBS

if TYPE_CHECKING:
    from .._capture.tracing.recover import RecoveredJournal
    from ..settings import Settings

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_SAYS = {
    "recovered": "recovered",
    "written": "removed, its turn is written",
    "empty": "removed, it is empty",
    "live": "left alone, its process runs",
    "elsewhere": "left alone, its process is of another machine or container: see --elsewhere",
    "new": "left alone, it is empty and new",
    "busy": "left alone, it is locked",
    "foreign": "left alone, it is not a journal",
    "unreadable": "cannot be read",
    "failed": "could not be recovered",
}
_WOULD_SAY = {
    **_SAYS,
    "recovered": "would be recovered",
    "written": "would be removed, its turn is written",
    "empty": "would be removed, it is empty",
}
_QUIET = frozenset({"live", "new", "busy", "written", "empty", "foreign"})
"""What is as it should be, or not ours: a nightly run must not raise an alarm for a file that another user has put there."""


@app.command(help=VERBS["recover"])
def recover(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", show_default=False, help="The traces; else MOA_TRACE_DIR.")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    elsewhere: Annotated[
        bool,
        typer.Option("--elsewhere", help="Also those of other machines and containers, if their processes have ended."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for all of it.")] = False,
) -> None:
    """Recover, and end with 1 if a turn was recovered, or a journal is left that needs a look."""
    from .._capture.recorder import proof_of
    from .._capture.tracing.recover import recover as recover_all
    from .._capture.tracing.writer import FileWriter

    settings = _settings()
    folder = directory if directory is not None else settings.trace_dir
    if not folder.is_dir() and (directory is not None or "trace_dir" in settings.model_fields_set):
        whose = "" if directory is not None else " (MOA_TRACE_DIR)"
        raise Failure(f"moa recover: {one_line(str(folder))} is no directory{whose}", UNREADABLE)
    found: list[RecoveredJournal] = []
    try:
        writer = FileWriter(folder, max_file_bytes=settings.max_file_bytes)
        for finding in recover_all(writer, dry_run=dry_run, elsewhere=elsewhere, proof=proof_of(settings, writer)):
            found.append(finding)
            if not as_json:
                emit(_finding_text(finding, dry_run=dry_run))
    except OSError as error:
        raise Failure(f"moa recover: {one_line(str(folder))}: {error.strerror}", UNREADABLE) from None
    if as_json:
        emit_json(_summary(found, folder, dry_run=dry_run))
    elif not found:
        emit(f"nothing to recover in {one_line(str(folder))}")
    if any(finding.what not in _QUIET for finding in found):
        raise typer.Exit(FINDINGS)


def _settings() -> Settings:
    from pydantic import ValidationError

    from ..settings import Settings, describe_problem

    try:
        return Settings()
    except ValidationError as error:
        raise Failure(f"moa recover: {describe_problem(error)}", USAGE) from None


def _finding_text(finding: RecoveredJournal, *, dry_run: bool) -> str:
    name = one_line(finding.path.name.removesuffix(".jsonl"))
    says = (_WOULD_SAY if dry_run else _SAYS)[finding.what]
    if finding.what == "recovered":
        says += f", {finding.calls} call{'' if finding.calls == 1 else 's'}"
    return f"{name}  {says}{f': {finding.error}' if finding.error else ''}"


def _summary(found: list[RecoveredJournal], folder: Path, *, dry_run: bool) -> dict[str, object]:
    return {
        "directory": str(folder),
        "dry_run": dry_run,
        "counts": Counter(finding.what for finding in found),
        "journals": [
            {
                "turn_id": finding.path.name.removesuffix(".jsonl"),
                "what": finding.what,
                "calls": finding.calls,
                "error": finding.error,
            }
            for finding in found
        ],
    }
