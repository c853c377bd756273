"""
Which files are this library's own, by their first line. It must not know names of files or directories.

A name proves nothing: `train.jsonl` in a trace directory may be somebody's data set. What is removed must say itself what
it is.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, Any, Literal

from ._bytes import BAD_FILE, describe_error, uncompressed
from ._json import parse_json
from ._line_limit import LineLimit

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["LineKind", "why_foreign"]

LineKind = Literal["turn", "late", "journal"]
_SCHEMA = re.compile(r"moa-(turn|late|journal)/[0-9]+")
_BEGIN = re.compile(rb'\s*\{\s*"schema"\s*:\s*"moa-(turn|late|journal)/[0-9]+"(?:\s*,\s*"turn_id"\s*:\s*"([^"]*)")?')
"""How each line of this library begins: a long line need not be read further, and one that was torn cannot."""
_HEAD = 1 << 16
_LIMIT = LineLimit()
_MOST_BLANK = 1 << 20
"""Bytes of blank lines that may be before the first line."""


def why_foreign(file: IO[bytes], kinds: Collection[LineKind], turn_id: str | None = None) -> str | None:
    """
    Return why a file is not this library's own, in words; `None` if it is.

    Args:
        file: At its beginning.
        kinds: What its first line may be.
        turn_id: The turn that the line must name, `None` for any.
    """
    try:
        line = _first_line(uncompressed(file))
        if not line:
            return "it has no line"
        return None if _is_own(line, kinds, turn_id) else "its first line is not of a trace"
    except BAD_FILE as error:
        return describe_error(error)


def _first_line(file: IO[bytes]) -> bytes:
    """Return the first line that is not blank, or as much of it as says what it is."""
    blank = 0
    while blank < _MOST_BLANK and (line := file.readline(_HEAD)):
        if line.isspace():
            blank += len(line)
            continue
        if line.endswith(b"\n") or _BEGIN.match(line) or not line.lstrip().startswith(b"{"):
            return line
        # A line of another writer, for example of Hermes Agent, which names no schema: all its keys count.
        return line + file.readline(_LIMIT.most)
    return b""


def _is_own(line: bytes, kinds: Collection[LineKind], turn_id: str | None) -> bool:
    try:
        if why := _LIMIT.why_not_parsed(line):
            raise ValueError(why)
        kind, named = _said(parse_json(line))
    except (ValueError, RecursionError):
        # It was torn when its writer was killed, or it is too long to be read for this: its beginning must do.
        found = _BEGIN.match(line)
        if found is None:
            return False
        kind, named = found[1].decode(), found[2].decode("utf-8", "replace") if found[2] is not None else None
    return kind in kinds and (turn_id is None or named == turn_id)


def _said(value: Any) -> tuple[str | None, Any]:
    """Return the kind of a line by its own words, and the turn that it names."""
    if not isinstance(value, dict):
        return None, None
    schema, turn_id = value.get("schema"), value.get("turn_id")
    if schema is None:
        # Traces of Hermes Agent name no schema, and no turn.
        return ("turn" if type(value.get("references")) is list and "aggregator" in value else None), turn_id
    found = _SCHEMA.fullmatch(schema) if type(schema) is str else None
    return (found[1] if found is not None and type(turn_id) is str else None), turn_id
