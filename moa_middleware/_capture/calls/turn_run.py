"""The conversation of one turn: the body of a `create`, to the end of what it returned."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..flow.driver import Deliver, Invoke, Resolve, drive_async, start_sync
from ..flow.model import complete
from ..flow.outcome import outcome_of
from ..scope import current, put_current
from ..shapes.accumulator import Accumulator
from ..streams.kinds import is_awaitable, is_future, is_manager, is_stream, is_value, kind_of, outcome_of_future
from ..streams.proxies import manager_proxy, stream_proxy
from ..streams.proxy_class import own_state
from ..streams.state import End, FutureDone, ManagerEntered, StreamState, follow, future_done
from .prepared import keep

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from ..flow.driver import Conversation, Effect
    from ..flow.model import Outcome
    from ..flow.outcome import ErrorInfo
    from ..turns.turn import Turn
    from .prepared import Prepared

    Opened = tuple[Turn, tuple[Any, ...], Mapping[str, Any]]
    """A turn that is open, and the arguments that its function gets."""

__all__ = ["TurnTalk", "run", "run_async"]


def run(turn: Turn, fn: Callable[..., Any], args: Any, kwargs: Any, *, async_stream: bool) -> Any:
    """
    Run a turn whose function is called here and now, and return what the caller gets.

    A value ends it at once; anything else goes on as a conversation.

    Args:
        turn: The turn, just opened.
        fn: The wrapped function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        async_stream: Whether the function is known to return an async stream.
    """
    former = current()
    scope = turn.scope()
    put_current(scope)
    try:
        value = fn(*args, **kwargs)
    except BaseException as error:
        if current() is scope:
            put_current(former)
        turn.leave(outcome_of(error), error)
        raise
    if current() is scope:
        put_current(former)
    kind = kind_of(value)
    if kind == "value":
        turn.returned = value
        turn.leave("completed")
        return value
    if kind == "stream":
        return _stream(turn, value)
    # In a box: a frame that held a manager would keep it alive for ever.
    box = [value]
    value = None
    return start_sync(TurnTalk(turn, fn, args, kwargs).start(box), async_stream=async_stream)


async def run_async(make: Callable[[], Opened | None], fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """
    Run a turn whose function is a coroutine function; the turn opens when the coroutine runs.

    Args:
        make: Opens the turn, `None` if that failed or it goes on in the one around.
        fn: The wrapped function.
        args: Its positional arguments, where no turn opens.
        kwargs: Its keyword arguments, likewise.
    """
    opened = make()
    if opened is None:
        return await fn(*args, **kwargs)
    turn, args, kwargs = opened
    former = current()
    scope = turn.scope()
    put_current(scope)
    try:
        value = await fn(*args, **kwargs)
    except BaseException as error:
        if current() is scope:
            put_current(former)
        turn.leave(outcome_of(error), error)
        raise
    if current() is scope:
        put_current(former)
    kind = kind_of(value)
    if kind == "value":
        turn.returned = value
        turn.leave("completed")
        return value
    if kind == "stream":
        return _stream(turn, value)
    box = [value]
    value = None
    return (await drive_async(TurnTalk(turn, fn, args, kwargs).start(box))).value


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


class TurnTalk:
    """One execution of a function that is a turn, or the first or second half of one."""

    __slots__ = ("args", "fn", "kwargs", "prepared", "prepares", "talk", "turn")

    talk: Conversation

    def __init__(
        self,
        turn: Turn,
        fn: Callable[..., Any],
        args: Any,
        kwargs: Any,
        *,
        prepares: bool = False,
        prepared: Prepared | None = None,
    ) -> None:
        self.turn = turn
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.prepares = prepares
        """Whether another call will finish the turn, with what this one returns."""
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
            box = [(yield Invoke(self.fn, self.args, self.kwargs, self.turn.scope()))]
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
