"""The counters of this process, and the flushing of what is still to be written."""

from __future__ import annotations

from typing import Any, NamedTuple

from .config import loaded_outbox, recording
from .log import faults
from .streams.state import finish_broken_off
from .turns.turn import open_turns

__all__ = ["Status", "flush", "status"]


class Status(NamedTuple):
    """
    What became of this process's turns.

    Attributes:
        written: Lines written.
        refused: Lines that the writer refused when they came; they wait, were written later, or are lost.
        waiting: Lines that wait to be written.
        open_turns: Turns that are open.
        faults: Faults of observers and of the recording, none of which reached a call.
        lost: Refused lines that wait no more: there were too many.
        saving: Whether a turn that begins now will be written; a bad setting keeps it off.
    """

    written: int
    refused: int
    waiting: int
    open_turns: int
    faults: int
    lost: int = 0
    saving: bool = False


def status() -> Status:
    """Return the counters of this process."""
    tracer: Any = recording()
    saving = tracer is not None and tracer.saves
    outbox = loaded_outbox()
    if outbox is None:
        return Status(0, 0, 0, open_turns(), faults(), saving=saving)
    tally = outbox.tally
    return Status(tally.written, tally.refused, outbox.waiting(), open_turns(), faults(), tally.lost, saving)


def flush(*, open_streams: bool = False) -> Status:
    """
    Finish streams that were broken off and not taken up again, and write what waits, also what was refused.

    For notebooks, where a stream that was left by `break` stays in a variable, and for handlers of
    SIGTERM.

    Args:
        open_streams: Finish every stream that is open, because the process is about to end without
            Python's own exit (`os._exit`).

    Returns:
        The counters afterwards.
    """
    finish_broken_off(everything=open_streams)
    outbox = loaded_outbox()
    if outbox is not None:
        outbox.flush()
    return status()
