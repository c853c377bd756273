"""
The contents of a report, from one reading of a run: light rows in memory, the turns in a file on the disk.

The figures come from the code of `moa stats`, so that they are the same; turn by turn, since each page
of a report that is split has figures of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from ..read import StatsBuilder, to_jsonable
from ._cost_words import cost_words
from ._data import limit_depth, tokens, turn_data
from ._grid import Grid
from ._index import Index
from ._page import as_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..read import Filters, Run, Stats, TurnView
    from ._redact import ReportRedactor

__all__ = ["Group", "ReportContents", "figures", "gather"]


class Group:
    """
    The turns of one session, or all of them.

    Attributes:
        places: Their places among the rows.
        size: Bytes of their blocks.
    """

    def __init__(self) -> None:
        self.places: list[int] = []
        self.size = 0
        self.begin: float | None = None
        self.end: float | None = None
        self._stats = StatsBuilder("model")
        self._grid = Grid()

    def add(self, place: int, size: int, turn: TurnView, grid: list[list[float | None]]) -> None:
        """Take a turn in."""
        self.places.append(place)
        self.size += size
        self._stats.add(turn)
        self._grid.add(turn, grid)
        if (at := turn.at) is not None:
            self.begin = at if self.begin is None else min(self.begin, at)
        if (at := turn.ended_at) is not None:
            self.end = at if self.end is None else max(self.end, at)

    def to_jsonable(self) -> dict[str, Any]:
        """Return its figures, grid and times."""
        return {
            "figures": figures(self._stats.stats()),
            "grid": self._grid.to_jsonable(),
            "begin": self.begin,
            "end": self.end,
        }


def figures(found: Stats) -> dict[str, Any]:
    """Return what `moa stats --json` prints, and each cost in words."""
    stats = to_jsonable(found)
    for one, row in zip([*stats["rows"], stats["total"]], [*found.rows, found.total], strict=True):
        one["usage"] = tokens(row.usage)
    return {"stats": stats, "costs": [cost_words(row.cost) for row in found.rows], "cost": str(found.total.cost)}


@dataclass
class ReportContents:
    """
    What pages are made of.

    Attributes:
        index: The rows of all turns.
        whole: All of them.
        sessions: The turns of each session, in the order in which they were met.
        files: Names of the files that the turns are in, without directories.
        spool: The blocks, one behind the other.
        blocks: Where each begins, and its length.
    """

    index: Index
    spool: IO[bytes]
    whole: Group = field(default_factory=Group)
    sessions: dict[str | None, Group] = field(default_factory=dict)
    names: dict[str | None, str | None] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)
    blocks: list[tuple[int, int]] = field(default_factory=list)

    def blocks_of(self, places: Sequence[int]) -> Iterator[bytes]:
        """Yield the blocks of rows, named by their order here."""
        for number, place in enumerate(places):
            start, length = self.blocks[place]
            self.spool.seek(start)
            block = self.spool.read(length)
            yield block.replace(b'id="turn"', b'id="turn-%d"' % number, 1)


def gather(
    run: Run, spool: IO[bytes], redactor: ReportRedactor, *, content: bool, split: bool, filters: Filters
) -> ReportContents:
    """
    Read a run.

    Args:
        run: The run.
        spool: A file for the blocks of the turns.
        redactor: Takes out what must not be shown.
        content: Whether texts go in.
        split: Whether figures of each session are wanted.
        filters: As in `Run.turns`.
    """
    found = ReportContents(Index(content=content), spool)
    at = 0
    for place, turn in enumerate(run.turns(**filters)):
        file = redactor.file(turn.file)
        try:
            shown = redactor.turn(turn)
            data = turn_data(turn, shown, file, content=content)
        except RecursionError:
            turn = limit_depth(turn)  # noqa: PLW2901 - the same turn
            shown = redactor.turn(turn)
            data = turn_data(turn, shown, file, content=content)
        data["id"] = found.index.unique_id(shown.id)
        block = as_block("turn", data)
        spool.write(block)
        found.blocks.append((at, len(block)))
        at += len(block)
        found.index.add(turn, shown, data["id"])
        found.whole.add(place, len(block), turn, data["alike"])
        found.files[file] = None
        if split:
            session = turn.session_id
            group = found.sessions.get(session)
            if group is None:
                group = found.sessions[session] = Group()
                found.names[session] = shown.session_id
            group.add(place, len(block), turn, data["alike"])
    return found
