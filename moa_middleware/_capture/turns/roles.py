"""
Roles and layers of calls that nobody named: a pure function of a turn's calls.

By data flow alone. The call whose reply the turn returned is the aggregator. A call whose output
is in a later one's input, beyond what the two inputs have in common, is a reference to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Node", "infer"]

_SHORTEST = 8
"""Characters of an output below which finding it elsewhere proves nothing."""
_PROBE = 48
"""Bytes of an output that are searched for first."""
_PROBES = 16
"""Matches of a probe after which the whole output is searched for."""


@dataclass(slots=True)
class Node:
    """
    One call, as much of it as inference needs.

    Attributes:
        input: The request as JSON. Calls of one round share one object.
        output: The reply's text.
        started_ns: Monotonic start, in nanoseconds.
        ended_ns: Monotonic end, `None` while it runs.
        failed: Whether it raised.
        answered: Whether the turn returned its reply.
        role: The declared role, `None` if there is none; `infer` fills it in.
        layer: The declared layer, likewise.
        others: Texts of its further choices.
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


def infer(nodes: Sequence[Node], escape: Callable[[str], bytes]) -> None:
    """
    Fill in the roles and layers that are missing, in place.

    Args:
        nodes: The turn's calls, in the order of submission.
        escape: Returns a text as the inputs contain it, inside a JSON string.
    """
    unnamed = [node for node in nodes if node.role is None]
    evidence = _Evidence(nodes, escape)
    if unnamed and not any(node.role == "aggregator" for node in nodes):
        found = evidence.aggregator(unnamed)
        asked_alike = evidence.fan_out(found, unnamed)
        for node in asked_alike:
            node.role = "reference"
        if not asked_alike:
            found.role = "aggregator"
    evidence.apply()
    for node in nodes:
        node.role = node.role or "call"


class _Evidence:
    """Which output is in which input."""

    def __init__(self, nodes: Sequence[Node], escape: Callable[[str], bytes]) -> None:
        self.nodes = nodes
        self.escape = escape
        self.needles: dict[int, list[tuple[str, bytes]]] = {}
        """Texts of each call that are long enough to prove something, and their form inside an input."""
        self.said: dict[int, frozenset[str]] = {}
        """Texts of the assistant's messages in an input."""
        self.common: dict[tuple[int, int], int] = {}
        """Length of the common prefix of two inputs, by their identities: one round shares one object."""
        self.found: dict[tuple[int, int], bool] = {}
        """True if the first call's output is in the second one's input."""
        self.inside: dict[int, list[Node]] = {}
        """Calls whose output is in this one's input."""

    def aggregator(self, unnamed: Sequence[Node]) -> Node:
        """Return the call that the turn returned, else the last that did not fail, else the last."""
        for node in reversed(unnamed):
            if node.answered:
                return node
        found = next((node for node in reversed(unnamed) if not node.failed), None)
        for node in reversed(unnamed):
            # One that failed later on, but has read that one's reply, is above it.
            if found is None or node is found or (node.failed and self._quotes(node, found)):
                return node
        return unnamed[-1]

    def fan_out(self, found: Node, unnamed: Sequence[Node]) -> list[Node]:
        """
        Return the calls of a turn that never reached its aggregator: several were asked the same.

        Such a turn was left before its last call, or only compares models. An aggregator that was
        asked twice contains another call's reply.
        """
        # Without an aggregator the last call is only one of the round, and would look like one. What shows it
        # is that another call was asked the very same; an aggregator's request contains the references.
        if found.answered or not found.input:
            return []
        alike = [node for node in unnamed if not node.failed and node.input == found.input]
        read = any(self._quotes(found, other) for other in unnamed if other is not found)
        return alike if len(alike) > 1 and not read else []

    def apply(self) -> None:
        for node in self.nodes:
            self.inside[id(node)] = [other for other in self._before(node) if self._quotes(node, other)]
        for node in self.nodes:
            for other in self.inside[id(node)]:
                if other.role is None and other.layer is None and self._is_step(other, node):
                    other.role = "call"
        for node in self.nodes:
            for other in self.inside[id(node)]:
                other.role = other.role or "reference"
        self._siblings()
        for node in self.nodes:
            if node.role == "reference" and node.layer is None:
                node.layer = self._layer(node, ())

    def _before(self, node: Node) -> list[Node]:
        """Return the calls that had ended when this one began; in one fan-out there are none."""
        return [
            other
            for other in self.nodes
            if other is not node
            and other.role != "aggregator"
            and other.ended_ns is not None
            and other.ended_ns <= node.started_ns
            # Nothing to learn from a call that is named, for a call that is no reference itself.
            and (other.role is None or (node.role in (None, "reference") and node.layer is None))
        ]

    def _needles(self, node: Node) -> list[tuple[str, bytes]]:
        found = self.needles.get(id(node))
        if found is None:
            texts = [text.strip() for text in (node.output or "", *node.others)]
            found = self.needles[id(node)] = [(text, self.escape(text)) for text in texts if len(text) >= _SHORTEST]
        return found

    def _quotes(self, node: Node, other: Node) -> bool:
        """Return True if a call's input contains the output of another."""
        pair = id(node), id(other)
        found = self.found.get(pair)
        if found is None:
            found = self.found[pair] = self._contains(node.input, other)
        return found

    def _contains(self, data: bytes, other: Node) -> bool:
        # Both requests usually begin alike: system prompt, history, question. A reply that repeats a part of
        # these (an echo, a short "yes") is in the later input without ever having been sent there. So an output
        # counts as evidence only where it ends behind what the two inputs share
        # (`test_an_echo_of_the_common_prompt_is_no_evidence`). The common prefix is found by bisection, with
        # comparisons in C, once for each pair of requests.
        if not data or data == other.input:
            return False  # an equal request is common as a whole, as in each fan-out
        for text, escaped in self._needles(other):
            needle = _as_in(data, text, escaped)
            pair = id(other.input), id(data)
            common = self.common.get(pair)
            if common is None:
                common = self.common[pair] = _common_prefix(other.input, data)
            # An echo of a prompt that both were given is no evidence; two rounds' replies may begin alike.
            if _find(data, needle, max(common - len(needle) + 1, 0)) >= 0:
                return True
        return False

    def _is_step(self, other: Node, node: Node) -> bool:
        """Return True if an output is in an input as the assistant's own message of a conversation."""
        data = node.input
        if b'"assistant"' not in data:
            return False
        text = (other.output or "").strip()
        if len(text) >= _SHORTEST and not _may_be_whole(data, _as_in(data, text, self._needles(other)[0][1])):
            return False
        said = self.said.get(id(node))
        if said is None:
            said = self.said[id(node)] = frozenset(_said(data))
        return text in said

    def _siblings(self) -> None:
        """Add to a reference's round the calls with the same request whose own output proves nothing."""
        # A reference that failed, or answered "42", leaves no text that could be found. It was asked what its
        # round was asked, and that is enough
        # (`test_a_failed_call_asked_what_a_reference_was_asked_is_one_of_its_round`).
        references = [node for node in self.nodes if node.role == "reference" and node.input]
        for node in self.nodes:
            if node.role is not None or (not node.failed and self._needles(node)):
                continue
            for reference in references:
                if reference.input == node.input:
                    node.role, node.layer = "reference", node.layer or reference.layer
                    break

    def _layer(self, node: Node, above: tuple[int, ...]) -> int:
        """Return one more than the deepest reference inside its own input."""
        deepest = 0
        for other in self.inside[id(node)]:
            if other.role == "reference" and id(other) not in above:
                deepest = max(deepest, other.layer or self._layer(other, (*above, id(node))))
        return deepest + 1


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


def _common_prefix(one: bytes, two: bytes) -> int:
    """Return how many bytes two inputs begin with alike."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
