"""
The conversation of one call, from its entry to its end.

It is a generator of effects that a driver performs (`_drive`), so that one source serves sync and
async code and every kind of stream. What a call learns on the way it puts into its `CallSlot`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ._call import Call, Reply
from ._drive import Deliver, Drain, Invoke, Resolve
from ._flow import Send, chain
from ._futures import Done, follow, future_done, is_awaitable, is_future, outcome_of_future
from ._log import log
from ._observe import Observation
from ._proxy import held_proxy, is_manager, is_stream, manager_proxy, own_state, stream_proxy
from ._scope import Order
from ._stream import DROPPED, End, Entered, StreamState, through
from ._turn import Attempt, CallSlot, outcome_of
from .errors import ReplyFormError, ResendError
from .shapes.render import render
from .shapes.reply import Accumulator, read_reply
from .shapes.request import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from ._call import Middleware, Outcome
    from ._drive import Conversation, Effect
    from ._observe import Observer
    from ._scope import Scope

__all__ = ["CallTalk", "Shape"]


class Shape(NamedTuple):
    """What is known of the wrapped function."""

    family: str
    """Shape of its request."""
    is_async: bool
    """Whether it returns an awaitable, or an async stream."""
    is_generator: bool
    """Whether it returns a stream, whatever its arguments say."""


def as_reply(value: Any) -> Reply:
    """Return what a middleware answered as a reply; a stream is left unread."""
    if is_stream(value) or is_manager(value):
        return Reply(raw=value)
    return read_reply(value).replace(source="middleware")


class CallTalk:
    """One call through a stack's middleware and observers to the wrapped function and back."""

    __slots__ = (
        "__weakref__",
        "call",
        "delivered",
        "fn",
        "middleware",
        "observers",
        "owner",
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
        shape: Shape,
        fn: Callable[..., Any],
        owner: object,
        middleware: Sequence[Middleware],
        observers: Sequence[Observer],
    ) -> None:
        self.call = call
        self.slot = slot
        self.shape = shape
        self.fn = fn
        self.owner = owner
        self.middleware = middleware
        self.observers = observers
        self.state: StreamState | None = None
        self.delivered = False
        """Whether the consumer has a stream already; another one can only go on in its place."""
        self.wire: list[tuple[Reply, Any]] = []
        """Every reply from the wire, with what the function returned."""
        self.talk: Conversation = self._run()

    # The whole call ----------------------------------------------------------------------------

    def _run(self) -> Conversation:
        slot, turn = self.slot, self.slot.turn
        outcome: Outcome = "completed"
        failure: BaseException | None = None
        try:
            result = yield from self._through_middleware()
            value = yield from self._answer(result)
            last = slot.attempts[-1].reply if slot.attempts else None
            if last is not None:
                outcome, failure = last.outcome, last.error
        except BaseException as error:
            outcome, failure = outcome_of(error), error
            if not slot.attempts:
                # Refused before it was sent, by a budget say: a record that lacked it would lie.
                self._report(Reply(outcome=outcome, error=error, source="middleware"))
            raise
        else:
            return value
        finally:
            slot.finish()
            if turn.implicit:
                turn.close(outcome, failure)
            # See _drive: an exception kept in a frame is a cycle.
            failure = None

    def _through_middleware(self) -> Generator[Effect, Any, Reply]:
        """Run the chain and send what it wants sent; returns the reply that it settles on."""
        answered = chain(self.middleware, self.call, read=as_reply)
        wire_error: BaseException | None = None
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
                        got, end = yield from self._send(effect.call)
                        wire_error = got.error
                except BaseException as raised:
                    error = raised
                    if type(effect) is Send:
                        end = End("error", raised, listening=True)
                        wire_error = raised
                effect = answered.throw(error) if error is not None else answered.send(got)
        except StopIteration as stop:
            reply: Reply = stop.value
            return reply
        except ResendError as raised:
            if raised is too_late and wire_error is not None:
                wire_error.add_note(str(raised))
                raise wire_error from None
            raise
        finally:
            wire_error = too_late = None

    def _may_resend(self, end: End) -> bool:
        """Whether another stream may go on for the one that ended: nothing was delivered yet."""
        if self.state is None:
            return True
        return end.listening and self.state.acc.count == 0

    def _answer(self, result: Reply) -> Conversation:
        """Return to the caller what the middleware settled on."""
        for reply, value in self.wire:
            if reply is result:
                if value is not None and self.delivered:
                    # A resend brought a completed response where a stream had been promised.
                    yield from self._go_on_with(self._render(result))
                    return None
                return value
        if self.delivered and self.state is not None and self.state.acc.count:
            log("moa.late_replacement", reason="chunks had been delivered; the reply was not replaced")
            return None
        source = "cache" if result.source == "provider" else result.source
        raw = result.raw
        if raw is not None and (is_stream(raw) or is_manager(raw)):
            self._check_form(stream=True, kind=type(raw).__name__)
            attempt = self.slot.attempt()
            self._began(attempt, self.call)
            observation = Observation(self.observers, self.call, self._fault)
            yield from self._receive(attempt, observation, self.call, [raw], source)
            return None if self.delivered else self.wire[-1][1]
        self._report(result.replace(source=source))
        if raw is not None and not self._wants_stream():
            return raw
        rendered = self._render(result)
        if not self.delivered:
            return rendered
        yield from self._go_on_with(rendered)
        return None

    def _go_on_with(self, stream: Any) -> Generator[Effect, Any, None]:
        """Let the consumer's proxy read another stream, which is on record already."""
        assert self.state is not None  # noqa: S101 - a proxy is out
        self.state.begin()
        yield Deliver(stream)

    def _wants_stream(self) -> bool:
        return self.shape.is_generator or self.call.stream

    def _check_form(self, *, stream: bool, kind: str) -> None:
        """
        Refuse an answer that the caller could not use.

        Raises:
            ReplyFormError: It is a stream where a value was asked for.
        """
        if stream and not self._wants_stream() and not self.delivered:
            msg = (
                f"a middleware answered with a stream ({kind}), but the caller did not ask for one; "
                "return a value or a Reply"
            )
            raise ReplyFormError(msg)

    def _render(self, reply: Reply) -> Any:
        stream = self._wants_stream()
        call = self.call.replace() if stream == self.call.stream else _with_stream(self.call)
        return render(reply, call, self.shape.family, owner=self.owner, is_async=self.shape.is_async)

    # One request -------------------------------------------------------------------------------

    def _send(self, call: Call) -> Generator[Effect, Any, tuple[Reply, End | None]]:
        """Send one request; returns its reply, and how its stream ended if it was delivered."""
        slot = self.slot
        attempt = slot.attempt()
        call = _numbered(call, attempt)
        if isinstance(call.messages, Recorder):
            call.messages.rewind()
        observation = Observation(self.observers, call, self._fault)
        self._began(attempt, call)
        scope = slot.turn.scope(attempt, Order(slot.order))
        attempt.clock.start()
        try:
            value = yield Invoke(self.fn, call.args, call.kwargs, scope)
            if is_awaitable(value):
                value = yield Resolve(value, scope)
            # In a box: a suspended frame that held a proxy would keep it alive for ever.
            box = [value]
            value = None
        except BaseException as error:
            reply = Reply(outcome=outcome_of(error), error=error, source="provider")
            self._ended(attempt, observation, reply, error)
            raise
        return (yield from self._receive(attempt, observation, call, box, "provider", scope))

    def _receive(
        self,
        attempt: Attempt,
        observation: Observation,
        call: Call,
        box: list[Any],
        source: str,
        scope: Scope | None = None,
    ) -> Generator[Effect, Any, tuple[Reply, End | None]]:
        """Take what the function returned, whatever it is, to the end of it."""
        try:
            if is_manager(box[0]) and not self.delivered:
                self._hold_open(StreamState(self.talk, taps=call._taps, scope=scope))
                got = yield Deliver(manager_proxy(box.pop(), self.state))
                if not isinstance(got, Entered):
                    return self._stream_ended(attempt, observation, got, source)
                box.append(got.value)
            if is_future(box[0]):
                return (yield from self._future(attempt, observation, box, source))
            if is_stream(box[0]):
                return (yield from self._stream(attempt, observation, call, box, source, scope))
        except GeneratorExit:
            # Never awaited, or the loop is gone: the last that will be heard of this call.
            if attempt.reply is None:
                self._ended(attempt, observation, Reply(outcome="abandoned", source=source))
            raise
        reply = read_reply(box[0]).replace(source=source)
        self._ended(attempt, observation, reply)
        self.wire.append((reply, box[0]))
        return reply, None

    def _hold_open(self, state: StreamState) -> None:
        self.state = state
        self.slot.stream = state
        state.slot = self.slot

    def _future(
        self, attempt: Attempt, observation: Observation, box: list[Any], source: str
    ) -> Generator[Effect, Any, tuple[Reply, End | None]]:
        """Give the very future back, and end with it."""
        future = box.pop()
        done: Done = yield Deliver(future, partial(future.add_done_callback, partial(future_done, self.talk)))
        result, error = outcome_of_future(done.future)
        if error is not None:
            reply = Reply(outcome=outcome_of(error), error=error, source=source)
        else:
            reply = read_reply(result).replace(source=source)
        self._ended(attempt, observation, reply)
        self.wire.append((reply, None))
        return reply, None

    def _stream(
        self,
        attempt: Attempt,
        observation: Observation,
        call: Call,
        box: list[Any],
        source: str,
        scope: Scope | None,
    ) -> Generator[Effect, Any, tuple[Reply, End | None]]:
        """Hand a stream out, or hold it back; returns when it is over."""
        taps = call._taps
        attempt.streamed = True
        inner = own_state(box[0])
        if inner is not None and not taps and not self.middleware and self.state is None:
            # The stream of an instrumented call inside this one: its text is read there, once.
            self.slot.stream = inner
            self.delivered = True
            end: End = yield Deliver(box.pop(), partial(follow, inner, self.talk))
            reply = (inner.reply or Reply()).replace(outcome=end.outcome, error=end.error, raw=None)
            self._ended(attempt, observation, reply)
            self.wire.append((reply, None))
            return reply, end
        if any(tap.kind == "buffer" for tap in taps):
            return (yield from self._held(attempt, observation, call, box, source, scope))
        out = box.pop()
        if self.state is None:
            self._hold_open(StreamState(self.talk, taps=taps, scope=scope))
            out = stream_proxy(out, self.state)
        else:
            self.state.begin(taps)
            self.state.scope = scope
        self.delivered = True
        box.append(out)
        out = None
        end = yield Deliver(box.pop())
        return self._stream_ended(attempt, observation, end, source)

    def _stream_ended(
        self, attempt: Attempt, observation: Observation, end: End, source: str
    ) -> tuple[Reply, End | None]:
        """
        Take down how a delivered stream ended.

        Raises:
            BaseException: What ended it, where no chunk had been delivered: it may be sent again.
        """
        state = self.state
        assert state is not None  # noqa: S101 - it was delivered
        attempt.clock.first_ns = state.acc.first_ns
        reply = state.acc.reply().replace(outcome=end.outcome, error=end.error, source=source)
        state.reply = reply
        early = end.error is not None and end.listening and state.acc.count == 0
        self._ended(attempt, observation, reply, end.error if early else None)
        if early and end.error is not None:
            raise end.error
        if state.mapped is not None and end.outcome == "completed":
            self._report_mapped(state.mapped, reply)
        self.wire.append((reply, None))
        return reply, end

    def _report_mapped(self, mapped: Accumulator, reply: Reply) -> None:
        """Report what `map_chunks` made of a reply: it is what the caller, or the aggregator, read."""
        changed = mapped.reply()
        if changed.text != reply.text:
            self._report(changed.replace(source="middleware", raw=None))

    def _held(
        self,
        attempt: Attempt,
        observation: Observation,
        call: Call,
        box: list[Any],
        source: str,
        scope: Scope | None,
    ) -> Generator[Effect, Any, tuple[Reply, End | None]]:
        """Read a stream to its end before the caller gets anything of it."""
        acc = Accumulator()
        chunks: list[Any] = []
        taps = [tap for tap in reversed(call._taps) if tap.kind != "buffer"]

        def take(raw: Any) -> None:
            acc.feed(raw)
            out = through(raw, taps) if taps else raw
            if out is not DROPPED:
                chunks.append(out)

        failure: BaseException | None = None
        try:
            yield Drain(box[0], take, scope)
        except BaseException as error:
            failure = error
            raise
        finally:
            attempt.clock.first_ns = acc.first_ns
            reply = acc.reply().replace(
                outcome="completed" if failure is None else outcome_of(failure),
                error=failure,
                source=source,
            )
            self._ended(attempt, observation, reply, failure)
            failure = None
        self.wire.append((reply, held_proxy(box.pop(), chunks)))
        return reply, None

    # What is kept ------------------------------------------------------------------------------

    def _began(self, attempt: Attempt, call: Call) -> None:
        slot = self.slot
        slot.model = call.model
        recording = slot.turn.recording
        if recording is not None:
            recording.began(attempt, call)

    def _ended(
        self,
        attempt: Attempt,
        observation: Observation,
        reply: Reply,
        error: BaseException | None = None,
    ) -> None:
        clock = attempt.clock
        clock.stop()
        attempt.reply = reply = reply.replace(
            duration_ms=clock.duration_ms, first_chunk_ms=clock.first_chunk_ms
        )
        observation.end(reply, error)

    def _report(self, reply: Reply) -> None:
        """Report a reply that never met the wire."""
        attempt = self.slot.attempt()
        call = _numbered(self.call, attempt)
        observation = Observation(self.observers, call, self._fault)
        self._began(attempt, call)
        self._ended(attempt, observation, reply)

    def _fault(self) -> None:
        self.slot.turn.faults += 1


def _numbered(call: Call, attempt: Attempt) -> Call:
    from dataclasses import replace

    return replace(call, attempt=attempt.number, id=attempt.id, _entry=attempt)


def _with_stream(call: Call) -> Call:
    from dataclasses import replace

    return replace(call, stream=True)


def _too_late(effect: Send, state: StreamState | None) -> ResendError:
    count = state.acc.count if state is not None else 0
    when = f"after {count} chunks were delivered" if count else "after the consumer had left"
    return ResendError(f"`{effect.by}` asked to resend {when}")
