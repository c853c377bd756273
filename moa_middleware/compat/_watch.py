"""
Watching a function that is neither a turn nor a call: a generator function is run around it.

The generator yields once and is sent what the function returned. Its own faults are counted and never
reach the caller. As with a target, the function is replaced when its module is imported, and put back
by `uninstrument`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import wrapt

from .._capture.frames import hide_own_frames
from .._capture.instrument.patch import Patch, apply_patch
from .._capture.log import count_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._capture.turns.turn import StackLike

__all__ = ["Watch"]


class _WatchPatch(Patch):
    """A function with a generator function around it."""

    def __init__(self, owner: Any, name: str, stack: StackLike, kind: str, *, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.takes = tuple(inspect.signature(fn).parameters)
        super().__init__(owner, name, stack, kind)

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that runs the generator around the function."""
        signature = inspect.signature(original)

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            if self.undone:
                return wrapped(*args, **kwargs)
            flow = self._begin(signature, args if instance is None else (instance, *args), kwargs)
            try:
                value = wrapped(*args, **kwargs)
            except BaseException as error:
                _close(flow)
                hide_own_frames(error)
                raise
            _end(flow, value)
            return value

        return wrapt.FunctionWrapper(original, wrapper)

    def _begin(self, signature: inspect.Signature, args: Any, kwargs: Any) -> Any:
        """Start the generator with the arguments that it takes."""
        try:
            named = signature.bind(*args, **kwargs).arguments
            flow = self.fn(**{name: named[name] for name in self.takes})
            next(flow)
        except Exception as error:
            count_fault(f"watch {self.name}", error)
            return None
        return flow


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
