"""
What a value is: a stream, a stream manager, or neither.

Decided by its type, never by touching the value.
"""

from __future__ import annotations

from typing import Any

from .shapes.reply import read_reply

__all__ = ["is_manager", "is_stream"]


def _kind(value: Any) -> type:
    """Return the type that decides what a value is; a foreign proxy has every method there is."""
    kind = type(value)
    while hasattr(kind, "__object_proxy__") and not hasattr(kind, "__moa_proxy__"):
        value = value.__wrapped__
        kind = type(value)
    return kind


def _is_mock(kind: type) -> bool:
    """Whether it is `unittest.mock`'s: a mock has whatever is asked for, and tests compare it by identity."""
    return hasattr(kind, "mock_calls") and hasattr(kind, "assert_has_calls")


def is_stream(value: object) -> bool:
    """Whether a value is a stream. `__iter__` proves nothing: pydantic's models have it."""
    kind = _kind(value)
    return (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and not _is_mock(kind)


def is_manager(value: object) -> bool:
    """Whether a value has to be entered before it is a stream."""
    kind = _kind(value)
    if is_stream(value) or _is_mock(kind) or not (hasattr(kind, "__enter__") or hasattr(kind, "__aenter__")):
        return False
    # A response object that can be closed by `with` is a value: it has its text already.
    return read_reply(value).text is None
