"""
What a value is: a stream, a stream manager, a raw response, a future, an awaitable, or a plain value.

Decided by its type where that is enough, and never by reading what the value holds.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import lru_cache
from inspect import CO_ITERABLE_COROUTINE, isawaitable
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Literal, cast

from ..shapes.fields import of_type
from ..shapes.replies import is_raw_type, read_reply

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Kind",
    "is_awaitable",
    "is_future",
    "is_manager",
    "is_raw",
    "is_stream",
    "is_value",
    "kind_of",
    "outcome_of_future",
    "underlying_stream",
]

Kind = Literal["value", "awaitable", "manager", "future", "raw", "stream"]


@of_type
def _is_foreign_proxy(kind: type) -> bool:
    return hasattr(kind, "__object_proxy__") and not hasattr(kind, "__moa_proxy__")


def _unwrapped_type(value: Any) -> type:
    """Return the type of what a foreign proxy wraps: the proxy's own type has every method there is."""
    kind = type(value)
    while _is_foreign_proxy(kind):
        value = value.__wrapped__
        kind = type(value)
    return kind


def _is_mock(kind: type) -> bool:
    """Return True if it is a class of `unittest.mock`: a mock has any attribute, and tests compare it by identity."""
    return hasattr(kind, "mock_calls") and hasattr(kind, "assert_has_calls")


@of_type
def _is_stream_type(kind: type) -> bool:
    return (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and not _is_mock(kind)


@of_type
def _is_entered_type(kind: type) -> bool:
    return (hasattr(kind, "__enter__") or hasattr(kind, "__aenter__")) and not _is_mock(kind)


@of_type
def _is_future_type(kind: type) -> bool:
    return hasattr(kind, "add_done_callback")


def _judged(kind: type) -> Kind | None:
    """Return the kind of every object of a type, `None` if each object has to be judged by itself."""
    if _is_foreign_proxy(kind):
        return None
    is_future = _is_future_type(kind)
    if issubclass(kind, Awaitable) and not is_future:
        return "awaitable"
    is_stream = _is_stream_type(kind)
    is_raw = is_raw_type(kind)
    if (_is_entered_type(kind) and not is_stream) or (is_raw and not is_future):
        return None
    if is_future:
        return "future"
    return "stream" if is_stream else "value"


_kind_of_type = cast("Callable[[type], Kind | None]", lru_cache(maxsize=512)(_judged))


def kind_of(value: object) -> Kind:
    """Return what a value is; of several kinds the first that has to be dealt with."""
    if type(value) is GeneratorType:
        # `types.coroutine` makes generators that are awaited; only the code object says which.
        return "awaitable" if value.gi_code.co_flags & CO_ITERABLE_COROUTINE else "stream"
    return _kind_of_type(type(value)) or _kind_of_object(value)


def _kind_of_object(value: object) -> Kind:
    if is_awaitable(value):
        return "awaitable"
    if is_manager(value):
        return "manager"
    if is_future(value):
        return "future"
    if is_raw(value):
        return "raw"
    return "stream" if is_stream(value) else "value"


def is_value(value: object) -> bool:
    """Return True if a value can be read right away, as far as its type tells."""
    return _kind_of_type(type(value)) == "value"


def is_awaitable(value: object) -> bool:
    """Return True if a value has to be awaited before there is a reply."""
    return isawaitable(value) and not is_future(value)


def is_future(value: object) -> bool:
    """Return True if a value is a Task or Future, which goes back to the caller as the same object."""
    return _is_future_type(type(value))


def outcome_of_future(future: Any) -> tuple[Any, BaseException | None]:
    """Return the result of a future that is done, or its exception."""
    # Asking `exception()` would mark it as retrieved, and asyncio would not warn that nobody retrieved it.
    error = getattr(future, "_exception", None)
    if isinstance(error, BaseException):
        return None, error
    try:
        return future.result(), None
    except BaseException as error:
        return None, error


def is_stream(value: object) -> bool:
    """Return True if a value is a stream. `__iter__` proves nothing: pydantic's models have it."""
    return _is_stream_type(_unwrapped_type(value))


def is_manager(value: object) -> bool:
    """Return True if a value has to be entered before it is a stream."""
    kind = _unwrapped_type(value)
    if not _is_entered_type(kind) or _is_stream_type(kind):
        return False
    # A response object that can be closed by `with` is a value: it has its text already.
    return read_reply(value).text is None


def is_raw(value: object) -> bool:
    """Return True if a value is an SDK's response around an HTTP response whose body is still to be read."""
    kind = type(value)
    if not is_raw_type(kind) or _is_mock(kind):
        return False
    response = getattr(value, "http_response", None)
    return getattr(response, "is_closed", True) is False and hasattr(response, "__dict__")


def underlying_stream(value: object) -> Any:
    """Return the raw stream that a helper of an SDK reads (`messages.stream()`), None for anything else."""
    raw = getattr(value, "__dict__", {}).get("_raw_stream")
    if raw is None:
        return None
    kind = _unwrapped_type(value)
    return raw if is_stream(raw) and not _is_mock(kind) and not hasattr(kind, "__moa_proxy__") else None
