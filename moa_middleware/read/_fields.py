"""
Views of JSON objects: frozen, slotted, with every unknown key kept.

A view reads a key when it is asked for it, so that a figure over a million calls pays for the few
keys that it needs. A value of another type than its key has is `None`, never an exception: a file
may hold anything. `TurnView.raw` has what was truly there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Field", "View", "flag", "items", "mapping", "number", "text", "texts", "whole"]

T = TypeVar("T")

_LARGEST = 1e100
"""No price, moment or duration is beyond; sums of what is below stay numbers."""
_LONGEST = 2**63
"""No count is beyond; larger ones need not be summed, nor written with thousands of figures."""


class View:
    """One JSON object; keys are attributes, and nothing can be set."""

    __slots__ = ("_data",)
    _data: Mapping[str, Any]
    _known: frozenset[str] = frozenset()

    def __init__(self, data: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_data", data)

    def __init_subclass__(cls) -> None:
        """Gather the keys that are known."""
        cls._known = cls._known | {one.key for one in vars(cls).values() if isinstance(one, Field)}

    def __setattr__(self, name: str, value: object) -> None:
        msg = f"{type(self).__name__}.{name} cannot be set: what was recorded does not change"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> None:
        msg = f"{type(self).__name__}.{name} cannot be deleted: what was recorded does not change"
        raise AttributeError(msg)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._data == self._data

    def __hash__(self) -> int:
        return hash((type(self), len(self._data), repr(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._data,)

    @property
    def extra(self) -> Mapping[str, Any]:
        """The keys that this version does not know, with their values."""
        return {key: value for key, value in self._data.items() if key not in self._known}

    def as_dict(self) -> dict[str, Any]:
        """Return the object as it was read, late calls joined; the values are shared, not copied."""
        return dict(self._data)


class Field(Generic[T]):
    """A key of a view, and how its value is read."""

    __slots__ = ("key", "read")

    def __init__(self, read: Callable[[Any], T]) -> None:
        self.read = read
        self.key = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.key = name

    @overload
    def __get__(self, view: None, owner: type) -> Field[T]: ...
    @overload
    def __get__(self, view: View, owner: type) -> T: ...
    def __get__(self, view: View | None, owner: type) -> T | Field[T]:
        return self if view is None else self.read(view._data.get(self.key))


def text(value: Any) -> str | None:
    """Return a text."""
    return value if type(value) is str else None


def number(value: Any) -> float | None:
    """Return a number within 1e100, also of a text: traces of Hermes Agent hold prices as such."""
    if type(value) is float:
        return value if -_LARGEST < value < _LARGEST else None
    if type(value) is int or type(value) is str:
        try:
            found = float(value)
        except (ValueError, OverflowError):
            return None
        return found if -_LARGEST < found < _LARGEST else None
    return None


def whole(value: Any) -> int | None:
    """Return an integer of 64 bits."""
    if type(value) is int:
        return value if -_LONGEST <= value < _LONGEST else None
    return int(value) if type(value) is float and abs(value) < _LONGEST and value.is_integer() else None


def flag(value: Any) -> bool:
    """Return whether a value is true."""
    return value is True


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """Return a list, an empty one for anything else."""
    return value if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    """Return the texts of a list."""
    return [one for one in items(value) if isinstance(one, str)]
