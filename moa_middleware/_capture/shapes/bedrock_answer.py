"""
Replies that a middleware made, as boto3 and aiobotocore return them: dicts, event streams and file-like bodies.

They are of the classes of botocore and aiobotocore, which the program has imported. Sources of the formats:
see `bedrock` and `bedrock_body`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ...errors import ReplyFormError
from .bedrock import json_of
from .tool_calls import json_text
from .wire import FAMILIES, input_of, replayed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Call, Reply

__all__ = ["render"]

_ID = "moa-middleware"


def render(reply: Reply, call: Call, *, is_async: bool) -> Any:
    """
    Return a reply that a middleware made: the dict of `converse`, else what the caller reads of the returned dict.

    Args:
        reply: The reply.
        call: The call that it answers.
        is_async: Whether it is read in async code.

    Raises:
        ReplyFormError: The form of a model's bodies is not known.
    """
    if call._binding.family == "bedrock":
        if not call.stream:
            metadata = {"HTTPStatusCode": 200, "HTTPHeaders": {}, "RetryAttempts": 0}
            return {"ResponseMetadata": metadata, **_said(reply), "metrics": {"latencyMs": 0}}
        return _event_stream(_events(reply), is_async=is_async)
    whole, events = _BODIES[_form_of(call)]
    if not call.stream:
        return _body(json_text(whole(reply, call.model)).encode(), is_async=is_async)
    chunks = [{"chunk": {"bytes": json_text(event).encode()}} for event in events(reply, call.model)]
    return _event_stream(chunks, is_async=is_async)


# The objects. ---------------------------------------------------------------------------------------


class _Memory:
    """In place of the response of the HTTP library, for a body that is there already."""

    def __init__(self, data: bytes = b"") -> None:
        self.rest = data
        self.content = self

    def close(self) -> None:
        self.rest = b""

    def at_eof(self) -> bool:
        return not self.rest

    async def read(self, size: int = -1) -> bytes:
        size = len(self.rest) if size < 0 else size
        data, self.rest = self.rest[:size], self.rest[size:]
        return data


def _parsed(event: Any) -> Any:
    return event


async def _parsed_async(event: Any) -> Any:
    return event


def _event_stream(events: list[dict[str, Any]], *, is_async: bool) -> Any:
    """Return events as an event stream of the SDK's class."""
    # Its `__init__` takes a parser of bytes. These events are parsed already.
    name = "aiobotocore.eventstream" if is_async else "botocore.eventstream"
    kind = getattr(sys.modules[name], "AioEventStream" if is_async else "EventStream")
    made = kind.__new__(kind)
    made._raw_stream = _Memory()
    made._event_generator = replayed(events, is_async=is_async)
    made._parse_event = _parsed_async if is_async else _parsed
    return made


def _body(data: bytes, *, is_async: bool) -> Any:
    """Return a body of the SDK's class."""
    if is_async:
        return sys.modules["aiobotocore.response"].AioStreamingBody(_Memory(data), len(data))
    from io import BytesIO

    return sys.modules["botocore.response"].StreamingBody(BytesIO(data), len(data))


# Converse, and Nova, which has its form. --------------------------------------------------------------


def _counts(reply: Reply) -> dict[str, Any]:
    usage = reply.usage
    read, wrote = (usage.input_tokens or 0, usage.output_tokens or 0) if usage is not None else (0, 0)
    return {"inputTokens": read, "outputTokens": wrote, "totalTokens": read + wrote}


def _reason(reply: Reply) -> str:
    return reply.finish_reason or ("tool_use" if reply.tool_calls else "end_turn")


def _uses(reply: Reply) -> list[dict[str, Any]]:
    return [
        {"toolUseId": one["id"] or f"{_ID}-call-{index}", "name": one["function"]["name"], "input": input_of(one)}
        for index, one in enumerate(reply.tool_calls)
    ]


def _said(reply: Reply, _model: str | None = None) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if reply.reasoning:
        content.append({"reasoningContent": {"reasoningText": {"text": reply.reasoning}}})
    if reply.text or reply.refusal or not reply.tool_calls:
        content.append({"text": reply.text or reply.refusal or ""})
    content += [{"toolUse": use} for use in _uses(reply)]
    message = {"role": "assistant", "content": content}
    return {"output": {"message": message}, "stopReason": _reason(reply), "usage": _counts(reply)}


def _events(reply: Reply, _model: str | None = None) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"messageStart": {"role": "assistant"}}]
    for index, block in enumerate(_said(reply)["output"]["message"]["content"]):
        said: dict[str, Any] = {"text": block.get("text")}
        if "toolUse" in block:
            use = {**block["toolUse"]}
            said = {"toolUse": {"input": json_text(use.pop("input"))}}
            events.append({"contentBlockStart": {"start": {"toolUse": use}, "contentBlockIndex": index}})
        elif "reasoningContent" in block:
            said = {"reasoningContent": block["reasoningContent"]["reasoningText"]}
        events.append({"contentBlockDelta": {"delta": said, "contentBlockIndex": index}})
        events.append({"contentBlockStop": {"contentBlockIndex": index}})
    events.append({"messageStop": {"stopReason": _reason(reply)}})
    return [*events, {"metadata": {"usage": _counts(reply), "metrics": {"latencyMs": 0}}}]


# Bodies of other models. ------------------------------------------------------------------------------


def _titan(reply: Reply, _model: str | None) -> dict[str, Any]:
    counts, reason = _counts(reply), reply.finish_reason or "FINISH"
    result = {"tokenCount": counts["outputTokens"], "outputText": reply.text or "", "completionReason": reason}
    return {"inputTextTokenCount": counts["inputTokens"], "results": [result]}


def _titan_event(reply: Reply, _model: str | None) -> list[dict[str, Any]]:
    counts, reason = _counts(reply), reply.finish_reason or "FINISH"
    said = {"outputText": reply.text or "", "index": 0, "completionReason": reason}
    totals = {"totalOutputTextTokenCount": counts["outputTokens"], "inputTextTokenCount": counts["inputTokens"]}
    return [{**said, **totals}]


def _llama(reply: Reply, _model: str | None) -> dict[str, Any]:
    counts = _counts(reply)
    said = {"generation": reply.text or "", "stop_reason": reply.finish_reason or "stop"}
    return {**said, "prompt_token_count": counts["inputTokens"], "generation_token_count": counts["outputTokens"]}


def _mistral(reply: Reply, _model: str | None) -> dict[str, Any]:
    return {"outputs": [{"text": reply.text or "", "stop_reason": reply.finish_reason or "stop"}]}


def _once(whole: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives a whole body as the only event of a stream, which has the same keys."""
    return lambda reply, model: [whole(reply, model)]


_BODIES: Mapping[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "anthropic": FAMILIES["anthropic"],
    "chat": FAMILIES["openai_chat"],
    "llama": (_llama, _once(_llama)),
    "mistral": (_mistral, _once(_mistral)),
    "nova": (_said, _events),
    "titan": (_titan, _titan_event),
}


def _form_of(call: Call) -> str:
    """Return which form the reply to a request of `invoke_model` has."""
    body, model = json_of(call.kwargs.get("body")) or {}, call.model or ""
    if "anthropic_version" in body:
        return "anthropic"
    if "inputText" in body:
        return "titan"
    if isinstance(body.get("prompt"), str) and ("max_gen_len" in body or "llama" in model):
        return "llama"
    if isinstance(body.get("prompt"), str) and "mistral" in model:
        return "mistral"
    if isinstance(body.get("messages"), list):
        return "nova" if "nova" in model or "inferenceConfig" in body or "schemaVersion" in body else "chat"
    msg = f"no reply of {model or 'this model'} can be made: the form of its bodies is not known; use converse"
    raise ReplyFormError(msg)
