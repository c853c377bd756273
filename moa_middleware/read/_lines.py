"""
What one line is: a turn, a late call, or a problem. It must not know files.

`pydantic_core.from_json` is the parser: a base dependency, 0.8 to 2 GB/s on lines of 26 to 600 kB,
where `json` has 0.3 to 0.9; msgspec and orjson gain nothing that `stats` would notice, since its
floor is 0.15 (`benchmarks/reading.py`). What it refuses goes to `json`, which takes lone surrogates.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic_core import from_json

from ..records import LATE_SCHEMA, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LATE_MARK", "Line", "Verdict", "judge", "parsed"]

LATE_MARK = f'"{LATE_SCHEMA}"'.encode()
"""Bytes that no line but a late one has: in a text its quotes would be escaped."""
_JOURNAL = "moa-journal/"
_DIGITS = 4000
_HEADS = re.compile(rb'\{\s*"(?:schema"\s*:\s*"moa-|ts"\s*:\s*[0-9.]+\s*,\s*"session_id")')
"""How the lines of this library and of Hermes Agent begin; inside a text the quotes would be escaped."""
_OURS = re.compile(rb'\{\s*(?:"|\Z)')

Verdict = Literal["turn", "late", "E101", "E102", "E106", "E107"]


class Line(NamedTuple):
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


def parsed(line: bytes) -> Any:
    """
    Return the value of a JSON text.

    Raises:
        ValueError: It is none.
        RecursionError: It is nested too deeply.
    """
    try:
        return from_json(line)
    except ValueError:
        return json.loads(line, parse_int=_integer)


def _integer(figures: str) -> int | str:
    # More digits than Python reads.
    return int(figures) if len(figures) <= _DIGITS else figures


def judge(line: bytes) -> Iterator[Line]:
    """Yield what a line is; several pieces where a torn line and a later one share it."""
    try:
        value = parsed(line)
    except (ValueError, RecursionError) as error:
        yield from _broken(line, error)
        return
    yield _of_value(value, line, 0)


def _of_value(value: Any, line: bytes, start: int) -> Line:
    if type(value) is not dict:
        return Line("E102", {}, "it is JSON, but no object", start, line)
    schema = value.get("schema")
    if schema == SCHEMA:
        if type(value.get("turn_id")) is not str:
            return Line("E102", {}, "its `turn_id` is missing", start, line)
        return Line("turn", value, "", start, line)
    if schema == LATE_SCHEMA:
        if type(value.get("turn_id")) is not str or type(value.get("call")) is not dict:
            return Line("E102", {}, "it is a late line without `turn_id` or `call`", start, line)
        return Line("late", value, "", start, line)
    if schema is None:
        # Traces of Hermes Agent name no schema.
        if type(value.get("references")) is list and "aggregator" in value:
            return Line("turn", value, "", start, line)
        return Line("E102", {}, "it is an object, but no turn", start, line)
    if type(schema) is str:
        if schema.startswith(_JOURNAL):
            return Line("E102", {}, "it is of a journal, which `moa recover` reads", start, line)
        return Line("E106", {}, f"it is of the schema {schema[:40]!r}", start, line)
    return Line("E102", {}, "its `schema` is no text", start, line)


def _broken(line: bytes, error: Exception) -> Iterator[Line]:
    """Judge a line that is no JSON: a later line that stands in it is saved."""
    starts = [found.start() for found in _HEADS.finditer(line)]
    pieces = [line[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    last = pieces[-1] if starts and starts[-1] > 0 else b""
    if last:
        try:
            saved = _of_value(parsed(last), last, starts[-1])
        except (ValueError, RecursionError):
            saved = None
        if saved is not None and saved.verdict in ("turn", "late"):
            # Everything before it: one torn line, or several.
            yield from judge(line[: starts[-1]].rstrip())
            yield saved
            return
    yield _wrong(line, error)


def _wrong(line: bytes, error: Exception) -> Line:
    if isinstance(error, RecursionError):
        return Line("E102", {}, "it is nested too deeply", 0, line)
    begins_ours = _OURS.match(line) is not None
    try:
        line.decode()
    except UnicodeDecodeError as bad:
        # Cut inside a character, at its very end, is torn.
        if bad.end == len(line) and bad.reason == "unexpected end of data" and begins_ours:
            return Line("E101", {}, f"its JSON ends after {len(line):,} bytes", 0, line)
        return Line("E107", {}, f"byte {bad.start:,} of it is not UTF-8", 0, line)
    ends_inside = "EOF" in str(_why(line))
    if begins_ours and (ends_inside or _HEADS.match(line)):
        where = (
            f"its JSON ends after {len(line):,} bytes"
            if ends_inside
            else "its JSON is broken off and goes on as another's"
        )
        return Line("E101", {}, where, 0, line)
    return Line("E102", {}, "it is no JSON", 0, line)


def _why(line: bytes) -> Exception | None:
    try:
        from_json(line)
    except ValueError as error:
        return error
    return None
