"""
The tail of a trace directory: turns as other processes write them, read once each.

A file is known by its inode, so one that is sealed or rotated is read on under its new name, and
what comes in its place is read from its beginning. No file stays open between two looks.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import QueryError, UnreadableError
from ._bytes import describe_error
from ._call import LateCall
from ._files import LATE, names_in, order
from ._line_limit import LineLimit
from ._lines import classify
from ._problems import Problem, ProblemLog
from ._seen import SeenIds
from ._turn import TurnView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Tail"]

_HEAD = 256
"""Bytes at the begin of a file that tell it from another one with its inode: ids and times stand there."""
_STEP = 1 << 20


@dataclass(slots=True)
class _FilePosition:
    """How far a file is read."""

    path: Path
    offset: int = 0
    changed: int = 0
    """When it was changed last, in nanoseconds: another file in its place may have its inode and its size."""
    number: int = 0
    head: bytes = b""
    rest: bytearray = field(default_factory=bytearray)
    """The line that has no end yet."""
    dropped: int = 0
    """Bytes of it that were let go, since it is too long."""
    failed: str = ""
    """Why it could not be read at the last look."""
    known: bool = False

    def restart(self) -> None:
        """Begin anew, with another file's first line."""
        self.offset = self.number = self.dropped = 0
        self.rest.clear()


class Tail:
    """
    The turns and late calls of a directory or a file, as they are written. Iterate it.

    It yields `TurnView` objects, and a `LateCall` for each late line. What stands there at the start is
    skipped, but for the last turns that are asked for. It ends when `stop` says so, or at once when it
    does not follow.

    Args:
        path: A directory, or a session's file; one that is not there yet is waited for, if its directory is.
        last: Turns that stand there already, and are yielded first.
        follow: Go on when everything is read.
        interval: Seconds between two looks.
        stop: Called at each look; a true value ends the tail when all that is there was yielded.
        max_line_bytes: Bytes of a line that are read, as in `open`.
        estimate: As in `read.open`.

    Raises:
        UnreadableError: There is no such path, and no directory where it could come to be; or it is a file
            that no session writes to, for example a compressed one.
        QueryError: `last` or `interval` is negative.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        last: int = 10,
        follow: bool = True,
        interval: float = 0.2,
        stop: Callable[[], object] | None = None,
        max_line_bytes: int | None = None,
        estimate: bool = True,
    ) -> None:
        if last < 0 or interval < 0:
            raise QueryError("`last` and `interval` are 0 or more")
        self._path = Path(path)
        if self._path.suffix != ".jsonl" and self._path.is_file():
            raise UnreadableError(f"{path} cannot be followed: need a directory, or a session's .jsonl file")
        if not self._path.exists() and not (follow and self._path.absolute().parent.is_dir()):
            raise UnreadableError(f"{path} does not exist")
        try:
            if self._path.is_dir():
                names_in(self._path)
            elif self._path.exists():
                self._path.open("rb").close()
        except OSError as error:
            raise UnreadableError(f"{path} cannot be read: {error.strerror}") from None
        self._limit = LineLimit.of(max_line_bytes)
        self._last = last
        self._follow = follow
        self._interval = interval
        self._stop = stop
        self._estimate = estimate
        self._places: dict[tuple[int, int], _FilePosition] = {}
        self._ids = SeenIds()
        self._seen: Counter[str | None] = Counter()
        self._problem_log = ProblemLog()
        self._odd: set[str] = set()
        """Names in a directory that cannot be looked at."""
        self._begun = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was wrong with lines and files so far, the first 10,000 of it."""
        return tuple(self._problem_log.kept)

    def __iter__(self) -> Iterator[TurnView | LateCall]:
        if not self._begun:
            self._begun = True
            yield from self._standing()
        while self._follow:
            stopping = self._stop is not None and bool(self._stop())
            found = list(self._look())
            found.sort(key=lambda one: one.ts or 0.0)
            yield from found
            if stopping:
                return
            if not found:
                time.sleep(self._interval)

    def _standing(self) -> Iterator[TurnView | LateCall]:
        """Yield the last turns that are there, and count the others."""
        kept: list[tuple[float, int, TurnView]] = []
        for count, one in enumerate(self._look() if self._follow else chain(self._look(), self._unended())):
            if isinstance(one, TurnView):
                kept.append((one.ts or 0.0, count, one))
                if len(kept) > 2 * self._last + 8:
                    kept = sorted(kept)[-self._last :] if self._last else []
        for _, _, turn in sorted(kept)[-self._last :] if self._last else ():
            yield turn

    # One look -------------------------------------------------------------------------------------

    def _look(self) -> Iterator[TurnView | LateCall]:
        """Yield what is new in all files."""
        there: set[tuple[int, int]] = set()
        for path, status in self._files():
            key = (status.st_dev, status.st_ino)
            if key in there:
                continue
            there.add(key)
            place = self._places.get(key)
            if place is None:
                place = self._places[key] = _FilePosition(path)
            place.path = path
            if status.st_size != place.offset or status.st_ctime_ns != place.changed or not place.known:
                place.changed = status.st_ctime_ns
                yield from self._new(place, key)
        for key in self._places.keys() - there:
            del self._places[key]

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the files, segments in their order."""
        if self._path.is_dir():
            folders, stem = (self._path, self._path / LATE), None
        else:
            folders, stem = (self._path.parent, self._path.parent / LATE), order(self._path.name)[0]
        for folder in folders:
            try:
                entries = [entry for entry in os.scandir(folder) if entry.name.endswith(".jsonl")]
            except OSError:
                continue
            for entry in sorted(entries, key=lambda one: order(one.name)):
                if stem is not None and order(entry.name)[0] != stem:
                    continue
                try:
                    status = entry.stat(follow_symlinks=True)
                except FileNotFoundError:
                    continue  # sealed or removed just now, or a link to nothing
                except OSError as error:
                    name = str(folder / entry.name)
                    if name not in self._odd:
                        self._odd.add(name)
                        self._problem_log.add(Problem("E108", describe_error(error), name))
                    continue
                if entry.is_file():
                    yield folder / entry.name, status

    def _new(self, place: _FilePosition, key: tuple[int, int]) -> Iterator[TurnView | LateCall]:
        try:
            with place.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if (status.st_dev, status.st_ino) != key:
                    return  # it was sealed or rotated just now: the next look finds both
                head = file.read(_HEAD)
                if status.st_size < place.offset or not head.startswith(place.head):
                    if status.st_size < place.offset:
                        self._add_problem("E111", "it is shorter than it was; it is read from its beginning", place)
                    place.restart()
                place.head = head
                place.known, place.failed = True, ""
                file.seek(place.offset)
                while data := file.read(_STEP):
                    yield from self._split(place, data)
        except FileNotFoundError:
            return
        except OSError as error:
            place.restart()
            # It is tried again at each look, and told once.
            if place.failed != describe_error(error):
                place.known, place.failed = True, describe_error(error)
                self._add_problem("E108", place.failed, place)

    def _split(self, place: _FilePosition, data: bytes) -> Iterator[TurnView | LateCall]:
        start = place.offset - len(place.rest) - place.dropped
        place.offset += len(data)
        first, *pieces = data.split(b"\n")
        place.rest += first
        if len(place.rest) > self._limit.most:
            place.dropped += len(place.rest)
            place.rest.clear()
        if not pieces:
            return
        whole, dropped = bytes(place.rest), place.dropped
        place.rest, place.dropped = bytearray(pieces.pop()), 0
        if dropped:
            place.number += 1
            size = dropped + len(whole)
            self._add_long(place, start, size, self._limit.why_too_long(size))
            start += size + 1
        else:
            pieces.insert(0, whole)
        for line in pieces:
            place.number += 1
            if line and not line.isspace():
                yield from self._line(place, line, start)
            start += len(line) + 1

    def _unended(self) -> Iterator[TurnView | LateCall]:
        """Yield what lines say that have no newline, when nothing more is waited for."""
        for place in self._places.values():
            if place.rest.strip():
                place.number += 1
                yield from self._line(place, bytes(place.rest), place.offset - len(place.rest))

    def _line(self, place: _FilePosition, line: bytes, start: int) -> Iterator[TurnView | LateCall]:
        file = str(place.path)
        why = self._limit.why_not_parsed(line)
        if why is not None:
            self._add_long(place, start, len(line), why)
            return
        for piece in classify(line):
            if piece.verdict == "late":
                call_id = piece.data["call"].get("call_id")
                # A file that is read anew tells nothing twice.
                name = call_id if isinstance(call_id, str) else blake2b(piece.raw, digest_size=6).hexdigest()
                if self._ids.add(f"{piece.data['turn_id']} {name}"):
                    yield LateCall.of(piece.data, file=file, line=place.number)
            elif piece.verdict == "turn":
                turn = self._turn(piece.data, piece.raw, place, start + piece.start)
                if turn is not None:
                    yield turn
            else:
                self._problem_log.add(Problem(piece.verdict, piece.message, file, place.number, start, len(line)))

    def _add_long(self, place: _FilePosition, start: int, size: int, why: str) -> None:
        self._problem_log.add(Problem("E112", why, str(place.path), place.number, start, size))

    def _turn(self, data: dict[str, Any], raw: bytes, place: _FilePosition, start: int) -> TurnView | None:
        turn_id = data.get("turn_id")
        if not isinstance(turn_id, str):
            turn_id = f"~{blake2b(raw, digest_size=6).hexdigest()}"
        if not self._ids.add(turn_id):
            # A file that was cut or copied is read anew; its turns were told.
            return None
        session = data.get("session_id")
        session = session if isinstance(session, str) else None
        self._seen[session] += 1
        file = str(place.path)
        return TurnView(
            data,
            raw=raw,
            file=file,
            line=place.number,
            offset=start,
            number=self._seen[session],
            id=turn_id,
            estimates=self._estimate,
        )

    def _add_problem(self, code: str, message: str, place: _FilePosition) -> None:
        self._problem_log.add(Problem(code, message, str(place.path)))
