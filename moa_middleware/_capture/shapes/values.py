"""
Values of any class, brought down to Python's builtin types.

Nothing is consumed, and no code of a value's own runs but a model's `model_dump`: everything is
asked of the type, and answered by methods of a class that is known. What is not known is named by
its type. This module must not know what the values mean, or how they are written.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import math
from collections import ChainMap, OrderedDict, UserDict, UserList, UserString, deque
from datetime import date, datetime, time
from types import MappingProxyType, SimpleNamespace
from typing import Any

from .arrays import array_of

__all__ = ["declared", "named", "number_of", "plain"]

_DEPTH = 150
"""Levels below which a value is cut; pydantic_core gives up at 255."""
_BITS = 14_000
"""Of an integer; 4,300 digits, the most that `json` reads back, have 14,284."""
# A subclass is read as what it is at the bottom: its own methods may consume, or ask a database.
_MAPPINGS: tuple[Any, ...] = (OrderedDict, dict, MappingProxyType)
_VIEWS: tuple[Any, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset, deque, *_VIEWS)
_HOLDERS: tuple[Any, ...] = (UserList, UserDict, UserString)
"""Classes of the standard library that keep a builtin one under `data`."""
_TIMES: tuple[Any, ...] = (datetime, date, time)
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_VALUES = frozenset({"datetime", "decimal", "fractions", "ipaddress", "pathlib", "pathlib._local", "uuid", "zoneinfo"})
"""Modules whose types are values: their `str` is safe."""

# By the descriptors of `type` itself: a metaclass may answer to every name.
_mro_of = type.__dict__["__mro__"].__get__
_space_of = type.__dict__["__dict__"].__get__


def declared(kind: type, name: str) -> Any:
    """Return what a class or one of its bases has under a name, `None` if none has it; nothing is bound or run."""
    for base in _mro_of(kind):
        space = _space_of(base)
        if name in space:
            return space[name]
    return None


def plain(value: Any, missed: list[str] | None = None) -> Any:
    """
    Return a value as builtin types; what would have to be consumed or trusted is named instead.

    Args:
        value: The value.
        missed: Gets the name of the type of each part that could not be read.
    """
    return _Walk([] if missed is None else missed).plain(value, 0, ())


def named(value: Any) -> str:
    """Return the name of the type of a value that nothing else knows, and its text if that is safe."""
    kind = type(value)
    name = _name_of(kind)
    if not _is_value(kind):
        return name
    try:
        return f"{name} {str(value)[:500]}"
    except Exception:
        return name


def number_of(value: Any) -> float | None:
    """Return a number of any class (`Decimal`, `Fraction`, a scalar of numpy) as a float, `None` for anything else."""
    try:
        found = plain(value)
        if isinstance(found, int | float) and not isinstance(found, bool):
            return found
        return float(value) if type(value).__module__ in ("decimal", "fractions") else None
    except Exception:
        return None


def _name_of(kind: type) -> str:
    try:
        return f"<{kind.__module__}.{kind.__qualname__}>"
    except Exception:  # a metaclass of the user's
        return "<object>"


def _is_value(kind: type) -> bool:
    module = _space_of(kind).get("__module__") or getattr(kind, "__module__", None)
    return isinstance(module, str) and module in _VALUES


class _Walk:
    """One walk down a value."""

    __slots__ = ("missed",)

    def __init__(self, missed: list[str]) -> None:
        self.missed = missed

    def plain(self, value: Any, depth: int, above: tuple[int, ...]) -> Any:
        """Return a value as builtin types."""
        kind = type(value)
        if kind in (str, bool, type(None)):
            return value
        if kind is float:
            # The words that the fast path writes too: JSON has no number for these.
            return value if math.isfinite(value) else _NOT_FINITE[str(value)]
        if kind is int:
            # More digits than Python reads or writes: exact, as a text.
            return value if value.bit_length() < _BITS else f"{value:#x}"
        if depth > _DEPTH or id(value) in above:
            return self._cut("...", kind)
        above = (*above, id(value))
        try:
            return self._walk(value, depth + 1, above)
        except RecursionError:
            return self._cut("...", kind)
        except Exception:
            return self._unknown(value)

    def _cut(self, shown: str, kind: type) -> str:
        self.missed.append(_name_of(kind))
        return shown

    def _unknown(self, value: Any) -> str:
        if not _is_value(type(value)):
            self.missed.append(_name_of(type(value)))
        return named(value)

    def _walk(self, value: Any, depth: int, above: tuple[int, ...]) -> Any:
        # Everything below is asked of the type, and answered by methods of the builtin base. A lazy object's
        # `__class__`, a query set's `__iter__` or a mapping's `items` are code of the user's: they might ask a
        # database, consume a stream, or raise (`test_no_iterator_is_consumed_wherever_it_is`).
        kind = type(value)
        if declared(kind, "__object_proxy__") is not None:
            return self.plain(value.__wrapped__, depth, above)
        if issubclass(kind, enum.Enum):
            return self.plain(value._value_, depth, above)
        base = _base(kind, _MAPPINGS)
        if base is not None:
            return {self._key(key): self.plain(item, depth, above) for key, item in base.items(value)}
        base = _base(kind, _SEQUENCES)
        if base is not None:
            return [self.plain(item, depth, above) for item in base.__iter__(value)]
        if issubclass(kind, str):
            return str.__str__(value)
        if issubclass(kind, int):
            return self.plain(int.__int__(value), depth, above)
        if issubclass(kind, float):
            return self.plain(float.__float__(value), depth, above)
        if issubclass(kind, bytes | bytearray | memoryview):
            return base64.urlsafe_b64encode(memoryview(value)).decode("ascii")
        if issubclass(kind, type):
            return _class(value)
        return self._fields(value, kind, depth, above)

    def _fields(self, value: Any, kind: type, depth: int, above: tuple[int, ...]) -> Any:
        """Return an object whose class says what its fields are."""
        dump = declared(kind, "model_dump")
        if callable(dump):
            return self.plain(_dumped(value, dump), depth, above)
        names = _field_names(kind)
        if names is not None:
            found = {name: _stored(value, name) for name in names}
            return {n: self.plain(item, depth, above) for n, item in found.items() if item is not _MISSING}
        base = _base(kind, _TIMES)
        if base is not None:
            return "NaT" if kind.__name__ == "NaTType" else base.isoformat(value)  # of pandas
        if kind is SimpleNamespace or _is_old_model(kind):
            return self.plain(object.__getattribute__(value, "__dict__"), depth, above)
        if _base(kind, _HOLDERS) is not None:
            return self.plain(_stored(value, "data"), depth, above)
        if _base(kind, (ChainMap,)) is not None:
            return self._chained(value, depth, above)
        known, shown = array_of(value)
        if not known:
            return self._unknown(value)
        if isinstance(shown, str):
            self.missed.append(_name_of(kind))  # it is too long, and only its shape is shown
            return shown
        return self.plain(shown[0], depth, above)

    def _chained(self, value: Any, depth: int, above: tuple[int, ...]) -> Any:
        maps = [self.plain(one, depth, above) for one in _stored(value, "maps")]
        if not all(isinstance(one, dict) for one in maps):
            return self._unknown(value)
        joined: dict[str, Any] = {}
        for one in reversed(maps):
            joined.update(one)
        return joined

    def _key(self, key: Any) -> str:
        found = self.plain(key, 0, ())
        return found if isinstance(found, str) else json.dumps(found)


_MISSING = object()


def _stored(value: Any, name: str) -> Any:
    """Return an attribute without the object's own `__getattribute__` and `__getattr__`."""
    try:
        return object.__getattribute__(value, name)
    except Exception:  # a slot that was never filled, or a property that raises
        return _MISSING


def _field_names(kind: type) -> list[str] | None:
    """Return the names of the fields of a dataclass, an attrs class or a msgspec struct, `None` for any other class."""
    if isinstance(declared(kind, "__dataclass_fields__"), dict):
        return [field.name for field in dataclasses.fields(kind)]
    of_attrs = declared(kind, "__attrs_attrs__")
    if isinstance(of_attrs, tuple):
        return [attribute.name for attribute in of_attrs]
    # Of msgspec it is the metaclass that has the names.
    of_struct = getattr(kind, "__struct_fields__", None) if type(kind).__module__.startswith("msgspec") else None
    return list(of_struct) if isinstance(of_struct, tuple) else None


def _is_old_model(kind: type) -> bool:
    """Return True if it is a class of pydantic's version 1, whose objects keep their fields in `__dict__`."""
    return isinstance(declared(kind, "__fields__"), dict) and declared(kind, "parse_obj") is not None


def _dumped(value: Any, dump: Any) -> Any:
    """Return the fields of a model, as JSON has them unless that would use an iterator up."""
    # This one leaves iterators and whatever pydantic does not know as they are.
    fields = dump(value, mode="python", warnings=False)
    if _holds_iterator(fields):
        return fields
    try:
        return dump(value, mode="json", warnings=False)
    except Exception:
        return fields


def _holds_iterator(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_iterator, value.values()))
    if isinstance(value, _SEQUENCES):
        return any(map(_holds_iterator, value))
    return declared(type(value), "__next__") is not None


def _base(kind: type, known: tuple[Any, ...]) -> Any:
    """Return the first of the known types that a type is made of, `None` if there is none."""
    bases = _mro_of(kind)
    return next((base for base in known if base in bases), None)


def _class(value: type) -> Any:
    """Return a class given as a value, for example as `response_format`: its name, and its schema if it has one."""
    schema = getattr(value, "model_json_schema", None) if declared(value, "model_json_schema") is not None else None
    if callable(schema):
        return {"name": value.__qualname__, "schema": schema()}
    return {"name": value.__qualname__}
