"""What `moa doctor` says of who may read and write a trace directory, and of what others have put there. It changes nothing."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from .._layout.folder import is_of_another, kind_of, why_not_entered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["mode_notes"]

_OTHERS_WRITE = 0o022
_OTHERS = 0o077


def mode_notes(folder: Path) -> Iterator[str]:
    """
    Yield a note for each directory that others may write to or read, each that is a link, and for files of others.

    Args:
        folder: The trace directory, which is there.

    Raises:
        OSError: It cannot be looked at.
    """
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _OTHERS_WRITE:
        yield (
            f"{folder} can be written by other users (mode {mode:04o}): they may remove traces, and put files in "
            f"their place; chmod 700 closes it"
        )
        yield from _foreign(folder)
    elif mode & _OTHERS:
        yield f"{folder} is open to other users (mode {mode:04o}); chmod 700 closes it"
    for name, does in (("late", "late calls go to their session's file"), ("open", "no journal is kept or recovered")):
        path = folder / name
        try:
            status = path.lstat()
        except OSError:
            continue
        reason, mode = why_not_entered(status), stat.S_IMODE(status.st_mode)
        if reason is not None:
            yield f"{path} is not a directory, {reason}: {does}; remove it"
        elif mode & _OTHERS_WRITE:
            yield f"{path} can be written by other users (mode {mode:04o}); chmod 700 closes it"


def _foreign(folder: Path) -> Iterator[str]:
    """Say how many files are not written into."""
    foreign = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.endswith(".jsonl"):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # it is gone
            foreign += kind_of(status) is not None or is_of_another(status) or status.st_nlink > 1
    if foreign:
        yield (
            f"{folder} has {foreign} file{'s' if foreign > 1 else ''} of other users, links or the like: nothing is "
            f"written into {'them' if foreign > 1 else 'it'}; lines go to files of their own (moa.file_foreign in the log)"
        )
