"""
Where a dotted path leads, and replacing what is there, with a note of how to undo it.

What one `instrument` did to an object is kept as a list of undoings, weakly by object, so that
`uninstrument` leaves every attribute as it was.
"""

from __future__ import annotations

import inspect
import weakref
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from ...errors import TargetError
from ..calls.entry import layer_of
from .patch import Patch, locked, patch_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..calls.entry import Engine
    from ..calls.function import Options

__all__ = ["ITSELF", "Done", "is_later", "name_of", "undo", "walk", "wrap_at"]

ITSELF = ""
"""The path of a class of an SDK's clients: each instance is a client, as if it had been named."""

_HEAP_TYPE = 1 << 9
_IMMUTABLE_TYPE = 1 << 8
"""Flags of a class, see `PyTypeObject.tp_flags`: attributes of other classes cannot be set."""


class Done:
    """One thing that was done for an object: a patch acts for a target since, or an SDK for a client."""

    __slots__ = ("engine", "patch", "root", "take_back", "target")

    def __init__(
        self,
        root: Any,
        engine: Engine,
        target: Any,
        *,
        patch: Patch | None = None,
        take_back: Callable[[Any], object] | None = None,
    ) -> None:
        key = id(self)
        self.root = _weak(root)
        self.engine = engine
        self.target = _weak(target, lambda _: _done.pop(key, None))
        self.patch: Callable[[], Patch | None] = weakref.ref(patch) if patch is not None else lambda: None
        self.take_back = take_back
        """Undoes it for the target, where no patch says it all."""
        _done[key] = self

    def undo(self) -> None:
        """Undo it, if its target is still there."""
        patch, target = self.patch(), self.target()
        if target is not None and self.take_back is not None:
            self.take_back(target)
        elif target is not None and patch is not None:
            patch.revoke(target)


_done: dict[int, Done] = {}


def _weak(obj: Any, gone: Callable[[Any], object] | None = None) -> Callable[[], Any]:
    try:
        return weakref.ref(obj, gone)
    except TypeError:
        return lambda: obj


def name_of(obj: Any) -> str:
    if isinstance(obj, ModuleType):
        return obj.__name__.rpartition(".")[2]
    return obj.__qualname__.rpartition(".")[2] if isinstance(obj, type) else type(obj).__name__


def walk(obj: Any, path: str) -> tuple[Any, str]:
    """
    Return the owner and the name of what a dotted path leads to.

    Raises:
        TargetError: It leads nowhere, to something that cannot be called, or through something
            that is another object each time.
    """
    *steps, name = path.split(".")
    owner, so_far, fresh = obj, name_of(obj), ""
    for step in steps:
        found = _step(owner, step, so_far, path)
        so_far = f"{so_far}.{step}"
        if found is not getattr(owner, step):
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


def is_later(obj: Any, path: str) -> bool:
    """Whether a path of a class begins at an attribute that only its instances have."""
    first, _, rest = path.partition(".")
    if not isinstance(obj, type) or not rest:
        return path == ITSELF
    there = inspect.getattr_static(obj, first, None)
    # A property, a slot, a cached property: the class has it, but not what it leads to.
    method = isinstance(there, FunctionType | classmethod | staticmethod)
    return there is None or (hasattr(type(there), "__get__") and not method)


def _place(owner: Any, name: str) -> Any:
    """
    Return where an attribute is to be replaced: where it is defined, if that will do.

    So there is one layer, whether the class, a base or an instance is named, and in what order.
    """
    if isinstance(owner, ModuleType) or name in getattr(owner, "__dict__", {}):
        return owner
    kind = owner if isinstance(owner, type) else type(owner)
    where = next((cls for cls in kind.__mro__ if name in vars(cls)), None)
    if where is None or not where.__flags__ & _HEAP_TYPE or where.__flags__ & _IMMUTABLE_TYPE:
        return owner
    # These do not tell the wrapper for whom they were called.
    unbound = staticmethod if isinstance(owner, type) else (staticmethod, classmethod)
    return owner if isinstance(vars(where)[name], unbound) else where


def wrap_at(obj: Any, path: str, engine: Engine, options: Options, *, root: Any = None) -> None:
    """
    Wrap what a path leads to; `uninstrument(root)` undoes it, that is `obj` unless it is named.

    Raises:
        TargetError: See `walk`; or the object can be told apart from others of its class by
            nothing that would not keep it alive.
    """
    owner, name = walk(obj, path)
    kind = options.kind
    place = _place(owner, name)
    layer = layer_of(inspect.getattr_static(owner, name, None), engine, kind)
    if layer is not None:
        by = layer._self_patch
        if by is None or (by.owner is not place and by.options_for(owner) is not None):
            return  # decorated already, where it is defined
    if not isinstance(owner, type | ModuleType):
        try:
            weakref.ref(owner)
        except TypeError:
            if place is not owner:
                msg = f"{name_of(owner)} objects cannot be referenced weakly; instrument the class"
                raise TargetError(msg) from None
    with locked():
        try:
            patch = patch_for(place, name, engine, kind=kind, path=path)
        except (AttributeError, TypeError, ValueError) as error:
            msg = f"{name_of(place)}.{name} cannot be replaced: {error} (target {path!r})"
            raise TargetError(msg) from error
        patch.allow(owner, options)
    Done(obj if root is None else root, engine, owner, patch=patch)


def undo(obj: Any, engine: Engine, which: Callable[[Done], bool] | None = None) -> None:
    """
    Undo what was done for an object, the latest first.

    Args:
        obj: The object, `None` for everything of this stack's.
        engine: The stack.
        which: Tells what of it to undo; everything without it.
    """
    for key, done in reversed(list(_done.items())):
        if done.engine is engine and (obj is None or done.root() is obj) and (which is None or which(done)):
            _done.pop(key, None)
            done.undo()
