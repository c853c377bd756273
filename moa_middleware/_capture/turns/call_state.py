"""
One call of a turn with its requests: what is known of it while it runs.

Nothing here writes, encodes or infers; a turn's recording reads it when the turn is over.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .. import process
from ..flow.outcome import error_of
from ..ids import Clock, uuid7
from ..process import claim, once
from .words import reply_text, texts_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..flow.model import Reply
    from ..flow.outcome import ErrorInfo
    from ..scope import Order
    from ..shapes.request import Request
    from .turn import Turn

__all__ = ["Attempt", "CallState"]


class Attempt:
    """One request of a call and its reply; a retry is another attempt."""

    # Most of this is not known, or never needed, for most requests: the class holds what an
    # attribute is until somebody sets it. Each call makes one of these.
    number = 1
    reply: Reply | None = None
    error: ErrorInfo | None = None
    streamed = False
    memo: Any = None
    """What the recording keeps with it: the request, as bytes."""

    def __init__(self, slot: CallState) -> None:
        self.id = uuid7()
        self.slot = slot
        self.clock = Clock()
        self.inner: list[CallState] = []
        """Calls made inside it."""

    def keep(self, reply: Reply) -> None:
        """
        Keep a reply: its exception as words, and its value only if that tells it from others.

        A value that is not understood may hold an open stream, which would then never be dropped.
        """
        raw = reply.raw
        understood = reply.text is not None or bool(reply.tool_calls)
        keeps = understood and not isinstance(raw, tuple) and (not isinstance(raw, dict) or "choices" in raw)
        if reply.error is not None and self.slot.turn.recording is not None:
            self.error = error_of(reply.error)
        if reply.error is None and (keeps or raw is None):
            self.reply = reply
        else:
            self.reply = replace(reply, error=None, raw=raw if keeps else None)

    def shared(self, value: object) -> Reply | None:
        """Return the reply of the single call inside that returned this very object: it is read already."""
        if value is None or len(self.inner) != 1 or not self.inner[0].attempts:
            return None
        inner = self.inner[0].final
        reply = inner.reply
        if reply is None or reply.raw is not value or reply.source != "provider" or inner.error is not None:
            return None
        return reply

    def completed(self, reply: Reply) -> Reply:
        """Complete the reply of a call around a single other one: tokens and price are known there."""
        if len(self.inner) != 1 or not self.inner[0].attempts:
            return reply
        inner = self.inner[0].final.reply
        if inner is None:
            return reply
        changes = {
            name: getattr(inner, name)
            for name in ("text", "tool_calls", "finish_reason", "usage", "cost_usd")
            if not getattr(reply, name) and getattr(inner, name)
        }
        raw = reply.raw
        if inner.text and reply.text != inner.text and raw is not None and type(raw) is not str:
            self._find_words(reply, inner.text, changes)
        # Not `reply.replace`: what a middleware changes with it is no longer the provider's.
        return replace(reply, **changes) if changes else reply

    def _find_words(self, reply: Reply, words: str, changes: dict[str, Any]) -> None:
        """Look for the reply in what was returned around it: a tuple's first text may be a name."""
        first = isinstance(reply.raw, tuple | list)
        if reply._details.get("shape") is not None or not (first or reply.text is None):
            return  # it is known where the text of such a value is
        slot, request = self.slot, self.slot.request
        names = {slot.model, slot.label, slot.provider, self.inner[0].model}
        asked = (request.messages, request.params) if request is not None else ()
        text = reply_text(reply.raw, words, names.union(texts_in(asked)))
        if text is not None or isinstance(reply.raw, tuple):
            changes["text"] = text or words

    def drop_content(self) -> None:
        """Forget what was said; contexts of threads may hold this object for ever."""
        self.reply = self.memo = self.error = None
        self.inner = []


class CallState:
    """One call, with all its attempts."""

    # As above: what options and tags seldom say is not set for each call.
    role: str | None = None
    role_source: str | None = None
    label: str | None = None
    layer: int | None = None
    model: str | None = None
    provider: str | None = None
    endpoint: str | None = None
    client: object = None
    """The SDK's client, whose keys an exception may quote."""
    name = ""
    """Name of the function."""
    tags: Mapping[str, Any] = MappingProxyType({})
    request: Request | None = None
    chosen: Attempt | None = None
    """The attempt whose reply the caller got, where that is known; else it is the last."""
    stream: Any = None
    """State of its stream while that is open."""
    engine: object = None
    """The stack that it went through."""
    done = False
    settled = False
    """True if it had ended when its turn closed."""
    listing: Any = None
    """How the turn's line lists its calls, kept while there are late ones."""
    apart = False
    """True if it has a late line of its own, which still needs its content."""

    def __init__(self, turn: Turn, parent: Attempt | None, order: Order | None) -> None:
        self.turn = turn
        # A call of a nested turn is its own turn's, not an inner call of the one around.
        self.parent = parent if parent is not None and parent.slot.turn is turn else None
        self.order = (order or turn.order).take()
        self.attempts: list[Attempt] = []
        self.claimed = once()
        if self.parent is not None:
            self.parent.inner.append(self)
        if turn.recording is not None and not turn.over:
            turn.calls.append(self)

    @property
    def final(self) -> Attempt:
        """The attempt that the call came down to."""
        return self.chosen or self.attempts[-1]

    @property
    def outermost(self) -> CallState:
        """The call around the calls around this one, itself if there is none."""
        slot = self
        while slot.parent is not None:
            slot = slot.parent.slot
        return slot

    def attempt(self) -> Attempt:
        """Begin a further request."""
        attempt = Attempt(self)
        if self.attempts:
            attempt.number = len(self.attempts) + 1
        self.attempts.append(attempt)
        return attempt

    def finish(self) -> None:
        """End the call: the recording is told while the turn is open, and of a late one with the calls inside it."""
        turn = self.turn
        if turn.recording is not None and not turn.over and turn.alive_in == process.pid:
            try:
                turn.recording.ended(turn, self)
            finally:
                self._end()
        else:
            self._end()

    def _end(self) -> None:
        self.done = True
        self.stream = None
        turn = self.turn
        if self.parent is not None and not self.parent.slot.done:
            return  # that one is completed from it
        if turn.recording is None:
            self.drop_content()
        elif turn.over and turn.alive and claim(self.claimed):
            turn.recording.ended_late(turn, self)
            self.drop_content()

    def drop_content(self) -> None:
        """Forget the requests and those of the calls inside, as far as they have ended."""
        attempts, self.attempts = self.attempts, []
        self.chosen = self.request = self.client = None
        for attempt in attempts:
            for slot in attempt.inner:
                if slot.done and not slot.apart:
                    slot.drop_content()
            attempt.drop_content()
