"""
Which types are streams, and one class of ours for each of them.

A stream has `__next__` or `__anext__`. `__iter__` proves nothing: pydantic's models have it. botocore's event
streams have nothing else, and are known by their class.
"""

from __future__ import annotations

import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from ..shapes.fields import is_mock, of_type

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "body_attribute",
    "is_async_stream",
    "is_event_stream",
    "is_file_body",
    "is_foreign_proxy",
    "is_mock",
    "is_stream",
    "is_stream_type",
    "iterator_of",
    "names_of",
    "one_per_type",
    "underlying_stream",
    "unwrapped_type",
]


@of_type
def is_foreign_proxy(kind: type) -> bool:
    """Return True if it is a class of `wrapt`'s proxies, and none of ours."""
    return hasattr(kind, "__object_proxy__") and not hasattr(kind, "__moa_proxy__")


def unwrapped_type(value: Any) -> type:
    """Return the type of what a foreign proxy wraps."""
    # The class of such a proxy has every special method, whatever it wraps, so it says nothing. Ours
    # have those of the wrapped type only (`proxy_class`), and are judged by themselves.
    kind = type(value)
    while is_foreign_proxy(kind):
        value = value.__wrapped__
        kind = type(value)
    return kind


@of_type
def is_stream_type(kind: type) -> bool:
    """Return True if objects of a type are streams."""
    is_read = hasattr(kind, "__next__") or hasattr(kind, "__anext__") or is_event_stream(kind)
    return is_read and not is_mock(kind)


@of_type
def is_event_stream(kind: type) -> bool:
    """Return True if it is botocore's class of event streams, which has `__iter__` alone, or one derived from it."""
    return any(cls.__name__ == "EventStream" and cls.__module__ == "botocore.eventstream" for cls in kind.__mro__)


@of_type
def is_file_body(kind: type) -> bool:
    """Return True if it is botocore's class of file-like bodies, or one derived from it, such as aiobotocore's."""
    return any(cls.__name__ == "StreamingBody" and cls.__module__ == "botocore.response" for cls in kind.__mro__)


def is_stream(value: object) -> bool:
    """Return True if a value is a stream."""
    return is_stream_type(unwrapped_type(value))


def is_async_stream(stream: Any) -> bool:
    """Return True if a stream is read in async code."""
    if is_event_stream(type(stream)):
        return hasattr(stream, "__aiter__")
    return not hasattr(stream, "__next__")


def iterator_of(stream: Any) -> Any:
    """Return what has the steps of a stream: an iterator of botocore's event streams, any other itself."""
    if not is_event_stream(type(stream)):
        return stream
    return aiter(stream) if hasattr(stream, "__aiter__") else iter(stream)


def underlying_stream(value: object) -> Any:
    """Return the raw stream that a helper of an SDK reads (`messages.stream()`), None for anything else."""
    raw = getattr(value, "__dict__", {}).get("_raw_stream")
    if raw is None:
        return None
    kind = unwrapped_type(value)
    # botocore's own streams hold the response of the HTTP library under that name.
    if is_event_stream(kind) or is_file_body(kind):
        return None
    return raw if is_stream(raw) and not is_mock(kind) and not hasattr(kind, "__moa_proxy__") else None


def one_per_type(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let a function make one class for each type that it is given, as long as that type lives."""
    classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()

    def class_for(kind: Any) -> Any:
        found = classes.get(kind)
        if found is None:
            found = classes[kind] = make(kind)
        return found

    return class_for


def names_of(kind: type) -> set[str]:
    """Return the names that a class and its bases define."""
    # `hasattr` of a class finds the methods of its metaclass too: every class has a `__call__` then.
    return {name for cls in kind.__mro__ for name in vars(cls)}


# Web responses whose body is made later. The names are from the sources of Starlette 1.10 (the responses of
# FastAPI and sse-starlette are subclasses), Werkzeug 3.1 (Flask), Quart 0.22, Django 5.2 and WebOb 1.8 (Pyramid).
_ATTRIBUTES = {
    "implicit_sequence_conversion": "response",  # Werkzeug and Quart
    "streaming_content": "_iterator",  # Django
    "app_iter": "_app_iter",  # WebOb
    "__call__": "body_iterator",  # Starlette, whose class does not have the name of the attribute
}
"""A name that the class has, and the attribute of the object that holds the iterator; the first one counts."""


@lru_cache(maxsize=512)
def _attribute_of(kind: type) -> str | None:
    if is_mock(kind):
        return None
    names = names_of(kind)
    return next((attribute for name, attribute in _ATTRIBUTES.items() if name in names), None)


# As `fields.of_type`: a C call, once a type is known. It is made for each value that a turn returns.
body_attribute = cast("Callable[[type], str | None]", _attribute_of)
"""Return the attribute in which responses of a type may hold an iterator, `None` for types that are no response."""
