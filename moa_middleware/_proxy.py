"""
The transparent proxies around streams and stream managers.

One class per wrapped type, made from a table and cached: a method is there only if the wrapped
object has it, and is async only if that one is. `iter(proxy)` over an SDK's stream is a generator,
which costs a tenth of `wrapt`'s `__next__` per chunk; over a user's own generator it is an object
with `send`, `throw` and `close`, so that `yield from` reaches the user's code.
"""

from __future__ import annotations

import inspect
import weakref
from typing import TYPE_CHECKING, Any

import wrapt

from ._drive import drive_async, drive_sync
from ._log import log
from ._scope import enter, leave
from ._stream import DROPPED, Entered, StreamState
from ._turn import outcome_of
from .shapes.render import replay_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from types import TracebackType

    from ._call import Outcome
    from ._drive import Conversation, Ended

__all__ = [
    "ManagerProxy",
    "StreamProxy",
    "is_manager",
    "is_stream",
    "manager_proxy",
    "own_state",
    "stream_proxy",
]


def is_stream(value: object) -> bool:
    """Whether a value is a stream. `__iter__` proves nothing: pydantic's models have it."""
    kind = type(value)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__")


def is_manager(value: object) -> bool:
    """Whether a value has to be entered before it is a stream."""
    kind = type(value)
    return (hasattr(kind, "__enter__") or hasattr(kind, "__aenter__")) and not is_stream(value)


class StreamProxy(wrapt.BaseObjectProxy):  # type: ignore[misc]  # wrapt's C types are untyped
    """Base of the classes made by `stream_proxy`."""

    def __init__(self, wrapped: Any, state: StreamState, keep: object = None) -> None:
        super().__init__(wrapped)
        self._self_state = state
        self._self_keep = keep


class ManagerProxy(wrapt.BaseObjectProxy):  # type: ignore[misc]  # wrapt's C types are untyped
    """Base of the classes made by `manager_proxy`."""

    def __init__(self, wrapped: Any, state: StreamState) -> None:
        super().__init__(wrapped)
        self._self_state = state


class HeldProxy(wrapt.BaseObjectProxy):  # type: ignore[misc]  # wrapt's C types are untyped
    """Base of the classes made by `held_proxy`: a stream that has been read to its end already."""

    def __init__(self, wrapped: Any, chunks: Iterable[Any]) -> None:
        super().__init__(wrapped)
        self._self_chunks = iter(chunks)


def own_state(value: object) -> StreamState | None:
    """Return the state behind a proxy of ours, `None` for anything else."""
    if isinstance(value, StreamProxy | ManagerProxy):
        state: StreamState = value._self_state
        return state
    return None


# Steps of a stream. -------------------------------------------------------------------------------


def _iterate(proxy: Any, state: StreamState, source: Iterator[Any]) -> Iterator[Any]:
    """Pass the chunks of an SDK's stream on; holds the proxy, since a `for` loop drops it."""
    state.suspended = False
    while True:
        feed, take = state.acc.feed, state.take
        yielding = False
        try:
            if take is None:
                for chunk in source:
                    feed(chunk)
                    yielding = True
                    yield chunk
                    yielding = False
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
            other = state.end(outcome_of(error), error, listening=True)
            if other is None:
                raise
        else:
            other = state.end("completed", listening=True)
            if other is None:
                return
        proxy.__wrapped__ = other
        source = iter(other)


async def _iterate_async(proxy: Any, state: StreamState, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Do the same as `_iterate` for an async stream."""
    state.suspended = False
    while True:
        feed, take = state.acc.feed, state.take
        yielding = False
        try:
            if take is None:
                async for chunk in source:
                    feed(chunk)
                    yielding = True
                    yield chunk
                    yielding = False
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
            other = await state.end_async(outcome_of(error), error, listening=True)
            if other is None:
                raise
        else:
            other = await state.end_async("completed", listening=True)
            if other is None:
                return
        proxy.__wrapped__ = other
        source = aiter(other)


def _thrown(error: BaseException, given: tuple[Any, ...]) -> Outcome:
    """Return how a step ended that raised; what the consumer threw in is not the source's error."""
    outcome = outcome_of(error)
    if outcome == "abandoned" and given:
        return "closed"
    ours = any(error is item or (isinstance(item, type) and type(error) is item) for item in given)
    return "consumer_error" if ours and outcome == "error" else outcome


def _step(proxy: Any, method: str = "__next__", *given: Any) -> Any:
    """Take one step with `__next__`, `send` or `throw`."""
    state: StreamState = proxy._self_state
    while True:
        former = enter(state.scope) if state.scope is not None else None
        try:
            raw = getattr(proxy.__wrapped__, method)(*given)
        except StopIteration:
            other = state.end("completed", listening=True)
            if other is None:
                raise
        except BaseException as error:
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
            if state.scope is not None:
                leave(state.scope, former)
        proxy.__wrapped__ = other
        method, given = "__next__", ()


async def _step_async(proxy: Any, method: str = "__anext__", *given: Any) -> Any:
    """Take one step with `__anext__`, `asend` or `athrow`."""
    state: StreamState = proxy._self_state
    while True:
        former = enter(state.scope) if state.scope is not None else None
        try:
            raw = await getattr(proxy.__wrapped__, method)(*given)
        except StopAsyncIteration:
            other = await state.end_async("completed", listening=True)
            if other is None:
                raise
        except BaseException as error:
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
            if state.scope is not None:
                leave(state.scope, former)
        proxy.__wrapped__ = other
        method, given = "__anext__", ()


def _took(state: StreamState, raw: Any) -> Any:
    """Feed a chunk; a fault of a middleware's tap ends the stream."""
    state.suspended = False
    if state.take is None:
        state.acc.feed(raw)
        return raw
    try:
        return state.take(raw)
    except BaseException as error:
        state.end("error", error)
        raise


# What the proxies have, each only if the wrapped object has it. -----------------------------------


def _iter(self: Any) -> Any:
    source = iter(self.__wrapped__)
    if source is self.__wrapped__:
        return _steps_class(type(source))(self)
    return _iterate(self, self._self_state, source)


def _aiter(self: Any) -> Any:
    source = aiter(self.__wrapped__)
    if source is self.__wrapped__:
        return _steps_class(type(source))(self)
    return _iterate_async(self, self._self_state, source)


def _send(self: Any, value: Any, /) -> Any:
    return _step(self, "send", value)


def _throw(self: Any, *error: Any) -> Any:
    return _step(self, "throw", *error)


async def _asend(self: Any, value: Any, /) -> Any:
    return await _step_async(self, "asend", value)


async def _athrow(self: Any, *error: Any) -> Any:
    return await _step_async(self, "athrow", *error)


def _close(self: Any) -> Any:
    state: StreamState = self._self_state
    try:
        result = self.__wrapped__.close()
    except ValueError:
        # "generator already executing": another thread is in it, so it is not closed.
        raise
    except BaseException as error:
        state.end(outcome_of(error), error)
        raise
    if inspect.isawaitable(result):
        return _close_later(state, result)
    state.end("closed")
    return result


async def _close_later(state: StreamState, awaitable: Any) -> Any:
    try:
        result = await awaitable
    except BaseException as error:
        await state.end_async(outcome_of(error), error)
        raise
    await state.end_async("closed")
    return result


async def _close_async(self: Any) -> Any:
    return await _close_later(self._self_state, self.__wrapped__.close())


async def _aclose(self: Any) -> Any:
    return await _close_later(self._self_state, self.__wrapped__.aclose())


def _enter(self: Any) -> Any:
    value = self.__wrapped__.__enter__()
    return self if value is self.__wrapped__ else _inner(self, value)


async def _aenter(self: Any) -> Any:
    value = await self.__wrapped__.__aenter__()
    return self if value is self.__wrapped__ else _inner(self, value)


def _inner(self: Any, value: Any) -> Any:
    """Return what a stream's enter gave, still fed into the same state."""
    return stream_proxy(value, self._self_state, keep=self) if is_stream(value) else value


def _left(error: BaseException | None) -> tuple[Outcome, BaseException | None]:
    """Return how a `with` block ended."""
    if error is None or isinstance(error, GeneratorExit):
        return "closed", None
    outcome = outcome_of(error)
    return ("consumer_error" if outcome == "error" else outcome), error


def _quietly(raised: BaseException, error: BaseException | None) -> None:
    """Let a middleware's exception out of a `with`, unless it would hide the block's own."""
    if error is None or not isinstance(raised, Exception):
        raise raised
    log("moa.middleware_failed", error=type(raised).__qualname__, where="leaving a with block")


def _exit(
    self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> Any:
    state: StreamState = self._self_state
    try:
        return self.__wrapped__.__exit__(kind, error, trace)
    finally:
        try:
            state.end(*_left(error))
        except BaseException as raised:
            _quietly(raised, error)


async def _aexit(
    self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> Any:
    state: StreamState = self._self_state
    try:
        return await self.__wrapped__.__aexit__(kind, error, trace)
    finally:
        try:
            await state.end_async(*_left(error))
        except BaseException as raised:
            _quietly(raised, error)


def _manager_enter(self: Any) -> Any:
    try:
        value = self.__wrapped__.__enter__()
    except BaseException as error:
        self._self_state.end(outcome_of(error), error)
        raise
    return _entered(self, drive_sync(_talk(self), Entered(value)))


async def _manager_aenter(self: Any) -> Any:
    try:
        value = await self.__wrapped__.__aenter__()
    except BaseException as error:
        await self._self_state.end_async(outcome_of(error), error)
        raise
    return _entered(self, await drive_async(_talk(self), Entered(value)))


def _entered(self: Any, ended: Ended) -> Any:
    """Return what the user's `as` gets: a proxy that keeps its manager, where it is a stream."""
    if ended.suspended:
        return stream_proxy(ended.value, self._self_state, keep=self)
    return ended.value


def _held_step(self: Any) -> Any:
    return next(self._self_chunks)


async def _held_step_async(self: Any) -> Any:
    for chunk in self._self_chunks:
        return chunk
    raise StopAsyncIteration


def _talk(self: Any) -> Conversation:
    state: StreamState = self._self_state
    return state.talk


_ITERATION: dict[str, Any] = {
    "__iter__": _iter,
    "__next__": lambda self: _step(self),
    "__aiter__": _aiter,
    "__anext__": lambda self: _step_async(self),
    "send": _send,
    "throw": _throw,
    "asend": _asend,
    "athrow": _athrow,
}
_STREAM: dict[str, Any] = {
    **_ITERATION,
    "close": _close,
    "aclose": _aclose,
    "__enter__": _enter,
    "__exit__": _exit,
    "__aenter__": _aenter,
    "__aexit__": _aexit,
}
_MANAGER: dict[str, Any] = {
    "__enter__": _manager_enter,
    "__exit__": _exit,
    "__aenter__": _manager_aenter,
    "__aexit__": _aexit,
}
_HELD: dict[str, Any] = {
    "__iter__": lambda self: self._self_chunks,
    "__next__": _held_step,
    "__aiter__": lambda self: replay_async(self._self_chunks),
    "__anext__": lambda self: _held_step_async(self),
}
# wrapt's proxy always has these; code that looks before it leaps must not find them.
_CONTEXT = ("__enter__", "__exit__", "__aenter__", "__aexit__")
_CONTAINER = ("__len__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "__reversed__")


class _Absent:
    """A name that the wrapped object does not have."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        msg = f"{owner.__name__ if owner else 'object'!r} object has no attribute {self.name!r}"
        raise AttributeError(msg)


def _await(self: Any) -> Any:
    return self.__wrapped__.__await__()


def _call(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self.__wrapped__(*args, **kwargs)


def _make(kind: type, base: type, table: dict[str, Any]) -> type:
    names: dict[str, Any] = {"__module__": base.__module__, "__doc__": kind.__doc__}
    for name, fn in table.items():
        if hasattr(kind, name):
            names[name] = fn
    close = getattr(kind, "close", None)
    if "close" in names and inspect.iscoroutinefunction(inspect.unwrap(close)):  # type: ignore[arg-type]
        names["close"] = _close_async
    for name, fn in (("__await__", _await), ("__call__", _call)):
        if hasattr(kind, name):
            names[name] = fn
    names.update({name: _Absent() for name in _CONTEXT if not hasattr(kind, name)})
    # `None` is the word of the data model for "not this one"; ABCs such as `Sized` ask for it.
    names.update({name: None for name in _CONTAINER if not hasattr(kind, name)})
    return type(kind.__name__, (base,), names)


class _Steps:
    """Iterator over a stream that is its own iterator, such as a user's generator."""

    __slots__ = ("__weakref__", "proxy")

    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy

    def __iter__(self) -> Any:
        return self

    def __aiter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return _step(self.proxy)

    def __anext__(self) -> Any:
        return _step_async(self.proxy)


def _of_proxy(name: str) -> Callable[..., Any]:
    def forward(self: Any, *args: Any) -> Any:
        return getattr(self.proxy, name)(*args)

    return forward


_stream_classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()
_manager_classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()
_held_classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()
_step_classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()


def _steps_class(kind: type) -> Any:
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


def _class_for(
    kind: type, base: type, table: dict[str, Any], cache: weakref.WeakKeyDictionary[type, Any]
) -> Any:
    found = cache.get(kind)
    if found is None:
        found = cache[kind] = _make(kind, base, table)
    return found


def stream_proxy(source: Any, state: StreamState, *, keep: object = None) -> Any:
    """Return a proxy around a stream that feeds `state`."""
    proxy = _class_for(type(source), StreamProxy, _STREAM, _stream_classes)(source, state, keep)
    if keep is None:
        state.watch(proxy)
    return proxy


def manager_proxy(source: Any, state: StreamState) -> Any:
    """Return a proxy around a stream manager, whose enter returns the stream."""
    proxy = _class_for(type(source), ManagerProxy, _MANAGER, _manager_classes)(source, state)
    state.watch(proxy)
    return proxy


def held_proxy(source: Any, chunks: Iterable[Any]) -> Any:
    """Return a proxy around a stream read to its end, which passes these chunks on."""
    return _class_for(type(source), HeldProxy, _HELD, _held_classes)(source, chunks)
