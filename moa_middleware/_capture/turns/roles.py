"""
Roles and layers of calls that were given none: a pure function of a turn's calls and of what it returned.

By data flow alone: who has read whose text (`evidence.py`), and whose text the turn returned. What
that does not show stays a `call` that is not `known`; nothing is guessed.
"""

from __future__ import annotations

import re
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ..shapes.parts import parts_of, texts_in
from .evidence import Node, compare, longest_line, spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

__all__ = ["Node", "infer"]

_LONG = 200
"""Characters from which on an answer to several texts is not expected to be much shorter than they are."""
_FIFTH = 5
_BARE = re.compile(r"[\W_]*[A-Z]?[\W\d_]*")
"""A number or a letter: the verdict of a judge."""
_DEPTH, _OBJECTS = 6, 500
"""How far the value is searched that a turn returned."""


def infer(
    nodes: Sequence[Node], escape: Callable[[str], bytes], *, returned: object = None, text: str | None = None
) -> None:
    """
    Fill in the roles and layers that are missing, and whether the roles are known, in place.

    Args:
        nodes: The turn's calls, in the order of submission.
        escape: Returns a text as the inputs contain it, inside a JSON string.
        returned: The value that the turn returned, `None` if there is none.
        text: The text that was read from it, or from the turn's stream.
    """
    compare(nodes, escape)
    unnamed = [node for node in nodes if node.role is None]
    doubtful: set[Node] = set()
    if unnamed and not any(node.role == "aggregator" for node in nodes):
        _mark_answered(nodes, returned, text)
        found, doubtful = _find_aggregator(unnamed, has_value=returned is not None or bool(text))
        if found is not None:
            found.role = "aggregator"
    unnamed = [node for node in unnamed if node.role is None and node not in doubtful]
    has_aggregator = any(node.role == "aggregator" for node in nodes)
    for node in unnamed:
        if node.layer is None and _is_step(node):
            # Without an aggregator the answer may be that of a step, and what goes on from it a title or a score.
            is_known = has_aggregator or not node.output or any(each.readers or each.next for each in node.next)
            node.role = "call" if is_known else None
        elif _is_earlier_try(node):
            node.role = "call"
        elif node.readers:
            node.role = "reference"
    for node in unnamed:
        if node.role is None and _is_sibling(node, nodes):
            node.role = "reference"
    for node in nodes:
        node.known = node.role is not None
        node.role = node.role or "call"
    _fill_layers(nodes)


# The aggregator ------------------------------------------------------------------------------------------------------


def _find_aggregator(unnamed: Sequence[Node], *, has_value: bool) -> tuple[Node | None, set[Node]]:
    """Return the call that is shown to be the aggregator, if one is, and those that may be it or not."""
    answered = [node for node in unnamed if node.answered]
    if len(answered) == 1 or len(unnamed) == 1:
        return (answered or unnamed)[0], set()
    among = set(answered or unnamed)
    ends = [node for node in answered or unnamed if node.quoted and not _is_followed(node, among)]
    if answered:
        if not ends:
            # Their texts are too short to be found. The one that was asked otherwise than those asked alike:
            ends = [node for node in answered if len(node.alike) == 1]
            return (ends[0] if len(ends) == 1 else None), set()
    elif not ends:
        last = _end_of_conversation(unnamed)
        is_score = last is not None and not answered and last.whole and _is_verdict(last)
        return (None, {last}) if last is not None and is_score else (last, set())
    ends = [node for node in ends if not node.failed] or ends[-1:]
    if len(ends) > 1 and all(node.alike and node.alike is ends[0].alike for node in ends):
        return _last_of_alike(ends, is_answered=bool(answered))
    if _is_next_round(ends):
        for node in ends:
            node.role = "reference"
        return None, set()
    if len(ends) > 1 or (has_value and not answered):
        return None, {*ends}
    (last,) = ends
    lone = _lone_reading(last)
    # It may be a title, a check or a translation of the answer, or the last word itself: the flow is the same.
    if lone and (lone[0].quoted or lone[0].steps):
        return None, {*lone, last}
    if last.whole and not answered and _is_verdict(last):
        return None, {*lone, last}
    return last, set()


def _is_followed(node: Node, among: Collection[Node]) -> bool:
    return any(other in among for other in (*node.readers, *node.next))


def _end_of_conversation(unnamed: Sequence[Node]) -> Node | None:
    """Return the last step where all calls are steps of one conversation, or one request that was sent again."""
    among = set(unnamed)
    left = [node for node in unnamed if not _is_followed(node, among)]
    if not left or not left[0].alike or any(node.alike is not left[0].alike for node in left):
        return None
    if _overlap(left):
        return None
    fine = [node for node in left if not node.failed]
    last = fine[-1] if fine else left[-1]
    if len(fine) > 1:
        return None
    # Several models of which none answered, or of which another was asked after the answer, may be a round.
    is_retried = len({node.model for node in left}) == 1 or (bool(fine) and last is left[-1])
    return last if is_retried else None


def _last_of_alike(ends: Sequence[Node], *, is_answered: bool) -> tuple[Node | None, set[Node]]:
    """Return the aggregator among several ends that were asked alike: one that was asked again."""
    if is_answered or _overlap(ends) or _is_next_round(ends):
        return None, set()  # the last round of references
    if len(ends[0].quoted) > 1 or len({node.model for node in ends}) > 1:
        return None, {*ends}  # the last round, one after the other, or an aggregator asked twice
    return ends[-1], set()


def _is_next_round(nodes: Sequence[Node]) -> bool:
    """Return True if several models were asked again, with what the same models had said: a debate's next round."""
    models = sorted(node.model or "" for node in nodes)
    # Two that were asked otherwise may be an aggregator, and who suggests what to ask next.
    if len({*models}) < 2 or (len(nodes) == 2 and nodes[0].alike is not nodes[1].alike):  # noqa: PLR2004
        return False
    earlier = dict.fromkeys(other for node in nodes for other in _read_first_hand(node))
    return models == sorted(other.model or "" for other in earlier)


def _overlap(nodes: Sequence[Node]) -> bool:
    return any(_overlaps(one, two) for one, two in pairwise(nodes))


def _overlaps(one: Node, two: Node) -> bool:
    """Return True if the second of two calls began before the first had ended."""
    return one.ended_ns is None or two.started_ns < one.ended_ns


def _lone_reading(node: Node) -> list[Node]:
    """Return the one call that another has read at first hand; none if it has read several, or one of a round."""
    found = [other for other in _read_first_hand(node) if other.output]  # without a call of a tool
    if len(found) != 1:
        return []
    return found if all(other is found[0] or other.failed for other in found[0].alike) else []


def _read_first_hand(node: Node) -> list[Node]:
    """Return the calls that a call has read or goes on from, without those that another of these had read before."""
    read = [*node.quoted, *node.steps]
    passed_on = {other for each in read for other in (*each.quoted, *each.steps)}
    return [other for other in read if other not in passed_on]


def _is_verdict(node: Node) -> bool:
    """Return True if an output is a number, a letter, or much shorter than all that its call has read or goes on from."""
    text = spoken(node.output)
    read = node.quoted or [other for other in node.steps[-1:] if other.output]
    least = min((len(spoken(other.output)) for other in read), default=0)
    return bool(read and text and _BARE.fullmatch(text)) or (least >= _LONG and 0 < len(text) * _FIFTH < least)


# References ----------------------------------------------------------------------------------------------------------


def _is_step(node: Node) -> bool:
    """Return True if a call is an earlier step of a conversation, and no other call that matters has read it."""
    if not node.next:
        return False
    if any(other in after.quoted for after in node.next for other in node.alike if other is not node):
        return False  # that one goes on from its own draft and reads those of its round
    # A title or a note on the conversation does not matter: no call goes on from it, and it has no steps.
    return not any(each.role == "aggregator" or each.steps or each.readers or each.next for each in node.readers)


def _is_earlier_try(node: Node) -> bool:
    """Return True if a call failed and its request was sent again, to the aggregator and the same model."""
    last = node.alike[-1] if node.failed and node.alike else node
    return last.role == "aggregator" and all(
        other is last or (other.failed and other.model == last.model and not _overlaps(other, last))
        for other in node.alike
    )


def _is_sibling(node: Node, nodes: Sequence[Node]) -> bool:
    """Return True if a call that no other has read is one of a round of references."""
    # A reference that failed, or answered "42", leaves no text that could be found. It was asked what its
    # round was asked, and that is enough
    # (`test_a_failed_call_asked_what_a_reference_was_asked_is_one_of_its_round`).
    group = node.alike
    if len(group) < 2:  # noqa: PLR2004 - a round
        return False
    is_parallel = _overlap(group)
    aggregator = next((other for other in group if other.role == "aggregator"), None)
    if aggregator is not None:
        # One of a round was returned. If others were asked after it, they were not asked until one was good enough.
        others = (other for other in group if other.model != aggregator.model and not other.failed)
        is_round = is_parallel or any(other.started_ns > aggregator.started_ns for other in others)
        return aggregator.answered and is_round
    if any(other.role == "reference" for other in group):
        return True
    fine = [other for other in group if not other.failed]
    if not is_parallel and (len(fine) < 2 or len({other.model for other in group}) == 1):  # noqa: PLR2004
        return False  # the same model, one time after the other: samples, or tries until one was good enough
    if any(other.next for other in group):
        return False
    if not fine:
        return True
    # A round that no later call joins, or that cannot be seen to be joined. A long text that a later call was
    # not given stays unknown: that is how a layer shows that was lost.
    end = max(other.ended_ns or other.started_ns for other in group)
    if not any(later.alike is not group and later.started_ns >= end for later in reversed(nodes)):
        return True
    return any(other.output for other in fine) and not any(other.telling for other in fine)


def _fill_layers(nodes: Sequence[Node]) -> None:
    """Give each reference the layer after the deepest one in its own input, or in that of a call asked alike."""
    layers: dict[Node, int] = {}
    # What a call has read ended before it began, so that each layer is known when it is needed.
    for node in sorted(nodes, key=_start):
        read = (other for each in node.alike or [node] for other in each.quoted)
        found = (layers.get(other, 0) for other in read if other.role == "reference" or not other.known)
        layers[node] = node.layer or 1 + max(found, default=0)
        if node.role == "reference":
            node.layer = layers[node]


_start: Any = attrgetter("started_ns")


# What the turn returned ----------------------------------------------------------------------------------------------


def _mark_answered(nodes: Sequence[Node], returned: object, text: str | None) -> None:
    """Mark the calls whose reply is what the turn returned, by the first test that one of them passes."""
    if any(node.answered for node in nodes) or (returned is None and not text):
        return
    if returned is not None and _mark(nodes, (node.raw is returned for node in nodes)):
        return
    said = [{each.strip() for each in node.texts} - {""} for node in nodes]
    text = (text or "").strip()
    if text and _mark(nodes, (text in own for own in said)):
        return
    texts, objects = _held_by(returned)
    texts |= {text} - {""}
    held = [*zip(nodes, said, strict=True)]
    has_some = _mark(nodes, (id(node.raw) in objects or not texts.isdisjoint(own) for node, own in held))
    if has_some:
        # All that it holds as they are were read by others: these are drafts, and the answer may have been parsed.
        if not all(node.readers for node in nodes if node.answered):
            return
        held = [(node, own) for node, own in held if not node.answered and node.quoted]
    # It was wrapped, cut or parsed: a long line of the one is in the other.
    lines = {*map(_telling_line, texts)} - {""}
    for node, own in held:
        in_own = any(line in each for line in lines for each in own)
        node.answered = in_own or any(line in each for line in {*map(_telling_line, own)} - {""} for each in texts)


def _telling_line(text: str) -> str:
    return longest_line(spoken(text))


def _mark(nodes: Sequence[Node], hits: Iterable[bool]) -> bool:
    found = False
    for node, hit in zip(nodes, hits, strict=True):
        node.answered = hit
        found = found or hit
    return found


def _held_by(value: object) -> tuple[set[str], set[int]]:
    """Return the texts in a value and the identities of its objects, as far as it is searched."""
    texts: set[str] = set()
    objects: set[int] = set()
    pending: list[tuple[Any, int]] = [(value, 0)]
    while pending and len(objects) < _OBJECTS:
        one, depth = pending.pop()
        own = texts_in(one, 0)
        if own:
            texts.update(map(str.strip, own))
        elif type(one) not in _SCALARS and id(one) not in objects:
            objects.add(id(one))
            if depth < _DEPTH:
                pending += [(part, depth + 1) for _, part in parts_of(one)]
    texts.discard("")
    return texts, objects


_SCALARS = frozenset({int, float, bool, type(None)})
