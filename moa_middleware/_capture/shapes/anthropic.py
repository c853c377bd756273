"""
Anthropic's Messages API: its events, and its completed messages.

Source of the format: the Anthropic API reference, *Messages* and *Streaming messages*. Thinking is
recorded as reasoning; a call of a tool, the provider's own tools among them, in the form of a
chat's tool call. Usage is told in two places, the prompt's at the start and the reply's at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.model import Reply
from .choice import Choice, json_text, replaced
from .plain import peek
from .usage import read_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.model import Chunk
    from .replies import Accumulator

__all__ = ["feed", "read", "render_chunk"]

_TOOL_USE = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def _message_start(acc: Accumulator, event: Any) -> None:
    message = peek(event, "message")
    _details(acc.details, message)
    acc.usage = _merged(acc.usage, peek(message, "usage"))


def _block_start(acc: Accumulator, event: Any) -> None:
    _take_block(acc.choice(0), peek(event, "content_block"), peek(event, "index"), streamed=True)


def _block_delta(acc: Accumulator, event: Any) -> None:
    choice, delta = acc.choice(0), peek(event, "delta")
    kind = peek(delta, "type")
    if kind == "text_delta":
        _add(choice.text, peek(delta, "text"))
    elif kind == "thinking_delta":
        _add(choice.reasoning, peek(delta, "thinking"))
    elif kind == "input_json_delta":
        piece = peek(delta, "partial_json")
        choice.add_tool_call({"index": peek(event, "index"), "function": {"arguments": piece}})


def _message_delta(acc: Accumulator, event: Any) -> None:
    reason = peek(peek(event, "delta"), "stop_reason")
    if isinstance(reason, str):
        acc.choice(0).finish_reason = reason
    acc.usage = _merged(acc.usage, peek(event, "usage"))


_EVENTS: dict[str, Callable[[Accumulator, Any], None] | None] = {
    "message_start": _message_start,
    "content_block_start": _block_start,
    "content_block_delta": _block_delta,
    "content_block_stop": None,
    "message_delta": _message_delta,
    "message_stop": None,
    "ping": None,
}
_HELPERS = frozenset({"text", "thinking", "input_json", "signature", "citation"})
"""Events of the SDK's `messages.stream()`, which say once more what the provider's own have said."""


def _add(pieces: list[str], text: Any) -> None:
    if isinstance(text, str) and text:
        pieces.append(text)


def _take_block(choice: Choice, block: Any, index: Any, *, streamed: bool) -> None:
    kind = peek(block, "type")
    if kind == "text":
        _add(choice.text, peek(block, "text"))
    elif kind == "thinking":
        _add(choice.reasoning, peek(block, "thinking"))
    elif kind in _TOOL_USE:
        # A stream begins with an empty input and sends its JSON in pieces.
        value = peek(block, "input")
        arguments = "" if streamed and not value else value if isinstance(value, str) else json_text(value)
        function = {"name": peek(block, "name"), "arguments": arguments}
        kind = "function" if kind == "tool_use" else kind
        choice.add_tool_call({"index": index, "id": peek(block, "id"), "type": kind, "function": function})


def feed(acc: Accumulator, chunk: Any) -> bool:
    """Take one event in; `False` if it is not of this shape."""
    kind = peek(chunk, "type")
    if not isinstance(kind, str):
        return False
    if kind in _EVENTS:
        if kind == "message_start":
            acc.events = True
        elif kind in ("message_delta", "ping") and not acc.events:
            return False  # a word that others use as well
        handle = _EVENTS[kind]
        if handle is not None:
            handle(acc, chunk)
        return True
    if acc.events and kind in _HELPERS:
        return True
    if _is_message(chunk):
        choice = acc.choice(0)
        for index, block in enumerate(peek(chunk, "content")):
            _take_block(choice, block, index, streamed=False)
        reason = peek(chunk, "stop_reason")
        choice.finish_reason = reason if isinstance(reason, str) else None
        _details(acc.details, chunk)
        acc.usage = _merged(acc.usage, peek(chunk, "usage"))
        return True
    return False


def _is_message(value: Any) -> bool:
    return (
        peek(value, "type") == "message"
        and peek(value, "role") == "assistant"
        and isinstance(peek(value, "content"), list | tuple)
    )


def read(value: Any) -> Reply | None:
    """Read a completed message; `None` if it is not of this shape."""
    if not _is_message(value):
        return None
    choice = Choice(0)
    for index, block in enumerate(peek(value, "content")):
        _take_block(choice, block, index, streamed=False)
    details: dict[str, Any] = {}
    _details(details, value)
    usage, reason = peek(value, "usage"), peek(value, "stop_reason")
    return Reply(
        text=choice.joined("text"),
        tool_calls=choice.calls(),
        reasoning=choice.joined("reasoning"),
        finish_reason=reason if isinstance(reason, str) else None,
        usage=read_usage(usage),
        source="provider",
        _details={**details, "usage_raw": usage},
    )


def _details(into: dict[str, Any], message: Any) -> None:
    for source, name, key in (
        (message, "id", "response_id"),
        (message, "model", "response_model"),
        (peek(message, "usage"), "service_tier", "service_tier"),
    ):
        value = peek(source, name)
        if value is not None:
            into[key] = value


def _merged(former: Any, usage: Any) -> Any:
    """Return two reports as one: the later word counts where both say something."""
    if usage is None:
        return former
    fields = usage if isinstance(usage, dict) else getattr(usage, "__dict__", {})
    more = getattr(usage, "model_extra", None) or {}
    said = {name: value for name, value in {**fields, **more}.items() if value is not None}
    return {**(former or {}), **said}


_TEXTS = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "reasoning")}


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of a delta with the text of a changed one, `None` if it is no delta of a text."""
    delta = peek(raw, "delta") if peek(raw, "type") == "content_block_delta" else None
    found = _TEXTS.get(peek(delta, "type") or "")
    return None if found is None else replaced(raw, "delta", replaced(delta, found[0], getattr(chunk, found[1])))
