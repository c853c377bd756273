"""The redactor of a report: takes secrets and personal data out of content, names, ids and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._redaction import RULES, named
from .._redaction.inside import by_rules, unique
from ..errors import QueryError
from ..read import TurnView

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ReportRedactor"]

_MOST = 4096


class ReportRedactor:
    """
    The rules that were asked for; with none, everything stays as it is.

    Args:
        rules: Names of rules, or one text with commas between them.

    Raises:
        QueryError: A rule does not exist.
    """

    def __init__(self, rules: str | Iterable[str] | None) -> None:
        names = rules.split(",") if isinstance(rules, str) else list(rules or ())
        self.rules = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
        for rule in self.rules:
            if rule not in RULES:
                raise QueryError(f"there is no rule {rule!r}: need one of {', '.join(RULES)}")
        self._known: dict[tuple[str, str | None], str] = {}

    def turn(self, turn: TurnView) -> TurnView:
        """Return a turn as it may be shown."""
        if not self.rules:
            return turn
        # Prompts repeat inside a turn; those of a whole run would fill the memory.
        self._known.clear()
        return TurnView(
            self.value(turn.as_dict()),
            file=self.file(turn.file),
            line=turn.line,
            number=turn.number,
            id=self.text(turn.id),
            estimates=turn.estimates,
        )

    def value(self, value: Any, name: str | None = None) -> Any:
        """Return a value as it may be shown."""
        if not self.rules:
            return value
        if isinstance(value, str):
            return self.text(value, name)
        if isinstance(value, dict):
            keys = unique(map(self._path if name == "omitted" else self.text, value))
            return dict(zip(keys, [self.value(item, key) for key, item in value.items()], strict=True))
        if isinstance(value, list | tuple):
            return [self.value(item, name) for item in value]
        if type(value) is int and name is not None:
            marks = (named(rule, name, str(value)) for rule in self.rules)
            return next((mark for mark in marks if mark is not None), value)
        return value

    def _path(self, path: str) -> str:
        """Return a path of `omitted`: its steps are keys, in which `.` is written `~1` and `~` is `~0`."""
        steps = [self.text(step.replace("~1", ".").replace("~0", "~")) for step in path.split(".")]
        # Another writer may not have escaped them.
        return self.text(".".join(step.replace("~", "~0").replace(".", "~1") for step in steps))

    def file(self, file: str) -> str:
        """Return the name of a file as it may be shown: without directories, since a report is shown to others."""
        name = file.replace("\\", "/").rpartition("/")[2]
        ending = next((one for one in (".jsonl", ".jsonl.gz") if name.endswith(one)), "")
        return f"{self.text(name.removesuffix(ending))}{ending}"

    def text(self, text: str, name: str | None = None) -> str:
        """Return a text as it may be shown; `name` is its key."""
        if not self.rules or not text:
            return text
        found = self._known.get((text, name))
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            found = self._known[text, name] = by_rules(text, self.rules, name)
        return found
