"""
The tracer: keeps a turn's requests while it runs, and writes its line when it closes.

Nothing that fails in here reaches the caller. It takes no lock: a turn may close inside a
finaliser, in any thread, in the middle of another line's writing. Such a line joins the queue that
the running write drains.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import deque
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from .. import _threads
from .._endings import outcome_of
from .._log import log
from .._observe import count_fault
from .._version import __version__
from ..records import SCHEMA
from . import record, snapshot
from .encode import Raw, encode, join, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .._call import Call
    from .._slot import Attempt, CallSlot
    from .._turn import Turn
    from .writer import Writer

__all__ = ["Counters", "Tracer"]


class Counters:
    """What became of the lines of this process."""

    def __init__(self) -> None:
        self.written = 0
        self.refused = 0
        self.started_at = time.time()
        self.host = socket.gethostname()
        self.pid = os.getpid()
        self.lines = count(1)

    def writer_fields(self, lines: Iterator[int] | None = None) -> dict[str, Any]:
        """Return the record's `writer`; each call takes the next number, of `lines` if given."""
        if self.pid != os.getpid():
            # A forked child counts its own lines.
            self.__init__()  # type: ignore[misc]
        return {
            "version": __version__,
            "host": self.host,
            "pid": self.pid,
            "started_at": self.started_at,
            "seq": next(self.lines if lines is None else lines),
        }


counters = Counters()


class _Queue(threading.local):
    """Lines of one thread that wait for the one that is being written."""

    def __init__(self) -> None:
        self.empty()

    def empty(self) -> None:
        self.items: deque[Callable[[], None]] = deque()
        self.busy = False


_queue = _Queue()

if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    # A child forked by a listener stands inside its parent's write, and owes none of its lines.
    os.register_at_fork(after_in_child=_queue.empty)


def waiting() -> int:
    """Return how many lines of this thread wait to be written."""
    return len(_queue.items)


def _is_ours(error: BaseException) -> bool:
    """Whether an exception is a fault of ours: pydantic_core's panics are no `Exception`."""
    return isinstance(error, Exception) or outcome_of(error) == "error"


class Tracer:
    """
    Records turns.

    Args:
        writer: Takes the lines, `None` to write none.
        listeners: Called with each turn's record, decoded.
        session_id: For turns that name none.
        fanout_only: Record only turns that ran references.
        propagate_threads: Carry turns into bare threads and executors.
    """

    def __init__(
        self,
        *,
        writer: Writer | None,
        listeners: Sequence[Callable[[Any], object]] = (),
        session_id: str | None = None,
        fanout_only: bool = False,
        propagate_threads: bool = True,
    ) -> None:
        self._writer = writer
        self._listeners = tuple(listeners)
        self._session_id = session_id
        self._fanout_only = fanout_only
        self._propagate = propagate_threads
        self._unwritten = count(1)
        warm_up()

    # What the turn tells -------------------------------------------------------------------------

    def opened(self, turn: Turn) -> None:
        """Take the turn's own request down."""
        try:
            if self._propagate:
                _threads.install()
            if turn.session_id is None:
                turn.session_id = self._session_id
            if turn.request is not None:
                turn.memo = snapshot.of_request(turn.request)
        except BaseException as error:
            self._fault(error, turn)

    def began(self, attempt: Attempt, call: Call) -> None:
        """Take a request down as it goes out."""
        try:
            request = attempt.slot.request
            attempt.memo = snapshot.of_call(call, request.omitted if request is not None else ())
        except BaseException as error:
            self._fault(error, attempt.slot.turn)

    def closed(self, turn: Turn) -> None:
        """Write the turn's line."""
        if turn.by_hand and not turn.calls:
            return  # it lent session, preset and tags to the turns inside
        if self._fanout_only and not record.ran_references(turn):
            return
        try:
            ts, writer = time.time(), None
            try:
                parts, references = record.turn_record(turn, ts=ts)
                if self._fanout_only and not references:
                    return
                writer = self._writer_fields()
                line = join({**parts, "writer": writer})
            except BaseException as error:
                self._fault(error, turn)
                line = _minimal(turn, ts, error, writer or self._writer_fields())
            self._put(turn.session_id, bytes(line), late=False)
        except BaseException as error:
            self._fault(error, turn)

    def ended_late(self, turn: Turn, slot: CallSlot) -> None:
        """Write the line of a call that outlived its turn."""
        try:
            lines = record.late_records(turn, slot, ts=time.time())
            self._put(turn.session_id, *map(bytes, lines), late=True)
        except BaseException as error:
            self._fault(error, turn)
        finally:
            _drop_content(slot)

    def _writer_fields(self) -> dict[str, Any]:
        # A line that only listeners get takes no number of those that are written: no gap.
        return counters.writer_fields(None if self._writer is not None else self._unwritten)

    def _fault(self, error: BaseException, turn: Turn) -> None:
        """Count a fault of ours; what interrupts the program is not ours to keep."""
        if not _is_ours(error):
            raise error
        turn.faults += 1
        count_fault("tracing", error)

    # Lines ---------------------------------------------------------------------------------------

    def _put(self, session_id: str | None, *lines: bytes, late: bool) -> None:
        # All are in the queue before one is written: an interrupt leaves the rest there.
        _queue.items.extend(partial(self._write, session_id, line, late=late) for line in lines)
        drain()

    def _write(self, session_id: str | None, line: bytes, *, late: bool) -> None:
        try:
            if self._writer is not None:
                self._hand_over(self._writer, session_id, line + b"\n", late=late)
        finally:
            for listener in self._listeners:
                try:
                    listener(json.loads(line))
                except Exception as error:
                    count_fault("on_turn", error)

    def _hand_over(
        self, writer: Writer, session_id: str | None, line: bytes, *, late: bool, again: bool = False
    ) -> None:
        try:
            method = getattr(writer, "write_late", writer.write) if late else writer.write
            method(session_id, line)
        except BaseException as error:
            if not _is_ours(error) and not again:
                # Interrupted: the line may be lost, so it is written once more before that goes on.
                self._hand_over(writer, session_id, line, late=late, again=True)
                raise
            counters.refused += 1
            reason = type(error).__qualname__
            if isinstance(error, OSError) and error.strerror:
                reason = f"{reason}: {error.strerror}"
            log("moa.trace_refused", key=reason, writer=type(writer).__qualname__, error=reason)
            if not _is_ours(error):
                raise
        else:
            counters.written += 1


def drain() -> None:
    """Write this thread's lines, unless this thread is writing already."""
    while _queue.items and not _queue.busy:
        _queue.busy = True
        try:
            while _queue.items:
                _queue.items.popleft()()
        finally:
            _queue.busy = False


def _drop_content(slot: CallSlot) -> None:
    """Forget a late call whose lines are out, and what has ended inside it."""
    for attempt in slot.attempts:
        for inner in attempt.inner:
            if inner.done:
                _drop_content(inner)
        attempt.drop_content()
    slot.request = None


def _minimal(turn: Turn, ts: float, error: BaseException, writer: dict[str, Any]) -> Raw:
    """Return a record that says what failed, where the whole one could not be made."""
    return encode(
        {
            "schema": SCHEMA,
            "ts": ts,
            "turn_id": turn.id,
            "session_id": turn.session_id,
            "preset": turn.preset,
            "outcome": turn.outcome,
            "error": None,
            "started_at": turn.clock.started_at,
            "ended_at": turn.clock.ended_at,
            "duration_ms": turn.clock.duration_ms,
            "input_messages": None,
            "params": {},
            "output": None,
            "references": [],
            "aggregator": None,
            "calls": [],
            "parent_turn_id": turn.parent.id if turn.parent is not None else None,
            "turns": list(turn.turns),
            "tags": {"moa.record_failed": type(error).__qualname__},
            "totals": {
                "calls": len(turn.calls),
                "failed": 0,
                "usage": {},
                "cost_usd": None,
                "unpriced": len(turn.calls),
            },
            "implicit": turn.implicit,
            "instrumentation_errors": turn.faults,
            "trace_context": turn.trace_context,
            "writer": writer,
        }
    )
