"""
The middleware chain: a recursive generator without I/O and without a clock.

Each level drives one middleware. What reaches the outside are effects: `Send` (do the call),
`Sleep` and `Wait`. Whoever drives the chain performs an effect and sends the result back in, or
throws the exception that it met; how that is done, sync or async, is not known here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import DidNotYieldError, MiddlewareError, ResendError
from ..frames import add_note, hide_own_frames
from .effects import Sleep, Wait
from .model import Call, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .model import Middleware

__all__ = ["Send", "chain", "name_of"]


class Send:
    """The innermost effect: perform this call."""

    __slots__ = ("by", "call")

    def __init__(self, call: Call, by: str) -> None:
        self.call = call
        self.by = by
        """Name of the middleware that asked for a further request, "" for the first one."""


def name_of(fn: object) -> str:
    """Return the name under which a middleware is known to its author."""
    return getattr(fn, "__qualname__", None) or type(fn).__qualname__


def chain(
    middleware: Sequence[Middleware],
    call: Call,
    *,
    read: Callable[[Any, str], Reply],
    reached: Callable[[Call], None],
    by: str = "",
    level: int = 0,
) -> Generator[Send | Sleep | Wait[Any], Any, Reply]:
    """
    Run `call` through the middleware from `level` inwards.

    Args:
        middleware: The outermost first.
        call: What to send.
        read: Makes a reply of what a middleware, named second, answered with.
        reached: Told of the call as each level sees it, on its way inwards: who answers or refuses
            it is the one that it reached last.
        by: Name of the middleware further out that sends it once more.
        level: Index of the first middleware to run.

    Returns:
        The reply of the inner level, or what a middleware answered in its place.

    Raises:
        DidNotYieldError: A middleware gave neither a yield nor a value.
        MiddlewareError: A middleware yielded something that is no effect.
    """
    if level == len(middleware):
        reached(call)
        reply: Reply = yield Send(call, by)
        return reply
    fn = middleware[level]
    name = name_of(fn)
    # Its own list: an inner middleware runs again for every request, and what it registered for
    # the first must not fire twice for the second.
    seen = replace(call, _taps=[*call._taps], _outer=len(call._taps), _owner=name)
    reached(seen)
    try:
        flow = fn(seen)
    except BaseException as error:
        add_note(error, _raised_by(name))
        raise
    if isinstance(flow, Reply):
        return read(flow, name)  # a plain function that answers itself
    if not hasattr(flow, "throw") or not hasattr(flow, "__next__"):
        if hasattr(flow, "close"):
            flow.close()  # a coroutine would complain that nobody awaited it
        what = "is `async def`" if hasattr(flow, "__await__") else f"returned {type(flow).__name__}"
        msg = f"`{name}` did not yield: a middleware is a plain generator function, this one {what}"
        raise DidNotYieldError(msg)
    kept: Reply | None = None
    failure: BaseException | None = None
    thrown: list[BaseException] = []
    sent = 0
    try:
        effect = next(flow)
        while True:
            before = kept, failure
            try:
                if isinstance(effect, Call):
                    sent += 1
                    kept = failure = None
                    value = kept = yield from chain(
                        middleware, effect, read=read, reached=reached, by=name if sent > 1 else by, level=level + 1
                    )
                elif isinstance(effect, Sleep | Wait):
                    effect.owner = name
                    value = yield effect
                else:
                    msg = f"`{name}` yielded {type(effect).__name__}: yield the call, `moa.sleep(…)` or `moa.wait(…)`"
                    raise MiddlewareError(msg)
            except Exception as error:
                thrown.append(error)
                if issubclass(type(error), ResendError):
                    kept, failure = before  # nothing was sent: what had come before it stands
                elif isinstance(effect, Call):
                    failure = error
                hide_own_frames(error, everywhere=True)  # the middleware may raise another one from it
                effect = flow.throw(error)
            except BaseException as error:
                # GeneratorExit of our own closing, an interrupt or a cancellation: the middleware
                # may clean up, but it cannot turn these into an answer or into an error.
                thrown.append(error)
                _clean_up(flow, error, name)
                raise
            else:
                effect = flow.send(value)
            finally:
                before = None, None
    except StopIteration as stop:
        answer = stop.value
    except BaseException as error:
        if not any(error is known for known in thrown):
            add_note(error, _raised_by(name))
        failure = None
        raise
    finally:
        flow.close()
        # A traceback holds this frame: exceptions kept in it would be a cycle, and a cycle keeps
        # the SDK's connection open until the collector runs.
        thrown.clear()
    try:
        if answer is not None:
            return read(answer, name)
        if failure is not None:
            # It swallowed the exception and returned nothing: what happened inside stands. Not
            # "from None": that would take the cause from an exception which is not ours.
            raise failure
    finally:
        failure = None
    if kept is None:
        msg = f"`{name}` did not yield: it returned without a reply; yield the call or return a value"
        raise DidNotYieldError(msg)
    return kept


def _raised_by(name: str) -> str:
    return f"raised by the middleware `{name}`"


def _clean_up(flow: Generator[Any, Any, Any], error: BaseException, name: str) -> None:
    """Throw in what cannot be answered; an exception of the cleaning up does not hide it."""
    try:
        flow.throw(error)
        flow.close()
    except StopIteration:
        pass
    except Exception as raised:
        if issubclass(type(error), GeneratorExit):
            raise
        add_note(error, f"{type(raised).__qualname__} was {_raised_by(name)} while it cleaned up")
