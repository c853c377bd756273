"""
Where the running code stands: in which turn, under which tags, inside which call.

One ContextVar holds an immutable `Scope`. It is set around one frame, never reset by a token (the
"created in a different Context" errors all come from tokens): whoever leaves restores the former
value only if the current one is still its own.
"""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._turn import Attempt, Turn

__all__ = ["NO_TAGS", "Order", "Scope", "Tags", "carry", "current", "enter", "leave"]


class Tags(NamedTuple):
    """What `tag` lends to the turns and calls inside it."""

    role: str | None = None
    layer: int | None = None
    label: str | None = None
    session_id: str | None = None
    preset: str | None = None
    own: Mapping[str, Any] = {}

    def within(self, outer: Tags) -> Tags:
        """Return these tags over those of an outer block."""
        return Tags(
            *(mine if mine is not None else theirs for mine, theirs in zip(self[:5], outer[:5], strict=True)),
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
    """One place to stand; a new one is made for each step inwards."""

    __slots__ = ("block", "order", "parent", "previous", "tags", "turn")

    def __init__(
        self,
        turn: Turn | None,
        tags: Tags,
        parent: Attempt | None = None,
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


_current: ContextVar[Scope | None] = ContextVar("moa_middleware", default=None)

current = _current.get


def enter(scope: Scope | None) -> Scope | None:
    """Stand in `scope`; returns the former one, for `leave`."""
    former = _current.get()
    _current.set(scope)
    return former


def leave(scope: Scope | None, former: Scope | None) -> None:
    """Go back to `former`, unless somebody else stands here by now."""
    if _current.get() is scope:
        _current.set(former)


def submitted() -> Scope | None:
    """Return the scope for work submitted here and now, with its number reserved."""
    here = _current.get()
    if here is None or here.order is None or here.turn is None or not here.turn.joinable:
        return here
    return Scope(here.turn, here.tags, here.parent, here.order.reserve())


def carry(fn: Callable[..., Any]) -> Callable[..., Any]:
    """
    Bind a function to the current turn and tags, for executors and threads of any kind.

    The bound function may be called many times and in any thread; a coroutine function is awaited
    within the same turn.
    """
    from functools import wraps

    scope = submitted()

    async def finish(awaitable: Any, here: Scope | None) -> Any:
        former = enter(here)
        try:
            return await awaitable
        finally:
            leave(here, former)

    @wraps(fn)
    def carried(*args: Any, **kwargs: Any) -> Any:
        here, now = scope, current()
        if now is not None and scope is not None and now.turn is scope.turn:
            # Submitted in the same turn: the number reserved there is the finer one.
            here = Scope(scope.turn, scope.tags, scope.parent, now.order)
        former = enter(here)
        try:
            result = fn(*args, **kwargs)
        finally:
            leave(here, former)
        return finish(result, here) if _is_coroutine(result) else result

    return carried


def _is_coroutine(value: object) -> bool:
    from types import CoroutineType

    return isinstance(value, CoroutineType)
