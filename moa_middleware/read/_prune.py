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
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .._layout import lock
from .._layout.folder import Folder, is_of_another, kind_of
from .._layout.names import is_turn_id
from .._layout.owner import is_alive
from ..errors import QueryError, UnreadableError
from ._files import LATE, OPEN, is_trace, order
from ._json import parse_json
from ._own import why_foreign
from ._prune_mark import NAME, mark

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

__all__ = ["PruneReport", "PrunedFile", "prune"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

Kind = Literal["turns", "segment", "late", "journal", "mark"]
PruneStatus = Literal["removed", "busy", "live", "elsewhere", "needed", "foreign", "failed"]
_BELOW: dict[str, Kind] = {LATE: "late", OPEN: "journal"}


@dataclass(frozen=True, slots=True)
class PrunedFile:
    """
    What became of one old file.

    Attributes:
        path: The file.
        kind: `turns`, `segment` (sealed), `late` or `journal`, by its place and name; `mark` is `.pruned`.
        status: `removed` (or would be); the others stay: `busy` is locked or was written to just now, `live`
            is the journal of a process that runs, `elsewhere` one of another machine or container,
            `needed` holds late calls of turns that stay, `foreign` is not a file of this library, `failed` could
            not be removed.
        bytes: Its size.
        modified: When it was written last, in epoch seconds.
        error: Why it could not be removed, or is foreign.
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
    as long as a file of their session does. A file goes only if its first line is one of a trace: what else has
    such a name, and what links lead to, is `foreign` and stays. `.pruned` says to `verify` afterwards up to which
    moment no line is missed.

    Args:
        directory: The directory of the traces.
        older_than: Seconds, a `timedelta`, or a text as `30d`.
        dry_run: Change nothing.
        elsewhere: Take processes of other machines and containers, whose journals these are, for dead.
        now: The present, in epoch seconds; the clock's by default.

    Raises:
        UnreadableError: The directory is not there, or cannot be read.
        QueryError: The age is not one.
    """
    folder = Path(directory)
    sweep = _Sweep((time.time() if now is None else now) - parse_age(older_than), dry_run=dry_run, elsewhere=elsewhere)
    try:
        top = Folder(folder)
        with top:
            names = top.names()
            try:
                sweep.sessions(top, names)
                for name, kind in _BELOW.items():
                    if name in names:
                        sweep.below(top, name, kind)
            finally:
                # Late lines may go without a session's file, and an interrupt may come between two files.
                sweep.leave_mark(top)
    except OSError as error:
        raise UnreadableError(f"{folder} cannot be read: {error.strerror}") from None
    return PruneReport(folder, dry_run, sweep.before, tuple(sweep.files), sweep.recent)


class _Sweep:
    """One removal of old files: what became of them so far."""

    def __init__(self, before: float, *, dry_run: bool, elsewhere: bool) -> None:
        self.before = before
        self.files: list[PrunedFile] = []
        self.recent = 0
        self._dry_run = dry_run
        self._elsewhere = elsewhere
        self._stays: dict[str, bool] = defaultdict(bool)
        """By session, whether a file of it stays."""

    def sessions(self, folder: Folder, names: Iterable[str]) -> None:
        """Deal with the sessions and their segments."""
        for name in filter(is_trace, names):
            stem, number = order(name)
            if self._file(folder, name, "segment" if number < float("inf") else "turns") != "removed":
                self._stays[stem] = True

    def leave_mark(self, folder: Folder) -> None:
        """Write down until when lines may be missing, if lines were removed; journals have none of the chain."""
        if not self._dry_run and any(one.status == "removed" and one.kind != "journal" for one in self.files):
            error = mark(folder, self.before)
            if error is not None:
                self.files.append(PrunedFile(folder.path / NAME, "mark", "foreign", 0, 0.0, error))

    def below(self, folder: Folder, name: str, kind: Kind) -> None:
        """Deal with the files of a directory below; a link there leads out of the directory, and is not followed."""
        try:
            with folder.below(name) as inner:
                for one in filter(is_trace, inner.names()):
                    self._file(inner, one, kind, needed=kind == "late" and self._stays[order(one)[0]])
        except NotADirectoryError as error:
            self.files.append(PrunedFile(folder.path / name, kind, "foreign", 0, 0.0, error.strerror))
        except OSError as error:
            self.files.append(PrunedFile(folder.path / name, kind, "failed", 0, 0.0, error.strerror))

    def _file(self, folder: Folder, name: str, kind: Kind, *, needed: bool = False) -> PruneStatus | None:
        """Deal with one file; return what became of it, `None` if it is recent, or gone."""
        path = folder.path / name
        try:
            status = folder.status(name)
        except OSError:
            return None
        if status.st_mtime >= self.before:
            self.recent += 1
            return None
        size, modified = status.st_size, status.st_mtime
        try:
            fate, error = self._judged(folder, name, kind, needed=needed, status=status)
        except FileNotFoundError:
            return None
        except OSError as wrong:
            hidden = isinstance(wrong, PermissionError) and is_of_another(status)
            fate, error = "foreign" if hidden else "failed", wrong.strerror
        if fate is not None:
            self.files.append(PrunedFile(path, kind, fate, size, modified, error))
        return fate

    def _judged(
        self, folder: Folder, name: str, kind: Kind, *, needed: bool, status: os.stat_result
    ) -> tuple[PruneStatus | None, str | None]:
        """
        Remove a file if that may be; return what became of it, and why.

        Raises:
            OSError: It cannot be opened, or not be removed.
        """
        odd = kind_of(status)
        if odd is not None:
            return "foreign", f"it is {odd}"
        descriptor = folder.open(name)
        try:
            opened = os.fstat(descriptor)
            with open(descriptor, "rb", closefd=False) as file:
                error = _why_foreign(file, name, kind, opened)
            if error is not None:
                return "foreign", error
            if needed:
                return "needed", None
            if kind == "journal":
                alive = _writer_lives(descriptor, opened.st_size)
                if alive or (alive is None and not self._elsewhere):
                    return ("live" if alive else "elsewhere"), None
            if lock.acquire_at_once(descriptor) is False:
                return "busy", None
            # Under the lock: what was written while we waited is not lost.
            now = os.fstat(descriptor)
            if now.st_mtime != status.st_mtime or not folder.is_at(name, now):
                return "busy", None
            if not self._dry_run:
                folder.remove(name)
                _put_back(folder, name, descriptor, now.st_size)
            return "removed", None
        finally:
            lock.release(descriptor)
            os.close(descriptor)


def _why_foreign(file: IO[bytes], name: str, kind: Kind, status: os.stat_result) -> str | None:
    """Return why a file is not one of ours, `None` if it is."""
    if kind != "journal":
        return why_foreign(file, ("turn", "late"))
    stem = order(name)[0]
    if not status.st_size and is_turn_id(stem):
        return None  # its process was killed before its first line
    return why_foreign(file, ("journal", "turn"), stem)


def _made(folder: Folder, name: str) -> int:
    """
    Make a file of a name, or else one of a segment of its session, and return its descriptor.

    Its writer may find the file at once: what is written here is appended, or it would overwrite that line.
    """
    for number in count():
        with suppress(FileExistsError):
            one = f"{order(name)[0]}~s{number}.jsonl" if number else name
            return folder.open(one, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    raise AssertionError  # pragma: no cover - it counts for ever


def _put_back(folder: Folder, name: str, descriptor: int, size: int) -> None:
    """
    Write what somebody without the lock has appended to a file while it was removed, into a new one.

    A writer that cannot wait for the lock looks afterwards whether the file is still there, and writes again if it is
    not (`_capture/tracing/trace_file.py`). One that looked just before the removal has written before it, so its
    line is found here.

    Raises:
        OSError: It cannot be written.
    """
    rest = os.fstat(descriptor).st_size - size
    if rest <= 0:
        return
    data = memoryview(os.pread(descriptor, rest, size))
    new = _made(folder, name)
    try:
        while data:
            data = data[os.write(new, data) :]
    finally:
        os.close(new)


def _writer_lives(descriptor: int, size: int) -> bool | None:
    """Return True if the process of a journal runs still; `False` for one that names none."""
    if not size:
        return False
    os.lseek(descriptor, 0, os.SEEK_SET)
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
