"""
A reply that a middleware made, as the JSON or the events that its provider would have sent.

Sources of the formats: the API references of OpenAI (*Chat*, *Responses*) and Anthropic (*Messages*).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..flow.model import Reply

__all__ = ["FAMILIES", "body_of_reply", "completion"]

_ID = "moa-middleware"


def completion(reply: Reply, model: str | None, kind: str) -> dict[str, Any]:
    """Return a reply as the JSON of a chat completion (`message`) or of its one chunk (`delta`)."""
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
    return {
        "id": _response_id(reply),
        "object": "chat.completion" if kind == "message" else "chat.completion.chunk",
        "created": 0,
        "model": _model_name(reply, model),
        "choices": choices,
        "usage": _chat_usage(reply),
    }


def _response_id(reply: Reply) -> str:
    return str(reply._details.get("response_id") or _ID)


def _model_name(reply: Reply, model: str | None) -> str:
    return str(reply._details.get("response_model") or model or "")


def _chat_usage(reply: Reply) -> dict[str, Any] | None:
    # The providers' classes have no place for an unknown number, and `usage` has for an unknown usage: what
    # a middleware left out is 0 next to numbers that it gave.
    usage = reply.usage
    if usage is None:
        return None
    prompt = (usage.input_tokens or 0) + (usage.cache_read_tokens or 0)
    output = usage.output_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _chat(reply: Reply, model: str | None) -> dict[str, Any]:
    return completion(reply, model, "message")


def _chat_events(reply: Reply, model: str | None) -> list[dict[str, Any]]:
    return [completion(reply, model, "delta")]


# Responses ----------------------------------------------------------------------------------------


def _response(reply: Reply, model: str | None, *, status: str = "completed") -> dict[str, Any]:
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
        output.append(
            {"type": "message", "id": f"{_ID}-text", "role": "assistant", "status": "completed", "content": parts}
        )
    output += [
        {
            "type": "function_call",
            "id": f"{_ID}-call-{index}",
            "call_id": call["id"] or f"{_ID}-call-{index}",
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
            "status": "completed",
        }
        for index, call in enumerate(reply.tool_calls)
    ]
    usage = reply.usage
    return {
        "id": _response_id(reply),
        "object": "response",
        "created_at": 0,
        "status": status,
        "model": _model_name(reply, model),
        "output": output if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None
        if usage is None
        else {
            "input_tokens": (usage.input_tokens or 0) + (usage.cache_read_tokens or 0),
            "input_tokens_details": {"cached_tokens": usage.cache_read_tokens or 0},
            "output_tokens": usage.output_tokens or 0,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
            "total_tokens": sum(
                tokens or 0 for tokens in (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens)
            ),
        },
    }


def _response_events(reply: Reply, model: str | None) -> list[dict[str, Any]]:
    whole = _response(reply, model)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response(reply, model, status="in_progress")}
    ]
    for index, item in enumerate(whole["output"]):
        bare = {**item, **{name: [] for name in ("content", "summary") if name in item}}
        if "arguments" in item:
            bare["arguments"] = ""
        events.append({"type": "response.output_item.added", "output_index": index, "item": bare})
        at = {"item_id": item["id"], "output_index": index}
        if "arguments" in item:
            events.append({"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]})
        for number, part in enumerate(item.get("content", ())):
            place = {**at, "content_index": number}
            kind = "output_text" if part["type"] == "output_text" else "refusal"
            said = part["text"] if kind == "output_text" else part["refusal"]
            empty = {**part, "text" if kind == "output_text" else "refusal": ""}
            events += [
                {"type": "response.content_part.added", **place, "part": empty},
                {"type": f"response.{kind}.delta", **place, "delta": said, "logprobs": []},
            ]
        for number, part in enumerate(item.get("summary", ())):
            place = {**at, "summary_index": number}
            events.append({"type": "response.reasoning_summary_text.delta", **place, "delta": part["text"]})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


# Messages -----------------------------------------------------------------------------------------


def _blocks(reply: Reply) -> list[dict[str, Any]]:
    import json

    blocks: list[dict[str, Any]] = []
    if reply.reasoning:
        blocks.append({"type": "thinking", "thinking": reply.reasoning, "signature": ""})
    if reply.text or reply.refusal:
        blocks.append({"type": "text", "text": reply.text or reply.refusal})
    for index, call in enumerate(reply.tool_calls):
        try:
            given = json.loads(call["function"]["arguments"] or "{}")
        except ValueError:
            given = {}
        ident = call["id"] or f"{_ID}-call-{index}"
        blocks.append({"type": "tool_use", "id": ident, "name": call["function"]["name"], "input": given})
    return blocks


def _message(reply: Reply, model: str | None) -> dict[str, Any]:
    usage = reply.usage
    return {
        "id": _response_id(reply),
        "type": "message",
        "role": "assistant",
        "model": _model_name(reply, model),
        "content": _blocks(reply),
        "stop_reason": reply.finish_reason or ("tool_use" if reply.tool_calls else "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": (usage.input_tokens or 0) if usage else 0,
            "output_tokens": (usage.output_tokens or 0) if usage else 0,
            "cache_read_input_tokens": usage.cache_read_tokens if usage else None,
            "cache_creation_input_tokens": usage.cache_write_tokens if usage else None,
        },
    }


def _message_events(reply: Reply, model: str | None) -> list[dict[str, Any]]:
    whole = _message(reply, model)
    import json

    start = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 0}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(whole["content"]):
        if block["type"] == "text":
            bare, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        elif block["type"] == "thinking":
            bare, delta = {**block, "thinking": ""}, {"type": "thinking_delta", "thinking": block["thinking"]}
        else:
            bare = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events += [
            {"type": "content_block_start", "index": index, "content_block": bare},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": whole["usage"]["output_tokens"]}
    return [*events, {"type": "message_delta", "delta": stop, "usage": usage}, {"type": "message_stop"}]


FAMILIES: dict[str, tuple[Any, Any]] = {
    "openai_chat": (_chat, _chat_events),
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
