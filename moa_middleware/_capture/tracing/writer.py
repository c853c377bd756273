"""
Where lines go: one file a session, or any object of the user's.

A file is opened for each line, since a kept descriptor writes into files that were rotated away.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ..._layout.folder import why_not_entered
from ..._layout.names import session_stem
from ..._layout.shared import others_may_write
from ..log import log
from .apart import append_apart
from .trace_file import ForeignFileError, Receipt, append

__all__ = ["FileWriter", "Writer", "file_name"]

_SESSIONS = 100
"""Of how many sessions the paths are kept."""


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
    """Return the name of a session's file, without a directory: no two sessions share one. See `session_stem`."""
    return f"{session_stem(session_id)}.jsonl"


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
            receipt: Shows, whatever is raised, whether the line is in the file.
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
        reason = why_closed(path) if late else None
        if reason is None:
            try:
                try:
                    append_making(path, line, receipt, limit=self.max_file_bytes, below=late)
                except ForeignFileError as error:
                    append_apart(path, line, receipt, error, limit=self.max_file_bytes, below=late)
            except PermissionError as error:
                if not late or not others_may_write(self.trace_dir):
                    raise
                reason = error.strerror  # another user has made the directory
            else:
                return
        # Among the turns a late line is read as well.
        log("moa.file_foreign", key="late", file=os.path.dirname(path), reason=reason)  # noqa: PTH120
        self.append(session_id, line, receipt)


def why_closed(path: str) -> str | None:
    """
    Return why nothing is written below the directory of a path, in words; `None` if it is.

    A link would lead out of the trace directory. Something else in its place is another user's work only where others
    may write; elsewhere the lines wait until it is gone.
    """
    folder = os.path.dirname(path)  # noqa: PTH120 - a `Path` costs more
    try:
        status = os.lstat(folder)
    except OSError:
        return None
    reason = why_not_entered(status)
    if reason is None or stat.S_ISLNK(status.st_mode) or others_may_write(os.path.dirname(folder)):  # noqa: PTH120
        return reason
    return None


def append_making(path: str, line: bytes, receipt: Receipt, *, limit: int | None = None, below: bool = False) -> None:
    """Append as `append` does; make the directory and those above it, for this user alone, if they are not there."""
    try:
        append(path, line, receipt, limit=limit, below=below)
    except FileNotFoundError:
        for folder in reversed(Path(path).parents):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        append(path, line, receipt, limit=limit, below=below)
