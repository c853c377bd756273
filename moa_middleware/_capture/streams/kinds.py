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

from ..shapes.fields import answers_to_every_name, of_type
from ..shapes.replies import is_raw_type, read_reply
from .http_reply import HttpReply
from .stream_types import (
    body_attribute,
    is_foreign_proxy,
    is_mock,
    is_stream,
    is_stream_type,
    underlying_stream,
    unwrapped_type,
)

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
def _is_entered_type(kind: type) -> bool:
    return (hasattr(kind, "__enter__") or hasattr(kind, "__aenter__")) and not is_mock(kind)


@of_type
def _is_future_type(kind: type) -> bool:
    return hasattr(kind, "add_done_callback") and not answers_to_every_name(kind)


def _judged(kind: type) -> Kind | None:
    """Return the kind of every object of a type, `None` if each object has to be judged by itself."""
    if is_foreign_proxy(kind):
        return None  # whatever it wraps
    is_future = _is_future_type(kind)
    if issubclass(kind, Awaitable) and not is_future:
        return "awaitable"
    if body_attribute(kind) == "response":
        return "value"  # Flask's can be closed by `with`, and is a response all the same
    is_stream = is_stream_type(kind)
    is_raw = is_raw_type(kind)
    if (_is_entered_type(kind) and not is_stream) or (is_raw and not is_future):
        # An object with `__enter__` may have its text already, a raw response its body: each is a value
        # then. The order of the questions is that of `_kind_of_object`, which reads the object.
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
    try:
        return _kind_of_type(type(value)) or _kind_of_object(value)
    except Exception:  # of a metaclass that refuses to be asked, or to be hashed
        return "value"


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
    """Return True if a value can be read right away, as far as its type shows."""
    try:
        return _kind_of_type(type(value)) == "value"
    except Exception:
        return True  # as above


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


def is_manager(value: object) -> bool:
    """Return True if a value has to be entered before it is a stream."""
    kind = unwrapped_type(value)
    if not _is_entered_type(kind) or is_stream_type(kind):
        return False
    # A response object that can be closed by `with` is a value: it has its text already.
    return read_reply(value).text is None


def is_raw(value: object) -> bool:
    """Return True if a value is an SDK's response around an HTTP response whose body is still to be read."""
    kind = type(value)
    if not is_raw_type(kind) or is_mock(kind):
        return False
    if issubclass(kind, HttpReply):
        return bool(value.is_open)  # type: ignore[attr-defined]  # it is one
    response = getattr(value, "http_response", None)
    return getattr(response, "is_closed", True) is False and hasattr(response, "__dict__")
