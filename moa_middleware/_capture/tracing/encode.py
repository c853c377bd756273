"""
Values as strict JSON bytes, whatever they are.

The fast path is `pydantic_core.to_json`. It drains iterators, so it comes behind a guard: `marshal`
takes exact builtin types only, runs no code of a value's, and is quicker than any walk in Python.
What the guard refuses takes a slow walk (`shapes.values`) that consumes nothing. Texts that no fast encoder takes
(lone surrogates) are written as ASCII escapes.
"""

from __future__ import annotations

import json
import marshal
from functools import partial
from itertools import chain
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import to_json

from ..shapes.values import named, plain

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

DIGITS = 4300
_BLOCK = 2048


class Raw(bytes):
    """JSON that is encoded already."""

    __slots__ = ()


Encoded: TypeAlias = tuple[bytes, Raw]
"""A value as `marshal` has it, and as JSON."""


to_bytes: Callable[[Any], bytes] = partial(
    to_json, fallback=named, inf_nan_mode="strings", bytes_mode="base64", serialize_unknown=True
)
"""The fast encoder. It would drain an iterator."""


def _refuse(_value: Any) -> Any:
    raise TypeError


_strict: Callable[[Any], bytes] = partial(
    to_json, fallback=_refuse, inf_nan_mode="strings", bytes_mode="base64", serialize_unknown=True
)
"""The same, which raises for what it does not know."""


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


def encode(value: Any, missed: list[str] | None = None, walked: list[Any] | None = None) -> Raw:
    """
    Return a value as strict JSON; never raises for a value, and never consumes an iterator.

    Args:
        value: The value.
        missed: Gets the name of the type of each part that could not be read.
        walked: Gets something if the value is not of builtin types alone.
    """
    try:
        # The guard: builtin types only, and no reference cycle. It touches no iterator.
        marshal.dumps(value)
        data = _strict(value)
    except Exception:
        # `marshal` also takes what has a buffer, as numbers and arrays of numpy have: the strict encoder refuses those.
        value = plain(value, missed)
        if walked is not None:
            walked.append(value)
        try:
            data = to_bytes(value)
        except Exception:
            return _as_ascii(value)
    if len(data) > DIGITS and has_long_number(data):
        try:
            data = to_bytes(plain(value))
        except Exception:
            return _as_ascii(value)
    return Raw(data)


def _as_ascii(value: Any) -> Raw:
    """Return a value as JSON of ASCII alone: no fast encoder takes lone surrogates."""
    try:
        text = json.dumps(plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except Exception:
        # For example near the end of the stack: its type in its place, so that the rest of the record is kept.
        return Raw(to_bytes(named(value)))
    return Raw(text.encode("ascii"))


def encode_again(value: Any, before: Encoded | None, missed: list[str]) -> tuple[Raw, Encoded | None]:
    """
    Return a value as JSON, and the form by which an equal one is known.

    Args:
        value: The value.
        before: What was returned for the one before.
        missed: Gets the name of the type of each part that could not be read.

    The references of a turn are mostly asked the same, and `marshal` finds that out in a tenth of
    the time that JSON takes: equal bytes are equal values. The identity of a list shows nothing: it
    may have been changed meanwhile.
    """
    try:
        # The bytes differ also where equal values are shared differently (`marshal` writes references to objects
        # with more than one owner). That costs an encoding, never a wrong record.
        form = marshal.dumps(value)
    except Exception:
        return encode(value, missed), before
    if before is not None and before[0] == form:
        return before[1], before
    walked: list[Any] = []
    data = encode(value, missed, walked)
    # Numbers of numpy with other types have the same bytes, so what was walked is not known again by them.
    return data, before if walked else (form, data)


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
