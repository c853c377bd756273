"""
One turn: the body of a `create`, to the end of what it returned.

A value ends the turn at once, a stream when it is over. What has to be awaited or entered first needs
a conversation, and so does a future.
"""

from __future__ import annotations

from functools import partial
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ..flow.driver import Deliver, Resolve, drive_async, start_sync
from ..flow.model import complete
from ..flow.outcome import outcome_of
from ..frames import hide_own_frames
from ..log import count_fault
from ..scope import current, put_current
from ..shapes.accumulator import Accumulator
from ..shapes.parts import HOLDERS, parts_of
from ..streams.bodies import BodyText, body_of, with_body
from ..streams.kinds import is_stream, kind_of, outcome_of_future
from ..streams.proxies import manager_proxy, stream_proxy
from ..streams.proxy_class import own_state
from ..streams.state import End, FutureDone, ManagerEntered, StreamState, future_done
from ..streams.stream_types import body_attribute
from ..turns.requests import give_up
from ..turns.turn import current_turn
from .prepared import find, keep

if TYPE_CHECKING:
    from ..flow.driver import Conversation
    from ..flow.model import Outcome
    from ..flow.outcome import ErrorInfo
    from ..turns.turn import Turn
    from .invocation import Invocation
    from .prepared import Prepared

__all__ = ["run", "run_async"]


def run(invocation: Invocation) -> Any:
    """Run a turn whose function is called here and now, and return what the caller gets."""
    execution = _open(invocation)
    if execution is None:
        return invocation.wrapped(*invocation.args, **invocation.kwargs)
    try:
        # `scope.invoke`, but for its frame.
        scope, former = execution.turn.scope(), current()
        put_current(scope)
        try:
            value = invocation.wrapped(*invocation.args, **invocation.kwargs)
        finally:
            if current() is scope:
                put_current(former)
    except BaseException as error:
        execution.leave(outcome_of(error), error)
        raise
    try:
        kind = kind_of(value)
        if kind in ("value", "raw", "stream"):
            return execution.receive(value, kind)
    except BaseException as error:
        return _unread(execution, value, error)
    # In a box: a frame that held a manager would keep it alive for ever.
    box = [value]
    value = None
    return start_sync(execution.start(box), async_stream=invocation.function.is_async_generator)


async def run_async(invocation: Invocation) -> Any:
    """Run a turn of a coroutine function; it opens when the coroutine runs."""
    try:
        execution = _open(invocation)
        if execution is None:
            return await invocation.wrapped(*invocation.args, **invocation.kwargs)
        try:
            # `scope.resolve`, but for its frame.
            scope, former = execution.turn.scope(), current()
            put_current(scope)
            try:
                value = invocation.wrapped(*invocation.args, **invocation.kwargs)
                if type(value) is CoroutineType or isawaitable(value):
                    value = await value
            finally:
                if current() is scope:
                    put_current(former)
        except BaseException as error:
            execution.leave(outcome_of(error), error)
            raise
        try:
            kind = kind_of(value)
            if kind == "awaitable" and is_stream(value):
                kind = "stream"  # awaiting it is for the caller
            if kind not in ("manager", "future"):
                return execution.receive(value, kind)
        except BaseException as error:
            return _unread(execution, value, error)
        box = [value]
        value = None
        return (await drive_async(execution.start(box))).value
    except BaseException as error:
        hide_own_frames(error)
        raise


def _open(invocation: Invocation) -> TurnExecution | None:
    """Open the turn; `None` where it goes on in the one around, or where a fault of ours must not cost the call."""
    try:
        named, request = invocation.read()
        prepares = invocation.options.prepares
        if prepares is None:
            return TurnExecution(invocation.open_turn(named, request))
        instance = invocation.instance
        phase = invocation.option("prepares", named)
        is_half = phase is not None and phase is not False
        if is_half and _is_within(instance, invocation.function.method):
            return None  # a client that prepares inside its own turn
        prepared = find(phase) if is_half and phase is not True else None
        if prepared is None:
            return TurnExecution(invocation.open_turn(named, request), prepares=phase is True)
        invocation.enter(prepared.turn)
        prepared.turn.faults += invocation.faults
        return TurnExecution(prepared.turn, prepared=prepared)
    except Exception as error:
        count_fault("entry", error)
        return None


def _unread(execution: TurnExecution, value: Any, error: BaseException) -> Any:
    """
    Close a turn where we could not take what it returned. That is our fault alone: the caller gets it.

    Raises:
        BaseException: `error`, where it is an interrupt of the program.
    """
    if not issubclass(type(error), Exception):
        execution.leave(outcome_of(error), error)
        raise error
    count_fault("reply", error)
    execution.leave("completed")
    return value


def _is_within(instance: object, name: str) -> bool:
    """Return True if this is the same method of the same client as a turn around that is open."""
    turn, here = current_turn(), current()
    if turn is None or instance is None or here is None or here.parent is not None:
        return False
    return any(frame[:2] == (id(instance), name) for frame in turn.frames)


class TurnExecution:
    """One execution of a function that is a turn, or the first or second half of one."""

    __slots__ = ("conversation", "prepared", "prepares", "turn")

    conversation: Conversation

    def __init__(self, turn: Turn, *, prepares: bool = False, prepared: Prepared | None = None) -> None:
        self.turn = turn
        self.prepares = prepares
        """True if another call will finish the turn, with what this one returns."""
        self.prepared = prepared
        """The turn as it was prepared, where this call finishes it."""
        if prepared is not None:
            prepared.finishers += 1
            prepared.finisher = self
            turn.answered_by = None

    @property
    def _is_taken_over(self) -> bool:
        """True if a later call finishes the turn in this one's place: the client sent its request once more."""
        return self.prepared is not None and self.prepared.finisher is not self

    def leave(
        self,
        outcome: Outcome,
        error: BaseException | ErrorInfo | None = None,
        *,
        returned: Any = None,
        at_once: bool = False,
    ) -> None:
        """End the turn, if it is this call that ends it."""
        if self._is_taken_over:
            return
        # A client that sends its request once more finishes one prepared turn several times. The line is
        # that of the last try; the earlier ones must neither close the turn nor write.
        if self.prepared is not None:
            self.prepared.forget()
            # It does not wait for the stream of an earlier try, which nobody may read any more.
            at_once = at_once or self.prepared.finishers > 1
        self.turn.returned = returned
        (self.turn.close if at_once else self.turn.leave)(outcome, error)

    def receive(self, value: Any, kind: str) -> Any:
        """Return what the function returned as the caller gets it; the turn ends with it."""
        try:
            if kind == "stream":
                return self._stream(value)
            if type(value) is tuple and (followed := with_body(value, self._body)) is not None:
                return followed
        except Exception as error:
            # The caller has a value; that we could not follow it is our fault alone.
            count_fault("turn", error)
        self._complete(value)
        return value

    def _complete(self, value: Any) -> None:
        """End the turn with a value, or keep it open for the call that will finish it with that."""
        if self.prepares and value is not None and not isinstance(value, bool):
            keep(self.turn, value)
            return
        if issubclass(type(value), BaseException):
            failure: Any = value
            self.leave(outcome_of(failure), failure)  # a failure that is given to the caller, and not raised
            return
        if issubclass(type(value), HOLDERS):
            self._follow_held(value)
        # Flask's views also return a response in a tuple, with a status or headers.
        response = value[0] if type(value) is tuple and value else value
        attribute = body_attribute(type(response))
        if attribute is None or not self._waits_for_body(response, attribute):
            self.leave("completed", returned=value)

    def _waits_for_body(self, response: Any, attribute: str) -> bool:
        """Let the turn end with the body of a web response; returns False if the body is there already."""
        try:
            body = body_of(response, attribute)
            if body is None:
                return False
            body.put(self._body(body.source, body.content_type))
        except Exception as error:
            count_fault("turn", error)
            return False
        return True

    def _body(self, source: Any, content_type: str) -> Any:
        """Return the iterator of a response's body as the server gets it."""
        if own_state(source) is not None:
            return self._stream(source)
        state = StreamState(None, Accumulator(), scope=self.turn.scope())
        text = BodyText(state.acc, content_type)
        state.on_chunk = text.take_chunk
        state.finish = partial(self._body_ended, state, text)
        return stream_proxy(source, state)

    def _body_ended(self, state: StreamState, text: BodyText, end: End) -> None:
        text.over()
        if end.outcome == "abandoned" and text.count:
            # A server does not come back to a body that it has begun: its client is gone, and some servers
            # drop the iterator then, without a `close`.
            end = end._replace(outcome="closed")
        if end.outcome in {"cancelled", "closed"}:
            give_up(self.turn, end.outcome)
        self._stream_ended(state, end)

    def _follow_held(self, value: Any) -> None:
        """Have the turn wait for a stream in what it returned, for example next to a name: that is its answer."""
        held = [state for part in parts_of(value) if (state := own_state(part.value)) is not None]
        if len(held) == 1 and held[0].call_state is not None and not self._is_taken_over:
            self.turn.answered_by = held[0].call_state
            held[0].add_done_callback(partial(self._held_ended, held[0]))

    def _held_ended(self, state: StreamState, _outcome: Outcome, _error: BaseException | None) -> None:
        self.turn.reply = state.reply

    def _stream(self, source: Any) -> Any:
        inner = own_state(source)
        if inner is not None:
            # The aggregator's own stream: its text is read there, once. A second proxy around the first would
            # read every chunk twice, and `break` on the outer one would not reach the inner one's state.
            if not self._is_taken_over:
                self.turn.answered_by = inner.call_state
            inner.add_done_callback(partial(self._aggregator_ended, inner))
            return source
        state = StreamState(None, Accumulator(), scope=self.turn.scope())
        state.finish = partial(self._stream_ended, state)
        return stream_proxy(source, state)

    def _aggregator_ended(self, inner: StreamState, outcome: Outcome, error: BaseException | None) -> None:
        if not self._is_taken_over:
            self.turn.reply = inner.reply
            self.leave(outcome, inner.error if error is None else error, at_once=True)

    def _stream_ended(self, state: StreamState, end: End) -> None:
        try:
            state.reply = complete(state.acc.reply(), outcome=end.outcome)
            if not self._is_taken_over:
                self.turn.reply = state.reply
        finally:
            self.leave(end.outcome, end.error)

    def start(self, box: list[Any]) -> Conversation:
        """
        Return the conversation with what has to be awaited or entered first.

        Args:
            box: Holds what the function returned.
        """
        self.conversation = self._converse(box)
        return self.conversation

    def _converse(self, box: list[Any]) -> Conversation:
        try:
            if kind_of(box[0]) == "awaitable":
                box.append((yield Resolve(box.pop(), self.turn.scope())))
        except BaseException as error:
            self.leave(outcome_of(error), error)
            raise
        kind = kind_of(box[0])
        try:
            if kind == "future":
                # A conversation, and no plain callback: one that is dropped with its future is closed, and so
                # is the turn (`test_a_turn_whose_future_is_dropped_closes`).
                future = box.pop()
                then = partial(future.add_done_callback, partial(future_done, self.conversation))
                done: FutureDone = yield Deliver(future, then)
                value, failure = outcome_of_future(done.future)
                if failure is None:
                    self._complete(value)
                else:
                    self.leave(outcome_of(failure), failure)
                return None
            if kind != "manager":
                return self.receive(box.pop(), kind)
            state = StreamState(self.conversation, Accumulator(), scope=self.turn.scope())
            got = yield Deliver(manager_proxy(box.pop(), state))
            if isinstance(got, ManagerEntered):
                if not is_stream(got.value):
                    self.leave("completed", returned=got.value)
                    return got.value
                state.begin()
                box.append(got.value)
                got = yield Deliver(box.pop())
        except GeneratorExit:
            self.leave("abandoned")
            raise
        self._stream_ended(state, got)
        return None
