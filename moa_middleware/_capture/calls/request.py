"""
One request of a call: sent, and its reply taken to the end of it, whatever the function returned.

A value is read at once; a future goes back as it is; a stream is handed out behind a proxy, or held
back where a middleware asked for that; a stream manager is handed out until somebody enters it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..flow.driver import Deliver, Drain, Invoke, Resolve
from ..flow.model import DROPPED, Reply, complete
from ..flow.outcome import outcome_of
from ..frames import drop_frames
from ..log import log
from ..scope import Order
from ..shapes.accumulator import Accumulator
from ..shapes.iterators import Recorder
from ..streams.kinds import (
    is_awaitable,
    is_future,
    is_manager,
    is_raw,
    is_stream,
    is_value,
    outcome_of_future,
    underlying_stream,
)
from ..streams.proxies import manager_proxy, replay_proxy, stream_proxy, wrap_underlying_stream
from ..streams.proxy_class import own_state
from ..streams.raw import raw_proxy, read_body
from ..streams.state import End, FutureDone, ManagerEntered, StreamState, follow, future_done
from ..streams.stream_types import is_async_stream, is_file_body, iterator_of
from ..streams.taps import taps_of
from .execution import WireReply
from .kept_reply import reply_of_error, withdraw
from .sent_body import resent, showing_body

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ..flow.driver import Effect
    from ..flow.model import Call
    from ..flow.observers import Observation
    from ..scope import Scope
    from ..turns.turn import Attempt
    from .execution import CallExecution

    Replied = Generator[Effect, Any, tuple[Reply, End | None]]

__all__ = ["RequestExchange"]


class RequestExchange:
    """One request and its reply."""

    __slots__ = ("attempt", "call", "observation", "of", "scope", "source")

    def __init__(  # noqa: PLR0917 - on the path of every call, where keywords cost
        self,
        of: CallExecution,
        attempt: Attempt,
        call: Call,
        observation: Observation,
        source: str = "provider",
        scope: Scope | None = None,
    ) -> None:
        self.of = of
        self.attempt = attempt
        self.call = call
        self.observation = observation
        self.source = source
        """Who answers."""
        self.scope: Scope = scope or of.call_state.turn.scope(attempt, Order(of.call_state.order))

    def send(self, fn: Callable[..., Any]) -> Replied:
        """Call the wrapped function; returns the reply, and how its stream ended if it was delivered."""
        call = self.call
        if type(call.messages) is not list and issubclass(type(call.messages), Recorder):
            call.messages.rewind()
        args, kwargs = call.args, call.kwargs
        if self.attempt.snapshot is not None and self.attempt.snapshot.is_unread:
            function = self.of.known
            args, kwargs = resent(function, self.attempt, args, kwargs)
            fn = showing_body(fn, function, self.attempt, function.spec.bind(call.args, call.kwargs))
        self.attempt.clock.start()
        try:
            # In a box: this frame is suspended for as long as the stream is open, and a frame keeps alive what
            # its variables hold. If one held the proxy, a consumer that drops the stream would not end it: the
            # SDK's connection would stay open and the turn unwritten (`test_lifetimes.py`). A list can be
            # emptied before the frame is suspended; a variable that was handed to a callee cannot.
            box = [(yield Invoke(fn, args, kwargs, self.scope))]
        except BaseException as error:
            self._ended(complete(reply_of_error(error), source=self.source), error)
            raise
        return (yield from self.take(box))

    def take(self, box: list[Any]) -> Replied:
        """Go on with what the wrapped function returned: await it, if it has to be."""
        try:
            if not is_value(box[0]) and is_awaitable(box[0]):
                self.of.is_async = True
                box.append((yield Resolve(box.pop(), self.scope)))
        except BaseException as error:
            self._ended(complete(reply_of_error(error), source=self.source), error)
            raise
        return (yield from self.receive(box))

    def _ended(self, reply: Reply, error: BaseException | None = None) -> Reply:
        return self.of.ended(self.attempt, self.observation, reply, error)

    def _wired(self, reply: Reply, value: Any = None, mapped: Accumulator | None = None) -> None:
        self.of.wire.append(WireReply(reply, value, self.attempt, mapped))

    def receive(self, box: list[Any]) -> Replied:
        """Take what the function returned, whatever it is, to the end of it."""
        of = self.of
        if is_value(box[0]):
            return self._value(box[0]), None
        # The order of the questions matters. A manager may be entered to give any of the others; a raw
        # response may be parsed into a stream; so each answer leads on to those below it.
        try:
            if is_manager(box[0]) and of.state is not None:
                return (yield from self._enter(box))
            if is_manager(box[0]):
                state = self._hold_open()
                got = yield Deliver(manager_proxy(box.pop(), state))
                if not isinstance(got, ManagerEntered):
                    return self._stream_ended(got)
                box.append(got.value)
                got = None  # as above: it would keep what was entered
            if is_future(box[0]):
                return (yield from self._future(box))
            if is_raw(box[0]) and of.state is None and self._is_held:
                return (yield from self._raw_held(box))
            if is_raw(box[0]) and of.state is None:
                got = yield from self._raw(box)
                if not isinstance(got, ManagerEntered):
                    return self._stream_ended(got)
                box.append(got.value)
                got = None
            if is_stream(box[0]):
                return (yield from self._stream(box))
        except GeneratorExit:
            # Never awaited, or the loop is gone: the last that will be heard of this call.
            if self.attempt.reply is None:
                self._ended(Reply(outcome="abandoned", source=self.source))
            raise
        return self._value(box[0]), None

    def _value(self, value: Any) -> Reply:
        """Take down a reply in one piece."""
        reply = self._ended(complete(self.of.known.reply_of(value, self.attempt.call_state.turn), source=self.source))
        self._wired(reply, value)
        return reply

    def _enter(self, box: list[Any]) -> Replied:
        """Enter the manager of a resend: the consumer is inside the first one's `with` already."""
        manager = box.pop()
        is_async = not hasattr(manager, "__enter__")
        error: BaseException | None = None
        try:
            try:
                enter = manager.__aenter__ if is_async else manager.__enter__
                value = yield Invoke(enter, (), {}, self.scope)
                if is_async:
                    value = yield Resolve(value, self.scope)
            except BaseException as raised:
                self._ended(Reply(outcome=outcome_of(raised), error=raised, source=self.source), raised)
                raise
            box.append(value)
            value = None
            try:
                return (yield from self.receive(box))
            except BaseException as raised:
                error = raised
                raise
            finally:
                leave = manager.__aexit__ if is_async else manager.__exit__
                left = leave(type(error) if error is not None else None, error, None)
                if is_async and not issubclass(type(error), GeneratorExit):
                    yield Resolve(left, self.scope)
        finally:
            error = None

    def _hold_open(self) -> StreamState:
        of = self.of
        call = self.call
        tools = call._binding is None or call._binding.offers_tools(call.kwargs)
        taps = taps_of(call._taps) if call._taps else None
        state = StreamState(of.conversation, Accumulator(tools=tools), taps=taps, scope=self.scope)
        of.state = of.call_state.stream = state
        state.call_state = of.call_state
        return state

    def _raw(self, box: list[Any]) -> Generator[Effect, Any, Any]:
        """Hand a raw response out; returns the stream that came out of it, or how its body ended."""
        state = self._hold_open()
        state.scope = None  # reading a body makes no call
        if state.mapped is not None:
            # What the caller reads of it are bytes; a stream that comes out of it begins anew.
            state.tap(taps_of(self.call._taps, only_read=True))
            log("moa.body_unchanged", reason="map_chunks changes a parsed stream, not a body that the caller reads")
        box.append(raw_proxy(box.pop(), state, self.attempt, asked=self.call.stream, stream_proxy=stream_proxy))
        self.of.delivered = True
        got = yield Deliver(box.pop())
        if isinstance(got, ManagerEntered):
            self.of.delivered = False
        return got

    @property
    def _is_held(self) -> bool:
        """Return True if a middleware wants the reply whole before the caller gets anything of it."""
        return any(tap.kind == "buffer" for tap in self.call._taps)

    def _raw_held(self, box: list[Any]) -> Replied:
        """Read the body of a raw response before the caller gets it; who reads it then reads it from memory."""
        response = box[0].http_response
        read = response.aread if hasattr(response.stream, "__aiter__") else response.read
        try:
            value = yield Invoke(read, (), {}, self.scope)
            if is_awaitable(value):
                yield Resolve(value, self.scope)
        except BaseException as error:
            self._ended(Reply(outcome=outcome_of(error), error=error, source=self.source), error)
            raise
        reply, self.attempt.streamed = read_body(box[0], asked=self.call.stream)
        reply = self._ended(reply.replace(source=self.source))
        self._wired(reply, box.pop())
        return reply, None

    def _future(self, box: list[Any]) -> Replied:
        """Give the very future back, and end with it."""
        future = box.pop()
        done: FutureDone = yield Deliver(
            future, partial(future.add_done_callback, partial(future_done, self.of.conversation))
        )
        result, error = outcome_of_future(done.future)
        if error is not None:
            reply = Reply(outcome=outcome_of(error), error=error, source=self.source)
        else:
            reply = complete(self.of.known.reply_of(result, self.attempt.call_state.turn), source=self.source)
        reply = self._ended(reply)
        self._wired(reply)
        return reply, None

    def _stream(self, box: list[Any]) -> Replied:
        """Hand a stream out, or hold it back; returns when it is over."""
        of, taps = self.of, self.call._taps
        is_body = is_file_body(type(box[0]))
        self.attempt.streamed = not is_body
        raw = underlying_stream(box[0])
        if raw is not None and of.delivered:
            box[0] = raw  # of a resend: the first helper goes on with it
            raw = None
        of.is_async = of.is_async or is_async_stream(box[0])
        inner = own_state(box[0])
        if inner is not None and not taps and not of.middleware and of.state is None:
            return (yield from self._follow(inner, box))
        if self._is_held and not is_body:
            return (yield from self._held(box, raw))
        if of.state is None:
            state = self._hold_open()
            if raw is None:
                box.append(stream_proxy(box.pop(), state))
        else:
            state = of.state
            state.begin(taps_of(taps))
            state.scope = self.scope
        if raw is not None:
            wrap_underlying_stream(box[0], raw, state)
            raw = None
        of.delivered = True
        while of.earlier:
            drop_frames(of.earlier.pop())
        end: End = yield Deliver(box.pop())
        return self._stream_ended(end)

    def _follow(self, inner: StreamState, box: list[Any]) -> Replied:
        """Hand out the stream of an instrumented call inside this one: its text is read there, once."""
        self.of.call_state.stream = inner
        self.of.delivered = True
        end: End = yield Deliver(box.pop(), partial(follow, inner, self.of.conversation))
        self.attempt.clock.first_ns = inner.acc.first_ns
        reply = (inner.reply or Reply()).replace(outcome=end.outcome, error=end.error, raw=None)
        reply = self._ended(reply)
        self.attempt.error = self.attempt.error or inner.error
        self._wired(reply)
        return reply, end

    def _stream_ended(self, end: End) -> tuple[Reply, End | None]:
        """
        Take down how a delivered stream ended.

        Raises:
            BaseException: What ended it, where no chunk had been delivered: it may be sent again.
        """
        state = self.of.state
        assert state is not None  # noqa: S101 - it was delivered
        reply = state.acc.reply()
        if self.attempt.streamed:
            self.attempt.clock.first_ns = state.acc.first_ns
        else:
            complete(reply, chunks=None)  # a raw response in one piece
        complete(reply, outcome=end.outcome, error=reply.error if end.error is None else end.error, source=self.source)
        early = end.error is not None and self.of.is_early(end)
        reply = self._ended(reply, end.error if early else None)
        state.reply = self.attempt.reply
        if state.suspended is None and self.of.known.is_generator and self.attempt.number == 1:
            withdraw(self.of.call_state)
        if early and end.error is not None:
            raise end.error
        attempt = self.attempt
        if state.mapped is not None and end.outcome == "completed":
            attempt = self.of.report_mapped(state.mapped, reply) or attempt
        self.of.wire.append(WireReply(reply, None, attempt))
        return reply, end

    def _held(self, box: list[Any], raw: Any) -> Replied:
        """
        Read a stream to its end before the caller gets anything of it.

        Args:
            box: Holds the stream, or an SDK's helper over one.
            raw: The stream under the helper, `None` if there is none.
        """
        source = box[0] if raw is None else raw
        acc = Accumulator()
        chunks: list[Any] = []
        taps = taps_of(self.call._taps)

        def take(raw: Any) -> None:
            acc.feed(raw)
            out = raw if taps is None else taps.apply(raw)
            if out is not DROPPED:
                chunks.append(out)

        failure: BaseException | None = None
        try:
            yield Drain(iterator_of(source), take, self.scope)
        except BaseException as error:
            failure = error
            raise
        finally:
            self.attempt.clock.first_ns = acc.first_ns
            outcome = "completed" if failure is None else outcome_of(failure)
            reply = acc.reply().replace(outcome=outcome, error=failure, source=self.source)
            reply = self._ended(reply, failure)
            failure = None
        held = replay_proxy(source, chunks)
        if raw is not None:
            box[0]._raw_stream = held
            held = box[0]
        self._wired(reply, held, taps.mapped if taps is not None else None)
        return reply, None
