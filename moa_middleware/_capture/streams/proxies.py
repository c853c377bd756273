"""
The transparent proxies around streams and stream managers.

`iter(proxy)` over an SDK's stream is a generator, which costs a tenth of `wrapt`'s `__next__` per
chunk; over a user's own generator it is an object with `send`, `throw` and `close`, so that
`yield from` reaches the user's code. A stream that was read to its end already (`call.buffer()`) has
a proxy that replays its chunks; nothing is counted there, the record is complete by then.
"""

from __future__ import annotations

import inspect
import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ..collector import watch
from ..flow.outcome import exit_outcome, outcome_of
from ..frames import hide_own_frames
from ..log import log
from ..scope import current, invoke, invoke_close, resolve
from .file_body import watch_body
from .loops import iterate, iterate_async, makes_no_calls
from .proxy_class import ASYNC_CLOSE, StateProxy, TransparentProxy, forward, own_state, proxy_class
from .steps import runs, step, step_async, stepper, steps_class
from .stream_types import is_file_body, is_stream, one_per_type, underlying_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from ..flow.driver import Ended
    from .state import StreamState

__all__ = ["manager_proxy", "replay_proxy", "stream_proxy", "wrap_underlying_stream"]


class StreamProxy(StateProxy):
    """Base of the classes made for streams."""

    __slots__ = ("_self_step",)

    def __init__(self, wrapped: Any, state: StreamState, keep: object = None) -> None:
        super().__init__(wrapped)
        self._self_state = state
        self._self_keep = keep
        self._self_step: Any = None
        """Takes a step, once one was taken."""
        # `_self_keep` is what has to live as long as the stream: the manager that it came out of, whose
        # collection would close it, or the raw response. It is never read.


_step_of: Callable[[Any], Any] = vars(StreamProxy)["_self_step"].__get__
"""For each single step: an attribute of `wrapt`'s proxy takes 90 ns to get, and this 40."""


class ManagerProxy(StateProxy):
    """Base of the classes made for stream managers."""

    def __init__(self, wrapped: Any, state: StreamState) -> None:
        super().__init__(wrapped)
        self._self_state = state


# Iteration. ---------------------------------------------------------------------------------------


def _iter(self: Any) -> Any:
    source = iter(self.__wrapped__)
    if source is self.__wrapped__:
        # A generator of a user's: `yield from` has to reach its `send`, `throw` and return value.
        return steps_class(type(source))(self)
    return iterate(self, self._self_state, source)


def _aiter(self: Any) -> Any:
    source = aiter(self.__wrapped__)
    if source is self.__wrapped__:
        return steps_class(type(source))(self)
    return iterate_async(self, self._self_state, source)


def _next(self: Any) -> Any:
    one = _step_of(self)
    if one is None:
        if self._self_state.on_chunk is not None:
            return step(self)
        self._self_step = one = stepper(self)
    try:
        return one()
    except StopIteration:
        raise
    except BaseException as error:
        hide_own_frames(error)
        raise


def _send(self: Any, value: Any, /) -> Any:
    try:
        return step(self, "send", value)
    except BaseException as error:
        hide_own_frames(error)
        raise


def _throw(self: Any, /, *error: Any) -> Any:
    try:
        return step(self, "throw", *error)
    except BaseException as raised:
        hide_own_frames(raised)
        raise


# Closing and leaving. -----------------------------------------------------------------------------


def _close(self: Any) -> Any:
    state: StreamState = self._self_state
    try:
        # A stream of an SDK has no scope of its own: it is closed in the one that is there.
        result = invoke_close(state.scope or current(), self.__wrapped__.close)
    except BaseException as error:
        if not runs(self.__wrapped__):
            state.end(outcome_of(error), error)
        hide_own_frames(error)
        raise
    if inspect.isawaitable(result):
        return _close_later(self, lambda: result)
    if not state.leaving:
        state.end("closed")
    return result


async def _close_later(self: Any, close: Callable[[], Any]) -> Any:
    state: StreamState = self._self_state
    try:
        result = await resolve(state.scope or current(), close, (), {})
    except BaseException as error:
        if not runs(self.__wrapped__):
            await state.end_async(outcome_of(error), error)
        hide_own_frames(error)
        raise
    if not state.leaving:
        await state.end_async("closed")
    return result


async def _close_async(self: Any) -> Any:
    return await _close_later(self, self.__wrapped__.close)


async def _aclose(self: Any) -> Any:
    return await _close_later(self, self.__wrapped__.aclose)


def _enter(self: Any) -> Any:
    try:
        return _inner(self, self.__wrapped__.__enter__())
    except BaseException as error:
        hide_own_frames(error)
        raise


async def _aenter(self: Any) -> Any:
    try:
        return _inner(self, await self.__wrapped__.__aenter__())
    except BaseException as error:
        hide_own_frames(error)
        raise


def _inner(self: Any, value: Any) -> Any:
    """Return what a stream's enter gave, still fed into the same state."""
    if value is self.__wrapped__:
        return self
    return stream_proxy(value, self._self_state, keep=self) if is_stream(value) else value


@contextmanager
def _quietly(error: BaseException | None) -> Iterator[None]:
    """Let a middleware's exception out of a `with`, unless it would hide the block's own, `error`."""
    try:
        yield
    except Exception as raised:
        if error is None:
            raise
        log("moa.middleware_failed", error=type(raised).__qualname__, where="leaving a with block")


def _exit(self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> Any:
    state: StreamState = self._self_state
    state.leaving = True
    try:
        return self.__wrapped__.__exit__(kind, error, trace) if self._self_entered else None
    except BaseException as raised:
        hide_own_frames(raised)
        raise
    finally:
        with _quietly(error):
            state.end(*exit_outcome(error, self._self_helper and self._self_helper()))


async def _aexit(
    self: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> Any:
    state: StreamState = self._self_state
    state.leaving = True
    try:
        return await self.__wrapped__.__aexit__(kind, error, trace) if self._self_entered else None
    except BaseException as raised:
        hide_own_frames(raised)
        raise
    finally:
        with _quietly(error):
            await state.end_async(*exit_outcome(error, self._self_helper and self._self_helper()))


# Managers. ----------------------------------------------------------------------------------------


def _manager_enter(self: Any) -> Any:
    state: StreamState = self._self_state
    try:
        try:
            value = invoke(state.scope or current(), self.__wrapped__.__enter__, (), {})
        except BaseException as error:
            self._self_entered = False
            return _entered(self, state.not_opened(error))
        return _entered(self, state.entered(value))
    except BaseException as error:
        hide_own_frames(error, everywhere=state.conversation is not None)
        raise


async def _manager_aenter(self: Any) -> Any:
    state: StreamState = self._self_state
    try:
        try:
            value = await resolve(state.scope or current(), self.__wrapped__.__aenter__, (), {})
        except BaseException as error:
            self._self_entered = False
            return _entered(self, await state.not_opened_async(error))
        return _entered(self, await state.entered_async(value))
    except BaseException as error:
        hide_own_frames(error, everywhere=state.conversation is not None)
        raise


def _entered(self: Any, ended: Ended) -> Any:
    """Return what the user's `as` gets: a proxy that keeps its manager, where it is a stream."""
    state: StreamState = self._self_state
    if not ended.suspended or (state.conversation is None and not is_stream(ended.value)):
        return ended.value
    if own_state(underlying_stream(ended.value)) is not state:
        return stream_proxy(ended.value, state, keep=self)
    self._self_helper = weakref.ref(ended.value)
    return ended.value


def wrap_underlying_stream(helper: Any, raw: Any, state: StreamState) -> None:
    """Let an SDK's helper read its raw stream through a proxy, so that whatever reads it is seen."""
    state.inner = own_state(raw)
    helper._raw_stream = stream_proxy(raw, state)


_STREAM: dict[str, Any] = {
    "__iter__": _iter,
    "__next__": _next,
    "__aiter__": _aiter,
    "__anext__": step_async,
    "send": _send,
    "throw": _throw,
    "asend": lambda self, value, /: step_async(self, "asend", value),
    "athrow": lambda self, *error: step_async(self, "athrow", *error),
    "close": _close,
    ASYNC_CLOSE: _close_async,
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
_stream_class = one_per_type(partial(proxy_class, base=StreamProxy, table=_STREAM))
_manager_class = one_per_type(partial(proxy_class, base=ManagerProxy, table=_MANAGER))


def stream_proxy(source: Any, state: StreamState, *, keep: object = None) -> Any:
    """Return a proxy around a stream that feeds `state`."""
    if makes_no_calls(type(source)):
        state.scope = None
        if is_file_body(type(source)):
            return watch_body(source, state)
    elif state.scope is not None:
        watch()
    proxy = _stream_class(type(source))(source, state, keep)
    if keep is None:
        state.watch(proxy)
    return proxy


def manager_proxy(source: Any, state: StreamState) -> Any:
    """Return a proxy around a stream manager, whose enter returns the stream."""
    proxy = _manager_class(type(source))(source, state)
    state.watch(proxy)
    return proxy


# Streams that were read already. ------------------------------------------------------------------


class ReplayProxy(TransparentProxy):
    """Base of the classes made for streams that were read to their end."""

    def __init__(self, wrapped: Any, chunks: Iterable[Any]) -> None:
        super().__init__(wrapped)
        self._self_chunks = iter(chunks)

    def __init_subclass__(cls) -> None:
        """Add the step to a class that can be iterated, whose wrapped type may lack it."""
        super().__init_subclass__()
        for there, here in (("__iter__", "__next__"), ("__aiter__", "__anext__")):
            if there in vars(cls):
                setattr(cls, here, _REPLAY[here])


def _replay_next(self: Any) -> Any:
    return next(self._self_chunks)


async def _replay_anext(self: Any) -> Any:
    for chunk in self._self_chunks:
        return chunk
    raise StopAsyncIteration


def _replay_close(self: Any) -> Any:
    self._self_chunks = iter(())
    return self.__wrapped__.close()


async def _replay_close_async(self: Any) -> Any:
    return await _replay_close(self)


async def _replay_aclose(self: Any) -> Any:
    self._self_chunks = iter(())
    return await self.__wrapped__.aclose()


def _replay_enter(self: Any) -> Any:
    value = self.__wrapped__.__enter__()
    return self if value is self.__wrapped__ or is_stream(value) else value


async def _replay_aenter(self: Any) -> Any:
    value = await self.__wrapped__.__aenter__()
    return self if value is self.__wrapped__ or is_stream(value) else value


_REPLAY: dict[str, Any] = {
    # `iter` of it is itself, so that chunks taken by `next` are not read again by `for`.
    "__iter__": lambda self: self,
    "__next__": _replay_next,
    "__aiter__": lambda self: self,
    "__anext__": _replay_anext,
    # The generator has run to its end: what is sent now comes too late for it.
    "send": lambda self, _value, /: next(self._self_chunks),
    "asend": lambda self, _value, /: _replay_anext(self),
    "close": _replay_close,
    ASYNC_CLOSE: _replay_close_async,
    "aclose": _replay_aclose,
    "__enter__": _replay_enter,
    "__exit__": forward("__exit__"),
    "__aenter__": _replay_aenter,
    "__aexit__": forward("__aexit__"),
}
_replay_class = one_per_type(partial(proxy_class, base=ReplayProxy, table=_REPLAY))


def replay_proxy(source: Any, chunks: Iterable[Any]) -> Any:
    """Return a proxy around a stream read to its end, which passes these chunks on."""
    return _replay_class(type(source))(source, chunks)
