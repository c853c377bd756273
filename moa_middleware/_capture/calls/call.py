"""
The conversation of one call, from its entry to its end.

It is a generator of effects that a driver performs (`_drive`), so that one source serves sync and
async code and every kind of stream. What a call learns on the way it puts into its `CallSlot`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import ResendError
from ..flow.chain import Send, chain
from ..flow.driver import Deliver
from ..flow.model import SAID, Call, Reply, complete
from ..flow.observers import NOBODY, Observation
from ..flow.outcome import outcome_of
from ..ids import uuid7
from ..log import log
from ..shapes.replies import read_reply
from ..streams.kinds import is_manager, is_stream
from ..streams.state import End
from .answer import check_readable, check_stream, check_value, render_reply, wants_stream
from .request import OneRequest, Wired

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from ..flow.driver import Conversation, Effect
    from ..flow.model import Middleware, Outcome
    from ..flow.observers import Observer
    from ..flow.outcome import ErrorInfo
    from ..scope import Scope
    from ..shapes.replies import Accumulator
    from ..streams.state import StreamState
    from ..turns.call_state import Attempt, CallSlot
    from .function import Known

__all__ = ["CallTalk"]


def as_reply(value: Any) -> Reply:
    """Return what a middleware answered as a reply; a stream is left unread."""
    if isinstance(value, Reply):
        return value
    if is_stream(value) or is_manager(value):
        return Reply(raw=value)
    return read_reply(value).replace(source="middleware")


class CallTalk:
    """One call through a stack's middleware and observers to the wrapped function and back."""

    __slots__ = (
        "__weakref__",
        "answered_by",
        "call",
        "delivered",
        "earlier",
        "fn",
        "is_async",
        "known",
        "middleware",
        "observers",
        "owner",
        "reached",
        "shape",
        "slot",
        "state",
        "talk",
        "wire",
    )

    def __init__(
        self,
        *,
        call: Call,
        slot: CallSlot,
        known: Known,
        fn: Callable[..., Any],
        owner: object,
        middleware: Sequence[Middleware],
        observers: Sequence[Observer],
        sent: tuple[Attempt, Scope, list[Any]] | None = None,
    ) -> None:
        self.call = replace(call, id=uuid7()) if middleware else call
        self.reached = self.call
        """The call as whoever saw it last did: what was sent, or answered, or refused."""
        self.answered_by = ""
        """Name of the middleware that answered last."""
        self.slot = slot
        self.known = known
        self.shape = known.shape
        self.fn = fn
        self.owner = owner
        self.middleware = middleware
        self.observers = observers
        self.state: StreamState | None = None
        self.delivered = False
        """Whether the consumer has a stream already; another one can only go on in its place."""
        self.earlier: list[BaseException] = []
        """What requests raised that a middleware may have sent once more."""
        self.wire: list[Wired] = []
        """Every reply from the wire."""
        self.is_async = known.shape.is_async
        """Whether the caller awaits, as far as it is known by now."""
        self.talk: Conversation = self._run(sent)

    # The whole call ----------------------------------------------------------------------------

    def _run(self, sent: tuple[Attempt, Scope, list[Any]] | None) -> Conversation:
        slot, turn = self.slot, self.slot.turn
        outcome: Outcome = "completed"
        failure: BaseException | ErrorInfo | None = None
        try:
            if sent is not None:
                # It went out by the straight road; what came back is no plain value.
                attempt, scope, box = sent
                sent = None
                yield from OneRequest(self, attempt, self.call, NOBODY, scope=scope).take(box)
                _, value, slot.chosen, _ = self.wire[-1]
            elif self.middleware:
                result = yield from self._through_middleware()
                value = yield from self._answer(result)
            else:
                # What the chain and the answer come to without a middleware, and half of what they cost.
                yield from OneRequest(self, *self._begin(self.call)).send(self.fn)
                _, value, slot.chosen, _ = self.wire[-1]
            last = slot.final if slot.attempts else None
            if last is not None and last.reply is not None:
                outcome, failure = last.reply.outcome, last.error
        except BaseException as error:
            outcome, failure = outcome_of(error), error
            if not slot.attempts:
                # Refused before it was sent, by a budget say: a record that lacked it would lie.
                self._report(Reply(outcome=outcome, error=error, source="middleware"))
            raise
        else:
            return value
        finally:
            self.earlier.clear()
            slot.finish()
            if turn.implicit and slot.parent is None:
                turn.leave(outcome, failure)
            # See _drive: an exception kept in a frame is a cycle.
            failure = None

    def _through_middleware(self) -> Generator[Effect, Any, Reply]:
        """Run the chain and send what it wants sent; returns the reply that it settles on."""
        answered = chain(self.middleware, self.call, read=self._read, reached=self._reached)
        broke: BaseException | None = None
        """What ended a stream that the consumer has had chunks of: it is the consumer's to get."""
        too_late: ResendError | None = None
        end: End | None = None
        try:
            effect = next(answered)
            while True:
                error: BaseException | None = None
                got: Any = None
                try:
                    if type(effect) is not Send:
                        got = yield effect  # type: ignore[misc]  # the effects of a driver are wider
                    elif end is not None and not self._may_resend(end):
                        too_late = _too_late(effect, self.state)
                        error = too_late
                    else:
                        broke = end = None
                        got, end = yield from OneRequest(self, *self._begin(effect.call)).send(self.fn)
                        broke = end.error if end is not None else None
                except BaseException as raised:
                    error = raised
                    if type(effect) is Send:
                        self.earlier.append(raised)
                        end = End("error", raised, listening=True)
                effect = answered.throw(error) if error is not None else answered.send(got)
        except StopIteration as stop:
            reply: Reply = stop.value
            return reply
        except Exception as raised:
            if broke is None or raised is broke:
                broke = None
                raise
            broke.add_note(str(raised) if raised is too_late else _raised_after(raised))
        finally:
            error = too_late = end = got = None
        try:
            # Not from within the handler: its cause and context are not ours to change.
            raise broke
        finally:
            broke = None

    def _read(self, value: Any, name: str) -> Reply:
        self.answered_by = name
        return as_reply(value)

    def _reached(self, call: Call) -> None:
        self.reached = call

    def _may_resend(self, end: End) -> bool:
        """Whether another stream may go on for the one that ended: nothing was delivered yet."""
        return self.state is None or self.is_early(end)

    def is_early(self, end: End) -> bool:
        """Whether a stream ended before the consumer had anything of it, and by no wish of the consumer's."""
        assert self.state is not None  # noqa: S101 - it was delivered
        return end.listening and self.state.delivered == 0 and end.outcome not in ("closed", "consumer_error")

    def _answer(self, result: Reply) -> Conversation:
        """Return to the caller what the middleware settled on."""
        for reply, value, attempt, mapped in self.wire:
            if reply is not result:
                if reply._details is not result._details or not _same_answer(reply, result):
                    continue
                # The same with something noted on it, such as its price.
                attempt.keep(result)
            self.slot.chosen = attempt
            if mapped is not None:
                self.slot.chosen = self.report_mapped(mapped, reply) or attempt
            if value is not None and self.delivered:
                # A resend brought a completed response where a stream had been promised.
                yield from self._go_on_with((yield from render_reply(self, result)))
                return None
            return value
        if self.delivered and self.state is not None and self.state.delivered:
            log("moa.late_replacement", reason="chunks had been delivered; the reply was not replaced")
            return None
        source = "cache" if result.source == "provider" else result.source
        raw = result.raw
        if raw is not None and (is_stream(raw) or is_manager(raw)):
            check_stream(self, raw)
            attempt, call, observation = self._begin(self._answered_call())
            yield from OneRequest(self, attempt, call, observation, source).receive([raw])
            return None if self.delivered else self.wire[-1].value
        if raw is not None and wants_stream(self):
            check_readable(self, result)
        elif raw is not None:
            check_value(self, raw)
            self._report(result.replace(source=source))
            return raw
        self._report(result.replace(source=source))
        rendered = yield from render_reply(self, result)
        if not self.delivered:
            return rendered
        yield from self._go_on_with(rendered)
        return None

    def _go_on_with(self, stream: Any) -> Generator[Effect, Any, None]:
        """Let the consumer's proxy read another stream, which is on record already."""
        assert self.state is not None  # noqa: S101 - a proxy is out
        self.state.begin()
        yield Deliver(stream)
        self.state.reply = self.slot.attempts[-1].reply

    # What is kept ------------------------------------------------------------------------------

    def _began(self, attempt: Attempt, call: Call) -> None:
        slot = self.slot
        slot.model = call.model
        # What a middleware named; the label that it was shown may be a stand-in.
        if call.role != self.call.role:
            slot.role, slot.role_source = call.role, "declared" if call.role else None
        for name in ("label", "layer", "provider"):
            if getattr(call, name) != getattr(self.call, name):
                setattr(slot, name, getattr(call, name))
        recording = slot.turn.recording
        if recording is not None:
            recording.began(attempt, call, call.kwargs)

    def _begin(self, call: Call) -> tuple[Attempt, Call, Observation]:
        """Begin a request; the observers are shown what goes out."""
        attempt = self.slot.attempt()
        if attempt.number == 1 and self.call.id:
            attempt.id = self.call.id
        if self.middleware or self.observers:
            # Its own list: what the observers register is for this request only.
            call = replace(call, attempt=attempt.number, id=attempt.id, _entry=attempt, _taps=[*call._taps])
        observation = Observation(self._fault) if self.observers else NOBODY
        try:
            observation.begin(self.observers, call)
            self._began(attempt, call)
        except BaseException as error:
            reply = Reply(outcome=outcome_of(error), error=error, source="middleware")
            self.ended(attempt, observation, reply, error)
            raise
        return attempt, call, observation

    def ended(
        self, attempt: Attempt, observation: Observation, reply: Reply, error: BaseException | None = None
    ) -> Reply:
        """Take down how a request ended, with a reply that is new; returns it, timed."""
        clock = attempt.clock
        clock.stop()
        complete(reply, duration_ms=clock.duration_ms, first_chunk_ms=clock.first_chunk_ms)
        if reply.source == "provider":
            reply = attempt.completed(reply)
            if self.known.form == "plain" and reply._details.get("shape") is not None:
                # What it returns is a chat completion, whatever its own request looks like.
                self.known.form = reply._details["shape"]
        attempt.keep(reply)
        observation.end(reply, error)
        return reply

    def _answered_call(self) -> Call:
        """Return the call that a middleware answered, as it saw it: redacted, where that was done further out."""
        return replace(self.reached, _taps=[])

    def _report(self, reply: Reply) -> Attempt:
        """Report a reply that never met the wire."""
        attempt, _, observation = self._begin(self._answered_call())
        self.ended(attempt, observation, reply)
        return attempt

    def report_mapped(self, mapped: Accumulator, reply: Reply) -> Attempt | None:
        """Report what `map_chunks` made of a reply: it is what the caller, or the aggregator, read."""
        changed = mapped.reply()
        if changed.text == reply.text:
            return None
        return self._report(changed.replace(source="middleware", raw=None))

    def _fault(self) -> None:
        self.slot.turn.faults += 1


def _same_answer(one: Reply, other: Reply) -> bool:
    """Whether two replies say the same, whatever else is noted on them."""
    return all(getattr(one, name) == getattr(other, name) for name in SAID)


def _raised_after(error: BaseException) -> str:
    """Return a note for the exception of a stream, about one that a middleware raised because of it."""
    notes = getattr(error, "__notes__", ())
    who = next((note for note in reversed(notes) if note.startswith("raised by ")), "raised by a middleware")
    return f"after that, {type(error).__qualname__} was {who}"


def _too_late(effect: Send, state: StreamState | None) -> ResendError:
    count = state.delivered if state is not None else 0
    when = f"after {count} chunks were delivered" if count else "after the consumer had left"
    return ResendError(f"`{effect.by}` asked to resend {when}")
