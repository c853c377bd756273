"""
Requests of a large turn that are kept in its journal and not in memory, and read back when its line is written.

A turn that is a whole program may ask thousands of times. Requests are most of what it holds, since
each of them repeats what was said before. Answers stay in memory: a call's role is found by looking for them.
This module must not know how a journal's line is made.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ..._layout.folder import open_regular
from ..log import log
from ..turns.evidence import Node
from .encode import Raw
from .snapshot import NULL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..turns.turn import Attempt, CallState, Turn

__all__ = ["MOST_BYTES", "MOST_CALLS", "RequestStore", "StoredNode", "StoredRequest", "joined"]

MOST_CALLS = 1000
"""Calls above which a turn is large."""
MOST_BYTES = 256 * 1024 * 1024
"""Bytes of requests above which a turn is large."""
_CACHED = 32 * 1024 * 1024
"""Bytes of requests that are kept while roles are inferred, which compares each with several others."""


class StoredRequest:
    """A request in a file: a part of a line there."""

    __slots__ = ("_crc", "_length", "_offset", "_store")

    def __init__(self, store: RequestStore, offset: int, data: Raw) -> None:
        self._store = store
        self._offset = offset
        self._length = len(data)
        self._crc = crc32(data)

    def load(self) -> Raw:
        """
        Read it.

        Raises:
            OSError: The file does not contain it any more.
        """
        return self._store.load(self._offset, self._length, self._crc)


class StoredNode(Node):
    """A call whose request is in a file: inference reads it when it looks at it."""

    __slots__ = ("_request",)

    def _set(self, request: StoredRequest) -> None:
        self._request = request

    # In place of the attribute, which `Node` sets when it is made.
    input: Any = property(lambda self: self._request.load(), _set)


class RequestStore:
    """
    The requests of one turn in its journal.

    Args:
        path: The journal.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: Any = None
        self._last: tuple[Raw, StoredRequest] | None = None
        """Calls of one round share one request, in memory and in the file."""
        self._cache: dict[int, Raw] = {}
        self._cached = 0

    def keep(self, call_state: CallState, records: Sequence[dict[str, Any]], line: bytes, start: int) -> None:
        """
        Take the requests of a call, and of the calls inside it, out of memory.

        Args:
            call_state: The call, which has ended with all calls inside it.
            records: Its records.
            line: Its line in the journal.
            start: Where that begins in the file.

        Raises:
            OSError: The file cannot be read.
        """
        in_line = {id(record["input_messages"]) for record in records}
        for attempt in _attempts_of(call_state):
            asked = attempt.call_state.request
            if asked is not None:
                attempt.call_state.request = asked._replace(messages=None, params={}, system=None)
            shot = attempt.snapshot
            if shot is None or type(shot.messages) is not Raw or shot.messages is NULL:
                continue
            data = shot.messages
            if id(data) in in_line:
                shot.messages = self._stored(data, start + line.index(data))
            else:
                shot.messages = NULL  # the record has that of the call inside

    def _stored(self, data: Raw, offset: int) -> StoredRequest:
        last = self._last
        if last is not None and last[0] is data:
            return last[1]
        if self._file is None:
            # The same file for all of them, also if somebody moves or removes it meanwhile.
            self._file = open_regular(self._path, buffering=0)  # as long as the turn is open
        request = StoredRequest(self, offset, data)
        request.load()
        self._last = data, request
        return request

    def load(self, offset: int, length: int, crc: int) -> Raw:
        """
        Read a request.

        Raises:
            OSError: The file does not contain it any more.
        """
        found = self._cache.get(offset)
        if found is not None:
            return found
        self._file.seek(offset)
        found = Raw(self._file.read(length))
        if len(found) != length or crc32(found) != crc:
            raise OSError("the journal was changed")
        while self._cache and self._cached + length > _CACHED:
            self._cached -= len(self._cache.pop(next(iter(self._cache))))
        self._cache[offset] = found
        self._cached += length
        return found

    def check(self, turn: Turn, records: Sequence[dict[str, Any]]) -> None:
        """Leave out the requests that cannot be read back, and say so, before the turn's record is made of them."""
        lost = 0
        for record in records:
            request = record["input_messages"]
            if type(request) is StoredRequest:
                try:
                    request.load()
                except OSError:
                    record["input_messages"] = NULL
                    lost += 1
        if lost:
            turn.faults += lost
            log("moa.requests_lost", key=turn.id, turn_id=turn.id, requests=lost, error="the journal was changed")


def _attempts_of(call_state: CallState) -> Iterator[Attempt]:
    for attempt in call_state.attempts:
        yield attempt
        for inner in attempt.inner:
            yield from _attempts_of(inner)


def joined(pieces: Sequence[Any]) -> bytes:
    """Return a line of its pieces. Requests in a file are read one after the other, so that they are in memory once."""
    buffer = BytesIO()
    for piece in pieces:
        buffer.write(piece.load() if type(piece) is StoredRequest else piece)
    return buffer.getvalue()
