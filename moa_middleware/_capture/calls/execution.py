"""
The state of one call that runs as a conversation, and what is kept of its requests.

A call with middleware or observers, or whose function returned a future, a manager, an awaitable or
a raw response. `request` sends, `answer` checks what a middleware answered, `call` is the whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..flow.model import Reply, complete
from ..flow.observers import NOBODY, Observation
from ..flow.outcome import outcome_of
from ..ids import uuid7
from .kept_reply import keep_reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..flow.driver import Conversation
    from ..flow.model import Call, Middleware
    from ..flow.observers import Observer
    from ..shapes.accumulator import Accumulator
    from ..streams.state import End, StreamState
    from ..turns.turn import Attempt, CallState
    from .invocation import Invocation

__all__ = ["CallExecution", "WireReply"]


class WireReply(NamedTuple):
    """A reply from the wire."""

    reply: Reply
    value: Any
    """What the function returned, or what holds it; `None` if the caller has it already."""
    attempt: Attempt
    """The request that the caller's reply came from, a report on `map_chunks` where that changed it."""
    mapped: Accumulator | None = None
    """What `map_chunks` made of a stream that was held back."""


class CallExecution:
    """What is known of one call through a stack's middleware and observers."""

    __slots__ = (
        "answered_by",
        "call",
        "call_state",
        "conversation",
        "delivered",
        "earlier",
        "invocation",
        "is_async",
        "known",
        "middleware",
        "observers",
        "reached",
        "state",
        "wire",
    )

    conversation: Conversation

    def __init__(
        self,
        invocation: Invocation,
        call_state: CallState,
        call: Call,
        *,
        middleware: Sequence[Middleware] = (),
        observers: Sequence[Observer] = (),
    ) -> None:
        self.invocation = invocation
        self.known = invocation.function
        self.call = replace(call, id=uuid7()) if middleware else call
        self.reached = self.call
        """The call as it was seen last: sent, answered or refused."""
        self.answered_by = ""
        """Name of the middleware that answered last."""
        self.call_state = call_state
        self.middleware = middleware
        self.observers = observers
        self.state: StreamState | None = None
        self.delivered = False
        """True if the consumer has a stream already; another one can only go on in its place."""
        self.earlier: list[BaseException] = []
        """What requests raised that a middleware may have sent once more."""
        self.wire: list[WireReply] = []
        """Every reply from the wire."""
        self.is_async = self.known.is_async
        """True if the caller awaits, as far as it is known by now."""

    def is_early(self, end: End) -> bool:
        """Return True if a stream ended before the consumer had anything of it, and by no wish of the consumer's."""
        assert self.state is not None  # noqa: S101 - it was delivered
        return end.listening and self.state.delivered == 0 and end.outcome not in ("closed", "consumer_error")

    def begin(self, call: Call) -> tuple[Attempt, Call, Observation]:
        """Begin a request; the observers are shown what goes out."""
        # A middleware has seen the call under an id before anything was sent: the first request has that
        # one. Each further request is a call of its own in the record, with its own id.
        attempt = self.call_state.attempt()
        if attempt.number == 1 and self.call.id:
            attempt.id = self.call.id
        if self.middleware or self.observers:
            # Its own list: what the observers register is for this request only.
            call = replace(call, attempt=attempt.number, id=attempt.id, _taps=[*call._taps])
        observation = Observation(self._count_fault) if self.observers else NOBODY
        try:
            observation.begin(self.observers, call)
            self._began(attempt, call)
        except BaseException as error:
            reply = Reply(outcome=outcome_of(error), error=error, source="middleware")
            self.ended(attempt, observation, reply, error)
            raise
        return attempt, call, observation

    def _began(self, attempt: Attempt, call: Call) -> None:
        call_state = self.call_state
        # What a middleware named; the label that it was shown may be a stand-in.
        if call.role != self.call.role:
            call_state.role, call_state.role_source = call.role, "declared" if call.role else None
        if call.layer != self.call.layer:
            call_state.layer = call.layer
        # These belong to the request: another attempt may have others.
        for name in ("model", "label", "provider"):
            if getattr(call, name) != getattr(self.call, name):
                setattr(attempt, name, getattr(call, name))
        if call.messages is not self.call.messages:
            # An SDK's method may call another of its methods, which is known by what it says.
            attempt.messages = call.messages
        recording = call_state.turn.recording
        if recording is not None:
            recording.began(attempt, call, call.kwargs)

    def ended(
        self, attempt: Attempt, observation: Observation, reply: Reply, error: BaseException | None = None
    ) -> Reply:
        """Keep the reply of a request, which is new, and show it to the observers; returns it, timed."""
        clock = attempt.clock
        clock.stop()
        complete(reply, duration_ms=clock.duration_ms, first_chunk_ms=clock.first_chunk_ms)
        reply = keep_reply(self.known, attempt, reply, self.invocation)
        observation.end(reply, error)
        return reply

    def report(self, reply: Reply) -> Attempt:
        """Record a reply that never met the wire, to the call as the middleware that answered saw it."""
        attempt, _, observation = self.begin(self.answered_call())
        self.ended(attempt, observation, reply)
        return attempt

    def answered_call(self) -> Call:
        """Return the call that a middleware answered, as it saw it: redacted, where that was done further out."""
        return replace(self.reached, _taps=[])

    def report_mapped(self, mapped: Accumulator, reply: Reply) -> Attempt | None:
        """Record what `map_chunks` made of a reply: it is what the caller, or the aggregator, read."""
        changed = mapped.reply()
        if _said(changed) == _said(reply):
            return None
        return self.report(changed.replace(source="middleware", raw=None))

    def _count_fault(self) -> None:
        self.call_state.turn.faults += 1


def _said(reply: Reply) -> Any:
    """Return what a reply says, of whichever kind and in whichever choice, in a form to compare."""
    kinds = ("text", "reasoning", "refusal", "tool_calls")
    choices = reply.choices or ({kind: getattr(reply, kind) for kind in kinds},)
    return [[*map(choice.get, kinds[:3]), *choice["tool_calls"]] for choice in choices]
