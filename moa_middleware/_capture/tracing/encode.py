"""
Values as strict JSON bytes, whatever they are.

The fast path is `pydantic_core.to_json`. It drains iterators, so it comes behind a guard: `marshal`
takes exact builtin types only, runs no code of a value's, and is quicker than any walk in Python.
What the guard refuses takes a slow walk that consumes nothing, and runs no code of a value's own but
a model's `model_dump`: any other unknown value is named by its type. Texts that no fast encoder takes
(lone surrogates) are written as ASCII escapes.
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
from functools import partial
from itertools import chain
from secrets import token_hex
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "DIGITS",
    "HOLE",
    "HOLE_JSON",
    "Encoded",
    "Raw",
    "decode",
    "encode",
    "encode_again",
    "has_long_number",
    "join",
    "join_all",
    "pieces_of",
    "to_bytes",
    "warm_up",
]

_DEPTH = 150
"""Levels below which a value is cut; pydantic_core gives up at 255."""
_BITS = 14_000
"""Of an integer; 4,300 digits, the most that `json` reads back, have 14,284."""
DIGITS = 4300
_BLOCK = 2048
# A subclass is read as what it is at the bottom: its own methods may consume, or ask a database.
_MAPPINGS: tuple[Any, ...] = (OrderedDict, dict, MappingProxyType)
_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset, deque)
_TIMES: tuple[Any, ...] = (datetime, date, time)
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
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


to_bytes: Callable[[Any], bytes] = partial(
    to_json, fallback=_safe_str, inf_nan_mode="strings", bytes_mode="base64", serialize_unknown=True
)
"""The fast encoder. It would drain an iterator."""


def warm_up() -> None:
    """
    Call the encoder once.

    Its first call takes 6 ms, and it is unsafe while the interpreter exits or another thread forks.
    """
    to_bytes({"text": "", "number": 1.5, "list": [None, True]})


def has_long_number(data: bytes) -> bool:
    """Return True if JSON holds an integer of more digits than Python reads back, or as many digits in a text."""
    # `json.loads` refuses integers of more than 4,300 digits (CPython's guard against quadratic time), so a
    # line with one could never be read back. To look at each integer of each record would cost more than
    # to encode it; a run of that many digits is found by looks into the bytes, and only then is the value
    # walked. In each such run there is a whole block of digits: one look at each block's first one, mostly.
    return any(
        map(
            bytes.isdigit,
            map(data.__getitem__, map(slice, range(0, len(data), _BLOCK), range(_BLOCK, len(data) + _BLOCK, _BLOCK))),
        )
    )


def encode(value: Any) -> Raw:
    """Return a value as strict JSON; never raises for a value, and never consumes an iterator."""
    try:
        # The guard: exact builtin types only, and no reference cycle. It touches no iterator.
        marshal.dumps(value)
    except Exception:
        value = _plain(value)
    try:
        data = to_bytes(value)
        if len(data) > DIGITS and has_long_number(data):
            data = to_bytes(_plain(value))
        return Raw(data)
    except Exception:
        try:
            text = json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        except Exception:
            # For example near the end of the stack: its type in its place, so that the rest of the record is kept.
            return Raw(to_bytes(_safe_str(value)))
        return Raw(text.encode("ascii"))


def encode_again(value: Any, before: Encoded | None) -> tuple[Raw, Encoded | None]:
    """
    Return a value as JSON, and the form by which an equal one is known.

    Args:
        value: The value.
        before: What was returned for the one before.

    The references of a turn are mostly asked the same, and `marshal` finds that out in a tenth of
    the time that JSON takes: equal bytes are equal values. The identity of a list shows nothing: it
    may have been changed meanwhile.
    """
    try:
        # The bytes differ also where equal values are shared differently (`marshal` writes references to objects
        # with more than one owner). That costs an encoding, never a wrong record.
        form = marshal.dumps(value)
    except Exception:
        return encode(value), before
    if before is not None and before[0] == form:
        return before[1], before
    data = encode(value)
    return data, (form, data)


HOLE = f"moa {token_hex(16)}"
"""Placeholder of a value that is encoded already. Random, so that no content can contain it."""
HOLE_JSON = f'"{HOLE}"'.encode()


def pieces_of(data: bytes, ready: Sequence[bytes]) -> list[bytes]:
    """Return JSON in pieces, values in the places that were held for them: what is long is copied once, by `join`."""
    return list(chain.from_iterable(zip(data.split(HOLE_JSON), (*ready, b""), strict=True)))


def join(parts: Mapping[str, Any]) -> Raw:
    """Return an object as JSON whose values may be encoded already."""
    rest = {**parts}
    ready: list[Raw] = []
    for key, value in parts.items():
        if type(value) is Raw:
            ready.append(value)
            rest[key] = HOLE
    return Raw(b"".join(pieces_of(encode(rest), ready)))


def join_all(records: Iterable[Mapping[str, Any]]) -> Raw:
    """Return such objects as a JSON array."""
    return Raw(b"[%b]" % b",".join(map(join, records)))


def decode(data: bytes) -> Any:
    """
    Return the value of a line of ours; what has more digits than Python reads becomes a text.

    Raises:
        ValueError: The bytes are not JSON.
    """
    try:
        return json.loads(data)
    except ValueError:
        return json.loads(data, parse_int=lambda figures: int(figures) if len(figures) <= DIGITS else figures)


def _plain(value: Any, depth: int = 0, above: tuple[int, ...] = ()) -> Any:
    """Walk a value down to builtins; what would have to be consumed or trusted is named instead."""
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
        return "..."
    above = (*above, id(value))
    try:
        return _walk(value, depth + 1, above)
    except RecursionError:
        return "..."
    except Exception:
        return _safe_str(value)


def _walk(value: Any, depth: int, above: tuple[int, ...]) -> Any:
    # Asked of the type: a lazy object's `__class__` is code of its own.
    # Everything below is asked of the type, and answered by methods of the builtin base. A lazy object's
    # `__class__`, a query set's `__iter__` or a mapping's `items` are code of the user's: they might ask a
    # database, consume a stream, or raise (`test_no_iterator_is_used_up_in_any_holder`).
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
