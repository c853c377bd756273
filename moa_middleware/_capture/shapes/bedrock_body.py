"""
The bodies that Bedrock's `invoke_model` passes on: JSON in the words of the model.

Source of the formats: the Amazon Bedrock user guide, *Inference request parameters and response fields for
foundation models*, which has the body of each family of models: Anthropic's, Nova's (the same as of
`converse`), Titan's, Llama's, Mistral's, Cohere's. What OpenAI's look-alikes send is a chat completion.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import RequestError
from . import anthropic, bedrock, chat_chunks, cohere, openai_chat
from .bedrock import json_of
from .bedrock_items import GUARDRAIL, take_guardrail, take_metrics
from .choice import KINDS, Choice, add_text, new_reply, replaced
from .fields import data_of
from .tool_calls import json_text
from .usage import read_usage_and_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Chunk, Reply
    from .choice import StreamContent

    Data = Mapping[str, Any]

__all__ = [
    "KEYS",
    "feed",
    "feed_body",
    "feed_reply",
    "messages_into",
    "messages_of",
    "opened",
    "param_into",
    "params_of",
    "read_body",
    "read_value",
    "render_chunk",
]

KEYS = frozenset({"chunk"})
"""See `formats`."""


# Requests. ------------------------------------------------------------------------------------------

_PROMPTS = ("prompt", "inputText", "message")
"""Keys of a prompt that is one text: Llama's and Mistral's, Titan's, Cohere's."""
_SYSTEMS = ("system", "preamble")
_OTHERS = frozenset({"anthropic_version", "anthropic_beta", "schemaVersion"})
"""Keys that say which form a body has."""
_CONFIGS = ("inferenceConfig", "textGenerationConfig", "toolConfig")
"""Keys of objects with parameters: Nova's, Titan's, Nova's for tools."""


def opened(body: Any) -> Any:
    """Return the object in a body, so that it is parsed once for all that is read in it."""
    return json_of(body)


def messages_of(body: Any) -> Any:
    """Return what a body asks as messages, the system text first; `None` if it is not a JSON text, or what `opened` returned."""
    data = body if type(body) is dict else json_of(body)
    if data is None:
        return None
    messages = data.get("messages")
    if not isinstance(messages, list):
        place = next((name for name in _PROMPTS if isinstance(data.get(name), str)), None)
        if place is None:
            return None
        earlier = data.get("chat_history")
        messages = [*(earlier if isinstance(earlier, list) else ()), {"role": "user", "content": data[place]}]
    system = next((data[name] for name in _SYSTEMS if data.get(name)), None)
    return messages if system is None else [{"role": "system", "content": system}, *messages]


def params_of(body: Any) -> dict[str, Any]:
    """Return the parameters in a body, or in what `opened` returned; Nova's and Titan's are in an object of their own."""
    data = body if type(body) is dict else json_of(body) or {}
    found: dict[str, Any] = {}
    for name, value in data.items():
        if name in _CONFIGS and isinstance(value, dict):
            found |= value
        elif name not in (*_PROMPTS, *_SYSTEMS, *_OTHERS, "messages", "chat_history"):
            found[name] = value
    return found


def param_into(body: Any, name: str, value: Any) -> Any:
    """
    Return a body with another value of one parameter, of the type that the caller gave.

    Args:
        body: The body that the caller gave.
        name: The parameter.
        value: The value, `None` to leave the parameter out.

    Raises:
        RequestError: The body is not a JSON text.
    """
    data = _data_of(body, "params")
    configs = [data[one] for one in _CONFIGS if isinstance(data.get(one), dict)]
    # A new one goes where the others are.
    holding = [one for one in (*configs, data) if name in one] or [*configs[:1], data]
    if value is None:
        holding[0].pop(name, None)
    else:
        holding[0][name] = value
    return _as_given(body, data)


def _data_of(body: Any, what: str) -> dict[str, Any]:
    data: dict[str, Any] | None = json_of(body)
    if data is None:
        msg = f"call.replace({what}=…): the body of invoke_model is not a JSON text; build it in the caller"
        raise RequestError(msg)
    return data


def _as_given(body: Any, data: dict[str, Any]) -> str | bytes:
    text = json_text(data)
    return text if isinstance(body, str) else text.encode()


def messages_into(body: Any, messages: Any) -> Any:
    """
    Return a body with other messages, of the type that the caller gave.

    Args:
        body: The body that the caller gave.
        messages: Messages in the form of a chat, or of the model's own.

    Raises:
        RequestError: The body is not a JSON text, or has a place for one prompt only.
    """
    data = _data_of(body, "messages")
    system = next((one.get("content") for one in messages if one.get("role") == "system"), None)
    rest = [one for one in messages if one.get("role") != "system"]
    is_nova = "inferenceConfig" in data or "schemaVersion" in data or isinstance(data.get("system"), list)
    if isinstance(data.get("messages"), list):
        is_chat = any(one.get("role") == "system" for one in data["messages"] if isinstance(one, dict))
        if is_chat:
            data["messages"] = list(messages)
        else:
            data["messages"] = bedrock.messages_from(rest) if is_nova else rest
            data.pop("system", None)
            if system is not None:
                data["system"] = bedrock.system_from(system) if is_nova else system
    else:
        _put_prompt(data, system, rest)
    return _as_given(body, data)


def _put_prompt(data: dict[str, Any], system: Any, rest: list[Any]) -> None:
    """Put one user message, and what the model reads before it, into a body that has one text."""
    place = next((name for name in _PROMPTS if isinstance(data.get(name), str)), None)
    content = rest[0].get("content") if len(rest) == 1 else None
    if place is None or not isinstance(content, str):
        msg = "call.replace(messages=…): the body of this model takes one prompt; give one user message"
        raise RequestError(msg)
    if system is not None and place != "message":
        # A model without a system text reads both as one.
        content = f"{system}\n\n{content}"
    elif system is not None:
        data["preamble"] = system
    data[place] = content


# Replies. -------------------------------------------------------------------------------------------


def _take_titan(choice: Choice, body: Data) -> dict[str, Any] | None:
    results = body.get("results")
    for result in results if isinstance(results, list) else (body,):
        add_text(choice.text, data_of(result).get("outputText"))
        _take_reason(choice, data_of(result).get("completionReason"))
    written = data_of(results[0]).get("tokenCount") if isinstance(results, list) and results else None
    counts = {"inputTokens": body.get("inputTextTokenCount")}
    counts["outputTokens"] = body.get("totalOutputTextTokenCount") if written is None else written
    return _known(counts)


def _take_llama(choice: Choice, body: Data) -> dict[str, Any] | None:
    add_text(choice.text, body.get("generation"))
    _take_reason(choice, body.get("stop_reason"))
    counts = {"inputTokens": body.get("prompt_token_count"), "outputTokens": body.get("generation_token_count")}
    return _known(counts)


def _take_outputs(choice: Choice, body: Data) -> None:
    for item in body.get("outputs") or body.get("generations") or ():
        data = data_of(item)
        add_text(choice.text, data.get("text"))
        _take_reason(choice, data.get("stop_reason") or data.get("finish_reason"))


def _take_reason(choice: Choice, reason: Any) -> None:
    if isinstance(reason, str) and reason:
        choice.finish_reason = reason


def _known(counts: dict[str, Any]) -> dict[str, Any] | None:
    """Return the counts that are known. A stream names the prompt's in its first event, the reply's in its last."""
    return {name: count for name, count in counts.items() if count is not None} or None


_BODIES: dict[str, Callable[[Choice, Data], dict[str, Any] | None]] = {
    "outputText": _take_titan,
    "results": _take_titan,
    "generation": _take_llama,
    "outputs": _take_outputs,  # Mistral's text models
    "generations": _take_outputs,  # Cohere's first models
}
"""By the key that a body cannot lack."""
_METRICS = {
    "inputTokenCount": "inputTokens",
    "outputTokenCount": "outputTokens",
    "cacheReadInputTokenCount": "cacheReadInputTokens",
    "cacheWriteInputTokenCount": "cacheWriteInputTokens",
}


def feed_body(gathered: StreamContent, body: Data) -> bool:
    """Take in the body of one event of `invoke_model_with_response_stream`, in the words of its model."""
    found = _feed_body(gathered, _unguarded(body))
    if not GUARDRAIL.isdisjoint(body):
        take_guardrail(gathered.details, body)
        found = True
    metrics = body.get(bedrock.METRICS)
    if isinstance(metrics, dict):
        # In the last event of every model: what the model itself has said of its tokens says more.
        counts = {name: metrics[key] for key, name in _METRICS.items() if metrics.get(key) is not None}
        gathered.usage = gathered.usage or counts or None
        take_metrics(gathered.details, metrics)
    return found or isinstance(metrics, dict)


def _unguarded(body: Data) -> Data:
    """Return a body as the model itself has sent it."""
    if GUARDRAIL.isdisjoint(body):
        return body
    return {name: value for name, value in body.items() if name not in GUARDRAIL}


def _feed_body(gathered: StreamContent, body: Data) -> bool:
    if anthropic.feed(gathered, body) or bedrock.feed(gathered, body) or cohere.feed(gathered, body):
        return True
    if "choices" in body:
        return openai_chat.feed(gathered, _with_reasons(body))
    take = next((take for name, take in _BODIES.items() if name in body), None)
    if take is None:
        return False
    counts = take(gathered.choice(0), body)
    if counts:
        gathered.usage = {**(gathered.usage or {}), **counts}
    return True


def _with_reasons(body: Data) -> Data:
    """Return a chat completion with its reasons where OpenAI has them: Mistral's and DeepSeek's are `stop_reason`."""
    choices = [
        {**choice, "finish_reason": choice.get("finish_reason") or choice.get("stop_reason")}
        for choice in body.get("choices") or ()
        if isinstance(choice, dict)
    ]
    return {**{name: value for name, value in body.items() if name != bedrock.METRICS}, "choices": choices}


def read_body(body: Data, counts: dict[str, int] | None, raw: Any) -> Reply | None:
    """
    Read the body of a reply of `invoke_model`; `None` if it is of no model that is known.

    Args:
        body: Its JSON.
        counts: The tokens that the headers of the response name, `None` if they name none.
        raw: What the function returned.
    """
    whole, body = body, _unguarded(body)
    reply = anthropic.read_value(body, raw) if body.get("type") == "message" else None
    reply = reply or bedrock.read_value(body, raw) or cohere.read_value(body, raw)
    if reply is None and "choices" in body:
        body = _with_reasons(body)
        reply = openai_chat.read_value(body, body, raw)
    if reply is None:
        take = next((take for name, take in _BODIES.items() if name in body), None)
        if take is None:
            return None
        choice = Choice(0)
        usage = take(choice, body)
        reply = new_reply(None, choice, (), read_usage_and_cost(usage), {"usage_raw": usage}, raw)
    if reply._details.get("usage_raw") is None and counts:
        details = {**reply._details, "usage_raw": counts}
        # Not `reply.replace`: what a middleware changes with it is no longer the provider's.
        reply = replace(reply, usage=read_usage_and_cost(counts)[0], _details=details)
    if body is not whole and not GUARDRAIL.isdisjoint(whole):
        details = {**reply._details}
        take_guardrail(details, whole)
        reply = replace(reply, _details=details)
    return reply


def feed_reply(gathered: StreamContent, body: Data, counts: dict[str, int] | None) -> bool:
    """
    Take in the body of a reply of `invoke_model` that the caller has read; `False` if it is of no model that is known.

    Args:
        gathered: The reply so far.
        body: Its JSON.
        counts: As in `read_body`.
    """
    reply = read_body(body, counts, None)
    if reply is None:
        return False
    choice = gathered.choice(0)
    for kind in KINDS:
        add_text(getattr(choice, kind), getattr(reply, kind))
    for index, call in enumerate(reply.tool_calls):
        choice.add_tool_call({**call, "index": index})
    choice.finish_reason = reply.finish_reason
    details = {name: value for name, value in reply._details.items() if value is not None}
    gathered.usage = details.pop("usage_raw", None)
    gathered.shape = details.pop("shape", None)
    gathered.details.update(details)
    gathered.failure = reply.error
    return True


def feed(gathered: StreamContent, chunk: Any) -> bool:
    """Take one event of `invoke_model_with_response_stream` in; `False` for anything else."""
    part = chunk.get("chunk") if isinstance(chunk, dict) and len(chunk) == 1 else None
    body = json_of(part.get("bytes")) if isinstance(part, dict) else None
    return body is not None and feed_body(gathered, body)


def read_value(_data: Data, _raw: Any) -> None:
    """Return `None`: a reply of `invoke_model` is a body that the caller reads, see `feed_reply`."""
    return


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of an event with the text of a changed one, `None` if it is not an event of a text."""
    part = raw.get("chunk") if isinstance(raw, dict) else None
    body = json_of(part.get("bytes")) if isinstance(part, dict) else None
    changed = None if body is None else _render_body(body, chunk)
    return None if changed is None else replaced(raw, json_text(changed).encode(), "chunk", "bytes")


def _render_body(body: Any, chunk: Chunk) -> Any:
    """Return a body with another text, `None` where it has no place for one."""
    choices = body.get("choices")
    if isinstance(choices, list) and choices:
        is_mistral = isinstance(data_of(choices[0]).get("message"), dict)
        path = ("choices", 0, "message", "content")
        return replaced(body, chunk.text, *path) if is_mistral else chat_chunks.render_chunk(body, chunk)
    changed = bedrock.render_chunk(body, chunk) or anthropic.render_chunk(body, chunk)
    for name in ("outputText", "generation"):
        if isinstance(body.get(name), str):
            return replaced(body, chunk.text, name)
    if changed is None and isinstance(body.get("outputs"), list) and body["outputs"]:
        return replaced(body, chunk.text, "outputs", 0, "text")
    return changed
