"""
Further names of a function that was wrapped: those of its own package and of the program are wrapped too.

`from utils import ask` and `def run(fn=ask)` hold the function itself, so they still call the original
after `utils.ask` has become a wrapper. Module globals and defaults are names, which Python would have
bound to the wrapper had it been there; they are bound to it now, if they hold the very same object.
A function of an SDK is imported by name everywhere, also by frameworks: all modules but the SDK's own
are searched for that. What others keep (registries, routes, instances) is theirs: it is named
(`holders`), and not touched.
"""

from __future__ import annotations

import sys
import weakref
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from ..shapes.catalog import sdk_of_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Aliases", "globals_of", "modules"]

_DEPTH = 5
"""Classes inside classes, and wrappers around functions, that are looked through."""


def globals_of(module: ModuleType) -> dict[str, Any]:
    """Return a module's globals without running its code: a lazy module would load itself."""
    found: dict[str, Any] = ModuleType.__getattribute__(module, "__dict__")
    return found


def modules() -> list[tuple[str, ModuleType]]:
    """Return every module that is loaded, with its name in `sys.modules`."""
    # `sys.modules` may hold anything; `__main__` may be there under a second name.
    return [(name, one) for name, one in sys.modules.copy().items() if issubclass(type(one), ModuleType)]


class Aliases:
    """
    The names that were bound to a wrapper, and those that still hold the original.

    Args:
        original: The function.
        wrapper: What takes its place.
        package: Top-level package whose names are bound to the wrapper; those of the program are
            too. `None` for the program's alone.
        sdk: Name of the SDK that the function is of, "" if it is of none. Then every module's names
            are bound to the wrapper, but the SDK's own.
    """

    def __init__(self, original: Any, wrapper: Any, package: str | None, *, sdk: str = "") -> None:
        self.wrapper = wrapper
        self.count = 0
        """How many names were bound to it."""
        self.others: list[str] = []
        """Names of modules of other packages that hold the original, as `pkg.mod.name`."""
        self._undo: list[tuple[Callable[[], Any], str]] = []
        """Modules and functions, held weakly, each with the global's name, "" for defaults."""
        mine, sought = _Program(package), {id(original)}
        own: list[dict[str, Any]] = []
        for where, module in modules():
            names = globals_of(module)
            is_own = mine.has(where, names)
            if is_own:
                own.append(names)
            if sought.isdisjoint(map(id, list(names.values()))):
                continue
            is_user = bool(sdk) and not is_own and sdk_of_module(where) != sdk and where.partition(".")[0] != _OURS
            if is_user:
                own.append(names)
            for name in [name for name, value in list(names.items()) if value is original]:
                if is_own or is_user:
                    names[name] = wrapper
                    self._undo.append((weakref.ref(module), name))
                    self.count += 1
                else:
                    self.others.append(f"{where}.{name}")
        scopes = set(map(id, own))
        for fn in _functions(own):
            if id(fn.__globals__) in scopes:
                found = _rebind(fn, original, wrapper)
                self.count += found
                if found:
                    self._undo.append((weakref.ref(fn), ""))

    def undo(self, original: Any) -> None:
        """Bind the names that still have the wrapper to what was there before."""
        for reference, name in self._undo:
            holder = reference()
            if isinstance(holder, FunctionType):
                _rebind(holder, self.wrapper, original)
            elif holder is not None:
                names = globals_of(holder)
                if names.get(name) is self.wrapper:
                    names[name] = original
        self._undo = []


class _Program:
    """Which modules are the target's package or the program: its `__main__`, the package of that, its directory."""

    def __init__(self, package: str | None) -> None:
        main = sys.modules.get("__main__")
        names = globals_of(main) if isinstance(main, ModuleType) else {}
        self._main = names
        self._packages = {package or "", str(names.get("__package__") or "").partition(".")[0]} - {""}
        file = names.get("__file__")
        # The directory itself and not those below it: an environment with installed packages may be there.
        self._directory = _directory_of(file) if isinstance(file, str) else None

    def has(self, name: str, names: dict[str, Any]) -> bool:
        """Return True if a module is one of them."""
        if names is self._main or name.partition(".")[0] in self._packages:
            return True
        file = names.get("__file__")
        return self._directory is not None and isinstance(file, str) and _directory_of(file) == self._directory


def _directory_of(file: str) -> str:
    """Return the directory of a file as a string; two modules of one directory have equal ones."""
    import os.path

    return os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120 - quicker, for thousands of modules


def _functions(own: list[dict[str, Any]]) -> Iterator[FunctionType]:
    """Return the functions of modules and of their classes, each once."""
    seen: set[int] = set()
    stack = [(value, 0) for names in own for value in list(names.values())]
    while stack:
        value, depth = stack.pop()
        if id(value) in seen or depth > _DEPTH:
            continue
        kind = type(value)
        if kind is FunctionType:
            seen.add(id(value))
            yield value
            stack.append((value.__dict__.get("__wrapped__"), depth + 1))
        elif kind is staticmethod or kind is classmethod:
            stack.append((value.__func__, depth + 1))
        elif kind is property:
            stack += ((one, depth + 1) for one in (value.fget, value.fset, value.fdel))
        elif issubclass(kind, type):
            seen.add(id(value))
            stack += ((one, depth + 1) for one in list(type.__getattribute__(value, "__dict__").values()))
        elif kind.__module__.startswith(_OURS) and kind.__name__ == "Instrumented":
            stack.append((value.__wrapped__, depth + 1))


_OURS = __name__.partition(".")[0]


def _rebind(fn: FunctionType, old: Any, new: Any) -> int:
    """Replace an object among a function's defaults; returns how often it was there."""
    count = 0
    defaults, by_name = fn.__defaults__, fn.__kwdefaults__
    if defaults is not None and any(value is old for value in defaults):
        fn.__defaults__ = tuple(new if value is old else value for value in defaults)
        count += sum(value is old for value in defaults)
    if by_name is not None:
        for name in [name for name, value in list(by_name.items()) if value is old]:
            by_name[name] = new
            count += 1
    return count
