"""
Notes on a turn: what the client itself decided, for example scores of a router, votes, and where it stopped.

What a model was asked and said is in the calls of the turn; this is what no call shows.
"""

from __future__ import annotations

import time
from typing import Any

from ..errors import TagError
from .log import log
from .recorder import is_recording
from .turns.turn import current_turn

__all__ = ["note"]

_LONGEST = 100
"""Characters of a kind."""
_TAKEN = ("kind", "at")
"""Keys of a note that are the record's own."""


def note(kind: str, /, **data: Any) -> None:
    """
    Add a note to the turn that the running code is in: `moa.note("vote", winner="a", votes=[2, 1])`.

    It is in the turn's record, under `notes`, in the order in which notes were added, each with the time. Values are
    taken as they are now, and may be anything that JSON can hold; of other objects their fields are kept, or
    the type. While nothing is recorded it does nothing. Outside a turn, and after the turn is over, the note is
    dropped, and the event `moa.note_dropped` is logged.

    Args:
        kind: What the note is about, for example `router`. A name, not content: it is written whatever
            `MOA_CAPTURE` and `MOA_REDACT` say.
        **data: What was decided. Texts, lists and objects in it are content; numbers
            and flags by themselves are not.

    Raises:
        TagError: The kind is not a text of 1 to 100 characters, or `kind` or `at` is among the data.
    """
    if not isinstance(kind, str) or not 0 < len(kind) <= _LONGEST:
        shown = f"{len(kind)} characters" if isinstance(kind, str) else type(kind).__name__
        msg = f"note(kind) takes a name of 1 to {_LONGEST} characters, got {shown}"
        raise TagError(msg)
    taken = [name for name in _TAKEN if name in data]
    if taken:
        msg = f"note({taken[0]}=…): the record has a key of that name; choose another"
        raise TagError(msg)
    turn = current_turn()
    if turn is not None and turn.recording is not None:
        turn.recording.noted(turn, {"kind": kind, "at": time.time(), **data})
    elif turn is None and is_recording():
        log("moa.note_dropped", key=kind, kind=kind, fix="call moa.note inside a turn that is open")
