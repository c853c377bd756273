"""
The names of targets: those of the SDKs, of this package, and those that other packages offer.

What others offer may be slow to import, or broken, so a name is loaded when it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import TargetError
from ..log import log
from ..shapes.catalog import SDKS
from ..shapes.http_request import HTTP_CLIENTS
from .target import Target

__all__ = ["GROUP", "BrokenTargetError", "choices", "known_names", "load"]

GROUP = "moa_middleware.targets"
"""Entry-point group in which another package offers a name."""

_OFFERED = {"hermes": f"{__name__.partition('.')[0]}.compat.hermes:TARGETS"}
"""Names that this package has targets for. Not imported: they are on a higher floor."""


class BrokenTargetError(TargetError):
    """The name is known, but its targets cannot be loaded or used."""


def known_names() -> list[str]:
    """Return the names of targets, those of installed packages included."""
    return sorted({*SDKS, *HTTP_CLIENTS, *_OFFERED, *(point.name for point in _entry_points())})


def choices() -> str:
    """Return the end of an error: what may be written."""
    return f"choose from {', '.join(known_names())}, or write pkg.mod:Class.method=role"


def _entry_points(**of: Any) -> Sequence[Any]:
    from importlib.metadata import entry_points

    try:
        return list(entry_points(group=GROUP, **of))
    except Exception as error:  # the metadata of any installed package may be broken
        log("moa.target_failed", key=GROUP, target=GROUP, error=type(error).__qualname__)
        return []


def load(name: str) -> list[Any]:
    """
    Return the targets and callables that a name means.

    Raises:
        TargetError: The name is unknown, or it fails to load.
    """
    if name in _OFFERED:
        from importlib.metadata import EntryPoint

        found: Sequence[Any] = [EntryPoint(name, _OFFERED[name], GROUP)]
    else:
        found = _entry_points(name=name)
    if not found:
        msg = f"unknown target {name!r:.80}; {choices()}"
        raise TargetError(msg)
    try:
        things = found[0].load()
        things = [*things] if isinstance(things, Sequence) else [things]
        if not all(isinstance(thing, Target) or callable(thing) for thing in things):
            raise TypeError
    except Exception as error:
        msg = f"the target {name!r} cannot be used: {found[0].value} raised {type(error).__qualname__}"
        raise BrokenTargetError(msg) from error
    return things
