"""
What a reply of `converse` holds next to its text, and its events with it: citations, signatures, images, traces, times.

Source of the format: the Amazon Bedrock API reference, *Converse* and *ConverseStream* (`ContentBlock`,
`CitationsContentBlock`, `ReasoningContentBlock`, `GuardrailTraceAssessment`). A block of a kind that is on no list is
kept whole.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from .excerpt import BinaryPiece, copied, is_blank
from .fields import data_of
from .items import items_of, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .choice import Choice

    Data = Mapping[str, Any]

__all__ = ["GUARDRAIL", "end_block", "take_block", "take_delta", "take_facts", "take_guardrail", "take_metrics"]

_READ = frozenset({"text", "toolUse"})
_BLOCK = "bedrock_block"
"""In the details of a reply: place of the block at hand, and number of the pieces of text before it."""
_TIMES = frozenset({"latencyMs", "invocationLatency", "firstByteLatency"})
_FACTS = ("additionalModelResponseFields", "performanceConfig")


def take_block(details: dict[str, Any], choice: Choice, index: Any, block: Data) -> None:
    """
    Take in a block of a whole message, or the beginning of one, before its text is taken.

    Args:
        details: Those of the reply; they get the items, if there are any.
        choice: What the reply has said before.
        index: Place of the block.
        block: The block.
    """
    end_block(details, choice)
    for kind, value in block.items():
        if kind in _READ or value is None:
            continue
        if kind == "citationsContent":
            for one in listed(data_of(value).get("citations")):
                _take_citation(details, choice, index, one)
        elif kind == "reasoningContent":
            fields = data_of(value)
            _take_reasoning(details, index, {**fields, **data_of(fields.get("reasoningText"))})
        else:
            items_of(details).item((repr(index), kind)).merge({"type": kind, kind: copied(value, kind)})


def take_delta(details: dict[str, Any], choice: Choice, index: Any, delta: Data) -> None:
    """Take in a piece of a block, before its text is taken."""
    known = details.get(_BLOCK)
    if known is None or known[0] != index:
        end_block(details, choice)
        details[_BLOCK] = (index, len(choice.text))
    for kind, value in delta.items():
        if kind in _READ or value is None:
            continue
        if kind == "citation":
            _take_citation(details, choice, index, value)
        elif kind == "reasoningContent":
            _take_reasoning(details, index, data_of(value))
        elif kind == "image":
            _take_image(details, index, data_of(value))
        else:
            items_of(details).item((repr(index), kind)).merge({"type": kind, kind: copied(value, kind)})


def end_block(details: dict[str, Any], choice: Choice) -> None:
    """Note that the blocks so far have all of their text."""
    details[_BLOCK] = (None, len(choice.text))
    found = details.get("items")
    if found is not None:
        found.end_texts(len(choice.text))


def _take_reasoning(details: dict[str, Any], index: Any, fields: Data) -> None:
    """Keep what the next request has to send back, in the form of JSON: base64 of bytes."""
    for name in ("signature", "redactedContent"):
        value = fields.get(name)
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        if isinstance(value, str) and value:
            items_of(details).item((repr(index), "reasoningContent")).merge({"type": "reasoningContent", name: value})


def _take_image(details: dict[str, Any], index: Any, image: Data) -> None:
    """Take in a piece of an image, of which the digest is kept."""
    item = items_of(details).item((repr(index), "image"))
    source = data_of(image.get("source"))
    made = copied({**image, "source": {key: value for key, value in source.items() if key != "bytes"}})
    data = source.get("bytes")
    if isinstance(data, bytes):
        made["source"]["bytes"] = BinaryPiece(base64.b64encode(data).decode())
    item.merge({"type": "image", "image": made})


def _take_citation(details: dict[str, Any], choice: Choice, index: Any, given: Any) -> None:
    raw = data_of(copied(given))
    location = data_of(raw.get("location"))
    made = {key: item for key, item in raw.items() if key not in ("location", "sourceContent")}
    quote = "".join(
        text for one in listed(raw.get("sourceContent")) if isinstance(text := data_of(one).get("text"), str)
    )
    if quote:
        made["quote"] = quote
    made |= data_of(location.get("web")) or ({"location": dict(location)} if location else {})
    found = items_of(details)
    item = found.item((repr(index), "citations"))
    if item.text is None:
        found.begin_text(item, choice.text, details.get(_BLOCK, (None, 0))[1])
    item.add_citation({**made, "type": "url_citation" if "web" in location else "document_citation"})


def take_facts(details: dict[str, Any], reply: Data) -> None:
    """Take in what a reply, or one of its last events, says as a whole."""
    take_metrics(details, reply.get("metrics"))
    for name in _FACTS:
        value = reply.get(name)
        if not is_blank(value):
            items_of(details).add_field(name, value)
    stop = data_of(reply.get("additionalModelResponseFields")).get("stop_sequence")
    if isinstance(stop, str) and stop:
        items_of(details).stop_sequence = stop
    for name, value in data_of(reply.get("trace")).items():
        model = data_of(value).get("invokedModelId")
        if name == "promptRouter" and isinstance(model, str):
            details["response_model"] = model
        elif not is_blank(value):
            items_of(details).add_filter(name, value)


GUARDRAIL = frozenset({"amazon-bedrock-guardrailAction", "amazon-bedrock-trace"})
"""Keys that a guardrail adds to the body of any model that `invoke_model` passes on."""


def take_guardrail(details: dict[str, Any], body: Data) -> None:
    """Take in what a guardrail has done, and its trace, as `converse` has it."""
    for name in GUARDRAIL.intersection(body):
        if isinstance(body[name], str):
            items_of(details).add_filter(name, body[name])
        for part, value in data_of(body[name]).items():
            if not is_blank(value):
                items_of(details).add_filter(part, value)


def take_metrics(details: dict[str, Any], metrics: Any) -> None:
    """Keep the durations among the metrics, which are in milliseconds."""
    found = {name: value for name, value in data_of(metrics).items() if name in _TIMES}
    if found:
        items_of(details).add_timings(found)
