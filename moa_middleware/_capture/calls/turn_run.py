"""
One turn: the body of a `create`, to the end of what it returned.

A turn of one function takes the straight road; one in two calls, or one whose function returns a
future, a manager or an awaitable, a conversation.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..flow.driver import Deliver, Invoke, Resolve, drive_async, start_sync
from ..flow.model import complete
from ..flow.outcome import outcome_of
from ..log import count_fault
from ..scope import current, invoke, resolve
from ..shapes.accumulator import Accumulator
from ..streams.kinds import is_awaitable, is_future, is_manager, is_stream, is_value, kind_of, outcome_of_future
from ..streams.proxies import manager_proxy, stream_proxy
from ..streams.proxy_class import own_state
from ..streams.state import End, FutureDone, ManagerEntered, StreamState, follow, future_done
from ..turns.turn import current_turn
from .function import resolve_option
from .prepared import find, keep

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..flow.driver import Conversation, Effect
    from ..flow.model import Outcome
    from ..flow.outcome import ErrorInfo
    from ..turns.turn import Turn
    from .invocation import Invocation
    from .prepared import Prepared

__all__ = ["conversation_of_half", "run", "run_async"]


def run(invocation: Invocation) -> Any:
    """
    Run a turn whose function is called here and now, and return what the caller gets.

    A value ends it at once, a stream when it is over; anything else goes on as a conversation.
    """
    turn = _open(invocation)
    if turn is None:
        return invocation.wrapped(*invocation.args, **invocation.kwargs)
    try:
        value = invoke(turn.scope(), invocation.wrapped, invocation.args, invocation.kwargs)
    except BaseException as error:
        turn.leave(outcome_of(error), error)
        raise
    try:
        kind = kind_of(value)
        if kind == "value":
            turn.returned = value
            turn.leave("completed")
            return value
        if kind == "stream":
            return _stream(turn, value)
    except BaseException as error:
        return _unread(turn, value, error)
    # In a box: a frame that held a manager would keep it alive for ever.
    box = [value]
    value = None
    conversation = TurnConversation(turn, invocation).start(box)
    return start_sync(conversation, async_stream=invocation.function.is_async_generator)


async def run_async(invocation: Invocation) -> Any:
    """Run a turn of a coroutine function; it opens when the coroutine runs."""
    turn = _open(invocation)
    if turn is None:
        return await invocation.wrapped(*invocation.args, **invocation.kwargs)
    try:
        value = await resolve(turn.scope(), invocation.wrapped, invocation.args, invocation.kwargs)
    except BaseException as error:
        turn.leave(outcome_of(error), error)
        raise
    try:
        kind = kind_of(value)
        if kind == "value":
            turn.returned = value
            turn.leave("completed")
            return value
        if kind == "stream":
            return _stream(turn, value)
    except BaseException as error:
        return _unread(turn, value, error)
    box = [value]
    value = None
    return (await drive_async(TurnConversation(turn, invocation).start(box))).value


def _open(invocation: Invocation) -> Turn | None:
    """Open the turn; `None` if that failed, which must not cost the user the call."""
    try:
        return invocation.open_turn(*invocation.read())
    except Exception as error:
        count_fault("entry", error)
        return None


def _unread(turn: Turn, value: Any, error: BaseException) -> Any:
    """
    Close a turn where we could not take what it returned. That is our fault alone: the caller gets it.

    Raises:
        BaseException: `error`, where it is an interrupt of the program.
    """
    if not isinstance(error, Exception):
        turn.leave(outcome_of(error), error)
        raise error
    count_fault("reply", error)
    turn.leave("completed")
    return value


def conversation_of_half(invocation: Invocation) -> Conversation | None:
    """Return the conversation of a turn in two calls, `None` where it goes on in the one around."""
    instance, name = invocation.instance, invocation.function.name
    named, request = invocation.read()
    phase = resolve_option(invocation.options.prepares, instance, named)
    is_half = phase is not None and phase is not False
    if is_half and _is_within(instance, name):
        return None  # a client that prepares inside its own turn
    prepared = find(phase) if is_half and phase is not True else None
    if prepared is None:
        turn = invocation.open_turn(named, request)
    else:
        turn = prepared.turn
        invocation.enter(turn)
    return TurnConversation(turn, invocation, prepares=phase is True, prepared=prepared).start()


def _is_within(instance: object, name: str) -> bool:
    """Return True if this is the same method of the same client as a turn around that is open."""
    turn, here = current_turn(), current()
    if turn is None or instance is None or here is None or here.parent is not None:
        return False
    return any(entered[:2] == (id(instance), name) for entered in turn.entered)


def _stream(turn: Turn, source: Any) -> Any:
    """Return the stream of a turn as the caller gets it; the turn closes with it."""
    inner = own_state(source)
    if inner is not None:
        # The aggregator's own stream: its text is read there, once.
        turn.answered_by = inner.slot
        inner.add_done_callback(partial(_aggregator_ended, turn, inner))
        return source
    state = StreamState(None, Accumulator(), scope=turn.scope())
    state.finish = partial(_stream_ended, turn, state)
    return stream_proxy(source, state)


def _aggregator_ended(turn: Turn, inner: StreamState, outcome: Outcome, error: BaseException | None) -> None:
    turn.reply = inner.reply
    turn.close(outcome, error or inner.error)


def _stream_ended(turn: Turn, state: StreamState, end: End) -> None:
    turn.reply = state.reply = complete(state.acc.reply(), outcome=end.outcome)
    turn.leave(end.outcome, end.error)


class TurnConversation:
    """One execution of a function that is a turn, or the first or second half of one, as a conversation."""

    __slots__ = ("invocation", "prepared", "prepares", "talk", "turn")

    talk: Conversation

    def __init__(
        self, turn: Turn, invocation: Invocation, *, prepares: bool = False, prepared: Prepared | None = None
    ) -> None:
        self.turn = turn
        self.invocation = invocation
        self.prepares = prepares
        """True if another call will finish the turn, with what this one returns."""
        self.prepared = prepared
        """The turn as it was prepared, where this call finishes it."""
        if prepared is not None:
            prepared.finishers += 1
            prepared.finisher = self
            turn.answered_by = None

    def start(self, box: list[Any] | None = None) -> Conversation:
        """Return the conversation, which a driver runs; `box` holds what the function returned, if it was called."""
        self.talk = self._run() if box is None else self._take(box)
        return self.talk

    @property
    def _is_taken_over(self) -> bool:
        """Whether a later call finishes the turn in this one's place: the client sent its request once more."""
        return self.prepared is not None and self.prepared.finisher is not self

    def _leave(
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
        if self.prepared is not None:
            self.prepared.forget()
            # It does not wait for the stream of an earlier try, which nobody may read any more.
            at_once = at_once or self.prepared.finishers > 1
        self.turn.returned = returned
        (self.turn.close if at_once else self.turn.leave)(outcome, error)

    def _run(self) -> Conversation:
        try:
            # In a box: a suspended frame that held a proxy would keep it alive for ever.
            invocation = self.invocation
            box = [(yield Invoke(invocation.wrapped, invocation.args, invocation.kwargs, self.turn.scope()))]
        except BaseException as error:
            self._leave(outcome_of(error), error)
            raise
        return (yield from self._take(box))

    def _take(self, box: list[Any]) -> Conversation:
        """Go on with what the function returned, to the end of it."""
        try:
            if not is_value(box[0]) and is_awaitable(box[0]):
                box.append((yield Resolve(box.pop(), self.turn.scope())))
        except BaseException as error:
            self._leave(outcome_of(error), error)
            raise
        try:
            return (yield from self._receive(box))
        except GeneratorExit:
            self._leave("abandoned")
            raise

    def _receive(self, box: list[Any]) -> Generator[Effect, Any, Any]:
        turn = self.turn
        if is_value(box[0]):
            return self._complete(box[0])
        if is_future(box[0]):
            future = box.pop()
            done: FutureDone = yield Deliver(future, partial(future.add_done_callback, partial(future_done, self.talk)))
            value, failure = outcome_of_future(done.future)
            if failure is not None:
                self._leave(outcome_of(failure), failure)
            elif not self._keeps(value):
                self._leave("completed", returned=value)
            return None
        inner = own_state(box[0])
        if inner is not None:
            # The aggregator's own stream: its text is read there, once.
            if not self._is_taken_over:
                turn.answered_by = inner.slot
            end: End = yield Deliver(box.pop(), partial(follow, inner, self.talk))
            if not self._is_taken_over:
                turn.reply = inner.reply
                self._leave(end.outcome, end.error or inner.error, at_once=True)
            return None
        if not is_stream(box[0]) and not is_manager(box[0]):
            return self._complete(box[0])
        return (yield from self._stream(box))

    def _complete(self, value: Any) -> Any:
        """Return a value that is all there is to come."""
        if not self._keeps(value):
            self._leave("completed", returned=value)
        return value

    def _keeps(self, value: Any) -> bool:
        """Keep the turn open for whoever finishes it with `value`; whether that is to come."""
        if not self.prepares or value is None or isinstance(value, bool):
            return False
        keep(self.turn, value)
        return True

    def _stream(self, box: list[Any]) -> Generator[Effect, Any, Any]:
        turn = self.turn
        state = StreamState(self.talk, Accumulator(), scope=turn.scope())
        if is_manager(box[0]):
            got = yield Deliver(manager_proxy(box.pop(), state))
            if isinstance(got, ManagerEntered):
                if not is_stream(got.value):
                    self._leave("completed", returned=got.value)
                    return got.value
                state.begin()
                box.append(got.value)
                got = yield Deliver(box.pop())
            end: End = got
        else:
            box.append(stream_proxy(box.pop(), state))
            end = yield Deliver(box.pop())
        state.reply = state.acc.reply().replace(outcome=end.outcome)
        if not self._is_taken_over:
            turn.reply = state.reply
        self._leave(end.outcome, end.error)
        return None
