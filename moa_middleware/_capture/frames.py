"""
Our own frames in the tracebacks of exceptions: the caller must not see them, and they must not keep anything alive.

Which exceptions these are, and what is recorded of them, this module must not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["drop_frames", "hide_own_frames", "strip_own_frames"]

_OURS = (__name__.rpartition(".")[0], __name__.partition(".")[0] + ".compat")
"""The packages whose functions run between the user's code and what it calls."""


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
    trace = error.__traceback__
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    if trace is None:
        return
    # Not by assignment: an exception that is a frozen dataclass refuses it.
    BaseException.with_traceback(error, trace)
    while everywhere and trace is not None:
        after = trace.tb_next
        while after is not None and after.tb_next is not None and _is_ours(after):
            after = after.tb_next
        trace.tb_next = after
        trace = after


def strip_own_frames(error: BaseException) -> BaseException:
    """Cut our own frames off the head of a traceback: they hold the exception, a cycle."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    return BaseException.with_traceback(error, trace)


def drop_frames(error: BaseException | None) -> None:
    """
    Take the traceback of an exception away, and of what it came from.

    For one that a middleware has answered by sending again: its `except` block, where the flow
    waits, keeps it for as long as the new stream is open. Its frames lead, by `f_back`, to the
    consumer's, which holds that stream; so it would never be dropped.
    """
    seen: set[int] = set()
    found = [error]
    while found:
        one = found.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            BaseException.with_traceback(one, None)
            found += (one.__cause__, one.__context__)


def _is_ours(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__package__")).startswith(_OURS)
