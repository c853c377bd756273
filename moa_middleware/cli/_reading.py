"""
The frame of every verb that reads: what is opened, its progress, and how it ends.

Every error of a reading becomes one line for stderr and an exit code here.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._exit import CLEAN, INTERRUPTED, MISSING, UNREADABLE, USAGE, Failure
from ._format import size_text
from ._out import emit_json, note
from ._text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..read import Run

__all__ = [
    "Json",
    "MaxLineBytes",
    "NoEstimate",
    "Paths",
    "exit_on_errors",
    "folder_of_settings",
    "note_no_turns",
    "note_problems",
    "open_run",
    "parts_of",
    "progress_bar",
    "show_json",
]

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH",
        show_default=False,
        help="Files, directories, patterns, or - for stdin; else MOA_TRACE_DIR, else where traces go by default.",
    ),
]
MaxLineBytes = Annotated[
    int | None,
    typer.Option(
        "--max-line-bytes", metavar="BYTES", min=1024, show_default=False, help="Skip longer lines; 64 MiB by default."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
NoEstimate = Annotated[
    bool, typer.Option("--no-estimate", help="Only recorded costs; no estimates by list prices (extra prices).")
]

_PATIENCE = 0.5
"""Seconds that a reading may take before it says how far it is."""
_LONGEST = 4000
"""Characters of a message; a path may have nearly as many."""


@contextmanager
def exit_on_errors(verb: str) -> Iterator[None]:
    """
    End the command with a line and a code for whatever a reading may raise.

    Args:
        verb: The verb, for the line.

    Raises:
        Failure: Something was raised.
    """
    from ..errors import AmbiguousTurnError, ExtraMissingError, QueryError, ReadError, SettingsError

    try:
        yield
    except KeyboardInterrupt:
        raise Failure(f"moa {verb}: interrupted", INTERRUPTED) from None
    except ExtraMissingError as error:
        raise _failure(verb, error, MISSING) from None
    except (QueryError, AmbiguousTurnError, SettingsError) as error:
        raise _failure(verb, error, USAGE) from None
    except ReadError as error:
        raise _failure(verb, error, UNREADABLE) from None
    except OSError as error:
        raise Failure(f"moa {verb}: {one_line(error.strerror or type(error).__name__)}", UNREADABLE) from None


def _failure(verb: str, error: Exception, code: int) -> Failure:
    # A name of a file, or of a turn, may have line ends, and what stands behind them would look like ours.
    return Failure(f"moa {verb}: {one_line(str(error), _LONGEST)}", code)


def folder_of_settings(*, needed: bool = True) -> str:
    """
    Return the directory of the settings.

    Args:
        needed: It must be there.

    Raises:
        UnreadableError: It is not there.
        SettingsError: A setting is bad.
    """
    from pydantic import ValidationError

    from ..errors import SettingsError, UnreadableError
    from ..settings import Settings, describe_problem

    try:
        folder = os.fspath(Settings().trace_dir)
    except ValidationError as error:
        raise SettingsError(describe_problem(error)) from None
    if needed and not os.path.lexists(folder):
        whose = "MOA_TRACE_DIR" if os.environ.get("MOA_TRACE_DIR") else "the default, since MOA_TRACE_DIR is not set"
        raise UnreadableError(f"there are no traces: {folder} does not exist ({whose}); moa doctor says more")
    return folder


def open_run(paths: Sequence[str] | None, max_line_bytes: int | None = None, *, estimate: bool = True) -> Run:
    """
    Open what was named, or the directory of the settings.

    Args:
        paths: What was named.
        max_line_bytes: What is read of a line, `None` for the default.
        estimate: As in `read.open`.

    Raises:
        ReadError: It cannot be read.
        QueryError: The limit is too small.
        SettingsError: A setting is bad.
    """
    from .. import read

    return read.open(list(paths) if paths else folder_of_settings(), max_line_bytes=max_line_bytes, estimate=estimate)


@contextmanager
def progress_bar(run: Run) -> Iterator[Callable[[], None]]:
    """
    Say on stderr how far a reading is while it lasts, if that is a terminal and it takes long.

    Args:
        run: What is read.

    Yields:
        What takes the word away again, before something else is printed.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda: None
        return
    began = time.monotonic()
    total: list[int | None] = []
    shown = False

    def tell(done: int) -> None:
        nonlocal shown
        if time.monotonic() - began < _PATIENCE:
            return
        if not total:
            total.append(_size_of(run))
        of = f" of {size_text(total[0])}, {min(100, 100 * done // total[0])} %" if total[0] else ""
        shown = True  # first: Ctrl-C may come in the middle of the writing
        sys.stderr.write(f"\r\x1b[K{size_text(done)}{of}")
        sys.stderr.flush()

    def clear() -> None:
        nonlocal shown
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            shown = False

    run.on_progress(tell)
    try:
        yield clear
    finally:
        run.on_progress(None)
        clear()


def _size_of(run: Run) -> int | None:
    try:
        return run.size
    except OSError:
        return None  # the directory is gone, which the reading itself tells


def note_no_turns(run: Run, *, asked: bool) -> None:
    """
    Say on stderr that there are no turns.

    Args:
        run: What was read.
        asked: Whether only some were asked for.
    """
    note(f"no turns in {', '.join(map(one_line, run.names))}{' that are asked for' if asked else ''}")


def note_problems(run: Run, verb: str) -> int:
    """
    Say on stderr what the last whole reading met that is wrong.

    Returns:
        The exit code: 3 if a file could not be read, else 0.
    """
    counts = run.problem_counts
    if not counts:
        return CLEAN
    from ..read import CODES

    codes = ", ".join(f"{code} {CODES[code][0]} ({count:,})" for code, count in sorted(counts.items()))
    note(f"moa {verb}: not all could be read: {codes}; moa verify names them")
    return UNREADABLE if "E108" in counts else CLEAN


def show_json(value: Any, *, flush: bool = False) -> None:
    """Print a result of the reader as JSON on a line."""
    from ..read import to_jsonable

    emit_json(to_jsonable(value), flush=flush)


def parts_of(value: Any, *names: str) -> dict[str, Any]:
    """Return attributes of a result by their names, plain."""
    from ..read import to_jsonable

    return {name: to_jsonable(getattr(value, name)) for name in names}
