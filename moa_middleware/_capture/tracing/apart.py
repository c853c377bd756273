"""
Lines whose file has something foreign in its place: they go to a file of their own name.

Only in a directory that others may write to. The file has the name of the session's next segment, so that what reads
the session reads it too; it is made and not opened (`O_EXCL`), so that no other user can put one there first. This
module must not know what a line says.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from itertools import count

from ..._layout.folder import NO_LINK, kind_of
from ..._layout.shared import is_own, own_by
from ..log import log
from ..process import after_fork
from .trace_file import ForeignFileError, Receipt, append, segments

__all__ = ["append_apart", "diverted"]

_TRIES = 8
"""How often another file is taken, if that of the last try is foreign by now."""
_NAMES = 1000
"""How many names that are taken are passed over."""

_instead: dict[str, str] = {}
"""The file that is written in place of another one."""
_lines = count()


def _reset() -> None:
    global _lines  # noqa: PLW0603 - one counter a process
    _lines = count()


after_fork(_reset)


def diverted() -> int:
    """Return how many lines this process has written to a file of their own, since something foreign was in the place."""
    return int(repr(_lines).removeprefix("count(").removesuffix(")"))


def append_apart(
    path: str, line: bytes, receipt: Receipt, error: ForeignFileError, *, limit: int | None, below: bool
) -> None:
    """
    Append a line to a file next to its own.

    Args:
        path: Its own file.
        line: Ends with a newline.
        receipt: Shows, whatever is raised, whether the line is in a file.
        error: Why it cannot be its own file.
        limit: Bytes above which another file is begun.
        below: Whether it is in a directory below the trace directory.

    Raises:
        OSError: The line is refused.
    """
    for _ in range(_TRIES):
        name = _instead.get(path)
        if name is None or not _has_room(name, line, limit):
            name = _reusable(path, line, limit) or _made(path)
        if error.owner is not None and is_own(error.owner):
            # On this file system all that this user makes belongs to somebody else, as on NFS with `root_squash`: then
            # so does the file that looked foreign. What was made to find that out goes again.
            with suppress(OSError):
                if not os.stat(name).st_size:  # noqa: PTH116 - a `Path` costs more
                    os.unlink(name)  # noqa: PTH108
            append(path, line, receipt, limit=limit, below=below)
            return
        _instead[path] = name
        try:
            append(name, line, receipt, below=below)
        except ForeignFileError:
            _instead.pop(path, None)
            continue
        next(_lines)
        log("moa.file_foreign", key=path, file=path, reason=error.strerror, instead=name)
        return
    raise error


def _has_room(name: str, line: bytes, limit: int | None) -> bool:
    try:
        size = os.lstat(name).st_size
    except OSError:
        return False
    return limit is None or not size or size + len(line) <= limit


def _reusable(path: str, line: bytes, limit: int | None) -> str | None:
    """Return the last segment of this user's, which another process may have begun for the same reason."""
    for name in reversed(segments(path)):
        with suppress(OSError):
            status = os.lstat(name)
            if kind_of(status) is None and is_own(status) and status.st_nlink == 1:
                return name if _has_room(name, line, limit) else None
    return None


def _made(path: str) -> str:
    """
    Make the next segment, and return its path.

    Raises:
        OSError: The directory refuses it.
    """
    stem = path.removesuffix(".jsonl")
    last = segments(path)
    first = int(last[-1].rpartition("~s")[2].removesuffix(".jsonl")) + 1 if last else 1
    for number in range(first, first + _NAMES):
        name = f"{stem}~s{number}.jsonl"
        with suppress(FileExistsError):
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o600)
            own_by(os.fstat(descriptor))
            os.close(descriptor)
            return name
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), f"{stem}~s{first}.jsonl")
