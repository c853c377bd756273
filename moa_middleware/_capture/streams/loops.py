"""
The loops over a stream that is read to its end or to a `break`: generators, the cheapest there is per chunk.

`_steps` takes single steps, at several times the price. Each chunk of each answer passes here, so that
the reading of a text stands here too, and in `Accumulator.feed` again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.outcome import outcome_of
from ..scope import current, enter, leave, put_current
from .iteration import came_too_early, put_in_place
from .state import DROPPED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ..scope import Scope
    from .state import StreamState

__all__ = ["iterate", "iterate_async", "makes_no_calls"]


_SDKS = frozenset({"openai", "anthropic", "together", "groq", "litellm"})
"""Roots of the modules whose streams make no calls of their own."""


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

    async def __anext__(self) -> Any:
        former = enter(self.scope)
        try:
            return await anext(self.source)
        finally:
            leave(self.scope, former)


def makes_no_calls(stream: object) -> bool:
    """Whether the steps of a stream need no scope."""
    return type(stream).__module__.partition(".")[0] in _SDKS


def _scoped(stream: object, state: StreamState, source: Any, within: Callable[[Any, Scope], Any]) -> Any:
    """Return `source`, the iterator of `stream`, with its steps in the scope of the call."""
    if state.scope is None or makes_no_calls(stream):
        return source
    return within(source, state.scope)


def iterate(proxy: Any, state: StreamState, source: Iterator[Any]) -> Iterator[Any]:
    """Pass the chunks of an SDK's stream on; holds the proxy, since a `for` loop drops it."""
    state.suspended = False
    source = _scoped(proxy.__wrapped__, state, source, _in_scope)
    state.readers += 1
    try:
        while True:
            acc, take = state.acc, state.on_chunk
            yielding = False
            try:
                if take is None:
                    while True:
                        for chunk in source:
                            acc.feed(chunk)
                            yielding = True
                            yield chunk
                            yielding = False
                            if acc.simple:
                                break
                        else:
                            break
                        append, tools = acc.texts.append, acc.tools
                        for chunk in source:
                            # Each chunk of a long answer passes here. This is `acc.feed` without its call.
                            try:
                                (item,) = chunk.choices
                                delta = item.delta
                                text = delta.content
                                if text and not item.index and not (tools and getattr(delta, "tool_calls", None)):
                                    append(text)
                                    acc.last = chunk
                                else:
                                    acc.feed_whole(chunk)
                            except Exception:
                                acc.feed_whole(chunk)
                            yielding = True
                            yield chunk
                            yielding = False
                            if not acc.simple:
                                break
                        else:
                            break
                else:
                    for raw in source:
                        chunk = take(raw)
                        if chunk is DROPPED:
                            continue
                        yielding = True
                        yield chunk
                        yielding = False
            except BaseException as error:
                if yielding:
                    # `break` is not the end: the consumer may iterate again.
                    state.suspended = True
                    raise
                if came_too_early(state, error):
                    raise
                other = state.end(outcome_of(error), error, listening=True)
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
    """Do the same as `_iterate` for an async stream."""
    state.suspended = False
    source = _scoped(proxy.__wrapped__, state, source, _AsyncInScope)
    state.readers += 1
    try:
        while True:
            acc, take = state.acc, state.on_chunk
            yielding = False
            try:
                if take is None:
                    while True:
                        async for chunk in source:
                            acc.feed(chunk)
                            yielding = True
                            yield chunk
                            yielding = False
                            if acc.simple:
                                break
                        else:
                            break
                        append, tools = acc.texts.append, acc.tools
                        async for chunk in source:
                            # Each chunk of a long answer passes here. This is `acc.feed` without its call.
                            try:
                                (item,) = chunk.choices
                                delta = item.delta
                                text = delta.content
                                if text and not item.index and not (tools and getattr(delta, "tool_calls", None)):
                                    append(text)
                                    acc.last = chunk
                                else:
                                    acc.feed_whole(chunk)
                            except Exception:
                                acc.feed_whole(chunk)
                            yielding = True
                            yield chunk
                            yielding = False
                            if not acc.simple:
                                break
                        else:
                            break
                else:
                    async for raw in source:
                        chunk = take(raw)
                        if chunk is DROPPED:
                            continue
                        yielding = True
                        yield chunk
                        yielding = False
            except BaseException as error:
                if yielding:
                    state.suspended = True
                    raise
                if came_too_early(state, error):
                    raise
                if isinstance(error, GeneratorExit):
                    # The consumer's coroutine was closed while it waited: nothing can be awaited now.
                    state.drop()
                    raise
                other = await state.end_async(outcome_of(error), error, listening=True)
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
