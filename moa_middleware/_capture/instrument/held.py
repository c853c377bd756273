"""
Functions that others hold since before they were wrapped: where, in the log and for the status.

Who holds a function is looked for when it is wrapped by code, and otherwise when it is asked for:
never on the path of a call.
"""

from __future__ import annotations

import time

from ..log import log
from ..process import this
from .call_patch import CallPatch, unnamed, unsearched
from .holders import places
from .patch import lock, patches_of

__all__ = ["held", "search", "spent"]

_SECONDS = 0.5
"""How long searches may take in a process before they are left to those who ask."""


class _Spent:
    """Seconds that searches took."""

    seconds = 0.0


spent = _Spent()


def search(*, asked: bool = False) -> None:
    """
    Find out who holds the functions that were wrapped since the last time, and log it.

    Args:
        asked: True if somebody wants to know now; else a search is left out when those before took
            half a second together.
    """
    if not unsearched and not unnamed:
        return
    if unsearched and (asked or spent.seconds < _SECONDS):
        with lock:
            patches = list(unsearched)
            unsearched.clear()
        before = time.perf_counter()
        # This list and no other may hold the functions, or it would be found as well.
        functions = [patch.function for patch in patches]
        for patch, found in zip(patches, places(functions), strict=True):
            patch.places += [place for place in found if not patch.is_own(place)]
            unnamed.add(patch)
        spent.seconds += time.perf_counter() - before
    with lock:
        patches = [patch for patch in unnamed if patch.places]
        unnamed.clear()
    for patch in () if this.is_run else patches:
        log("moa.target_held", key=patch.title, target=patch.title, held=_listed(patch.places))


def held(*, look: bool = True) -> dict[str, str]:
    """
    Return each function that is held elsewhere, as a target is written, and where: `app.HANDLERS`.

    Args:
        look: Whether to search for holders that are not known yet.
    """
    if look:
        search(asked=True)
    patches = [patch for patch in patches_of(None) if isinstance(patch, CallPatch) and patch.places]
    return {patch.title: _listed(patch.places) for patch in sorted(patches, key=lambda patch: patch.title)}


_MOST = 5


def _listed(places_: list[str]) -> str:
    more = len(places_) - _MOST
    return ", ".join(places_[:_MOST]) + (f" and {more} more" if more > 0 else "")
