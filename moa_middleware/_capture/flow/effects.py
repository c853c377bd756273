"""
The effects that a middleware may ask for next to its call: to sleep, and to await.

An effect is yielded, and the driver performs it as the client's world needs: sync or async.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...errors import MiddlewareError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

__all__ = ["Sleep", "Wait", "sleep", "wait"]

T = TypeVar("T")


class Sleep:
    """The effect of `sleep`."""

    __slots__ = ("owner", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.owner = ""

    def __iter__(self) -> Generator[Sleep, Any, None]:
        """Allow `yield from` as well as `yield`."""
        yield self


class Wait(Generic[T]):
    """The effect of `wait`."""

    __slots__ = ("awaitable", "owner")

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self.awaitable = awaitable
        # The chain writes the middleware's name here, for the driver's error: a sync client cannot await, and
        # by then nothing else shows who asked for it.
        self.owner = ""

    def __iter__(self) -> Generator[Wait[T], Any, T]:
        """Allow `yield from`, which keeps the type of the result."""
        result: T = yield self
        return result


def sleep(seconds: float) -> Sleep:
    """
    Sleep inside a middleware: `yield moa.sleep(2)`.

    It is `time.sleep` on a sync client and `asyncio.sleep` on an async one.

    Args:
        seconds: How long, in seconds.

    Raises:
        MiddlewareError: It is not a number, or below 0.
    """
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds >= 0:
        msg = f"moa.sleep() takes a number of seconds from 0, got {seconds!r:.40}"
        raise MiddlewareError(msg)
    return Sleep(seconds)


def wait(awaitable: Awaitable[T]) -> Wait[T]:
    """
    Await inside a middleware of an async client: `hit = yield from moa.wait(redis.get(key))`.

    On a sync client it raises `AsyncOnSyncError` in the middleware.

    Raises:
        MiddlewareError: It cannot be awaited.
    """
    if not hasattr(awaitable, "__await__"):
        msg = f"moa.wait() takes an awaitable, got {type(awaitable).__name__}"
        raise MiddlewareError(msg)
    return Wait(awaitable)
