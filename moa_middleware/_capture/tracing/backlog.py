"""
Lines, and those that wait because their writer refused them.

A backlog is bounded by number and by bytes; the oldest falls out. It takes no lock, so that a
finaliser may come in between; who tries a line holds its token meanwhile.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from .. import process
from ..process import once
from .trace_file import Receipt
from .writer import FileWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from .writer import Writer

__all__ = ["MOST_BYTES", "MOST_LINES", "Backlog", "Line"]

MOST_LINES = 1000
"""How many lines wait at most."""
MOST_BYTES = 64 * 1024 * 1024
"""How many bytes wait at most, in lines."""
_TRIES = 2
"""How many files may refuse a line while another one waits."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT}) if hasattr(errno, "EDQUOT") else frozenset({errno.ENOSPC})


class Line:
    """
    One line on its way to its writer and its listeners.

    Args:
        data: The line, its newline included.
        session_id: The turn's session.
        writer: Takes it, `None` if only listeners do.
        late: Whether it is that of a late call.
        listeners: Called with it once, written or not.
        after: Called when it is written.
    """

    # Most lines are written at once: the class has what only one that waits, or is watched, needs.
    fallback: Callable[[bytes], None] | None = None
    """Keeps the line elsewhere, if it is refused."""
    begun = False
    """True if it has been the first of its queue."""
    refused = False
    doubtful = False
    """True if it may have been kept by a writer that was interrupted again and again."""
    notify_once: list[bool]
    """The right to call the listeners."""
    busy_once: list[bool]
    """The right to try it again: that of a line in the backlog."""

    def __init__(
        self,
        data: bytes,
        *,
        session_id: str | None,
        writer: Writer | None,
        late: bool = False,
        listeners: Sequence[Callable[[Any], object]] = (),
        after: Callable[[], None] | None = None,
    ) -> None:
        self.data = data
        self.session_id = session_id
        self.writer = writer
        self.late = late
        self.listeners = listeners
        self.after = after
        self.receipt = Receipt()
        self.pid = process.pid
        self.count_once: Iterator[bool] = iter((True,))
        """Gives one, to the first that counts the line as written."""
        if listeners:
            self.notify_once = once()

    @property
    def key(self) -> Hashable:
        """The identity of its writer; two writers into one directory are one."""
        writer = self.writer
        return str(writer.trace_dir) if isinstance(writer, FileWriter) else id(writer)

    @property
    def place(self) -> Hashable:
        """What refuses it, if it is not the disk: its file, or a writer of the user's for reasons of its own."""
        return (self.key, self.session_id, self.late) if isinstance(self.writer, FileWriter) else id(self)

    @property
    def ours(self) -> bool:
        """True if this process has to write it; a forked child writes none of its parent's."""
        return self.pid == process.pid

    def prove(self) -> None:
        """Add what proves the line, if something does; see `ProvenLine`."""

    def hand_over(self) -> None:
        """
        Give the line to its writer; the receipt shows whether that has it.

        Raises:
            BaseException: What the writer raised, or what interrupted it.
        """
        writer = self.writer
        if writer is None:
            return
        if isinstance(writer, FileWriter) and type(writer).write is FileWriter.write:
            writer.append(self.session_id, self.data, self.receipt, late=self.late)
            return
        method = getattr(writer, "write_late", writer.write) if self.late else writer.write
        results = self.receipt.results
        try:
            results.extend(map(method, (self.session_id,), (self.data,)))
        except Exception:
            raise
        except BaseException:
            if not results:
                # It may have the line or not: better twice than not at all, and not a third time.
                self.doubtful = True
                with suppress(Exception):
                    results.extend(map(method, (self.session_id,), (self.data,)))
            raise


class Backlog:
    """
    The lines of this process that wait.

    Args:
        most_lines: How many may wait.
        most_bytes: How many bytes may wait.
    """

    def __init__(self, most_lines: int = MOST_LINES, most_bytes: int = MOST_BYTES) -> None:
        self.most_lines = most_lines
        self.most_bytes = most_bytes
        self.lines: deque[Line] = deque()
        self._refused: dict[Hashable, int] = {}
        """Files that refused a line when it was tried again, in the order in which they did."""
        self._numbers = count(1)

    def __len__(self) -> int:
        """Count the lines."""
        return len(self.lines)

    def clear(self) -> None:
        """Forget all lines."""
        self.lines.clear()
        self._refused.clear()

    def add(self, line: Line) -> int:
        """
        Let a line wait.

        Returns:
            How many lines fell out for it.
        """
        if len(line.data) > self.most_bytes:
            return 1
        # No lock protects the deque: a finaliser of the same thread may add a line while this one is added. So
        # the sizes are taken from a copy, and a line falls out only if `remove` finds it, since another thread
        # may have dropped or written it in between. A line whose token is taken is being written at this
        # moment, and stays (`test_a_line_in_flight_does_not_fall_out`).
        line.busy_once = once()
        self.lines.append(line)
        lines = list(self.lines)
        size = sum(len(one.data) for one in lines)
        left, fallen = len(lines), 0
        for one in lines:
            if left <= self.most_lines and size <= self.most_bytes:
                break
            if one.busy_once and self._drop(one):
                left, size, fallen = left - 1, size - len(one.data), fallen + 1
        return fallen

    def _drop(self, line: Line) -> bool:
        try:
            self.lines.remove(line)
        except ValueError:
            return False
        return True

    def retry(
        self, attempt: Callable[[Line], BaseException | None], *, key: Hashable = None, seconds: float | None = None
    ) -> None:
        """
        Try lines again, the oldest first; none overtakes an older one of its file.

        Args:
            attempt: Tries one; returns what it was refused with.
            key: Only those of one writer, until the disk is full or a few files have refused one;
                `None` tries all.
            seconds: When to stop, though lines are left.
        """
        # Lines of one file keep their order, so after a refusal the rest of that file is left alone; but one
        # file that always refuses must not hold the others up. Files that refused lately therefore come last,
        # and a live call, which names its writer by `key`, gives up after a few of them
        # (`test_one_that_is_always_refused_does_not_hold_up_the_others`).
        end = None if seconds is None else time.monotonic() + seconds
        refused = 0
        for lines in self._by_place(key):
            error: BaseException | None = None
            for line in lines:
                error = self._retry(line, attempt)
                if error is not None:
                    refused += 1
                    if not _is_full(error):
                        self._refused[line.place] = next(self._numbers)
                    break
                self._refused.pop(line.place, None)
                if end is not None and time.monotonic() >= end:
                    return
            if key is not None and error is not None and (_is_full(error) or refused >= _TRIES):
                return

    def _by_place(self, key: Hashable) -> list[list[Line]]:
        """Return the lines of each file, those files first that have not refused one, or not lately."""
        found: dict[Hashable, list[Line]] = {}
        for line in list(self.lines):
            if key is None or line.key == key:
                found.setdefault(line.place, []).append(line)
        for place in self._refused.keys() - found.keys() if key is None else ():
            self._refused.pop(place, None)
        return [found[place] for place in sorted(found, key=lambda place: self._refused.get(place, 0))]

    def _retry(self, line: Line, attempt: Callable[[Line], BaseException | None]) -> BaseException | None:
        token: list[bool] = []
        error: BaseException | None = None
        try:
            with suppress(IndexError):
                # `map` in C pops and stores in one step. With `token = busy_once.pop()` an interrupt between the two
                # would lose the token, and with it the line: nobody could try it any more
                # (`test_an_interrupt_while_one_is_tried_leaves_it_waiting`).
                token.extend(map(list.pop, (line.busy_once,)))
            if token and not line.receipt.whole:
                error = _no_room(line) or attempt(line)
        finally:
            if token and line.receipt.whole:
                self._drop(line)
            line.busy_once.extend(token)
        return error


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL


def _no_room(line: Line) -> OSError | None:
    """Return the error that a line would get on a full disk: trying would leave a torn line each time."""
    if not isinstance(line.writer, FileWriter) or not hasattr(os, "statvfs"):
        return None
    try:
        disk = os.statvfs(line.writer.trace_dir)
    except OSError:
        return None
    # The blocks that are kept for the superuser are free for that user alone. A file system without a
    # number of blocks (some network and pseudo file systems) says nothing, and the line is tried.
    blocks = disk.f_bavail if os.geteuid() else disk.f_bfree
    if not disk.f_blocks or blocks * disk.f_frsize >= len(line.data):
        return None
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
