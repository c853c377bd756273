"""
A reply that a middleware made, as the JSON or the events that its provider would have sent.

Sources of the formats: the API references of OpenAI (*Chat*, *Responses*) and Anthropic (*Messages*).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.model import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from ..flow.model import Reply

__all__ = ["FAMILIES", "body_of_reply", "completion", "input_of", "replayed"]

_ID = "moa-middleware"
_OF_A_CHOICE = ("text", "reasoning", "refusal", "tool_calls", "finish_reason")


def _head(reply: Reply, model: str | None) -> dict[str, Any]:
    known = reply._details
    return {"id": str(known.get("response_id") or _ID), "model": str(known.get("response_model") or model or "")}


def _usage(reply: Reply, prompt: str, output: str, unknown: int | None) -> dict[str, Any] | None:
    """
    Return the tokens in OpenAI's form, which counts cached and written ones in the prompt; `None` without any.

    Args:
        reply: The reply.
        prompt: What the API calls the request's side, `prompt` or `input`.
        output: What it calls the reply's, `completion` or `output`.
        unknown: What its classes take for a detail that is missing.
    """
    # The providers' classes have no place for an unknown number, and `usage` has for an unknown usage: what
    # a middleware left out is 0 next to numbers that it gave.
    usage = reply.usage
    if usage is None:
        return None
    cached, written, reasoned = usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens
    asked, said = (usage.input_tokens or 0) + (cached or 0) + (written or 0), usage.output_tokens or 0
    inside = {"cached_tokens": unknown if cached is None else cached}
    if written is not None:
        inside["cache_write_tokens"] = written
    return {
        f"{prompt}_tokens": asked,
        f"{prompt}_tokens_details": inside,
        f"{output}_tokens": said,
        f"{output}_tokens_details": {"reasoning_tokens": unknown if reasoned is None else reasoned},
        "total_tokens": asked + said,
    }


def completion(reply: Reply, model: str | None, kind: str = "message") -> dict[str, Any]:
    """Return a reply as the JSON of a chat completion (`message`) or of its one chunk (`delta`)."""
    choices = []
    for choice in reply.choices or [{"index": 0, **{name: getattr(reply, name) for name in _OF_A_CHOICE}}]:
        calls = [
            {**call, "index": index} if kind == "delta" else dict(call)
            for index, call in enumerate(choice["tool_calls"])
        ]
        message: dict[str, Any] = {"role": "assistant", "content": choice["text"], "refusal": choice["refusal"]}
        message["tool_calls"] = calls or None
        if choice["reasoning"] is not None:
            message["reasoning_content"] = choice["reasoning"]
        finish = choice["finish_reason"] or ("tool_calls" if calls else "stop")
        choices.append({"index": choice["index"], kind: message, "finish_reason": finish})
    return {
        **_head(reply, model),
        "object": "chat.completion" if kind == "message" else "chat.completion.chunk",
        "created": 0,
        "choices": choices,
        "usage": _usage(reply, "prompt", "completion", None),
    }


async def _replayed_async(chunks: Iterable[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


def replayed(chunks: Iterable[Any], *, is_async: bool) -> Iterator[Any] | AsyncIterator[Any]:
    """Return a stream of chunks that are complete already, for a consumer in either world."""
    return _replayed_async(chunks) if is_async else (chunk for chunk in chunks)


# Responses ----------------------------------------------------------------------------------------


def _response(reply: Reply, model: str | None) -> dict[str, Any]:
    output: list[dict[str, Any]] = []
    if reply.reasoning:
        summary = [{"type": "summary_text", "text": reply.reasoning}]
        output.append({"type": "reasoning", "id": f"{_ID}-reasoning", "summary": summary})
    parts: list[dict[str, Any]] = []
    if reply.text:
        parts.append({"type": "output_text", "text": reply.text, "annotations": []})
    if reply.refusal:
        parts.append({"type": "refusal", "refusal": reply.refusal})
    if parts or not reply.tool_calls:
        message = {"type": "message", "id": f"{_ID}-text", "role": "assistant"}
        output.append({**message, "status": "completed", "content": parts})
    for index, call in enumerate(reply.tool_calls):
        item = {"type": "function_call", "id": f"{_ID}-call-{index}", "status": "completed"}
        said = {name: call["function"][name] for name in ("name", "arguments")}
        output.append({**item, "call_id": call["id"] or item["id"], **said})
    return {
        **_head(reply, model),
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(reply, "input", "output", 0),
    }


_PARTS = {
    "output_text": ("text", "content_index", "response.output_text.delta"),
    "refusal": ("refusal", "content_index", "response.refusal.delta"),
    "summary_text": ("text", "summary_index", "response.reasoning_summary_text.delta"),
}
"""By the type of a part: where its text is, what its place is called, and the event that brings it."""


def _response_events(reply: Reply, model: str | None) -> list[dict[str, Any]]:
    whole = _response(reply, model)
    begun = {**whole, "status": "in_progress", "output": []}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(whole["output"]):
        at = {"item_id": item["id"], "output_index": index}
        bare = {name: "" if name == "arguments" else [] for name in ("arguments", "content", "summary") if name in item}
        events.append({"type": "response.output_item.added", "output_index": index, "item": {**item, **bare}})
        if "arguments" in item:
            events.append({"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]})
        for number, part in enumerate(item.get("content") or item.get("summary") or ()):
            name, place, delta = _PARTS[part["type"]]
            if "content" in item:
                empty = {**part, name: ""}
                events.append({"type": "response.content_part.added", **at, place: number, "part": empty})
            events.append({"type": delta, **at, place: number, "delta": part[name], "logprobs": []})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


# Messages -----------------------------------------------------------------------------------------


def input_of(call: Mapping[str, Any]) -> Any:
    """Return the arguments of a tool call as JSON, an empty object where they are none."""
    import json

    try:
        return json.loads(call["function"]["arguments"] or "{}")
    except ValueError:
        return {}


def _message(reply: Reply, model: str | None) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    if reply.reasoning:
        blocks.append({"type": "thinking", "thinking": reply.reasoning, "signature": ""})
    if reply.text or reply.refusal:
        blocks.append({"type": "text", "text": reply.text or reply.refusal})
    for index, call in enumerate(reply.tool_calls):
        head = {"type": "tool_use", "id": call["id"] or f"{_ID}-call-{index}", "name": call["function"]["name"]}
        blocks.append({**head, "input": input_of(call)})
    usage = reply.usage or Usage()
    reasoned = usage.reasoning_tokens
    return {
        **_head(reply, model),
        "type": "message",
        "role": "assistant",
        "content": blocks,
        "stop_reason": reply.finish_reason or ("tool_use" if reply.tool_calls else "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.input_tokens or 0,
            "output_tokens": usage.output_tokens or 0,
            "cache_read_input_tokens": usage.cache_read_tokens,
            "cache_creation_input_tokens": usage.cache_write_tokens,
            **({} if reasoned is None else {"output_tokens_details": {"thinking_tokens": reasoned}}),
        },
    }


_DELTAS: dict[str, tuple[str, Any, str, str]] = {
    "text": ("text", "", "text_delta", "text"),
    "thinking": ("thinking", "", "thinking_delta", "thinking"),
    "tool_use": ("input", {}, "input_json_delta", "partial_json"),
}
"""By the type of a block: where its content is, what it begins with, the type of its delta and the key there."""


def _message_events(reply: Reply, model: str | None) -> list[dict[str, Any]]:
    import json

    whole = _message(reply, model)
    start = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 0}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(whole["content"]):
        name, empty, kind, key = _DELTAS[block["type"]]
        said = block[name] if empty == "" else json.dumps(block[name])
        events += [
            {"type": "content_block_start", "index": index, "content_block": {**block, name: empty}},
            {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: said}},
            {"type": "content_block_stop", "index": index},
        ]
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": whole["usage"]["output_tokens"]}
    return [*events, {"type": "message_delta", "delta": stop, "usage": usage}, {"type": "message_stop"}]


FAMILIES: dict[str, tuple[Any, Any]] = {
    "openai_chat": (completion, lambda reply, model: [completion(reply, model, "delta")]),
    "openai_responses": (_response, _response_events),
    "anthropic": (_message, _message_events),
}
"""By family: the reply in one piece, and as events."""


def body_of_reply(reply: Reply, model: str | None, family: str, *, stream: bool) -> tuple[str, bytes]:
    """Return the type and the content of the body that says a reply."""
    import json  # not with the package: it is needed only when a middleware answers

    whole, events = FAMILIES[family]
    if not stream:
        return "application/json", json.dumps(whole(reply, model)).encode()
    lines = []
    for event in events(reply, model):
        named = f"event: {event['type']}\n" if "type" in event else ""
        lines.append(f"{named}data: {json.dumps(event)}\n\n")
    if family == "openai_chat":
        lines.append("data: [DONE]\n\n")
    return "text/event-stream", "".join(lines).encode()
