"""
The journal: what the calls of an open turn said, kept until the turn's own line is written.

Each call that ends is appended at once to `<trace_dir>/open/<turn id>.jsonl`; the file is removed when
the turn's line is written. `recover` makes a turn of what a killed process leaves there. Each line is
complete by itself, since threads append in any order and the last line may be torn. This module must not know
how a turn is put together again.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._layout.owner import is_alive, machine, started
from ..process import claim, once, process_id
from .call_record import entries_of
from .encode import decode, join, join_all
from .snapshot import known_of
from .trace_file import Receipt, append
from .writer import append_making, why_closed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..turns.turn import CallState, Turn
    from .content import Content
    from .recorded_call import Entry
    from .stored import RequestStore

__all__ = ["FOLDER", "JOURNAL_SCHEMA", "OF_TURN", "Journal", "is_alive", "this_process"]

JOURNAL_SCHEMA = "moa-journal/1"
FOLDER = "open"
"""Below the trace directory."""
OF_TURN = ("preset", "started_at", "input_messages", "params", "parent_turn_id", "tags", "implicit", "trace_context")
"""What a journal's first line says of its turn, by the record's keys; `recover` copies them."""


class Journal:
    """
    The journals of this process's open turns.

    It takes no lock: calls end in any thread, and in finalisers.

    Args:
        trace_dir: The directory of the traces.
    """

    def __init__(self, trace_dir: os.PathLike[str] | str) -> None:
        self._directory = Path(trace_dir) / FOLDER
        self._begun: dict[str, list[bool]] = {}
        """For each turn that has a file, the right to write down what the turn was asked."""

    def path_of(self, turn_id: str) -> str:
        """Return the file of a turn."""
        return f"{self._directory}{os.sep}{turn_id}.jsonl"

    def _path_to_write(self, turn_id: str) -> str:
        """
        Return the file of a turn.

        Raises:
            OSError: The directory is a link, which would lead out of the trace directory; `recover` follows none.
        """
        path = self.path_of(turn_id)
        reason = why_closed(path)
        if reason is not None:
            raise OSError(errno.ENOTDIR, reason, str(self._directory))
        return path

    def add(
        self, turn: Turn, call_state: CallState, content: Content | None, store: RequestStore | None = None
    ) -> BaseException | None:
        """
        Append a call that ended, with the calls inside it.

        Args:
            turn: Its turn, which is open.
            call_state: The call.
            content: What is written of content, `None` for all of it.
            store: Takes the requests out of memory once they are in the file; only without `content`.

        Returns:
            What interrupted a function of the user's that redacts; to be raised.

        Raises:
            OSError: The directory or the disk refuses it.
        """
        if not turn.journalled:
            return None
        # The first line of a journal also says what the turn was asked. Which call is first is decided by a flag
        # that is taken once, since calls end in any thread; if its line is refused the flag goes back, and the
        # next call brings the request (`test_the_request_is_told_by_the_next_call_where_the_first_was_refused`).
        token = self._begun.setdefault(turn.id, once())
        first = claim(token)
        receipt = Receipt()
        urgent: BaseException | None = None
        try:
            entries = entries_of(call_state, late=True)
            data: bytes = join(_line(turn, call_state, entries, first=first))
            if content is not None:
                data, urgent = content.line(data)
            path = self._path_to_write(turn.id)
            append_making(path, data + b"\n", receipt, below=True)
            if store is not None and receipt.start is not None:
                store.keep(call_state, [entry.fields for entry in entries], data, receipt.start)
        finally:
            if first and not receipt.whole:
                token.append(True)  # the next call's line has it
            # `remove` may have run in another thread between the check above and the append. Then this file would
            # stay for ever, and a recovery would write the turn a second time
            # (`test_a_call_that_is_kept_too_late_leaves_no_file`).
            if not turn.journalled:
                # The turn's line was written meanwhile, and its journal removed.
                self._begun.pop(turn.id, None)
                _unlink(self.path_of(turn.id))
        return urgent

    def keep_line(self, turn_id: str, line: bytes) -> None:
        """
        Append the turn's own line, which its file has refused, if there is a journal: `recover` writes it then.

        Raises:
            OSError: The disk refuses this one too.
        """
        if turn_id in self._begun:
            append(self._path_to_write(turn_id), line, Receipt(), below=True)

    def remove(self, turn: Turn) -> None:
        """Remove the file of a turn whose line is written, or that has none."""
        turn.journalled = False
        if self._begun.pop(turn.id, None) is not None:
            _unlink(self.path_of(turn.id))


def _unlink(path: str) -> None:
    if why_closed(path) is not None:
        return  # a link leads to a file of that name which is not this one
    with suppress(OSError):  # what is left `recover` removes
        os.unlink(path)  # noqa: PTH108 - a `Path` costs more


def _line(turn: Turn, call_state: CallState, entries: Sequence[Entry], *, first: bool) -> dict[str, Any]:
    """Return a line: who writes, the turn's own request in the first one, and the calls."""
    places = []
    for entry in entries:
        entry.fields["late"] = False
        places.append(
            {
                "order": [*entry.call_state.order, entry.attempt.number],
                "chosen": entry.is_last and call_state.parent is None,
                "sum": entry.has_inner,
            }
        )
    line: dict[str, Any] = {
        "schema": JOURNAL_SCHEMA,
        "turn_id": turn.id,
        "session_id": turn.session_id,
        "process": this_process(),
        "instrumentation_errors": turn.faults,
        "turns": list(turn.turns),
        "covers": list(_ids(call_state)),
        "places": places,
    }
    if turn.notes:
        line["notes"] = [*map(decode, turn.notes)]
    if first:
        known = known_of(turn, turn.snapshot)
        line["turn"] = join({key: known[key] for key in OF_TURN})
    line["calls"] = join_all(entry.fields for entry in entries)
    return line


def _ids(call_state: CallState) -> Iterator[str]:
    """Yield the ids of a call's requests and of those inside: a later line stands for those of an earlier one."""
    for attempt in call_state.attempts:
        yield attempt.id
        for inner in attempt.inner:
            yield from _ids(inner)


# Processes ---------------------------------------------------------------------------------------

_known: dict[int, dict[str, Any]] = {}
"""This process as its journals name it, by its id."""


def this_process() -> dict[str, Any]:
    """Return the identity of this process, among all on this machine and elsewhere."""
    pid = process_id()
    found = _known.get(pid)
    if found is None:
        found = {**machine(), "pid": pid, "started": started(pid)}
        _known.clear()
        _known[pid] = found
    return found
