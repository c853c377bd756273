"""
One line appended to one file: whole, once, and never at the cost of another line.

The file is opened anew for each line. Under its lock a torn tail is closed by a newline first;
without the lock each line brings its own. A line is one `write`; nothing is ever truncated, since
somebody without the lock may have appended behind it. This module must not know what a line says,
or what becomes of one that is refused.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..._layout.lock import acquire, acquire_at_once, gave_up, is_at, patience, release
from ..._layout.shared import user, why_foreign, why_unopened
from ..process import after_fork

__all__ = ["ForeignFileError", "Receipt", "append", "segments"]

_FLAGS = (
    os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe in the file's place must not hold us; files know no such wait
    | getattr(os, "O_BINARY", 0)
)
_LAST = 7
"""How often a file is opened again that is sealed, renamed or deleted meanwhile."""
_PIECES = 4
"""How often a line is begun that others write into."""

_pop: Any = list.pop
_opened: dict[int, list[int]] = {}
"""The descriptor of each append that is under way, by the identity of its list."""


def _close_copies() -> None:
    """Close, in a forked child, what its parent is writing: a copy would keep the parent's lock if that dies."""
    for files in list(_opened.values()):
        while files:
            with suppress(OSError):
                os.close(files.pop())
    _opened.clear()


after_fork(_close_copies)


class ForeignFileError(OSError):
    """
    Others may write to the directory, and what is in the file's place is not this user's.

    Attributes:
        owner: The status of the file, if it is foreign by its owner alone.
    """

    def __init__(self, path: str, reason: str, status: os.stat_result | None = None) -> None:
        super().__init__(errno.EPERM, reason, path)
        by_owner = status is not None and status.st_nlink == 1 and stat.S_ISREG(status.st_mode)
        self.owner = status if by_owner else None


class Receipt:
    """
    What is known of the writing of one line, at each moment.

    An interrupt (Ctrl-C) runs a signal handler between two instructions of the interpreter, so also
    after `os.write` has returned and before `n = os.write(…)` has stored the number. Then nobody
    knows whether the line is in the file: to write it again might double it, not to write it might
    lose it. `results.extend(map(os.write, …))` is one instruction: the loop runs in
    C, where no handler runs, and a result is in the list as soon as the call returns. The tests
    interrupt at each instruction (`test_an_interrupt_anywhere_in_an_append_writes_the_line_once`).
    """

    wanted: int | None = None
    """Bytes to be written; `None` if the results are no numbers of bytes."""
    start: int | None = None
    """Where the line begins in the file, if that is known."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.closed: list[None] = []
        """Has one entry once the file is closed, in one step like the results."""

    @property
    def whole(self) -> bool:
        """Return True if the line is written, and its file was closed without an error."""
        results = self.results
        return bool(results) and (self.wanted is None or (bool(self.closed) and results == [self.wanted]))


def append(path: str, line: bytes, receipt: Receipt, *, limit: int | None = None, below: bool = False) -> None:
    """
    Append one line to a file.

    An interrupt goes on once the line is written, if that can be done; the receipt shows it.

    Args:
        path: The file; its directory exists.
        line: Ends with a newline.
        receipt: Shows, whatever is raised, whether the line is in the file.
        limit: Bytes above which the file is sealed, and another begun.
        below: Whether it is in a directory below the trace directory, which others may write to then.

    Raises:
        ForeignFileError: Something that is not this user's is in the file's place.
        OSError: The line is refused; the file may contain a part of it, as a torn line.
    """
    files: list[int] = []
    try:
        _append(path, files, line, receipt, wait=True, limit=limit, below=below)
    except Exception:
        raise
    except BaseException:
        with suppress(Exception):
            _release(files, receipt)
            if not receipt.whole:
                _append(path, files, line, receipt, wait=False, limit=limit, below=below)
        raise


def _append(
    path: str, files: list[int], line: bytes, receipt: Receipt, *, wait: bool, limit: int | None, below: bool
) -> None:
    deadline: float | None = None
    number = 0
    for opening in range(_LAST + 1):
        # What an earlier opening has done does not count: its file is gone, or its closing raised an error.
        receipt.results, receipt.closed = [], []
        try:
            # Entered before the file is opened: a child that is forked at any moment from here on finds the
            # descriptor and closes its copy. Otherwise the child would share the parent's lock, which `flock` gives
            # to the open file and not to the process, and hold it after the parent has died
            # (`test_a_forked_child_never_keeps_the_lock`).
            _opened[id(files)] = files
            _open(path, files, below=below)
            held = acquire_at_once(files[0])
            if held is False:
                seconds = patience(path) if wait else 0.0
                # One deadline for all openings: files that are sealed again and again by others must not add up to a
                # longer wait. After a wait in vain the line is written without the lock, behind a newline of its own;
                # the file is then not waited for again for some seconds
                # (`test_a_lock_that_hangs_costs_a_quarter_of_a_second_once`).
                deadline = deadline or time.monotonic() + seconds
                held = acquire(files[0], deadline)
                if held is False and seconds:
                    gave_up(path)
            status = os.fstat(files[0])
            # Only then is the directory worth a look; on the path of every line, so no function of ours is called.
            odd = status.st_uid != user() or status.st_nlink > 1 or not stat.S_ISREG(status.st_mode)
            if odd and (reason := why_foreign(path, status, below=below)):
                raise ForeignFileError(path, reason, status)
            if held and opening < _LAST:
                # The file may have been sealed, renamed or deleted since it was opened. Where the lock was free
                # at once and nobody seals, that is a few microseconds: one that was deleted has no link left,
                # one that was renamed gets the line, as if that had been written first. It saves an `lstat`.
                doubtful = deadline is not None or limit is not None or not status.st_nlink
                if doubtful and not is_at(path, status):
                    continue
                size = status.st_size
                if limit is not None and size and size + len(line) > limit and _seal(path):
                    continue
            elif not held and deadline is not None and opening < _LAST and not is_at(path, status):
                continue  # it was waited for in vain, and is gone
            _write(files, line, receipt, status, held=held is True)
            if not held and _was_removed(path, files, status):
                # `moa prune` holds the lock while it removes a file, and this writer could not wait for it: the line
                # is in a file that has no name any more. It is written again
                # (`test_a_line_without_the_lock_is_not_lost_in_a_file_that_is_removed`).
                receipt.results = []
                if opening < _LAST:
                    continue
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        finally:
            number = _release(files, receipt)
        if number:
            raise OSError(number, os.strerror(number))
        return


def _open(path: str, files: list[int], *, below: bool) -> None:
    try:
        files.extend(map(os.open, (path,), (_FLAGS | os.O_RDWR,), (0o600,)))
    except OSError as error:
        if reason := why_unopened(path, error, below=below):
            raise ForeignFileError(path, reason) from None
        if not isinstance(error, PermissionError):
            raise
        # One that may be written but not read; its last byte stays unknown.
        files.extend(map(os.open, (path,), (_FLAGS | os.O_WRONLY,), (0o600,)))


def _release(files: list[int], receipt: Receipt) -> int:
    """
    Close the file, and note on the receipt that it is closed.

    Returns:
        The number of the error that the closing raised, 0 for none. A network file system reports there that it could
        not keep what was written: no space, no quota. The line is then refused, and waits: it may be doubled, which
        `verify` reports, and is not lost (`test_an_error_at_close_is_a_refusal`).
    """
    number = 0
    while files:
        release(files[0])
        try:
            # In one step, as `Receipt` explains: an interrupt between `pop` and `close` would leave a
            # descriptor open that has no owner, and one after `close` would close the next owner's.
            receipt.closed.extend(map(os.close, map(_pop, (files,))))
        except OSError as error:
            # Somebody else has closed it, for example a program that closes all files when it becomes a daemon.
            if error.errno == errno.EBADF:
                receipt.closed.append(None)
            else:
                number = error.errno or errno.EIO
        except IndexError:
            pass  # in a child that was forked just now: the line is its parent's
    _opened.pop(id(files), None)
    return number


def _was_removed(path: str, files: list[int], status: os.stat_result) -> bool:
    """Return True if a file has lost a name since it was opened, and is not at its path any more."""
    now = os.fstat(files[0])
    return (not now.st_nlink or now.st_nlink < status.st_nlink) and not is_at(path, now)


def segments(path: str) -> list[str]:
    """Return the sealed segments of a file, in the order in which they were sealed."""
    file = Path(path)
    form = re.compile(re.escape(file.name.removesuffix(".jsonl")) + r"~s([1-9][0-9]*)\.jsonl")
    try:
        entries = list(file.parent.iterdir())
    except OSError:
        return []
    found = [(int(match[1]), str(entry)) for entry in entries if (match := form.fullmatch(entry.name))]
    return [entry for _, entry in sorted(found)]


def _seal(path: str) -> bool:
    """Rename a full file, under its lock; no other writer renames it then. One that cannot be renamed grows on."""
    done = segments(path)
    number = int(done[-1].rpartition("~s")[2].removesuffix(".jsonl")) + 1 if done else 1
    try:
        os.rename(path, f"{path.removesuffix('.jsonl')}~s{number}.jsonl")  # noqa: PTH104 - a `Path` costs more
    except OSError:
        return False
    return True


def _write(files: list[int], line: bytes, receipt: Receipt, status: os.stat_result, *, held: bool) -> None:
    """
    Write the line, behind a newline of its own where the file may not end with one.

    Args:
        files: Holds the descriptor.
        line: The line.
        receipt: Shows what is written.
        status: Of the file, taken since the lock was tried.
        held: Whether the lock is held.
    """
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    size = status.st_size
    apart = not held or not _ends_line(files[0], size)
    for _ in range(_PIECES):
        data = b"\n" + line if apart else line
        receipt.results, receipt.closed, receipt.wanted = [], [], len(data)
        receipt.results.extend(map(os.write, files, (data,)))
        if receipt.results != [len(data)] and not _write_rest(files, data, receipt):
            apart = True
            continue
        if apart:
            return
        # `O_APPEND` puts the line at the end of the file as it is at that moment, which the position shows
        # afterwards. If it is not where we looked for a newline, somebody who has no lock has written in
        # between, perhaps the first half of a line. Nothing is truncated: the line is written once more, behind
        # a newline (`test_a_torn_line_that_comes_between_the_look_and_the_write_costs_only_itself`).
        start = os.lseek(files[0], 0, os.SEEK_CUR) - len(data)
        if start == size or _ends_line(files[0], start):
            receipt.start = start
            return
        # Somebody without the lock has put a torn line before ours: ours is lost in it.
        apart = True
    receipt.results = []
    raise OSError(errno.EIO, "Others write into each line")


def _ends_line(descriptor: int, size: int) -> bool:
    """Return True if the first `size` bytes of a file end with a newline, or are none."""
    if not size:
        return True
    try:
        return os.pread(descriptor, 1, size - 1) == b"\n"
    except (OSError, AttributeError):
        return False


def _write_rest(files: list[int], data: bytes, receipt: Receipt) -> bool:
    """Go on after a short write; whether the line came out in one piece."""
    if not receipt.results:
        # In a child that was forked just now: the line is its parent's.
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    rest = memoryview(data)[receipt.results[0] :]
    while rest:
        # The rest belongs right behind the first part. If the end has moved, the first part is a torn line for
        # good and the whole line is begun again
        # (`test_an_unlocked_line_between_a_short_write_and_the_rest_survives`).
        before = os.lseek(files[0], 0, os.SEEK_CUR)
        count = os.write(files[0], rest)
        if not count or os.lseek(files[0], 0, os.SEEK_CUR) != before + count:
            return False
        rest = rest[count:]
    receipt.results = [len(data)]
    return True
