"""
The removal of old traces: files of lines with their segments, late lines, and journals of dead processes.

A file goes whole, by the time of its last write, and only under its lock: a writer that waits for
the lock sees afterwards that the file is gone, and begins another. What may still be written to by
a process that runs stays.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .._layout import lock
from .._layout.owner import is_alive
from ..errors import QueryError, UnreadableError
from ._files import LATE, OPEN, is_trace, order
from ._json import parse_json
from ._prune_mark import mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["PruneReport", "PrunedFile", "prune"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

Kind = Literal["turns", "segment", "late", "journal"]
PruneStatus = Literal["removed", "busy", "live", "elsewhere", "needed", "failed"]


@dataclass(frozen=True, slots=True)
class PrunedFile:
    """
    What became of one old file.

    Attributes:
        path: The file.
        kind: `turns`, `segment` (sealed), `late` or `journal`.
        status: `removed` (or would be); the others stay: `busy` is locked or was written to just now, `live`
            is the journal of a process that runs, `elsewhere` one of another machine or container,
            `needed` holds late calls of turns that stay, `failed` could not be removed.
        bytes: Its size.
        modified: When it was written last, in epoch seconds.
        error: Why it could not be removed.
    """

    path: Path
    kind: Kind
    status: PruneStatus
    bytes: int
    modified: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PruneReport:
    """
    What was removed, or would be.

    Attributes:
        directory: The directory.
        dry_run: Whether nothing was changed.
        before: Files written last before this were looked at, in epoch seconds.
        files: Each old file, in the order of their paths.
        recent: Files that are not old enough.
    """

    directory: Path
    dry_run: bool
    before: float
    files: tuple[PrunedFile, ...]
    recent: int

    @property
    def removed(self) -> tuple[PrunedFile, ...]:
        """The files that were removed, or would be."""
        return tuple(one for one in self.files if one.status == "removed")

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return sum(one.bytes for one in self.removed)


def parse_age(age: float | timedelta | str) -> float:
    """
    Return an age in seconds.

    Args:
        age: Seconds, a `timedelta`, or a number with `s`, `m`, `h`, `d` or `w`, for example `30d`.

    Raises:
        QueryError: It is none of these, or is negative.
    """
    found: float | None = None
    if isinstance(age, timedelta):
        found = age.total_seconds()
    elif isinstance(age, str):
        figures, unit = age.strip()[:-1], age.strip()[-1:].lower()
        try:
            found = float(figures) * _UNITS[unit]
        except (ValueError, KeyError):
            found = None
    elif not isinstance(age, bool) and isinstance(age, int | float):
        found = float(age)
    # Not a number is neither.
    if found is None or not 0 <= found < float("inf"):
        raise QueryError(f"an age is a number with s, m, h, d or w, 30d say, not {age!r}")
    return found


def prune(
    directory: str | os.PathLike[str],
    *,
    older_than: float | timedelta | str,
    dry_run: bool = False,
    elsewhere: bool = False,
    now: float | None = None,
) -> PruneReport:
    """
    Remove the files of a trace directory that were written last longer ago than an age.

    Of a session that is still written, its old sealed segments go and the rest stays. Late lines stay
    as long as a file of their session does. `.pruned` tells `verify` afterwards up to which moment no
    line is missed.

    Args:
        directory: The directory of the traces.
        older_than: Seconds, a `timedelta`, or a text as `30d`.
        dry_run: Change nothing.
        elsewhere: Take processes of other machines and containers, whose journals these are, for dead.
        now: The present, in epoch seconds; the clock's by default.

    Raises:
        UnreadableError: The directory is not there, or cannot be read.
        QueryError: The age is none.
    """
    folder = Path(directory)
    before = (time.time() if now is None else now) - parse_age(older_than)
    files: list[PrunedFile] = []
    recent = 0
    try:
        own = sorted(_traces(folder))
    except OSError as error:
        raise UnreadableError(f"{folder} cannot be read: {error.strerror}") from None
    stays: dict[str, bool] = defaultdict(bool)
    for path in own:
        stem, number = order(path.name)
        found = _file(path, "segment" if number < float("inf") else "turns", before, dry_run=dry_run)
        if found is None or found.status != "removed":
            stays[stem] = True
        recent += found is None
        files += [] if found is None else [found]
    if not dry_run and any(one.status == "removed" for one in files):
        mark(folder, before)
    for path in _below(folder / LATE):
        found = _file(path, "late", before, dry_run=dry_run, needed=stays[order(path.name)[0]])
        recent += found is None
        files += [] if found is None else [found]
    for path in _below(folder / OPEN):
        found = _file(path, "journal", before, dry_run=dry_run, elsewhere=elsewhere)
        recent += found is None
        files += [] if found is None else [found]
    return PruneReport(folder, dry_run, before, tuple(files), recent)


def _traces(folder: Path) -> Iterator[Path]:
    # A link is nobody's line; its target is not ours to judge.
    for entry in os.scandir(folder):
        if is_trace(entry.name) and entry.is_file(follow_symlinks=False):
            yield folder / entry.name


def _below(folder: Path) -> Iterable[Path]:
    if folder.is_symlink():
        return ()  # what it leads to is not of this directory
    try:
        return sorted(_traces(folder))
    except OSError:
        return ()


def _file(
    path: Path, kind: Kind, before: float, *, dry_run: bool, needed: bool = False, elsewhere: bool = False
) -> PrunedFile | None:
    """Deal with one file; `None` if it is recent, or gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unopened(path, kind, before, error)
    try:
        status = os.fstat(descriptor)
        if status.st_mtime >= before:
            return None
        size, modified = status.st_size, status.st_mtime
        if needed:
            return PrunedFile(path, kind, "needed", size, modified)
        if kind == "journal":
            alive = _writer_lives(descriptor, size)
            if alive or (alive is None and not elsewhere):
                return PrunedFile(path, kind, "live" if alive else "elsewhere", size, modified)
        if lock.acquire_at_once(descriptor) is False:
            return PrunedFile(path, kind, "busy", size, modified)
        # Under the lock: what was written while we waited is not lost.
        status = os.fstat(descriptor)
        if status.st_mtime != modified or not lock.is_at(path, status):
            return PrunedFile(path, kind, "busy", size, modified)
        if not dry_run:
            path.unlink()
        return PrunedFile(path, kind, "removed", size, modified)
    except OSError as error:
        return PrunedFile(path, kind, "failed", 0, 0.0, error.strerror)
    finally:
        lock.release(descriptor)
        os.close(descriptor)


def _unopened(path: Path, kind: Kind, before: float, error: OSError) -> PrunedFile | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    if status.st_mtime >= before:
        return None
    return PrunedFile(path, kind, "failed", status.st_size, status.st_mtime, error.strerror)


def _writer_lives(descriptor: int, size: int) -> bool | None:
    """Return True if the process of a journal runs still; `False` for one that names none."""
    if not size:
        return False
    with open(descriptor, "rb", closefd=False) as file:
        found: bool | None = False
        for line in file:
            try:
                value = parse_json(line)
            except (ValueError, RecursionError):
                continue
            process = value.get("process") if isinstance(value, dict) else None
            if isinstance(process, dict):
                found = is_alive(process)
        return found
