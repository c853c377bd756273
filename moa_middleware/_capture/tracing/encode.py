"""
Values as strict JSON bytes, whatever they are.

The fast path is `pydantic_core.to_json`, behind a guard: it would drain iterators before it asks
anybody. What the guard refuses takes a slow walk that consumes nothing, and that runs no code of a
value's own but a model's `model_dump`: whatever else is unknown is named by its type. Texts that no fast encoder
takes (lone surrogates) are written as ASCII escapes.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import marshal
import math
from collections import OrderedDict, deque
from datetime import date, datetime, time
from secrets import token_hex
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Encoded", "Part", "Parts", "Pieces", "Raw", "encode", "encode_again", "join", "pieces_of", "warm_up"]

_DEPTH = 150
"""Levels below which a value is cut; pydantic_core gives up at 255."""
_BITS = 14_000
"""Of an integer; 4,300 digits, the most that `json` reads back, have 14,284."""
_DIGITS = 4300
_BLOCK = 2048
# A subclass is read as what it is at the bottom: its own methods may consume, or ask a database.
_MAPPINGS: tuple[Any, ...] = (OrderedDict, dict, MappingProxyType)
_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset, deque)
_TIMES: tuple[Any, ...] = (datetime, date, time)
_VALUES = frozenset({"datetime", "decimal", "fractions", "ipaddress", "pathlib", "pathlib._local", "uuid", "zoneinfo"})
"""Modules whose types are values: their `str` is safe."""


class Raw(bytes):
    """JSON that is encoded already."""

    __slots__ = ()


Encoded: TypeAlias = tuple[bytes, Raw]
"""A value as `marshal` has it, and as JSON."""


def _safe_str(value: Any) -> str:
    """Return the name of the type of an object that no encoder knows, and its text if that is a value."""
    kind = type(value)
    name = f"<{kind.__module__}.{kind.__qualname__}>"
    if kind.__module__ not in _VALUES:
        return name
    try:
        return f"{name} {str(value)[:500]}"
    except Exception:
        return name


def _to_json(value: Any) -> bytes:
    return to_json(value, fallback=_safe_str, inf_nan_mode="strings", bytes_mode="base64", serialize_unknown=True)


def warm_up() -> None:
    """
    Call the encoder once.

    Its first call takes 6 ms, and it is unsafe while the interpreter exits or another thread forks.
    """
    _to_json({"text": "", "number": 1.5, "list": [None, True]})


def encode(value: Any) -> Raw:
    """Return a value as strict JSON; never raises for a value, and never consumes an iterator."""
    try:
        # The guard: exact builtin types only, and no reference cycle. It touches no iterator.
        marshal.dumps(value)
    except Exception:
        value = _plain(value)
    try:
        data = _to_json(value)
        # In each such run of digits there is a whole block of digits: one look at each block's first one, mostly.
        if len(data) > _DIGITS and any(data[at : at + _BLOCK].isdigit() for at in range(0, len(data), _BLOCK)):
            data = _to_json(_plain(value))
        return Raw(data)
    except Exception:
        try:
            text = json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        except Exception:
            # Near the end of the stack, say: a word in its place, so that the rest of the record stands.
            return Raw(_to_json(_safe_str(value)))
        return Raw(text.encode("ascii"))


def encode_again(value: Any, before: Encoded | None) -> tuple[Raw, Encoded | None]:
    """
    Return a value as JSON, and what tells that the next one is the same.

    Args:
        value: The value.
        before: What was returned for the one before.

    The references of a turn are mostly asked the same, and `marshal` finds that out in a tenth of
    the time that JSON takes: equal bytes are equal values. It cannot be told by the identity of a
    list, which may have been changed meanwhile.
    """
    try:
        form = marshal.dumps(value)
    except Exception:
        return encode(value), before
    if before is not None and before[0] == form:
        return before[1], before
    data = encode(value)
    return data, (form, data)


class Pieces(list[bytes]):
    """JSON in pieces, so that what is long is copied once, when the whole line is put together."""

    __slots__ = ()


class Part(dict[str, Any]):
    """An object inside another whose values may be encoded already."""

    __slots__ = ()


class Parts(list[Part]):
    """A list of such objects."""

    __slots__ = ()


_HOLE = f"moa {token_hex(16)}"
"""Holds the place of what is encoded already. Nobody can know it, so no content has it."""
_HOLE_JSON = f'"{_HOLE}"'.encode()
_SCALARS = frozenset({str, int, float, bool, type(None)})


def _with_holes(parts: Mapping[str, Any], ready: list[Raw], others: list[Any]) -> dict[str, Any]:
    """
    Return an object without what is encoded already.

    Args:
        parts: The object.
        ready: Takes what is encoded already, in the order of its places.
        others: Takes what is no text, number or flag: the guard needs to see nothing else.
    """
    rest = dict(parts)
    for key, value in parts.items():
        kind = type(value)
        if kind in _SCALARS:
            continue
        if kind is Raw:
            ready.append(value)
            rest[key] = _HOLE
        elif kind is Part:
            rest[key] = _with_holes(value, ready, others)
        elif kind is Parts:
            rest[key] = [_with_holes(part, ready, others) for part in value]
        else:
            others.append(value)
    return rest


def pieces_of(parts: Mapping[str, Any]) -> Pieces:
    """
    Return an object whose values may be encoded already, in the order of its keys.

    What is not is encoded at once, with the objects inside it: each encoding costs some 3 µs
    whatever its size, and the 45 keys of each call are walked by none but the encoder.
    """
    ready: list[Raw] = []
    others: list[Any] = []
    rest = _with_holes(parts, ready, others)
    try:
        marshal.dumps(others)
        data = _to_json(rest)
    except Exception:
        # One by one, so that what is odd about one object costs the others nothing.
        ready = []
        data = encode(_with_holes({key: _alone(value) for key, value in parts.items()}, ready, others))
    found = Pieces()
    for piece, value in zip(data.split(_HOLE_JSON), [*ready, b""], strict=True):
        found += (piece, value)
    return found


def _alone(value: Any) -> Any:
    """Return the objects inside another as encoded ones."""
    if type(value) is Part:
        return join(value)
    return Raw(b"[%b]" % b",".join(map(join, value))) if type(value) is Parts else value


def join(parts: Mapping[str, Any]) -> Raw:
    """Return the same as `pieces_of` in one piece."""
    return Raw(b"".join(pieces_of(parts)))


def _plain(value: Any, depth: int = 0, above: tuple[int, ...] = ()) -> Any:
    """Walk a value down to builtins; what would have to be consumed or trusted is named instead."""
    kind = type(value)
    if kind in (str, bool, type(None)):
        return value
    if kind is float:
        return value if math.isfinite(value) else _not_finite(value)
    if kind is int:
        # More digits than Python reads or writes: exact, as a text.
        return value if value.bit_length() < _BITS else f"{value:#x}"
    if depth > _DEPTH or id(value) in above:
        return "..."
    above = (*above, id(value))
    try:
        return _walk(value, depth + 1, above)
    except RecursionError:
        return "..."
    except Exception:
        return _safe_str(value)


def _not_finite(value: float) -> str:
    """Return the word that the fast path writes too: JSON has no number for it."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _walk(value: Any, depth: int, above: tuple[int, ...]) -> Any:
    # Asked of the type: a lazy object's `__class__` is code of its own.
    kind = type(value)
    if hasattr(kind, "__object_proxy__"):
        return _plain(value.__wrapped__, depth, above)
    if issubclass(kind, enum.Enum):
        return _plain(value._value_, depth, above)
    base = _base(kind, _MAPPINGS)
    if base is not None:
        return {_key(key): _plain(item, depth, above) for key, item in base.items(value)}
    base = _base(kind, _SEQUENCES)
    if base is not None:
        return [_plain(item, depth, above) for item in base.__iter__(value)]
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return _plain(int.__int__(value), depth, above)
    if issubclass(kind, float):
        return _plain(float.__float__(value), depth, above)
    if issubclass(kind, bytes | bytearray | memoryview):
        return base64.urlsafe_b64encode(memoryview(value)).decode("ascii")
    if issubclass(kind, type):
        return _class(value)
    dump = getattr(kind, "model_dump", None)
    if callable(dump):
        return _plain(_dumped(value, dump), depth, above)
    if hasattr(kind, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name), depth, above) for field in dataclasses.fields(kind)}
    base = _base(kind, _TIMES)
    if base is not None:
        return base.isoformat(value)
    if kind is SimpleNamespace:
        return _plain(vars(value), depth, above)
    return _safe_str(value)


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
    return hasattr(type(value), "__next__")


def _base(kind: type, known: tuple[Any, ...]) -> Any:
    """Return the first of the known types that a type is made of, `None` if there is none."""
    return next((base for base in known if base in kind.__mro__), None)


def _class(value: type) -> Any:
    """Return a class given as a value, `response_format` say: its name, and its schema if it has one."""
    schema = getattr(value, "model_json_schema", None)
    if callable(schema):
        return {"name": value.__qualname__, "schema": schema()}
    return {"name": value.__qualname__}


def _key(key: Any) -> str:
    found = _plain(key)
    return found if isinstance(found, str) else json.dumps(found)
