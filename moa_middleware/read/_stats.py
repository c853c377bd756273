"""
The figures of a run: counts, tokens, costs and times, by group.

A percentile is the nearest rank: the smallest recorded value that at least p per cent of the values
do not exceed, which is the value at place ceil(p / 100 * n) of the sorted ones. It is always a value
that was recorded, and exact: each duration is kept, in 8 bytes.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ..errors import QueryError
from ._call import TokenUsage, is_failed
from ._cost import Cost, RunningSum, sum_of
from ._fields import number, text, whole
from ._select import day_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._call import CallView
    from ._turn import TurnView

__all__ = ["GROUPINGS", "DurationStats", "Stats", "StatsRow", "percentile"]

OF_CALLS = ("model", "role", "label", "provider")
OF_TURNS = ("preset", "session", "outcome", "day")
GROUPINGS = (*OF_CALLS, *OF_TURNS)
_IN_AND_OUT = 2
"""The first so many counts of a `TokenUsage`: tokens in, tokens out."""
_ADDED = ("calls", "failed", "handled", "late", "pending", "unread", "calls_without_usage", "unpriced", "estimated")
_PLACES = tuple(enumerate(one.name for one in fields(TokenUsage)))


def percentile(values: Sequence[float], p: float) -> float | None:
    """
    Return the nearest-rank percentile of values that are sorted, `None` of none.

    Args:
        values: In ascending order.
        p: From 0 to 100; 0 is the smallest value.

    Raises:
        QueryError: `p` is not within 0 and 100.
    """
    if not 0 <= p <= 100:  # noqa: PLR2004 - per cent
        raise QueryError(f"a percentile is from 0 to 100, not {p!r}")
    if not values:
        return None
    # A whole number first: 7 / 100 * 100 is a little more than 7.
    return values[max(1, math.ceil(p * len(values) / 100)) - 1]


@dataclass(frozen=True, slots=True)
class DurationStats:
    """
    How durations are spread, in milliseconds; `None` where there is none.

    Attributes:
        count: How many are known.
        values: All of them, in ascending order.
    """

    values: Sequence[float]

    @property
    def count(self) -> int:
        """How many are known."""
        return len(self.values)

    def percentile(self, p: float) -> float | None:
        """Return the nearest-rank percentile, `p` from 0 to 100."""
        return percentile(self.values, p)

    @property
    def p50(self) -> float | None:
        """The median, by nearest rank."""
        return percentile(self.values, 50)

    @property
    def p95(self) -> float | None:
        """The 95th percentile, by nearest rank."""
        return percentile(self.values, 95)

    @property
    def longest(self) -> float | None:
        """The longest."""
        return self.values[-1] if self.values else None

    @property
    def mean(self) -> float | None:
        """The arithmetic mean."""
        every = sum_of(self.values)
        return None if every is None else every / len(self.values)

    def __repr__(self) -> str:
        """Tell the figures, not each value."""
        return f"DurationStats(count={self.count}, p50={self.p50}, p95={self.p95}, longest={self.longest})"


@dataclass(frozen=True, slots=True)
class StatsRow:
    """
    The figures of one group.

    Attributes:
        key: What its turns or calls share; `None` is what is not known.
        turns: Turns in the group, or with a call in it.
        failed_turns: Those that failed themselves.
        calls: Calls that asked a model.
        failed: Calls that failed: those that their function handled, and refusals by a middleware, among them.
        handled: Those of `failed` whose error or cancellation their function caught.
        late: Calls that ended after their turn.
        pending: Calls whose end nothing tells.
        usage: Sums of the known tokens.
        cost: Sums of the recorded and of the estimated prices, and how many are not known.
        unread: Calls whose reply was not understood.
        calls_without_usage: Calls that asked a model and report neither tokens in nor out: the sums are at least so much.
        turn_ms: Durations of the turns.
        call_ms: Durations of the calls, failed ones among them.
        first_chunk_ms: Times to the first chunk of the calls that were streamed.
    """

    key: str | None
    turns: int
    failed_turns: int
    calls: int
    failed: int
    handled: int
    late: int
    pending: int
    usage: TokenUsage
    cost: Cost
    unread: int
    calls_without_usage: int
    turn_ms: DurationStats
    call_ms: DurationStats
    first_chunk_ms: DurationStats


@dataclass(frozen=True, slots=True)
class Stats:
    """
    Figures by group.

    Attributes:
        by: What the rows are grouped by, `None` for a single row.
        rows: In the order of their keys, the unknown one last.
        total: All of it.
    """

    by: str | None
    rows: tuple[StatsRow, ...]
    total: StatsRow

    def __iter__(self) -> Iterator[StatsRow]:
        return iter(self.rows)

    def row(self, key: str | None) -> StatsRow:
        """
        Return the row of a group.

        Raises:
            KeyError: There is no such group.
        """
        for row in self.rows:
            if row.key == key:
                return row
        raise KeyError(key)


class _GroupTotals:
    """The figures of a group in the making; plain integers, since this runs once for each call."""

    __slots__ = (
        "calls",
        "calls_without_usage",
        "estimated",
        "estimated_usd",
        "failed",
        "failed_turns",
        "first",
        "handled",
        "known",
        "late",
        "ms",
        "pending",
        "table",
        "tokens",
        "turn_ms",
        "turns",
        "unpriced",
        "unread",
    )

    def __init__(self) -> None:
        self.turns = self.failed_turns = self.calls = self.failed = self.late = self.pending = 0
        self.handled = self.unpriced = self.unread = self.calls_without_usage = 0
        self.tokens: list[int | None] = [None] * 5
        self.known, self.estimated_usd = RunningSum(), RunningSum()
        self.estimated = 0
        self.table: str | None = None
        self.turn_ms = array("d")
        self.ms = array("d")
        self.first = array("d")

    def add_turn(self, *, failed: bool, ms: float | None) -> None:
        self.turns += 1
        self.failed_turns += failed
        if ms is not None:
            self.turn_ms.append(ms)

    def add_unlisted(self, turn: TurnView) -> None:
        """Take in the calls of a turn whose record counts them, but does not list them."""
        self.calls += turn.call_count
        self.unpriced += turn.cost.unpriced
        if turn.usage.input_tokens is None and turn.usage.output_tokens is None:
            self.calls_without_usage += turn.call_count

    def add_call(self, call: CallView, *, estimate: bool) -> None:
        """
        Take in a call, and estimate its price if that was not recorded.

        It reads the keys itself: this runs for each call of gigabytes, and through `CallView` it took four
        times as long, a third of the whole.
        """
        get = call._data.get
        outcome = get("outcome")
        if type(outcome) is str:
            self.failed += outcome != "completed" and is_failed(call._data)
            self.handled += get("handled") is True
        else:
            self.failed += call.failed
            self.pending += call.pending
        self.late += get("late") is True
        self.unread += get("raw") is not None
        ms = number(get("duration_ms"))
        if ms is not None:
            self.ms.append(ms)
        first = get("first_chunk_ms")
        if first is not None and (first := number(first)) is not None:
            self.first.append(first)
        if get("source") not in (None, "provider"):
            return
        self.calls += 1
        if (usd := number(get("cost_usd"))) is None:
            self.unpriced += 1
            if estimate and (found := call.estimate()) is not None:
                self.estimated += 1
                self.estimated_usd.add(found.usd)
                self.table = found.table
        else:
            self.known.add(usd)
        usage = get("usage")
        known = False
        if type(usage) is dict:
            tokens = self.tokens
            for place, name in _PLACES:
                count = usage.get(name)
                if count is not None and (count := whole(count)) is not None:
                    tokens[place] = count + (tokens[place] or 0)
                    known = known or place < _IN_AND_OUT
        self.calls_without_usage += not known

    def add_turns(self, other: _GroupTotals) -> None:
        """Take in the turns of another group."""
        self.turns += other.turns
        self.failed_turns += other.failed_turns
        self.turn_ms.extend(other.turn_ms)

    def add_calls(self, other: _GroupTotals) -> None:
        """Take in the calls of another group."""
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for place, count in enumerate(other.tokens):
            if count is not None:
                self.tokens[place] = count + (self.tokens[place] or 0)
        self.known.add_sum(other.known)
        self.estimated_usd.add_sum(other.estimated_usd)
        self.table = self.table or other.table
        self.ms.extend(other.ms)
        self.first.extend(other.first)

    def row(self, key: str | None) -> StatsRow:
        return StatsRow(
            key,
            self.turns,
            self.failed_turns,
            self.calls,
            self.failed,
            self.handled,
            self.late,
            self.pending,
            TokenUsage(*self.tokens),
            Cost(self.known.usd, self.unpriced, self.estimated_usd.usd, self.estimated, self.table),
            self.unread,
            self.calls_without_usage,
            _duration_stats(self.turn_ms),
            _duration_stats(self.ms),
            _duration_stats(self.first),
        )


def _duration_stats(values: array[float]) -> DurationStats:
    return DurationStats(array("d", sorted(values)))


def _key(turn: TurnView, by: str) -> str | None:
    if by == "day":
        return day_of(turn.at)
    return {"preset": turn.preset, "session": turn.session_id, "outcome": turn.outcome}[by]


class StatsBuilder:
    """
    The figures of turns that are handed over one by one.

    Args:
        by: As in `Run.stats`.

    Raises:
        QueryError: The grouping is unknown.
    """

    def __init__(self, by: str | None) -> None:
        if by is not None and by not in GROUPINGS:
            raise QueryError(f"there is no grouping by {by!r}: need one of {', '.join(GROUPINGS)}")
        self.by = by
        self._turns = _GroupTotals()
        """The turns; each call goes into one group, and the groups into the total in the end: half of the work."""
        self._sums: dict[str | None, _GroupTotals] = {}

    def add(self, turn: TurnView) -> None:
        """Take a turn in."""
        by, sums = self.by, self._sums
        failed, ms = turn.failed, turn.duration_ms
        self._turns.add_turn(failed=failed, ms=ms)
        requests = turn.requests
        if by is None or by in OF_TURNS:
            own = _of(sums, None if by is None else _key(turn, by))
            own.add_turn(failed=failed, ms=ms)
            if not requests:  # a record that could not be made whole
                own.add_unlisted(turn)
            for call in requests:
                own.add_call(call, estimate=turn.estimates)
            return
        if not requests and turn.call_count:
            group = _of(sums, None)
            group.add_turn(failed=failed, ms=ms)
            group.add_unlisted(turn)
        met: set[str | None] = set()
        # The requests inside a reference are the reference's: its role and label, not theirs.
        named = turn.nesting().named if by in ("role", "label") else None
        for call in requests:
            key = text((call if named is None else named(call))._data.get(by))
            group = _of(sums, key)
            if key not in met:
                met.add(key)
                group.add_turn(failed=failed, ms=ms)
            group.add_call(call, estimate=turn.estimates)

    def stats(self) -> Stats:
        """Return the figures of the turns so far."""
        total, sums = _GroupTotals(), self._sums
        total.add_turns(self._turns)
        for one in sums.values():
            total.add_calls(one)
        everything = total.row(None)
        if self.by is None:
            return Stats(None, (everything,), everything)
        keys = sorted(sums, key=lambda key: (key is None, key or ""))
        return Stats(self.by, tuple(sums[key].row(key) for key in keys), everything)


def stats(turns: Iterable[TurnView], by: str | None) -> Stats:
    """
    Return the figures of turns: see `Run.stats`.

    Args:
        turns: Read once, to their end.
        by: As in `Run.stats`.

    Raises:
        QueryError: The grouping is unknown.
    """
    builder = StatsBuilder(by)
    for turn in turns:
        builder.add(turn)
    return builder.stats()


def _of(sums: dict[str | None, _GroupTotals], key: str | None) -> _GroupTotals:
    found = sums.get(key)
    if found is None:
        found = sums[key] = _GroupTotals()
    return found
