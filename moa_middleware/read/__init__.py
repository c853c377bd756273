"""
The reader of traces: turns and calls as typed views, their figures, and what is wrong with the files.

    from moa_middleware import read

    run = read.open("traces/")
    for turn in run.turns(failed=True):
        print(turn.name, turn.cost, [call.name for call in turn.references if call.failed])

It works on files alone, offline, and knows nothing of the live path. Nothing is written but by
`prune`. A line that is wrong never stops a reading: it is skipped, and named in `Run.problems`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from ._call import CallView, ErrorDetails, LateCall, TokenUsage
from ._compare import Comparison, GroupDiff, TurnDiff, compare_runs
from ._cost import Cost
from ._fidelity import Fidelity
from ._files import Source, resolve
from ._jsonable import json_schema, to_jsonable
from ._line_limit import LineLimit
from ._overlap import Overlap, overlap_of, similarities
from ._prices import Estimate, has_prices
from ._problems import CODES, NOTICES, Problem
from ._prompt import content_text, messages_of
from ._prune import PrunedFile, PruneReport, parse_age, prune
from ._run import Run
from ._run import open_run as open  # noqa: A004 - `read.open`, as the design of the name wants it
from ._scan import Finding
from ._scan import scan as scan_inputs
from ._select import Filters, parse_moment
from ._stats import GROUPINGS, DurationStats, Stats, StatsBuilder, StatsRow, percentile
from ._tables import Tables
from ._tail import Tail
from ._timeline import Span
from ._tree import TurnTree
from ._turn import TurnView, WriterInfo
from ._verify import VerifyReport

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "CODES",
    "GROUPINGS",
    "NOTICES",
    "CallView",
    "Comparison",
    "Cost",
    "DurationStats",
    "ErrorDetails",
    "Estimate",
    "Fidelity",
    "Filters",
    "Finding",
    "GroupDiff",
    "LateCall",
    "Overlap",
    "Problem",
    "PruneReport",
    "PrunedFile",
    "Run",
    "Source",
    "Span",
    "Stats",
    "StatsBuilder",
    "StatsRow",
    "Tables",
    "Tail",
    "TokenUsage",
    "TurnDiff",
    "TurnTree",
    "TurnView",
    "VerifyReport",
    "WriterInfo",
    "compare",
    "content_text",
    "has_prices",
    "json_schema",
    "messages_of",
    "open",
    "overlap_of",
    "parse_age",
    "parse_moment",
    "percentile",
    "prune",
    "scan",
    "similarities",
    "stats",
    "tail",
    "to_jsonable",
    "verify",
]


def verify(
    source: Source | Iterable[Source] = None,
    *,
    semantics: bool = True,
    ignore: Iterable[str] = (),
    key_files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
) -> VerifyReport:
    """
    Read everything, and return what is wrong: `Run.verify` of what `open` opens.

    Args:
        source: As in `open`.
        semantics: Look whether each reference reached a later prompt, and whether late calls ended.
        ignore: Codes that do not count, for example `E104`.
        key_files: As in `Run.verify`.

    Raises:
        UnreadableError: What is named is not there, or cannot be opened.
        QueryError: A code does not exist, or a key file cannot be used.
    """
    return open(source).verify(semantics=semantics, ignore=ignore, key_files=key_files)


def stats(source: Source | Iterable[Source] = None, by: str | None = None, **filters: Unpack[Filters]) -> Stats:
    """
    Return the figures of traces: `Run.stats` of what `open` opens.

    Args:
        source: As in `open`.
        by: As in `Run.stats`.
        filters: As in `Run.turns`.

    Raises:
        UnreadableError: What is named is not there, or cannot be opened.
        QueryError: There is no such grouping, or a filter has a value that it cannot use.
    """
    return open(source).stats(by, **filters)


def compare(
    a: Run | Source | Iterable[Source],
    b: Run | Source | Iterable[Source],
    *,
    by: str | None = "model",
    worst: int = 5,
    **filters: Unpack[Filters],
) -> Comparison:
    """
    Return two runs side by side.

    Turns are matched by what they were asked (equal `input_messages`); of several equal ones the first of A
    goes with the first of B. For each turn of A about 300 bytes are kept.

    Args:
        a: A run, or what `open` takes.
        b: Another one.
        by: As in `Run.stats`.
        worst: Pairs that are named at most.
        filters: As in `Run.turns`, for both.

    Raises:
        UnreadableError: What is named is not there, or cannot be opened.
        QueryError: There is no such grouping, or a filter has a value that it cannot use.
    """
    run_a = a if isinstance(a, Run) else open(a)
    run_b = b if isinstance(b, Run) else open(b)
    return compare_runs(run_a, run_b, by=by, worst=worst, filters=filters)


def scan(source: Run | Source | Iterable[Source] = None, *, rules: Iterable[str] | None = None) -> Iterator[Finding]:
    """
    Yield where secrets and personal data stand, late lines and journals included.

    The rules are those of `MOA_REDACT`. They know forms and names, no meaning: what they do not find
    may be there all the same.

    Args:
        source: As in `open`, or a run, which tells how far it is (`Run.on_progress`).
        rules: Names of rules; all of them by default.

    Raises:
        UnreadableError: What is named is not there, or cannot be opened.
        QueryError: A rule does not exist.
    """
    if isinstance(source, Run):
        return scan_inputs(source._inputs, source._limit, rules, source._progress)
    return scan_inputs(resolve(source), LineLimit(), rules)


def tail(
    path: str | os.PathLike[str] | None = None,
    *,
    last: int = 10,
    follow: bool = True,
    interval: float = 0.2,
    stop: Callable[[], object] | None = None,
    max_line_bytes: int | None = None,
    estimate: bool = True,
) -> Tail:
    """
    Return turns and late calls as they are written: see `Tail`.

    Args:
        path: A directory, or a session's file; `None` is the directory of the settings (`MOA_TRACE_DIR`).
        last: Turns that stand there already, and come first.
        follow: Go on when everything is read.
        interval: Seconds between two looks.
        stop: Called at each look; a true value ends it.
        max_line_bytes: As in `open`.
        estimate: As in `open`.

    Raises:
        UnreadableError: There is no such path, and no directory where it could come to be.
        QueryError: `last` or `interval` is negative.
    """
    if path is None:
        from ._files import _trace_dir

        path = _trace_dir()
    return Tail(
        path, last=last, follow=follow, interval=interval, stop=stop, max_line_bytes=max_line_bytes, estimate=estimate
    )
