"""
The wrapper in a function's place.

It looks like the function, also to `inspect`, `copy` and `pickle`. What happens when it is called is
the stack's business (`StackLike.call_through`), and this module must not know it.
"""

from __future__ import annotations

import sys
from copy import copy, deepcopy
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from ..recorder import load_recorder
from .by_value import by_name, by_value_pickler, class_for_picklers, goes_by_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..calls.function import Options
    from ..turns.stack_like import StackLike

__all__ = ["BoundInstrumented", "Instrumented", "instrumented", "layer_of", "unwrapped"]


class BoundInstrumented(wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]  # wrapt's cannot be subscribed
    """A wrapper bound to an instance or class."""

    __getattribute__ = object.__getattribute__  # see `Instrumented`

    __class__ = class_for_picklers  # pyright: ignore[reportIncompatibleMethodOverride]

    def __reduce_ex__(self, _protocol: Any) -> Any:
        owner = getattr(self, "__self__", None)
        if owner is None:  # a static method, which does not hold its class: find it by name
            owner = by_name(self.__qualname__.rpartition(".")[0], self.__module__)
            pickler = by_value_pickler(sys._getframe(1))
            if pickler is not None and (owner is None or not goes_by_name(owner, pickler)):
                return self._self_parent._by_value(self.__wrapped__)
        return self.__qualname__ if owner is None else (getattr, (owner, self.__name__))

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        # As Python copies a bound method: it is bound to the copy of its object.
        owner = getattr(self, "__self__", None)
        return self if owner is None else getattr(deepcopy(owner, memo), self.__name__)


class Instrumented(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # wrapt's cannot be subscribed
    """The wrapper that a decorator or `instrument` puts in a function's place."""

    __bound_function_wrapper__ = BoundInstrumented
    _self_is_named_outside = False
    """True if `moa run` was asked for it; then a decorator in the program, which may have options, replaces it."""

    # wrapt's `__getattribute__` asks the wrapped function for what the proxy lacks. In a subclass that
    # is written in Python the interpreter then calls `__getattr__`, which asks a second time. So each
    # layer doubled the cost of a missing name, and `inspect.signature`, which looks for
    # `__signature__`, did not return under 40 stacks. With object's own the function is asked once;
    # tests/behaviour/instrument/test_sdk_clients.py counts the questions.
    __getattribute__ = object.__getattribute__

    def __init__(
        self,
        wrapped: Any,
        wrapper: Callable[[Any, Any, Any, Any], Any],
        *,
        stack: StackLike,
        kind: str,
        options: Options | None = None,
        patch: Any = None,
    ) -> None:
        super(Instrumented, self).__init__(wrapped, wrapper)  # noqa: UP008 - `__class__` is not this class here
        self._self_stack = stack
        self._self_kind = kind
        self._self_options = options
        """Options of the decorator. `None` for a patch, whose options depend on the object."""
        self._self_patch = patch
        """The `Patch` that made the wrapper, `None` for a decorator."""

    __class__ = class_for_picklers  # pyright: ignore[reportIncompatibleMethodOverride]

    def __reduce_ex__(self, _protocol: Any) -> Any:
        pickler = by_value_pickler(sys._getframe(1))
        if pickler is not None and not goes_by_name(self, pickler):
            return self._by_value(self.__wrapped__)
        # By name where that leads back here, as functions are pickled: the other process has imported the
        # module, and its decorator or its own `instrument` decides what is traced there. A wrapper's
        # stack, lock and patch could not travel anyway.
        name = getattr(self, "__qualname__", None)
        if self._is_of_instance():
            name = None  # that of what it is in place of, or of another function
        if name is not None and (self._self_patch is not None or not self._has_hidden_name(name)):
            return name
        # No name leads here: a partial application, a callable object, or `traced = moa.turn(answer)`.
        return self._by_value(self.__wrapped__)

    def _is_of_instance(self) -> bool:
        """Return True if it is in place of an attribute of one object, and not of a class or module."""
        return self._self_patch is not None and not issubclass(type(self._self_patch.owner), type | ModuleType)

    def _by_value(self, wrapped: Any) -> Any:
        """Return how to make this wrapper again, around the function, in a process that cannot import it."""
        patch = self._self_patch
        options = self._self_options if patch is None else patch.global_options
        if options is None:
            # A patch that acts for single objects only: their copies are not instrumented, as copies in this
            # process are not.
            return unwrapped, (wrapped,)
        return _wrap_again, (wrapped, options, self._self_stack, "" if patch is None else patch.path)

    def _has_hidden_name(self, name: str) -> bool:
        """Return True if the function's name leads to the original: `traced = moa.turn(answer)`."""
        return "<locals>" not in name and by_name(name, self.__module__) is self.__wrapped__

    def __copy__(self) -> Any:
        return self._around(copy(self.__wrapped__))

    def __deepcopy__(self, memo: Any) -> Any:
        return self._around(deepcopy(self.__wrapped__, memo))

    def _around(self, copied: Any) -> Any:
        """Return a wrapper like this one around a copy; functions copy as themselves."""
        patch = self._self_patch
        if patch is not None and copied is not self.__wrapped__ and self._is_of_instance():
            make, given = self._by_value(copied)
            return make(*given)
        if copied is self.__wrapped__ or patch is not None:
            return self
        wrapper: Any = self._self_wrapper
        return Instrumented(copied, wrapper, stack=self._self_stack, kind=self._self_kind, options=self._self_options)


def instrumented(fn: Any, stack: StackLike, options: Options, path: str = "") -> Instrumented:
    """Return `fn` wrapped as a call or turn of `stack`; `path` leads to it, where it was found by one."""
    # A partial application: calling it enters no frame.
    wrapper = partial(stack.call_through, options, {}, path)
    return Instrumented(fn, wrapper, stack=stack, kind=options.kind, options=options)


def layer_of(fn: Any, stack: StackLike, kind: str) -> Any:
    """
    Return the wrapper of this stack and kind around `fn`, `None` if there is none.

    The search ends at the first wrapper of somebody else, who may call `fn` often, or never.
    """
    while True:
        if isinstance(fn, classmethod | staticmethod):
            fn = fn.__func__
        elif not isinstance(fn, Instrumented | BoundInstrumented):
            return None
        elif fn._self_stack is stack and fn._self_kind == kind:
            return fn
        else:
            fn = fn.__wrapped__


def _wrap_again(wrapped: Any, options: Options, stack: StackLike, path: str) -> Any:
    """Wrap a function again, in the process that unpickles it."""
    load_recorder()
    return instrumented(wrapped, stack, options, path)


def unwrapped(wrapped: Any) -> Any:
    """Return a function as it is: what is pickled of a wrapper that stays in its process."""
    return wrapped
