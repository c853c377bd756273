"""
Directories that other users may write to, and what they may have put there in place of a file.

In such a directory a file is written into only if it is this user's, under this one name: another user may have made
it readable for everybody, or have linked it to a file of this user's. Elsewhere nothing is asked: behind a bind
mount or NFS files have another owner, and a backup by hard links gives them a second name, and no line may be lost
for that. It must not know what is in a file, or where a line goes instead.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .folder import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_own", "others_may_write", "own_by", "user", "why_foreign", "why_unopened"]

_OTHERS = 0o022
"""Group and world may write; the sticky bit keeps others from removing a file, and not from putting one there."""
_TAKEN = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EMLINK})
"""Errors of opening a file in whose place there is something else, or another user's."""

user: Callable[[], int] = getattr(os, "geteuid", lambda: 0)
"""Return the number of the user of this process; 0 where files have no such owner."""
_known: set[tuple[int, int, int]] = set()
"""Device, user and owner: whose a file is there that this user has made, where it is another's number (NFS)."""


def others_may_write(folder: os.PathLike[str] | str) -> bool:
    """Return True if group or world may write to a directory; modes say nothing of that on Windows."""
    if not hasattr(os, "geteuid"):
        return False
    try:
        return bool(os.stat(folder).st_mode & _OTHERS)  # noqa: PTH116 - a `Path` costs more
    except OSError:
        return False


def _is_shared(path: str, *, below: bool) -> bool:
    """Return True if others may write to the directory of a file, or to the trace directory above that."""
    folder = Path(path).parent
    return others_may_write(folder) or (below and others_may_write(folder.parent))


def is_own(status: os.stat_result) -> bool:
    """Return True if a file is this user's."""
    return status.st_uid == user() or (status.st_dev, user(), status.st_uid) in _known


def own_by(made: os.stat_result) -> None:
    """
    Remember whose the files are that this user makes.

    Args:
        made: The status of a file that was made just now, and was not there before.
    """
    if made.st_uid != user():
        _known.add((made.st_dev, user(), made.st_uid))


def why_foreign(path: str, status: os.stat_result, *, below: bool = False) -> str | None:
    """
    Return why a file must not be written into, in words; `None` if it may.

    Args:
        path: The file.
        status: Of the file that is open, or of what is at the path.
        below: Whether it is in a directory below the trace directory.
    """
    kind = kind_of(status)
    if kind is None and is_own(status) and status.st_nlink <= 1:
        return None
    if not _is_shared(path, below=below):
        return None
    if kind is not None:
        return f"it is {kind}"
    return "it belongs to another user" if not is_own(status) else "it has a second name (hard link)"


def why_unopened(path: str, error: OSError, *, below: bool = False) -> str | None:
    """Return the same of a file that could not be opened; `None` if that has another reason."""
    if error.errno not in _TAKEN:
        return None
    try:
        return why_foreign(path, os.lstat(path), below=below)
    except OSError:
        return None
