"""
The end of the interpreter: the package's modules stay whole while Python takes all modules apart.

What the program's own finalisers call then finds everything that it finds before.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["at_teardown", "guard"]

_PACKAGE = __name__.partition(".")[0]
_NAME = f"{_PACKAGE}.<the end of the interpreter>"
"""The guard's key in `sys.modules`, which no import can ask for."""
_CACHE: Any = type(lru_cache(int))
_first: list[Callable[[], object]] = []
_last: list[Callable[[], object]] = []


# At its end Python sets each entry of `sys.modules` to `None`, remembers the modules that are still used, and
# then sets each variable of these to `None`, the last imported first. A decorated function that is called by a
# `__del__` after that would find `None` in place of our functions, and raise a TypeError where the bare function
# returns. To ask `sys.is_finalizing()` in each call would cost every call of every program, and would be too
# careful: finalisers run before any variable is gone, too, and their calls can be recorded.
#
# So the guard is an entry of its own, before those of our modules. Python removes it first, which deletes it, as
# nothing else holds it. It then sets our own entries to `None` itself: Python does not find the modules, remembers
# none of them, and leaves their variables alone. They go with the last function that uses them.
# (`finalize_remove_modules` and `finalize_modules_clear_weaklist` in CPython's Python/pylifecycle.c, the same from
# 3.11 to 3.15; tests/system/faults/test_shutdown.py.)
class _Guard(ModuleType):
    """The entry that is removed first. A module, since programs look for attributes of each in `sys.modules`."""

    def __del__(
        self,
        entries: dict[str, Any] = sys.modules,
        prefix: str = _PACKAGE + ".",
        is_finalizing: Any = sys.is_finalizing,
        tasks: list[Callable[[], object]] = _first,
        cache: Any = _CACHE,
    ) -> None:
        # Who clears `sys.modules` in the middle of a program, as tests do, means something else. Values are
        # replaced and none is added or removed: Python is in the middle of a loop over this dictionary.
        if is_finalizing():
            for name in list(entries):
                if name.startswith(prefix):
                    # Caches hold classes of the program, and these whatever their modules hold.
                    for value in list(getattr(entries[name], "__dict__", {}).values()):
                        if type(value) is cache:
                            value.cache_clear()
                    entries[name] = None
            for task in tasks:
                task()


def guard() -> None:
    """Put the guard into `sys.modules`; the modules that are imported afterwards are guarded."""
    sys.modules.setdefault(_NAME, _Guard(_NAME, _Guard.__doc__))


# What the program has handed to us, a writer for example, has to be let go of in time: its own `__del__` may flush
# a buffer. This module is imported before the guard, so Python clears its variables when their turn comes: after
# those of whatever was imported later. The reference to itself keeps it until then.
class _End:
    """A variable of this module that is cleared with the others."""

    def __del__(self, is_finalizing: Any = sys.is_finalizing, tasks: list[Callable[[], object]] = _last) -> None:
        if is_finalizing():
            for task in tasks:
                task()


_end = _End()
_this = sys.modules[__name__]


def at_teardown(fn: Callable[[], object], *, last: bool = False) -> None:
    """
    Call `fn` when Python takes its modules apart: after all functions of `atexit`. It can import nothing.

    Args:
        fn: The function.
        last: Call it when the variables of most modules are gone, and not before all of that.
    """
    (_last if last else _first).append(fn)
