"""
What a message of Anthropic's Messages API holds next to its text, and its events with it.

Source of the format: the Anthropic API reference, *Messages*, *Streaming messages*, *Citations* and the pages
of its server tools. A block whose type is on no list is kept whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .excerpt import copied, is_blank
from .fields import data_of
from .items import items_of, listed, remainder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .choice import Choice

    Data = Mapping[str, Any]

__all__ = ["FACTS", "FACTS_OF_USAGE", "PLAIN", "PLAIN_DELTAS", "PLAIN_TEXT", "take_block", "take_delta", "take_facts"]

PLAIN_TEXT = frozenset({"type", "text", "citations", "parsed_output"})
"""Keys of a block of text; the last is the text once more, as the SDK has parsed it."""

_BLOCK = "block"
"""In the details of a reply: number of the pieces of text before the block at hand, and its type."""
_READ = {
    "text": PLAIN_TEXT,
    "thinking": frozenset({"thinking"}),
    "tool_use": frozenset({"id", "name", "input"}),
    "server_tool_use": frozenset({"name", "input"}),
    "mcp_tool_use": frozenset({"name", "input"}),
}
"""By the type of a block: what other keys of the record have of it."""
PLAIN_DELTAS = frozenset({"text_delta", "thinking_delta", "input_json_delta", "text", "thinking"})
PLAIN = frozenset(
    (
        *("id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage", "service_tier"),
        *("container", "stop_details", "diagnostics", "delta", "amazon-bedrock-invocationMetrics", "_request_id"),
    )
)
"""Keys of a message that other keys of the record have, or that are looked at by name."""
FACTS = ("stop_sequence", "container", "stop_details", "diagnostics")
FACTS_OF_USAGE = ("inference_geo", "iterations")
"""Keys of a message, and of its tokens, that the SDK's classes declare, and that are mostly empty."""


def take_block(details: dict[str, Any], choice: Choice, index: Any, block: Any) -> None:
    """
    Take in the beginning of a block, or a whole one, before its text is added to the choice's.

    Args:
        details: Those of the reply.
        choice: What the reply has said before.
        index: Place of the block.
        block: The block.
    """
    fields = data_of(block)
    kind, first = fields.get("type"), len(choice.text)
    details[_BLOCK] = (first, kind)
    found = details.get("items")
    if found is not None:
        found.end_texts(first)
    rest = remainder(fields, _READ.get(kind, frozenset()) if isinstance(kind, str) else frozenset())
    if rest is not None:
        items_of(details).item(str(index)).part = rest
    for one in listed(fields.get("citations")):
        _take_citation(details, choice, index, one)


def _take_citation(details: dict[str, Any], choice: Choice, index: Any, raw: Any) -> None:
    found = items_of(details)
    item = found.item(str(index))
    found.begin_text(item, choice.text, details.get(_BLOCK, (0,))[0])
    item.add_citation(raw)


def take_delta(details: dict[str, Any], choice: Choice, index: Any, delta: Any) -> None:
    """Take in a piece of a block, unless it is one of its text, its thinking or its arguments."""
    fields = data_of(delta)
    kind = fields.get("type")
    if kind == "citations_delta":
        _take_citation(details, choice, index, fields.get("citation"))
        return
    rest = {key: copied(item, key, fields) for key, item in fields.items() if key != "type" and not is_blank(item)}
    if rest:
        item = items_of(details).item(str(index))
        item.merge({**({} if item.part else {"type": details.get(_BLOCK, (0, kind))[1]}), **rest})


def take_facts(details: dict[str, Any], message: Data) -> None:
    """Take in what a message, or an event with the fields of one, says of itself."""
    found = message.get("stop_sequence")
    if isinstance(found, str) and found:
        items_of(details).stop_sequence = found
    for name, value in message.items():
        if (name not in PLAIN or name in FACTS[1:]) and not is_blank(value):
            items_of(details).add_field(name, value)
    usage = data_of(message.get("usage"))
    region = usage.get("inference_geo")
    if isinstance(region, str) and region not in ("", "not_available"):
        items_of(details).served_by["region"] = region
    if usage.get("iterations"):
        _take_iterations(details, message, usage["iterations"])


def _take_iterations(details: dict[str, Any], message: Data, iterations: Any) -> None:
    """Keep what other models used to make the reply: the record's tokens are those of its own model."""
    own = message.get("model") or details.get("response_model")
    for place, one in enumerate(listed(iterations)):
        fields = data_of(one)
        if isinstance(fields.get("model"), str) and fields["model"] != own:
            made = {"type": "usage_iteration", "usage_iteration": copied(one)}
            items_of(details).item(("iteration", place)).part = made
