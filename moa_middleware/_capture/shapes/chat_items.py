"""
What a chat completion holds next to its text, from whichever server it comes.

Sources of the fields: the API references of OpenAI (*Chat*), OpenRouter, Azure OpenAI, Perplexity, Groq,
Cerebras, Ollama and vLLM. What is on none of the lists below is kept as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .excerpt import BinaryPiece, copied, is_blank
from .fields import data_of, get
from .items import items_of, listed, remainder, word_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .items import ReplyItems

__all__ = ["LISTS", "PLAIN_CHOICE", "PLAIN_MESSAGE", "PLAIN_REPLY", "has_more", "take"]

PLAIN_REPLY = frozenset(
    (
        *("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"),
        *("error", "base_resp", "metadata", "obfuscation", "moderation", "_request_id"),
    )
)
"""Keys of a reply that other keys of the record have, that repeat the request, or that are looked at by name."""
PLAIN_CHOICE = frozenset({"index", "message", "delta", "text", "finish_reason", "error", "usage", "logprobs"})
PLAIN_MESSAGE = frozenset(
    (
        *("role", "content", "refusal", "tool_calls", "function_call", "reasoning", "reasoning_content", "name"),
        *("annotations", "audio", "thinking"),
    )
)
LISTS = ("annotations", "audio")
"""Keys of a message that its class declares, and that are mostly empty."""

_FILTERS = frozenset(
    (
        *("prompt_filter_results", "prompt_annotations", "content_filter_results", "content_filter_result"),
        *("content_filter_offsets", "content_filters", "moderation", "moderation_results", "guardrails"),
    )
)
_SOURCES = frozenset({"citations", "search_results"})
_STOPS = frozenset({"stop_reason", "matched_stop"})
"""Where vLLM and SGLang name the sequence that ended a reply."""
_READ_PARTS = frozenset({"text", "output_text", "refusal"})
_READ_OF_PART = frozenset({"text", "refusal", "thinking", "closed"})
_READ_OF_CALL = frozenset({"id", "type", "index", "function", "custom", "name", "args"})
_READ_OF_DETAILS = frozenset({"text", "summary"})
_TIMES = frozenset({"queue_time", "prompt_time", "completion_time", "total_time"})
"""Groq's, next to the tokens."""


def has_more(call: Any) -> bool:
    """Return True if the call of a tool has more than the record's `tool_calls` keep of it."""
    return not _READ_OF_CALL.issuperset(data_of(call))


def take(details: dict[str, Any], reply: Mapping[str, Any], choices: Iterable[Any]) -> None:
    """
    Take in what a reply or a chunk holds next to its text.

    Args:
        details: Those of the reply; they get the items, if there are any.
        reply: Its fields.
        choices: Its choices.
    """
    for name, value in reply.items():
        if not is_blank(value) and (name not in PLAIN_REPLY or name == "moderation") and not name.startswith("_"):
            _take_field(items_of(details), name, value, reply)
    for item in choices:
        fields = _sent(item)
        number = fields.get("index")
        choice = number if type(number) is int else 0
        for name, value in fields.items():
            if not is_blank(value) and (name not in PLAIN_CHOICE or name == "logprobs"):
                _take_choice_field(items_of(details), name, value, choice)
        message = _sent(fields.get("delta"))
        # Perplexity sends an empty delta next to the message of a whole reply.
        if all(map(is_blank, message.values())):
            message = _sent(fields.get("message"))
        for name, value in message.items():
            if not is_blank(value):
                _take_message_field(details, name, value, choice)


def _sent(obj: Any) -> Mapping[str, Any]:
    """Return the fields that a provider has sent: what Mistral's classes declare has other defaults than `None`."""
    fields, sent = data_of(obj), get(obj, "__pydantic_fields_set__")
    if type(sent) is not set:
        return fields
    known = type(obj).__pydantic_fields__
    return {name: value for name, value in fields.items() if name in sent or name not in known}


def _take_field(found: ReplyItems, name: str, value: Any, reply: Mapping[str, Any]) -> None:
    if name == "provider" and isinstance(value, str):
        found.served_by["provider"] = value
    elif name in _FILTERS:
        found.add_filter(name, value)
    elif name in _SOURCES and isinstance(value, list | tuple):
        # Each chunk has all of them once more.
        setattr(found, "urls" if name == "citations" else "results", [_plain(one) for one in value])
    elif name in ("time_info", "timings"):
        found.add_timings(value)
    elif name.endswith("_duration") and type(value) is int:
        found.timings[name] = value
    elif name == "x_groq":
        usage = {**data_of(reply.get("usage")), **data_of(data_of(value).get("usage"))}
        found.add_timings({key: item for key, item in usage.items() if key in _TIMES})
    else:
        found.add_field(name, value)


def _plain(source: Any) -> Any:
    return source if isinstance(source, str) else dict(data_of(source))


def _take_choice_field(found: ReplyItems, name: str, value: Any, choice: int) -> None:
    if name == "native_finish_reason" and isinstance(value, str):
        if not choice:
            found.served_by[name] = value
    elif name in _FILTERS:
        found.add_filter(name, value, choice)
    elif name == "logprobs":
        _take_logprobs(found, value, choice)
    elif name in _STOPS:
        if isinstance(value, str):
            found.stop_sequence = value
    else:
        found.add_piece(name, value, choice)


def _take_logprobs(found: ReplyItems, value: Any, choice: int) -> None:
    """Take in the tokens of a chunk or a choice: lists by kind of text; the oldest form has lists of tokens and figures."""
    known = found.logprobs.setdefault(choice, {})
    for kind, tokens in data_of(value).items():
        if isinstance(tokens, list | tuple) and tokens:
            known.setdefault(kind, []).extend(copied(tokens))


def _take_message_field(details: dict[str, Any], name: str, value: Any, choice: int) -> None:
    if name == "annotations":
        for one in listed(value):
            items_of(details).item((choice, name), choice).add_citation(one)
    elif name == "citations" and isinstance(value, list | tuple):
        items_of(details).urls = [_plain(one) for one in value]
    elif name == "content":
        for part in listed(value):
            fields = data_of(part)
            if fields.get("type") == "reference":
                # Mistral's: ids of what the request gave, without a place in the text.
                found = items_of(details)
                found.item((choice, name, len(found.items)), choice).add_citation(part)
                continue
            rest = None if word_of(fields.get("type")) in _READ_PARTS else remainder(fields, _READ_OF_PART)
            if rest is not None:
                found = items_of(details)
                found.item((choice, name, len(found.items)), choice).part = rest
    elif name == "tool_calls":
        # Of Gemini's endpoint a call has a signature, without which it cannot be sent again.
        for call in listed(value):
            fields = data_of(call)
            rest = remainder(fields, _READ_OF_CALL)
            if rest is not None:
                head = {"type": "tool_call", "id": fields.get("id"), "index": fields.get("index")}
                made = {key: item for key, item in head.items() if item is not None}
                place = word_of(fields.get("id")) or str(fields.get("index"))
                items_of(details).item((choice, name, place), choice).merge({**made, **rest})
    elif name == "audio":
        _take_audio(details, value, choice)
    elif name == "reasoning_details":
        shown = map(data_of, listed(value))
        left = [{key: item for key, item in one.items() if key not in _READ_OF_DETAILS} for one in shown]
        left = [one for one in left if remainder(one, frozenset()) is not None]
        if left:
            items_of(details).add_piece(name, left, choice)
    elif name not in PLAIN_MESSAGE and not name.startswith("_"):
        items_of(details).add_piece(name, value, choice)


def _take_audio(details: dict[str, Any], value: Any, choice: int) -> None:
    """Take in a piece of a spoken answer, whose transcript is the reply's text; of the audio itself the digest is kept."""
    fields = data_of(value)
    item = items_of(details).item((choice, "audio"), choice)
    made: dict[str, Any] = {"type": "audio"}
    data = fields.get("data")
    if isinstance(data, str) and data:
        made["data"] = BinaryPiece(data)
    if fields.get("id"):
        made["id"] = fields["id"]
    item.merge({**made, **(remainder(fields, frozenset({"data", "transcript"})) or {})})
