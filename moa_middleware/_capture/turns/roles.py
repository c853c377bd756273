"""
Roles and layers of calls that nobody named: a pure function of a turn's calls.

By data flow alone. The call whose reply the turn returned is the aggregator; a call whose output
stands in a later one's input, beyond what the two inputs have in common, is a reference to it.
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


@dataclass(slots=True)
class Node:
    """
    One call, as much of it as inference needs.

    Attributes:
        input: The request as JSON.
        output: The reply's text.
        started_ns: Monotonic start, in nanoseconds.
        ended_ns: Monotonic end, `None` while it runs.
        failed: Whether it raised.
        answered: Whether the turn returned its reply.
        role: What was said of it, `None` if nothing was; `infer` fills it in.
        layer: The same.
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
        escape: A text as it stands inside a JSON string, as the inputs were encoded.
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
    """Which output stands in which input."""

    def __init__(self, nodes: Sequence[Node], escape: Callable[[str], bytes]) -> None:
        self.nodes = nodes
        self.escape = escape
        self.needles: dict[int, list[tuple[str, bytes]]] = {}
        """The texts of each call that are long enough to prove something, and how they stand in an input."""
        self.said: dict[int, frozenset[str]] = {}
        """What stands in an input as the assistant's own turns."""
        self.inside: dict[int, list[Node]] = {}
        """Calls whose output stands in this one's input."""

    def aggregator(self, unnamed: Sequence[Node]) -> Node:
        """Return the call that the turn returned, else the last that did not fail, else the last."""
        for node in reversed(unnamed):
            if node.answered:
                return node
        found = next((node for node in reversed(unnamed) if not node.failed), None)
        for node in reversed(unnamed):
            # One that failed later on, but has read that one's reply, stands above it.
            if found is None or node is found or (node.failed and self._stands(found, node)):
                return node
        return unnamed[-1]

    def fan_out(self, found: Node, unnamed: Sequence[Node]) -> list[Node]:
        """
        Return the calls of a turn that never came to its aggregator: several were asked the same.

        A turn that was left before its last call, or that only compares models. An aggregator that
        was asked twice has read somebody.
        """
        if found.answered or not found.input:
            return []
        alike = [node for node in unnamed if not node.failed and node.input == found.input]
        read = any(self._stands(other, found) for other in unnamed if other is not found)
        return alike if len(alike) > 1 and not read else []

    def apply(self) -> None:
        for node in self.nodes:
            self.inside[id(node)] = [other for other in self._before(node) if self._stands(other, node)]
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

    def _stands(self, other: Node, node: Node) -> bool:
        if not node.input or node.input == other.input:
            return False  # all that was asked alike is common, as in each fan-out
        common: int | None = None
        for text, escaped in self._needles(other):
            # An input with a lone surrogate in it is written as ASCII escapes.
            surrogate = not escaped.isascii() and node.input.isascii()
            needle = json.dumps(text)[1:-1].encode() if surrogate else escaped
            if common is None:
                common = _common_prefix(other.input, node.input)
            # An echo of a prompt that both were given is no evidence; two rounds' replies may begin alike.
            if node.input.find(needle, max(common - len(needle) + 1, 0)) >= 0:
                return True
        return False

    def _is_step(self, other: Node, node: Node) -> bool:
        """Whether an output that stands in an input does so as the assistant's own turn of a conversation."""
        if b'"assistant"' not in node.input:
            return False
        said = self.said.get(id(node))
        if said is None:
            said = self.said[id(node)] = frozenset(_said(node.input))
        return (other.output or "").strip() in said

    def _siblings(self) -> None:
        """Count a call without a telling output, asked what a reference was asked, to its round."""
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
