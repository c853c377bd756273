"""
Where lines go: one file a session, or any object of the user's.

A file is opened for each line, since a kept descriptor writes into files that were rotated away.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ._append import Receipt, append

__all__ = ["FileWriter", "Writer", "file_name"]

_UNKNOWN = "unknown-session"
_LONGEST = 100
_SESSIONS = 100
"""Of how many sessions the paths are kept."""
_DEVICES = frozenset({"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"})


class Writer(Protocol):
    """
    Where lines go: `configure(writer=…)` takes any object with this method.

    A writer that also has `write_late` gets the lines of late calls there.
    """

    def write(self, session_id: str | None, line: bytes) -> None:
        """
        Keep one line.

        A line for which it raises an exception waits, and is given to it again later. If it is
        interrupted (Ctrl-C), it gets the same line once more at once, since nobody else can know
        whether it had kept it.

        Args:
            session_id: The turn's session, `None` if it has none.
            line: One JSON object, UTF-8, its newline included.
        """


def file_name(session_id: str | None) -> str:
    """
    Return the name of a session's file, without a directory: no two sessions share one.

    Letters, digits and `-_.` stay, as in the seed's traces; anything else becomes `_`. An id that
    was changed, is long, begins or ends with a dot or is the name of a Windows device gets `~` and
    8 hex digits of its SHA-256.
    """
    if session_id is None:
        return f"{_UNKNOWN}.jsonl"
    normal = unicodedata.normalize("NFC", session_id)
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in normal)
    changed = (
        kept != session_id
        or not kept
        or len(kept) > _LONGEST
        or len(kept.encode()) > 2 * _LONGEST
        or kept.startswith(".")
        or kept.endswith(".")
        or kept.partition(".")[0].casefold() in _DEVICES
        or kept == _UNKNOWN
    )
    if changed:
        digest = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        short = kept.strip(".")[:_LONGEST]
        while len(short.encode()) > 2 * _LONGEST:
            short = short[:-1]
        kept = f"{short}~{digest}"
    try:
        os.fsencode(kept)
    except UnicodeEncodeError:  # in the locale C, say
        digest = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        kept = f"{''.join(c if c.isascii() else '_' for c in kept.partition('~')[0])}~{digest}"
    return f"{kept}.jsonl"


class FileWriter:
    """
    Appends to `<trace_dir>/<session>.jsonl`; late calls go to `late/`, in a file of the same name.

    Args:
        trace_dir: The directory; it is made, with mode 0700, at the first line. A relative one is
            below the working directory of this moment, also if that changes later.
        max_file_bytes: A file that would grow above it is renamed first, to
            `<session>~s<number>.jsonl`; `None` lets files grow.
    """

    def __init__(self, trace_dir: os.PathLike[str] | str, *, max_file_bytes: int | None = None) -> None:
        self.trace_dir = Path(trace_dir)
        with suppress(OSError):  # the working directory may be gone
            self.trace_dir = self.trace_dir.absolute()
        self.max_file_bytes = max_file_bytes
        self._paths: dict[tuple[Path, str | None, bool], str] = {}
        """Where the lines of sessions go: to join a `Path` costs as much as to open a file."""

    def __repr__(self) -> str:
        """Name the directory."""
        return f"FileWriter({str(self.trace_dir)!r})"

    def path_of(self, session_id: str | None) -> Path:
        """Return the file of a session."""
        return self.trace_dir / file_name(session_id)

    def write(self, session_id: str | None, line: bytes) -> None:
        """
        Append one line.

        Raises:
            OSError: The directory or the disk refuses it.
        """
        self.append(session_id, line, Receipt())

    def write_late(self, session_id: str | None, line: bytes) -> None:
        """
        Append the line of a late call.

        Raises:
            OSError: The directory or the disk refuses it.
        """
        self.append(session_id, line, Receipt(), late=True)

    def append(self, session_id: str | None, line: bytes, receipt: Receipt, *, late: bool = False) -> None:
        """
        Append one line.

        Args:
            session_id: Names the file.
            line: Ends with a newline.
            receipt: Tells, whatever is raised, whether the line is in the file.
            late: Whether it is that of a late call.

        Raises:
            OSError: The directory or the disk refuses it.
        """
        place = self.trace_dir, session_id, late
        path = self._paths.get(place)
        if path is None:
            directory = self.trace_dir / "late" if late else self.trace_dir
            if len(self._paths) >= _SESSIONS:
                self._paths.clear()
            path = self._paths[place] = os.fspath(directory / file_name(session_id))
        try:
            append(path, line, receipt, limit=self.max_file_bytes)
        except FileNotFoundError:
            make_directory(Path(path).parent)
            append(path, line, receipt, limit=self.max_file_bytes)


def make_directory(directory: Path) -> None:
    """
    Make a directory and those above it, for this user alone; one that is there keeps its mode.

    Raises:
        OSError: It cannot be made.
    """
    for folder in (*reversed(directory.parents), directory):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
