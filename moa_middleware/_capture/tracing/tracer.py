"""
The tracer: keeps a turn's requests while it runs, and writes its line when it closes.

Nothing that fails in here reaches the caller. It takes no lock: a turn may close inside a
finaliser, in any thread, in the middle of another line's writing (`outbox`).
"""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from itertools import count, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ..._version import __version__
from ..log import count_fault, log
from ..process import after_fork, claim, once
from ..turns import threads
from . import outbox, snapshot, stored, turn_record
from .credentials import texts_of_error
from .encode import encode, warm_up
from .journal import Journal
from .late_record import late_records
from .proven_line import maker_of
from .unread import log_unread
from .writer import FileWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..flow.model import Call
    from ..shapes.request import Request
    from ..turns.turn import Attempt, CallState, Turn
    from .backlog import Line
    from .content import Content
    from .proven_line import Proof
    from .writer import Writer

__all__ = ["Counters", "Tracer", "process_fields"]


class Counters:
    """The process as its lines name it, and the numbers of its lines."""

    def __init__(self) -> None:
        self.lines = count(1)
        self.writer: dict[str, Any] = {
            "version": __version__,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": time.time(),
        }
        """The record's `writer` but for its `seq`."""


counters = Counters()
after_fork(counters.__init__)  # type: ignore[misc] # a forked child counts its own lines


def process_fields() -> dict[str, Any]:
    """Return the record's `writer` but for its `seq`: that of a forked child is another one."""
    return counters.writer


class Tracer:
    """
    Records turns.

    Args:
        writer: Takes the lines, `None` to write none.
        listeners: Called with each turn's record, decoded.
        session_id: For turns that name none.
        fanout_only: Record only turns that ran references.
        propagate_threads: Carry turns into bare threads and executors.
        content: What is written of content, `None` for all of it.
        journal: Keep the calls of open turns on disk, too.
        proof: Makes lines that prove themselves, `None` for lines without.
    """

    def __init__(
        self,
        *,
        writer: Writer | None,
        listeners: Sequence[Callable[[Any], object]] = (),
        session_id: str | None = None,
        fanout_only: bool = False,
        propagate_threads: bool = True,
        content: Content | None = None,
        journal: bool = False,
        proof: Proof | None = None,
    ) -> None:
        self._writer = writer
        self._journal = Journal(writer.trace_dir) if journal and isinstance(writer, FileWriter) else None
        self._content = content
        # What only listeners get needs no proof, and must not leave a gap in the chain of what is written.
        self._new_line = maker_of(None if writer is None else proof, process_fields)
        self._listeners = tuple(listeners)
        self._session_id = session_id
        self._fanout_only = fanout_only
        self._propagate = propagate_threads
        self._unwritten = count(1)
        self._spare: Journal | None = None
        """The journal of large turns, where there is none by the settings."""
        self._noticed: dict[str, list[bool]] = {}
        """For each large turn, the right to say so."""
        warm_up()

    @property
    def writes_lines(self) -> bool:
        """True if it writes lines; else it only calls listeners."""
        return self._writer is not None

    # Events of a turn -------------------------------------------------------------------------

    def opened(self, turn: Turn) -> None:
        """Take the turn's own request down."""
        try:
            if self._propagate and not threads.installed:
                threads.install()
            if turn.session_id is None:
                turn.session_id = self._session_id
            if turn.request is not None:
                request = turn.request
                turn.snapshot = snapshot.Snapshot(turn, request.messages, request.params, request)
        except BaseException as error:
            self._fault(error, turn)

    def began(self, attempt: Attempt, request: Call | Request, kwargs: Mapping[str, Any]) -> None:
        """Take a request down as it goes out."""
        try:
            call_state = attempt.call_state
            known = call_state.request
            attempt.snapshot = snapshot.Snapshot(call_state.turn, request.messages, request.params, known, kwargs)
        except BaseException as error:
            self._fault(error, attempt.call_state.turn)

    def ended(self, turn: Turn, call_state: CallState) -> None:
        """Keep a call until its turn is written; that of a turn of its own is written next."""
        try:
            journal = self._journal
            if len(turn.calls) > stored.MOST_CALLS or turn.held > stored.MOST_BYTES:
                journal = self._large(turn) or journal
            if journal is None or not call_state.attempts or (turn.implicit and call_state.parent is None):
                return
            # A call may outlive the call around it, for example a task that was not awaited. That one ended
            # first, and is completed from this one: it is written again.
            while call_state.parent is not None and call_state.parent.call_state.done:
                call_state = call_state.parent.call_state
            self._keep(turn, call_state, journal)
        except BaseException as error:
            self._fault(error, turn)

    def secrets_of(self, error: BaseException) -> list[str]:
        """Return what no message may quote of the request that an exception holds."""
        return texts_of_error(error)

    def noted(self, turn: Turn, note: dict[str, Any]) -> None:
        """Take a note down as it is now; the caller may change its values."""
        try:
            taken = encode(note)
            if turn.notes is None:
                turn.notes = []
            turn.notes.append(taken)
        except BaseException as error:
            self._fault(error, turn)

    def _keep(self, turn: Turn, call_state: CallState, journal: Journal) -> None:
        """Write a call into the journal; the requests of a large turn then leave the memory."""
        content = self._content_of(turn)
        # What was redacted or withheld cannot be read back, and a call that still runs is written again.
        store = turn.store if content is None and _has_ended(call_state) else None
        try:
            urgent = journal.add(turn, call_state, content, store)
            if urgent is not None:
                raise urgent
        except OSError as error:
            kind = type(error).__qualname__
            log("moa.journal_refused", key=kind, error=f"{kind}: {error.strerror}")
        except BaseException as error:
            self._fault(error, turn)

    def _large(self, turn: Turn) -> Journal | None:
        """Return the journal that takes the requests of a large turn, `None` if nothing may; say once what it holds."""
        journal = self._journal or self._spare
        if claim(self._noticed.setdefault(turn.id, once())):
            reason = None
            if not isinstance(self._writer, FileWriter):
                reason = "the lines go to a writer of the program and not to files"
            elif self._content_of(turn) is not None:
                reason = "what is redacted or withheld must not be on the disk as it is"
            elif journal is None:
                journal = self._spare = Journal(self._writer.trace_dir)
            moved = {"reason": reason} if reason else {"moved": True}
            log("moa.turn_large", key=turn.id, turn_id=turn.id, calls=len(turn.calls), bytes=turn.held, **moved)
            if reason is None and journal is not None:
                turn.store = stored.RequestStore(journal.path_of(turn.id))
                for call_state in list(turn.calls):
                    if call_state.done and call_state.parent is None and call_state.attempts:
                        self._keep(turn, call_state, journal)
        return journal if turn.store is not None else None

    def closed(self, turn: Turn) -> None:
        """Write the turn's line; an interrupt goes on after that."""
        self._send(turn, partial(self._lines_of, turn, []))

    def ended_late(self, turn: Turn, call_state: CallState) -> None:
        """Write the lines of a call that outlived its turn, likewise."""
        self._send(turn, partial(self._late_lines_of, turn, call_state))

    def _send(self, turn: Turn, make: Callable[[], list[Line]]) -> None:
        """Make lines and send them; if an interrupt comes in between, once more, and then it goes on."""
        lines: list[Line] = []
        try:
            lines += make()
            outbox.send(lines)
        except BaseException as error:
            if not outbox.is_ours(error):
                outbox.send(lines or make())
            self._fault(error, turn)

    def _lines_of(self, turn: Turn, number: list[int]) -> list[Line]:
        """Return the turn's line, if it has one. Its journal goes when that is written, and keeps it if it is refused."""
        line = self._line_of(turn, number)
        journal = self._journal
        if self._noticed.pop(turn.id, None) is not None:
            journal = journal or self._spare
        if line is None:
            if journal is not None:
                journal.remove(turn)
            return []
        if journal is not None:
            line.after = partial(journal.remove, turn)
            line.fallback = partial(journal.keep_line, turn.id)
        return [line]

    def _line_of(self, turn: Turn, number: list[int]) -> Line | None:
        """
        Return the turn's line, `None` if it has none.

        Args:
            turn: The turn.
            number: The number of the line; empty before it is taken. It is taken once, though an
                interrupt may have the line made twice: a gap would stand for a line that is lost.
        """
        if (turn.by_hand or turn.implicit) and not turn.notes and all(map(_never_ran, turn.calls)):
            return None  # it applied session, preset and tags to the turns inside
        if self._fanout_only and not turn_record.ran_references(turn):
            return None
        ts = time.time()
        try:
            record = turn_record.turn_record(turn, ts=ts)
            if self._fanout_only and not record["references"]:
                return None
            if not number and self._writer is not None:  # the line may be made twice, and is counted once
                totals = record["totals"]
                if not totals["calls"] and not record["turns"]:
                    outbox.tally.add_empty()
                if "unread" in totals:
                    outbox.tally.add_unread(totals["unread"])
            if "unread" in record["totals"]:
                log_unread([*record["references"], *record["calls"], record["aggregator"]])
            record["writer"] = self._writer_fields(number)
            pieces = turn_record.turn_pieces(record)
            content = self._content if turn.redacts is None else self._content_of(turn)  # a frame less a turn
            return self._line(turn.session_id, pieces, content, late=False)
        except BaseException as error:
            # The turn happened, and a reader that counts lines must find one: a fault of ours costs what it holds, not
            # its existence. An interrupt is raised on by `_fault`, and `_send` makes the line again.
            self._fault(error, turn)
            # Without content: there is nothing in it to be withheld.
            record = turn_record.unrecorded(turn, error, ts=ts)
            record["writer"] = self._writer_fields(number)
            return self._new_line(
                encode(record) + b"\n", session_id=turn.session_id, writer=self._writer, listeners=self._listeners
            )

    def _late_lines_of(self, turn: Turn, call_state: CallState) -> list[Line]:
        lines = late_records(turn, call_state, ts=time.time())
        content = self._content_of(turn)
        return [self._line(turn.session_id, (line,), content, late=True) for line in lines]

    def _writer_fields(self, number: list[int]) -> dict[str, Any]:
        if not number:
            # A line that only listeners get takes no number of those that are written: no gap.
            numbers = counters.lines if self._writer is not None else self._unwritten
            number.extend(islice(numbers, 1))  # in one step, as `Receipt` explains
        return {**counters.writer, "seq": number[0]}

    def _fault(self, error: BaseException, turn: Turn) -> None:
        """Count a fault of ours; what interrupts the program is not ours to keep."""
        if not outbox.is_ours(error):
            raise error
        turn.faults += 1
        count_fault("tracing", error)

    # Lines ---------------------------------------------------------------------------------------

    def _content_of(self, turn: Turn) -> Content | None:
        """Return what is written of a turn's content: its host may have a filter of its own, which comes last."""
        functions = turn.redacts() if turn.redacts is not None else ()
        if not functions:
            return self._content
        from .content import Content

        return (self._content or Content()).then(functions)

    def _line(self, session_id: str | None, pieces: Iterable[bytes], content: Content | None, *, late: bool) -> Line:
        listeners = self._listeners
        if content is not None:
            data, urgent = content.line(stored.joined([*pieces]))
            pieces = (data,)
            if urgent is not None:
                # What interrupted a function of the user's goes on when the line is written.
                listeners = (*listeners, partial(_raise, urgent))
        # Joined here, once: a line may be long.
        pieces = (*pieces, b"\n")
        try:
            data = b"".join(pieces)
        except TypeError:  # requests of a large turn are no bytes
            data = stored.joined(pieces)
        return self._new_line(data, session_id=session_id, writer=self._writer, late=late, listeners=listeners)

    def _put(self, session_id: str | None, line: bytes) -> None:
        outbox.send([self._line(session_id, (line,), self._content, late=False)])


_never_ran = attrgetter("never_ran")


def _has_ended(call_state: CallState) -> bool:
    """Return True if all calls inside one that is ending have ended."""
    return all(inner.done and _has_ended(inner) for attempt in call_state.attempts for inner in attempt.inner)


def _raise(error: BaseException, _record: object) -> None:
    raise error
