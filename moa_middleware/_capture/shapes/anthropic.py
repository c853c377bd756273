"""
Anthropic's Messages API: its events, and its completed messages.

Source of the format: the Anthropic API reference, *Messages* and *Streaming messages*. Thinking is
recorded as reasoning; a call of a tool, the provider's own tools among them, in the form of a
chat's tool call. Usage is reported in two places, the prompt's at the start and the reply's at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .choice import Choice, add_text, details_of, json_text, new_reply, replaced
from .fields import data_of
from .usage import read_usage_and_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Chunk, Reply
    from .choice import StreamContent

    Data = Mapping[str, Any]

__all__ = ["feed", "read_value", "render_chunk"]

_TOOL_USE = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def _on_message_start(gathered: StreamContent, event: Data) -> None:
    message = data_of(event.get("message"))
    _take_facts(gathered, message)


def _on_block_start(gathered: StreamContent, event: Data) -> None:
    _take_block(gathered.choice(0), event.get("content_block"), event.get("index"), streamed=True)


def _on_block_delta(gathered: StreamContent, event: Data) -> None:
    choice, delta = gathered.choice(0), data_of(event.get("delta"))
    kind = delta.get("type")
    if kind == "text_delta":
        add_text(choice.text, delta.get("text"))
    elif kind == "thinking_delta":
        add_text(choice.reasoning, delta.get("thinking"))
    elif kind == "input_json_delta":
        choice.add_tool_call({"index": event.get("index"), "function": {"arguments": delta.get("partial_json")}})


def _on_message_delta(gathered: StreamContent, event: Data) -> None:
    reason = data_of(event.get("delta")).get("stop_reason")
    if isinstance(reason, str):
        gathered.choice(0).finish_reason = reason
    gathered.usage = _merged(gathered.usage, event.get("usage"))


_EVENTS: dict[str, Callable[[StreamContent, Data], None] | None] = {
    "message_start": _on_message_start,
    "content_block_start": _on_block_start,
    "content_block_delta": _on_block_delta,
    "content_block_stop": None,
    "message_delta": _on_message_delta,
    "message_stop": None,
    "ping": None,
}
_HELPERS = frozenset({"text", "thinking", "input_json", "signature", "citation"})
"""Events of the SDK's `messages.stream()`, which say once more what the provider's own have said."""


def _take_block(choice: Choice, block: Any, index: Any, *, streamed: bool = False) -> None:
    data = data_of(block)
    kind = data.get("type")
    if kind == "text":
        text = data.get("text")
        if text and isinstance(text, str):
            choice.text.append(text)
    elif kind == "thinking":
        add_text(choice.reasoning, data.get("thinking"))
    elif kind in _TOOL_USE:
        # A stream begins with an empty input and sends its JSON in pieces.
        value = data.get("input")
        arguments = "" if streamed and not value else value if isinstance(value, str) else json_text(value)
        function = {"name": data.get("name"), "arguments": arguments}
        kind = "function" if kind == "tool_use" else kind
        choice.add_tool_call({"index": index, "id": data.get("id"), "type": kind, "function": function})


def feed(gathered: StreamContent, chunk: Any) -> bool:
    """Take one event in; `False` if it is not of this shape."""
    data = data_of(chunk)
    kind = data.get("type")
    if not isinstance(kind, str):
        return False
    if kind in _EVENTS:
        if kind == "message_start":
            gathered.has_events = True
        elif kind in ("message_delta", "ping") and not gathered.has_events:
            # Words that others use as well, for events of their own: they are Anthropic's only in a stream
            # that began with `message_start`, as the API reference says that each does.
            return False
        handle = _EVENTS[kind]
        if handle is not None:
            handle(gathered, data)
        return True
    if gathered.has_events and kind in _HELPERS:
        return True
    choice = gathered.choices.get(0) or Choice(0)
    if kind != "message" or not _take_message(choice, data):
        return False
    gathered.choices[0] = choice
    _take_facts(gathered, data)
    return True


def _take_message(choice: Choice, message: Data) -> bool:
    """Take in a whole message; `False` if it is not of this shape."""
    content, reason = message.get("content"), message.get("stop_reason")
    if message.get("role") != "assistant" or not isinstance(content, list | tuple):
        return False
    for index, block in enumerate(content):
        _take_block(choice, block, index)
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
    if not _take_message(choice, data):
        return None
    tokens = read_usage_and_cost(usage)[0], None
    return new_reply(None, choice, (), tokens, {**details_of(data, data_of(usage)), "usage_raw": usage}, raw)


def _take_facts(gathered: StreamContent, message: Data) -> None:
    gathered.details.update(details_of(message, data_of(message.get("usage"))))
    gathered.usage = _merged(gathered.usage, message.get("usage"))


def _merged(former: Any, usage: Any) -> Any:
    """Return two reports as one: the later one counts where both have a value."""
    # `message_start` has the tokens of the prompt and of the cache, `message_delta` those of the reply, and,
    # since tools run on the server, once more those of the prompt, which have grown by then.
    if usage is None:
        return former
    fields = {**data_of(usage), **(getattr(usage, "model_extra", None) or {})}
    return {**(former or {}), **{name: value for name, value in fields.items() if value is not None}}


_TEXTS = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "reasoning")}


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of a delta with the text of a changed one, `None` if it is not a delta of a text."""
    event = data_of(raw)
    delta = event.get("delta") if event.get("type") == "content_block_delta" else None
    name, kind = _TEXTS.get(data_of(delta).get("type") or "", ("", ""))
    return replaced(raw, getattr(chunk, kind), "delta", name) if name else None
