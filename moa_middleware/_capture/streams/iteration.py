"""
The steps of a stream: each passes one chunk on, fed into the state, and ends the state where it ends.

`step` is one `next` or `send`; the classes made by `steps_class` are iterators over a user's own
generator. The loops over an SDK's stream are in `_loops`.
"""

from __future__ import annotations

import weakref
from itertools import repeat
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from ..flow.outcome import outcome_of
from ..scope import current, enter, leave, put_current
from .state import DROPPED
from .step_proxy import step_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.model import Outcome
    from .state import StreamState

__all__ = ["came_too_early", "put_in_place", "runs", "step", "step_async", "step_next", "steps_class"]


def came_too_early(state: StreamState, error: BaseException) -> bool:
    """Whether a step failed only because another one, in another thread or task, is under way."""
    return (
        state.readers > 1
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


def _refused(source: Any, error: BaseException) -> bool:
    """Whether Python refused a step of a generator that ran: no frame of its body is in the traceback, and it may be over by now."""
    trace = error.__traceback__
    return (
        isinstance(source, GeneratorType)
        and type(error) is ValueError
        and (trace is None or trace.tb_next is None)
        and str(error) == "generator already executing"
    )


def runs(source: Any) -> bool:
    """Whether a user's generator is in the middle of a step: then it cannot be closed."""
    if isinstance(source, GeneratorType):
        return source.gi_running
    return isinstance(source, AsyncGeneratorType) and source.ag_running


def _stepper(proxy: Any) -> Callable[..., Any]:
    """
    Return a function that takes one step of a proxy's stream.

    It costs a third of `step`: what a proxy knows takes 90 ns to get, again and again. It must not
    hold the proxy, which holds it; whoever calls it does.
    """
    state: StreamState = proxy._self_state
    source, behind = proxy.__wrapped__, weakref.ref(proxy)
    scope, acc, tools = state.scope, state.acc, state.acc.tools
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
                other = _ended_by(behind(), error)
            finally:
                if counted:
                    state.readers -= 1
            if other is None:
                raise
            put_in_place(behind(), other)
            return step(behind())
        if acc.simple:
            # This is `acc.feed` without its call, as in `_loops`.
            try:
                (item,) = chunk.choices
                delta = item.delta
                text = delta.content
                if text and not item.index and not (tools and getattr(delta, "tool_calls", None)):
                    acc.texts.append(text)
                    acc.last = chunk
                    return chunk
            except Exception:
                pass  # it is read as a whole then
        acc.feed(chunk)
        return chunk

    return one


def step_next(proxy: Any) -> Any:
    """Take one step with `__next__`."""
    one = step_of(proxy)
    if one is None:
        if proxy._self_state.on_chunk is not None:
            return step(proxy)
        proxy._self_step = one = _stepper(proxy)
    return one()


def put_in_place(proxy: Any, other: Any) -> None:
    """Let a proxy go on with another stream, that of a resend."""
    proxy.__wrapped__ = other
    proxy._self_step = None


def _ended_by(proxy: Any, error: BaseException, given: tuple[Any, ...] = ()) -> Any:
    """End the stream of a step that raised; returns what to go on with, `None` if the exception goes on."""
    state: StreamState = proxy._self_state
    if isinstance(error, StopIteration):
        return state.end("completed", listening=True)
    source = proxy.__wrapped__
    if _lives(source) or came_too_early(state, error) or _refused(source, error):
        return None
    return state.end(_thrown(error, given), error, listening=True)


def step(proxy: Any, method: str = "__next__", *given: Any) -> Any:
    """Take one step with `__next__`, `send` or `throw`."""
    state: StreamState = proxy._self_state
    while True:
        scope = state.scope  # that of a resend is another one
        former = enter(scope) if scope is not None else None
        state.suspended = False
        state.readers += 1
        try:
            raw = getattr(proxy.__wrapped__, method)(*given)
        except BaseException as error:
            other = _ended_by(proxy, error, given if method == "throw" else ())
            if other is None:
                raise
        else:
            chunk = _took(state, raw)
            if chunk is not DROPPED:
                return chunk
            method, given = "__next__", ()
            continue
        finally:
            state.readers -= 1
            if scope is not None:
                leave(scope, former)
        put_in_place(proxy, other)
        method, given = "__next__", ()


async def step_async(proxy: Any, method: str = "__anext__", *given: Any) -> Any:
    """Take one step with `__anext__`, `asend` or `athrow`."""
    state: StreamState = proxy._self_state
    while True:
        scope = state.scope  # that of a resend is another one
        former = enter(scope) if scope is not None else None
        state.suspended = False
        state.readers += 1
        try:
            raw = await getattr(proxy.__wrapped__, method)(*given)
        except StopAsyncIteration:
            other = await state.end_async("completed", listening=True)
            if other is None:
                raise
        except BaseException as error:
            if _lives(proxy.__wrapped__) or came_too_early(state, error):
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
            state.readers -= 1
            if scope is not None:
                leave(scope, former)
        put_in_place(proxy, other)
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


class _Steps(map):  # type: ignore[type-arg]  # of what the stream gives
    """
    Iterator over a stream that is its own iterator, such as a user's generator.

    A `map`, whose `__next__` calls the step from C: one of Python's own would cost as much as the scope.
    """

    __slots__ = ("__weakref__", "proxy")

    proxy: Any

    def __new__(cls, proxy: Any) -> Any:
        if hasattr(type(proxy.__wrapped__), "__next__") and proxy._self_state.on_chunk is None:
            take = _stepper(proxy)
        else:

            def take(_: object) -> Any:
                return step(proxy)

        self = super().__new__(cls, take, repeat(None))
        self.proxy = proxy
        return self

    def __init__(self, proxy: Any) -> None: ...

    def __del__(self) -> None:
        # As after a `break`: the consumer may take the stream up again, or never.
        self.proxy._self_state.suspended = True

    def __aiter__(self) -> Any:
        return self

    def __anext__(self) -> Any:
        return step_async(self.proxy)

    def __reduce_ex__(self, _protocol: object) -> Any:
        # As a generator says, and not the parts of a `map`.
        msg = f"cannot pickle {type(self).__name__!r} object"
        raise TypeError(msg)


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
