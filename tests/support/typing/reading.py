"""The types of the reading wing, as a checker sees them: this file is checked, never run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

from moa_middleware import read, report


def opened(path: Path, when: datetime) -> None:
    """Open every kind of source, and use every filter."""
    run = assert_type(read.open(path), read.Run)
    read.open([path, "traces/*.jsonl", "-"])
    with path.open("rb") as file:
        read.open(file)
    assert_type(
        run.turns(session=["a"], model="gpt-*", since=when, until=1.5, failed=True, min_cost=0.1),
        Iterator[read.TurnView],
    )
    run.turns(weather="fine")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def one(run: read.Run) -> None:
    """Ask a turn for its calls and for what follows from them."""
    turn = assert_type(run.turn("last"), read.TurnView)
    assert_type(turn.references, tuple[read.CallView, ...])
    assert_type(turn.session_id, str | None)
    assert_type(turn.ts, float | None)
    assert_type(turn.implicit, bool)
    call = turn.references[0]
    assert_type(call.output, str | None)
    assert_type(call.usage, read.TokenUsage)
    assert_type(call.error, read.ErrorDetails | None)
    assert_type(call.tool_calls, list[Any])
    assert_type(turn.cost.known_usd, float | None)
    assert_type(turn.fidelity(), tuple[read.Fidelity, ...])
    assert_type(turn.overlap().covered, tuple[float | None, ...])
    turn.output = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def asked(run: read.Run) -> None:
    """Ask for figures, for problems, and for what goes on."""
    assert_type(run.stats(by="model").total.turn_ms.p95, float | None)
    assert_type(run.problems, tuple[read.Problem, ...])
    assert_type(read.verify("traces").clean, bool)
    assert_type(read.compare(run, "other").matched, int)
    assert_type(read.scan(None), Iterator[read.Finding])
    assert_type(read.prune("traces", older_than="30d").removed, tuple[read.PrunedFile, ...])
    for found in read.tail("traces"):
        assert_type(found, read.TurnView | read.LateCall)


def shown(run: read.Run, path: Path) -> None:
    """Write a report, with filters and options."""
    made = assert_type(report.write(run, path, split=True, redact=["emails"], failed=True), report.ReportFiles)
    assert_type(made.paths, tuple[Path, ...])
    report.write("traces", "run.html", content=False, max_bytes=10**6, title="A run", progress=print, session=["a"])
    report.write("traces", "run.html", weather="fine")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
