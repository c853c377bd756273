"""A script as OpenAI's chat completions write it: completion object, chunk objects, errors.

The forms are those of https://platform.openai.com/docs/api-reference/chat; `reasoning_content` is the field that
DeepSeek, vLLM and others add to them.
"""

from __future__ import annotations

from itertools import zip_longest
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
    usage_of,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ID", "PATH", "REQUEST_ID", "error", "events", "reply"]

PATH: str = "/chat/completions"
ID: str = "chatcmpl-"
REQUEST_ID: str = "x-request-id"


def error(status: int, error: Mapping[str, Any] | None, request_id: str = "") -> dict[str, Any]:
    """Return OpenAI's error body, with defaults for what `error` lacks; the request's id is in the headers alone."""
    del request_id
    kind = {429: "rate_limit_error"}.get(status, "invalid_request_error" if 400 <= status < 500 else "server_error")  # noqa: PLR2004
    given = inner_error(error)
    return {"error": {"message": f"scripted error {status}", "type": kind, "param": None, "code": None, **given}}


def reply(exchange: Exchange) -> ScriptedReply:
    """Return the completion object."""
    script = exchange.script
    choices = [
        {"index": index, "message": _message(choice), "logprobs": None, "finish_reason": finish_reason_of(choice)}
        for index, choice in enumerate(choices_of(script))
    ]
    body = {**_envelope(exchange, "chat.completion"), "choices": choices}
    usage = None if script.usage_in == "none" else usage_of(script, exchange.request)
    return ScriptedReply(body if usage is None else {**body, "usage": usage}, text_of(choices_of(script)[0]), usage)


def events(exchange: Exchange) -> Iterator[Event]:
    """Yield the chunks, and "[DONE]"."""
    script = exchange.script

    def failure() -> Event:
        return Event(dump(error(500, script.error)))

    raw = script.raw_chunks
    if raw is None:
        return play(script, _chunks(exchange), failure)
    own_end = raw[-1:] and raw[-1] == "[DONE]"
    return play(script, _unnamed(raw_events(script, raw[:-1] if own_end else raw)), failure)


def _unnamed(events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        yield Event(event.data or "[DONE]", delta=event.delta, text=event.text, last=event.last, whole=event.whole)


def _chunks(exchange: Exchange) -> Iterator[Event]:
    script, choices = exchange.script, choices_of(exchange.script)
    usage = usage_of(script, exchange.request)
    asked = _asks_for_usage(exchange.request)
    envelope = _envelope(exchange, "chat.completion.chunk")
    if asked and script.usage_in == "tail":
        envelope["usage"] = None  # OpenAI: with `include_usage` every chunk has the key, null but in the last.

    def chunk(index: int, delta: Mapping[str, Any], finish_reason: str | None = None, **more: object) -> str:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return dump({**envelope, "choices": [choice], **more})

    for index in range(len(choices)):
        yield Event(chunk(index, {"role": "assistant", "content": ""}))
    for each in zip_longest(*map(_deltas, choices)):
        for index, delta in enumerate(each):
            if delta is not None:
                yield Event(chunk(index, delta), delta=True, text="" if index else delta.get("content", ""))
    for index, choice in enumerate(choices):
        if script.usage_in == "finish" and index == len(choices) - 1:
            yield Event(chunk(index, {}, finish_reason_of(choice), usage=usage), usage=usage)
        else:
            yield Event(chunk(index, {}, finish_reason_of(choice)))
    if script.usage_in == "tail" and (asked or script.usage_always):
        yield Event(dump({**envelope, "choices": [], "usage": usage}), usage=usage)
    yield Event("[DONE]", last=True, whole=True)


def _envelope(exchange: Exchange, kind: str) -> dict[str, Any]:
    script = exchange.script
    optional = {"system_fingerprint": script.system_fingerprint, "service_tier": script.service_tier}
    return {
        "id": exchange.reply_id,
        "object": kind,
        "created": exchange.created,
        "model": script.reply_model or exchange.request.get("model"),
        **{name: value for name, value in optional.items() if value is not None},
    }


def _message(script: Script) -> dict[str, Any]:
    content = text_of(script)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if not content and (script.tool_calls or script.refusal is not None) else content,
        "refusal": script.refusal,
    }
    if script.reasoning is not None:
        message["reasoning_content"] = script.reasoning
    if script.tool_calls:
        message["tool_calls"] = list(script.tool_calls)
    return message


def _deltas(script: Script) -> Iterator[dict[str, Any]]:
    yield from ({"reasoning_content": piece} for piece in words(script.reasoning or ""))
    yield from ({"refusal": piece} for piece in words(script.refusal or ""))
    yield from ({"content": piece} for piece in (words(script.text) if script.pieces is None else script.pieces))
    for index, call in enumerate(script.tool_calls):
        head, tail = halves(call["function"]["arguments"])
        yield {"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": head}}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": tail}}]}


def _asks_for_usage(request: Mapping[str, Any]) -> bool:
    options = request.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
