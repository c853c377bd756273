"""
The class of a line: a turn, a late call, or a problem. It must not know files.

`pydantic_core` parses, since it is a base dependency: on lines of 37 kB with letters beyond ASCII
390 MB/s, where `json` has 310 and orjson 700. Figures need a few short keys of a line, so their
texts need not become objects: a schema that names those keys reads 610 MB/s. msgspec would read
2,600, but `stats` needs 150 (`benchmarks/reading.py`), and no dependency for it. What the parser
refuses goes to `json`, which takes lone surrogates.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic_core import SchemaValidator, core_schema, from_json

from ..records import LATE_SCHEMA, SCHEMA
from ._json import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FIGURES", "LATE_MARK", "ClassifiedLine", "Verdict", "classify"]

LATE_MARK = f'"{LATE_SCHEMA}"'.encode()
"""Bytes that no line but a late one has: in a text its quotes would be escaped."""
_JOURNAL = "moa-journal/"
_HEADS = re.compile(rb'\{\s*"(?:schema"\s*:\s*"moa-|ts"\s*:\s*[0-9.]+\s*,\s*"session_id")')
"""How the lines of this library and of Hermes Agent begin; inside a text the quotes would be escaped."""
_OURS = re.compile(rb'\{\s*(?:"|\Z)')

_OF_CALL = (
    *("call_id", "parent", "role", "label", "model", "provider", "index", "attempt", "outcome", "source", "late"),
    *("started_at", "ended_at", "duration_ms", "first_chunk_ms", "usage", "cost_usd", "handled"),
    *("endpoint", "response_model", "service_tier"),
)
_OF_TURN = (
    *("schema", "ts", "turn_id", "session_id", "preset", "outcome", "started_at", "ended_at", "duration_ms"),
    *("parent_turn_id", "turns", "totals", "writer"),
)


def _only(names: tuple[str, ...], **parts: Any) -> Any:
    kept = dict.fromkeys(names, core_schema.any_schema()) | parts
    fields = {name: core_schema.typed_dict_field(schema, required=False) for name, schema in kept.items()}
    return core_schema.typed_dict_schema(fields, extra_behavior="ignore", total=False)


_CALL = _only(_OF_CALL, raw=core_schema.nullable_schema(_only(("type",))))
_CALLS = core_schema.list_schema(_CALL)
FIGURES = SchemaValidator(
    _only(_OF_TURN, references=_CALLS, calls=_CALLS, aggregator=core_schema.nullable_schema(_CALL))
)
"""Reads what figures are made of, and nothing that was said."""

Verdict = Literal["turn", "late", "E101", "E102", "E106", "E107"]


class ClassifiedLine(NamedTuple):
    """
    What a line, or a piece of it, is.

    Attributes:
        verdict: `turn`, `late`, or the code of a problem.
        data: The object of a turn or of a late call.
        message: What is wrong.
        start: Where the piece begins in the line.
        raw: Its bytes.
    """

    verdict: Verdict
    data: dict[str, Any]
    message: str
    start: int
    raw: bytes


def classify(line: bytes, *, figures: bool = False) -> Iterator[ClassifiedLine]:
    """
    Yield what a line is; several pieces where a torn line and a later one share it.

    Args:
        line: Without its newline.
        figures: Of a turn read only what figures are made of.
    """
    if figures:
        try:
            value = FIGURES.validate_json(line)
        except ValueError:
            value = {}  # it is read whole, and judged then
        if value.get("schema") == SCHEMA:
            yield _of_value(value, line, 0)
            return
    try:
        value = parse_json(line)
    except (ValueError, RecursionError) as error:
        yield from _broken(line, error)
        return
    yield _of_value(value, line, 0)


def _of_value(value: Any, line: bytes, start: int) -> ClassifiedLine:
    if type(value) is not dict:
        return ClassifiedLine("E102", {}, "it is JSON, but no object", start, line)
    schema = value.get("schema")
    if schema == SCHEMA:
        if type(value.get("turn_id")) is not str:
            return ClassifiedLine("E102", {}, "its `turn_id` is missing", start, line)
        return ClassifiedLine("turn", value, "", start, line)
    if schema == LATE_SCHEMA:
        if type(value.get("turn_id")) is not str or type(value.get("call")) is not dict:
            return ClassifiedLine("E102", {}, "it is a late line without `turn_id` or `call`", start, line)
        return ClassifiedLine("late", value, "", start, line)
    if schema is None:
        # Traces of Hermes Agent name no schema.
        if type(value.get("references")) is list and "aggregator" in value:
            return ClassifiedLine("turn", value, "", start, line)
        return ClassifiedLine("E102", {}, "it is an object, but no turn", start, line)
    if type(schema) is str:
        if schema.startswith(_JOURNAL):
            return ClassifiedLine("E102", {}, "it is of a journal, which `moa recover` reads", start, line)
        return ClassifiedLine("E106", {}, f"it is of the schema {schema[:40]!r}", start, line)
    return ClassifiedLine("E102", {}, "its `schema` is no text", start, line)


def _broken(line: bytes, error: Exception) -> Iterator[ClassifiedLine]:
    """Judge a line that is no JSON: whole lines that stand behind a torn one in it are saved."""
    starts = [found.start() for found in _HEADS.finditer(line)]
    if not starts or starts == [0]:
        yield _wrong(line, 0, error)
        return
    bounds = sorted({0, *starts, len(line)})
    for start, end in pairwise(bounds):
        piece = line[start:end].rstrip()
        if not piece:
            continue
        try:
            found = _of_value(parse_json(piece), piece, start)
        except (ValueError, RecursionError) as why:
            found = _wrong(piece, start, why)
        yield found


def _wrong(line: bytes, start: int, error: Exception) -> ClassifiedLine:
    if isinstance(error, RecursionError):
        return ClassifiedLine("E102", {}, "it is nested too deeply", start, line)
    begins_ours = _OURS.match(line) is not None
    try:
        line.decode()
    except UnicodeDecodeError as bad:
        # Cut inside a character, at its very end, is torn.
        if bad.end == len(line) and bad.reason == "unexpected end of data" and begins_ours:
            return ClassifiedLine("E101", {}, f"its JSON ends after {len(line):,} bytes", start, line)
        return ClassifiedLine("E107", {}, f"byte {bad.start:,} of it is not UTF-8", start, line)
    ends_inside = "EOF" in str(_why(line))
    if begins_ours and (ends_inside or _HEADS.match(line)):
        where = (
            f"its JSON ends after {len(line):,} bytes"
            if ends_inside
            else "its JSON is broken off and goes on as another's"
        )
        return ClassifiedLine("E101", {}, where, start, line)
    return ClassifiedLine("E102", {}, "it is no JSON", start, line)


def _why(line: bytes) -> Exception | None:
    try:
        from_json(line)
    except ValueError as error:
        return error
    return None
