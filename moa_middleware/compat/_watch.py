"""
Watching a function that is neither a turn nor a call: a generator function is run around it.

The generator yields once and is sent what the function returned: of a coroutine or future its result,
when that is there. Its own faults are counted and never reach the caller. As with a target, the function
is replaced when its module is imported, and put back by `uninstrument`.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import wrapt

from .._capture.frames import hide_own_frames
from .._capture.instrument.patch import Patch, apply_patch
from .._capture.log import count_fault
from .._capture.streams.kinds import is_future, outcome_of_future

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._capture.turns.stack_like import StackLike

__all__ = ["Watch"]


class _WatchPatch(Patch):
    """A function with a generator function around it."""

    def __init__(self, owner: Any, name: str, stack: StackLike, kind: str, *, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.takes = tuple(inspect.signature(fn).parameters)
        super().__init__(owner, name, stack, kind)

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that runs the generator around the function."""
        function = getattr(original, "__func__", original)  # of a class method or static method
        signature = inspect.signature(function)
        # Its body runs when its coroutine is awaited, perhaps in another task: so does the generator.
        is_async = inspect.iscoroutinefunction(function)

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            if self.undone:
                return wrapped(*args, **kwargs)
            try:
                named = signature.bind(*(args if instance is None else (instance, *args)), **kwargs).arguments
            except TypeError:
                return wrapped(*args, **kwargs)  # it raises the error that its caller knows
            if is_async:
                return _named_like(self._run_async(named, wrapped, args, kwargs), wrapped)
            flow = self._begin(named)
            try:
                value = wrapped(*args, **kwargs)
            except BaseException as error:
                _close(flow)
                hide_own_frames(error)
                raise
            return _finish(flow, value)

        return wrapt.FunctionWrapper(original, wrapper)

    def _begin(self, named: dict[str, Any]) -> Any:
        """Start the generator with the arguments that it takes."""
        try:
            flow = self.fn(**{name: named[name] for name in self.takes})
            next(flow)
        except Exception as error:
            count_fault(f"watch {self.name}", error)
            return None
        return flow

    async def _run_async(self, named: dict[str, Any], wrapped: Any, args: Any, kwargs: Any) -> Any:
        return await _awaited(self._begin(named), wrapped(*args, **kwargs))


async def _awaited(flow: Any, coroutine: Any) -> Any:
    try:
        value = await coroutine
    except BaseException as error:
        _close(flow)
        hide_own_frames(error)
        raise
    _end(flow, value)
    return value


def _named_like(coroutine: Any, original: Any) -> Any:
    """Return a coroutine under the name of another one, or of its function: warnings and tasks show it."""
    for name in ("__name__", "__qualname__"):
        setattr(coroutine, name, str(getattr(original, name, "?")))
    return coroutine


def _finish(flow: Any, value: Any) -> Any:
    """
    Send the generator what a function returned, now or when that is there, and return what the caller gets.

    A future stays the same object. Of an awaitable that is neither coroutine nor future the result
    cannot be seen without replacing it, so its generator is closed.
    """
    if inspect.iscoroutine(value):
        return _named_like(_awaited(flow, value), value)
    if is_future(value):
        value.add_done_callback(partial(_future_done, flow))
    elif inspect.isawaitable(value):
        _close(flow)
    else:
        _end(flow, value)
    return value


def _future_done(flow: Any, future: Any) -> None:
    value, error = outcome_of_future(future)
    if error is not None:
        _close(flow)
    else:
        _end(flow, value)


def _end(flow: Any, value: Any) -> None:
    if flow is None:
        return
    try:
        flow.send(value)
        flow.close()
    except StopIteration:
        return
    except Exception as error:
        count_fault("watch", error)


def _close(flow: Any) -> None:
    if flow is None:
        return
    try:
        flow.close()
    except Exception as error:
        count_fault("watch", error)


class Watch:
    """
    One watched function.

    Args:
        stack: The stack that it is done for.
        module: Dotted name of the module.
        path: `function` or `Class.method`. A path that leads nowhere is ignored: versions differ.
        fn: A generator function that takes some of the function's arguments, by name.
    """

    def __init__(self, stack: StackLike, module: str, path: str, fn: Callable[..., Any]) -> None:
        self._stack = stack
        self._path = path
        self._fn = fn
        self._patch: Patch | None = None
        self._wanted = True
        wrapt.register_post_import_hook(self._there, module)

    def _there(self, module: Any) -> None:
        if not self._wanted:
            return
        *steps, name = self._path.split(".")
        owner = module
        for step in steps:
            owner = getattr(owner, step, None)
        if owner is None or name not in vars(owner):
            return
        stack, fn = self._stack, self._fn
        self._patch = apply_patch(_WatchPatch, owner, name, stack, "watch", target=owner, options=True, fn=fn)

    def undo(self) -> None:
        """Put the function back, or never replace it if its module is not there yet."""
        self._wanted = False
        if self._patch is not None:
            self._patch.undo()
