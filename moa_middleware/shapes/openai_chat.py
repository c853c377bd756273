"""
OpenAI's chat completions, and everything that looks like them: SDK objects, dicts, look-alikes.

Source of the format: the OpenAI API reference, *Chat* and *Chat streaming*; the quirks below are
those of servers that speak the format (Ollama, MiniMax, OpenRouter, Azure).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .._call import Chunk, Reply
from .usage import get, read_cost, read_usage

if TYPE_CHECKING:
    from .reply import Accumulator

__all__ = ["Choice", "feed", "read", "render_chunk", "render_chunks", "render_value"]

_NONE = object()
_DETAILS = (
    ("id", "response_id"),
    ("model", "response_model"),
    ("system_fingerprint", "system_fingerprint"),
    ("service_tier", "service_tier"),
)


class Choice:
    """What one choice has said so far."""

    __slots__ = ("finish_reason", "index", "reasoning", "refusal", "text", "tools")

    def __init__(self, index: int) -> None:
        self.index = index
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tools: list[tuple[Any, dict[str, Any], list[str]]] = []
        """Index in the stream, head of the call, pieces of its arguments."""
        self.finish_reason: str | None = None

    def add_tool_call(self, delta: Any) -> None:
        """Take in a tool-call delta, or a whole tool call."""
        function = get(delta, "function")
        index, ident = get(delta, "index"), get(delta, "id")
        if not isinstance(ident, str | int):
            ident = None
        name = get(function, "name") or get(delta, "name")
        arguments = get(function, "arguments")
        found: tuple[Any, dict[str, Any], list[str]] | None = None
        for tool in reversed(self.tools):
            # No index: it goes on with the last call unless it names itself.
            if (index is None and not ident) or (index is not None and tool[0] == index):
                found = tool
                break
        # Ollama sends every call under index 0: another id there is another call.
        if found is None or (ident and found[1]["id"] and found[1]["id"] != str(ident)):
            found = (index, {"id": None, "type": "function", "name": None}, [])
            self.tools.append(found)
        head = found[1]
        if ident:
            head["id"] = str(ident)
        kind = get(delta, "type")
        if isinstance(kind, str):
            head["type"] = kind
        if isinstance(name, str) and name:
            # MiniMax repeats the whole name in each chunk, so it is set and not joined.
            head["name"] = name
        if isinstance(arguments, str):
            found[2].append(arguments)
        elif arguments is not None:
            found[2].append(_json(arguments))

    def joined(self, kind: str) -> str | None:
        """Return one kind of text, `None` if there was none."""
        pieces: list[str] = getattr(self, kind)
        return "".join(pieces) if pieces else None

    def calls(self) -> tuple[dict[str, Any], ...]:
        """Return the tool calls in OpenAI's form."""
        return tuple(
            {"id": head["id"], "type": head["type"], "function": {"name": head["name"], "arguments": "".join(pieces)}}
            for _, head, pieces in self.tools
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as the record's `choices` hold it."""
        return {
            "index": self.index,
            "text": self.joined("text"),
            "reasoning": self.joined("reasoning"),
            "refusal": self.joined("refusal"),
            "tool_calls": list(self.calls()),
            "finish_reason": self.finish_reason,
        }


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def _text(content: Any) -> list[str]:
    """Return the text of a content, which is a string or a list of parts."""
    if isinstance(content, str):
        return [content] if content else []
    if isinstance(content, list):
        return [text for part in content if isinstance(text := get(part, "text"), str) and text]
    return []


def _take(choice: Choice, message: Any) -> None:
    """Take in a delta, or a whole message: they have the same keys."""
    choice.text += _text(get(message, "content"))
    reasoning = get(message, "reasoning_content") or get(message, "reasoning")
    if isinstance(reasoning, str):
        choice.reasoning.append(reasoning)
    refusal = get(message, "refusal")
    if isinstance(refusal, str) and refusal:
        choice.refusal.append(refusal)
    calls = get(message, "tool_calls")
    for call in calls or ():
        choice.add_tool_call(call)
    function = get(message, "function_call")  # the form before tools
    if not calls and isinstance(get(function, "name") or get(function, "arguments"), str):
        choice.add_tool_call({"function": function})


def _choices(obj: Any) -> Any:
    """Return the choices of a chat object, `()` where they are null, `None` where it has none."""
    # Once: it may be a property of a look-alike.
    choices = obj.get("choices", _NONE) if isinstance(obj, dict) else getattr(obj, "choices", _NONE)
    if choices is _NONE:
        return None
    if not choices:
        # A refusal, or the last chunk, with the usage; a dict that says its text itself is another thing.
        return None if isinstance(obj, dict) and isinstance(obj.get("text") or obj.get("content"), str) else ()
    return choices if _are_choices(choices) else None


def _are_choices(items: Any) -> bool:
    """Whether a list of this name is one of replies."""
    if not isinstance(items, Sequence) or isinstance(items, str):
        return False
    return any(
        name in item if isinstance(item, dict) else hasattr(item, name)
        for item in items
        for name in ("delta", "message", "text")
    )


def feed(acc: Accumulator, chunk: Any) -> bool:
    """Take one chunk in; `False` if it is not of this shape."""
    choices = _choices(chunk)
    if choices is None:
        return False
    for name, key in _DETAILS:
        value = get(chunk, name)
        if value is not None:
            acc.details[key] = value
    usage = get(chunk, "usage")
    if usage is not None:
        acc.usage = usage
    for item in choices:
        index = get(item, "index")
        choice = acc.choice(index if type(index) is int else 0)
        delta = get(item, "delta")
        if delta is None:
            delta = get(item, "message")
        if delta is not None:
            _take(choice, delta)
        elif isinstance(get(item, "text"), str):
            choice.text.append(get(item, "text"))
        finish = get(item, "finish_reason")
        if isinstance(finish, str):
            choice.finish_reason = finish
    return True


def read(value: Any) -> Reply | None:
    """Read a completed response; `None` if it is not of this shape."""
    items = _choices(value)
    if items is None:
        return None
    choices: list[Choice] = []
    for position, item in enumerate(items):
        index = get(item, "index")
        choice = Choice(index if type(index) is int else position)
        message = get(item, "message")
        if message is None:
            message = get(item, "delta")
        if message is not None:
            _take(choice, message)
        elif isinstance(get(item, "text"), str):
            choice.text.append(get(item, "text"))
        finish = get(item, "finish_reason")
        choice.finish_reason = finish if isinstance(finish, str) else None
        choices.append(choice)
    first = choices[0] if choices else Choice(0)
    usage = get(value, "usage")
    details = {key: get(value, name) for name, key in _DETAILS}
    return Reply(
        text=first.joined("text"),
        tool_calls=first.calls(),
        reasoning=first.joined("reasoning"),
        refusal=first.joined("refusal"),
        choices=[choice.as_dict() for choice in choices] if len(choices) > 1 else (),
        finish_reason=first.finish_reason,
        usage=read_usage(usage),
        cost_usd=read_cost(usage),
        source="provider",
        _details={**details, "usage_raw": usage},
    )


# Rendering: a reply that a middleware made, in the form of the SDK. -------------------------------


def _completion(reply: Reply, model: str | None, kind: str) -> dict[str, Any]:
    """Return a reply as the JSON of a completion (`message`) or of its one chunk (`delta`)."""
    sources = reply.choices or [
        {
            "index": 0,
            "text": reply.text,
            "reasoning": reply.reasoning,
            "refusal": reply.refusal,
            "tool_calls": reply.tool_calls,
            "finish_reason": reply.finish_reason,
        }
    ]
    choices = []
    for choice in sources:
        calls = [
            {**call, "index": index} if kind == "delta" else dict(call)
            for index, call in enumerate(choice["tool_calls"])
        ]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": choice["text"],
            "refusal": choice["refusal"],
            "tool_calls": calls or None,
        }
        if choice["reasoning"] is not None:
            message["reasoning_content"] = choice["reasoning"]
        finish = choice["finish_reason"] or ("tool_calls" if calls else "stop")
        choices.append({"index": choice["index"], kind: message, "finish_reason": finish})
    usage = None
    if reply.usage is not None:
        cached = reply.usage.cache_read_tokens
        prompt = (reply.usage.input_tokens or 0) + (cached or 0)
        completion = reply.usage.output_tokens or 0
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reply.usage.reasoning_tokens},
        }
    return {
        "id": reply._details.get("response_id") or "moa-middleware",
        "object": "chat.completion" if kind == "message" else "chat.completion.chunk",
        "created": 0,
        "model": reply._details.get("response_model") or model or "",
        "choices": choices,
        "usage": usage,
    }


def _namespace(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: _namespace(item) for key, item in value.items()})
    if isinstance(value, list):
        return [_namespace(item) for item in value]
    return value


def _model(name: str, payload: dict[str, Any]) -> Any:
    """Return the payload as the SDK's own class where the SDK is loaded, else a look-alike."""
    types = sys.modules.get("openai.types.chat")
    if types is None:
        return _namespace(payload)
    return getattr(types, name).model_validate(payload)


def render_value(reply: Reply, model: str | None) -> Any:
    """Return a reply as a completed response."""
    return _model("ChatCompletion", _completion(reply, model, "message"))


def render_chunks(reply: Reply, model: str | None) -> list[Any]:
    """Return a reply as the chunks of a stream."""
    payload = _completion(reply, model, "delta")
    return [_model("ChatCompletionChunk", payload)]


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of a raw chunk with the text, reasoning and refusal of a changed one."""
    from copy import deepcopy

    copy = deepcopy(raw)
    for item in get(copy, "choices") or ():
        if (get(item, "index") or 0) != chunk.choice:
            continue
        delta = get(item, "delta")
        changes = {"content": chunk.text}
        if chunk.refusal or get(delta, "refusal"):
            changes["refusal"] = chunk.refusal
        if chunk.reasoning or get(delta, "reasoning_content"):
            changes["reasoning_content"] = chunk.reasoning
        for name, text in changes.items():
            if isinstance(delta, dict):
                delta[name] = text
            else:
                setattr(delta, name, text)
        break
    return copy
