"""
Attributes that an instance has in place of a method: `self.create = self._create_v2` in its `__init__`.

They are known once the constructor has run, or made when they are asked for: by a cached property, or by
`__getattr__`. When a constructor has run, this module must not know.
"""

from __future__ import annotations

import dis
import inspect
from copy import copy
from functools import cached_property, partial
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

import wrapt

from ..frames import hide_own_frames
from .by_value import class_for_picklers
from .call_patch import CallPatch
from .function_proxy import Instrumented, layer_of, unwrapped
from .patch import Patch, Undo, apply_patch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..calls.function import Options
    from ..turns.stack_like import StackLike

__all__ = ["OwnPatch", "is_assigned", "is_made_later", "wrap_makers", "wrap_own"]


def is_assigned(cls: type, name: str) -> bool:
    """Return True if a method of a class, or of a base, sets an attribute of this name."""
    # The code is read, since nothing is to be patched for a class that does no such thing: an `__init__` of
    # ours is one more call for each instance, and a `dataclass` above the decorator would make none.
    found = (value for base in cls.__mro__ for value in vars(base).values() if isinstance(value, FunctionType))
    return any(_sets(fn, name) for fn in found)


def _sets(fn: Any, name: str) -> bool:
    code = getattr(fn, "__code__", None)
    if code is None:
        return False
    if name in code.co_consts and not {"setattr", "__setattr__"}.isdisjoint(code.co_names):
        return True
    return name in code.co_names and any(
        one.opname == "STORE_ATTR" and one.argval == name for one in dis.get_instructions(code)
    )


def is_made_later(cls: type, name: str) -> bool:
    """Return True if only the instances of a class have an attribute."""
    there = inspect.getattr_static(cls, name, None)
    if there is None:
        return is_assigned(cls, name) or "__getattr__" in _names(cls)
    return isinstance(there, MemberDescriptorType | cached_property)


def _names(cls: type) -> set[str]:
    return {name for base in cls.__mro__ for name in vars(base)}


def wrap_own(instance: Any, path: str, by: Any, options: Options) -> bool:
    """
    Wrap an attribute that an instance has of its own; returns True if it has one, or makes it when it is asked for.

    Args:
        instance: The instance, whose `__init__` has run.
        path: The attribute's name.
        by: The patch of the class: its stack, and whether it still acts.
        options: Of the call or turn.
    """
    stack = by.stack
    there = inspect.getattr_static(type(instance), path, None)
    own = getattr(instance, "__dict__", {})
    if path in own:
        if callable(own[path]) and layer_of(own[path], stack, options.kind) is None:
            patch = apply_patch(
                OwnPatch, instance, path, stack, options.kind, target=instance, options=options, path=path
            )
            Undo(by.owner, stack, instance, patch)
        return True
    if isinstance(there, MemberDescriptorType):
        value = getattr(instance, path, None)
        if callable(value):
            # A slot cannot be put back when the class is no longer instrumented: its wrapper does nothing then.
            setattr(
                instance,
                path,
                _around(value, instance, path, stack, lambda _: options if by.acts(path, options) else None),
            )
        return value is not None
    return there is not None or "__getattr__" in _names(type(instance))


def wrap_makers(cls: type, path: str, stack: StackLike, options: Options) -> None:
    """Wrap what a class's cached property or `__getattr__` makes under a name."""
    there = inspect.getattr_static(cls, path, None)
    if isinstance(there, cached_property):
        maker = path
    elif there is None and "__getattr__" in _names(cls):
        maker = "__getattr__"
    else:
        return
    patch = apply_patch(_MakerPatch, cls, maker, stack, f"maker of {path}", target=cls, options=options, path=path)
    Undo(cls, stack, cls, patch)


def _around(value: Any, instance: Any, path: str, stack: StackLike, find: Callable[[Any], Options | None]) -> Any:
    """Return the wrapper of a function that an instance has in place of a method; `find` returns its options."""
    options = find(instance)
    if options is None or not callable(value) or layer_of(value, stack, options.kind) is not None:
        return value
    return Instrumented(value, _wrapper(instance, path, stack, find), stack=stack, kind=options.kind, options=options)


def _wrapper(instance: Any, path: str, stack: StackLike, options: Any) -> Any:
    """Return what calls such a function as a method of the instance, so that what it calls of it joins its turn."""
    cache: dict[str, Any] = {}

    def wrapper(wrapped: Any, _bound: Any, args: Any, kwargs: Any) -> Any:
        try:
            return stack.call_through(options, cache, path, wrapped, instance, args, kwargs)
        except BaseException as error:
            hide_own_frames(error)
            raise

    return wrapper


class OwnPatch(CallPatch):
    """An attribute of one instance, in place of a method of its class."""

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that passes on the instance, to which the function need not be bound."""
        wrapper = _wrapper(self.owner, self.path, self.stack, self._options_of_call)
        return Instrumented(original, wrapper, stack=self.stack, kind=self.kind, patch=self)


class _Made(cached_property):  # type: ignore[type-arg]  # of anything
    """A cached property whose value is wrapped; it is pickled as the original."""

    original: Any

    def __reduce__(self) -> Any:
        return cached_property, (self.original.func,)


class _Making(partial):  # type: ignore[type-arg]  # of anything
    """The function of a cached property whose value is wrapped; it is pickled as the original."""

    def __reduce__(self) -> Any:
        return unwrapped, self.args


class _Maker(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # wrapt's cannot be subscribed
    """A `__getattr__` whose values are wrapped; it is pickled as the original."""

    __class__ = class_for_picklers  # pyright: ignore[reportIncompatibleMethodOverride]

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return unwrapped, (self.__wrapped__,)


class _MakerPatch(Patch):
    """A cached property or a `__getattr__`, by which the instances of a class make an attribute."""

    def __init__(self, owner: Any, name: str, stack: StackLike, kind: str, *, path: str) -> None:
        self.path = path
        super().__init__(owner, name, stack, kind)

    def wrap(self, original: Any) -> Any:
        """Return one that wraps what the other makes under the name."""
        if isinstance(original, cached_property):
            if type(original) is not cached_property:
                other = copy(original)  # of a subclass, whose `__get__` may do more
                other.func = _Making(self._make, original.func)
                return other
            made: Any = _Made(partial(self._make, original.func))
            made.original = original
            made.__doc__ = original.__doc__
            made.__set_name__(self.owner, self.name)
            return made

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            try:
                value = wrapped(*args, **kwargs)
            except BaseException as error:
                hide_own_frames(error)
                raise
            return self._wrapped(instance, value) if args and args[0] == self.path else value

        return _Maker(original, wrapper)

    def _make(self, make: Any, instance: Any) -> Any:
        try:
            value = make(instance)
        except BaseException as error:
            hide_own_frames(error)
            raise
        return self._wrapped(instance, value)

    def _wrapped(self, instance: Any, value: Any) -> Any:
        return _around(value, instance, self.path, self.stack, lambda _: self.global_options)
