"""The verification of traces: everything that is wrong with them, and how much was read."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic_core import ValidationError

from .._layout.digest import problem_of, read_key
from ..errors import QueryError
from ..records import SCHEMA, TurnRecord
from ._fidelity import reached
from ._problems import CODES, NOTICES, Problem, ProblemLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import TypeAdapter

    from .._layout.digest import Key
    from ._call import CallView
    from ._reading import Reading
    from ._turn import TurnView

__all__ = ["VerifyReport", "keys_in", "verify"]

_FREE = frozenset({"missing", "literal_error", "extra_forbidden"})
"""What a reader must bear: keys that are not there, and words of an enumeration that it does not know."""
_ODD = 5
"""Odd values of one turn that are named."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """
    What a look at all lines found.

    Attributes:
        files: Files with turns that were read.
        lines: Lines in them, blank ones not counted.
        bytes: Of these lines.
        turns: Turns.
        sessions: Sessions that they are of.
        late: Lines in files of late calls.
        journals: Files of open turns, which `moa recover` reads.
        problems: The first 10,000, in the order in which they were met.
        counts: All of them, by code.
        notices: What is worth a look and not wrong, for example turns without a call: the first 10,000.
        notice_counts: All notices, by code.
        proven: Lines that have a digest.
        unchecked: Those of them that were made with a key, where none was given.
        chain_checked: Whether it was checked that each such line has the one before it; that takes whole
            directories.
    """

    files: int
    lines: int
    bytes: int
    turns: int
    sessions: int
    late: int
    journals: int
    problems: tuple[Problem, ...]
    counts: Mapping[str, int]
    notices: tuple[Problem, ...] = ()
    notice_counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    proven: int = 0
    unchecked: int = 0
    chain_checked: bool = False

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong. Notices do not count."""
        return not self.counts

    @property
    def total(self) -> int:
        """How many problems there are."""
        return sum(self.counts.values())


def verify(
    reading: Reading, turns: Iterable[TurnView], *, semantics: bool = True, ignore: Iterable[str] = ()
) -> VerifyReport:
    """
    Return what is wrong with a run: see `Run.verify`.

    Args:
        reading: The reading that yields the turns; it counts lines and problems while they are read.
        turns: Its turns.
        semantics: As in `Run.verify`.
        ignore: As in `Run.verify`.

    Raises:
        QueryError: A code does not exist.
    """
    ignored = frozenset({ignore} if isinstance(ignore, str) else ignore)
    unknown = sorted(ignored - CODES.keys() - NOTICES.keys())
    if unknown:
        raise QueryError(f"unknown problem {unknown[0]!r}: need one of {', '.join((*CODES, *NOTICES))}")
    adapter = _adapter()
    notices = ProblemLog()
    for turn in turns:
        _notice(turn, notices)
        _check_values(turn, adapter, reading.problem_log)
        if semantics:
            _check_meaning(turn, reading.problem_log)
    problem_log, integrity = reading.problem_log, reading.integrity
    return VerifyReport(
        files=reading.files,
        lines=reading.lines,
        bytes=reading.size,
        turns=reading.turn_count,
        sessions=len(reading.seen),
        late=reading.late_lines,
        journals=reading.journals,
        problems=_kept(problem_log, ignored),
        counts=_counts(problem_log, ignored),
        notices=_kept(notices, ignored),
        notice_counts=_counts(notices, ignored),
        proven=integrity.proven if integrity is not None else 0,
        unchecked=integrity.unchecked if integrity is not None else 0,
        chain_checked=integrity is not None and bool(integrity.proven) and reading.is_whole,
    )


def keys_in(files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Key]:
    """
    Return the keys in files.

    Raises:
        QueryError: One cannot be used.
    """
    keys = []
    for path in [files] if isinstance(files, str | os.PathLike) else files:
        try:
            keys.append(read_key(path))
        except (OSError, ValueError) as error:
            raise QueryError(f"the key file {os.fspath(path)!r} {problem_of(error)}") from None
    return keys


def _kept(log: ProblemLog, ignored: frozenset[str]) -> tuple[Problem, ...]:
    return tuple(problem for problem in log.kept if problem.code not in ignored)


def _counts(log: ProblemLog, ignored: frozenset[str]) -> Mapping[str, int]:
    return MappingProxyType(Counter({code: n for code, n in sorted(log.counts.items()) if code not in ignored}))


def _notice(turn: TurnView, notices: ProblemLog) -> None:
    """Name what is not wrong, and may mean that something was not recorded."""
    if turn.schema != SCHEMA:
        return
    data = turn._data
    if not turn.all_calls and not data.get("turns"):
        notices.add(
            _problem("N301", "no call was recorded in it: was the SDK, or the function that asks, named?", turn)
        )
    totals = data.get("totals")
    unread = totals.get("unread") if isinstance(totals, dict) else None
    if isinstance(unread, int) and unread > 0:
        notices.add(
            _problem("N302", f"{unread} of its replies {'was' if unread == 1 else 'were'} not understood", turn)
        )


@cache
def _adapter() -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # 0.2 s, which only this needs

    return TypeAdapter(TurnRecord)


def _problem(code: str, message: str, turn: TurnView) -> Problem:
    return Problem(code, message, turn.file, turn.line, turn.offset, len(turn.raw), turn.id)


def _check_values(turn: TurnView, adapter: TypeAdapter[Any], problem_log: ProblemLog) -> None:
    """Name the keys of a turn whose values are of another type than the record says."""
    if turn.schema != SCHEMA:
        return
    try:
        adapter.validate_python(turn._data, strict=True)
    except ValidationError as error:
        # Numbers of a million digits and their like are told by their places alone.
        odd = [
            ".".join(str(part)[:60] for part in one["loc"])
            for one in error.errors(include_url=False, include_context=False, include_input=False)
            if one["type"] not in _FREE
        ]
        if odd:
            more = f" and {len(odd) - _ODD} more" if len(odd) > _ODD else ""
            problem_log.add(_problem("E109", f"{', '.join(odd[:_ODD])}{more}", turn))


def _check_meaning(turn: TurnView, problem_log: ProblemLog) -> None:
    for call in turn.all_calls:
        if call.pending:
            problem_log.add(_problem("E202", f"{_named(call)} never ended, as far as the lines tell", turn))
    aggregator = turn.aggregator
    if aggregator is None or aggregator.failed:
        return
    for reference, found in zip(turn.references, turn.fidelity(), strict=True):
        if found.status == "absent" and _came_before(reference, aggregator) and not _was_read(turn, reference):
            problem_log.add(_problem("E201", f"nothing of {_named(reference)} is in a prompt that came after it", turn))


def _named(call: CallView) -> str:
    return f"call {call.index if call.index is not None else '?'}"


def _came_before(reference: CallView, reader: CallView) -> bool:
    """Return True if a reference had ended when another call began; a trace without times does not deny it."""
    if reference.ended_at is None or reader.started_at is None:
        return True
    return reference.ended_at <= reader.started_at


def _was_read(turn: TurnView, reference: CallView) -> bool:
    """Return True if another call got its output: the references of the next layer, for example."""
    output = reference.output or ""
    return any(
        reached(output, reference, call)[0] != "absent"
        for call in (*turn.references, *turn.calls)
        if call.call_id != reference.call_id and call.input_messages and call.input_messages != reference.input_messages
    )
