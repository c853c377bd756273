"""
Carrying a turn into bare threads and executors, which do not inherit context.

`ThreadPoolExecutor.submit` and `Thread.start` are wrapped at the first traced turn. They carry our
one variable and nothing else, and they reserve the number of what is submitted: the order in which
a pool enters its work is a race.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

import wrapt

from ._scope import Scope, current, enter, leave, submitted

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["install", "remove"]

_installed: list[tuple[type, str, Any, Any]] = []
_lock = threading.RLock()


def _within(scope: Scope | None, fn: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        former = enter(scope)
        try:
            return fn(*args, **kwargs)
        finally:
            leave(scope, former)

    return run


def _is_context_run(fn: Any) -> bool:
    """Whether it is the `run` of a context, which `asyncio.to_thread` submits: it brings a scope along."""
    return getattr(fn, "__name__", None) == "run" and isinstance(getattr(fn, "__self__", None), Context)


def _finer(scope: Scope, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Bind a function to the number reserved in `scope`, where its context stands in the same turn."""

    def run(*args: Any, **kwargs: Any) -> Any:
        here = current()
        if here is None or here.turn is not scope.turn:
            return fn(*args, **kwargs)
        return _within(Scope(here.turn, here.tags, here.parent, scope.order), fn)(*args, **kwargs)

    return run


def _submit(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope = submitted()
    if scope is None or scope.turn is None or not scope.turn.joinable or not args:
        return wrapped(*args, **kwargs)
    fn, *rest = args
    if isinstance(fn, partial) and fn.args and _is_context_run(fn.func):
        fn = partial(fn.func, _finer(scope, fn.args[0]), *fn.args[1:], **fn.keywords)
    elif rest and _is_context_run(fn):
        rest[0] = _finer(scope, rest[0])
    else:
        fn = _within(scope, fn)
    # The pool may start a worker now. It serves whoever comes, so it must not inherit this turn.
    former = enter(None)
    try:
        return wrapped(fn, *rest, **kwargs)
    finally:
        leave(None, former)


def _start(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope = submitted()
    if scope is None or scope.turn is None or not scope.turn.joinable:
        return wrapped(*args, **kwargs)
    try:
        run, attributes = instance.run, vars(instance)
    except Exception:
        return wrapped(*args, **kwargs)
    own = attributes.get("run")

    def put_back() -> None:
        # The thread object may be kept for long: it is left as it was.
        if own is None:
            attributes.pop("run", None)
        else:
            attributes["run"] = own

    def once() -> Any:
        put_back()
        return _within(scope, run)()

    attributes["run"] = once  # a class may refuse to have it set
    try:
        return wrapped(*args, **kwargs)
    except BaseException:
        put_back()
        raise


def install() -> None:
    """Wrap both, once."""
    if _installed:
        return
    with _lock:
        if _installed:
            return
        for owner, name, wrapper in ((ThreadPoolExecutor, "submit", _submit), (threading.Thread, "start", _start)):
            original = getattr(owner, name)
            wrapped = wrapt.FunctionWrapper(original, wrapper)
            setattr(owner, name, wrapped)
            _installed.append((owner, name, original, wrapped))


def remove() -> None:
    """Put both back, where nobody else has wrapped them since."""
    with _lock:
        for owner, name, original, wrapped in _installed:
            if vars(owner).get(name) is wrapped:
                setattr(owner, name, original)
        _installed.clear()
