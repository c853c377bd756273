"""
Amazon Bedrock: the requests, replies and events of `converse` and `converse_stream`.

Source of the formats: the Amazon Bedrock API reference, *Converse* and *ConverseStream*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .bedrock_items import end_block, take_block, take_delta, take_facts
from .choice import Choice, add_text, new_reply, replaced
from .chunk_changes import parts_of_call
from .fields import data_of
from .plain import says
from .tool_calls import json_text
from .usage import read_usage_and_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Chunk, Reply
    from .choice import StreamContent

    Data = Mapping[str, Any]

__all__ = [
    "KEYS",
    "facts_of_response",
    "feed",
    "json_of",
    "messages_from",
    "messages_of",
    "read_value",
    "render_chunk",
    "system_from",
    "system_of",
]


def json_of(data: Any) -> Any:
    """Return the object in the bytes or the text of a body, `None` if it is not a JSON object."""
    import json  # not with the package: few programs call Bedrock

    try:
        found = json.loads(data) if isinstance(data, str | bytes | bytearray) else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


_COUNTS = {
    "x-amzn-bedrock-input-token-count": "inputTokens",
    "x-amzn-bedrock-output-token-count": "outputTokens",
    "x-amzn-bedrock-cache-read-input-token-count": "cacheReadInputTokens",
    "x-amzn-bedrock-cache-write-input-token-count": "cacheWriteInputTokens",
}
"""Headers with the tokens of a reply of `invoke_model`, where the bodies of some models have none."""


def facts_of_response(response: Data) -> tuple[dict[str, Any], dict[str, int] | None]:
    """
    Return the details that a response has next to its answer, and the tokens that its headers name.

    Args:
        response: What a method of the client returned: a dict with `ResponseMetadata`, made by the SDK.
    """
    metadata = data_of(response.get("ResponseMetadata"))
    headers, details = data_of(metadata.get("HTTPHeaders")), {}
    if isinstance(metadata.get("RequestId"), str):
        details["response_id"] = metadata["RequestId"]
    tier = response.get("serviceTier")
    tier = data_of(tier).get("type") if isinstance(tier, dict) else tier
    if isinstance(tier, str):
        details["service_tier"] = tier
    usage = {}
    for header, name in _COUNTS.items():
        count = headers.get(header)
        if isinstance(count, str) and count.isdecimal():
            usage[name] = int(count)
    return details, usage or None


# Converse -----------------------------------------------------------------------------------------


def _take_block(choice: Choice, block: Data, index: Any) -> None:
    """Take in a block of a whole message."""
    add_text(choice.text, block.get("text"))
    add_text(choice.reasoning, data_of(data_of(block.get("reasoningContent")).get("reasoningText")).get("text"))
    for part in data_of(block.get("citationsContent")).get("content") or ():
        add_text(choice.text, data_of(part).get("text"))
    use = block.get("toolUse")
    if use is not None:
        data = data_of(use)
        value = data.get("input")
        arguments = value if isinstance(value, str) else json_text({} if value is None else value)
        _take_call(choice, data, index, arguments)


def _take_call(choice: Choice, use: Data, index: Any, arguments: Any) -> None:
    kind = use.get("type")
    head = {"type": kind} if isinstance(kind, str) and kind != "tool_use" else {}
    function = {"name": use.get("name"), "arguments": arguments}
    choice.add_tool_call({"index": index, "id": use.get("toolUseId"), **head, "function": function})


def _take_message(details: dict[str, Any], choice: Choice, message: Data) -> bool:
    """Take in a whole message; `False` if it is not of this shape."""
    content = message.get("content")
    if message.get("role") != "assistant" or not isinstance(content, list | tuple):
        return False
    for index, block in enumerate(content):
        take_block(details, choice, index, data_of(block))
        _take_block(choice, data_of(block), index)
    return True


def _on_start(_gathered: StreamContent, _event: Data) -> None:
    """Take in that a message begins: it says no more than the role."""


def _on_block_start(gathered: StreamContent, event: Data) -> None:
    start = data_of(event.get("start"))
    take_block(gathered.details, gathered.choice(0), event.get("contentBlockIndex"), start)
    use = start.get("toolUse")
    if use is not None:
        _take_call(gathered.choice(0), data_of(use), event.get("contentBlockIndex"), "")


def _on_block_delta(gathered: StreamContent, event: Data) -> None:
    delta, choice = data_of(event.get("delta")), gathered.choice(0)
    take_delta(gathered.details, choice, event.get("contentBlockIndex"), delta)
    add_text(choice.text, delta.get("text"))
    add_text(choice.reasoning, data_of(delta.get("reasoningContent")).get("text"))
    use = delta.get("toolUse")
    if use is not None:
        piece = data_of(use).get("input")
        said = piece if isinstance(piece, str) else json_text(piece)
        choice.add_tool_call({"index": event.get("contentBlockIndex"), "function": {"arguments": said}})


def _on_block_stop(gathered: StreamContent, _event: Data) -> None:
    end_block(gathered.details, gathered.choice(0))


def _on_stop(gathered: StreamContent, event: Data) -> None:
    reason = event.get("stopReason")
    if isinstance(reason, str):
        gathered.choice(0).finish_reason = reason
    take_facts(gathered.details, event)


def _on_metadata(gathered: StreamContent, event: Data) -> None:
    take_facts(gathered.details, event)
    if event.get("usage") is not None:
        gathered.usage = event.get("usage")
    tier = data_of(event.get("serviceTier")).get("type")
    if isinstance(tier, str):
        gathered.details["service_tier"] = tier


_EVENTS: dict[str, Callable[[StreamContent, Data], None]] = {
    "messageStart": _on_start,
    "contentBlockStart": _on_block_start,
    "contentBlockDelta": _on_block_delta,
    "contentBlockStop": _on_block_stop,
    "messageStop": _on_stop,
    "metadata": _on_metadata,
}


KEYS = frozenset({*_EVENTS, "stopReason"})
"""See `formats`."""
METRICS = "amazon-bedrock-invocationMetrics"
"""Key next to the last event of a model that `invoke_model_with_response_stream` passes on."""


def feed(gathered: StreamContent, chunk: Any) -> bool:
    """Take one event of `converse_stream` in; `False` for anything else."""
    # Each event is a dict with one key. Hand-written generators use `metadata` too, for events of their own.
    if not isinstance(chunk, dict) or len(chunk) != 1 + (METRICS in chunk):
        return False
    name = next(iter(chunk))
    handle, event = _EVENTS.get(name), chunk[name]
    if handle is None or not isinstance(event, dict) or (name == "metadata" and "usage" not in event):
        return False
    if name != "contentBlockDelta" and says(event):
        return False  # a program's own, which has its text itself
    handle(gathered, event)
    return True


def read_value(data: Data, raw: Any) -> Reply | None:
    """
    Read a reply of `converse`, or a body of Nova's; `None` if it is not of this shape.

    Args:
        data: The fields of the reply.
        raw: What the function returned.
    """
    choice, reason, usage = Choice(0), data.get("stopReason"), data.get("usage")
    details, _ = facts_of_response(data)
    if not _take_message(details, choice, data_of(data_of(data.get("output")).get("message"))):
        return None
    choice.finish_reason = reason if isinstance(reason, str) else None
    end_block(details, choice)
    take_facts(details, data)
    return new_reply(None, choice, (), read_usage_and_cost(usage), {**details, "usage_raw": usage}, raw)


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of an event with the text of a changed one, `None` if it is not an event of a text."""
    event = raw.get("contentBlockDelta") if isinstance(raw, dict) else None
    delta = data_of(data_of(event).get("delta"))
    if isinstance(delta.get("text"), str):
        return replaced(raw, chunk.text, "contentBlockDelta", "delta", "text")
    if isinstance(data_of(delta.get("reasoningContent")).get("text"), str):
        return replaced(raw, chunk.reasoning, "contentBlockDelta", "delta", "reasoningContent", "text")
    if isinstance(data_of(delta.get("toolUse")).get("input"), str):
        said = parts_of_call(chunk.tool_calls[0]) if chunk.tool_calls else {"arguments": ""}
        return replaced(raw, said["arguments"] or "", "contentBlockDelta", "delta", "toolUse", "input")
    return None


# Requests. ------------------------------------------------------------------------------------------


def messages_of(given: Any) -> Any:
    """Return the messages of a request as they are: their contents are lists of blocks."""
    return given


def system_of(given: Any) -> Any:
    """Return the system text as it is, a list of blocks."""
    return given


def system_from(content: Any) -> Any:
    """Return the content of a system message as a list of blocks."""
    return [_block_from(part) for part in ([content] if isinstance(content, str) else content)]


def messages_from(messages: Any) -> Any:
    """Return messages whose contents are lists of blocks; texts, and parts of a chat, become such."""
    return [
        {**one, "content": system_from(one.get("content"))} if isinstance(one, dict) and _is_chat(one) else one
        for one in messages
    ]


def _is_chat(message: dict[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, str) or (isinstance(content, list) and any(_is_part(part) for part in content))


def _is_part(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and part.get("type") == "text")


def _block_from(part: Any) -> Any:
    if isinstance(part, str):
        return {"text": part}
    return {"text": part.get("text")} if _is_part(part) else part
