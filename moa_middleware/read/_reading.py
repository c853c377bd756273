"""
One reading of a run, from its first line to its last, with the problems that it meets.

It keeps in memory what `_seen` and `_late` say, one line, and nothing of what a line holds.
"""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from hashlib import blake2b
from typing import IO, TYPE_CHECKING, Any

from .._layout.folder import kind_of
from .._layout.names import is_turn_id
from ._bytes import BAD_FILE, PROGRESS_STEP, Member, describe_error, lines, open_file
from ._fields import number as number_of
from ._files import OPEN, opened, traces_in
from ._integrity import IntegrityCheck
from ._json import parse_json
from ._late import LateIndex
from ._line_limit import LineLimit
from ._lines import classify
from ._problems import Problem, ProblemLog
from ._prune_mark import pruned_before
from ._seen import SeenIds, SeenNumbers, writer_key
from ._turn import TurnView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .._layout.digest import Key
    from ._files import Base, Input, Opened
    from ._seen import WriterKey

__all__ = ["Reading"]


class Reading:
    """
    One reading; iterate `turns` once.

    Attributes:
        problem_log: The problems so far, all of them once it is `done`.
        done: Whether every line was read.
        files: Files that were opened, but for those of late lines.
        lines: Lines that were read, blank ones not counted.
        size: Their bytes.
        seen: Turns that were read, by session.
        journals: Files of open turns, which are not read.
        integrity: What lines prove, if that is checked.

    Args:
        inputs: What is read.
        strict: Raise at the first problem.
        figures: Of turns read only what figures are made of.
        limit: What is read of a line.
        progress: Called with the bytes of the lines so far, each 8 MB and at the end.
        keys: Check what lines prove, with these keys; `None` leaves that out.
        estimates: Whether the costs of turns hold estimates.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        *,
        strict: bool = False,
        figures: bool = False,
        limit: LineLimit | None = None,
        progress: Callable[[int], object] | None = None,
        keys: Sequence[Key] | None = None,
        estimates: bool = False,
    ) -> None:
        self._inputs = inputs
        self._estimates = estimates
        self._progress = progress
        self._next_report = PROGRESS_STEP if progress is not None else math.inf
        self._figures = figures
        self._limit = limit or LineLimit()
        self.problem_log = ProblemLog(strict=strict)
        self.done = False
        self.files = 0
        self.lines = 0
        self.size = 0
        self.journals = 0
        self.seen: Counter[str | None] = Counter()
        self._ids = SeenIds()
        self._numbers = SeenNumbers()
        self.integrity = None if keys is None else IntegrityCheck(self.problem_log, keys)
        self._late = LateIndex(self.problem_log, self._limit, self.integrity)
        self._singles: list[Path] = []
        self._pruned = 0.0

    @property
    def late_lines(self) -> int:
        """Late lines in files of their own."""
        return self._late.lines

    @property
    def turn_count(self) -> int:
        """Turns that were read."""
        return self.seen.total()

    @property
    def is_whole(self) -> bool:
        """Return True if all that is read is whole directories."""
        return all(given.folder is not None for given in self._inputs)

    def turns(self) -> Iterator[TurnView]:
        """
        Yield each turn once, late calls joined, in the order of files and lines.

        Raises:
            ProblemError: The reading is strict, and met a problem.
        """
        for given in self._inputs:
            for base, found in self._opened(given):
                yield from self._session(base, found)
        self._end()
        self.done = True
        self._report_progress()

    def _opened(self, given: Input) -> Iterator[tuple[Base | None, Iterator[Opened]]]:
        # What is caught here, and in `_lines`, is of the files: not of whoever iterates, nor of `progress`.
        try:
            yield from opened(given)
        except BAD_FILE as error:
            self.problem_log.add(Problem("E108", describe_error(error), given.name))

    def _session(self, base: Base | None, found: Iterator[Opened]) -> Iterator[TurnView]:
        if base is not None:
            self._late.add_session(base.folder, base.stem)
            self._pruned = pruned_before(base.folder)
            if base.only is not None:
                self._singles.append(base.only)
        for member, file in found:
            if isinstance(file, OSError):
                self.problem_log.add(Problem("E108", describe_error(file), member.name))
                continue
            with file:
                yield from self._file(member, file)

    def _lines(self, member: Member, file: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
        def skipped(offset: int, number: int, size: int, why: str) -> None:
            self.lines += 1
            self.size += size
            self.problem_log.add(Problem("E112", why, member.name, number, offset, size))

        with suppress(*BAD_FILE):  # the reading itself meets it, and tells it
            self._late.add_mixed(member, file)
        try:
            file.seek(0)
            yield from lines(file, self._limit, growing=member.path is not None, skipped=skipped)
        except BAD_FILE as error:
            self.problem_log.add(Problem("E108", describe_error(error), member.name))

    def _file(self, member: Member, file: IO[bytes]) -> Iterator[TurnView]:
        self.files += 1
        problem_log = self.problem_log
        first: tuple[Any] | None = None
        sessions_named: set[Any] = set()
        for offset, number, line in self._lines(member, file):
            self.lines += 1
            self.size += len(line)
            if self.size >= self._next_report:
                self._report_progress()
            place = (member.name, number, offset, len(line))
            for piece in classify(line, figures=self._figures):
                data = piece.data
                if piece.verdict == "turn":
                    turn_id = data.get("turn_id")
                    if type(turn_id) is not str:
                        turn_id = f"~{blake2b(piece.raw, digest_size=6).hexdigest()}"
                    key = writer_key(data.get("writer"))
                    # Of what was written before old files were removed, nothing is missed.
                    if key is not None and not (self._pruned and (number_of(data.get("ts")) or 0.0) < self._pruned):
                        self._numbers.add(key, data["writer"]["seq"])
                    is_new = self._ids.add(turn_id)
                    if self.integrity is not None:
                        self.integrity.add(piece, line, place, pruned=self._pruned, known=not is_new)
                    if not is_new:
                        problem_log.add(Problem("E103", "a turn with this id was read already", *place, turn_id))
                        continue
                    session = data.get("session_id")
                    session = session if type(session) is str else None
                    if first is None:
                        first = (session,)
                    elif session != first[0] and member.own and session not in sessions_named:
                        sessions_named.add(session)
                        message = "it is of another session than the lines before it"
                        problem_log.add(Problem("E105", message, *place, turn_id))
                    self.seen[session] += 1
                    yield TurnView(
                        self._late.join(data),
                        raw=piece.raw,
                        file=member.name,
                        line=number,
                        offset=offset + piece.start,
                        number=self.seen[session],
                        id=turn_id,
                        estimates=self._estimates,
                    )
                elif piece.verdict != "late":
                    problem_log.add(Problem(piece.verdict, piece.message, *place))

    def _report_progress(self) -> None:
        if self._progress is not None:
            self._next_report = self.size + PROGRESS_STEP
            self._progress(self.size)

    # When all is read ----------------------------------------------------------------------------

    def _end(self) -> None:
        whole = False
        for given in self._inputs:
            if given.folder is not None:
                whole = True
                self._late.add_rest(given.folder)
                folder = given.folder / OPEN
                self.journals += sum(_is_journal(folder, name) for name in _traces_in(folder))
        if self.integrity is not None and self.is_whole:
            for problem in self.integrity.missing():
                self.problem_log.add(problem)
        gaps = list(self._numbers.gaps())
        if gaps and self._singles:
            # The process may have written the missing lines into files beside those that were named.
            gaps = self._elsewhere(gaps)
        for (host, pid, _), first, last in gaps:
            lines, are = (f"line {first:,}", "is") if first == last else (f"lines {first:,} to {last:,}", "are")
            self.problem_log.add(Problem("E104", f"{lines} of process {pid} on {host[:100]!r} {are} missing"))
        for problem in self._late.unjoined(whole=whole):
            self.problem_log.add(problem)

    def _elsewhere(self, gaps: list[tuple[WriterKey, int, int]]) -> list[tuple[WriterKey, int, int]]:
        """Return the gaps that remain when the files beside those that were named are looked at."""
        writers = {key for key, _, _ in gaps}
        marks = tuple(f'"pid":{key[1]},'.encode() for key in writers)
        read = {path.absolute() for path in self._singles}
        for folder in {path.parent for path in read}:
            for name in _traces_in(folder):
                if folder / name not in read:
                    self._look(folder / name, writers, marks)
        # What is missing behind the last line of the files that were named is not theirs.
        return [
            (key, max(first, start), min(last, end))
            for key, first, last in self._numbers.gaps()
            for writer, start, end in gaps
            if key == writer and first <= end and last >= start
        ]

    def _look(self, path: Path, writers: set[WriterKey], marks: tuple[bytes, ...]) -> None:
        try:
            with open_file(Member(str(path), path)) as file:
                for _, _, line in lines(file, self._limit):
                    if any(mark in line for mark in marks):
                        try:
                            value = parse_json(line)
                        except (ValueError, RecursionError):
                            continue
                        key = writer_key(value.get("writer")) if type(value) is dict else None
                        if key in writers and key is not None:
                            self._numbers.add(key, value["writer"]["seq"])
        except BAD_FILE:
            return


def _is_journal(folder: Path, name: str) -> bool:
    """Return True if a file below `open/` may be a journal, as `moa recover` judges by its name."""
    if not is_turn_id(name.removesuffix(".jsonl")):
        return False
    try:
        return kind_of((folder / name).lstat()) is None
    except OSError:
        return False


def _traces_in(folder: Path) -> list[str]:
    try:
        return traces_in(folder)
    except OSError:
        return []  # it is not there, or may not be listed
