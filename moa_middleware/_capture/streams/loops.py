"""
The loops over a stream that is read to its end or to a `break`: generators, the cheapest there is per chunk.

`steps` takes single steps, at several times the cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.model import DROPPED
from ..scope import current, put_current, resolve
from ..shapes.catalog import sdk_of_module
from ..shapes.fields import of_type
from .steps import ended_by_error, ended_by_error_async, put_in_place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ..scope import Scope
    from .state import StreamState

__all__ = ["iterate", "iterate_async", "makes_no_calls"]


# A `for` drops its iterator at a `break`, and Python closes the generator that it was: GeneratorExit
# comes out of our `yield`. That is not the end of the stream: the consumer may iterate again, and has
# to get the next chunk then. So the state is only marked as suspended, and ends when the proxy is
# dropped; and what the consumer's side raises at the `yield` must be kept apart from what the source
# raises, which does end the stream (`break_resume` and its like in tests/behaviour/streams/test_endings.py).
#
# The reading of a plain text chunk is in both loops, and once more in `Accumulator.feed`. As one
# function it would be entered once a chunk: 10 to 16 ns more, opcodes over the budget of 42, and one
# frame a chunk over the budgets of tests/house/test_frames.py. test_fast_path.py compares what all of
# them read with what `Accumulator.feed_whole` reads.


def iterate(proxy: Any, state: StreamState, source: Iterator[Any]) -> Iterator[Any]:
    """Pass the chunks of an SDK's stream on; holds the proxy, since a `for` loop drops it."""
    state.suspended = False
    source = _scoped(proxy.__wrapped__, state, source, _in_scope)
    state.readers += 1
    is_left = False
    try:
        while True:
            acc, on_chunk, tools = state.acc, state.on_chunk, state.acc.tools
            try:
                for chunk in source:
                    if on_chunk is not None:
                        chunk = on_chunk(chunk)  # noqa: PLW2901 - it goes on in the other's place
                        if chunk is DROPPED:
                            continue
                    elif acc.simple:
                        try:
                            (item,) = chunk.choices
                            delta = item.delta
                            text = delta.content
                            if text and not item.index and not (tools and getattr(delta, "tool_calls", None)):
                                acc.texts.append(text)
                                acc.last = chunk
                            else:
                                acc.feed_whole(chunk)
                        except Exception:
                            acc.feed_whole(chunk)
                    else:
                        acc.feed(chunk)
                    try:
                        yield chunk
                    except BaseException:
                        is_left = True
                        raise
            except BaseException as error:
                if is_left:
                    state.suspended = True
                    raise
                other = ended_by_error(proxy, error)
                if other is None:
                    raise
            else:
                other = state.end("completed", listening=True)
                if other is None:
                    return
            put_in_place(proxy, other)
            source = _scoped(other, state, iter(other), _in_scope)
    finally:
        state.readers -= 1


async def iterate_async(proxy: Any, state: StreamState, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Do the same as `iterate` for an async stream."""
    state.suspended = False
    source = _scoped(proxy.__wrapped__, state, source, _AsyncInScope)
    state.readers += 1
    is_left = False
    try:
        while True:
            acc, on_chunk, tools = state.acc, state.on_chunk, state.acc.tools
            try:
                async for chunk in source:
                    if on_chunk is not None:
                        chunk = on_chunk(chunk)  # noqa: PLW2901 - it goes on in the other's place
                        if chunk is DROPPED:
                            continue
                    elif acc.simple:
                        try:
                            (item,) = chunk.choices
                            delta = item.delta
                            text = delta.content
                            if text and not item.index and not (tools and getattr(delta, "tool_calls", None)):
                                acc.texts.append(text)
                                acc.last = chunk
                            else:
                                acc.feed_whole(chunk)
                        except Exception:
                            acc.feed_whole(chunk)
                    else:
                        acc.feed(chunk)
                    try:
                        yield chunk
                    except BaseException:
                        is_left = True
                        raise
            except BaseException as error:
                if is_left:
                    state.suspended = True
                    raise
                other = await ended_by_error_async(proxy, error)
                if other is None:
                    raise
            else:
                other = await state.end_async("completed", listening=True)
                if other is None:
                    return
            put_in_place(proxy, other)
            source = _scoped(other, state, aiter(other), _AsyncInScope)
    finally:
        state.readers -= 1


# The body of a user's stream may call an SDK, so each of its steps runs in the scope of its call, which
# is put back after it: the consumer's own calls between two steps are not inside the stream
# (`test_calls_made_by_a_stream_belong_to_its_turn`). The two `ContextVar.set` are a good half of what
# such a step costs, and streams of the SDKs make no calls of their own.
@of_type
def makes_no_calls(kind: type) -> bool:
    """Return True if the steps of streams of a type need no scope."""
    return bool(sdk_of_module(kind.__module__))


def _scoped(stream: object, state: StreamState, source: Any, within: Callable[[Any, Scope], Any]) -> Any:
    """Return `source`, the iterator of `stream`, with its steps in the scope of the call."""
    if state.scope is None or makes_no_calls(type(stream)):
        return source
    return within(source, state.scope)


def _in_scope(source: Iterator[Any], scope: Scope) -> Iterator[Any]:
    """Pass on what an iterator gives, each step of it in a scope; a class with `__next__` costs twice as much."""
    while True:
        former = current()
        put_current(scope)
        try:
            chunk = next(source)
        except StopIteration:
            return
        finally:
            if current() is scope:
                put_current(former)
        yield chunk


class _AsyncInScope:
    """An async iterator whose steps run in a scope."""

    __slots__ = ("scope", "source")

    def __init__(self, source: Any, scope: Scope) -> None:
        self.source = source
        self.scope = scope

    def __aiter__(self) -> Any:
        return self

    def __anext__(self) -> Any:
        return resolve(self.scope, anext, (self.source,), {})
