"""
Carrying a turn into bare threads and executors, which do not inherit context.

`ThreadPoolExecutor.submit` and `Thread.start` are wrapped at the first traced turn. They carry our
one context variable and nothing else, and they reserve a number at submission, because the order in
which a pool begins its work is a race. `ThreadPool` of `multiprocessing` hands its work to threads
that it started long before, so there the work carries the turn, and not the threads.
"""

from __future__ import annotations

import sys
import threading
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

import wrapt

from ..frames import hide_own_frames
from ..scope import Scope, current, enter, leave, submitted

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["install", "installed", "remove"]

_POOLS = "multiprocessing.pool"
installed: list[tuple[type, str, Any, Any]] = []
"""What was wrapped: owner, name, original and wrapper. Empty until `install`, and after `remove`."""
_hooked: list[bool] = []
"""Not empty once an import hook for multiprocessing's pools is registered: it cannot be taken back."""
_lock = threading.RLock()


def _within(scope: Scope | None, fn: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        former = enter(scope)
        try:
            return fn(*args, **kwargs)
        except BaseException as error:
            hide_own_frames(error)
            raise
        finally:
            leave(scope, former)

    return run


def _is_context_run(fn: Any) -> bool:
    """Return True for the `run` of a context, which `asyncio.to_thread` submits: it brings its own scope."""
    return getattr(fn, "__name__", None) == "run" and isinstance(getattr(fn, "__self__", None), Context)


def _finer(scope: Scope, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Bind a function to the number reserved in `scope`, if its own context is in the same turn."""

    def run(*args: Any, **kwargs: Any) -> Any:
        here = current()
        try:
            if here is None or here.turn is not scope.turn:
                return fn(*args, **kwargs)
            return _within(Scope(here.turn, here.tags, here.parent, scope.order), fn)(*args, **kwargs)
        except BaseException as error:
            hide_own_frames(error)
            raise

    return run


def _submit(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope = submitted()
    if scope is None or scope.turn is None or not scope.turn.joinable or not args:
        return wrapped(*args, **kwargs)
    # `asyncio.to_thread` submits `partial(context.run, fn, …)`: the context has the turn already, and only
    # the number is missing, so `fn` is wrapped and not `context.run`.
    fn, *rest = args
    if isinstance(fn, partial) and fn.args and _is_context_run(fn.func):
        fn = partial(fn.func, _finer(scope, fn.args[0]), *fn.args[1:], **fn.keywords)
    elif rest and _is_context_run(fn):
        rest[0] = _finer(scope, rest[0])
    else:
        fn = _within(scope, fn)
    # The pool may start a worker now. A worker serves every later caller, so it must not inherit this turn.
    former = enter(None)
    try:
        return wrapped(fn, *rest, **kwargs)
    except BaseException as error:
        hide_own_frames(error)
        raise
    finally:
        leave(None, former)


def _pooled(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry the turn into work for a `ThreadPool`; a `Pool` of processes has the same methods."""
    scope = submitted()
    if scope is None or scope.turn is None or not scope.turn.joinable or not args or not _has_threads(instance):
        return wrapped(*args, **kwargs)
    fn, *rest = args
    return wrapped(_within(scope, fn), *rest, **kwargs)


def _has_threads(pool: object) -> bool:
    module = sys.modules.get(_POOLS)
    return module is not None and isinstance(pool, module.ThreadPool)


def _start(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope = submitted()
    if scope is None or scope.turn is None or not scope.turn.joinable:
        return wrapped(*args, **kwargs)
    if getattr(getattr(instance, "_target", None), "__module__", None) == _POOLS:
        # A pool's own thread, which serves every later caller.
        return wrapped(*args, **kwargs)
    try:
        run, attributes = instance.run, vars(instance)
    except Exception:
        return wrapped(*args, **kwargs)
    own = attributes.get("run")

    # `run` is replaced on the object for the time between `start` and the new thread's first step. A
    # wrapper around `Thread.run` would miss subclasses that override it.
    def put_back() -> None:
        # Somebody may keep the thread object: leave it as it was.
        if own is None:
            attributes.pop("run", None)
        else:
            attributes["run"] = own

    def once() -> Any:
        put_back()
        try:
            return _within(scope, run)()
        except BaseException as error:
            hide_own_frames(error)
            raise

    attributes["run"] = once  # a class may refuse to have it set
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        put_back()
        hide_own_frames(error)
        raise


def install() -> None:
    """Wrap both, unless that was done, or Python takes its modules apart and imports none any more."""
    if installed or sys.is_finalizing():
        return
    with _lock:
        if installed:
            return
        # Here, because not every program traces, and the module would be with this package's import, which
        # is to stay near that of wrapt. `load_recorder` imports it where turns are recorded.
        from concurrent.futures import ThreadPoolExecutor

        _wrap(ThreadPoolExecutor, "submit", _submit)
        _wrap(threading.Thread, "start", _start)
        if _POOLS in sys.modules:
            _wrap_pools(sys.modules[_POOLS])
        elif not _hooked:
            _hooked.append(True)
            wrapt.register_post_import_hook(_when_imported, _POOLS)


def _wrap(owner: type, name: str, wrapper: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    wrapped = wrapt.FunctionWrapper(original, wrapper)
    setattr(owner, name, wrapped)
    installed.append((owner, name, original, wrapped))


def _wrap_pools(module: Any) -> None:
    # `apply`, `map`, `starmap` and the like call these.
    for name in ("apply_async", "_map_async", "imap", "imap_unordered"):
        _wrap(module.Pool, name, _pooled)


def _when_imported(module: Any) -> None:
    with _lock:
        if installed and not any(owner is module.Pool for owner, *_ in installed):
            _wrap_pools(module)


def remove() -> None:
    """Put both back, where nobody else has wrapped them since."""
    # A wrapper that others have wrapped stays in their chain. It does nothing outside a turn.
    with _lock:
        for owner, name, original, wrapped in installed:
            if vars(owner).get(name) is wrapped:
                setattr(owner, name, original)
        installed.clear()
