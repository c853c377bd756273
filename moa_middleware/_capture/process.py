"""
The running process: its id, what a forked child does first, and flags that are taken once.

A forked child inherits open turns, locks and queues that are its parent's to finish. Each module
that holds such state registers with `after_fork` how it lets go of it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ForkSafeLock", "after_fork", "claim", "once", "process_id", "this"]

pid = os.getpid()
"""Id of this process, kept current in forked children; read as `process.pid`, without a call."""


def after_fork(fn: Callable[[], object]) -> None:
    """Call `fn` in each forked child, before it goes on; in the order of registration."""
    if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
        os.register_at_fork(after_in_child=fn)


def _take_new_id() -> None:
    global pid  # noqa: PLW0603 - one id a process
    pid = os.getpid()


after_fork(_take_new_id)


class _Process:
    """
    What is known of this process.

    Attributes:
        has_children: True once one was forked, or spawned by `multiprocessing` under `moa run`. What is
            called there is not known here.
        is_run: True under `moa run`, which says at its end what was not recorded, so that no event of
            the log has to.
    """

    def __init__(self) -> None:
        self.has_children = False
        self.is_run = False

    def start_child(self) -> None:
        """Remember that there is a child."""
        self.has_children = True


this = _Process()
if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    os.register_at_fork(after_in_parent=this.start_child)


def process_id() -> int:
    """Return this process's id, without asking the kernel."""
    return pid


def once() -> list[bool]:
    """Return a flag for `claim`."""
    return [True]


def claim(flag: list[bool]) -> bool:
    """
    Take a flag; true for the first one only, whichever thread it is.

    `list.pop` is atomic, and it takes no lock: this runs in finalisers, which may interrupt the
    very thread that holds a lock.
    """
    # A finaliser runs wherever Python allocates, also between two statements of the code that holds a
    # lock, on the same thread. It would wait for itself, for ever. A pop from a list needs no lock where
    # there is a GIL, and has one of its own inside the list where there is none.
    try:
        return flag.pop()
    except IndexError:
        return False


class ForkSafeLock:
    """
    A reentrant lock that is free in a forked child.

    The thread that holds a lock at the moment of a fork does not exist in the child, so an
    inherited lock would never be released there; each child gets a new one.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._renew()
        after_fork(self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        # In a child that was forked inside the block, the lock is a new one that nobody holds.
        with suppress(RuntimeError):
            self._lock.release()
