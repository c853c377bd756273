"""
Cohere's chat API, version 2, and version 1 with its events.

Sources of the formats: Cohere's API reference, *Chat* and *Chat with streaming* of both versions. In
version 2 the plan before tool calls (`tool_plan`) is recorded as reasoning.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ...errors import ProviderError
from .choice import Choice, add_text, new_reply, replaced
from .cohere_items import add_documents, begin_block, take_citations, take_logprobs, take_search
from .fields import data_of, fields_of
from .plain import says
from .tool_calls import json_text
from .usage import read_usage_and_cost
from .wire import input_of, replayed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Call, Chunk, Reply
    from .choice import StreamContent

    Data = Mapping[str, Any]

__all__ = ["KEYS", "feed", "messages_from", "messages_of", "read_value", "render", "render_chunk"]

KEYS = frozenset({"type", "event_type", "message", "generation_id"})
"""See `formats`."""

_TEXTS = (("text", "text"), ("thinking", "reasoning"))
"""Keys of a block of content, and which kind of text each holds."""


def _data(obj: Any) -> Data:
    """Return the fields of an object; of the SDK's models also those that a class does not declare."""
    found = fields_of(obj)
    return found if type(found) is dict else data_of(obj)


# Version 2 ----------------------------------------------------------------------------------------


def _take_block(choice: Choice, block: Any) -> None:
    data = _data(block)
    for name, kind in _TEXTS:
        add_text(getattr(choice, kind), data.get(name))


def _take_call(choice: Choice, call: Any, index: Any) -> None:
    data = _data(call)
    function = _data(data.get("function"))
    said = {"name": function.get("name"), "arguments": function.get("arguments")}
    choice.add_tool_call({"index": index, "id": data.get("id"), "function": said})


def _take_message(details: dict[str, Any], choice: Choice, message: Data) -> bool:
    """Take in a whole message; `False` if it is not of this shape."""
    content = message.get("content")
    if message.get("role") != "assistant":
        return False
    add_text(choice.reasoning, message.get("tool_plan"))
    if isinstance(content, str):
        add_text(choice.text, content)
    for place, block in enumerate(content if isinstance(content, list | tuple) else ()):
        begin_block(details, choice, place)
        _take_block(choice, block)
    take_citations(details, choice, message.get("citations"))
    for index, call in enumerate(message.get("tool_calls") or ()):
        _take_call(choice, call, index)
    return True


def _take_end(gathered: StreamContent, end: Data) -> None:
    reason, error = end.get("finish_reason"), end.get("error")
    if isinstance(reason, str):
        gathered.choice(0).finish_reason = reason
    if end.get("usage") is not None:
        gathered.usage = end.get("usage")
    if isinstance(error, str) and error:
        gathered.failure = ProviderError(error)


def _on_start(gathered: StreamContent, event: Data) -> None:
    _take_id(gathered, event)


def _on_block(gathered: StreamContent, event: Data) -> None:
    begin_block(gathered.details, gathered.choice(0), event.get("index"))
    _on_content(gathered, event)


def _on_citation(gathered: StreamContent, event: Data) -> None:
    given = _data(_data(event.get("delta")).get("message")).get("citations")
    take_citations(gathered.details, gathered.choice(0), given)


def _on_content(gathered: StreamContent, event: Data) -> None:
    # The SDK sends the first block with an empty text; a server may put the first piece there.
    _take_block(gathered.choice(0), _data(_data(event.get("delta")).get("message")).get("content"))
    if event.get("logprobs") is not None:
        take_logprobs(gathered.details, event["logprobs"])


def _on_plan(gathered: StreamContent, event: Data) -> None:
    delta = _data(event.get("delta"))
    message = _data(delta.get("message"))
    add_text(gathered.choice(0).reasoning, message.get("tool_plan") or delta.get("tool_plan"))


def _on_tool_call(gathered: StreamContent, event: Data) -> None:
    calls = _data(_data(event.get("delta")).get("message")).get("tool_calls")
    # One call and not a list, in spite of its name.
    for call in calls if isinstance(calls, list | tuple) else (calls,):
        _take_call(gathered.choice(0), call, event.get("index"))


def _on_end(gathered: StreamContent, event: Data) -> None:
    _take_id(gathered, event)
    _take_end(gathered, _data(event.get("delta")))


def _take_id(gathered: StreamContent, event: Data) -> None:
    if isinstance(event.get("id"), str):
        gathered.details["response_id"] = event.get("id")


_EVENTS: dict[str, Callable[[StreamContent, Data], None] | None] = {
    "message-start": _on_start,
    "content-start": _on_block,
    "content-delta": _on_content,
    "tool-plan-delta": _on_plan,
    "tool-call-start": _on_tool_call,
    "tool-call-delta": _on_tool_call,
    "message-end": _on_end,
    "citation-start": _on_citation,
    **dict.fromkeys(("content-end", "tool-call-end", "citation-end", "debug")),
}


# Version 1 ----------------------------------------------------------------------------------------


def _take_v1_call(choice: Choice, call: Any) -> None:
    data = _data(call)
    said = {"name": data.get("name"), "arguments": json_text(_plain(data.get("parameters")))}
    choice.add_tool_call({"index": len(choice.tools), "function": said})


def _plain(value: Any) -> Any:
    return {} if value is None else value


def _take_v1(choice: Choice, reply: Data) -> None:
    add_text(choice.text, reply.get("text"))
    for call in reply.get("tool_calls") or ():
        _take_v1_call(choice, call)
    reason = reply.get("finish_reason")
    choice.finish_reason = reason if isinstance(reason, str) else None


def _v1_details(reply: Data) -> dict[str, Any]:
    ident = reply.get("response_id") or reply.get("generation_id")
    return {"response_id": ident} if isinstance(ident, str) else {}


def _v1_usage(reply: Data) -> dict[str, Any] | None:
    """Return the counts among the facts of a reply, whose object has those of the whole request next to them."""
    meta = _data(reply.get("meta"))
    found = {name: meta[name] for name in ("tokens", "billed_units", "cached_tokens") if meta.get(name) is not None}
    return found or None


def _on_v1_text(gathered: StreamContent, event: Data) -> None:
    add_text(gathered.choice(0).text, event.get("text"))


def _on_v1_end(gathered: StreamContent, event: Data) -> None:
    # The last event has the whole reply once more: it fills in what no event said before.
    reply, choice, whole = _data(event.get("response")), gathered.choice(0), Choice(0)
    if not gathered.is_single:
        _take_v1(whole, reply)
    choice.text = choice.text or whole.text
    choice.tools = choice.tools or whole.tools
    add_documents(gathered.details, reply.get("documents"))
    take_search(gathered.details, choice, reply.get("search_results"))
    take_citations(gathered.details, choice, reply.get("citations"))
    reason = event.get("finish_reason") or reply.get("finish_reason")
    choice.finish_reason = reason if isinstance(reason, str) else None
    gathered.usage = _v1_usage(reply) or gathered.usage
    gathered.details.update(_v1_details(reply))


def _on_v1_results(gathered: StreamContent, event: Data) -> None:
    add_documents(gathered.details, event.get("documents"))
    take_search(gathered.details, gathered.choice(0), event.get("search_results"))


def _on_v1_citations(gathered: StreamContent, event: Data) -> None:
    take_citations(gathered.details, gathered.choice(0), event.get("citations"))


def _on_v1_calls(gathered: StreamContent, event: Data) -> None:
    for call in event.get("tool_calls") or ():
        _take_v1_call(gathered.choice(0), call)


def _on_v1_start(gathered: StreamContent, event: Data) -> None:
    gathered.details.update(_v1_details(event))


_V1_EVENTS: dict[str, Callable[[StreamContent, Data], None] | None] = {
    "stream-start": _on_v1_start,
    "text-generation": _on_v1_text,
    "tool-calls-generation": _on_v1_calls,
    "stream-end": _on_v1_end,
    "search-results": _on_v1_results,
    "citation-generation": _on_v1_citations,
    **dict.fromkeys(("search-queries-generation", "tool-calls-chunk", "debug")),
}
"""`tool-calls-chunk` says in pieces what `tool-calls-generation` says whole."""
_OF_V1_EVENTS = frozenset(
    (
        *("is_finished", "generation_id", "response", "tool_calls", "tool_call_delta", "citations", "documents"),
        *("search_queries", "search_results", "prompt"),
    )
)
"""Of the events of version 1 that are no texts each has one of these keys, with a value that is not a text."""


def _is_own(events: Any, kind: str, data: Data) -> bool:
    """Return True if an event is one of a program's own that has such a type: its text is in the event itself."""
    if kind == "text-generation" or not says(data):
        return False
    return events is _EVENTS or all(isinstance(data.get(name), str | None) for name in _OF_V1_EVENTS)


def feed(gathered: StreamContent, chunk: Any) -> bool:
    """Take one event in; `False` if it is not of this shape."""
    data = _data(chunk)
    for key, events in (("type", _EVENTS), ("event_type", _V1_EVENTS)):
        kind = data.get(key)
        if isinstance(kind, str) and kind in events and not _is_own(events, kind, data):
            handle = events[kind]
            if handle is not None:
                handle(gathered, data)
            return True
    return False


def read_value(data: Data, raw: Any) -> Reply | None:
    """
    Read a whole reply of either version; `None` if it is not of this shape.

    Args:
        data: The fields of the reply.
        raw: What the function returned.
    """
    choice = Choice(0)
    details: dict[str, Any] = {}
    message = data.get("message")
    if message is not None and "finish_reason" in data:
        if not _take_message(details, choice, _data(message)):
            return None
        take_logprobs(details, data.get("logprobs"))
        usage, details["response_id"] = data.get("usage"), data.get("id")
        reason = data.get("finish_reason")
        choice.finish_reason = reason if isinstance(reason, str) else None
    elif "generation_id" in data and isinstance(data.get("text"), str):
        _take_v1(choice, data)
        add_documents(details, data.get("documents"))
        take_search(details, choice, data.get("search_results"))
        take_citations(details, choice, data.get("citations"))
        usage = _v1_usage(data)
        details.update(_v1_details(data))
    else:
        return None
    return new_reply(None, choice, (), read_usage_and_cost(usage), {**details, "usage_raw": usage}, raw)


def messages_of(given: Any) -> Any:
    """Return the messages of a request of version 2, which are those of any chat."""
    return given


def messages_from(messages: Any) -> Any:
    """Return messages as version 2 takes them."""
    return messages


# Replies that a middleware made. ----------------------------------------------------------------------

_ID = "moa-middleware"


def _counts(reply: Reply) -> dict[str, Any] | None:
    usage = reply.usage
    return None if usage is None else {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def _said_v1(reply: Reply) -> dict[str, Any]:
    calls = [{"name": one["function"]["name"], "parameters": input_of(one)} for one in reply.tool_calls]
    said = {"text": reply.text or "", "generation_id": _ID, "response_id": _ID, "tool_calls": calls or None}
    return {**said, "finish_reason": reply.finish_reason or "COMPLETE", "meta": {"tokens": _counts(reply)}}


def _events_v1(reply: Reply) -> list[dict[str, Any]]:
    whole = _said_v1(reply)
    events: list[dict[str, Any]] = [{"event_type": "stream-start", "generation_id": _ID}]
    if reply.text:
        events.append({"event_type": "text-generation", "text": reply.text})
    if whole["tool_calls"]:
        events.append({"event_type": "tool-calls-generation", "tool_calls": whole["tool_calls"]})
    end = {"event_type": "stream-end", "finish_reason": whole["finish_reason"], "response": whole}
    return [*events, end]


def _blocks(reply: Reply) -> list[dict[str, Any]]:
    found = [("thinking", reply.reasoning), ("text", reply.text or reply.refusal)]
    return [{"type": kind, kind: text} for kind, text in found if text]


def _calls(reply: Reply) -> list[dict[str, Any]]:
    return [{**one, "id": one["id"] or f"{_ID}-call-{index}"} for index, one in enumerate(reply.tool_calls)]


def _end(reply: Reply) -> dict[str, Any]:
    counts = _counts(reply)
    reason = reply.finish_reason or ("TOOL_CALL" if reply.tool_calls else "COMPLETE")
    return {"finish_reason": reason, "usage": None if counts is None else {"tokens": counts}}


def _said(reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": _blocks(reply), "tool_calls": _calls(reply) or None}
    return {"id": _ID, "message": message, **_end(reply)}


def _events(reply: Reply) -> list[dict[str, Any]]:
    def event(kind: str, index: int, message: dict[str, Any]) -> dict[str, Any]:
        return {"type": kind, "index": index, "delta": {"message": message}}

    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    events: list[dict[str, Any]] = [{"type": "message-start", "id": _ID, "delta": {"message": start}}]
    for index, block in enumerate(_blocks(reply)):
        kind = block["type"]
        events += [
            event("content-start", index, {"content": {"type": kind, kind: ""}}),
            event("content-delta", index, {"content": {kind: block[kind]}}),
            {"type": "content-end", "index": index},
        ]
    for index, call in enumerate(_calls(reply)):
        events += [event("tool-call-start", index, {"tool_calls": call}), {"type": "tool-call-end", "index": index}]
    return [*events, {"type": "message-end", "id": _ID, "delta": _end(reply)}]


def render(reply: Reply, call: Call, *, is_async: bool) -> Any:
    """
    Return a reply that a middleware made as the SDK's own object, for a stream as its events.

    Args:
        reply: The reply.
        call: The call that it answers.
        is_async: Whether a stream is to be an async one.
    """
    is_v1 = call._binding.messages != "messages"
    kinds = ("NonStreamedChatResponse", "StreamedChatResponse") if is_v1 else ("V2ChatResponse", "V2ChatStreamResponse")
    # As the SDK makes them of a body: its classes check nothing, and a stream's are a union.
    make, cohere = sys.modules["cohere.core.unchecked_base_model"].construct_type, sys.modules["cohere"]
    if not call.stream:
        return make(type_=getattr(cohere, kinds[0]), object_=(_said_v1 if is_v1 else _said)(reply))
    events = (_events_v1 if is_v1 else _events)(reply)
    return replayed([make(type_=getattr(cohere, kinds[1]), object_=event) for event in events], is_async=is_async)


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of an event with the text of a changed one, `None` if it is not an event of a text."""
    event = _data(raw)
    if event.get("event_type") == "text-generation":
        return replaced(raw, chunk.text, "text")
    if event.get("type") not in ("content-start", "content-delta"):
        return None
    block = _data(_data(_data(event.get("delta")).get("message")).get("content"))
    for name, kind in _TEXTS:
        if isinstance(block.get(name), str):
            return replaced(raw, getattr(chunk, kind), "delta", "message", "content", name)
    return None
