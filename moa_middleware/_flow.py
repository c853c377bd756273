"""
The middleware chain: a recursive generator without I/O and without a clock.

Each level drives one middleware. What reaches the outside are effects: `Send` (do the call),
`Sleep` and `Wait`. Whoever drives the chain performs an effect and sends the result back in, or
throws the exception that it met; how that is done, sync or async, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ._call import Call, Middleware, Reply, Sleep, Wait
from .errors import DidNotYieldError, MiddlewareError

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
    read: Callable[[Any], Reply],
    by: str = "",
    level: int = 0,
) -> Generator[Send | Sleep | Wait[Any], Any, Reply]:
    """
    Run `call` through the middleware from `level` inwards.

    Args:
        middleware: The outermost first.
        call: What to send.
        read: Reads a raw value that a middleware answered with.
        by: Name of the middleware further out that sends it once more.
        level: Index of the first middleware to run.

    Returns:
        The reply of the inner level, or what a middleware answered in its place.

    Raises:
        DidNotYieldError: A middleware gave neither a yield nor a value.
        MiddlewareError: A middleware yielded something that is no effect.
    """
    if level == len(middleware):
        reply: Reply = yield Send(call, by)
        return reply
    fn = middleware[level]
    name = name_of(fn)
    # Its own list: an inner middleware runs again for every request, and what it registered for
    # the first must not fire twice for the second.
    flow = fn(replace(call, _taps=[*call._taps], _owner=name))
    if not hasattr(flow, "throw"):
        msg = f"`{name}` did not yield: a middleware is a generator function, this one returned {type(flow).__name__}"
        raise DidNotYieldError(msg)
    kept: Reply | None = None
    failure: BaseException | None = None
    thrown: list[BaseException] = []
    sent = 0
    try:
        effect = next(flow)
        while True:
            try:
                if isinstance(effect, Call):
                    sent += 1
                    kept = failure = None
                    value = kept = yield from chain(
                        middleware,
                        effect,
                        read=read,
                        by=name if sent > 1 else by,
                        level=level + 1,
                    )
                elif isinstance(effect, Sleep | Wait):
                    effect.owner = name
                    value = yield effect
                else:
                    msg = f"`{name}` yielded {type(effect).__name__}: yield the call, `moa.sleep(…)` or `moa.wait(…)`"
                    raise MiddlewareError(msg)
            except Exception as error:
                thrown.append(error)
                failure = error if isinstance(effect, Call) else failure
                effect = flow.throw(error)
            except BaseException as error:
                # GeneratorExit of our own closing, an interrupt or a cancellation: the middleware
                # may clean up, but it cannot turn these into an answer.
                thrown.append(error)
                with suppress(StopIteration):
                    flow.throw(error)
                raise
            else:
                effect = flow.send(value)
    except StopIteration as stop:
        if stop.value is not None:
            return stop.value if isinstance(stop.value, Reply) else read(stop.value)
        if failure is not None:
            # It swallowed the exception and returned nothing: what happened inside stands.
            raise failure from None
        if not sent:
            msg = f"`{name}` did not yield: it returned without a reply; yield the call or return a value"
            raise DidNotYieldError(msg) from None
        assert kept is not None  # noqa: S101 - it sent, and neither failed nor answered itself
        return kept
    except BaseException as error:
        if not any(error is known for known in thrown):
            error.add_note(f"raised by the middleware `{name}`")
        raise
    finally:
        flow.close()
        # A traceback holds this frame: exceptions kept in it would be a cycle, and a cycle keeps
        # the SDK's connection open until the collector runs.
        failure = None
        thrown.clear()
