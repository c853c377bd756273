"""
A stream that has been read to its end already, in the form of the stream: for `call.buffer()`.

Nothing is counted here; the record is complete by now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

from .kinds import is_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["REPLAY", "STEPS_OF", "ReplayProxy", "close_async", "forward"]


class ReplayProxy(wrapt.BaseObjectProxy):  # type: ignore[type-arg]  # wrapt's cannot be subscribed
    """Base of the classes made by `replay_proxy`."""

    __moa_proxy__ = True

    def __init__(self, wrapped: Any, chunks: Iterable[Any]) -> None:
        super().__init__(wrapped)
        self._self_chunks = iter(chunks)


def _held_step(self: Any) -> Any:
    return next(self._self_chunks)


async def _held_step_async(self: Any) -> Any:
    for chunk in self._self_chunks:
        return chunk
    raise StopAsyncIteration


def _held_send(self: Any, _value: Any, /) -> Any:
    # The generator has run to its end: what is sent now comes too late for it.
    return next(self._self_chunks)


async def _held_asend(self: Any, _value: Any, /) -> Any:
    return await _held_step_async(self)


def _held_close(self: Any) -> Any:
    self._self_chunks = iter(())
    return self.__wrapped__.close()


async def _held_aclose(self: Any) -> Any:
    self._self_chunks = iter(())
    return await self.__wrapped__.aclose()


async def close_async(self: Any) -> Any:
    """Close a stream whose `close` is a coroutine function."""
    self._self_chunks = iter(())
    return await self.__wrapped__.close()


def _held_enter(self: Any) -> Any:
    value = self.__wrapped__.__enter__()
    return self if value is self.__wrapped__ or is_stream(value) else value


async def _held_aenter(self: Any) -> Any:
    value = await self.__wrapped__.__aenter__()
    return self if value is self.__wrapped__ or is_stream(value) else value


def forward(name: str) -> Any:
    """Return a method that is the wrapped object's own."""

    def pass_on(self: Any, *args: Any) -> Any:
        return getattr(self.__wrapped__, name)(*args)

    return pass_on


REPLAY: dict[str, Any] = {
    "__iter__": lambda self: self,
    "__next__": _held_step,
    "__aiter__": lambda self: self,
    "__anext__": _held_step_async,
    "send": _held_send,
    "asend": _held_asend,
    "close": _held_close,
    "aclose": _held_aclose,
    "__enter__": _held_enter,
    "__exit__": forward("__exit__"),
    "__aenter__": _held_aenter,
    "__aexit__": forward("__aexit__"),
}
STEPS_OF = (("__iter__", "__next__"), ("__aiter__", "__anext__"))
