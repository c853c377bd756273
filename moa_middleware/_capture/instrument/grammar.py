"""
How targets are written: the one grammar of `MOA_INSTRUMENT`, `instrument("…")` and `moa run --instrument`.

```text
list    = [entry] { "," [entry] }
entry   = name [options]                             openai, httpx(host=api.x.ai, path=/v1/*)
        | module ":" path ["=" role] [options]       pkg.mod:Class.method=call(messages=user)
        | module "=" role                            __main__=turn
options = "(" [option { "," option }] ")"
option  = key "=" (word | "'" text "'" | '"' text '"')
```

Blanks are allowed between all of these. A comma inside brackets or quotes separates no entries. The package
of a known SDK is another word for its name (`boto3` for `bedrock`); what the names mean is not known here.
"""

from __future__ import annotations

from itertools import pairwise
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ...errors import TargetError
from ..shapes import catalog
from ..shapes.signature import Argument
from .target import ROLES, Target, is_dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Entry", "Option", "entries_of", "read", "target_of"]

_QUOTES = "\"'"
_SHOWN = 80
"""Characters of an entry that an error repeats."""


class Option(NamedTuple):
    """One option of an entry, as it is written."""

    key: str
    value: str
    is_quoted: bool
    """True for a literal value."""
    column: int
    """Of its value."""


class Entry(NamedTuple):
    """One entry of a list of targets, as it is written."""

    text: str
    name: str
    """The name of a target; of a function or method the name of its module."""
    path: str | None = None
    """The path in the module, `None` for a name."""
    role: str | None = None
    options: tuple[Option, ...] = ()
    role_column: int = 0

    def fail(self, column: int, problem: str) -> NoReturn:
        """
        Refuse the entry.

        Raises:
            TargetError: Always; it names the entry and the column in it, from 1.
        """
        _fail(self.text, column, problem)


def _fail(text: str, column: int, problem: str) -> NoReturn:
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    msg = f"{shown!r}, column {column}: {problem}"
    raise TargetError(msg)


def entries_of(text: str) -> list[str]:
    """
    Return the entries of a list.

    The list may be in quotes as a whole, as a file of `docker --env-file` keeps them.
    """
    text = text.strip()
    if len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]:
        # Outside brackets an entry has no quotes: where there are some, the outer two are not a pair.
        inside = text[1:-1]
        if not any(inside[index] in _QUOTES for index, depth, _ in _nested(inside) if not depth):
            text = inside
    ends = [index for index, depth, quote in _nested(text) if text[index] == "," and not depth and not quote]
    entries = [text[start + 1 : end].strip() for start, end in pairwise((-1, *ends, len(text)))]
    return [entry for entry in entries if entry]


def _nested(text: str) -> Iterator[tuple[int, int, str]]:
    """Iterate over the letters of a text: index, brackets open before it, and the quote in which it is."""
    depth, quote = 0, ""
    for index, letter in enumerate(text):
        yield index, depth, quote
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES and depth:
            quote = letter
        else:
            depth = max(0, depth + (letter == "(") - (letter == ")"))


class _Scanner:
    """A position in an entry."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    @property
    def column(self) -> int:
        """The column in the entry, from 1."""
        return self.at + 1

    def skip(self) -> None:
        """Go to the next letter that is not blank."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def peek(self) -> str:
        """Return the next letter that is not blank, "" at the end."""
        self.skip()
        return self.text[self.at : self.at + 1]

    def takes(self, letter: str) -> bool:
        """Go over a letter, if it is the next one; returns True then."""
        found = self.peek() == letter
        self.at += found
        return found

    def until(self, letters: str) -> tuple[str, int]:
        """Return the text up to one of the letters, or to the end, and its column."""
        self.skip()
        column, start = self.column, self.at
        while self.at < len(self.text) and self.text[self.at] not in letters:
            self.at += 1
        return self.text[start : self.at].strip(), column

    def expected(self, what: str, column: int | None = None) -> NoReturn:
        """
        Refuse the entry.

        Raises:
            TargetError: Always.
        """
        _fail(self.text, self.column if column is None else column, f"expected {what}")


def read(text: str) -> Entry:
    """
    Return an entry in its parts.

    Raises:
        TargetError: It is malformed.
    """
    scan = _Scanner(text)
    name, where = scan.until(":=(")
    path = role = None
    role_column = 0
    if scan.takes(":"):
        _check_dotted(scan, name, where, "module")
        path, at = scan.until("=(")
        _check_dotted(scan, path, at, "path")
    if scan.takes("="):
        if path is None and name != "__main__":
            _fail(text, where, "a name takes no role; write pkg.mod:Class.method=role")
        role, role_column = scan.until("(")
        if role not in ROLES:
            _fail(text, role_column, f"unknown role {role!r:.80}; choose from {', '.join(ROLES)}")
    options = _options(scan) if scan.takes("(") else ()
    if scan.peek():
        scan.expected("a comma, or the end")
    if path is None:
        name = catalog.name_of(name) or name
    return Entry(text, name, path, role, options, role_column)


def _check_dotted(scan: _Scanner, name: str, column: int, what: str) -> None:
    if not is_dotted(name):
        _fail(
            scan.text, column, f"a target's {what} is a dotted name, not {name!r:.80}; write pkg.mod:Class.method=role"
        )


def _options(scan: _Scanner) -> tuple[Option, ...]:
    found: dict[str, Option] = {}
    opened = scan.column - 1
    # A comma inside brackets separates no entries, so all further entries would be read as options of this one.
    *_, (_, depth, quote) = _nested(f"{scan.text} ")
    if depth and not quote:
        _fail(scan.text, opened, f"the ( at column {opened} is not closed")
    while not scan.takes(")"):
        key, column = scan.until("=,()\"'")
        if not key.isidentifier():
            scan.expected("the name of an option", column)
        if key in found:
            _fail(scan.text, column, f"the option {key!r:.80} is given twice")
        if not scan.takes("="):
            scan.expected(f"an equals sign after {key!r:.80}")
        found[key] = _option(scan, key)
        if not scan.takes(",") and scan.peek() != ")":
            scan.expected("a comma or a closing bracket")
    return tuple(found.values())


def _option(scan: _Scanner, key: str) -> Option:
    quote = scan.peek()
    if quote and quote in _QUOTES:
        column = scan.column
        scan.at += 1
        end = scan.text.find(quote, scan.at)
        if end < 0:
            scan.expected(f"a closing {quote}", len(scan.text) + 1)
        value, scan.at = scan.text[scan.at : end], end + 1
        return Option(key, value, True, column)
    value, column = scan.until(",()\"'")
    if not value:
        scan.expected(f"a value of {key!r:.80}", column)
    return Option(key, value, False, column)


# What the options of a function mean ---------------------------------------------------------------

_NAMES = ("messages", "system")
"""Options that name a parameter, and nothing else."""
_VALUES = ("model", "provider", "label", "session_id", "preset", "layer")
"""Options that are a value, or name the parameter that has it."""


def target_of(entry: Entry) -> Target:
    """
    Return the target that an entry spells out.

    Raises:
        TargetError: An option is unknown, or has a value that it cannot have.
    """
    assert entry.path is not None  # noqa: S101 - the caller asked
    given: dict[str, Any] = {}
    for option in entry.options:
        known = (*_NAMES, *_VALUES)
        if option.key not in known:
            import difflib  # here, because only an error needs it

            near = difflib.get_close_matches(option.key, known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ";"
            problem = f"unknown option {option.key!r:.80}{hint} choose from {', '.join(known)}"
            entry.fail(option.column - len(option.key) - 1, problem)
        given[option.key] = _value(entry, option)
    return Target(entry.name, entry.path, entry.role, **given)


def _is_place(value: str) -> bool:
    """Return True if a value may be the name of a parameter, or a path from one; `None` and `True` may not."""
    return is_dotted(value) and not any(map(iskeyword, value.split(".")))


def _value(entry: Entry, option: Option) -> Any:
    key, value, is_quoted, column = option
    if key in _NAMES:
        if is_quoted or not _is_place(value):
            entry.fail(column, f"expected the name of a parameter: {key}=user, without quotes")
        return value
    if key == "layer" and value.isascii() and value.isdigit() and int(value):
        return int(value)
    if is_quoted and key != "layer":
        return value
    if is_quoted or not _is_place(value):
        literal = "a number from 1" if key == "layer" else f'a value in quotes: {key}="…"'
        entry.fail(column, f"expected the name of a parameter, as in {key}=self.{key}, or {literal}")
    return Argument(value)
