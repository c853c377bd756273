"""
What a value is: a stream, a stream manager, a raw response, or none of them.

Decided by its type, as far as that will do, and never by touching what it holds.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from ..shapes.fields import of_type
from ..shapes.replies import is_raw_type, read_reply

__all__ = ["is_manager", "is_raw", "is_stream", "is_value", "raw_under"]


@of_type
def _is_foreign_proxy(kind: type) -> bool:
    return hasattr(kind, "__object_proxy__") and not hasattr(kind, "__moa_proxy__")


def _kind(value: Any) -> type:
    """Return the type that decides what a value is; a foreign proxy has every method there is."""
    kind = type(value)
    while _is_foreign_proxy(kind):
        value = value.__wrapped__
        kind = type(value)
    return kind


def _is_mock(kind: type) -> bool:
    """Whether it is `unittest.mock`'s: a mock has whatever is asked for, and tests compare it by identity."""
    return hasattr(kind, "mock_calls") and hasattr(kind, "assert_has_calls")


@of_type
def _is_stream_type(kind: type) -> bool:
    return (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and not _is_mock(kind)


@of_type
def _is_entered_type(kind: type) -> bool:
    return not _is_mock(kind) and (hasattr(kind, "__enter__") or hasattr(kind, "__aenter__"))


@of_type
def _is_value_type(kind: type) -> bool:
    odd = _is_foreign_proxy(kind) or _is_stream_type(kind) or _is_entered_type(kind) or is_raw_type(kind)
    return not odd and not hasattr(kind, "add_done_callback") and not issubclass(kind, Awaitable)


def is_value(value: object) -> bool:
    """Whether a value is none of what has to be awaited, entered or read: one question in place of five."""
    return _is_value_type(type(value))


def is_stream(value: object) -> bool:
    """Whether a value is a stream. `__iter__` proves nothing: pydantic's models have it."""
    return _is_stream_type(_kind(value))


def is_manager(value: object) -> bool:
    """Whether a value has to be entered before it is a stream."""
    kind = _kind(value)
    if not _is_entered_type(kind) or _is_stream_type(kind):
        return False
    # A response object that can be closed by `with` is a value: it has its text already.
    return read_reply(value).text is None


def is_raw(value: object) -> bool:
    """Whether a value is an SDK's response around an HTTP response whose body is still to be read."""
    kind = type(value)
    if not is_raw_type(kind) or _is_mock(kind):
        return False
    response = getattr(value, "http_response", None)
    return getattr(response, "is_closed", True) is False and hasattr(response, "__dict__")


def raw_under(value: object) -> Any:
    """Return the raw stream that a helper of an SDK reads (`messages.stream()`), `None` for anything else."""
    kind = _kind(value)
    if hasattr(kind, "__moa_proxy__"):
        return None
    raw = getattr(value, "__dict__", {}).get("_raw_stream")
    return raw if raw is not None and is_stream(raw) and not _is_mock(kind) else None
