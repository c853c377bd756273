"""
The straight road: a call that nobody but the recording looks at.

Entry, request snapshot, the user's function, reply, record: one function for the sync and one for
the async world. A call with middleware or observers takes the conversation (`call`) instead, and a
reply that is no plain value goes on there from where this road ends. Both roads write the same
record: `tests/test_two_roads.py` runs the same scripts through both.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter_ns, time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..flow.driver import drive_async, start_sync
from ..flow.model import Reply, complete
from ..flow.outcome import outcome_of
from ..log import count_fault
from ..scope import NO_TAGS, Order, Scope, current, put_current
from ..shapes.accumulator import Accumulator
from ..streams.kinds import kind_of, underlying_stream
from ..streams.proxies import stream_proxy
from ..streams.proxy_class import own_state
from ..streams.state import StreamState
from ..turns.turn import turn_for_call
from .call import CallTalk
from .execution import keep_reply
from .opening import call_of, open_call, record_iterator
from .request import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.driver import Conversation
    from ..flow.model import Outcome
    from ..shapes.request import Request
    from ..streams.state import End
    from ..turns.call_state import Attempt
    from ..turns.turn import Recording, Turn
    from .function import Known, Options

__all__ = ["run", "run_async"]


class _Begun(NamedTuple):
    """A request that is about to go out."""

    attempt: Attempt
    scope: Scope
    request: Request
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def run(  # noqa: PLR0917 - on the path of every call, where keywords cost
    stack: object,
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    turn: Turn | None,
    recording: Recording | None,
) -> Any:
    """Run one call of a function, and return what the caller gets."""
    former = current()
    begun = _begin(stack, options, known, wrapped, instance, args, kwargs, former, turn, recording)
    if begun is None:
        return wrapped(*args, **kwargs)
    attempt, scope, _, args, kwargs = begun
    clock = attempt.clock
    clock.started_at, clock.started_ns = time(), perf_counter_ns()
    put_current(scope)
    try:
        value = wrapped(*args, **kwargs)
    except BaseException as error:
        if current() is scope:
            put_current(former)
        _raised(attempt, error)
        raise
    if current() is scope:
        put_current(former)
    kind = kind_of(value)
    if kind == "value":
        _returned(known, attempt, value)
        return value
    if kind == "stream" and underlying_stream(value) is None:
        return _stream(known, begun, value)
    # In a box: a frame that held a stream would keep it alive for ever.
    box = [value]
    value = None
    talk = _conversation(known, wrapped, instance, begun, box)
    return start_sync(talk, async_stream=known.shape.is_generator and known.shape.is_async)


async def run_async(  # noqa: PLR0917 - as above
    stack: object,
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    recording: Recording | None,
) -> Any:
    """Run one call of a coroutine function: everything, the start time too, when the coroutine runs."""
    former = current()
    turn = turn_for_call(former)
    begun = _begin(stack, options, known, wrapped, instance, args, kwargs, former, turn, recording)
    if begun is None:
        return await wrapped(*args, **kwargs)
    attempt, scope, _, args, kwargs = begun
    clock = attempt.clock
    clock.started_at, clock.started_ns = time(), perf_counter_ns()
    put_current(scope)
    try:
        value = await wrapped(*args, **kwargs)
    except BaseException as error:
        if current() is scope:
            put_current(former)
        _raised(attempt, error)
        raise
    if current() is scope:
        put_current(former)
    kind = kind_of(value)
    if kind == "value":
        _returned(known, attempt, value)
        return value
    if kind == "stream" and underlying_stream(value) is None:
        return _stream(known, begun, value)
    box = [value]
    value = None
    return (await drive_async(_conversation(known, wrapped, instance, begun, box))).value


def _begin(  # noqa: PLR0917 - as above
    stack: object,
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    here: Scope | None,
    turn: Turn | None,
    recording: Recording | None,
) -> _Begun | None:
    """Take the request down; `None` if that failed, which must not cost the user the call."""
    attempt: Attempt | None = None
    try:
        spec = known.spec
        named = known.bind(args, kwargs)
        request = spec.read(named)
        if type(request.messages) is not list:
            request, args, kwargs = record_iterator(spec, request, args, kwargs)
        slot = open_call(stack, options, known, wrapped, instance, named, request, here, turn, recording)
        attempt = slot.attempt()
        turn = slot.turn
        if turn.recording is not None:
            turn.recording.began(attempt, request, kwargs)
        tags = NO_TAGS if here is None or here.tags is NO_TAGS else here.tags.for_body()
        return _Begun(attempt, Scope(turn, tags, attempt, Order(slot.order)), request, args, kwargs)
    except Exception as error:
        if attempt is not None:
            attempt.slot.attempts.clear()  # nothing goes out by it
        count_fault("entry", error)
        return None
    except BaseException as error:
        if attempt is not None:
            _raised(attempt, error)
        raise


def _returned(known: Known, attempt: Attempt, value: Any) -> None:
    """Keep a reply in one piece, and end the call."""
    try:
        reply = attempt.shared(value) if attempt.inner and known.reads is None else None
        if reply is None:
            keep_reply(known, attempt, complete(known.reply_of(value), source="provider"))
        else:
            attempt.clock.stop()
            attempt.keep(reply)
        attempt.slot.chosen = attempt
    except Exception as error:
        # The caller has a value; that we could not read it is our fault alone.
        count_fault("reply", error)
        attempt.reply = Reply(source="provider")
    finally:
        _finish(attempt)


def _stream(known: Known, begun: _Begun, source: Any) -> Any:
    """Return a stream as the caller gets it; the call ends with it."""
    attempt = begun.attempt
    slot = attempt.slot
    attempt.streamed = True
    inner = own_state(source)
    if inner is not None:
        # The stream of an instrumented call inside this one: its text is read there, once.
        slot.stream = inner
        inner.add_done_callback(partial(_inner_ended, known, attempt, inner))
        return source
    acc = Accumulator(tools=known.spec.offers_tools(begun.kwargs))
    slot.stream = state = StreamState(None, acc, scope=begun.scope)
    state.slot = slot
    state.finish = partial(_stream_ended, known, attempt, state)
    return stream_proxy(source, state)


def _stream_ended(known: Known, attempt: Attempt, state: StreamState, end: End) -> None:
    """Take a stream down that is over, however it ended, and end the call."""
    reply = state.acc.reply()
    attempt.clock.first_ns = state.acc.first_ns
    complete(reply, outcome=end.outcome, error=end.error or reply.error, source="provider")
    keep_reply(known, attempt, reply)
    attempt.slot.chosen = attempt
    state.reply = attempt.reply
    _finish(attempt)


def _inner_ended(
    known: Known, attempt: Attempt, inner: StreamState, outcome: Outcome, error: BaseException | None
) -> None:
    """End the call whose stream is that of the call inside it."""
    attempt.clock.first_ns = inner.acc.first_ns
    reply = (inner.reply or Reply()).replace(outcome=outcome, error=error, raw=None, source="provider")
    keep_reply(known, attempt, reply)
    attempt.slot.chosen = attempt
    attempt.error = attempt.error or inner.error
    _finish(attempt)


def _finish(attempt: Attempt) -> None:
    """End a call whose reply is kept, and with it the turn that was opened for it alone."""
    slot, reply, error = attempt.slot, attempt.reply, attempt.error
    slot.finish()
    if slot.turn.implicit and slot.parent is None:
        # Without a reply an interrupt came in between.
        slot.turn.leave(reply.outcome if reply is not None else "cancelled", error)


def _raised(attempt: Attempt, error: BaseException) -> None:
    """Keep what the function raised in place of a reply, and end the call."""
    slot = attempt.slot
    attempt.clock.stop()
    try:
        attempt.keep(attempt.completed(complete(refused(error), source="provider")))
    except Exception as fault:
        count_fault("reply", fault)
    finally:
        slot.finish()
        if slot.turn.implicit and slot.parent is None:
            slot.turn.leave(outcome_of(error), error)


def _conversation(
    known: Known, wrapped: Callable[..., Any], instance: object, begun: _Begun, box: list[Any]
) -> Conversation:
    """Return the conversation that goes on with what the function returned: a future, a manager, an awaitable."""
    attempt, scope, request, args, kwargs = begun
    call = call_of(attempt.slot, known, request, args, kwargs)
    execution = CallTalk(call=call, slot=attempt.slot, known=known, fn=wrapped, owner=instance)
    return execution.start((attempt, scope, box))
