"""
Anthropic's Messages API: its events, and its completed messages.

Source of the format: the Anthropic API reference, *Messages* and *Streaming messages*. Thinking is
recorded as reasoning; a call of a tool, the provider's own tools among them, in the form of a
chat's tool call. Usage is reported in two places, the prompt's at the start and the reply's at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .choice import Choice, details_of, new_reply, replaced
from .chunk_changes import parts_of_call
from .fields import data_of, fields_of
from .message_items import FACTS, FACTS_OF_USAGE, PLAIN, PLAIN_DELTAS, PLAIN_TEXT, take_block, take_delta, take_facts
from .plain import says
from .tool_calls import json_text, value_of
from .usage import read_usage_and_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Chunk, Reply
    from .choice import StreamContent

    Data = Mapping[str, Any]

__all__ = ["feed", "read_value", "render_chunk"]

_TEXTS = {
    "text": ("text", "text"),
    "text_delta": ("text", "text"),
    "thinking": ("thinking", "reasoning"),
    "thinking_delta": ("thinking", "reasoning"),
}
"""By the type of a block or of a delta: where its text is, and which kind of text that is."""
_TOOL_USE = "tool_use"
"""End of the types of blocks that call a tool: the caller's, or one of the provider's own (`mcp_tool_use`)."""


# Each returns True if the event has the form of the API: its type is a word that others use as well.


def _on_message_start(gathered: StreamContent, event: Data) -> bool:
    message = data_of(event.get("message"))
    if not message:
        return False
    gathered.has_events = True
    _take_facts(gathered, message)
    return True


def _on_block(gathered: StreamContent, event: Data) -> bool:
    is_delta, index, choice = event["type"] == "content_block_delta", event.get("index"), gathered.choice(0)
    part = event.get("delta" if is_delta else "content_block")
    return _take(choice, part, index, gathered.details, is_streamed=True, is_delta=is_delta)


def _on_message_delta(gathered: StreamContent, event: Data) -> bool:
    delta = data_of(event.get("delta"))
    if "stop_reason" not in delta and event.get("usage") is None:
        return False
    reason = delta.get("stop_reason")
    take_facts(gathered.details, delta)
    take_facts(gathered.details, event)
    if isinstance(reason, str):
        gathered.choice(0).finish_reason = reason
    gathered.usage = _merged(gathered.usage, event.get("usage"))
    return True


_EVENTS: dict[str, Callable[[StreamContent, Data], bool] | None] = {
    "message_start": _on_message_start,
    "content_block_start": _on_block,
    "content_block_delta": _on_block,
    "message_delta": _on_message_delta,
    **dict.fromkeys(("content_block_stop", "message_stop", "ping")),
}
_HELPERS = {
    "text": "snapshot",
    "thinking": "snapshot",
    "input_json": "partial_json",
    "signature": "signature",
    "citation": "citation",
}
"""Events of the SDK's `messages.stream()`, which say once more what the provider's own have said, and a key of each."""


def _take(
    choice: Choice, part: Any, index: Any, details: dict[str, Any], *, is_streamed: bool = False, is_delta: bool = False
) -> bool:
    """Take in a block, its beginning in a stream, or a delta of one; `False` if it is none."""
    data = data_of(part)
    kind = data.get("type")
    if not isinstance(kind, str):
        return False
    # Most are plain texts, of which nothing is to be kept but the text: no call is made for them.
    if is_delta:
        if kind not in PLAIN_DELTAS:
            take_delta(details, choice, index, data)
    elif (
        is_streamed or "items" in details or kind != "text" or data.get("citations") or not PLAIN_TEXT.issuperset(data)
    ):
        take_block(details, choice, index, data)
    if kind in _TEXTS:
        name, said = _TEXTS[kind]
        text = data.get(name)
        if text and isinstance(text, str):
            getattr(choice, said).append(text)
    elif kind == "input_json_delta":
        choice.add_tool_call({"index": index, "function": {"arguments": data.get("partial_json")}})
    elif kind.endswith(_TOOL_USE):
        # A stream begins with an empty input and sends its JSON in pieces.
        value = data.get("input")
        arguments = (
            "" if is_streamed and not fields_of(value) else value if isinstance(value, str) else json_text(value)
        )
        function = {"name": data.get("name"), "arguments": arguments}
        kind = "function" if kind == _TOOL_USE else kind
        choice.add_tool_call({"index": index, "id": data.get("id"), "type": kind, "function": function})
    return True


def feed(gathered: StreamContent, chunk: Any) -> bool:
    """Take one event in; `False` if it is not of this shape."""
    data = data_of(chunk)
    kind = data.get("type")
    if not isinstance(kind, str):
        return False
    if kind in _EVENTS:
        if kind in ("message_delta", "ping") and not gathered.has_events:
            # Words that others use as well, for events of their own: they are Anthropic's only in a stream
            # that began with `message_start`, as the API reference says that each does.
            return False
        handle = _EVENTS[kind]
        is_ours = gathered.has_events if handle is None else handle(gathered, data)
        # Of an event of a program's own the text is where such code has it.
        return is_ours or not says(data)
    if gathered.has_events and kind in _HELPERS and _HELPERS[kind] in data:
        return True
    choice = gathered.choices.get(0) or Choice(0)
    if kind != "message" or not _take_message(choice, data, gathered.details):
        return False
    gathered.choices[0] = choice
    _take_facts(gathered, data)
    return True


def _take_message(choice: Choice, message: Data, details: dict[str, Any]) -> bool:
    """Take in a whole message; `False` if it is not of this shape."""
    content, reason = message.get("content"), message.get("stop_reason")
    if message.get("role") != "assistant" or not isinstance(content, list | tuple):
        return False
    for index, block in enumerate(content):
        _take(choice, block, index, details)
    choice.finish_reason = reason if isinstance(reason, str) else None
    return True


def read_value(data: Data, raw: Any) -> Reply | None:
    """
    Read a completed message, of which `type` is "message"; `None` if it is not of this shape.

    Args:
        data: The fields of the message.
        raw: What the function returned.
    """
    choice, usage = Choice(0), data.get("usage")
    of_usage = data_of(usage)
    details: dict[str, Any] = {**details_of(data, of_usage), "usage_raw": usage}
    if not _take_message(choice, data, details):
        return None
    if any(map(data.get, FACTS)) or not PLAIN.issuperset(data) or any(map(of_usage.get, FACTS_OF_USAGE)):
        take_facts(details, data)
    return new_reply(None, choice, (), read_usage_and_cost(usage, model=data.get("model")), details, raw)


def _take_facts(gathered: StreamContent, message: Data) -> None:
    gathered.details.update(details_of(message, data_of(message.get("usage"))))
    take_facts(gathered.details, message)
    gathered.usage = _merged(gathered.usage, message.get("usage"))


def _merged(former: Any, usage: Any) -> Any:
    """Return two reports as one: the later one counts where both have a value."""
    # `message_start` has the tokens of the prompt and of the cache, `message_delta` those of the reply, and,
    # since tools run on the server, once more those of the prompt, which have grown by then.
    if usage is None:
        return former
    fields = {**data_of(usage), **(getattr(usage, "model_extra", None) or {})}
    return {**(former or {}), **{name: value for name, value in fields.items() if value is not None}}


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of an event with the content of a changed one, `None` if it brings no part of a block."""
    event = data_of(raw)
    at = {"content_block_delta": "delta", "content_block_start": "content_block"}.get(event.get("type") or "")
    block = data_of(event.get(at)) if at is not None else {}
    if at is None or not isinstance(block.get("type"), str):
        return None
    name, kind = _TEXTS.get(block["type"], ("", ""))
    if name:
        return replaced(raw, getattr(chunk, kind), at, name)
    said = parts_of_call(chunk.tool_calls[0]) if chunk.tool_calls else {"arguments": ""}
    if block["type"] == "input_json_delta":
        return replaced(raw, said["arguments"] or "", at, "partial_json")
    if not block["type"].endswith(_TOOL_USE):
        return None
    for name in ("id", "name"):
        if said.get(name) is not None and said[name] != block.get(name):
            raw = replaced(raw, said[name], at, name)
    # A server that sends the input with the beginning of the block sends no pieces of it.
    if fields_of(block.get("input")) and said["arguments"] is not None:
        raw = replaced(raw, value_of(said["arguments"]), at, "input")
    return raw
