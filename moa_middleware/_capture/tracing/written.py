"""
Which turns are written already, told from the files: what recovery asks before it writes one.

This module must not know what a journal is.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...records import SCHEMA
from .trace_file import segments

if TYPE_CHECKING:
    from .writer import FileWriter

__all__ = ["Written", "is_line_of", "loaded"]

_DIGITS = 4300
_KEY = b'"turn_id":"'
_HEAD = 500
"""Bytes of a line among which its turn's id stands."""
_LONGEST = 100


def loaded(line: bytes) -> Any:
    """Return what a line says, `None` if it is no JSON."""
    try:
        return json.loads(line, parse_int=_integer)
    except (ValueError, RecursionError):
        return None  # torn


def _integer(figures: str) -> int | str:
    # More digits than Python reads.
    return int(figures) if len(figures) <= _DIGITS else figures


def is_line_of(line: bytes, turn_id: str) -> bool:
    """Whether it is the turn's own line."""
    record = loaded(line)
    return isinstance(record, dict) and (record.get("schema"), record.get("turn_id")) == (SCHEMA, turn_id)


class Written:
    """
    Which of some turns are written: each file is read once, and what is appended meanwhile.

    Args:
        writer: Names the files.
        wanted: Ids of the turns.
    """

    def __init__(self, writer: FileWriter, wanted: set[str]) -> None:
        self.writer = writer
        self._wanted = {turn_id.encode() for turn_id in wanted}
        self._found: dict[str, set[str]] = {}
        self._read: dict[tuple[int, int], int] = {}
        """How far a file was read, by device and inode: a sealed one has another name."""

    def has(self, session_id: str | None, turn_id: str) -> bool:
        """Whether a turn's line is in its session's file, or in a sealed segment of it."""
        path = os.fspath(self.writer.path_of(session_id))
        found = self._found.setdefault(path, set())
        # The file first: if it is sealed after that, it is among the segments.
        for name in (path, *segments(path)):
            if turn_id not in found:
                self._look(name, found)
        return turn_id in found

    def _look(self, name: str, found: set[str]) -> None:
        with suppress(FileNotFoundError), Path(name).open("rb") as file:
            status = os.fstat(file.fileno())
            key = (status.st_dev, status.st_ino)
            begin = self._read.get(key, 0)
            file.seek(begin if begin <= status.st_size else 0)
            for line in file:
                if line.endswith(b"\n"):
                    self._read[key] = file.tell()
                place = line.find(_KEY, 0, _HEAD) + len(_KEY)
                turn_id = line[place : place + _LONGEST].partition(b'"')[0]
                if turn_id in self._wanted and is_line_of(line, turn_id.decode()):
                    found.add(turn_id.decode())
