"""
Dotted paths: where one leads from an object, and wrapping what is there.

An attribute is replaced where it is defined, so that one `create` stays one layer whether its
class, a base or an instance was named.
"""

from __future__ import annotations

import inspect
import weakref
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from ...errors import TargetError
from .call_patch import CallPatch
from .function_proxy import layer_of
from .own import OwnPatch, is_made_later
from .patch import Undo, apply_patch

if TYPE_CHECKING:
    from ..calls.function import Options
    from ..turns.stack_like import StackLike

__all__ = ["ITSELF", "is_later", "name_of", "walk", "wrap_at"]

ITSELF = ""
"""The path from a class of SDK clients to each of its instances."""

_HEAP_TYPE = 1 << 9
_IMMUTABLE_TYPE = 1 << 8
"""Flags of a class, see `PyTypeObject.tp_flags`: attributes of other classes cannot be set."""


def name_of(obj: Any) -> str:
    """Return the last part of the name of a module, a class, or the class of any other object."""
    kind = type(obj)
    if issubclass(kind, ModuleType):
        return str(obj.__name__).rpartition(".")[2]
    return str(obj.__qualname__).rpartition(".")[2] if issubclass(kind, type) else kind.__name__


def walk(obj: Any, path: str) -> tuple[Any, str]:
    """
    Return the owner and the name of the attribute that a dotted path leads to.

    Raises:
        TargetError: The path leads nowhere, to something that cannot be called, or through an
            attribute that is a new object each time.
    """
    *steps, name = path.split(".")
    owner, so_far, fresh = obj, name_of(obj), ""
    for step in steps:
        found = _step(owner, step, so_far, path)
        so_far = f"{so_far}.{step}"
        # A property may make a new object at each access. What is wrapped on one would be gone at the next,
        # and the user would not learn that nothing is traced.
        if found is not _step(owner, step, so_far, path):
            fresh = fresh or so_far
        owner = found
    value = _step(owner, name, so_far, path)
    if not callable(value):
        msg = f"{so_far}.{name} is a {type(value).__name__}, which cannot be called (target {path!r})"
        raise TargetError(msg)
    if fresh:
        msg = f"{fresh} is a new object each time: instrument the class {name_of(type(owner))} (target {path!r})"
        raise TargetError(msg)
    return owner, name


def _step(owner: Any, name: str, so_far: str, path: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        msg = f"{so_far} has no attribute {name!r} (target {path!r})"
        raise TargetError(msg) from None
    except Exception as error:
        # A dict whose attributes are its keys raises a `KeyError`, a property whatever it likes.
        msg = f"{so_far} has no attribute {name!r}: it raised {type(error).__qualname__} (target {path!r})"
        raise TargetError(msg) from error


def is_later(obj: Any, path: str) -> bool:
    """Return True if a path of a class begins at an attribute that only its instances have."""
    first, _, rest = path.partition(".")
    if not issubclass(type(obj), type) or path == ITSELF:
        return path == ITSELF
    if not rest:
        return is_made_later(obj, first)
    there = inspect.getattr_static(obj, first, None)
    # The class has a property, a slot or a cached property, but not the object that it returns.
    method = isinstance(there, FunctionType | classmethod | staticmethod)
    return there is None or (hasattr(type(there), "__get__") and not method)


def _place(owner: Any, name: str) -> Any:
    """
    Return where an attribute is to be replaced: where it is defined, if that is possible.

    So there is one layer, whether the class, a base or an instance is named, and in whatever order.
    """
    if isinstance(owner, ModuleType) or name in getattr(owner, "__dict__", {}):
        return owner
    kind = owner if isinstance(owner, type) else type(owner)
    where = next((cls for cls in kind.__mro__ if name in vars(cls)), None)
    if where is None or not where.__flags__ & _HEAP_TYPE or where.__flags__ & _IMMUTABLE_TYPE:
        return owner
    # A static method, and a class method seen from an instance, do not pass on whom they were called for:
    # a wrapper on a base would act for every class below it.
    unbound = staticmethod if isinstance(owner, type) else (staticmethod, classmethod)
    return owner if isinstance(vars(where)[name], unbound) else where


def wrap_at(obj: Any, path: str, stack: StackLike, options: Options, *, root: Any = None) -> None:
    """
    Wrap the attribute that a path leads to.

    Args:
        obj: Where the path begins.
        path: The path.
        stack: The stack.
        options: Of the call or turn.
        root: The object whose `uninstrument` undoes it, `obj` by default.

    Raises:
        TargetError: See `walk`; or the object cannot be referenced weakly, so that nothing tells it
            from others of its class without keeping it alive.
    """
    owner, name = walk(obj, path)
    kind = options.kind
    place = _place(owner, name)
    # A decorator's wrapper is enough, and so is another patch's that acts for this owner already: its
    # attribute may be on a base, or on the instance itself. A second one would be a second call.
    layer = layer_of(inspect.getattr_static(owner, name, None), stack, kind)
    if layer is not None:
        by = layer._self_patch
        if by is None or (by.owner is not place and by.options_for(owner) is not None):
            return
    if not isinstance(owner, type | ModuleType):
        # A patch on a class knows its instances by weak references. One that allows none could be kept
        # alive for ever, or mistaken for another object with its id later.
        try:
            weakref.ref(owner)
        except TypeError:
            if place is not owner:
                msg = f"{name_of(owner)} objects cannot be referenced weakly; instrument the class"
                raise TargetError(msg) from None
    try:
        make = CallPatch if issubclass(type(place), type | ModuleType) else OwnPatch
        patch = apply_patch(make, place, name, stack, kind, target=owner, options=options, path=path)
    except (AttributeError, TypeError, ValueError) as error:
        msg = f"{name_of(place)}.{name} cannot be replaced: {error} (target {path!r})"
        raise TargetError(msg) from error
    Undo(obj if root is None else root, stack, owner, patch, path)
