"""
Gemini's `generateContent`, as Google's SDK `google-genai` has it: its contents, replies and chunks.

Source of the format: the Gemini API reference, *Generating content*. A chunk of a stream has the fields of
a whole reply, and the counts of tokens so far: the last ones count. A prompt that was blocked raises
nothing in the SDK; its reply has no candidates, and the reason of the block is its finish reason.
"""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

from .choice import Choice, add_text, details_of, new_reply, replaced
from .fields import data_of
from .gemini_calls import take_call
from .gemini_items import data_in, take_candidate, take_facts, take_part
from .items import listed, seconds_of
from .usage import read_usage_and_cost
from .wire import input_of, replayed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..flow.model import Call, Chunk, Reply
    from .choice import StreamContent

    Data = Mapping[str, Any]

__all__ = [
    "KEYS",
    "feed",
    "messages_from",
    "messages_of",
    "read_value",
    "render",
    "render_chunk",
    "system_from",
    "system_of",
]

KEYS = frozenset({"candidates", "prompt_feedback", "promptFeedback"})
"""See `formats`."""
_NAMES = (("response_id", "response_id"), ("model_version", "response_model"))
_ROLES = {"model": "assistant", "assistant": "model"}


# Requests -----------------------------------------------------------------------------------------
# By the SDK: contents are one content, a list of contents, or parts of one; a part is a text, an object or a dict.


def _is_content(data: Data) -> bool:
    return "parts" in data or (type(data) is dict and data.get("role") is not None)


def messages_of(given: Any) -> Any:
    """Return contents as messages: the parts of each in its `content`, the role `model` as `assistant`."""
    if given is None:
        return None
    messages: list[dict[str, Any]] = []
    loose: list[Any] = []
    for item in given if type(given) is list else [given]:
        data = data_of(item)
        is_list = type(item) is list or type(item) is tuple
        if not is_list and not _is_content(data):
            loose.append(item)
            continue
        _add_parts(messages, loose)
        if is_list:
            messages.append({"role": "user", "content": _content_of(item)})
        else:
            role = data.get("role") or "user"
            messages.append({"role": _ROLES.get(role, role), "content": _content_of(data.get("parts"))})
    _add_parts(messages, loose)
    return messages


def _add_parts(messages: list[dict[str, Any]], loose: list[Any]) -> None:
    """Add parts that are in no content as one message of the user's."""
    if loose:
        messages.append({"role": "user", "content": _content_of([*loose])})
        loose.clear()


def _content_of(parts: Any) -> Any:
    """Return parts as the content of a message: a string for a text alone, else a list."""
    found = [_part(part) for part in (parts if issubclass(type(parts), list | tuple) else [parts]) if part is not None]
    if len(found) == 1 and type(found[0]) is dict and found[0].keys() == {"type", "text"}:
        return found[0]["text"]
    return found


def _part(part: Any) -> Any:
    """Return a part as one of a chat's messages if it is a text, else in Gemini's own form."""
    if issubclass(type(part), str):
        return {"type": "text", "text": part}
    data = data_of(part)
    # Of the SDK's class every field that is not set is `None`. What else may be a part (an image, a file that was
    # uploaded) goes on as it is.
    if type(part) is not dict and type(part).__name__ != "Part":
        return part
    bare = {name: _bare(value) for name, value in data.items() if value is not None}
    return {"type": "text", **bare} if bare.keys() == {"text"} else bare


def _bare(value: Any) -> Any:
    """Return an object of the SDK's as a dict without what is not set in it."""
    if hasattr(type(value), "model_fields") and not isinstance(value, type):
        return {name: _bare(item) for name, item in data_of(value).items() if item is not None}
    return value


def system_of(given: Any) -> Any:
    """Return a system instruction, which is a content in any of its forms, as the content of a message."""
    messages = messages_of(given)
    return messages[0]["content"] if len(messages) == 1 else _content_of(given)


def messages_from(messages: Any) -> list[Any]:
    """Return messages as contents."""
    return [
        {"role": _ROLES.get(str(one.get("role")), one.get("role")), "parts": _parts_from(one.get("content"))}
        if type(one) is dict
        else one
        for one in messages
    ]


def _parts_from(content: Any) -> list[Any]:
    if issubclass(type(content), str):
        return [{"text": content}]
    return [
        {name: value for name, value in part.items() if name != "type"} if type(part) is dict else part
        for part in content or ()
    ]


def system_from(content: Any) -> Any:
    """Return the content of a system message as a system instruction."""
    return content if issubclass(type(content), str) else {"parts": _parts_from(content)}


# Replies ------------------------------------------------------------------------------------------


def _word(value: Any) -> str | None:
    """Return the word of an enumeration's member, or of a reply that is a dict; `None` for anything else."""
    word = value._value_ if isinstance(value, Enum) else value
    return word if isinstance(word, str) and word else None


def _take(details: dict[str, Any], choice: Choice, candidate: Data) -> None:
    """Take in a candidate, or a piece of one: its parts are texts, thoughts and calls of functions, among others."""
    for part in listed(data_of(candidate.get("content")).get("parts")):
        data = data_in(part)
        take_part(details, choice, data)
        add_text(choice.reasoning if data.get("thought") is True else choice.text, data.get("text"))
        call = data.get("function_call")
        if call is not None:
            take_call(details, choice, call, data_in)
    reason = _word(candidate.get("finish_reason"))
    if reason:
        choice.finish_reason = reason
    take_candidate(details, choice, candidate)


def _take_block(choice: Choice, feedback: Any) -> None:
    """Take in why a prompt was blocked: then the reply has no candidates."""
    data = data_in(feedback)
    reason = _word(data.get("block_reason"))
    if reason:
        choice.finish_reason = reason
        add_text(choice.refusal, data.get("block_reason_message"))


def _take_facts(details: dict[str, Any], data: Data) -> None:
    details.update(details_of(data))
    details.update((key, data[name]) for name, key in _NAMES if isinstance(data.get(name), str))
    created = seconds_of(data.get("create_time"))
    if created is not None:
        details["created"] = created
    take_facts(details, data)


_OF_REPLY = frozenset({"prompt_feedback", "usage_metadata", "model_version"})
"""Fields next to the candidates; a reply without candidates has one of them."""


def _is_reply(data: Data) -> bool:
    """Return True if these are the fields of a reply or a chunk, and not the candidates of a program's own result."""
    candidates = data.get("candidates")
    if not candidates:
        return isinstance(candidates, list | None) and not _OF_REPLY.isdisjoint(data)
    return isinstance(candidates, list) and any(map(_is_candidate, candidates))


def _is_candidate(candidate: Any) -> bool:
    fields = data_in(candidate)
    content = fields.get("content")
    if content is None:
        return "finish_reason" in fields
    return not {"parts", "role"}.isdisjoint(data_of(content))


def feed(gathered: StreamContent, chunk: Any) -> bool:
    """Take one chunk in; `False` if it is not of this shape."""
    data = data_of(chunk)
    if KEYS.isdisjoint(data):
        return False
    data = data_in(chunk)
    candidates = data.get("candidates")
    if not _is_reply(data):
        return False
    for place, candidate in enumerate(candidates or ()):
        fields = data_in(candidate)
        index = fields.get("index")
        _take(gathered.details, gathered.choice(index if type(index) is int else place), fields)
    if not candidates and data.get("prompt_feedback") is not None:
        _take_block(gathered.choice(0), data["prompt_feedback"])
    _take_facts(gathered.details, data)
    usage = data.get("usage_metadata")
    gathered.usage = gathered.usage if usage is None else usage
    return True


def read_value(data: Data, raw: Any) -> Reply | None:
    """
    Read the reply of `generate_content`, an object of the SDK's or its JSON; `None` if it is not one.

    Args:
        data: The fields of the reply.
        raw: What the function returned.
    """
    if KEYS.isdisjoint(data):
        return None
    data = data_in(data)
    candidates, usage = data.get("candidates"), data.get("usage_metadata")
    if not _is_reply(data) or (candidates is None and data.get("prompt_feedback") is None):
        return None
    choices: list[Choice] = []
    details: dict[str, Any] = {}
    for place, candidate in enumerate(candidates or ()):
        fields = data_in(candidate)
        index = fields.get("index")
        choices.append(Choice(index if type(index) is int else place))
        _take(details, choices[-1], fields)
    first = choices[0] if choices else Choice(0)
    if not choices:
        _take_block(first, data.get("prompt_feedback"))
    _take_facts(details, data)
    return new_reply(None, first, choices, read_usage_and_cost(usage), {**details, "usage_raw": usage}, raw)


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of a chunk with the text of a changed one, `None` if it is not a chunk of this shape."""
    data = data_of(raw)
    candidates = data.get("candidates")
    if KEYS.isdisjoint(data) or not isinstance(candidates, list) or not _is_reply(data):
        return None
    wanted, changed = {False: chunk.text, True: chunk.reasoning}, raw
    for place, candidate in enumerate(candidates):
        index = data_of(candidate).get("index")
        if (index if type(index) is int else place) != chunk.choice:
            continue
        for number, part in enumerate(data_of(data_of(candidate).get("content")).get("parts") or ()):
            fields = data_of(part)
            text, kind = fields.get("text"), fields.get("thought") is True
            if isinstance(text, str):
                # The first part has the whole new text, the others of its kind none.
                way = ("candidates", place, "content", "parts", number, "text")
                changed = replaced(changed, wanted[kind] or "", *way)
                wanted[kind] = ""
    return None if wanted[False] or wanted[True] else changed


def _said(reply: Reply, model: str | None) -> dict[str, Any]:
    """Return a reply as the JSON of a whole one."""
    candidates = []
    for choice in reply.choices or [_as_choice(reply)]:
        parts: list[dict[str, Any]] = []
        if choice["reasoning"]:
            parts.append({"text": choice["reasoning"], "thought": True})
        if choice["text"] or choice["refusal"]:
            parts.append({"text": choice["text"] or choice["refusal"]})
        parts += [
            {"function_call": {"id": call["id"], "name": call["function"]["name"], "args": input_of(call)}}
            for call in choice["tool_calls"]
        ]
        content = {"role": "model", "parts": parts}
        candidates.append(
            {"index": choice["index"], "content": content, "finish_reason": choice["finish_reason"] or "STOP"}
        )
    known, usage = reply._details, reply.usage
    said: dict[str, Any] = {"candidates": candidates, "model_version": known.get("response_model") or model}
    said["response_id"] = known.get("response_id")
    if usage is not None:
        reasoned, cached = usage.reasoning_tokens, usage.cache_read_tokens
        said["usage_metadata"] = {
            "prompt_token_count": (usage.input_tokens or 0) + (cached or 0),
            "cached_content_token_count": cached,
            "candidates_token_count": max((usage.output_tokens or 0) - (reasoned or 0), 0),
            "thoughts_token_count": reasoned,
            "total_token_count": (usage.input_tokens or 0) + (cached or 0) + (usage.output_tokens or 0),
        }
    return said


def _as_choice(reply: Reply) -> dict[str, Any]:
    names = ("text", "reasoning", "refusal", "tool_calls", "finish_reason")
    return {"index": 0, **{name: getattr(reply, name) for name in names}}


def render(reply: Reply, call: Call, *, is_async: bool) -> Any:
    """
    Return a reply that a middleware made as the SDK's own object, for a stream as its only chunk.

    Args:
        reply: The reply.
        call: The call that it answers.
        is_async: Whether a stream is to be an async one.
    """
    made = sys.modules["google.genai.types"].GenerateContentResponse.model_validate(_said(reply, call.model))
    return replayed([made], is_async=is_async) if call.stream else made
