"""
The outbox: lines on their way to writers and listeners, one after the other in each thread.

A turn may close inside a finaliser, and the garbage collector may run one at any allocation, so also
while the same thread writes another line. With a lock that thread would wait for itself for ever; a
second write in the middle of the first would tear it. So such a line joins the thread's own queue,
which the write that is under way drains. What a writer refuses waits in the backlog: it goes first
at the next line for that writer, and is tried by `flush` and at exit.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from contextlib import suppress
from itertools import count, islice
from typing import TYPE_CHECKING

from ..._layout.lock import in_event_loop
from ..flow.outcome import outcome_of
from ..log import count_fault, log
from ..process import after_fork, claim, this
from .apart import diverted
from .backlog import Backlog
from .encode import decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .backlog import Line

__all__ = ["Tally", "backlog", "diverted", "drain", "flush", "forget", "is_ours", "send", "tally", "waiting"]

_SECONDS = 0.02
"""How long the lines that wait may hold up the one that comes."""
_SECONDS_IN_LOOP = 0.004
_INTERRUPTS = 2
"""After how many interrupts a line is put off."""


class Tally:
    """
    Counts of the lines of this process, without a lock: a finaliser may come in between.

    `self.written += 1` is four instructions, and another thread or a signal handler between them
    loses a count. `next` of an `itertools.count` is one, in C. Its next number cannot be read without
    being taken, except in its `repr`, which is documented: `count(3)`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin at zero, as a forked child does."""
        self._written, self._refused, self._lost = count(), count(), count()
        self._empty, self._unread = count(), count()

    def add_written(self, line: Line) -> bool:
        """Count a line that is written, once; whether it had not been counted."""
        # In one step, so that no interrupt comes in between: the counter goes on if the line is new.
        return bool(list(zip(line.count_once, self._written, strict=False)))

    def add(self, *, refused: int = 0, lost: int = 0) -> None:
        """Count lines that were refused or are lost."""
        for counter, more in ((self._refused, refused), (self._lost, lost)):
            deque(islice(counter, more), maxlen=0)

    def add_empty(self) -> None:
        """Count a turn without a call."""
        next(self._empty)

    def add_unread(self, replies: int) -> None:
        """Count replies that were not understood."""
        deque(islice(self._unread, replies), maxlen=0)

    @property
    def written(self) -> int:
        """Lines written."""
        return _next_of(self._written)

    @property
    def empty(self) -> int:
        """Turns in which no call was recorded, nor a turn."""
        return _next_of(self._empty)

    @property
    def unread(self) -> int:
        """Replies that were not understood."""
        return _next_of(self._unread)

    @property
    def refused(self) -> int:
        """Lines that were refused when they came."""
        return _next_of(self._refused)

    @property
    def lost(self) -> int:
        """Lines of those that are neither written nor wait any more."""
        return _next_of(self._lost)


def _next_of(counter: count[int]) -> int:
    """Return the number that a counter would give next, without taking it."""
    return int(repr(counter).removeprefix("count(").removesuffix(")"))


class _Queue(threading.local):
    """Lines of one thread that wait for the one that is being written."""

    def __init__(self) -> None:
        self.empty()

    def empty(self) -> None:
        self.items: deque[Line] = deque()
        self.busy = False


tally = Tally()
backlog = Backlog()
_queue = _Queue()


def forget() -> None:
    """Drop all lines: in a forked child they are its parent's, perhaps half written; also for tests."""
    _queue.empty()
    backlog.clear()


after_fork(forget)
after_fork(tally.reset)


def waiting() -> int:
    """Return how many lines wait to be written: those of this thread, and those that were refused."""
    return len(_queue.items) + len(backlog)


def is_ours(error: BaseException) -> bool:
    """Return True if an exception is a fault of ours: pydantic_core's panics are no `Exception`."""
    return issubclass(type(error), Exception) or (
        type(error).__name__ == "PanicException" and outcome_of(error) == "error"
    )


def send(lines: Iterable[Line]) -> None:
    """
    Let lines go, unless this thread is writing already: then they follow.

    Those that are on their way stay as they are, so that it can be repeated after an interrupt.
    """
    items = _queue.items
    for line in lines:
        if not line.begun and line not in items:
            items.append(line)
    drain()


def drain() -> None:
    """
    Write this thread's lines, unless this thread is writing already.

    Raises:
        BaseException: What interrupted it, after the lines are written.
    """
    if _queue.busy:
        return
    urgent: BaseException | None = None
    try:
        _queue.busy = True
        # A forked child gets a new deque from `forget`, in the middle of this loop if the fork happens in a
        # listener or in a user's writer. The parent's lines are not the child's to write, so the loop also asks
        # whether this is still the queue (`test_a_forked_child_owes_none_of_its_parents_lines`).
        items, interrupts = _queue.items, 0
        while items and _queue.items is items:
            line = items[0]
            try:
                line.begun = True
                _deliver(line)
            except BaseException as error:
                urgent, interrupts = urgent or error, interrupts + 1
                # An interrupt (Ctrl-C, or an exception that a signal handler raises) must neither lose the line nor
                # write it twice. The receipt says which of the two would happen: if the line is not written, it is
                # tried again here, while the interrupt waits in `urgent`. After the second interrupt somebody is
                # impatient, and the line goes to the backlog instead. The order of these lines matters, since another
                # interrupt may come between any two of them:
                # `test_an_interrupt_anywhere_while_a_turn_is_written_costs_nothing` tries each place.
                done = line.receipt.whole or line.refused or not line.ours
                if not done and not line.doubtful and interrupts < _INTERRUPTS:
                    continue  # it is known not to be written
                if line.receipt.whole and line.ours:
                    tally.add_written(line)
                if not done and line.writer is not None:
                    _refuse(line, error)
            if items and items[0] is line:
                items.popleft()
            interrupts = 0
    finally:
        _queue.busy = False
    if urgent is not None:
        try:
            raise urgent
        finally:
            urgent = None


def flush() -> None:
    """Write this thread's lines, and try again all that wait."""
    if _queue.busy:
        # A signal handler in the middle of a line: the process may end with it. The line itself is not
        # acknowledged yet; those of the handler's own turns are.
        # `_deliver` of the line that is under way runs further up this very stack, so it cannot be finished
        # from here. The lines behind it can: they are taken out of the queue, so that the loop above does not
        # write them again. The list is copied, because a finaliser may append to the queue meanwhile.
        for line in list(_queue.items):
            if not line.begun:
                with suppress(ValueError):
                    _queue.items.remove(line)
                    line.begun = True
                    _deliver(line)
        return
    drain()
    if not backlog:
        return
    try:
        _queue.busy = True
        backlog.retry(_try)
    finally:
        _queue.busy = False
    drain()


def _deliver(line: Line) -> None:
    """Write one line, after those that wait for the same writer; then call its listeners."""
    try:
        if line.writer is not None and not line.receipt.whole and not line.refused:
            if backlog.lines:
                backlog.retry(_try, key=line.key, seconds=_SECONDS_IN_LOOP if in_event_loop() else _SECONDS)
            error = _try(line)
            if error is not None and line.ours:
                _refuse(line, error)
    finally:
        if line.listeners and line.ours and claim(line.notify_once):
            # In `finally`, and once: a listener gets the record also where the disk refuses the line, and not again
            # when the backlog tries the line later. It is not logged in the forked child, which has a copy of the
            # line.
            for listener in line.listeners:
                try:
                    listener(decode(line.data))
                except Exception as error:
                    count_fault("on_turn", error)


def _try(line: Line) -> BaseException | None:
    """Hand a line over; returns what it was refused with."""
    refusal: BaseException | None = None
    try:
        line.hand_over()
    except BaseException as error:
        if not is_ours(error):
            raise
        refusal = error
    finally:
        whole = line.receipt.whole
        if whole and line.ours and tally.add_written(line) and line.after is not None:
            line.after()
    return None if whole else refusal


def _refuse(line: Line, error: BaseException) -> None:
    """Count and log a line that was refused, and let it wait."""
    line.refused = True
    if line.fallback is not None:
        with suppress(Exception):
            line.prove()  # what is kept elsewhere is the line as it will be written
            line.fallback(line.data)
    reason = type(error).__qualname__
    if isinstance(error, OSError) and error.strerror:
        reason = f"{reason}: {error.strerror}"
        if error.filename is not None:
            reason = f"{reason}: {error.filename}"
    lost = 1 if line.doubtful else backlog.add(line)
    tally.add(refused=1, lost=lost)
    writer = type(line.writer).__qualname__
    log("moa.trace_refused", key=reason, writer=writer, error=reason)
    if lost:
        log("moa.trace_lost", writer=writer, lines=lost)


def _at_exit() -> None:
    """Try what waits a last time; what is left is lost."""
    flush()
    if not this.is_run and (tally.empty or tally.unread):
        log("moa.turns_incomplete", turns_without_calls=tally.empty, unread_replies=tally.unread)
    if backlog:
        tally.add(lost=len(backlog))
    if tally.lost:
        # All of them: what was logged before was logged once a minute.
        log("moa.trace_lost", key="exit", lines=tally.lost, reason="refused until the process ended, or fallen out")


atexit.register(_at_exit)
