"""A script as OpenAI's Responses API writes it: response object, numbered and named events.

The forms are those of https://platform.openai.com/docs/api-reference/responses and .../responses-streaming, but for
the `error` event: the API nests what that page shows flat (openai/openai-dotnet#881), and the SDK raises only then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from moa_middleware.testing import _wire_chat
from moa_middleware.testing._script import Script, dump
from moa_middleware.testing._wire import (
    Event,
    Exchange,
    ScriptedReply,
    choices_of,
    finish_reason_of,
    halves,
    inner_error,
    play,
    raw_events,
    text_of,
    tokens_of,
    usage_of,
    words,
)

__all__ = ["ID", "PATH", "REQUEST_ID", "error", "events", "reply"]

PATH: str = "/responses"
ID: str = "resp_"
REQUEST_ID: str = _wire_chat.REQUEST_ID
error = _wire_chat.error

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_SECRET = {"headers", "authorization"}  # of a tool: the API does not say them again
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}


def reply(exchange: Exchange) -> ScriptedReply:
    """Return the response object."""
    usage = _usage(exchange)
    return ScriptedReply(_response(exchange, _status(exchange.script)), text_of(choices_of(exchange.script)[0]), usage)


def events(exchange: Exchange) -> Iterator[Event]:
    """Yield `response.created`, the items with their parts and deltas, and `response.completed` or its like."""
    script, numbers = exchange.script, count()

    def event(name: str, /, **payload: object) -> Event:
        delta = payload.get("delta")
        text = str(delta) if name == "response.output_text.delta" else ""
        data = dump({"type": name, "sequence_number": next(numbers), **payload})
        return Event(data, name, delta=delta is not None, text=text)

    def course() -> Iterator[Event]:
        for name in ("created", "in_progress"):
            yield event(f"response.{name}", response=_response(exchange, "in_progress"))
        for index, item in enumerate(_items(exchange)):
            for name, payload in _item_events(exchange.script, item):
                yield event(name, output_index=index, **payload)
        status = _status(script)
        last = event(f"response.{status}", response=_response(exchange, status))
        yield Event(last.data, last.name, usage=_usage(exchange), last=True, whole=True)

    def failure() -> Event:
        if script.finish_reason == "failed":
            return event("response.failed", response={**_response(exchange, "failed"), "output": [], "usage": None})
        return event("error", **error(500, script.error))

    return play(script, course() if script.raw_chunks is None else raw_events(script, script.raw_chunks), failure)


def _item_events(script: Script, item: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and payload of each event of one item of the output."""
    kind, parts = item["type"], item.get("content") or []
    own = {"item_id": item["id"]}
    opened: dict[str, Any] = {**item, "status": "in_progress"}
    if kind == "function_call":
        yield "response.output_item.added", {"item": {**opened, "arguments": ""}}
        for piece in halves(item["arguments"]):
            yield "response.function_call_arguments.delta", {**own, "delta": piece}
        done = {**own, "name": item["name"], "arguments": item["arguments"]}
        yield "response.function_call_arguments.done", done
    elif kind == "reasoning" and item["summary"]:
        yield "response.output_item.added", {"item": {**opened, "summary": []}}
        where = {**own, "summary_index": 0}
        (part,) = item["summary"]
        yield "response.reasoning_summary_part.added", {**where, "part": {**part, "text": ""}}
        for piece in words(part["text"]):
            yield "response.reasoning_summary_text.delta", {**where, "delta": piece}
        yield "response.reasoning_summary_text.done", {**where, "text": part["text"]}
        yield "response.reasoning_summary_part.done", {**where, "part": part}
    else:
        yield "response.output_item.added", {"item": {**opened, "content": []}}
        for number, part in enumerate(parts):
            yield from _part_events(script, {**own, "content_index": number}, part)
    yield "response.output_item.done", {"item": item}


def _part_events(
    script: Script, where: Mapping[str, Any], part: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the events of one part of a message's, or of a reasoning item's, content."""
    script = choices_of(script)[0]
    kind = part["type"]
    key = "refusal" if kind == "refusal" else "text"
    more: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
    pieces = script.pieces if kind == "output_text" and script.pieces is not None else words(part[key])
    yield "response.content_part.added", {**where, "part": {**part, key: ""}}
    for piece in pieces:
        yield f"response.{kind}.delta", {**where, "delta": piece, **more}
    yield f"response.{kind}.done", {**where, key: part[key], **more}
    yield "response.content_part.done", {**where, "part": part}


def _items(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the items of the output, all of them finished."""
    script = choices_of(exchange.script)[0]
    items: list[dict[str, Any]] = []

    def add(prefix: str, **item: object) -> None:
        items.append({"id": f"{prefix}_{exchange.reply_id}_{len(items)}", **item})

    if script.reasoning is not None:
        if exchange.script.reasoning_in == "summary":
            add("rs", type="reasoning", summary=[{"type": "summary_text", "text": script.reasoning}])
        else:
            content = [{"type": "reasoning_text", "text": script.reasoning}]
            add("rs", type="reasoning", summary=[], content=content)
    parts: list[dict[str, Any]] = []
    if script.refusal is not None:
        parts.append({"type": "refusal", "refusal": script.refusal})
    if (text := text_of(script)) or not (parts or script.tool_calls):
        parts.append({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    if parts:
        status = "completed" if _status(script) == "completed" else "incomplete"
        add("msg", type="message", status=status, role="assistant", content=parts)
    for call in script.tool_calls:
        function = call["function"]
        arguments = {"name": function.get("name"), "arguments": function["arguments"]}
        add("fc", type="function_call", status="completed", call_id=call.get("id"), **arguments)
    return items


def _status(script: Script) -> str:
    reason = finish_reason_of(choices_of(script)[0])
    return "incomplete" if reason in _INCOMPLETE else "failed" if reason == "failed" else "completed"


def _response(exchange: Exchange, status: str) -> dict[str, Any]:
    script, request = exchange.script, exchange.request
    over = status != "in_progress"
    reason = _INCOMPLETE.get(finish_reason_of(choices_of(script)[0]))
    failed = {"code": "server_error", "message": "scripted failure", **inner_error(script.error)}
    body = {
        "id": exchange.reply_id,
        "object": "response",
        "created_at": exchange.created,
        "status": status,
        "error": {name: failed[name] for name in ("code", "message")} if status == "failed" else None,
        "incomplete_details": {"reason": reason} if status == "incomplete" else None,
        "model": script.reply_model or request.get("model"),
        "output": _items(exchange) if over else [],
        "usage": _usage(exchange) if over else None,
        **{name: request.get(name, default) for name, default in _ECHOED.items()},
    }
    if isinstance(body["tools"], list):
        body["tools"] = [_without_secrets(tool) for tool in body["tools"]]
    return body if script.service_tier is None else {**body, "service_tier": script.service_tier}


def _without_secrets(tool: object) -> object:
    if not isinstance(tool, Mapping):
        return tool
    return {name: value for name, value in tool.items() if name not in _SECRET}


def _usage(exchange: Exchange) -> Mapping[str, Any] | None:
    script = exchange.script
    if script.usage_in == "none":
        return None
    given = usage_of(script, exchange.request)
    if "input_tokens" in given:
        return given
    tokens = tokens_of(given)
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }
