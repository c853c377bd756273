"""
Which call's text is in which other call's input.

This module compares texts. What follows from that for a call's role is in `roles.py`.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Node", "compare", "longest_line", "spoken"]

_SHORTEST = 8
"""Characters of an output below which finding it elsewhere proves nothing."""
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,24}")
"""A single word, which proves nothing either: a name, a verdict, a number."""
_LEAST, _MOST = 24, 48
"""Characters of a line by which a changed text is recognized: fewer prove nothing, more may have been cut off."""
_ECHO = 400
"""Bytes up to which an output may repeat any part of its own prompt; a longer one repeats a part at its place."""
_MARKS = re.compile(r"""["'\\<>&*`|]""")
_NUMBER = re.compile(r"\W*\d+\W+")
"""What programs change when they quote a line: quotes, escapes and markup, and a number before it."""
_PROBE = 48
"""Bytes of an output that are searched for first."""
_PROBES = 16
"""Matches of a probe after which the whole output is searched for."""
_FEWEST_BEFORE, _PAIRS = 32, 100_000
"""Calls that each call is compared with at least, and pairs of calls that a turn compares at most (0.2 s)."""
_FEWEST_OF_LONG, _BYTES = 8, 1_000_000_000
"""The same for long requests: bytes of requests that a turn searches at most (about 2 s)."""


@dataclass(slots=True, eq=False)
class Node:
    """
    One call, as much of it as inference needs.

    Attributes:
        input: The request as JSON, empty if it is unknown. Calls of one round share one object.
        output: The reply's text.
        started_ns: Monotonic start, in nanoseconds.
        ended_ns: Monotonic end, `None` while it runs.
        failed: Whether it raised.
        answered: Whether the turn returned its reply.
        role: The declared role, `None` if there is none; `infer` fills it in.
        layer: The declared layer, likewise.
        others: Texts of its further choices.
        raw: What it returned, `None` if that is not kept.
        whole: Whether its reply came to its end.
        model: Name of the model, `None` if it is unknown.
        known: Whether the data flow shows the role; `infer` fills it in.
        alike: The calls with the same request, itself among them; empty if its request is unknown.
        quoted: Earlier calls whose text is in its input.
        steps: Earlier calls of its own conversation, which its input continues.
        readers: Later calls whose input contains its text.
        next: Later calls of its own conversation.
    """

    input: bytes
    output: str | None
    started_ns: int
    ended_ns: int | None
    failed: bool
    answered: bool
    role: str | None
    layer: int | None
    others: tuple[str, ...] = ()
    raw: object = None
    whole: bool = True
    model: str | None = None
    known: bool = True
    alike: list[Node] = field(default_factory=list, init=False)
    quoted: list[Node] = field(default_factory=list, init=False)
    steps: list[Node] = field(default_factory=list, init=False)
    readers: list[Node] = field(default_factory=list, init=False)
    next: list[Node] = field(default_factory=list, init=False)

    @property
    def texts(self) -> dict[str, None]:
        """Its different texts, that of its output first."""
        return dict.fromkeys(text for text in (self.output, *self.others) if text)

    @property
    def telling(self) -> list[str]:
        """Its texts that are long enough to prove something where they are found."""
        texts = dict.fromkeys(text.strip() for text in self.texts)
        return [text for text in texts if len(text) >= _SHORTEST and not _WORD.fullmatch(text)]


def compare(nodes: Sequence[Node], escape: Callable[[str], bytes]) -> None:
    """
    Find out which calls were asked alike, and which have read which, in place.

    Args:
        nodes: The turn's calls.
        escape: Returns a text as the inputs contain it, inside a JSON string.
    """
    _group(nodes)
    search = _Search(nodes, escape)
    ended = sorted((node for node in nodes if node.ended_ns is not None and node.role != "aggregator"), key=_end)
    times = [*map(_end, ended)]
    # A turn that is a whole program may have thousands of calls, or hundreds with a long document in each request;
    # to compare all pairs would take minutes. What is then not found is unknown.
    size = sum(len(node.input) for node in nodes)
    most = min(max(_FEWEST_BEFORE, _PAIRS // (len(nodes) or 1)), max(_FEWEST_OF_LONG, _BYTES // (size or 1)))
    for node in nodes:
        before = bisect_right(times, node.started_ns) if node.alike else 0
        if before:
            search.look(node, ended[max(before - most, 0) : before])


_end: Any = attrgetter("ended_ns")


def _group(nodes: Sequence[Node]) -> None:
    """Let the calls that were asked the very same share one list."""
    # By length first: to compare two requests that differ costs less than to hash them.
    by_length: dict[int, list[list[Node]]] = {}
    for node in nodes:
        if not node.input or node.input == b"null":
            continue
        groups = by_length.setdefault(len(node.input), [])
        for group in groups:
            if group[0].input == node.input:
                group.append(node)
                node.alike = group
                break
        else:
            node.alike = [node]
            groups.append(node.alike)


class _Search:
    """Looks for the texts of calls in the inputs of others, each pair once."""

    def __init__(self, nodes: Sequence[Node], escape: Callable[[str], bytes]) -> None:
        self.nodes = nodes
        self.escape = escape
        self.needles: dict[Node, list[tuple[str, bytes]]] = {}
        """Telling texts of each call, and their form inside an input."""
        self.pieces: dict[Node, list[tuple[str, bytes]]] = {}
        """Ends of the longest lines of these texts, likewise."""
        self.found: dict[tuple[Node, Node], bool] = {}
        """True if the first call's text is in the input of the second, which is the first of those asked alike."""
        self.changed: dict[tuple[Node, Node], bool] = {}
        """True if it is there in another form."""
        self.verbatim: set[Node] = set()
        """Calls that some call has quoted as they are."""
        self.said: dict[Node, frozenset[str]] = {}
        """Texts of the assistant's messages in an input."""

    def look(self, node: Node, earlier: Sequence[Node]) -> None:
        """Note which earlier calls a call has read, and which of them are steps of its own."""
        first = node.alike[0]
        # If both roles are declared and this call needs no layer, there is nothing to find out.
        is_open = node.role is None or (node.role == "reference" and node.layer is None)
        earlier = [other for other in earlier if other.alike is not node.alike and (is_open or other.role is None)]
        quoted = [other for other in earlier if self._reads(first, other)]
        if b'"assistant"' in node.input or b'_call"' in node.input:
            own = [other for other in quoted if self._is_said(first, other)]
            # Of several that were asked alike none is this one's own earlier self: it was given all of them.
            own = [other for other in own if not any(each in own for each in other.alike if each is not other)]
            quoted = [other for other in quoted if other not in own]
            node.steps = own + [other for other in earlier if other not in quoted and self._goes_on(node, other, own)]
        self.verbatim.update(quoted)
        node.quoted = quoted + self._quoted_changed(first, earlier, {*quoted, *node.steps}, is_verbatim=bool(quoted))
        for other in node.steps:
            other.next.append(node)
        for other in node.quoted:
            other.readers.append(node)

    def _quoted_changed(
        self, node: Node, earlier: Sequence[Node], known: set[Node], *, is_verbatim: bool
    ) -> list[Node]:
        """Return the earlier calls, apart from known ones, whose text is in a call's input in another form."""
        found: list[Node] = []
        for other in earlier:
            # A program that quotes one text as it is does not change those that it quoted as they are before.
            if other in known or (is_verbatim and other in self.verbatim):
                continue
            pair = other, node
            is_in = self.changed.get(pair)
            if is_in is None:
                is_in = self.changed[pair] = self._contains_piece(node.input, other, earlier)
            if is_in:
                found.append(other)
        return found

    def _needles(self, node: Node) -> list[tuple[str, bytes]]:
        found = self.needles.get(node)
        if found is None:
            found = self.needles[node] = [(text, self.escape(text)) for text in node.telling]
        return found

    def _reads(self, node: Node, other: Node) -> bool:
        pair = other, node
        found = self.found.get(pair)
        if found is None:
            found = self.found[pair] = self._contains(node.input, other)
        return found

    def _contains(self, data: bytes, other: Node) -> bool:
        # A reply that repeats a part of its own prompt is in every input that repeats the prompt, without ever
        # having been sent there. So a text is evidence only where it is not an echo
        # (`test_an_echo_of_the_common_prompt_is_no_evidence`).
        for text, escaped in self._needles(other):
            needle = _as_in(data, text, escaped)
            at = _find(data, needle, 0)
            if at >= 0:
                asked = other.input or self._asked_meanwhile(other, needle)
                is_echo = asked.startswith(needle, at) or (len(needle) <= _ECHO and needle in asked)
                if not is_echo or data.count(needle) > asked.count(needle):
                    return True
        return False

    def _asked_meanwhile(self, other: Node, needle: bytes) -> bytes:
        """Return a request that contains the text of a call with an unknown request, and began before it was said."""
        end = other.ended_ns or 0
        early = (node.input for node in self.nodes if node.started_ns < end)
        return next((asked for asked in early if needle in asked), b"")

    def _contains_piece(self, data: bytes, other: Node, earlier: Sequence[Node]) -> bool:
        """Return True if an input contains a text of a call in another form: cut, numbered, escaped, marked up."""
        pieces = self.pieces.get(other)
        if pieces is None:
            found = [(piece, self.escape(piece)) for text, _ in self._needles(other) for piece in _pieces(text)]
            pieces = self.pieces[other] = [(piece, escaped) for piece, escaped in found if escaped not in other.input]
        for piece, escaped in pieces:
            if escaped in data:
                # What a third call has said as well may have come from that one.
                return not any(piece in text for each in earlier if each is not other for text in each.texts)
        return False

    def _is_said(self, node: Node, other: Node) -> bool:
        """Return True if an output is in an input as the assistant's own message of a conversation."""
        text = (other.output or "").strip()
        needles = self._needles(other)
        if needles and needles[0][0] == text and not _may_be_whole(node.input, _as_in(node.input, *needles[0])):
            return False
        said = self.said.get(node)
        if said is None:
            said = self.said[node] = frozenset(_said(node.input))
        return text in said

    def _goes_on(self, node: Node, other: Node, own: Sequence[Node]) -> bool:
        """Return True if a request is that of a call without a text to find, with the assistant's message after it."""
        first, second = other.input, node.input
        if other in own or other.failed or not other.alike or not second.startswith(first[:-1] + b",{"):
            return False
        if self._needles(other):
            return False
        try:
            added = json.loads(b"[" + second[len(first) :])[0]
        except (ValueError, RecursionError):
            return False
        if added.get("role") == "assistant":
            text = (other.output or "").strip()
            return not text or text in _texts(added.get("content"))
        return not other.output and added.get("type") in _ITEMS


_ITEMS = ("reasoning", "function_call", "custom_tool_call")
"""What the model adds to a conversation in OpenAI's Responses, apart from messages."""


def _find(data: bytes, needle: bytes, start: int) -> int:
    """
    Return where a text begins in an input, as `bytes.find` does.

    CPython prepares each search for a long text, which takes 2 µs a kilobyte of it (`_two_way` in
    Objects/stringlib/fastsearch.h), and most texts are not in most inputs. So the head of the text
    is searched for, and compared in full where it is found. A few matches of the head that are not
    the text show repetitive input, in which that would be quadratic: `bytes.find` takes over.
    """
    if len(needle) > _PROBE:
        probe = needle[:_PROBE]
        for _ in range(_PROBES):
            start = data.find(probe, start)
            if start < 0 or data.startswith(needle, start):
                return start
            start += 1
    return data.find(needle, start)


def _as_in(data: bytes, text: str, escaped: bytes) -> bytes:
    """Return a text as an input contains it: an input with a lone surrogate is written as ASCII escapes."""
    return escaped if escaped.isascii() or not data.isascii() else json.dumps(text)[1:-1].encode()


_QUOTE, _BACKSLASH = b'"\\'
_PLAIN = frozenset(range(0x21, 0x80)) - {_QUOTE}
"""ASCII characters that are neither white space nor the end of a string."""


def _may_be_whole(data: bytes, needle: bytes) -> bool:
    """
    Return False if no string of an input can be this text, whatever white space is around it.

    To parse an input takes 50 µs for 16 kB. Where each match follows a plain character, the text is
    quoted inside a longer string. An escape sequence or a byte beyond ASCII may be white space.
    """
    at = _find(data, needle, 0)
    while at > 0:
        before = at - 1
        while before > 1 and data[before] == 0x20:  # noqa: PLR2004 - a space
            before -= 1
        if data[before] not in _PLAIN or _BACKSLASH in data[max(before - 5, 0) : before]:
            return True
        at = _find(data, needle, at + 1)
    return False


def _said(data: bytes) -> Iterator[str]:
    """Yield the texts of the assistant's messages in a request, however its content is written."""
    try:
        pending: list[Any] = [json.loads(data)]
    except (ValueError, RecursionError):
        return
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            if value.get("role") == "assistant":
                yield from _texts(value.get("content"))
            pending += value.values()


def _texts(content: Any) -> Iterator[str]:
    """Yield a message's text, of several parts each."""
    if isinstance(content, str):
        yield content.strip()
    elif isinstance(content, list):
        texts = (part.get("text") if isinstance(part, dict) else part for part in content)
        yield from (text.strip() for text in texts if isinstance(text, str))


# Texts that were changed ---------------------------------------------------------------------------------------------


def spoken(text: str | None) -> str:
    """Return a text without what the model thought before it."""
    return (text or "").rpartition(_THOUGHT)[2].strip()


_THOUGHT = "</think>"


def longest_line(text: str) -> str:
    """Return the longest line of a text but for its marks, escapes and numbers; empty if it proves nothing."""
    return _unmarked(max(text.splitlines(), key=len, default=""))


def _unmarked(line: str) -> str:
    line = line.replace("\t", "  ")
    number = _NUMBER.match(line)
    parts = _MARKS.split(line[number.end() :] if number is not None else line)
    # Several blanks become one in many forms.
    found = max((short.strip() for part in parts for short in part.split("  ")), key=len, default="")
    return found if len(found) >= _LEAST else ""


def _pieces(text: str) -> Iterator[str]:
    """Yield parts of a text by which it is recognized where it was cut, numbered, escaped or marked up."""
    thoughts, _, said = text.rpartition(_THOUGHT)
    lines = said.strip().splitlines()
    longest = max(lines, key=len, default="")
    line = _unmarked(longest)
    if line:
        yield line[:_MOST]
        yield line[-_MOST:]
    # Many programs take the answer from the last line; one that cuts a text may leave only the thoughts of it.
    for other in (*lines[-1:], max(thoughts.splitlines(), key=len, default="")):
        line = _unmarked(other) if other and other != longest else ""
        if line:
            yield line[:_MOST]
