"""
What a response of OpenAI's Responses API holds next to its text, and its events with it.

Source of the format: the OpenAI API reference, *Responses* and *Responses streaming*; `content_filters`
is Azure's. An item whose type is on no list is kept whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .excerpt import copied
from .fields import data_of
from .items import items_of, listed, remainder

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from .items import Item

    Data = Mapping[str, Any]

__all__ = [
    "FILTERS",
    "PLAIN_MESSAGE",
    "PLAIN_PART",
    "take_annotation",
    "take_logprobs",
    "take_output_item",
    "take_response",
]

PLAIN_MESSAGE = frozenset({"id", "type", "role", "status", "content", "phase"})
PLAIN_PART = frozenset({"type", "text", "refusal", "annotations", "logprobs"})
"""Keys of a message, and of a part of its content, that other keys of the record have or that are looked at by name."""

_LENGTHS = "text_lengths"
"""In the details of a reply: characters of the text of each item, for `ReplyItems.lengths`."""
FILTERS = ("content_filters", "moderation", "prompt_filter_results")
_READ_OF_MESSAGE = frozenset({"content"})
_READ_OF_REASONING = frozenset({"summary", "content"})
_ARGUMENTS = ("arguments", "input", "action", "actions", "code", "queries", "operation")
"""Of the call of a tool the first of these is its arguments in the record."""
_READ_OF_PART = frozenset({"text", "refusal", "annotations", "logprobs"})


def take_response(details: dict[str, Any], response: Data) -> None:
    """Take in a whole response, or what the last event of a stream has of it."""
    for name in FILTERS:
        if response.get(name):
            items_of(details).add_filter(name, response[name])
    for index, item in enumerate(listed(response.get("output"))):
        take_output_item(details, index, item)


def take_output_item(details: dict[str, Any], index: int, item: Any) -> None:
    """Take in an item of the output, which replaces what was known of it before."""
    fields = data_of(item)
    kind = fields.get("type")
    if kind == "message":
        _take_message(details, index, fields)
        return
    known = frozenset[str]()
    if kind == "reasoning":
        known = _READ_OF_REASONING
    elif isinstance(kind, str) and kind.endswith("_call"):
        # By its arguments, its name and its id the record's `tool_calls` know it.
        known = frozenset({"name", next((name for name in _ARGUMENTS if fields.get(name) is not None), "name")})
    rest = remainder(fields, known)
    if rest is not None:
        items_of(details).item(index).part = rest


def _take_message(details: dict[str, Any], index: int, fields: Data) -> None:
    found: dict[Hashable, Any] = {}
    tokens: list[Any] = []
    length = 0
    for place, part in enumerate(listed(fields.get("content"))):
        data = data_of(part)
        for number, one in enumerate(listed(data.get("annotations"))):
            found[place, number] = (one, length)
        tokens += copied(listed(data.get("logprobs")))
        other = remainder(data, _READ_OF_PART)
        if other is not None:
            items_of(details).item((index, place)).part = other
        text = data.get("text")
        length += len(text) if isinstance(text, str) else 0
    rest = remainder(fields, _READ_OF_MESSAGE)
    if found or tokens or rest is not None:
        item = _item(details, index)
        item.length, item.part = length, rest
        for where, (one, offset) in found.items():
            item.add_citation(one, offset, where)
        item.logprobs = tokens or item.logprobs
    details.setdefault(_LENGTHS, {})[index] = length


def _item(details: dict[str, Any], index: int) -> Item:
    """Return an item of the output, which begins where the text of those before it ends."""
    found = items_of(details)
    found.lengths = details.setdefault(_LENGTHS, {})
    item = found.item(index)
    item.place = index
    return item


def take_annotation(details: dict[str, Any], index: int, event: Data) -> None:
    """Take in the event of one annotation."""
    numbers = [event.get(name) for name in ("content_index", "annotation_index")]
    place = tuple(number if type(number) is int else 0 for number in numbers)
    _item(details, index).add_citation(event.get("annotation"), place=place)


def take_logprobs(details: dict[str, Any], index: int, tokens: Any) -> None:
    """Take in the tokens of a piece of text."""
    _item(details, index).logprobs.extend(copied(listed(tokens)))
