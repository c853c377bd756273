"""The comparison of two runs: their figures by group, and their turns matched by equal prompts."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import to_json

from ._fields import mapping, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._run import Run
    from ._select import Filters
    from ._stats import Stats, StatsRow
    from ._turn import TurnView

__all__ = ["Comparison", "GroupDiff", "TurnDiff", "compare_runs"]


@dataclass(frozen=True, slots=True)
class GroupDiff:
    """
    One group in both runs; differences are those of B less those of A, `None` where one is unknown.

    Attributes:
        key: What the group shares.
        a: Its figures in A, `None` if it is not there.
        b: Its figures in B.
    """

    key: str | None
    a: StatsRow | None
    b: StatsRow | None

    @property
    def cost_usd(self) -> float | None:
        """Difference of the costs, as far as they are recorded or estimated, in USD."""
        return self._less(lambda row: row.cost.total_usd)

    @property
    def p50_ms(self) -> float | None:
        """Difference of the median durations of calls, in milliseconds."""
        return self._less(lambda row: row.call_ms.p50)

    @property
    def p95_ms(self) -> float | None:
        """Difference of the 95th percentiles of the durations of calls, in milliseconds."""
        return self._less(lambda row: row.call_ms.p95)

    @property
    def failed_share(self) -> float | None:
        """Difference of the parts of calls that failed."""
        return self._less(_failed)

    def _less(self, figure: Callable[[StatsRow], float | None]) -> float | None:
        return None if self.a is None or self.b is None else _less(figure(self.b), figure(self.a))


@dataclass(frozen=True, slots=True)
class TurnDiff:
    """
    One turn of each run that was asked the same; differences are those of B less those of A.

    Attributes:
        a: The turn of A, as `SESSION#N`.
        b: The turn of B.
        cost_usd: Difference of the costs, as far as they are recorded or estimated, in USD; `None` unless both are.
        duration_ms: Difference of the durations, in milliseconds; `None` unless both are known.
        same_output: Whether both returned the same text.
        failed: Whether A's failed, and whether B's did.
    """

    a: str
    b: str
    cost_usd: float | None
    duration_ms: float | None
    same_output: bool
    failed: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Two runs side by side.

    Attributes:
        by: What `rows` are grouped by, `None` for none.
        a: The figures of A.
        b: The figures of B.
        rows: Each group of either.
        matched: Pairs of turns that were asked the same: equal `input_messages`, in their order.
        only_a: Turns of A without a counterpart.
        only_b: Turns of B without a counterpart.
        same_output: Pairs that returned the same text.
        costlier: The pairs whose costs rose most, at most `worst` of them.
        slower: The pairs whose durations rose most.
        newly_failed: Pairs of which B's turn failed and A's did not.
        versions_a: Versions of the library that wrote the turns of A, sorted as text. A figure may mean something
            else in another version: its changelog says what changed.
        versions_b: Those of B.
    """

    by: str | None
    a: Stats
    b: Stats
    rows: tuple[GroupDiff, ...]
    matched: int
    only_a: int
    only_b: int
    same_output: int
    costlier: tuple[TurnDiff, ...]
    slower: tuple[TurnDiff, ...]
    newly_failed: int
    versions_a: tuple[str, ...] = ()
    versions_b: tuple[str, ...] = ()

    @property
    def versions_differ(self) -> bool:
        """Return True if not all turns of both runs were written by one version of the library."""
        return len({*self.versions_a, *self.versions_b}) > 1

    @property
    def total(self) -> GroupDiff:
        """Both runs whole."""
        return GroupDiff(None, self.a.total, self.b.total)


class _Side(NamedTuple):
    """What is kept of a turn of A until its counterpart comes."""

    name: str
    usd: float | None
    ms: float | None
    output: int
    failed: bool


def compare_runs(a: Run, b: Run, *, by: str | None = "model", worst: int = 5, filters: Filters) -> Comparison:
    """Return two runs side by side: see `moa_middleware.read.compare`."""
    figures_a, figures_b = a.stats(by, **filters), b.stats(by, **filters)
    waiting: dict[bytes, list[_Side]] = {}
    count_a = matched = only_b = same = newly_failed = 0
    versions_a: set[str] = set()
    versions_b: set[str] = set()
    for turn in a.turns(**filters):
        count_a += 1
        versions_a |= _version(turn)
        waiting.setdefault(_asked(turn), []).append(_side(turn))
    for sides in waiting.values():
        sides.reverse()
    costlier: list[tuple[float, int, TurnDiff]] = []
    slower: list[tuple[float, int, TurnDiff]] = []
    for number, turn in enumerate(b.turns(**filters)):
        versions_b |= _version(turn)
        sides = waiting.get(_asked(turn), [])
        if not sides:
            only_b += 1
            continue
        one, other = sides.pop(), _side(turn)
        matched += 1
        pair = TurnDiff(
            one.name,
            other.name,
            _less(other.usd, one.usd),
            _less(other.ms, one.ms),
            one.output == other.output,
            (one.failed, other.failed),
        )
        same += pair.same_output
        newly_failed += other.failed and not one.failed
        _keep(costlier, pair.cost_usd, number, pair, worst)
        _keep(slower, pair.duration_ms, number, pair, worst)
    return Comparison(
        by=by,
        a=figures_a,
        b=figures_b,
        rows=tuple(_rows(figures_a, figures_b)) if by is not None else (),
        matched=matched,
        only_a=count_a - matched,
        only_b=only_b,
        same_output=same,
        costlier=tuple(pair for _, _, pair in sorted(costlier, reverse=True)),
        slower=tuple(pair for _, _, pair in sorted(slower, reverse=True)),
        newly_failed=newly_failed,
        versions_a=tuple(sorted(versions_a)),
        versions_b=tuple(sorted(versions_b)),
    )


def _version(turn: TurnView) -> set[str]:
    """Return the version of the library that wrote a turn, empty where the line does not name it."""
    version = text(mapping(turn._data.get("writer")).get("version"))
    return set() if version is None else {version}


def _rows(a: Stats, b: Stats) -> Iterator[GroupDiff]:
    in_a, in_b = ({row.key: row for row in one.rows} for one in (a, b))
    for key in sorted({*in_a, *in_b}, key=lambda key: (key is None, key or "")):
        yield GroupDiff(key, in_a.get(key), in_b.get(key))


def _asked(turn: TurnView) -> bytes:
    """Return a digest of what a turn was asked; the first reference's prompt where the trace has no turn's."""
    asked = turn.prompt
    try:
        data = to_json(asked)
    except ValueError:
        data = repr(asked).encode("utf-8", "surrogatepass")  # lone surrogates
    return blake2b(data, digest_size=12).digest()


def _side(turn: TurnView) -> _Side:
    return _Side(turn.name, turn.cost.total_usd, turn.duration_ms, hash(turn.output), turn.failed)


def _keep(heap: list[tuple[float, int, TurnDiff]], rise: float | None, number: int, pair: TurnDiff, most: int) -> None:
    if rise is None or rise <= 0 or most <= 0:
        return
    heapq.heappush(heap, (rise, -number, pair))
    if len(heap) > most:
        heapq.heappop(heap)


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _failed(row: StatsRow) -> float | None:
    return row.failed / row.calls if row.calls else None
