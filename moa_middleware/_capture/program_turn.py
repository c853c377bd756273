"""
A program as one turn: opened before its first line, closed after its last one.

The turn closes when the interpreter exits, and not with the last line of the script: threads that
are not daemons go on after that, and functions of `atexit` run, and what they ask a model belongs to the program.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

from .config import default_stack
from .flow.outcome import program_outcome
from .streams.state import finish_broken_off

if TYPE_CHECKING:
    from .flow.model import Outcome
    from .flow.outcome import ErrorInfo
    from .turns.turn import Turn

__all__ = ["ProgramTurn"]


class ProgramTurn:
    """The turn of the program that runs in this process; none if nothing records."""

    def __init__(self) -> None:
        self._turn: Turn | None = None
        self._outcome: Outcome = "completed"
        self._error: ErrorInfo | None = None

    def open(self) -> None:
        """Open it. Without a recording no turn is opened, so that one that begins later in the program is recorded."""
        if default_stack.recording() is None:
            return
        self._turn = default_stack.turn().__enter__()
        # Registered before the program registers anything, so that it runs after all of that.
        atexit.register(self._close)

    def ended(self, error: BaseException) -> None:
        """Learn what the program did not catch."""
        self._outcome, self._error = program_outcome(error)

    def _close(self) -> None:
        turn = self._turn
        if turn is None or not turn.alive:
            return  # a forked child has only a copy of it
        # Streams that were not read to their end belong to it, with their text so far.
        finish_broken_off(everything=True)
        turn.close(self._outcome, self._error)
