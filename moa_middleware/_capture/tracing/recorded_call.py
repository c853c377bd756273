"""A call's record in the making, and what the record of its turn needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..turns.evidence import Node
from .encode import encode
from .stored import StoredNode, StoredRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..turns.turn import Attempt, CallState

__all__ = ["Entry", "RecordedCall", "is_failed", "within"]

_FAILED = ("error", "crashed")


def is_failed(fields: Mapping[str, Any]) -> bool:
    """Return True if a call failed, by its record; `handled` is an error or cancellation that its function caught."""
    return fields["outcome"] in _FAILED or "handled" in fields


@dataclass(slots=True, eq=False)
class RecordedCall:
    """
    One record of a call, and what its turn's record needs to know of it.

    Attributes:
        fields: The record.
        is_last: Whether it is the attempt that a call of the turn's own returned.
        has_inner: Whether its tokens are those of several calls inside it, which are counted themselves.
    """

    fields: dict[str, Any]
    is_last: bool
    has_inner: bool

    @property
    def failed(self) -> bool:
        """True if it returned nothing: an error that its function handled is not its end."""
        return self.fields["outcome"] in ("error", None) and "handled" not in self.fields

    def node(self) -> Node:
        """Return the call as inference needs it, from its record alone."""
        fields = self.fields
        started = int(fields["started_at"] * 1e9)
        duration = fields["duration_ms"]
        return Node(
            input=b"" if fields["input_messages"] is None else encode(fields["input_messages"]),
            output=fields["output"],
            started_ns=started,
            ended_ns=None if duration is None else started + int(duration * 1e6),
            failed=self.failed,
            answered=False,
            role=fields["role"],
            layer=fields["layer"],
            whole=fields["outcome"] == "completed",
            model=fields["model"],
        )


@dataclass(slots=True, eq=False)
class Entry(RecordedCall):
    """The record of an attempt of this process."""

    call_state: CallState
    attempt: Attempt

    def node(self) -> Node:
        """Return the call as inference needs it: by exact times, and with the value that it returned."""
        attempt, call_state, fields = self.attempt, self.call_state, self.fields
        reply, clock = attempt.reply, attempt.clock
        messages: Any = fields["input_messages"]
        kind: Any = StoredNode if type(messages) is StoredRequest else Node
        node: Node = kind(
            input=messages,
            output=fields["output"],
            started_ns=clock.started_ns,
            ended_ns=clock.ended_ns if call_state.settled else None,
            failed=self.failed,
            answered=within(call_state.turn.answered_by, call_state),
            role=fields["role"],
            layer=fields["layer"],
            others=tuple(choice["text"] for choice in reply.choices if choice["text"]) if reply is not None else (),
            raw=reply.raw if reply is not None else None,
            whole=fields["outcome"] == "completed",
            model=fields["model"],
        )
        return node


def within(call_state: CallState | None, outer: CallState) -> bool:
    """Return True if a call is another one, or was made inside it."""
    while call_state is not None:
        if call_state is outer:
            return True
        call_state = call_state.parent.call_state if call_state.parent is not None else None
    return False
