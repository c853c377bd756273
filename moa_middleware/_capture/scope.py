"""
Where the running code stands: in which turn, under which tags, inside which call.

One ContextVar holds a `Scope`, which nothing but `turns.requests` ever changes. It is set around one
frame, never reset by a token (the "created in a different Context" errors all come from tokens): code
that leaves restores the former value only if the current one is still its own.
"""

from __future__ import annotations

import itertools
from contextvars import ContextVar, copy_context
from inspect import isawaitable, iscoroutinefunction
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from .collector import collecting
from .frames import hide_own_frames

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping


__all__ = [
    "NO_TAGS",
    "Order",
    "Scope",
    "Tags",
    "carry",
    "current",
    "enter",
    "invoke",
    "invoke_close",
    "leave",
    "put_back",
    "put_current",
    "resolve",
]

F = TypeVar("F", bound="Callable[..., Any]")


class Tags(NamedTuple):
    """Values that `tag` applies to the turns and calls inside it."""

    role: str | None = None
    layer: int | None = None
    label: str | None = None
    session_id: str | None = None
    preset: str | None = None
    own: Mapping[str, Any] = {}

    def within(self, outer: Tags) -> Tags:
        """Return these tags over those of an outer block."""
        return Tags(
            role=self.role or outer.role,
            layer=self.layer or outer.layer,
            label=self.label or outer.label,
            session_id=self.session_id if self.session_id is not None else outer.session_id,
            preset=self.preset if self.preset is not None else outer.preset,
            own={**outer.own, **self.own} if self.own else outer.own,
        )

    def for_body(self) -> Tags:
        """Return what the body of a call or turn inherits: role, label and layer were meant for it."""
        return Tags(own=self.own) if any(self[:5]) else self


NO_TAGS = Tags()


class Order:
    """
    Numbers in the order of submission.

    `take` gives the next number; `reserve` takes one and returns the numbers below it, for work
    that is submitted now and begins later.
    """

    __slots__ = ("counter", "prefix")

    def __init__(self, prefix: tuple[int, ...] = ()) -> None:
        self.prefix = prefix
        self.counter = itertools.count()

    def take(self) -> tuple[int, ...]:
        """Return the next number, comparable with every other of this turn."""
        return (*self.prefix, next(self.counter))

    def reserve(self) -> Order:
        """Return an order of its own for something submitted now."""
        return Order(self.take())


class Scope:
    """
    The current turn, tags and call around; each nested call gets a new one.

    Attributes:
        turn: The `Turn`, of which this module knows no more than whether it is `joinable`.
        tags: What blocks and decorators around say.
        parent: The `Attempt` of the call around, `None` in the body of a turn.
        order: Numbers what begins here.
        previous: Where the code stood before the block.
        block: The block that is open here, `None` for a function's body.
    """

    __slots__ = ("block", "order", "parent", "previous", "tags", "turn")

    def __init__(
        self,
        turn: Any,
        tags: Tags,
        parent: Any = None,
        order: Order | None = None,
        *,
        previous: Scope | None = None,
        block: object = None,
    ) -> None:
        self.turn = turn
        self.tags = tags
        self.parent = parent
        self.order = order
        self.previous = previous
        self.block = block

    def __reduce__(self) -> Any:
        # It comes this far in what `carry` has bound, sent to a pool of processes. Without this the pickler
        # would go through the turn and everything that records it, and end at a lock.
        msg = "a turn cannot go to another process: pass its session id, and call `moa.turn(session_id=…)` there"
        raise TypeError(msg)


_current: ContextVar[Scope | None] = ContextVar("moa_middleware", default=None)

current = _current.get
put_current = _current.set
"""For steps of a stream, where each call of `enter` and `leave` would count."""


def enter(scope: Scope | None) -> Scope | None:
    """Stand in `scope`; returns the former one, for `leave`."""
    former = _current.get()
    _current.set(scope)
    return former


# A token of `ContextVar.set` can be used in the context that it was made in and nowhere else. Fixtures,
# dependencies of web frameworks and generators leave in another context than they entered, and with
# tokens that is a ValueError in the caller's code. So the value is compared by identity: code that still
# finds its own scope puts the former one back, and any other leaves things alone.
def leave(scope: Scope | None, former: Scope | None) -> None:
    """Go back to `former`, unless the code has moved on by now."""
    if _current.get() is scope:
        _current.set(former)


def invoke(scope: Scope | None, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function inside a scope."""
    former = _current.get()
    _current.set(scope)
    try:
        return fn(*args, **kwargs)
    finally:
        if _current.get() is scope:
            _current.set(former)


def invoke_close(scope: Scope | None, close: Callable[[], Any]) -> Any:
    """Close something inside a scope; the collector may be what closes it."""
    if collecting():
        return copy_context().run(invoke, scope, close, (), {})
    return invoke(scope, close, (), {})


def put_back(scope: Scope | None) -> None:
    """Go back to the scope around a block, unless the collector closes the generator that the block is in."""
    if not collecting():
        _current.set(scope)


async def resolve(scope: Scope | None, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a coroutine function inside a scope, and await what it returns, if it has to be awaited."""
    former = _current.get()
    _current.set(scope)
    try:
        value = fn(*args, **kwargs)
        # A decorator around a coroutine function may return a value without one, from a cache for example.
        return await value if type(value) is CoroutineType or isawaitable(value) else value
    finally:
        if _current.get() is scope:
            _current.set(former)


def submitted() -> Scope | None:
    """Return the scope for work submitted here and now, with its number reserved."""
    # The number is taken here, in the thread that submits: which worker of a pool begins first is a race,
    # and the order of a turn's calls would differ from run to run.
    here = _current.get()
    if here is None or here.order is None or here.turn is None or not here.turn.joinable:
        return here
    return Scope(here.turn, here.tags, here.parent, here.order.reserve())


def _here() -> Scope | None:
    # By its name in what `carry` returns: `current` itself, a method of the variable, cannot be pickled.
    return current()


def carry(fn: F) -> F:
    """
    Bind a function to the current turn and tags, for executors and threads of any kind.

    The bound function may be called many times and in any thread; what a coroutine or
    generator function does later is done within the same turn too.
    """
    from functools import wraps

    scope = submitted()

    def place() -> Scope | None:
        now = _here()
        if now is not None and scope is not None and now.turn is scope.turn:
            # Submitted in the same turn: the number reserved there is the finer one.
            return Scope(scope.turn, scope.tags, scope.parent, now.order)
        return scope

    @wraps(fn)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        try:
            return await _awaiting(fn(*args, **kwargs), place())
        except BaseException as error:
            hide_own_frames(error)
            raise

    @wraps(fn)
    def carried(*args: Any, **kwargs: Any) -> Any:
        here = place()
        former = enter(here)
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            hide_own_frames(error)
            raise
        finally:
            leave(here, former)
        if isinstance(result, CoroutineType):
            return _awaiting(result, here)
        if isinstance(result, GeneratorType):
            return _awaiting(result, here) if isawaitable(result) else _stepping(result, here)
        return _stepping_async(result, here) if isinstance(result, AsyncGeneratorType) else result

    return cast("F", awaited if iscoroutinefunction(fn) else carried)


async def _awaiting(awaitable: Any, here: Scope | None) -> Any:
    former = enter(here)
    try:
        return await awaitable
    except BaseException as error:
        hide_own_frames(error)
        raise
    finally:
        leave(here, former)


def _stepping(source: Generator[Any, Any, Any], here: Scope | None) -> Generator[Any, Any, Any]:
    """Run each step of a generator in a scope, and stand outside of it between them."""
    step: Callable[[Any], Any] = source.send
    given: Any = None
    while True:
        former = enter(here)
        try:
            item = step(given)
        except StopIteration as stop:
            return stop.value
        except BaseException as error:
            hide_own_frames(error)
            raise
        finally:
            leave(here, former)
        try:
            given = yield item
            step = source.send
        except GeneratorExit:
            invoke_close(here, source.close)
            raise
        except BaseException as error:
            step, given = source.throw, error


async def _stepping_async(source: AsyncGenerator[Any, Any], here: Scope | None) -> AsyncGenerator[Any, Any]:
    """Do the same with an async one."""
    step: Callable[[Any], Any] = source.asend
    given: Any = None
    while True:
        try:
            item = await _awaiting(step(given), here)
        except StopAsyncIteration:
            return
        except BaseException as error:
            hide_own_frames(error)
            raise
        try:
            given = yield item
            step = source.asend
        except GeneratorExit:
            await _awaiting(source.aclose(), here)
            raise
        except BaseException as error:
            step, given = source.athrow, error
