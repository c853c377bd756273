"""
Whether the running code is inside a collection of Python's garbage collector.

Before Python 3.12 a collection may begin at any allocation, also inside `ContextVar.set`, which reads
a table that it does not hold. A generator that the collector closes there, and that sets a variable,
frees the table, and the interpreter crashes (gh-97922 moved collections to between two instructions).
So what is closed by the collector must not set a variable in the context that it interrupts.
"""

from __future__ import annotations

import gc
import sys
from threading import get_ident
from typing import Any

from .process import after_fork

__all__ = ["collecting", "watch"]

_IS_SAFE = sys.version_info >= (3, 12)
_here: set[int] = set()
"""Ids of the threads that are inside a collection; finalizers of one may let other threads run."""


def _noticed(phase: str, _info: Any) -> None:
    if phase == "start":
        _here.add(get_ident())
    else:
        _here.discard(get_ident())


def watch() -> None:
    """Notice collections from now on, where they may begin at any allocation."""
    if not _IS_SAFE and _noticed not in gc.callbacks:
        gc.callbacks.append(_noticed)


def collecting() -> bool:
    """Return True if the collector has called the running code, and that must not set a context variable."""
    return bool(_here) and get_ident() in _here


after_fork(_here.clear)
