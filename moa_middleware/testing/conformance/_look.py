"""What a caller can find out about an object and an exception: as plain values, to be compared between runs."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Generator,
    Iterable,
    Iterator,
    Sized,
)
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._harness import ClientHarness

__all__ = ["describe", "describe_function", "error_of", "name_of", "walk"]

_FORMS = (Iterable, Iterator, Generator, AsyncIterable, AsyncIterator, AsyncGenerator, Awaitable, Sized)
_ASKED = (
    *(
        "__iter__",
        "__next__",
        "__aiter__",
        "__anext__",
        "__enter__",
        "__exit__",
        "__aenter__",
        "__aexit__",
        "__await__",
    ),
    *("close", "aclose", "send", "throw", "asend", "athrow"),
    *("response", "choices", "content", "text", "headers", "parse"),
)


def name_of(kind: type) -> str:
    """Return the name of a class with its module, but for built-in ones."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def describe(obj: Any, harness: ClientHarness) -> dict[str, object]:
    """
    Return what `isinstance`, `hasattr`, `dir` and the like say of an object.

    Not `type(obj)`: that of a proxy is its own. What callers ask is `isinstance`, which asks
    `__class__`.
    """
    found: dict[str, object] = {"__class__": name_of(obj.__class__), "callable": callable(obj)}
    for form in _FORMS:
        found[f"isinstance {form.__name__}"] = isinstance(obj, form)
    for kind in harness.classes:
        found[f"isinstance {name_of(kind)}"] = isinstance(obj, kind)
    for name in (*_ASKED, *harness.attributes):
        found[f"hasattr {name}"] = _has(obj, name)
    found["inspect.isgenerator"] = inspect.isgenerator(obj)
    found["inspect.isasyncgen"] = inspect.isasyncgen(obj)
    found["inspect.iscoroutine"] = inspect.iscoroutine(obj)
    found["dir"] = tuple(name for name in dir(obj) if not name.startswith("_"))
    return found


def _has(obj: Any, name: str) -> object:
    """Return what `hasattr` says; a property may raise what is no `AttributeError`."""
    try:
        return hasattr(obj, name)
    except Exception as error:
        return f"raises {name_of(type(error))}"


def describe_function(function: Any) -> dict[str, object]:
    """Return what introspection says of a function or method."""
    return {
        "__name__": getattr(function, "__name__", None),
        "__qualname__": getattr(function, "__qualname__", None),
        "__module__": getattr(function, "__module__", None),
        "__doc__": getattr(function, "__doc__", None),
        "signature": str(inspect.signature(function)),
        "inspect.ismethod": inspect.ismethod(function),
        "inspect.iscoroutinefunction": inspect.iscoroutinefunction(function),
        "inspect.isgeneratorfunction": inspect.isgeneratorfunction(function),
        "inspect.isasyncgenfunction": inspect.isasyncgenfunction(function),
    }


def error_of(error: BaseException, harness: ClientHarness) -> tuple[object, object, object, object]:
    """Return class, message, notes and cause of an exception."""
    cause = error.__cause__
    notes = tuple(harness.clean(note) for note in getattr(error, "__notes__", ()))
    return name_of(type(error)), harness.clean(str(error)), notes, None if cause is None else name_of(type(cause))


def walk(obj: Any, path: str) -> tuple[Any, str]:
    """Return the owner and the name of what a dotted path leads to."""
    *steps, name = path.split(".")
    for step in steps:
        obj = getattr(obj, step)
    return obj, name
