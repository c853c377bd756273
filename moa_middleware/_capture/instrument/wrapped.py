"""What is wrapped of an object or of a list of names, as dotted paths."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..log import debug
from ..shapes.catalog import SDKS
from . import http
from .grammar import entries_of, read
from .patch import Patch, known_patch, undos_of
from .paths import ITSELF, name_of
from .sdks import instrumented_paths, known_paths, sdk_of
from .targets import asked_for, name_of_module

if TYPE_CHECKING:
    from ..turns.stack_like import StackLike

__all__ = ["log_wrapped", "paths_of"]


def paths_of(obj: Any, stack: StackLike) -> tuple[str, ...]:
    """
    Return what is wrapped of an object, sorted.

    Args:
        obj: An instance, whose class counts too, a class, a module, or a list of names as a string.
        stack: The stack.

    Raises:
        TargetError: A string is malformed.
    """
    kind = type(obj)
    if issubclass(kind, str):
        return tuple(sorted({path for text in entries_of(obj) for path in _of_entry(text, stack)}))
    is_module = issubclass(kind, ModuleType)
    roots = (obj,) if is_module else tuple(obj.__mro__) if issubclass(kind, type) else (obj, *kind.__mro__)
    found: set[str] = set()
    for one in undos_of(stack):
        root = one.root()
        if one.path and any(root is other for other in roots) and _acts(one.by(), one.target()):
            found.add(one.path)
    for root in roots:
        hook: Any = known_patch(root, "__init_subclass__", stack, "subclass")
        if hook is not None:  # what only the instances of a class have
            found.update(path for path, _ in (*hook.methods, *hook.paths))
    name = name_of_module(obj) if is_module else sdk_of(obj)
    if name in http.CLIENTS:
        found.update(http.instrumented_methods(name, stack))
    elif name and ITSELF in found:  # a class of an SDK's clients
        found.update(known_paths(name))
    elif name in SDKS:
        found.update(instrumented_paths(name, stack, None if is_module else obj))
    return tuple(sorted(found - {ITSELF}))


def _acts(by: Any, target: Any) -> bool:
    """Return True if a patch acts for its target."""
    return isinstance(by, Patch) and not by.undone and target is not None and by.options_for(target) is not None


def _of_entry(text: str, stack: StackLike) -> list[str]:
    """Return what is wrapped for one entry of a list."""
    entry = read(text)
    spelt_out, named = asked_for(stack)
    if entry.path is not None:
        return [
            one.target.name for one in spelt_out if one.is_wrapped and one.target.name == f"{entry.name}:{entry.path}"
        ]
    if entry.name in http.CLIENTS:
        return http.instrumented_methods(entry.name, stack)
    if entry.name in SDKS:
        return instrumented_paths(entry.name, stack, None)
    return [one.target.name for one in named.get(entry.name, ()) if one.is_wrapped]


def log_wrapped(obj: Any, stack: StackLike) -> None:
    """Log what was wrapped of an object, at the level debug."""
    name = obj if issubclass(type(obj), str) else name_of(obj)
    debug("moa.instrumented", target=lambda: name, paths=lambda: ", ".join(paths_of(obj, stack)) or "none yet")
