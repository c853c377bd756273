"""
Runs a conversation (a generator that yields effects) in the sync and in the async world.

A conversation knows what has to happen next, a driver only how it is done here. `Deliver` hands a
value to the caller and leaves the conversation suspended: whoever holds it, a stream proxy as a
rule, takes it up again with one of the drivers when the stream is over.
"""

from __future__ import annotations

import time
from types import CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import wrapt

from ...errors import AsyncOnSyncError
from ..frames import hide_own_frames
from ..log import log
from ..scope import Scope, current, enter, invoke, leave, put_current, resolve
from .effects import Sleep, Wait

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

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
    """The sync driver met an effect that has to be awaited: its one argument."""


class Ended(NamedTuple):
    """Where a driver stopped: the value, and whether the conversation is suspended."""

    value: Any
    suspended: bool


def _no_await(effect: Wait[Any]) -> AsyncOnSyncError:
    close = getattr(effect.awaitable, "close", None)
    if isinstance(effect.awaitable, CoroutineType) and close is not None:
        close()
    return AsyncOnSyncError(f"`{effect.owner}` awaits, but this client is a sync one")


def _unknown(effect: object) -> TypeError:
    # An effect that is new must not resume its middleware with `None` as if it had happened.
    return TypeError(f"no driver performs {type(effect).__name__}")


def drive_sync(conversation: Conversation, value: Any = None, *, only_invoke: bool = False) -> Ended:
    """
    Take the conversation up and go on until it delivers or returns.

    Args:
        conversation: The conversation.
        value: What to send into it.
        only_invoke: Leave whatever could be awaited to the async driver, sleeping too.

    Raises:
        NeedsAsync: It wants something awaited that the wrapped function returned.
    """
    error: BaseException | None = None
    try:
        while True:
            effect = conversation.throw(error) if error is not None else conversation.send(value)
            value = error = None
            if type(effect) is Deliver:
                return _delivered(effect)
            # Before the call it is unknown whether a function of an async SDK returns an awaitable. So each call
            # starts here, and what must be awaited goes on in the async driver, from this very effect.
            needs_async = type(effect) is Resolve or (type(effect) is Drain and not hasattr(effect.source, "__next__"))
            if needs_async or (only_invoke and type(effect) is not Invoke):
                raise NeedsAsync(effect)
            try:
                if type(effect) is Invoke:
                    # `scope.invoke`, but for its frame: a program that recurses has one a level.
                    former = current()
                    put_current(effect.scope)
                    try:
                        value = effect.fn(*effect.args, **effect.kwargs)
                    finally:
                        if current() is effect.scope:
                            put_current(former)
                elif type(effect) is Sleep:
                    time.sleep(effect.seconds)
                elif type(effect) is Drain:
                    invoke(effect.scope, _drain, effect[:2], {})
                elif isinstance(effect, Wait):
                    error = _no_await(effect)
                else:
                    raise _unknown(effect)
            except BaseException as raised:
                error = raised
    except StopIteration as stop:
        return Ended(stop.value, suspended=False)
    except RuntimeError as raised:
        if error is None or not issubclass(type(error), StopIteration) or raised.__cause__ is not error:
            raise
        lost = error
    finally:
        # A traceback holds this frame; an exception kept in it would be a cycle.
        error = None
    try:
        # The wrapped function's own: no generator lets a StopIteration out as itself (PEP 479).
        raise lost
    finally:
        del lost


async def drive_async(conversation: Conversation, value: Any = None, *, first: Effect | None = None) -> Ended:
    """Do the same as `drive_sync` where it can await; `first` is an effect that waits already."""
    error: BaseException | None = None
    try:
        while True:
            if first is not None:
                effect, first = first, None
            else:
                effect = conversation.throw(error) if error is not None else conversation.send(value)
            value = error = None
            if type(effect) is Deliver:
                return _delivered(effect)
            try:
                if type(effect) is Invoke:
                    value = invoke(effect.scope, effect.fn, effect.args, effect.kwargs)
                elif type(effect) is Resolve:
                    value = await _resolve(effect)
                elif type(effect) is Sleep:
                    await _sleep_async(effect.seconds)
                elif type(effect) is Wait:
                    value = await effect.awaitable
                elif type(effect) is Drain and hasattr(effect.source, "__anext__"):
                    await resolve(effect.scope, _drain_async, effect[:2], {})
                elif type(effect) is Drain:
                    invoke(effect.scope, _drain, effect[:2], {})
                else:
                    raise _unknown(effect)
            except BaseException as raised:
                error = raised
    except StopIteration as stop:
        return Ended(stop.value, suspended=False)
    finally:
        error = None


def drive_last(conversation: Conversation, value: Any) -> None:
    """
    Take the conversation up for the last time, where nobody can wait and nobody listens.

    That is a finaliser, or the callback of a future. A middleware that still wants something is
    closed, and that is logged.
    """
    try:
        effect = conversation.send(value)
        if type(effect) is Wait:
            _no_await(effect)
        conversation.close()
    except StopIteration:
        return
    except Exception as error:
        log("moa.middleware_failed", error=type(error).__qualname__, where="after the last reader")
        return
    log("moa.middleware_closed", reason="the stream was dropped, so it can neither sleep nor send")


async def _resolve(effect: Resolve) -> Any:
    former = enter(effect.scope)
    try:
        return await effect.awaitable
    finally:
        leave(effect.scope, former)


async def _sleep_async(seconds: float) -> None:
    # The loop that runs us need not be asyncio's; the module is loaded by whoever started it.
    import sys

    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        await trio.sleep(seconds)
        return
    import asyncio

    await asyncio.sleep(seconds)


# The scope is around the whole of the reading and not around each step: nothing of the caller's runs in
# between, since nobody gets a chunk before the stream is over.
def _drain(source: Any, take: Callable[[Any], None]) -> None:
    for chunk in source:
        take(chunk)


async def _drain_async(source: Any, take: Callable[[Any], None]) -> None:
    async for chunk in source:
        take(chunk)


# The first time: what the caller of a function gets back. -----------------------------------------


class _Awaitable(wrapt.BaseObjectProxy):  # type: ignore[type-arg]  # wrapt's C types are untyped
    """An awaitable object of the wrapped function's; awaiting it goes on with the conversation."""

    def __init__(self, conversation: Conversation, effect: Resolve) -> None:
        super().__init__(effect.awaitable)
        self._self_rest: tuple[Conversation, Resolve] | None = (conversation, effect)

    def _self_first(self, awaitable: Any) -> Any:
        """Return what awaits an object and goes on; the object itself once the conversation is over."""
        rest, self._self_rest = self._self_rest, None
        if rest is None:  # a second time is between the caller and the object
            return awaitable
        conversation, effect = rest
        return _value_of(drive_async(conversation, first=effect._replace(awaitable=awaitable)))

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited: Generator[Any, Any, Any] = self._self_first(self.__wrapped__).__await__()
        return awaited


# A class of its own, because a manager differs from an awaitable in that its type has `__aenter__`: with
# it, every awaitable would look like something to enter (`is_manager`).
class _AwaitableManager(_Awaitable):
    """One that may be entered in place of being awaited, as aiohttp's requests are."""

    async def __aenter__(self) -> Any:
        return await self._self_first(self.__wrapped__.__aenter__())

    async def __aexit__(self, *error: object) -> Any:
        return await self.__wrapped__.__aexit__(*error)


async def _value_of(driven: Any) -> Any:
    try:
        return (await driven).value
    except BaseException as error:
        hide_own_frames(error, everywhere=True)
        raise


async def _late_stream(conversation: Conversation, effect: Effect) -> AsyncGenerator[Any, Any]:
    """Stand in for an async stream whose middleware has to await before it can begin."""
    try:
        stream = (await drive_async(conversation, first=effect)).value
    except BaseException as error:
        hide_own_frames(error, everywhere=True)
        raise
    async for chunk in stream:
        yield chunk


def start_sync(conversation: Conversation, *, async_stream: bool) -> Any:
    """
    Start a conversation and return what the caller gets.

    Args:
        conversation: The conversation, fresh.
        async_stream: Whether the function is known to return an async stream: then an effect that
            has to be awaited waits for the stream's first step.
    """
    try:
        ended = drive_sync(conversation, only_invoke=async_stream)
    except NeedsAsync as signal:
        effect: Effect = signal.args[0]
    else:
        return ended.value
    if type(effect) is not Resolve:
        return _late_stream(conversation, effect)
    awaitable = effect.awaitable
    # A coroutine is answered with a coroutine, since event loops and `asyncio.run` take nothing else for one.
    # What else can be awaited, a task or an HTTP library's request, has methods that its caller may use.
    if isinstance(awaitable, CoroutineType | GeneratorType):
        coroutine: Any = _value_of(drive_async(conversation, first=effect))
        coroutine.__name__, coroutine.__qualname__ = awaitable.__name__, awaitable.__qualname__
        return coroutine
    kind = _AwaitableManager if hasattr(type(awaitable), "__aenter__") else _Awaitable
    return kind(conversation, effect)
