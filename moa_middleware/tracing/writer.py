"""
Appending lines: one file a session, one `write` a line.

A file is opened for each line, since a kept descriptor writes into files that were rotated away.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from pathlib import Path
from typing import Protocol

__all__ = ["FileWriter", "Writer", "file_name"]

_UNKNOWN = "unknown-session"
_LONGEST = 100
_DEVICES = frozenset({"con", "prn", "aux", "nul"} | {f"com{n}" for n in range(10)} | {f"lpt{n}" for n in range(10)})
_FLAGS = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


class Writer(Protocol):
    """
    Where lines go: `configure(writer=…)` takes any object with this method.

    A writer that also has `write_late` gets the lines of late calls there.
    """

    def write(self, session_id: str | None, line: bytes) -> None:
        """
        Keep one line.

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
    return f"{kept}.jsonl"


class FileWriter:
    """
    Appends to `<trace_dir>/<session>.jsonl`; late calls go to `late/`, in a file of the same name.

    Args:
        trace_dir: The directory; it is made, with mode 0700, at the first line.
    """

    def __init__(self, trace_dir: os.PathLike[str] | str) -> None:
        self.trace_dir = Path(trace_dir)

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
        self._append(self.trace_dir, session_id, line)

    def write_late(self, session_id: str | None, line: bytes) -> None:
        """
        Append the line of a late call.

        Raises:
            OSError: The directory or the disk refuses it.
        """
        self._append(self.trace_dir / "late", session_id, line)

    def _append(self, directory: Path, session_id: str | None, line: bytes) -> None:
        path = directory / file_name(session_id)
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except FileNotFoundError:
            for folder in (*reversed(directory.parents), directory):
                # Each level that is missing is ours; one that is there keeps its mode.
                if not folder.exists():
                    folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, _FLAGS, 0o600)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
