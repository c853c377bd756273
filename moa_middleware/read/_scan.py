"""The scan for secrets and personal data: places and kinds, never the values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._redaction import EMAIL, MARK, PHONE, RULES, named
from ..errors import QueryError
from ._bytes import BAD_FILE, PROGRESS_STEP, Member, describe_error, lines, open_file
from ._files import LATE, OPEN, order, traces_in
from ._json import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._files import Input
    from ._line_limit import LineLimit

__all__ = ["Finding", "scan"]

_MARKS = {"secrets": MARK, "emails": EMAIL, "phones": PHONE}
_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something in a line that a rule would redact; it never holds the value.

    Attributes:
        rule: `secrets`, `emails` or `phones`; `unreadable` for a file that could not be read to its end.
        file: Name of the file.
        line: Number of the line, from 1; 0 for a file.
        turn_id: The turn, if the line names one.
        path: Where in the line: keys and places with dots between, `references.0.output`; empty for a line
            that is no JSON. A key that holds something itself is `*`.
        count: How many there are at that place.
    """

    rule: str
    file: str
    line: int
    turn_id: str | None
    path: str
    count: int


def scan(
    inputs: Iterable[Input],
    limit: LineLimit,
    rules: Iterable[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[Finding]:
    """
    Yield where secrets and personal data are: see `moa_middleware.read.scan`.

    Args:
        inputs: What is read.
        limit: What is read of a line.
        rules: Names of rules; all of them by default.
        progress: As in `Run.on_progress`.

    Raises:
        QueryError: A rule does not exist.
    """
    chosen = tuple(RULES) if rules is None else (rules,) if isinstance(rules, str) else tuple(rules)
    for rule in chosen:
        if rule not in RULES:
            raise QueryError(f"there is no rule {rule!r}: need one of {', '.join(RULES)}")
    return _scan(inputs, limit, chosen, progress)


def _scan(
    inputs: Iterable[Input], limit: LineLimit, rules: tuple[str, ...], progress: Callable[[int], object] | None
) -> Iterator[Finding]:
    done = reported = 0
    for given in inputs:
        for member, number, line in _lines(given, limit):
            if isinstance(line, str):
                yield Finding("unreadable", member.name, number, None, line, 1)
                continue
            yield from _of_line(line, member.name, number, rules)
            done += len(line)
            if progress is not None and done >= reported + PROGRESS_STEP:
                reported = done
                progress(done)
    if progress is not None:
        progress(done)


def _lines(given: Input, limit: LineLimit) -> Iterator[tuple[Member, int, bytes | str]]:
    """Yield the lines of all files with their numbers; in place of a line, or of a file (0), why it cannot be read."""
    for member in _members(given):
        long: list[tuple[int, str]] = []
        try:
            with open_file(member) as file:
                for _, number, line in lines(
                    file, limit, skipped=lambda *place, long=long: long.append((place[1], place[3]))
                ):
                    yield member, number, line
        except BAD_FILE as error:
            yield member, 0, describe_error(error)
        for number, why in long:
            yield member, number, why


def _members(given: Input) -> Iterator[Member]:
    if given.stream is not None:
        yield Member(given.name, None, given.copied())
        return
    paths = list(given.files)
    if given.folder is not None:
        for folder in (given.folder, given.folder / LATE, given.folder / OPEN):
            try:
                names = traces_in(folder)
            except OSError:
                continue
            paths += [folder / name for name in sorted(names, key=order)]
    for path in paths:
        yield Member(str(Path(path)), path)


def _of_line(line: bytes, file: str, number: int, rules: tuple[str, ...]) -> Iterator[Finding]:
    try:
        value = parse_json(line)
    except (ValueError, RecursionError):
        text = line.decode("utf-8", "replace")
        for rule in rules:
            count = _count(rule, text)
            if count:
                yield Finding(rule, file, number, None, "", count)
        return
    turn_id = value.get("turn_id") if isinstance(value, dict) else None
    look = _Look(rules)
    look.walk(value, "", None, 0)
    for (rule, path), count in look.found.items():
        yield Finding(rule, file, number, turn_id if isinstance(turn_id, str) else None, path, count)


def _count(rule: str, text: str) -> int:
    """Return how many places of a text a rule would replace."""
    mark = _MARKS[rule]
    shown = RULES[rule](text)
    if shown == text:
        return 0
    return max(1, shown.count(mark) - text.count(mark))


class _Look:
    """One line; the prompt is in it as often as there are calls, and is looked at once."""

    def __init__(self, rules: tuple[str, ...]) -> None:
        self._rules = rules
        self._known: dict[str, tuple[tuple[str, int], ...]] = {}
        self.found: Counter[tuple[str, str]] = Counter()

    def walk(self, value: Any, path: str, name: str | None, depth: int) -> None:
        if isinstance(value, str):
            self._text(value, path, name)
        elif depth > _DEPTH:
            return
        elif isinstance(value, dict):
            for key, item in value.items():
                clean = not self._counts(key)
                if not clean:
                    self._text(key, _step(path, "*"), None)
                self.walk(item, _step(path, _escaped(key) if clean else "*"), key, depth + 1)
        elif isinstance(value, list):
            for place, item in enumerate(value):
                self.walk(item, _step(path, str(place)), name, depth + 1)

    def _text(self, text: str, path: str, name: str | None) -> None:
        for rule, count in self._counts(text):
            self.found[rule, path] += count
        if name is not None:
            for rule in self._rules:
                if (rule, path) not in self.found and named(rule, name, text) is not None:
                    self.found[rule, path] += 1

    def _counts(self, text: str) -> tuple[tuple[str, int], ...]:
        known = self._known.get(text)
        if known is None:
            known = tuple((rule, count) for rule in self._rules if (count := _count(rule, text)))
            self._known[text] = known
        return known


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace(".", "~1")


def _step(path: str, step: str) -> str:
    return f"{path}.{step}" if path else step
