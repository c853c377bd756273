"""The JSON values of results, for `--json` and for other programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ..records import LateRecord, TurnRecord
from ._cost import Cost
from ._fields import View
from ._problems import Problem
from ._stats import DurationStats
from ._turn import TurnView

__all__ = ["json_schema", "to_jsonable"]

_ALSO: dict[type, tuple[str, ...]] = {
    Problem: ("name",),
    Cost: ("complete", "total_usd"),
    DurationStats: ("count", "p50", "p95", "longest", "mean"),
}
"""What follows from an object's own values, and belongs to it."""


def to_jsonable(value: Any) -> Any:
    """
    Return a result of this package as dicts, lists, texts and numbers.

    A turn is its record with late calls joined, under `name`, `file` and `line` beside it; durations are
    told by their figures, not one by one.

    Args:
        value: What a function here returns, or several in a list, a tuple or a mapping.
    """
    if isinstance(value, TurnView):
        return {"name": value.name, "file": value.file, "line": value.line, "record": value.as_dict()}
    if isinstance(value, View):
        return value.as_dict()
    if isinstance(value, DurationStats):
        return {name: getattr(value, name) for name in _ALSO[DurationStats]}
    if is_dataclass(value) and not isinstance(value, type):
        names = [*(one.name for one in fields(value)), *_ALSO.get(type(value), ())]
        return {name: to_jsonable(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_jsonable(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a line: a turn, or a late call."""
    from pydantic import TypeAdapter

    turn, late = (TypeAdapter(record).json_schema() for record in (TurnRecord, LateRecord))
    shared = {**turn.pop("$defs", {}), **late.pop("$defs", {})}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of a trace",
        "oneOf": [{"$ref": "#/$defs/TurnRecord"}, {"$ref": "#/$defs/LateRecord"}],
        "$defs": {**shared, "TurnRecord": turn, "LateRecord": late},
    }
