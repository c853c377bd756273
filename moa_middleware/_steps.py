"""
The steps of a stream: each passes one chunk on, fed into the state, and ends the state where it ends.

`iterate` is for an SDK's stream, where `iter(s)` is another object; `step` is one `next` or `send`;
the classes made by `steps_class` are iterators over a user's own generator.
"""

from __future__ import annotations

import weakref
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from ._endings import outcome_of
from ._scope import Scope, enter, leave
from ._stream import DROPPED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ._call import Outcome
    from ._stream import StreamState

__all__ = ["iterate", "iterate_async", "runs", "step", "step_async", "steps_class"]


_SDKS = frozenset({"openai", "anthropic", "together", "groq", "litellm"})
"""Roots of the modules whose streams make no calls of their own: their steps need no scope."""


class _Scoped:
    """An iterator whose steps run in a scope."""

    __slots__ = ("scope", "source")

    def __init__(self, source: Any, scope: Scope) -> None:
        self.source = source
        self.scope = scope

    def __iter__(self) -> Any:
        return self

    def __aiter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        former = enter(self.scope)
        try:
            return next(self.source)
        finally:
            leave(self.scope, former)

    async def __anext__(self) -> Any:
        former = enter(self.scope)
        try:
            return await anext(self.source)
        finally:
            leave(self.scope, former)


def _scoped(stream: object, state: StreamState, source: Any) -> Any:
    """Return `source`, the iterator of `stream`, with its steps in the scope of the call."""
    if state.scope is None or type(stream).__module__.partition(".")[0] in _SDKS:
        return source
    return _Scoped(source, state.scope)


def iterate(proxy: Any, state: StreamState, source: Iterator[Any]) -> Iterator[Any]:
    """Pass the chunks of an SDK's stream on; holds the proxy, since a `for` loop drops it."""
    state.suspended = False
    source = _scoped(proxy.__wrapped__, state, source)
    state.readers.append(None)
    try:
        while True:
            acc, take = state.acc, state.take
            yielding = False
            try:
                if take is None:
                    while True:
                        # As long as not all is known of the chunks' kind, each is read as a whole.
                        for chunk in source:
                            acc.feed_whole(chunk)
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
                if _came_too_early(state, error):
                    raise
                other = state.end(outcome_of(error), error, listening=True)
                if other is None:
                    raise
            else:
                other = state.end("completed", listening=True)
                if other is None:
                    return
            proxy.__wrapped__ = other
            source = _scoped(other, state, iter(other))
    finally:
        state.readers.pop()


async def iterate_async(proxy: Any, state: StreamState, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Do the same as `_iterate` for an async stream."""
    state.suspended = False
    source = _scoped(proxy.__wrapped__, state, source)
    state.readers.append(None)
    try:
        while True:
            acc, take = state.acc, state.take
            yielding = False
            try:
                if take is None:
                    while True:
                        # As long as not all is known of the chunks' kind, each is read as a whole.
                        async for chunk in source:
                            acc.feed_whole(chunk)
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
                if _came_too_early(state, error):
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
            proxy.__wrapped__ = other
            source = _scoped(other, state, aiter(other))
    finally:
        state.readers.pop()


def _came_too_early(state: StreamState, error: BaseException) -> bool:
    """Whether a step failed only because another one, in another thread or task, is under way."""
    return (
        len(state.readers) > 1
        and type(error) in (ValueError, RuntimeError)
        and str(error).endswith(("already executing", "already running"))
    )


def _thrown(error: BaseException, given: tuple[Any, ...]) -> Outcome:
    """Return how a step ended that raised; what the consumer threw in is not the source's error."""
    outcome = outcome_of(error)
    if outcome == "abandoned" and given:
        return "closed"
    ours = any(error is item or (isinstance(item, type) and type(error) is item) for item in given)
    return "consumer_error" if ours and outcome == "error" else outcome


def _lives(source: Any) -> bool:
    """
    Whether a user's generator goes on although a step of it raised.

    It is running already, in another thread or further out, or the consumer misused it: what was
    raised did not come out of its body.
    """
    if isinstance(source, GeneratorType):
        return source.gi_frame is not None
    return isinstance(source, AsyncGeneratorType) and source.ag_frame is not None


def runs(source: Any) -> bool:
    """Whether a user's generator is in the middle of a step: then it cannot be closed."""
    if isinstance(source, GeneratorType):
        return source.gi_running
    return isinstance(source, AsyncGeneratorType) and source.ag_running


def step(proxy: Any, method: str = "__next__", *given: Any) -> Any:
    """Take one step with `__next__`, `send` or `throw`."""
    state: StreamState = proxy._self_state
    while True:
        scope = state.scope  # that of a resend is another one
        former = enter(scope) if scope is not None else None
        state.suspended = False
        state.readers.append(None)
        try:
            raw = getattr(proxy.__wrapped__, method)(*given)
        except StopIteration:
            other = state.end("completed", listening=True)
            if other is None:
                raise
        except BaseException as error:
            if _lives(proxy.__wrapped__) or _came_too_early(state, error):
                raise
            outcome = _thrown(error, given if method == "throw" else ())
            other = state.end(outcome, error, listening=True)
            if other is None:
                raise
        else:
            chunk = _took(state, raw)
            if chunk is not DROPPED:
                return chunk
            method, given = "__next__", ()
            continue
        finally:
            state.readers.pop()
            if scope is not None:
                leave(scope, former)
        proxy.__wrapped__ = other
        method, given = "__next__", ()


async def step_async(proxy: Any, method: str = "__anext__", *given: Any) -> Any:
    """Take one step with `__anext__`, `asend` or `athrow`."""
    state: StreamState = proxy._self_state
    while True:
        scope = state.scope  # that of a resend is another one
        former = enter(scope) if scope is not None else None
        state.suspended = False
        state.readers.append(None)
        try:
            raw = await getattr(proxy.__wrapped__, method)(*given)
        except StopAsyncIteration:
            other = await state.end_async("completed", listening=True)
            if other is None:
                raise
        except BaseException as error:
            if _lives(proxy.__wrapped__) or _came_too_early(state, error):
                raise
            if isinstance(error, GeneratorExit) and method != "athrow":
                # The consumer's coroutine was closed while it waited: nothing can be awaited now.
                state.drop()
                raise
            outcome = _thrown(error, given if method == "athrow" else ())
            other = await state.end_async(outcome, error, listening=True)
            if other is None:
                raise
        else:
            chunk = _took(state, raw)
            if chunk is not DROPPED:
                return chunk
            method, given = "__anext__", ()
            continue
        finally:
            state.readers.pop()
            if scope is not None:
                leave(scope, former)
        proxy.__wrapped__ = other
        method, given = "__anext__", ()


def _took(state: StreamState, raw: Any) -> Any:
    """Feed a chunk; a fault of a middleware's tap ends the stream."""
    if state.take is None:
        state.acc.feed(raw)
        return raw
    try:
        return state.take(raw)
    except BaseException as error:
        state.end(outcome_of(error), error)
        raise


class _Steps:
    """Iterator over a stream that is its own iterator, such as a user's generator."""

    __slots__ = ("__weakref__", "proxy")

    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy

    def __del__(self) -> None:
        # As after a `break`: the consumer may take the stream up again, or never.
        self.proxy._self_state.suspended = True

    def __iter__(self) -> Any:
        return self

    def __aiter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return step(self.proxy)

    def __anext__(self) -> Any:
        return step_async(self.proxy)


def _of_proxy(name: str) -> Callable[..., Any]:
    def forward(self: Any, *args: Any) -> Any:
        return getattr(self.proxy, name)(*args)

    return forward


_step_classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()


def steps_class(kind: type) -> Any:
    found = _step_classes.get(kind)
    if found is None:
        names: dict[str, Any] = {
            name: _of_proxy(name)
            for name in ("send", "throw", "close", "asend", "athrow", "aclose")
            if hasattr(kind, name)
        }
        names["__slots__"] = ()
        for there, here in (("__next__", "__iter__"), ("__anext__", "__aiter__")):
            if not hasattr(kind, there):
                names[there] = names[here] = None
        found = _step_classes[kind] = type("stream_iterator", (_Steps,), names)
    return found
