"""The conversation of one turn: the body of a `create`, to the end of what it returned."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ._drive import Deliver, Invoke, Resolve
from ._endings import outcome_of
from ._futures import Done, follow, future_done, is_awaitable, is_future, outcome_of_future
from ._kinds import is_manager, is_stream
from ._proxy import manager_proxy, own_state, stream_proxy
from ._stream import End, Entered, StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ._drive import Conversation, Effect
    from ._turn import Turn

__all__ = ["TurnTalk"]


class TurnTalk:
    """One execution of a function that is a turn."""

    __slots__ = ("args", "fn", "kwargs", "talk", "turn")

    def __init__(self, turn: Turn, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.turn = turn
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.talk: Conversation = self._run()

    def _run(self) -> Conversation:
        turn = self.turn
        scope = turn.scope()
        try:
            value = yield Invoke(self.fn, self.args, self.kwargs, scope)
            if is_awaitable(value):
                value = yield Resolve(value, scope)
        except BaseException as error:
            turn.leave(outcome_of(error), error)
            raise
        # In a box: a suspended frame that held a proxy would keep it alive for ever.
        box = [value]
        value = None
        try:
            return (yield from self._receive(box))
        except GeneratorExit:
            turn.leave("abandoned")
            raise

    def _receive(self, box: list[Any]) -> Generator[Effect, Any, Any]:
        turn = self.turn
        if is_future(box[0]):
            future = box.pop()
            done: Done = yield Deliver(future, partial(future.add_done_callback, partial(future_done, self.talk)))
            turn.returned, failure = outcome_of_future(done.future)
            turn.leave("completed" if failure is None else outcome_of(failure), failure)
            return None
        inner = own_state(box[0])
        if inner is not None:
            # The aggregator's own stream: its text is read there, once.
            turn.answered_by = inner.slot
            end: End = yield Deliver(box.pop(), partial(follow, inner, self.talk))
            turn.reply = inner.reply
            turn.close(end.outcome, end.error or inner.error)
            return None
        if not is_stream(box[0]) and not is_manager(box[0]):
            turn.returned = box[0]
            turn.leave("completed")
            return box[0]
        return (yield from self._stream(box))

    def _stream(self, box: list[Any]) -> Generator[Effect, Any, Any]:
        turn = self.turn
        state = StreamState(self.talk, scope=turn.scope())
        if is_manager(box[0]):
            got = yield Deliver(manager_proxy(box.pop(), state))
            if isinstance(got, Entered):
                if not is_stream(got.value):
                    turn.returned = got.value
                    turn.leave("completed")
                    return got.value
                state.begin()
                box.append(got.value)
                got = yield Deliver(box.pop())
            end: End = got
        else:
            box.append(stream_proxy(box.pop(), state))
            end = yield Deliver(box.pop())
        turn.reply = state.reply = state.acc.reply().replace(outcome=end.outcome)
        turn.leave(end.outcome, end.error)
        return None
