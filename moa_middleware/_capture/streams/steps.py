"""
Single steps of a stream: each passes one chunk on, fed into the state, and ends the state where it ends.

`step` is one `next` or `send`; the classes made by `steps_class` are iterators over a user's own
generator.
"""

from __future__ import annotations

import weakref
from functools import partial
from itertools import repeat
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from ..flow.model import DROPPED
from ..flow.outcome import outcome_of
from ..frames import hide_own_frames, traceback_of
from ..scope import current, invoke, put_current, resolve
from .stream_types import one_per_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.model import Outcome
    from .state import StreamState

__all__ = [
    "ended_by_error",
    "ended_by_error_async",
    "put_in_place",
    "runs",
    "step",
    "step_async",
    "stepper",
    "steps_class",
]


# How a step ends a stream. ------------------------------------------------------------------------


def put_in_place(proxy: Any, other: Any) -> None:
    """Let a proxy go on with another stream, that of a resend."""
    proxy.__wrapped__ = other
    proxy._self_step = None


def runs(source: Any) -> bool:
    """Return True if a user's generator is in the middle of a step: then it cannot be closed."""
    if isinstance(source, GeneratorType):
        return source.gi_running
    return isinstance(source, AsyncGeneratorType) and source.ag_running


def _lives(source: Any) -> bool:
    """
    Return True if a user's generator goes on although a step of it raised.

    It is running already, in another thread or further out, or the consumer misused it: what was
    raised did not come out of its body.
    """
    if isinstance(source, GeneratorType):
        return source.gi_frame is not None
    return isinstance(source, AsyncGeneratorType) and source.ag_frame is not None


def _came_too_early(state: StreamState, error: BaseException) -> bool:
    """Return True if a step failed only because another one, in another thread or task, is under way."""
    return (
        state.readers > 1
        and type(error) in (ValueError, RuntimeError)
        and str(error).endswith(("already executing", "already running"))
    )


def _refused(source: Any, error: BaseException) -> bool:
    """
    Return True if Python refused a step of a generator that ran in another thread.

    By now that one may be over, so its frame says nothing; but no frame of its body is in the
    traceback of a refusal (tests/behaviour/streams/test_generator_scope.py: two threads on one generator).
    """
    trace = traceback_of(error)
    return (
        isinstance(source, GeneratorType)
        and type(error) is ValueError
        and (trace is None or trace.tb_next is None)
        and str(error) == "generator already executing"
    )


def _how_ended(proxy: Any, error: BaseException, given: tuple[Any, ...]) -> Outcome | None:
    """
    Return how a stream ended whose step raised, None if the stream goes on.

    Args:
        proxy: Of the stream.
        error: What the step raised, and not that the stream is exhausted.
        given: What the consumer threw in: that is not the source's error.
    """
    source = proxy.__wrapped__
    if _lives(source) or _came_too_early(proxy._self_state, error) or _refused(source, error):
        return None
    outcome = outcome_of(error)
    if outcome == "abandoned" and given:
        return "closed"
    is_given = any(error is item or (issubclass(type(item), type) and type(error) is item) for item in given)
    return "consumer_error" if is_given and outcome == "error" else outcome


def ended_by_error(proxy: Any, error: BaseException, given: tuple[Any, ...] = ()) -> Any:
    """End the stream of a step that raised; returns what to go on with, `None` if the exception goes on."""
    state: StreamState = proxy._self_state
    outcome = _how_ended(proxy, error, given)
    other = None if outcome is None else state.end(outcome, error, listening=True)
    if other is None:
        hide_own_frames(error)
    return other


async def ended_by_error_async(proxy: Any, error: BaseException, given: tuple[Any, ...] = ()) -> Any:
    """Do the same as `ended_by_error` where the middleware can await."""
    state: StreamState = proxy._self_state
    outcome = _how_ended(proxy, error, given)
    if outcome == "abandoned":
        # The consumer's coroutine was closed while it waited: nothing can be awaited now.
        state.drop()
        return None
    other = None if outcome is None else await state.end_async(outcome, error, listening=True)
    if other is None:
        hide_own_frames(error)
    return other


def _ended_by(proxy: Any, error: BaseException, given: tuple[Any, ...] = ()) -> Any:
    """End the stream of a step that raised, or that found it exhausted."""
    if issubclass(type(error), StopIteration):
        return proxy._self_state.end("completed", listening=True)
    return ended_by_error(proxy, error, given)


# Single steps. ------------------------------------------------------------------------------------


def stepper(proxy: Any) -> Callable[..., Any]:
    """
    Return a function that takes one step of a proxy's stream, where nothing taps it.

    It costs a third of `step`: what a proxy knows takes 90 ns to get, again and again. It does
    not hold the proxy, which holds it; its caller does.
    """
    state: StreamState = proxy._self_state
    # Strong references to what the proxy holds, and a weak one to itself: the proxy keeps this function.
    source, behind = proxy.__wrapped__, weakref.ref(proxy)
    scope, acc, feed = state.scope, state.acc, state.acc.feed
    counted = not isinstance(source, GeneratorType)  # which knows itself whether it runs

    def one(_: object = None) -> Any:
        if state.acc is not acc:  # the stream of a resend is in its place
            return step(behind())
        state.suspended = False
        try:
            if counted:
                state.readers += 1
            if scope is None:
                chunk = next(source)
            else:
                former = current()
                put_current(scope)
                try:
                    chunk = next(source)
                finally:
                    if current() is scope:
                        put_current(former)
            if counted:
                state.readers -= 1
        except BaseException as error:
            try:
                proxy = behind()
                if proxy is None:
                    # The collector takes the proxy and its iterator away together, and a finaliser reads the rest.
                    state.drop("completed" if issubclass(type(error), StopIteration) else outcome_of(error))
                    raise
                other = _ended_by(proxy, error)
            finally:
                if counted:
                    state.readers -= 1
            if other is None:
                raise
            put_in_place(proxy, other)
            return step(proxy)
        feed(chunk)
        return chunk

    return one


def step(proxy: Any, method: str = "__next__", *given: Any) -> Any:
    """Take one step with `__next__`, `send` or `throw`."""
    state: StreamState = proxy._self_state
    while True:
        state.suspended = False
        state.readers += 1
        try:
            raw = invoke(state.scope or current(), getattr(proxy.__wrapped__, method), given, {})
        except BaseException as error:
            other = _ended_by(proxy, error, given if method == "throw" else ())
            if other is None:
                raise
            put_in_place(proxy, other)
        else:
            chunk = _took(state, raw)
            if chunk is not DROPPED:
                return chunk
        finally:
            state.readers -= 1
        method, given = "__next__", ()


async def step_async(proxy: Any, method: str = "__anext__", *given: Any) -> Any:
    """Take one step with `__anext__`, `asend` or `athrow`."""
    state: StreamState = proxy._self_state
    while True:
        state.suspended = False
        state.readers += 1
        try:
            take, scope = getattr(proxy.__wrapped__, method), state.scope
            raw = await (take(*given) if scope is None else resolve(scope, take, given, {}))
        except BaseException as error:
            if issubclass(type(error), StopAsyncIteration):
                other = await state.end_async("completed", listening=True)
            else:
                other = await ended_by_error_async(proxy, error, given if method == "athrow" else ())
            if other is None:
                raise
            put_in_place(proxy, other)
        else:
            chunk = _took(state, raw)
            if chunk is not DROPPED:
                return chunk
        finally:
            state.readers -= 1
        method, given = "__anext__", ()


def _took(state: StreamState, raw: Any) -> Any:
    """Feed a chunk; a fault of a middleware's tap ends the stream."""
    if state.on_chunk is None:
        state.acc.feed(raw)
        return raw
    try:
        return state.on_chunk(raw)
    except BaseException as error:
        state.end(outcome_of(error), error)
        raise


# Iterators over a stream that is its own iterator. ------------------------------------------------


class _Steps(map):  # type: ignore[type-arg]  # of what the stream gives
    """
    Iterator over a stream that is its own iterator, such as a user's generator.

    A `map`, whose `__next__` calls the step from C: one of Python's own would cost as much as the
    scope. It cannot be a generator, which would cost less still: Python refuses a step of a generator
    that runs in another thread, and one of ours that let that exception out would be over, while the
    user's goes on (`test_an_iterator_outlives_a_step_that_was_refused`).
    """

    __slots__ = ("__weakref__", "proxy")

    proxy: Any

    def __new__(cls, proxy: Any) -> Any:
        is_plain = hasattr(type(proxy.__wrapped__), "__next__") and proxy._self_state.on_chunk is None
        self = super().__new__(cls, stepper(proxy) if is_plain else partial(step, proxy), repeat("__next__"))
        self.proxy = proxy
        return self

    def __init__(self, proxy: Any) -> None: ...

    def __del__(self) -> None:
        # As after a `break`: the consumer may take the stream up again, or never. Without a step it was not begun.
        state = self.proxy._self_state
        if state.suspended is not None:
            state.suspended = True

    def __aiter__(self) -> Any:
        return self

    def __anext__(self) -> Any:
        return step_async(self.proxy)

    def __reduce_ex__(self, _protocol: object) -> Any:
        # A generator refuses to be pickled in these words; a `map` would pickle its parts.
        msg = f"cannot pickle {type(self).__name__!r} object"
        raise TypeError(msg)


def _of_proxy(name: str) -> Callable[..., Any]:
    def forward(self: Any, *args: Any) -> Any:
        try:
            return getattr(self.proxy, name)(*args)
        except BaseException as error:
            hide_own_frames(error)
            raise

    return forward


@one_per_type
def steps_class(kind: type) -> Any:
    """Return the iterator's class for streams of a type, with those methods of a generator that it has."""
    methods = ("send", "throw", "close", "asend", "athrow", "aclose")
    names: dict[str, Any] = {name: _of_proxy(name) for name in methods if hasattr(kind, name)}
    names["__slots__"] = ()
    for there, here in (("__next__", "__iter__"), ("__anext__", "__aiter__")):
        if not hasattr(kind, there):
            names[there] = names[here] = None
    return type("stream_iterator", (_Steps,), names)
