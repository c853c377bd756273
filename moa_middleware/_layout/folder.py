"""
A trace directory that others may write to: its files are reached without following a link, and never waited for.

A user who may write to a directory can put a link, a pipe or a device in the place of a file, at any moment. So
a directory is opened once, and its entries are opened and removed relative to that descriptor. It must not
know what is in a file.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["NO_LINK", "Folder", "is_of_another", "kind_of", "open_regular", "why_not_entered"]

NO_WAIT = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags for a file in whose place there may be a pipe, which would be waited for; files know no such wait."""
NO_LINK = NO_WAIT | getattr(os, "O_NOFOLLOW", 0)
"""The same for one in whose place there may be a link."""
_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_BY_DESCRIPTOR = {os.open, os.stat, os.unlink, os.rename} <= os.supports_dir_fd and os.scandir in os.supports_fd
"""False on Windows, where paths are all there is, and few may make links."""
_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of(status: os.stat_result) -> str | None:
    """Return what something is that is not a regular file, in words; `None` for a regular file."""
    if stat.S_ISREG(status.st_mode):
        return None
    return next((words for is_one, words in _KINDS if is_one(status.st_mode)), "not a regular file")


def why_not_entered(status: os.stat_result) -> str | None:
    """
    Return why a directory below a trace directory is not entered, in words; `None` if it is.

    The one rule for links there: they lead out of the directory that was named, and what they lead to is not of it.
    """
    kind = kind_of(status)
    return None if kind == "a directory" else f"it is {kind or 'a file'}"


def is_of_another(status: os.stat_result) -> bool:
    """Return True if another user owns a file; what cannot be read is then theirs, and no fault."""
    return hasattr(os, "geteuid") and status.st_uid != os.geteuid()


def open_regular(path: os.PathLike[str] | str, *, follow: bool = False, buffering: int = -1) -> IO[bytes]:
    """
    Open a regular file to read it.

    Args:
        path: The file.
        follow: Open what a link leads to; else a link is refused.
        buffering: As for `open`.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | (NO_WAIT if follow else NO_LINK))
    return cast("IO[bytes]", os.fdopen(_regular(descriptor), "rb", buffering))


def _regular(descriptor: int) -> int:
    """Return the descriptor of a regular file; close any other."""
    try:
        kind = kind_of(os.fstat(descriptor))
        if kind is not None:
            raise OSError(errno.EISDIR if kind == "a directory" else errno.EINVAL, f"it is {kind}")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Folder:
    """
    One directory, held open; use it in a `with`.

    Args:
        path: The directory. A link is followed: it is what was named.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: os.PathLike[str] | str, *, _descriptor: int | None = None) -> None:
        self.path = Path(path)
        self._descriptor = _descriptor
        if _descriptor is None and _BY_DESCRIPTOR:
            self._descriptor = os.open(path, os.O_RDONLY | _FOLDER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _place(self, name: str) -> tuple[Any, dict[str, Any]]:
        """Return how a name is given to a function of `os`."""
        if self._descriptor is None:
            return self.path / name, {}
        return name, {"dir_fd": self._descriptor}

    def below(self, name: str) -> Folder:
        """
        Open a directory in this one.

        Raises:
            OSError: It cannot be opened, or is a link.
        """
        path, where = self._place(name)
        reason = why_not_entered(self.status(name))
        if reason is not None:
            raise NotADirectoryError(errno.ENOTDIR, reason)
        if self._descriptor is None:
            return Folder(self.path / name)
        return Folder(self.path / name, _descriptor=os.open(path, os.O_RDONLY | _FOLDER | NO_LINK, **where))

    def names(self) -> list[str]:
        """
        Return the names in it, sorted.

        Raises:
            OSError: It cannot be read.
        """
        with os.scandir(self.path if self._descriptor is None else self._descriptor) as entries:
            return sorted(entry.name for entry in entries)

    def status(self, name: str) -> os.stat_result:
        """
        Return the status of an entry itself, not of what it links to.

        Raises:
            OSError: There is none.
        """
        path, where = self._place(name)
        return os.stat(path, follow_symlinks=False, **where)  # noqa: PTH116 - `Path` knows no descriptor

    def open(self, name: str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
        """
        Open a regular file, and return its descriptor.

        Raises:
            OSError: It cannot be opened, or is not a regular file.
        """
        path, where = self._place(name)
        return _regular(os.open(path, flags | NO_LINK, mode, **where))

    def is_at(self, name: str, status: os.stat_result) -> bool:
        """Return True if a name is still that of the file that is open."""
        try:
            return os.path.samestat(self.status(name), status)
        except OSError:
            return False

    def remove(self, name: str) -> None:
        """
        Remove a file; a link is removed itself.

        Raises:
            OSError: It cannot be removed.
        """
        path, where = self._place(name)
        os.unlink(path, **where)

    def write(self, name: str, data: bytes, new: str) -> None:
        """
        Put a file of some bytes in the place of another, whole or not at all.

        Args:
            name: The file.
            data: The bytes.
            new: A name that no file has; it is made, and renamed. One that is there is not written into.

        Raises:
            OSError: It cannot be written.
        """
        descriptor = self.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
            source, where = self._place(new)
            target, _ = self._place(name)
            os.replace(source, target, src_dir_fd=where.get("dir_fd"), dst_dir_fd=where.get("dir_fd"))
        except BaseException:
            with suppress(OSError):
                self.remove(new)
            raise
