"""
What lines prove: their digests, and the chain from each line to the one before it.

A digest is checked from the line alone. The chain needs every line that its process wrote, so it is checked
only where whole directories are read. Some 250 bytes are kept for each line whose predecessor was not met
so far; lines that are read in the order in which they were written need none.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from .._layout.digest import DIGEST, HMAC, digest_in, is_right
from ..records import LATE_SCHEMA, SCHEMA
from ._fields import number
from ._problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._layout.digest import Key
    from ._lines import ClassifiedLine
    from ._problems import ProblemLog

__all__ = ["IntegrityCheck", "Place"]

Place = tuple[str, int, int, int]
"""File, number, offset and bytes of a line."""


class _Follower(NamedTuple):
    """A line whose predecessor was not met so far."""

    place: Place
    turn_id: str | None
    ts: float
    process: tuple[Any, ...]
    pruned: bool
    """True if lines of its process may have been removed as old ones."""


class IntegrityCheck:
    """
    The check of one reading.

    Args:
        problem_log: Takes what is wrong.
        keys: Secret keys that lines may have been made with; with any, each line must be by one of them.

    Attributes:
        proven: Lines that have a digest.
        unchecked: Those of them that were made with a key, where none was given.
    """

    def __init__(self, problem_log: ProblemLog, keys: Iterable[Key] = ()) -> None:
        self._problem_log = problem_log
        self._keys = {key.id: key for key in keys}
        self.proven = 0
        self.unchecked = 0
        self._began = time.time()
        self._ends: set[int] = set()
        """Digests of lines that no line followed so far, as 64 bits of them."""
        self._followers: dict[int, _Follower] = {}
        """Lines whose predecessor was not met, by its digest."""
        self._late: set[int] = set()
        """Digests of late lines, which have no ids of their own that were looked at by now."""

    def add(
        self, piece: ClassifiedLine, line: bytes, place: Place, *, pruned: float = 0.0, known: bool = False
    ) -> None:
        """
        Check the digest of a line, and take its place in the chain down.

        Args:
            piece: What it is: a turn or a late call.
            line: All bytes up to the newline, others before or behind those of the piece among them.
            place: Where it is.
            pruned: Until when lines of its directory were removed as old ones, in epoch seconds; 0 if none were.
            known: Whether it repeats a line that was read.
        """
        data = piece.data
        writer = data.get("writer")
        writer = writer if type(writer) is dict else {}
        digest = digest_in(piece.raw)
        kind = writer.get("integrity")
        turn_id = data.get("turn_id")
        turn_id = turn_id if type(turn_id) is str else ""
        if digest is None and kind is None and "digest" not in writer:
            if self._keys:
                self._add("E124", "it has no digest, and so no HMAC of the key", place, turn_id)
            return
        self.proven += 1
        wrong = self._wrong(piece, digest, writer)
        if wrong is None and piece.start + len(piece.raw) != len(line):
            wrong = "E121", "other bytes follow it in its line"
        if wrong is not None:
            self._add(*wrong, place, turn_id)
        if digest is not None and not known and self._is_new_end(digest, is_late=data.get("schema") == LATE_SCHEMA):
            self._follow(data, writer, place, pruned)

    def _wrong(self, piece: ClassifiedLine, digest: str | None, writer: dict[str, Any]) -> tuple[str, str] | None:
        """Return code and message of what is wrong with a line by itself."""
        kind = writer.get("integrity")
        if digest is None or writer.get("digest") != digest or kind not in (DIGEST, HMAC):
            return "E121", "the keys that prove it are damaged"
        if piece.data.get("schema") not in (SCHEMA, LATE_SCHEMA):
            return "E121", "its `schema` is not that of a line with a digest"
        key = None
        if kind == HMAC:
            key = self._keys.get(str(writer.get("key_id")))
            if key is None:
                if self._keys:
                    return "E123", f"it was made with the key {str(writer.get('key_id'))[:16]!r}, which was not given"
                self.unchecked += 1
                return None
        elif self._keys:
            return "E124", "it has a plain digest, and no HMAC of the key"
        if not is_right(piece.raw, digest, key):
            return "E121", "its bytes are not those that its digest was made of"
        return None

    def _add(self, code: str, message: str, place: Place, turn_id: str) -> None:
        self._problem_log.add(Problem(code, message, *place, turn_id or None))

    # The chain -----------------------------------------------------------------------------------

    def _is_new_end(self, digest: str, *, is_late: bool) -> bool:
        """Take the digest of a line down; return False if the line was met before."""
        own = int(digest[:16], 16)
        if is_late:
            if own in self._late:
                return False
            self._late.add(own)
        if self._followers.pop(own, None) is None:
            self._ends.add(own)
        return True

    def _follow(self, data: dict[str, Any], writer: dict[str, Any], place: Place, pruned: float) -> None:
        """Look for the line before one, now and later on."""
        previous = writer.get("previous")
        try:
            before = int(previous[:16], 16) if type(previous) is str else None
        except ValueError:
            return  # the digest is wrong then
        if before is None:
            return
        if before in self._ends:
            self._ends.remove(before)
            return
        ts, started = number(data.get("ts")) or 0.0, number(writer.get("started_at")) or 0.0
        # What was removed as old is not missed; nor is what may have been written, since this reading began,
        # into a file that was read by then.
        if pruned <= ts < self._began:
            process = (writer.get("host"), writer.get("pid"), started)
            turn_id = data.get("turn_id")
            follower = _Follower(place, turn_id if type(turn_id) is str else None, ts, process, started < pruned)
            self._followers[before] = follower

    def missing(self) -> Iterator[Problem]:
        """Yield a problem for each line whose predecessor is not here."""
        first: dict[tuple[Any, ...], float] = {}
        for one in self._followers.values():
            if one.pruned:
                first[one.process] = min(first.get(one.process, one.ts), one.ts)
        for one in self._followers.values():
            # The first line of a process that stayed: the one before it was removed as old.
            if one.pruned and one.ts == first[one.process]:
                continue
            message = "the line that its process completed before it is not here, or was changed"
            yield Problem("E122", message, *one.place, one.turn_id)
