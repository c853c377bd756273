"""
What we change of an exception on its way to the caller: our own frames are taken off its traceback, a note is added.

The caller must not see our frames, and they must not keep anything alive. An exception may be a frozen
dataclass, which refuses assignment: what is set here is set by the methods of `BaseException`. Which
exceptions these are, and what is recorded of them, this module must not know.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

__all__ = ["add_note", "drop_frames", "hide_own_frames", "strip_own_frames", "traceback_of"]

_OURS = (__name__.rpartition(".")[0], __name__.partition(".")[0] + ".compat")
"""The packages whose functions run between the user's code and what it calls."""

traceback_of: Callable[[BaseException], TracebackType | None] = vars(BaseException)["__traceback__"].__get__
"""Return an exception's own traceback: its class may have a property of that name, which may raise."""


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception of any class, as its own `add_note` does."""
    try:
        error.add_note(note)
    except Exception:
        # Its class refuses assignment, or has a `__notes__` of its own, which stays as it is.
        if not hasattr(type(error), "__notes__"):
            notes = object.__getattribute__(error, "__dict__").get("__notes__", [])
            BaseException.__setattr__(error, "__notes__", [*notes, note])


def hide_own_frames(error: BaseException, *, everywhere: bool = False) -> None:
    """
    Take our own frames off the head of a traceback, so that a caller sees what it would see without us.

    Call it in an `except` block that ends in a bare `raise`: the interpreter adds the current frame to the
    traceback before the block begins, and not again when the exception goes on. A traceback of our own
    frames only is left as it is, or nothing would say where the exception comes from.

    Args:
        error: The exception.
        everywhere: Take out those between frames of others too, as middleware has them; the last stays.
    """
    trace = traceback_of(error)
    while trace is not None and _is_ours(trace.tb_frame):
        trace = trace.tb_next
    if trace is None:
        return
    BaseException.with_traceback(error, trace)
    while everywhere and trace is not None:
        after = trace.tb_next
        while after is not None and after.tb_next is not None and _is_ours(after.tb_frame):
            after = after.tb_next
        trace.tb_next = after
        trace = after


def strip_own_frames(error: BaseException) -> BaseException:
    """Cut our own frames off the head of a traceback: they hold the exception, a cycle."""
    trace = traceback_of(error)
    while trace is not None and _is_ours(trace.tb_frame):
        trace = trace.tb_next
    return BaseException.with_traceback(error, trace)


def drop_frames(error: BaseException | None) -> None:
    """
    Take the traceback of an exception away, and of what it came from.

    For one that a middleware has answered by sending again: its `except` block, where the flow
    waits, keeps it for as long as the new stream is open. Its frames lead, by `f_back`, to the
    consumer's, which holds that stream; so it would never be dropped.

    An exception that the consumer handles while it makes the call became the `__context__` of this one,
    and is the consumer's: it keeps its traceback, and the link to it is cut.
    """
    running = _running_frames()
    seen: set[int] = set()
    found = [error]
    while found:
        one = found.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            BaseException.with_traceback(one, None)
            if _is_handled_in(_cause_of(one), running):
                _set_cause(one, None)
            if _is_handled_in(_context_of(one), running):
                _set_context(one, None)
            found += (_cause_of(one), _context_of(one))


_cause_of, _set_cause = vars(BaseException)["__cause__"].__get__, vars(BaseException)["__cause__"].__set__
_context_of, _set_context = vars(BaseException)["__context__"].__get__, vars(BaseException)["__context__"].__set__


def _running_frames() -> set[FrameType]:
    """Return the frames that are running in this thread, but for our own."""
    running: set[FrameType] = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not _is_ours(frame):
            running.add(frame)
        frame = frame.f_back
    return running


def _is_handled_in(error: BaseException | None, running: set[FrameType]) -> bool:
    """Return True if an exception was caught by code that has not returned yet, and not by ours."""
    trace = traceback_of(error) if error is not None else None
    return trace is not None and trace.tb_frame in running


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__package__")).startswith(_OURS)
