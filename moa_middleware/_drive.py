"""
Runs a conversation (a generator that yields effects) in the sync and in the async world.

A conversation knows what has to happen next, a driver only how it is done here. `Deliver` hands a
value to the caller and leaves the conversation suspended: whoever holds it, a stream proxy as a
rule, takes it up again with one of the drivers when the stream is over.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import wrapt

from ._call import Sleep, Wait
from ._log import log
from ._scope import Scope, enter, leave
from .errors import AsyncOnSyncError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator

__all__ = [
    "Conversation",
    "Deliver",
    "Drain",
    "Invoke",
    "Resolve",
    "drive_async",
    "drive_last",
    "drive_sync",
    "start_sync",
]


class Invoke(NamedTuple):
    """Call the wrapped function, inside a scope."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Any
    scope: Scope

    def run(self) -> Any:
        """Do it; a coroutine function only returns its coroutine here."""
        former = enter(self.scope)
        try:
            return self.fn(*self.args, **self.kwargs)
        finally:
            leave(self.scope, former)


class Resolve(NamedTuple):
    """Await what the wrapped function returned, inside a scope."""

    awaitable: Any
    scope: Scope


class Drain(NamedTuple):
    """Read a stream to its end, each step inside a scope; `take` gets every chunk."""

    source: Any
    take: Callable[[Any], None]
    scope: Scope


class Deliver(NamedTuple):
    """Hand this to the caller and wait to be taken up again."""

    value: Any
    then: Callable[[], object] | None = None
    """Called once the conversation waits: it may take it up at once (a future that is done)."""


def _delivered(effect: Deliver) -> Ended:
    if effect.then is not None:
        effect.then()
    return Ended(effect.value, suspended=True)


Effect: TypeAlias = "Invoke | Resolve | Drain | Deliver | Sleep | Wait[Any]"
Conversation: TypeAlias = "Generator[Effect, Any, Any]"


class NeedsAsync(Exception):  # noqa: N818 - a signal between the drivers, it never gets out
    """The sync driver met an effect that has to be awaited."""

    def __init__(self, effect: Effect) -> None:
        super().__init__()
        self.effect = effect


class Ended(NamedTuple):
    """Where a driver stopped: the value, and whether the conversation is suspended."""

    value: Any
    suspended: bool


def _no_await(effect: Wait[Any]) -> AsyncOnSyncError:
    close = getattr(effect.awaitable, "close", None)
    if isinstance(effect.awaitable, CoroutineType) and close is not None:
        close()
    return AsyncOnSyncError(f"`{effect.owner}` awaits, but this client is a sync one")


def drive_sync(talk: Conversation, value: Any = None, error: BaseException | None = None) -> Ended:
    """
    Take the conversation up and go on until it delivers or returns.

    Raises:
        NeedsAsync: It wants something awaited that the wrapped function returned.
    """
    try:
        while True:
            effect = talk.throw(error) if error is not None else talk.send(value)
            value = error = None
            if type(effect) is Deliver:
                return _delivered(effect)
            if type(effect) is Resolve or (type(effect) is Drain and not hasattr(effect.source, "__next__")):
                raise NeedsAsync(effect)
            try:
                if type(effect) is Invoke:
                    value = effect.run()
                elif type(effect) is Sleep:
                    _sleep(effect.seconds)
                elif type(effect) is Drain:
                    _drain(effect)
                else:
                    assert isinstance(effect, Wait)  # noqa: S101 - for the type checkers
                    error = _no_await(effect)
            except BaseException as raised:
                error = raised
    except StopIteration as stop:
        return Ended(stop.value, suspended=False)
    finally:
        # A traceback holds this frame; an exception kept in it would be a cycle.
        error = None


async def drive_async(
    talk: Conversation,
    value: Any = None,
    error: BaseException | None = None,
    *,
    first: Effect | None = None,
) -> Ended:
    """Do the same as `drive_sync` where it can await; `first` is an effect that waits already."""
    try:
        while True:
            if first is not None:
                effect, first = first, None
            else:
                effect = talk.throw(error) if error is not None else talk.send(value)
            value = error = None
            if type(effect) is Deliver:
                return _delivered(effect)
            try:
                if type(effect) is Invoke:
                    value = effect.run()
                elif type(effect) is Resolve:
                    value = await _resolve(effect)
                elif type(effect) is Sleep:
                    await _sleep_async(effect.seconds)
                elif type(effect) is Wait:
                    value = await effect.awaitable
                else:
                    assert type(effect) is Drain  # noqa: S101 - for the type checkers
                    if hasattr(effect.source, "__anext__"):
                        await _drain_async(effect)
                    else:
                        _drain(effect)
            except BaseException as raised:
                error = raised
    except StopIteration as stop:
        return Ended(stop.value, suspended=False)
    finally:
        error = None


def drive_last(talk: Conversation, value: Any) -> None:
    """
    Take the conversation up for the last time, where nobody can wait and nobody listens.

    That is a finaliser, or the callback of a future. A middleware that still wants something is
    closed, and that is logged.
    """
    try:
        talk.send(value)
    except StopIteration:
        return
    except Exception as error:
        log("moa.middleware_failed", error=type(error).__qualname__, where="after the last reader")
        return
    talk.close()
    log("moa.middleware_closed", reason="the stream was dropped, so it can neither sleep nor send")


async def _resolve(effect: Resolve) -> Any:
    former = enter(effect.scope)
    try:
        return await effect.awaitable
    finally:
        leave(effect.scope, former)


def _sleep(seconds: float) -> None:
    import time

    time.sleep(seconds)


async def _sleep_async(seconds: float) -> None:
    # The loop that runs us need not be asyncio's; the module is loaded by whoever started it.
    import sys

    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        await trio.sleep(seconds)
        return
    import asyncio

    await asyncio.sleep(seconds)


def _drain(effect: Drain) -> None:
    former = enter(effect.scope)
    try:
        for chunk in effect.source:
            effect.take(chunk)
    finally:
        leave(effect.scope, former)


async def _drain_async(effect: Drain) -> None:
    former = enter(effect.scope)
    try:
        async for chunk in effect.source:
            effect.take(chunk)
    finally:
        leave(effect.scope, former)


# The first time: what the caller of a function gets back. -----------------------------------------


class _Awaitable(wrapt.BaseObjectProxy):  # type: ignore[misc]  # wrapt's C types are untyped
    """An awaitable object of the wrapped function's; awaiting it goes on with the conversation."""

    def __init__(self, wrapped: Any, talk: Conversation, effect: Effect) -> None:
        super().__init__(wrapped)
        self._self_rest = (talk, effect)

    def __await__(self) -> Generator[Any, Any, Any]:
        talk, effect = self._self_rest
        return _value_of(drive_async(talk, first=effect)).__await__()


async def _value_of(driven: Any) -> Any:
    return (await driven).value


async def _late_stream(talk: Conversation, effect: Effect) -> AsyncGenerator[Any, Any]:
    """Stand in for an async stream whose middleware has to await before it can begin."""
    ended = await drive_async(talk, first=effect)
    stream: AsyncIterator[Any] = ended.value
    async for chunk in stream:
        yield chunk


def start_sync(talk: Conversation, *, async_stream: bool) -> Any:
    """
    Start a conversation and return what the caller gets.

    Args:
        talk: The conversation, fresh.
        async_stream: Whether the function is known to return an async stream: then an effect that
            has to be awaited waits for the stream's first step.
    """
    try:
        talk_on: Any = _no_sleep_first(talk) if async_stream else drive_sync(talk)
    except NeedsAsync as signal:
        effect = signal.effect
    else:
        return talk_on.value
    if type(effect) is not Resolve:
        return _late_stream(talk, effect)
    if isinstance(effect.awaitable, CoroutineType):
        return _value_of(drive_async(talk, first=effect))
    return _Awaitable(effect.awaitable, talk, effect)


def _no_sleep_first(talk: Conversation) -> Ended:
    """Drive as `drive_sync` does, but leave sleeping and waiting to the stream's first step."""
    value: Any = None
    error: BaseException | None = None
    try:
        while True:
            effect = talk.throw(error) if error is not None else talk.send(value)
            value = error = None
            if type(effect) is Deliver:
                return _delivered(effect)
            if type(effect) is not Invoke:
                raise NeedsAsync(effect)
            try:
                value = effect.run()
            except BaseException as raised:
                error = raised
    except StopIteration as stop:
        return Ended(stop.value, suspended=False)
    finally:
        error = None
