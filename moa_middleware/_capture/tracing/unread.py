"""Replies that were not understood: named in the log, with what to do. Never their content."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..log import log

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["log_unread"]


def log_unread(calls: Iterable[Mapping[str, Any] | None]) -> None:
    """Log the type of each reply that was not understood, each type once a minute; `calls` are records, or None."""
    for fields in calls:
        raw = fields.get("raw") if fields is not None else None
        if raw is not None and raw["type"]:
            log("moa.unread_reply", key=raw["type"], type=raw["type"], fix=_fix(raw["type"]))


def _fix(name: str) -> str:
    """Return what to do about a type that is not understood."""
    module, _, cls = name.rpartition(".")
    if module.partition(".")[0] in sys.stdlib_module_names:
        # All other objects of the class would be read by the same function.
        return "return a text, or an object of a class that moa.register_shape knows"
    return f"moa.register_shape({cls}, chunk=…, reply=…)"
