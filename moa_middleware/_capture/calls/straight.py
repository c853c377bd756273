"""
The straight road: a call that nobody but the recording looks at.

Entry, request snapshot, the user's function, reply, record: one function for the sync and one for
the async world. A call with middleware or observers takes a conversation (`call`) instead, and a
reply that is neither a plain value nor a stream goes on there from where this road ends. Both roads
write the same record: `tests/behaviour/tracing/test_two_roads.py` runs the same scripts through both.
"""

from __future__ import annotations

from functools import partial
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..flow.driver import drive_async, start_sync
from ..flow.model import Reply, complete
from ..flow.outcome import outcome_of
from ..frames import hide_own_frames
from ..log import count_fault
from ..scope import NO_TAGS, Order, Scope, current, put_current
from ..shapes.accumulator import Accumulator
from ..streams.kinds import is_stream, kind_of, underlying_stream
from ..streams.proxies import stream_proxy
from ..streams.proxy_class import own_state
from ..streams.state import StreamState
from ..streams.stream_types import is_file_body
from ..turns.turn import turn_for_call
from .kept_reply import completed, keep, keep_reply, reply_of_error, shared, withdraw
from .sent_body import showing_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.driver import Conversation
    from ..flow.model import Outcome
    from ..shapes.request import Request
    from ..streams.state import End
    from ..turns.turn import Attempt, Turn
    from .function import WrappedFunction
    from .invocation import Invocation

    GoOn = Callable[[Invocation, Attempt, Scope, Request, list[Any]], Conversation]

__all__ = ["run", "run_async"]


class _Begun(NamedTuple):
    """A request that is about to go out."""

    attempt: Attempt
    scope: Scope
    request: Request


def run(invocation: Invocation, turn: Turn | None, go_on: GoOn) -> Any:
    """
    Run one call of a function, and return what the caller gets.

    Args:
        invocation: Of the function.
        turn: The turn that the call belongs to, `None` if it opens one of its own.
        go_on: Returns the conversation that goes on with what is neither a value nor a stream.
    """
    begun = _begin(invocation, current(), turn)
    if begun is None:
        return invocation.wrapped(*invocation.args, **invocation.kwargs)
    attempt, scope, _ = begun
    try:
        attempt.clock.start()
        # `scope.invoke`, but for its frame.
        former = current()
        put_current(scope)
        try:
            value = invocation.wrapped(*invocation.args, **invocation.kwargs)
        finally:
            if current() is scope:
                put_current(former)
    except BaseException as error:
        _raised(attempt, error)
        raise
    try:
        kind = kind_of(value)
        if kind == "value":
            _returned(invocation, attempt, value)
            return value
        if kind == "stream" and underlying_stream(value) is None:
            return _stream(invocation, begun, value)
    except BaseException as error:
        return _unread(attempt, value, error)
    # In a box: a frame that held a stream would keep it alive for ever.
    box = [value]
    value = None
    return start_sync(go_on(invocation, *begun, box), async_stream=invocation.function.is_async_generator)


async def run_async(invocation: Invocation, go_on: GoOn) -> Any:
    """Run one call of a coroutine function: everything, the start time too, when the coroutine runs."""
    try:
        here = current()
        begun = _begin(invocation, here, turn_for_call(here))
        if begun is None:
            return await invocation.wrapped(*invocation.args, **invocation.kwargs)
        attempt, scope, _ = begun
        try:
            attempt.clock.start()
            # `scope.resolve`, but for its frame.
            former = current()
            put_current(scope)
            try:
                value = invocation.wrapped(*invocation.args, **invocation.kwargs)
                if type(value) is CoroutineType or isawaitable(value):
                    value = await value
            finally:
                if current() is scope:
                    put_current(former)
        except BaseException as error:
            _raised(attempt, error)
            raise
        try:
            kind = kind_of(value)
            if kind == "awaitable":
                # It is what the function returned when it was awaited: awaiting this too is for the caller.
                kind = "stream" if is_stream(value) else "value"
            if kind == "value":
                _returned(invocation, attempt, value)
                return value
            if kind == "stream" and underlying_stream(value) is None:
                return _stream(invocation, begun, value)
        except BaseException as error:
            return _unread(attempt, value, error)
        box = [value]
        value = None
        return (await drive_async(go_on(invocation, *begun, box))).value
    except BaseException as error:
        hide_own_frames(error)
        raise


def _begin(invocation: Invocation, here: Scope | None, turn: Turn | None) -> _Begun | None:
    """Snapshot the request; `None` if that failed, which must not cost the user the call."""
    # The snapshot is taken here and not when the reply is there: the function may change its list of
    # messages while it runs, and what the model was asked is what stood in it now.
    attempt: Attempt | None = None
    try:
        named, request = invocation.read()
        state = invocation.open_call(named, request, here, turn)
        attempt = state.attempt()
        turn = state.turn
        if turn.recording is not None:
            turn.recording.began(attempt, request, invocation.kwargs)
            if attempt.snapshot is not None and attempt.snapshot.is_unread:
                function, given = invocation.function, (invocation.args, invocation.kwargs)
                named = function.spec.bind(*given)
                invocation.wrapped = showing_body(invocation.wrapped, function, attempt, named)
        tags = NO_TAGS if here is None or here.tags is NO_TAGS else here.tags.for_body()
        return _Begun(attempt, Scope(turn, tags, attempt, Order(state.order)), request)
    except Exception as error:
        # A fault of ours before the request went out. The caller's call goes on without a record; the
        # fault is counted, so `moa.status()` says that something is missing.
        if attempt is not None:
            attempt.call_state.attempts.clear()  # nothing goes out by it
        count_fault("entry", error)
        return None
    except BaseException as error:
        if attempt is not None:
            _raised(attempt, error)
        raise


def _returned(invocation: Invocation, attempt: Attempt, value: Any) -> None:
    """Keep a reply in one piece, and end the call."""
    function = invocation.function
    reply = shared(attempt, value) if attempt.inner and function.reads is None else None
    if reply is None:
        reply = complete(function.reply_of(value, attempt.call_state.turn), source="provider")
    keep_reply(function, attempt, reply, invocation)
    attempt.call_state.chosen = attempt
    _finish(attempt)


def _unread(attempt: Attempt, value: Any, error: BaseException) -> Any:
    """
    End a call whose reply we could not read. That is our fault alone: the caller gets what was returned.

    Raises:
        BaseException: `error`, where it is an interrupt of the program.
    """
    if not issubclass(type(error), Exception):
        # It came while we read the reply: nobody else ends the call, or the turn that is open for it alone.
        _raised(attempt, error)
        raise error
    count_fault("reply", error)
    attempt.call_state.turn.faults += 1
    if not attempt.call_state.done:
        attempt.reply = Reply(source="provider")
        attempt.clock.stop()
        _finish(attempt)
    return value


def _stream(invocation: Invocation, begun: _Begun, source: Any) -> Any:
    """Return a stream as the caller gets it; the call ends with it."""
    attempt, function = begun.attempt, invocation.function
    state = attempt.call_state
    attempt.streamed = not is_file_body(type(source))
    inner = own_state(source)
    if inner is not None:
        # The stream of an instrumented call inside this one: its text is read there, once.
        state.stream = inner
        inner.add_done_callback(partial(_inner_ended, function, attempt, inner))
        return source
    acc = Accumulator(tools=function.spec.offers_tools(invocation.kwargs))
    state.stream = stream = StreamState(None, acc, scope=begun.scope)
    stream.call_state = state
    stream.finish = partial(_stream_ended, function, attempt, stream)
    return stream_proxy(source, stream)


def _stream_ended(function: WrappedFunction, attempt: Attempt, stream: StreamState, end: End) -> None:
    """Keep the reply of a stream that is over, however it ended, and end the call."""
    try:
        reply = stream.acc.reply()
        attempt.clock.first_ns = stream.acc.first_ns
        complete(reply, outcome=end.outcome, error=reply.error if end.error is None else end.error, source="provider")
        if not attempt.streamed:
            complete(reply, chunks=None)
        keep_reply(function, attempt, reply)
        attempt.call_state.chosen = attempt
        stream.reply = attempt.reply
        if stream.suspended is None and function.is_generator:
            withdraw(attempt.call_state)
    finally:
        _finish_stream(attempt, end.outcome)


def _inner_ended(
    function: WrappedFunction, attempt: Attempt, inner: StreamState, outcome: Outcome, error: BaseException | None
) -> None:
    """End the call whose stream is that of the call inside it."""
    try:
        attempt.clock.first_ns = inner.acc.first_ns
        reply = (inner.reply or Reply()).replace(outcome=outcome, error=error, raw=None, source="provider")
        keep_reply(function, attempt, reply)
        attempt.call_state.chosen = attempt
        attempt.error = attempt.error or inner.error
    finally:
        _finish_stream(attempt, outcome)


def _finish_stream(attempt: Attempt, outcome: Outcome) -> None:
    """End a call whose stream is over, also where a fault of ours, or an interrupt, came while its reply was read."""
    if attempt.reply is None:
        attempt.clock.stop()
        attempt.reply = Reply(outcome=outcome, source="provider")
    _finish(attempt)


def _finish(attempt: Attempt) -> None:
    """End a call whose reply is kept, and with it the turn that was opened for it alone."""
    state, reply, error = attempt.call_state, attempt.reply, attempt.error
    state.finish()
    if state.turn.implicit and state.parent is None:
        # Without a reply an interrupt came in between.
        state.turn.leave(reply.outcome if reply is not None else "cancelled", error)


def _raised(attempt: Attempt, error: BaseException) -> None:
    """Keep what the function raised in place of a reply, and end the call."""
    state = attempt.call_state
    try:
        if attempt.reply is None:  # else it was interrupted where it ended
            attempt.clock.stop()
            keep(attempt, completed(attempt, complete(reply_of_error(error), source="provider")))
    except Exception as fault:
        count_fault("reply", fault)
    finally:
        if not state.done:
            state.finish()
        if state.turn.implicit and state.parent is None:
            state.turn.leave(outcome_of(error), error)
