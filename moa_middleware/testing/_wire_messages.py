"""A script as Anthropic's Messages API writes it: message object, named events, errors.

The forms are those of https://docs.anthropic.com/en/api/messages, .../streaming and .../errors.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ID", "PATH", "REQUEST_ID", "error", "events", "reply"]

PATH: str = "/messages"
ID: str = "msg_"
REQUEST_ID: str = "request-id"

_SIGNATURE = "c2NyaXB0ZWQ="  # opaque to everybody but the API
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error(status: int, error: Mapping[str, Any] | None, request_id: str) -> dict[str, Any]:
    """Return Anthropic's error body, with defaults for what `error` lacks; `param` and `code` are OpenAI's alone."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")  # noqa: PLR2004
    given = {name: value for name, value in inner_error(error).items() if name not in {"param", "code"}}
    body = {"type": "error", "error": {"type": kind, "message": f"scripted error {status}", **given}}
    return {**body, "request_id": request_id} if request_id else body


def reply(exchange: Exchange) -> ScriptedReply:
    """Return the message object."""
    script = choices_of(exchange.script)[0]
    usage = _usage(exchange)
    body = {**_envelope(exchange), "content": [_block(*each) for each in _blocks(script)], **_stop(script)}
    return ScriptedReply(body if usage is None else {**body, "usage": usage}, text_of(script), usage)


def events(exchange: Exchange) -> Iterator[Event]:
    """Yield `message_start`, the blocks with their deltas, `message_delta` and `message_stop`."""
    script = exchange.script

    def failure() -> Event:
        return Event(dump(error(529, script.error, "")), name="error")

    whole = _course(exchange) if script.raw_chunks is None else raw_events(script, script.raw_chunks)
    return play(script, whole, failure)


def _course(exchange: Exchange) -> Iterator[Event]:
    script = choices_of(exchange.script)[0]
    usage = _usage(exchange)
    opening = None if usage is None else {**usage, "output_tokens": min(1, usage.get("output_tokens", 0))}
    if opening is not None:
        opening.pop("output_tokens_details", None)  # they come with the whole output, in `message_delta`
    message = {**_envelope(exchange), "content": [], "stop_reason": None, "stop_sequence": None}
    yield _event("message_start", usage=opening, message=message if opening is None else {**message, "usage": opening})
    for index, (kind, value) in enumerate(_blocks(script)):
        start = {"thinking": {**value, "thinking": "", "signature": ""}, "text": {**value, "text": ""}}
        block = start.get(kind, {**value, "input": {}})
        yield _event("content_block_start", index=index, content_block={"type": kind, **block})
        if index == 0:
            yield _event("ping")
        for delta in _deltas(script, kind, value):
            yield _event("content_block_delta", delta.get("text", ""), index=index, delta=delta)
        if kind == "thinking":
            signed = {"type": "signature_delta", "signature": _SIGNATURE}
            yield Event(dump({"type": "content_block_delta", "index": index, "delta": signed}), "content_block_delta")
        yield _event("content_block_stop", index=index)
    closing: dict[str, Any] = {"delta": _stop(script)}
    if usage is not None:
        everything = exchange.script.usage_in == "finish"
        output = {name: count for name, count in usage.items() if name.startswith("output_tokens")}
        closing["usage"] = usage if everything else {"output_tokens": 0, **output}
    yield Event(dump({"type": "message_delta", **closing}), "message_delta", usage=usage)
    yield Event(dump({"type": "message_stop"}), "message_stop", last=True, whole=True)


def _event(name: str, text: str = "", /, usage: Mapping[str, Any] | None = None, **payload: object) -> Event:
    delta = name == "content_block_delta"
    return Event(dump({"type": name, **payload}), name, delta=delta, text=text, usage=usage)


def _envelope(exchange: Exchange) -> dict[str, Any]:
    model = exchange.script.reply_model or exchange.request.get("model")
    return {"id": exchange.reply_id, "type": "message", "role": "assistant", "model": model}


def _blocks(script: Script) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each block's type and its other keys, a tool's input still as its text."""
    if script.reasoning is not None:
        yield "thinking", {"thinking": script.reasoning, "signature": _SIGNATURE}
    if text := text_of(script):
        yield "text", {"text": text}
    for call in script.tool_calls:
        function = call["function"]
        yield "tool_use", {"id": call.get("id"), "name": function.get("name"), "input": function["arguments"]}


def _block(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    if kind == "tool_use":
        decoded: object = None
        with suppress(ValueError):
            decoded = json.loads(value["input"])
        value = {**value, "input": decoded if isinstance(decoded, dict) else {}}
    return {"type": kind, **value}


def _deltas(script: Script, kind: str, value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if kind == "thinking":
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in words(value["thinking"]))
    elif kind == "text":
        pieces = words(script.text) if script.pieces is None else script.pieces
        yield from ({"type": "text_delta", "text": piece} for piece in pieces)
    else:
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in halves(value["input"]))


def _stop(script: Script) -> dict[str, Any]:
    reason = finish_reason_of(script)
    stop = {"stop_reason": _STOPS.get(reason, reason), "stop_sequence": None}
    if script.refusal is None:
        return stop
    details = {"type": "refusal", "category": None, "explanation": script.refusal}
    return {**stop, "stop_reason": "refusal", "stop_details": details}


def _usage(exchange: Exchange) -> dict[str, Any] | None:
    script = exchange.script
    if script.usage_in == "none":
        return None
    given = usage_of(script, exchange.request)
    if "input_tokens" in given:
        return dict(given)
    tokens = tokens_of(given)
    details = {"output_tokens_details": {"thinking_tokens": tokens.reasoning}} if tokens.reasoning else {}
    return {
        "input_tokens": tokens.input - tokens.cache_read - tokens.cache_write,  # Anthropic counts them apart
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cache_read,
        "output_tokens": tokens.output,
        **details,
        "service_tier": script.service_tier or "standard",
    }
