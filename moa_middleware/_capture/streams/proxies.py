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
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any

from ..flow.outcome import left, outcome_of
from ..log import log
from ..scope import enter, leave
from .held import REPLAY, STEPS_OF, ReplayProxy, close_async, forward
from .iteration import runs, step, step_async, step_next, steps_class
from .kinds import is_stream, underlying_stream
from .loops import iterate, iterate_async, makes_no_calls
from .step_proxy import StateProxy, StreamProxy, own_state

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from ..flow.driver import Ended
    from .state import StreamState

__all__ = ["manager_proxy", "proxy_class", "replay_proxy", "stream_proxy", "wrap_underlying_stream"]


class ManagerProxy(StateProxy):
    """Base of the classes made by `manager_proxy`."""

    def __init__(self, wrapped: Any, state: StreamState) -> None:
        super().__init__(wrapped)
        self._self_state = state
        self._self_helper: Any = None
        """A weak reference to the SDK's helper that came of entering it, if one did."""
        self._self_entered = True
        """Whether it is the wrapped manager that was entered, and not one of a resend."""


# What the proxies have, each only if the wrapped object has it. -----------------------------------


def _iter(self: Any) -> Any:
    source = iter(self.__wrapped__)
    if source is self.__wrapped__:
        return steps_class(type(source))(self)
    return iterate(self, self._self_state, source)


def _aiter(self: Any) -> Any:
    source = aiter(self.__wrapped__)
    if source is self.__wrapped__:
        return steps_class(type(source))(self)
    return iterate_async(self, self._self_state, source)


def _send(self: Any, value: Any, /) -> Any:
    return step(self, "send", value)


def _throw(self: Any, *error: Any) -> Any:
    return step(self, "throw", *error)


async def _asend(self: Any, value: Any, /) -> Any:
    return await step_async(self, "asend", value)


async def _athrow(self: Any, *error: Any) -> Any:
    return await step_async(self, "athrow", *error)


def _close(self: Any) -> Any:
    state: StreamState = self._self_state
    former = enter(state.scope) if state.scope is not None else None
    try:
        result = self.__wrapped__.close()
    except BaseException as error:
        if not runs(self.__wrapped__):
            state.end(outcome_of(error), error)
        raise
    finally:
        if state.scope is not None:
            leave(state.scope, former)
    if inspect.isawaitable(result):
        return _close_later(self, result)
    if not state.leaving:
        state.end("closed")
    return result


async def _close_later(proxy: Any, awaitable: Any) -> Any:
    state: StreamState = proxy._self_state
    former = enter(state.scope) if state.scope is not None else None
    try:
        result = await awaitable
    except BaseException as error:
        if not runs(proxy.__wrapped__):
            await state.end_async(outcome_of(error), error)
        raise
    finally:
        if state.scope is not None:
            leave(state.scope, former)
    if not state.leaving:
        await state.end_async("closed")
    return result


async def _close_async(self: Any) -> Any:
    return await _close_later(self, self.__wrapped__.close())


async def _aclose(self: Any) -> Any:
    return await _close_later(self, self.__wrapped__.aclose())


def _enter(self: Any) -> Any:
    value = self.__wrapped__.__enter__()
    return self if value is self.__wrapped__ else _inner(self, value)


async def _aenter(self: Any) -> Any:
    value = await self.__wrapped__.__aenter__()
    return self if value is self.__wrapped__ else _inner(self, value)


def _inner(self: Any, value: Any) -> Any:
    """Return what a stream's enter gave, still fed into the same state."""
    return stream_proxy(value, self._self_state, keep=self) if is_stream(value) else value


def _quietly(raised: BaseException, error: BaseException | None) -> None:
    """Let a middleware's exception out of a `with`, unless it would hide the block's own."""
    if error is None or not isinstance(raised, Exception):
        raise raised
    log("moa.middleware_failed", error=type(raised).__qualname__, where="leaving a with block")


def _exit(self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> Any:
    state: StreamState = self._self_state
    state.leaving = True
    try:
        return self.__wrapped__.__exit__(kind, error, trace)
    finally:
        try:
            state.end(*left(error, _helper_of(self)))
        except BaseException as raised:
            _quietly(raised, error)


def _helper_of(self: Any) -> Any:
    return self._self_helper() if isinstance(self, ManagerProxy) and self._self_helper is not None else None


async def _aexit(
    self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> Any:
    state: StreamState = self._self_state
    state.leaving = True
    try:
        return await self.__wrapped__.__aexit__(kind, error, trace)
    finally:
        try:
            await state.end_async(*left(error, _helper_of(self)))
        except BaseException as raised:
            _quietly(raised, error)


def _manager_enter(self: Any) -> Any:
    scope = self._self_state.scope
    former = enter(scope) if scope is not None else None
    try:
        value = self.__wrapped__.__enter__()
    except BaseException as error:
        self._self_entered = False
        return _entered(self, self._self_state.not_opened(error))
    finally:
        if scope is not None:
            leave(scope, former)
    return _entered(self, self._self_state.entered(value))


async def _manager_aenter(self: Any) -> Any:
    scope = self._self_state.scope
    former = enter(scope) if scope is not None else None
    try:
        value = await self.__wrapped__.__aenter__()
    except BaseException as error:
        self._self_entered = False
        return _entered(self, await self._self_state.not_opened_async(error))
    finally:
        if scope is not None:
            leave(scope, former)
    return _entered(self, await self._self_state.entered_async(value))


def _entered(self: Any, ended: Ended) -> Any:
    """Return what the user's `as` gets: a proxy that keeps its manager, where it is a stream."""
    if ended.suspended and own_state(underlying_stream(ended.value)) is not self._self_state:
        return stream_proxy(ended.value, self._self_state, keep=self)
    if ended.suspended:
        self._self_helper = weakref.ref(ended.value)
    return ended.value


def wrap_underlying_stream(helper: Any, raw: Any, state: StreamState) -> None:
    """Let an SDK's helper read its raw stream through a proxy, so that whatever reads it is seen."""
    state.inner = own_state(raw)
    helper._raw_stream = stream_proxy(raw, state)


def _manager_exit(
    self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> Any:
    if self._self_entered:
        return _exit(self, kind, error, trace)
    self._self_state.end(*left(error))
    return None


async def _manager_aexit(
    self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> Any:
    if self._self_entered:
        return await _aexit(self, kind, error, trace)
    await self._self_state.end_async(*left(error))
    return None


_ITERATION: dict[str, Any] = {
    "__iter__": _iter,
    "__next__": step_next,
    "__aiter__": _aiter,
    "__anext__": step_async,
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
    "__exit__": _manager_exit,
    "__aenter__": _manager_aenter,
    "__aexit__": _manager_aexit,
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


def _contains(self: Any, item: Any) -> bool:
    return any(item is chunk or item == chunk for chunk in self)


def _call(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self.__wrapped__(*args, **kwargs)


def _has(kind: type, name: str) -> bool:
    """Whether instances of a type have a method; `hasattr` finds those of its metaclass too."""
    return any(name in vars(cls) for cls in kind.__mro__)


def _make(kind: type, base: type, table: dict[str, Any]) -> type:
    names: dict[str, Any] = {"__module__": base.__module__, "__doc__": kind.__doc__}
    names.update({name: fn for name, fn in table.items() if _has(kind, name)})
    close = getattr(kind, "close", None)
    if "close" in names and inspect.iscoroutinefunction(inspect.unwrap(close)):  # type: ignore[arg-type]
        names["close"] = close_async if base is ReplayProxy else _close_async
    if base is ReplayProxy:
        # `iter` of it is itself, so that chunks taken by `next` are not read again by `for`.
        names.update({there: REPLAY[there] for here, there in STEPS_OF if here in names})
    # A proxy travels as what it stands for: it copies and pickles where that does.
    names.update({name: forward(name) for name in ("__reduce_ex__", "__reduce__")})
    names["__repr__"] = lambda self: repr(self.__wrapped__)
    names["__copy__"] = lambda self: copy(self.__wrapped__)
    names["__deepcopy__"] = lambda self, memo: deepcopy(self.__wrapped__, memo)
    others = (("__await__", _await), ("__call__", _call))
    names.update({name: fn for name, fn in others if _has(kind, name)})
    names.update({name: _Absent() for name in _CONTEXT if not _has(kind, name)})
    # `None` is the word of the data model for "not this one"; ABCs such as `Sized` ask for it.
    names.update({name: None for name in _CONTAINER if not _has(kind, name)})
    if _has(kind, "__iter__") and not _has(kind, "__contains__"):
        names["__contains__"] = _contains  # `in` goes through whatever can be iterated
    return type(kind.__name__, (base,), names)


_stream_classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()
_manager_classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()
_held_classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()


def proxy_class(kind: type, base: type, table: dict[str, Any], cache: weakref.WeakKeyDictionary[type, Any]) -> Any:
    """Return the proxy's class for objects of a type, with those of the table's methods that they have."""
    found = cache.get(kind)
    if found is None:
        found = cache[kind] = _make(kind, base, table)
    return found


def stream_proxy(source: Any, state: StreamState, *, keep: object = None) -> Any:
    """Return a proxy around a stream that feeds `state`."""
    if makes_no_calls(source):
        state.scope = None
    proxy = proxy_class(type(source), StreamProxy, _STREAM, _stream_classes)(source, state, keep)
    if keep is None:
        state.watch(proxy)
    return proxy


def manager_proxy(source: Any, state: StreamState) -> Any:
    """Return a proxy around a stream manager, whose enter returns the stream."""
    proxy = proxy_class(type(source), ManagerProxy, _MANAGER, _manager_classes)(source, state)
    state.watch(proxy)
    return proxy


def replay_proxy(source: Any, chunks: Iterable[Any]) -> Any:
    """Return a proxy around a stream read to its end, which passes these chunks on."""
    return proxy_class(type(source), ReplayProxy, REPLAY, _held_classes)(source, chunks)
