"""
The late lines of a run: their places, so that a turn can be joined with its own when it is read.

Only places are kept, not lines: 2 GB of traces may have many. A late line may be in `late/`, in
a file of its session's name, or among the turns, where somebody has put files together.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ._bytes import BAD_FILE, Member, describe_error, lines, open_file
from ._files import LATE, order, traces_in
from ._lines import LATE_MARK, classify
from ._problems import Problem
from ._prune_mark import began_before, pruned_before

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from ._integrity import IntegrityCheck
    from ._line_limit import LineLimit
    from ._problems import ProblemLog

__all__ = ["LateIndex"]

_STEP = 1 << 20


class LateIndex:
    """
    The late lines of a run, by their turns.

    Args:
        problem_log: Takes what is wrong with them.
        limit: What is read of a line.
        integrity: Checks their digests, if anything does.
    """

    def __init__(self, problem_log: ProblemLog, limit: LineLimit, integrity: IntegrityCheck | None = None) -> None:
        self._problem_log = problem_log
        self._limit = limit
        self._integrity = integrity
        self._members: list[Member] = []
        self._places: dict[str, list[tuple[int, int, int, int]]] = {}
        """By turn: file, place, bytes, number of the line."""
        self._folders: dict[Path, dict[str, list[Path]]] = {}
        self._known: set[str] = set()
        self._mixed: set[int] = set()
        """Files of turns, in which late lines stand too."""
        self.lines = 0
        self.size = 0

    def add_session(self, folder: Path, stem: str) -> None:
        """Take in the late lines of a session, from `late/` beside its files."""
        for path in self._by_stem(folder / LATE).get(stem, ()):
            self._add_file(Member(str(path), path))

    def add_rest(self, folder: Path) -> None:
        """Take in the late lines of sessions that have no file of their own."""
        for paths in self._by_stem(folder / LATE).values():
            for path in paths:
                self._add_file(Member(str(path), path))

    def add_mixed(self, member: Member, file: IO[bytes]) -> None:
        """Take in late lines that stand among turns; the file is read to its end."""
        tail = b""
        while data := file.read(_STEP):
            if LATE_MARK in tail + data:
                file.seek(0)
                self._add_lines(member, file, mixed=True)
                return
            tail = data[-len(LATE_MARK) :]

    def _by_stem(self, folder: Path) -> dict[str, list[Path]]:
        found = self._folders.get(folder)
        if found is None:
            found = self._folders[folder] = {}
            try:
                names = traces_in(folder)
            except OSError:
                names = []
            for name in sorted(names, key=lambda one: (order(one)[1], one)):
                found.setdefault(order(name)[0], []).append(folder / name)
        return found

    def _add_file(self, member: Member) -> None:
        # A directory may be named twice, for example by a link: its lines are not reported twice.
        place = os.path.realpath(member.name)
        if place in self._known:
            return
        self._known.add(place)
        try:
            with open_file(member) as file:
                self._add_lines(member, file, mixed=False)
        except BAD_FILE as error:
            self._problem_log.add(Problem("E108", describe_error(error), member.name))

    def _add_lines(self, member: Member, file: IO[bytes], *, mixed: bool) -> None:
        number_of_file = len(self._members)
        self._members.append(member)
        if mixed:
            self._mixed.add(number_of_file)

        def skipped(offset: int, number: int, size: int, why: str) -> None:
            if not mixed:
                self._problem_log.add(Problem("E112", why, member.name, number, offset, size))

        for offset, number, line in lines(file, self._limit, growing=not mixed, skipped=skipped):
            if mixed and LATE_MARK not in line:
                continue
            if not mixed:
                self.lines += 1
                self.size += len(line)
            for piece in classify(line):
                if piece.verdict == "late":
                    place = (number_of_file, offset + piece.start, len(piece.raw), number)
                    self._places.setdefault(piece.data["turn_id"], []).append(place)
                    if self._integrity is not None:
                        pruned = pruned_before(member.path.parent.parent) if member.path and not mixed else 0.0
                        self._integrity.add(piece, line, (member.name, number, offset, len(line)), pruned=pruned)
                elif not mixed:
                    message = "it is a turn, among late lines" if piece.verdict == "turn" else piece.message
                    code = "E102" if piece.verdict == "turn" else piece.verdict
                    self._problem_log.add(Problem(code, message, member.name, number, offset, len(line)))

    def join(self, turn: dict[str, Any]) -> dict[str, Any]:
        """Return a turn's object with what its late lines tell; each line is joined once."""
        turn_id = turn.get("turn_id")
        # A line of another writer's may have anything there, what has no hash among it.
        places = self._places.pop(turn_id, None) if self._places and type(turn_id) is str else None
        if not places:
            return turn
        late_calls: dict[str | int, dict[str, Any]] = {}
        for place in places:
            for piece in classify(self._read(place)):
                if piece.verdict != "late" or piece.data["turn_id"] != turn_id:
                    continue  # the file is another one by now
                call = piece.data["call"]
                call_id = call.get("call_id")
                # Without an id it is like no other.
                call_id = call_id if isinstance(call_id, str) else len(late_calls)
                if call_id in late_calls:
                    member, offset, size, number = place
                    name = self._members[member].name
                    message = "a late call with this id was read already"
                    self._problem_log.add(Problem("E103", message, name, number, offset, size, turn_id))
                else:
                    late_calls[call_id] = call
        return _joined(turn, late_calls)

    def _read(self, place: tuple[int, int, int, int]) -> bytes:
        member, offset, size, _ = place
        try:
            with open_file(self._members[member]) as file:
                file.seek(offset)
                return file.read(size)
        except BAD_FILE:
            return b"null"  # it is gone meanwhile, or was cut

    def unjoined(self, *, whole: bool) -> Iterator[Problem]:
        """
        Yield a problem for each late line whose turn was not read.

        Args:
            whole: Everything was read; else the turns of lines in `late/` may be in files that were not.
        """
        for turn_id, places in self._places.items():
            for member, offset, size, number in places:
                if not whole and member not in self._mixed:
                    continue
                name, path = self._members[member].name, self._members[member].path
                if path is not None and began_before(turn_id, pruned_before(path.parent.parent)):
                    continue  # its turn was removed on purpose
                yield Problem("E110", "its turn is not here", name, number, offset, size, turn_id)


def _joined(turn: dict[str, Any], late_calls: dict[str | int, dict[str, Any]]) -> dict[str, Any]:
    """Put each late call into its place; one that the turn does not list goes to the further calls."""

    def real(call: Any) -> Any:
        call_id = call.get("call_id") if isinstance(call, dict) else None
        if isinstance(call_id, str) and call_id in late_calls:
            late = late_calls.pop(call_id)
            return late if call.get("outcome") is None else call
        return call

    joined = {**turn}
    for name in ("references", "calls"):
        if isinstance(turn.get(name), list):
            joined[name] = [real(call) for call in turn[name]]
    joined["aggregator"] = real(turn.get("aggregator"))
    if late_calls:
        listed = joined.get("calls")
        joined["calls"] = [*(listed if isinstance(listed, list) else ()), *late_calls.values()]
    return joined
