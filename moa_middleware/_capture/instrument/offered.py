"""
Names that stand for targets: those of SDKs, of this package, and of other packages.

A name is loaded when it is asked for, and not before: what others offer may be slow to import, or
broken. What is done with it is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import TargetError
from ..log import log
from .sdks import SDKS
from .target import Target

__all__ = ["GROUP", "BrokenTargetError", "known_names", "load"]

GROUP = "moa_middleware.targets"
"""Entry-point group in which another package offers a name."""

_OFFERED = {"hermes": f"{__name__.partition('.')[0]}.compat.hermes:TARGETS"}
"""Names that this package has targets for. By name: they stand on a higher floor."""


def known_names() -> list[str]:
    """Return the names that stand for targets, those that installed packages offer among them."""
    return sorted({*SDKS, *_OFFERED, *(point.name for point in _entry_points())})


def _entry_points(**of: Any) -> Sequence[Any]:
    from importlib.metadata import entry_points

    try:
        return list(entry_points(group=GROUP, **of))
    except Exception as error:  # what is installed is anybody's
        log("moa.target_failed", key=GROUP, target=GROUP, error=type(error).__qualname__)
        return []


class BrokenTargetError(TargetError):
    """What a name stands for cannot be had; the name itself is right."""


def load(name: str) -> list[Any]:
    """
    Return what a name stands for: a target, several, or a callable.

    Raises:
        TargetError: Nobody knows it, or it fails to load.
    """
    loader: Callable[[], Any]
    if name in _OFFERED:
        from importlib.metadata import EntryPoint

        where = _OFFERED[name]
        loader = EntryPoint(name, where, GROUP).load
    else:
        found = _entry_points(name=name)
        if not found:
            msg = f"nobody knows the target {name!r:.80}; known are {', '.join(known_names())}, and pkg.mod:Class.method=role"
            raise TargetError(msg)
        where, loader = found[0].value, found[0].load
    try:
        things = loader()
        things = [*things] if isinstance(things, Sequence) else [things]
        if not all(isinstance(thing, Target) or callable(thing) for thing in things):
            raise TypeError
    except Exception as error:
        msg = f"the target {name!r} cannot be used: {where} raised {type(error).__qualname__}"
        raise BrokenTargetError(msg) from error
    return things
