"""A run: the traces that were opened, and the questions that can be asked of them."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Unpack

from ..errors import AmbiguousTurnError, NoTurnError, UnreadableError
from ._cost import Cost
from ._files import resolve
from ._line_limit import LineLimit
from ._reading import Reading
from ._select import TurnFilter
from ._tree import TurnTree

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .._layout.digest import Key
    from ._files import Source
    from ._problems import Problem
    from ._select import Filters
    from ._stats import Stats
    from ._tables import Tables
    from ._turn import TurnView
    from ._verify import VerifyReport

__all__ = ["Run", "open_run"]

_SHORTEST = 4
"""Characters of an id that name a turn at least."""
_NAMED = 5
"""Turns that an error names at most."""


class Run:
    """
    Traces that were opened. Each question reads them anew, from the first line to the last.

    Memory stays constant: one line, and about 90 bytes for each turn's id. It is iterable, over its turns.
    """

    def __init__(
        self, source: Source | Iterable[Source] = None, *, max_line_bytes: int | None = None, estimate: bool = True
    ) -> None:
        self._limit = LineLimit.of(max_line_bytes)
        self._inputs = resolve(source)
        self._estimate = estimate
        self._last: Reading | None = None
        self._progress: Callable[[int], object] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What was opened: directories, files and patterns as they were named, streams by their names."""
        return tuple(given.name for given in self._inputs)

    @property
    def size(self) -> int | None:
        """Bytes of the files on the disk, late ones left out; `None` where a stream or a compressed file is among them."""
        total = 0
        for given in self._inputs:
            if given.stream is not None:
                return None
            for base in given.bases():
                for path in (base.folder / name for name in base.names) if base.only is None else (base.only,):
                    if path.suffix == ".gz":
                        return None
                    with suppress(OSError):  # it is gone since
                        total += path.stat().st_size
        return total

    def on_progress(self, tell: Callable[[int], object] | None) -> None:
        """
        Have readings tell how far they are.

        Args:
            tell: Called with the bytes of the lines so far, each 8 MB and at the end of a reading; `None`
                for nobody. With `size` they make a bar.
        """
        self._progress = tell

    def _reading(self, *, strict: bool = False, figures: bool = False, keys: Sequence[Key] | None = None) -> Reading:
        return Reading(
            self._inputs,
            strict=strict,
            figures=figures,
            limit=self._limit,
            progress=self._progress,
            keys=keys,
            estimates=self._estimate,
        )

    def __repr__(self) -> str:
        """Name what was opened."""
        return f"<Run {', '.join(self.names)}>"

    def __iter__(self) -> Iterator[TurnView]:
        return self.turns()

    def turns(self, *, strict: bool = False, **filters: Unpack[Filters]) -> Iterator[TurnView]:
        """
        Yield the turns, in the order of files (by name, segments first) and lines.

        Args:
            strict: Raise at the first problem; else problems are gathered in `problems`.
            filters: `session` and `preset`: one or several names. `model`: one or several models that a call
                asked, `*` for anything. `since` and `until`: the turn began then or later, and before; epoch
                seconds, a datetime or ISO 8601. `failed`: whether the turn or one of its calls failed; with
                `"unhandled"` those do not count whose function caught the error or cancellation.
                `min_cost`: its cost, as far as it is recorded or estimated, is so many USD or more.

        Raises:
            QueryError: A filter has a value that it cannot use.
            ProblemError: The reading is strict, and met a problem.
        """
        wants = TurnFilter(**filters).compiled()
        return self._turns(self._reading(strict=strict), wants)

    def _turns(self, reading: Reading, wants: object) -> Iterator[TurnView]:
        for turn in reading.turns():
            if wants is None or wants(turn):  # type: ignore[operator]
                yield turn
        self._last = reading

    def _figures(self, filters: Filters) -> Iterator[TurnView]:
        """Yield turns that hold what figures are made of, and no text."""
        return self._turns(self._reading(figures=True), TurnFilter(**filters).compiled())

    def _read(self) -> Reading:
        """Return the last whole reading; make one if there is none."""
        if self._last is None:
            deque(self._figures({}), maxlen=0)
        assert self._last is not None  # noqa: S101 - set above
        return self._last

    # Problems ------------------------------------------------------------------------------------

    @property
    def problems(self) -> tuple[Problem, ...]:
        """
        What is wrong with lines and files, as far as a reading sees it; `verify` looks further.

        They are those of the last reading that came to the end; if there is none, everything is read
        now. The first 10,000 are kept; `problem_counts` counts all.
        """
        return tuple(self._read().problem_log.kept)

    @property
    def problem_counts(self) -> Mapping[str, int]:
        """How many problems there are of each code."""
        return dict(self._read().problem_log.counts)

    def verify(
        self,
        *,
        semantics: bool = True,
        ignore: Iterable[str] = (),
        key_files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    ) -> VerifyReport:
        """
        Read everything, and return what is wrong.

        Args:
            semantics: Look whether each reference reached a later prompt, and whether late calls ended.
            ignore: Codes that do not count, for example `E104`.
            key_files: Files of the keys that the lines were made with (`MOA_INTEGRITY_KEY_FILE`). With any, a
                line without an HMAC of one of them is a problem.

        Raises:
            QueryError: A code does not exist, or a key file cannot be used.
        """
        from ._verify import keys_in, verify

        reading = self._reading(keys=keys_in(key_files))
        return verify(reading, self._turns(reading, None), semantics=semantics, ignore=ignore)

    # One turn ------------------------------------------------------------------------------------

    def turn(self, name: str) -> TurnView:
        """
        Return one turn.

        Args:
            name: `SESSION#N`, the N-th turn of a session from 1; an id, or its beginning (4 characters or
                more); `first` or `last`, by the time when the line was written.

        Raises:
            NoTurnError: There is none of that name.
            AmbiguousTurnError: There are several.
        """
        if name in ("first", "last"):
            return self._at_the_end(name)
        session, mark, figures = name.rpartition("#")
        by_number = bool(mark) and figures.isascii() and figures.isdigit()
        found: list[TurnView] = []
        more = 0
        for turn in self.turns():
            if turn.id == name:
                return turn
            if (by_number and turn.number == int(figures[:18]) and turn.name.rpartition("#")[0] == session) or (
                len(name) >= _SHORTEST and turn.id.startswith(name)
            ):
                more += 1
                if len(found) < _NAMED:
                    found.append(turn)
        if not found:
            raise NoTurnError(f"no turn is named {name!r}: {self._hint(name, session if by_number else None)}")
        if more > 1:
            names = ", ".join(f"{turn.id} ({turn.name})" for turn in found)
            more -= len(found)
            raise AmbiguousTurnError(f"{name!r} names several turns: {names}{f' and {more} more' if more else ''}")
        return found[0]

    def _hint(self, name: str, session: str | None) -> str:
        seen = self._read().seen
        if not seen:
            return "there is none at all"
        count = seen.get(session) if session is not None else None
        if count:
            return f"session {session!r} has {count:,} turn{'' if count == 1 else 's'}"
        if session is None and len(name) < _SHORTEST:
            return f"an id needs {_SHORTEST} characters at least"
        return "need SESSION#N, the beginning of an id, first or last"

    def _at_the_end(self, which: str) -> TurnView:
        found: TurnView | None = None
        for turn in self.turns():
            if found is None:
                found = turn
                continue
            one, other = found.ts, turn.ts
            if one is None or other is None:
                later = which == "last"
            else:
                later = other >= one if which == "last" else other < one
            if later:
                found = turn
        if found is None:
            raise NoTurnError(f"no turn is named {which!r}: there is none at all")
        return found

    def parent(self, turn: TurnView) -> TurnView | None:
        """Return the turn around a turn, `None` if there is none or it is not here."""
        wanted = turn.parent_turn_id
        if wanted is None:
            return None
        return next((one for one in self.turns() if one.turn_id == wanted), None)

    def children(self, turn: TurnView) -> tuple[TurnView, ...]:
        """Return the turns opened inside a turn, in the order in which they were opened."""
        return tuple(one.turn for one in self.tree(turn, depth=1).children)

    def tree(self, turn: TurnView, *, depth: int = 100) -> TurnTree:
        """
        Return a turn with the turns inside it, and theirs; each level reads the run once.

        Args:
            turn: The root.
            depth: Levels below it at most.
        """
        levels: list[list[TurnView]] = [[turn]]
        known = {turn.id}
        while len(levels) <= depth:
            above = {one.turn_id for one in levels[-1] if one.turn_id is not None}
            listed = {inner for one in levels[-1] for inner in one.turns}
            if not above:
                break
            level = [
                one
                for one in self.turns()
                if one.id not in known and (one.parent_turn_id in above or one.turn_id in listed)
            ]
            known |= {one.id for one in level}
            if not level:
                break
            levels.append(level)
        return TurnTree.of(levels)

    # Figures -------------------------------------------------------------------------------------

    def stats(self, by: str | None = None, **filters: Unpack[Filters]) -> Stats:
        """
        Return counts, tokens, costs and times, by group.

        Args:
            by: `model`, `role`, `label` or `provider` of the calls; `preset`, `session`, `outcome` or `day`
                (UTC) of the turns; `None` for one row of all.
            filters: As in `turns`.

        Raises:
            QueryError: There is no such grouping, or a filter has a value that it cannot use.
        """
        from ._stats import stats

        return stats(self._figures(filters), by)

    def cost(self, **filters: Unpack[Filters]) -> Cost:
        """Return what the turns cost together; `filters` are those of `turns`."""
        return sum((turn.cost for turn in self._figures(filters)), Cost())

    def tables(self, **filters: Unpack[Filters]) -> Tables:
        """
        Return the turns, their calls and their messages as tables, in memory.

        Args:
            filters: As in `turns`.

        Raises:
            ExtraMissingError: pyarrow is not installed; it comes with the extra `tables`.
        """
        from ._tables import tables

        return tables(self.turns(**filters))


def open_run(
    source: Source | Iterable[Source] = None, *, max_line_bytes: int | None = None, estimate: bool = True
) -> Run:
    """
    Open traces; nothing is read yet but names.

    Args:
        source: A `.jsonl` or `.jsonl.gz` file, a directory, a glob pattern (`**` for every level), `-` for
            stdin, an open file (binary or text), or several of these; `None` is the directory of the
            settings (`MOA_TRACE_DIR`). A stream is copied to a file on the disk first, which goes with
            the run. Of a directory its own files are read, segments in their order, `late/` joined; a
            file that is named stands for itself, with what `late/` beside it tells of its turns.
        max_line_bytes: Bytes of a line that are read, 64 MiB by default; a line may have one value for each
            32 of them. One that has more is the problem E112.
        estimate: Estimate prices that were not recorded, with the list prices of the extra `prices`. A `Cost`
            keeps them apart from what was recorded. Without the extra there are no estimates.

    Raises:
        UnreadableError: What is named is not there, or cannot be opened.
        QueryError: It is nothing of the kind, or the limit is too small.
        SettingsError: No source was given, and the settings are bad.
    """
    try:
        return Run(source, max_line_bytes=max_line_bytes, estimate=estimate)
    except UnreadableError:
        raise
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or type(error).__name__}") from None
