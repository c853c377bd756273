"""
What a request was when it began: taken at call entry, as bytes, since the caller may change it.

An iterator of messages is not touched: what the SDK pulled from it is taken at the end.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..shapes.request import Recorder
from .encode import Raw, encode, encode_again

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..flow.model import Call
    from ..shapes.request import Request
    from ..turns.turn import Turn

__all__ = ["EMPTY", "NULL", "Snapshot", "known_of", "of_call", "of_request"]

NULL = Raw(b"null")
EMPTY = Raw(b"{}")
_LARGEST = sys.float_info.max


class Snapshot:
    """One request, encoded."""

    __slots__ = ("_messages", "_recorder", "hidden", "model", "omitted", "params", "temperature")

    def __init__(
        self,
        turn: Turn,
        messages: Any,
        params: Mapping[str, Any],
        omitted: tuple[str, ...],
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._recorder = messages if type(messages) is not list and isinstance(messages, Recorder) else None
        if messages is None or self._recorder is not None:
            self._messages = NULL
        elif turn.over:
            self._messages = encode(messages)
        else:
            self._messages, turn.shared = encode_again(messages, turn.shared)
        self.params = encode(dict(params)) if params else EMPTY
        temperature = params.get("temperature")
        self.temperature: float | None = None
        if isinstance(temperature, int | float) and not isinstance(temperature, bool):
            # JSON has no NaN and no infinity, and its readers no integer beyond a float.
            self.temperature = temperature if -_LARGEST <= temperature <= _LARGEST else None
        self.omitted = omitted
        # Looked into only where the call fails: its error may quote them.
        names = dict.fromkeys(name.partition(".")[0] for name in omitted) if omitted and kwargs else ()
        self.hidden = [kwargs[name] for name in names if name in kwargs] if kwargs else []

    @property
    def messages(self) -> Raw:
        """The messages as JSON, those of an iterator as far as they were pulled."""
        if self._recorder is not None:
            return encode(self._recorder.items)
        return self._messages


def of_request(turn: Turn, request: Request) -> Snapshot:
    """Return the snapshot of a turn's own request."""
    return Snapshot(turn, request.messages, request.params, request.omitted)


def of_call(turn: Turn, request: Call | Request, omitted: tuple[str, ...], kwargs: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot of a call, as it goes out."""
    return Snapshot(turn, request.messages, request.params, omitted, kwargs)


def known_of(turn: Turn, shot: Snapshot | None) -> dict[str, Any]:
    """Return what is known of a turn before it ends, by the record's keys."""
    return {
        "turn_id": turn.id,
        "session_id": turn.session_id,
        "preset": turn.preset,
        "started_at": turn.clock.started_at,
        "input_messages": shot.messages if shot is not None else NULL,
        "params": shot.params if shot is not None else {},
        "parent_turn_id": turn.parent.id if turn.parent is not None else None,
        "turns": list(turn.turns),
        "tags": dict(turn.tags),
        "implicit": turn.implicit,
        "instrumentation_errors": turn.faults,
        "trace_context": turn.trace_context,
    }
