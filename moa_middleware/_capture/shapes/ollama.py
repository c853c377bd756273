"""
Ollama's own API: the replies of `chat` and `generate`, and the parts of their streams.

Source of the format: Ollama's API reference, *Generate a chat completion* and *Generate a completion*.
A part of a stream has the fields of a whole reply; the last one, where `done` is true, has the counts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .choice import Choice, add_text, new_reply, replaced
from .excerpt import copied, is_blank
from .fields import data_of
from .items import items_of, listed, seconds_of
from .usage import read_usage_and_cost
from .wire import input_of, replayed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..flow.model import Call, Chunk, Reply
    from .choice import StreamContent

    Data = Mapping[str, Any]

__all__ = ["KEYS", "feed", "messages_from", "messages_of", "read_value", "render", "render_chunk"]

KEYS = frozenset({"done"})
"""See `formats`."""

_TEXTS = (("response", "text"), ("thinking", "reasoning"))
"""Keys of a reply of `generate`, and which kind of text each holds."""
_USAGE = (
    *("prompt_eval_count", "eval_count", "total_duration", "load_duration"),
    *("prompt_eval_duration", "eval_duration"),
)
"""Counts of tokens, and durations in nanoseconds."""
_IMAGES = (("image", True), ("images", False))
"""Keys of images that models make, and whether it is one: of `generate`, and of a message."""


def _is_reply(data: Data) -> bool:
    """Return True if these are the fields of a reply, or of a part of one."""
    if type(data.get("done")) is not bool or "created_at" not in data:
        return False
    # A program's own event may have a message for its user.
    return "response" in data or not {"role", "content"}.isdisjoint(data_of(data.get("message")))


def _take(choice: Choice, data: Data) -> None:
    """Take in a reply, or a part of one: a part has pieces of the texts, and whole tool calls."""
    message = data.get("message")
    if message is None:
        for name, kind in _TEXTS:
            add_text(getattr(choice, kind), data.get(name))
    else:
        fields = data_of(message)
        add_text(choice.text, fields.get("content"))
        add_text(choice.reasoning, fields.get("thinking"))
        for call in fields.get("tool_calls") or ():
            function, ident = data_of(data_of(call).get("function")), data_of(call).get("id")
            # Every call comes whole, and the SDK drops the id that newer servers give it: an index of ours
            # keeps two calls of one function apart.
            said = {"name": function.get("name"), "arguments": function.get("arguments")}
            choice.add_tool_call({"index": len(choice.tools), "id": ident, "function": said})
    reason = data.get("done_reason")
    if isinstance(reason, str) and reason:
        choice.finish_reason = reason


def _usage(data: Data) -> dict[str, Any] | None:
    """Return the counts of a reply, which has no object for them; `None` if it has none."""
    found = {name: data[name] for name in _USAGE if data.get(name) is not None}
    return found if "prompt_eval_count" in found or "eval_count" in found else None


def _take_facts(details: dict[str, Any], data: Data) -> None:
    """Take in what a reply, or a part of one, says of itself, and what it holds next to its text."""
    model, created = data.get("model"), seconds_of(data.get("created_at"))
    if isinstance(model, str) and model:
        details["response_model"] = model
    if created is not None:
        # Each part of a stream has a time of its own: the reply was begun at the first.
        details.setdefault("created", created)
    times = {name: data[name] for name in _USAGE if name.endswith("_duration") and data.get(name) is not None}
    if times:
        items_of(details).add_timings(times)
    tokens = listed(data.get("logprobs"))
    if tokens:
        items_of(details).item("logprobs").logprobs.extend(copied(tokens))
    for holder in (data, data_of(data.get("message"))):
        for name, is_one in _IMAGES:
            value = holder.get(name)
            for one in () if is_blank(value) else [value] if is_one else listed(value):
                found = items_of(details)
                found.item(("image", len(found.items))).part = {"type": "image", "image": _image(one)}


def _image(image: Any) -> Any:
    """Return the digest of an image, which is base64, or in the SDK's object the `value` of it."""
    value = data_of(image).get("value", image)
    return copied(value, "image_base64")


def feed(gathered: StreamContent, chunk: Any) -> bool:
    """Take one part of a stream in; `False` if it is not of this shape."""
    data = data_of(chunk)
    if not _is_reply(data):
        return False
    _take(gathered.choice(0), data)
    _take_facts(gathered.details, data)
    gathered.usage = _usage(data) or gathered.usage
    return True


def read_value(data: Data, raw: Any) -> Reply | None:
    """
    Read the reply of `chat` or `generate`, whose counts of tokens are next to its text; `None` if it is not one.

    Args:
        data: The fields of the reply.
        raw: What the function returned.
    """
    if not _is_reply(data):
        return None
    choice, usage = Choice(0), _usage(data)
    details: dict[str, Any] = {"usage_raw": usage}
    _take(choice, data)
    _take_facts(details, data)
    return new_reply(None, choice, (), read_usage_and_cost(usage), details, raw)


def messages_of(given: Any) -> Any:
    """Return the messages of a request of `chat`, which are those of any chat."""
    return given


def messages_from(messages: Any) -> Any:
    """Return messages as `chat` takes them."""
    return messages


def _said(reply: Reply, call: Call) -> dict[str, Any]:
    """Return a reply as the JSON of a whole one, or of the last part of a stream."""
    usage = reply.usage
    model = call.model or ""
    head = {
        "model": model,
        "created_at": "1970-01-01T00:00:00Z",
        "done": True,
        "done_reason": reply.finish_reason or "stop",
    }
    counts = {} if usage is None else {"prompt_eval_count": usage.input_tokens, "eval_count": usage.output_tokens}
    if call._binding.messages != "messages":  # `generate`
        return {**head, **counts, "response": reply.text or "", "thinking": reply.reasoning}
    message = {"role": "assistant", "content": reply.text or "", "thinking": reply.reasoning}
    tools = [{"function": {"name": one["function"]["name"], "arguments": input_of(one)}} for one in reply.tool_calls]
    return {**head, **counts, "message": {**message, "tool_calls": tools or None}}


def render(reply: Reply, call: Call, *, is_async: bool) -> Any:
    """
    Return a reply that a middleware made as the SDK's own object, for a stream as its only part.

    Args:
        reply: The reply.
        call: The call that it answers.
        is_async: Whether a stream is to be an async one.
    """
    said = _said(reply, call)
    made = getattr(sys.modules["ollama"], "ChatResponse" if "message" in said else "GenerateResponse")(**said)
    return replayed([made], is_async=is_async) if call.stream else made


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of a part of a stream with the text of a changed one, `None` if it is not such a part."""
    data = data_of(raw)
    if not _is_reply(data):
        return None
    changed, has_message = raw, data.get("message") is not None
    said = ((("message", "content"), chunk.text), (("message", "thinking"), chunk.reasoning))
    for path, text in said if has_message else ((("response",), chunk.text), (("thinking",), chunk.reasoning)):
        before = data_of(data.get("message")).get(path[-1]) if has_message else data.get(path[-1])
        if text or before:
            changed = replaced(changed, text, *path)
    return changed
