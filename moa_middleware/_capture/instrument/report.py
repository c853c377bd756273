"""
What was not recorded, and why, as far as it is known: targets never called, and those held elsewhere.

It is said once, at the end of the process: in a line on stderr under `moa run`, and in the log
elsewhere; `moa.status()` says it at any time. A child process says nothing.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..log import log
from ..process import process_id, this
from ..recorder import is_recording, loaded_outbox, state
from ..shapes.catalog import SDKS, is_loaded
from . import held, http, sdks, targets
from .wrapped import log_wrapped

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..turns.stack_like import StackLike
    from .pending import PendingTarget

__all__ = ["Findings", "at_exit", "findings", "in_words", "watch"]

T = TypeVar("T")


class Findings(NamedTuple):
    """
    What was not recorded in this process.

    Attributes:
        unused: Targets that were never called, by name, each with the reason.
        held: Functions that others hold since before they were wrapped, each with the places in words.
        empty: Turns without a call.
        unread: Replies that were not understood.
        imported: SDKs that the program has imported and that are not instrumented, where that may be why calls are missing.
        is_nothing: True if such SDKs are there and no turn at all was recorded.
    """

    unused: dict[str, str]
    held: dict[str, str]
    empty: int
    unread: int
    imported: tuple[str, ...] = ()
    is_nothing: bool = False


def findings(stack: StackLike, *, look: bool = True) -> Findings:
    """
    Return what was not recorded.

    Args:
        stack: The stack whose targets are meant.
        look: Whether to search for holders that are not known yet.
    """
    tally = getattr(loaded_outbox(), "tally", None)
    unused = _unused(stack)
    empty, unread = (tally.empty, tally.unread) if tally is not None else (0, 0)
    is_nothing = tally is None or not (tally.written or tally.refused)
    imported = _imported(stack, unused) if empty or is_nothing else ()
    return Findings(unused, held.held(look=look), empty, unread, imported, is_nothing and bool(imported))


def _imported(stack: StackLike, unused: Collection[str]) -> tuple[str, ...]:
    """Return the SDKs that the program has imported and that are not instrumented."""
    # A program that listens may keep its turns itself. What a child calls is not seen here.
    if not is_recording() or state.listeners or state.on_turn is not None or this.has_children:
        return ()
    _, named = targets.asked_for(stack)
    if any(name in unused for name in named if _is_there(name)):
        return ()  # said there: see `_hint`
    found = [name for name in sorted(SDKS) if is_loaded(name) and not sdks.is_instrumented(name, stack)]
    # litellm imports the openai SDK for itself.
    return tuple(name for name in found if name != "openai" or "litellm" not in sys.modules or "litellm" not in named)


def _unused(stack: StackLike) -> dict[str, str]:
    spelt_out, named = targets.asked_for(stack)
    found = {one.target.name: _why_missing(one) for one in spelt_out if not one.is_imported}
    # While nothing is recorded, calls leave no mark; and what a child calls is not seen here.
    if not is_recording() or this.has_children:
        return found
    found |= {one.target.name: _NEVER for one in spelt_out if one.is_wrapped and not one.is_called}
    # A list of names may be meant for several programs: none of them is missed once another one was called.
    if not any(_is_called(name, things, stack) for name, things in named.items()):
        tally = getattr(loaded_outbox(), "tally", None)
        anything = (tally is not None and tally.written) or any(one.is_called for one in spelt_out)
        for name, things in named.items():
            is_there = _is_there(name) or any(one.is_imported for one in things)
            if is_there:
                found[name] = _NEVER + _hint(named)
            elif not anything:
                found[name] = "was never imported"
    return found


_NEVER = "was never called"


def _is_there(name: str) -> bool:
    return is_loaded(name) if name in SDKS else name in sys.modules


def _is_called(name: str, things: list[PendingTarget], stack: StackLike) -> bool:
    if name in http.CLIENTS:
        return http.was_called(name, stack)
    return sdks.was_called(name, stack) if name in SDKS else any(one.is_called for one in things)


def _why_missing(one: PendingTarget) -> str:
    # `python app.py` runs the module `app` under the name `__main__`, a usual reason why a target of
    # `app:…` was never met; the message says so.
    ran = os.path.splitext(os.path.basename(sys.argv[0]))[0] if sys.argv else ""  # noqa: PTH119, PTH122 - no import
    module = one.target.module
    return f"{module} was run as the script, which is __main__" if module == ran else f"{module} was never imported"


def _hint(named: Collection[str]) -> str:
    """Return which other SDKs the program has imported: litellm does not call the openai SDK for all providers."""
    others = sorted(name for name in SDKS if is_loaded(name) and name not in named)
    return f" ({', '.join(others)} was imported: name it too)" if others else ""


def in_words(found: Findings) -> list[str]:
    """Return the findings in a few words each, none if there is nothing to say."""
    words = ["nothing was recorded"] if found.is_nothing else []
    for name, why in found.unused.items():
        by = f" (the original is in {found.held[name]})" if name in found.held else ""
        words.append(f"{name} {why}{by}" if why.startswith(_WAS) else f"{name}: {why}{by}")
    for name, places in found.held.items():
        if name not in found.unused:
            words.append(f"calls of {name} through {places} are not recorded")
    if found.imported:
        was, it = ("was", "it") if len(found.imported) == 1 else ("were", "them")
        words.append(f"{', '.join(found.imported)} {was} imported: name {it} in --instrument")
    if found.empty:
        words.append(f"{found.empty} turn{'s' * (found.empty > 1)} without a call")
    if found.unread:
        words.append(f"{found.unread} {'reply was' if found.unread == 1 else 'replies were'} not understood")
    return words


_WAS = "was "


def watch(obj: T, stack: StackLike) -> T:
    """Return an object that was instrumented, after a look for those who hold what was wrapped."""
    # Not for a client: many come and go, and each of their calls is made by way of the client.
    kind = type(obj)  # an odd object may raise where it is asked for its class
    if issubclass(kind, str | type | ModuleType):
        held.search()
    if issubclass(kind, str):
        at_exit(stack)
    log_wrapped(obj, stack)
    return obj


_registered: list[int] = []
"""The process that reports at exit: a forked child keeps silent."""


def at_exit(stack: StackLike) -> None:
    """Let the process say at its end what was not recorded, once."""
    if not _registered:
        _registered.append(process_id())
        atexit.register(_say, stack)


def _say(stack: StackLike) -> None:
    if _registered != [process_id()]:
        return
    # The program is over: whatever happens here must not change how it ends.
    with suppress(Exception):
        found = findings(stack)
        if not this.is_run:
            for name, why in found.unused.items():
                log("moa.target_unused", key=name, target=name, error=why)
            return
        words = in_words(found)
        stream = sys.__stderr__
        if words and stream is not None:
            line = "".join(letter if letter.isprintable() else "?" for letter in "; ".join(words))
            stream.write(f"moa run: {line}\n")
            stream.flush()
