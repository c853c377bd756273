"""
The memory of a reading: which ids and line numbers it has met, in as few bytes as possible.

* SeenIds: one 64-bit hash each, about 90 bytes with its place in a set: 10 MB for 100,000 turns, which
  is 2 GB at 20 kB a turn. Two ids of a million share a hash with a chance below one in 10 million.
* Numbers of a process's lines: one bit each, in pieces of 1,024, whatever their order.
* Turns of a session: one number each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SeenIds", "SeenNumbers", "WriterKey", "writer_key"]

_PIECE = 1024
_FULL = (1 << _PIECE) - 1

WriterKey = tuple[Any, ...]


class SeenIds:
    """The ids that were seen."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def add(self, name: str) -> bool:
        """Take an id in; whether it was new."""
        before = len(self._seen)
        self._seen.add(hash(name))
        return len(self._seen) > before


def writer_key(writer: Any) -> WriterKey | None:
    """Return what tells a process from every other, by the `writer` of a line; `None` if it tells no number."""
    if type(writer) is not dict:
        return None
    host, pid, started = writer.get("host"), writer.get("pid"), writer.get("started_at")
    seq = writer.get("seq")
    if type(seq) is not int or not 1 <= seq < 2**63 or type(pid) is not int or type(host) is not str:
        return None
    return host, pid, started if isinstance(started, float | int) else None


class SeenNumbers:
    """The numbers of lines that were seen, by process."""

    __slots__ = ("_writers",)

    def __init__(self) -> None:
        self._writers: dict[WriterKey, dict[int, int]] = {}

    def add(self, key: WriterKey, seq: int) -> None:
        """Take a number in."""
        pieces = self._writers.get(key)
        if pieces is None:
            pieces = self._writers[key] = {}
        piece, bit = divmod(seq - 1, _PIECE)
        pieces[piece] = pieces.get(piece, 0) | 1 << bit

    def gaps(self) -> Iterator[tuple[WriterKey, int, int]]:
        """
        Yield process, first and last number of each gap between its lowest and its highest number.

        What is below the lowest may be in another directory, or was removed with old files.
        """
        for key, pieces in self._writers.items():
            wanted: int | None = None
            for first, last in _runs(pieces):
                if wanted is not None and first > wanted:
                    yield key, wanted, first - 1
                wanted = last + 1


def _runs(pieces: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Yield first and last number of each row of numbers that were seen, per piece at least."""
    for piece in sorted(pieces):
        bits, base = pieces[piece], piece * _PIECE + 1
        if bits == _FULL:
            yield base, base + _PIECE - 1
            continue
        place = 0
        while bits:
            skipped = (bits & -bits).bit_length() - 1
            bits >>= skipped
            place += skipped
            length = (~bits & (bits + 1)).bit_length() - 1
            yield base + place, base + place + length - 1
            bits >>= length
            place += length
