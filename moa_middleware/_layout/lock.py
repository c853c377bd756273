"""
The lock on one open file, never waited for longer than a live call can bear.

It must not know what is written. Where there are no such locks (Windows, some network file
systems) `acquire` says so, and the caller writes without one.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "COOL_DOWN",
    "PATIENCE",
    "acquire",
    "acquire_at_once",
    "gave_up",
    "in_event_loop",
    "is_at",
    "patience",
    "release",
]

PATIENCE = 0.25
"""Longest wait for a lock, in seconds."""
COOL_DOWN = 5.0
"""Time, in seconds, for which a file is not waited for after its lock could not be acquired."""
_PAUSES = (0.0005, 0.008)
"""Shortest and longest pause between two tries, in seconds."""
_MOST_FILES = 1000

_flock: Callable[[int, int], None] | None = None
_EXCLUSIVE = _AT_ONCE = _UNLOCK = 0
if sys.platform != "win32":
    import fcntl

    _flock = fcntl.flock
    _EXCLUSIVE, _AT_ONCE, _UNLOCK = fcntl.LOCK_EX, fcntl.LOCK_NB, fcntl.LOCK_UN

_until: dict[str, float] = {}
"""Until when a file is not waited for, on the monotonic clock."""


def in_event_loop() -> bool:
    """Return True if an event loop runs in this thread, which waiting would block."""
    asyncio = sys.modules.get("asyncio")
    running = getattr(asyncio, "_get_running_loop", None)
    if running is not None and running() is not None:
        return True
    in_trio = getattr(getattr(sys.modules.get("trio"), "lowlevel", None), "in_trio_run", None)
    return in_trio is not None and bool(in_trio())


def patience(path: str) -> float:
    """Return how long, in seconds, the lock of a file may be waited for here and now."""
    # A blocked event loop stops every task of the program, so there nobody waits, and elsewhere only once:
    # a lock that hangs (a stopped process, a network file system) would otherwise delay each line.
    if in_event_loop():
        return 0.0
    until = _until.get(path)
    if until is None:
        return PATIENCE
    if until > time.monotonic():
        return 0.0
    _until.pop(path, None)
    return PATIENCE


def gave_up(path: str) -> None:
    """Remember that the lock of a file could not be acquired in time."""
    if len(_until) >= _MOST_FILES:
        _until.clear()
    _until[path] = time.monotonic() + COOL_DOWN


def acquire_at_once(descriptor: int) -> bool | None:
    """Lock an open file without waiting; return as `acquire` does."""
    if _flock is None:
        return None
    try:
        _flock(descriptor, _EXCLUSIVE | _AT_ONCE)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def acquire(descriptor: int, deadline: float) -> bool | None:
    """
    Lock an open file.

    Args:
        descriptor: Of the file.
        deadline: When to give up, on the monotonic clock; the first try is made in any case.

    Returns:
        Whether the lock is held now; `None` where the file system has no locks.
    """
    pause, longest = _PAUSES
    while True:
        held = acquire_at_once(descriptor)
        left = deadline - time.monotonic()
        if held is not False or left <= 0:
            return held
        time.sleep(min(pause, left))
        pause = min(2 * pause, longest)


def release(descriptor: int) -> None:
    """Give the lock back, held or not. Closing is not enough: a forked child may have a copy of the descriptor."""
    if _flock is not None:
        with suppress(OSError):
            _flock(descriptor, _UNLOCK)


def is_at(path: os.PathLike[str] | str, status: os.stat_result) -> bool:
    """Return True if a path still leads to the file that is open: it may have been renamed or deleted meanwhile."""
    try:
        return os.path.samestat(os.lstat(path), status)
    except OSError:
        return False
