"""
A request to a web server that is a turn, and blocks in it that outlive the context they were entered in.

FastAPI runs a sync dependency, `def session(): with moa.turn(…): yield`, and a sync endpoint in
threads, each in a copy of the request's context. What the dependency sets in its copy, the endpoint
does not see. Both copies hold the same `Scope` object, though, and that is what is changed here.
"""

from __future__ import annotations

from inspect import CO_GENERATOR
from typing import TYPE_CHECKING, Any, NamedTuple

from ..log import log
from ..scope import Scope, current

if TYPE_CHECKING:
    from types import FrameType

    from ..flow.model import Outcome
    from .turn import Turn

__all__ = ["Request", "give_up", "hand_over", "request_around"]

_THREADS = frozenset({"anyio", "concurrent", "starlette", "threading", "trio"})
"""
Packages whose code calls, in a worker thread, what was handed to it, in a context that is dropped then.

Not asgiref, which Django uses: it copies what was set back into the context of the caller.
"""


class _Held(NamedTuple):
    """A block that is open in a request, and what the scope said before it."""

    inner: Scope
    turn: Turn | None
    scope: Scope
    former: tuple[Any, ...]


class Request:
    """
    One request that is a turn. It is the `block` of its scope, by which blocks inside know it.

    Attributes:
        turn: Its turn.
        is_gone: True if the client hung up before it had the whole response.
    """

    __slots__ = ("_held", "is_gone", "turn")

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.is_gone = False
        self._held: list[_Held] = []

    def scope(self) -> Scope:
        """
        Return a new scope, the one that all contexts of the request start from.

        The request does not keep it: the scope holds the request, and in a cycle each turn of a server
        would live until the collector comes.
        """
        turn = self.turn
        tags = turn.scope().tags
        if turn.tags:
            tags = tags._replace(own=turn.tags)
        return Scope(turn, tags, None, turn.order, previous=current(), block=self)

    def hold(self, inner: Scope) -> None:
        """Let the scope around a block say what the block says, for all contexts of the request."""
        scope = inner.previous
        if scope is None:
            return
        self._held.append(_Held(inner, inner.turn, scope, _said(scope)))
        _say(scope, _said(inner))

    def release(self, block: object, here: Scope | None) -> _Held | None:
        """
        Put back what the scope said before a block; returns `None` if the block is not held.

        Args:
            block: The block that is left.
            here: The current scope.
        """
        # One block may be open twice, in a dependency and in the endpoint. Code that still finds the scope that
        # it entered leaves that one; other code leaves the latest that was passed on.
        inner = here if here is not None and here.block is block else None
        found: _Held | None = None
        for held in reversed(self._held):
            if held.inner is inner or (inner is None and held.inner.block is block):
                found = held
                break
        if found is None:
            return None
        at = self._held.index(found)
        self._held.remove(found)
        above = next((held for held in self._held[at:] if held.scope is found.scope), None)
        if above is None:
            _say(found.scope, found.former)
        else:
            # A block that was entered later is still open, and puts this back when it is left.
            self._held[self._held.index(above)] = above._replace(former=found.former)
        return found


def _said(scope: Scope) -> tuple[Any, ...]:
    return scope.turn, scope.tags, scope.parent, scope.order


def _say(scope: Scope, said: tuple[Any, ...]) -> None:
    scope.turn, scope.tags, scope.parent, scope.order = said


def request_around(here: Scope | None) -> Request | None:
    """Return the request that a scope is in, `None` outside one."""
    while here is not None:
        if isinstance(here.block, Request):
            return here.block
        here = here.previous
    return None


def hand_over(inner: Scope, frame: FrameType) -> None:
    """
    Pass a block on to the request around it, if it outlives the context that it is entered in.

    Args:
        inner: The scope of the block.
        frame: The frame that enters it.
    """
    if not _is_handed_to_a_thread(frame):
        return
    request = request_around(inner.previous)
    if request is not None:
        request.hold(inner)
        return
    log(
        "moa.block_not_passed_on",
        reason="a sync dependency or generator opened a turn or tag in a thread, and nothing after it is inside;"
        " wrap the application in moa.asgi",
    )


def _is_handed_to_a_thread(frame: FrameType) -> bool:
    """
    Return True if a frame is of a generator whose step is all that a worker thread was given.

    Then the context of the step is gone when the step is over, and the block is still open. A
    generator that user code steps through in a thread is in that code's context, and needs no help.
    """
    around: FrameType | None = frame
    while around is not None and (around.f_code.co_flags & CO_GENERATOR or _passes_on(around)):
        around = around.f_back
    return around is not None and _package_of(around) in _THREADS


def _passes_on(frame: FrameType) -> bool:
    """Return True for frames between a generator and the code that steps through it."""
    package = _package_of(frame)
    # Not those of a context manager that is used as a decorator: it is left in the same call.
    return package == _OURS or (package == "contextlib" and frame.f_code.co_name in {"__enter__", "enter_context"})


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


_OURS = __name__.partition(".")[0]
"""Our own frames are around an executor's work, and around a thread's or a stream's step."""


def give_up(turn: Turn, outcome: Outcome = "cancelled") -> None:
    """
    End the stream that a turn would wait for, because the client is gone.

    Starlette steps through a sync generator in threads. It cancels the steps, and the generator is
    dropped without a `close` whenever the collector comes; so is the stream that it reads.
    """
    call_state = turn.awaited()
    if call_state is not None:
        call_state.stream.drop(outcome)
