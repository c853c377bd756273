"""
Values as strict JSON bytes, whatever they are.

The fast path is `pydantic_core.to_json`, behind a guard: it would drain iterators before it asks
anybody. What the guard refuses takes a slow walk that consumes nothing. Texts that no fast encoder
takes (lone surrogates) are written as ASCII escapes.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import marshal
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

__all__ = ["Raw", "encode", "join", "plain", "warm_up"]

_DEPTH = 150
"""Levels below which a value is cut; pydantic_core gives up at 255."""
_SCALARS = (str, int, float, bool, type(None))
_SEQUENCES = (list, tuple, set, frozenset, deque)


class Raw(bytes):
    """JSON that is encoded already."""

    __slots__ = ()


def _safe_str(value: Any) -> str:
    """Return something for an object that no encoder knows; its own `__str__` may raise."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    try:
        return f"<{name}> {str(value)[:500]}"
    except Exception:
        return f"<{name}>"


def _to_json(value: Any) -> bytes:
    return to_json(
        value,
        fallback=_safe_str,
        inf_nan_mode="strings",
        bytes_mode="base64",
        serialize_unknown=True,
    )


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
        return Raw(_to_json(value))
    except Exception:
        return Raw(json.dumps(_plain(value), ensure_ascii=True, allow_nan=False).encode("ascii"))


def join(parts: Mapping[str, Any]) -> Raw:
    """Return an object whose values may be encoded already, in the order of its keys."""
    pieces: list[bytes] = []
    pending: dict[str, Any] = {}
    for key, value in parts.items():
        if type(value) is not Raw:
            pending[key] = value
            continue
        if pending:
            pieces.append(encode(pending)[1:-1])
            pending = {}
        pieces.append(b'"%s":%s' % (key.encode(), value))
    if pending:
        pieces.append(encode(pending)[1:-1])
    return Raw(b"{" + b",".join(pieces) + b"}")


def plain(value: Any) -> Any:
    """Return a value made of exact builtins; see `encode`."""
    return _plain(value)


def _plain(value: Any, depth: int = 0, above: tuple[int, ...] = ()) -> Any:
    """Walk a value down to builtins; what would have to be consumed or trusted is named instead."""
    kind = type(value)
    if kind in (str, bool, type(None)):
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is int:
        return value
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
    wrapped = getattr(value, "__wrapped__", None)
    if wrapped is not None and hasattr(type(value), "__object_proxy__"):
        return _plain(wrapped, depth, above)
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth, above)
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, depth, above) for key, item in value.items()}
    if isinstance(value, _SEQUENCES):
        return [_plain(item, depth, above) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _plain(float(value), depth, above)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, type):
        return _class(value)
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return _plain(dump(mode="json", warnings=False), depth, above)
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name), depth, above)
            for field in dataclasses.fields(value)
        }
    if hasattr(type(value), "isoformat"):
        return value.isoformat()
    namespace = getattr(value, "__dict__", None)
    if type(value).__name__ == "SimpleNamespace" and namespace is not None:
        return _plain(namespace, depth, above)
    return _safe_str(value)


def _class(value: type) -> Any:
    """Return a class given as a value, `response_format` say: its name, and its schema if it has one."""
    schema = getattr(value, "model_json_schema", None)
    if callable(schema):
        return {"name": value.__qualname__, "schema": schema()}
    return {"name": value.__qualname__}


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    return _safe_str(key)
