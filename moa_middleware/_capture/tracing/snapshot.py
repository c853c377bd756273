"""
What a request was when it began: taken at call entry, as bytes, since the caller may change it.

An iterator of messages is not touched: what the SDK pulled from it is taken at the end.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..shapes.iterators import Recorder
from .encode import Raw, encode, encode_again

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..turns.turn import Turn

__all__ = ["EMPTY", "NULL", "Snapshot", "known_of"]

NULL = Raw(b"null")
EMPTY = Raw(b"{}")
_LARGEST = sys.float_info.max


class Snapshot:
    """One request, encoded."""

    # Most requests have none of these: the class holds what an attribute is until somebody sets it.
    messages: Raw | None = NULL
    """The messages as JSON; `None` for those of an iterator, which `pulled` returns."""
    params = EMPTY
    temperature: float | None = None
    secrets: Sequence[Any] = ()
    """Arguments that are not recorded; looked into only where the call fails, since its error may quote them."""

    def __init__(
        self,
        turn: Turn,
        messages: Any,
        params: Mapping[str, Any],
        omitted: tuple[str, ...],
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if type(messages) is not list and isinstance(messages, Recorder):
            self.messages, self._recorder = None, messages
        elif turn.over:
            self.messages = encode(messages)
        elif messages is not None:
            self.messages, turn.last_encoded = encode_again(messages, turn.last_encoded)
        if params:
            self.params = encode(dict(params))
            temperature = params.get("temperature")
            if isinstance(temperature, int | float) and not isinstance(temperature, bool):
                # JSON has no NaN and no infinity, and its readers no integer beyond a float.
                self.temperature = temperature if -_LARGEST <= temperature <= _LARGEST else None
        self.omitted = omitted
        if omitted and kwargs:
            names = dict.fromkeys(name.partition(".")[0] for name in omitted)
            self.secrets = [kwargs[name] for name in names if name in kwargs]

    def pulled(self) -> Raw:
        """Return the messages of an iterator as JSON, as far as they were pulled."""
        return encode(self._recorder.items)


def known_of(turn: Turn, shot: Snapshot | None) -> dict[str, Any]:
    """Return what is known of a turn before it ends, by the record's keys."""
    return {
        "turn_id": turn.id,
        "session_id": turn.session_id,
        "preset": turn.preset,
        "started_at": turn.clock.started_at,
        "input_messages": (shot.messages or shot.pulled()) if shot is not None else NULL,
        "params": shot.params if shot is not None else EMPTY,
        "parent_turn_id": turn.parent.id if turn.parent is not None else None,
        "turns": list(turn.turns),
        "tags": dict(turn.tags),
        "implicit": turn.implicit,
        "instrumentation_errors": turn.faults,
        "trace_context": turn.trace_context,
    }
