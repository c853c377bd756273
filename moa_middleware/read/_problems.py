"""The problems of traces: stable codes, and the log of those that were found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import ProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CODES", "NOTICES", "Problem", "ProblemLog"]

CODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "E101": ("torn-line", "the line ends inside its JSON, as after a crash"),
        "E102": ("foreign-line", "the line is no record of a turn or of a late call"),
        "E103": ("duplicate-id", "a turn or a late call with this id was read already; the first one counts"),
        "E104": ("missing-line", "numbers of a process's lines are missing"),
        "E105": ("mixed-sessions", "one file holds the lines of several sessions"),
        "E106": ("unknown-schema", "the line's `schema` is not known to this version; the line is skipped"),
        "E107": ("bad-utf8", "the line is not UTF-8"),
        "E108": ("unreadable-file", "the file cannot be opened, or not be read to its end"),
        "E109": ("odd-value", "a key has a value of another type than its own; it is read as unknown"),
        "E110": ("late-without-turn", "a late call whose turn is not here"),
        "E111": ("truncated-file", "the file was cut short while it was followed"),
        "E112": ("long-line", "the line has more bytes or values than --max-line-bytes allows; it is skipped"),
        "E121": ("changed-line", "the line's bytes are not those that its digest was made of"),
        "E122": ("broken-chain", "the line that its process completed before it is missing, or was changed"),
        "E123": ("wrong-key", "the line was made with another key than those that were given"),
        "E124": ("line-without-hmac", "a key was given, and the line has no digest that was made with one"),
        "E201": ("absent-reference", "a reference's output is in no prompt that came after it"),
        "E202": ("unended-call", "a call was running when its turn closed, and no late line tells its end"),
    }
)
"""Name and meaning of each code. Codes stay; new ones may be added."""

NOTICES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "N301": ("turn-without-call", "a turn in which no call was recorded, nor a turn"),
        "N302": ("unread-reply", "replies that were not understood"),
    }
)
"""The same of what is worth a look and not wrong: a program may mean it, or something was not instrumented."""

_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Something wrong with a line, a file or a turn. It never holds content.

    Attributes:
        code: A key of `CODES`, for example `E101`; of a notice of `verify` one of `NOTICES`.
        message: What is wrong, in a line.
        file: Name of the file; empty for what concerns several.
        line: Number of the line, from 1.
        offset: Where the line begins, in bytes of the (uncompressed) file.
        size: Bytes of the line.
        turn_id: The turn.
    """

    code: str
    message: str
    file: str = ""
    line: int | None = None
    offset: int | None = None
    size: int | None = None
    turn_id: str | None = None

    @property
    def name(self) -> str:
        """The code in words, for example `torn-line`."""
        return (CODES.get(self.code) or NOTICES[self.code])[0]

    def __str__(self) -> str:
        """Return code, name, place and message, in a line."""
        place = f"{self.file}:{self.line}: " if self.line is not None else f"{self.file}: " if self.file else ""
        return f"{self.code} {self.name} {place}{self.message}"


class ProblemLog:
    """
    The problems of one reading; all are counted, and the first 10,000 kept.

    Args:
        strict: Raise at the first one.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.counts: Counter[str] = Counter()
        self.kept: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """
        Take a problem down.

        Raises:
            ProblemError: The reading is strict.
        """
        self.counts[problem.code] += 1
        if len(self.kept) < _LIMIT:
            self.kept.append(problem)
        if self.strict:
            raise ProblemError(str(problem), problem)
