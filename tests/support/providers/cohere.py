"""Cohere's SDK on a mock transport: both versions of its chat."""

from __future__ import annotations

import contextlib
import json

import httpx

from ..loopback import Answer
from . import ASKED, CACHED, CALLS, INPUT, OUTPUT, PIECES, REASONING, SYSTEM, TEXT, Form, Provider
from .http import async_transport, transport

MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASKED}]
V2 = {"model": "m", "messages": MESSAGES, "temperature": 0.5, "p": 0.9}
V1 = {"model": "m", "message": ASKED, "preamble": SYSTEM, "temperature": 0.5}
COUNTS = {"input_tokens": INPUT, "output_tokens": OUTPUT}
USAGE = {"billed_units": {"input_tokens": 9, "output_tokens": OUTPUT}, "tokens": COUNTS, "cached_tokens": CACHED}


def _calls():
    return [
        {"id": f"c{index}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for index, (name, arguments) in enumerate(CALLS)
    ]


def _whole_v2():
    content = [{"type": "thinking", "thinking": REASONING}, {"type": "text", "text": TEXT}]
    message = {"role": "assistant", "content": content, "tool_calls": _calls()}
    return {"id": "r1", "finish_reason": "TOOL_CALL", "message": message, "usage": USAGE}


def _event(kind, message=None, **fields):
    return {"type": kind, **({"delta": {"message": message}} if message is not None else {}), **fields}


def _events_v2():
    yield _event("message-start", {"role": "assistant", "content": [], "tool_calls": []}, id="r1")
    yield _event("content-start", {"content": {"type": "thinking", "thinking": ""}}, index=0)
    yield _event("content-delta", {"content": {"thinking": REASONING}}, index=0)
    yield _event("content-end", index=0)
    yield _event("content-start", {"content": {"type": "text", "text": ""}}, index=1)
    yield from (_event("content-delta", {"content": {"text": piece}}, index=1) for piece in PIECES)
    yield _event("content-end", index=1)
    for index, call in enumerate(_calls()):
        arguments = call["function"]["arguments"]
        head = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield _event("tool-call-start", {"tool_calls": head}, index=index)
        for piece in (arguments[:5], arguments[5:]):
            yield _event("tool-call-delta", {"tool_calls": {"function": {"arguments": piece}}}, index=index)
        yield _event("tool-call-end", index=index)
    yield {"type": "message-end", "id": "r1", "delta": {"finish_reason": "TOOL_CALL", "usage": USAGE}}


def _whole_v1():
    calls = [{"name": name, "parameters": arguments} for name, arguments in CALLS]
    head = {"response_id": "r1", "generation_id": "g1", "text": TEXT, "finish_reason": "COMPLETE"}
    return {**head, "tool_calls": calls, "meta": {"tokens": COUNTS, "billed_units": USAGE["billed_units"]}}


def _events_v1():
    yield {"event_type": "stream-start", "generation_id": "g1", "is_finished": False}
    yield from ({"event_type": "text-generation", "text": piece, "is_finished": False} for piece in PIECES)
    calls = _whole_v1()["tool_calls"]
    yield {"event_type": "tool-calls-generation", "tool_calls": calls, "is_finished": False}
    yield {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": _whole_v1(), "is_finished": True}


def answer(path, asked):
    """Return the answer to a request: one object, or events."""
    is_v2 = path == "/v2/chat"
    if not asked.get("stream"):
        return Answer([json.dumps(_whole_v2() if is_v2 else _whole_v1()).encode()])
    if is_v2:
        frames = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in _events_v2()]
        return Answer(frames, kind="text/event-stream")
    return Answer([json.dumps(event).encode() + b"\n" for event in _events_v1()], kind="application/stream+json")


def refuses(_path, _asked):
    """Return an error, as the server words it."""
    return Answer([b'{"message": "invalid request: no such model"}'], status=400)


def _objects(pieces):
    for line in b"".join(pieces).decode().splitlines():
        text = line.removeprefix("data: ")
        if text.startswith("{"):
            yield json.loads(text)


def truth(path, asked, pieces):
    """Return what the bytes say."""
    return (_truth_v2 if path == "/v2/chat" else _truth_v1)(asked, list(_objects(pieces)))


def _truth_v2(asked, objects):
    blocks, calls, reason, ident, usage = [], {}, None, None, {}
    for one in objects:
        end = one.get("delta", {}) if one.get("type") == "message-end" else one
        reason, usage = end.get("finish_reason", reason), end.get("usage", usage)
        ident = one.get("id", ident)
        message = one.get("message") or one.get("delta", {}).get("message") or {}
        content = message.get("content") or []
        blocks += content if isinstance(content, list) else [content]
        found = message.get("tool_calls") or []
        for place, call in enumerate(found if isinstance(found, list) else [found]):
            function = call["function"]
            head = calls.setdefault(one.get("index", place), [function.get("name"), ""])
            head[1] += function["arguments"]
    read, cached = usage["tokens"]["input_tokens"], usage["cached_tokens"]
    return {
        "output": "".join(block.get("text", "") for block in blocks),
        "reasoning": "".join(block.get("thinking", "") for block in blocks),
        "tool_calls": [(name, json.loads(arguments)) for name, arguments in calls.values()],
        "finish_reason": reason,
        "response_id": ident,
        # The cached part is counted apart.
        "usage": {**usage["tokens"], "input_tokens": read - cached, "cache_read_tokens": cached},
        "model": asked["model"],
        "input_messages": asked["messages"],
    }


def _truth_v1(asked, objects):
    last = objects[-1].get("response", objects[-1])
    return {
        "output": last["text"],
        "reasoning": None,
        "tool_calls": [(call["name"], call["parameters"]) for call in last["tool_calls"]],
        "finish_reason": last["finish_reason"],
        "response_id": last["response_id"],
        "usage": last["meta"]["tokens"],
        "model": asked["model"],
        "input_messages": [
            {"role": "system", "content": asked["preamble"]},
            {"role": "user", "content": asked["message"]},
        ],
    }


@contextlib.contextmanager
def connect(answer, *, is_async=False, version=2):
    """Give a client whose requests are answered here."""
    import cohere

    make = getattr(cohere, f"{'Async' if is_async else ''}Client{'V2' if version == 2 else ''}")
    if is_async:
        http = httpx.AsyncClient(transport=async_transport(answer), trust_env=False)
    else:
        http = httpx.Client(transport=transport(answer), trust_env=False)
    yield make(api_key="canary-key", base_url="http://mock", httpx_client=http, max_retries=0)


def _piece(event):
    content = event.delta.message.content if event.type in ("content-start", "content-delta") else None
    return getattr(content, "text", None) or ""


def _whole_text(value):
    return "".join(getattr(block, "text", "") for block in value.message.content)


def _form(name, request, params, text, *, is_async, streamed):
    def ask(client):
        return getattr(client, "chat_stream" if streamed else "chat")(**request)

    return Form(name, ask, is_async, streamed, text, params=params)


def _forms(version, request, params, text, piece):
    for is_async in (False, True):
        for streamed in (False, True):
            name = f"v{version}_{'async_' if is_async else ''}{'stream' if streamed else 'value'}"
            yield _form(name, request, params, piece if streamed else text, is_async=is_async, streamed=streamed)


FORMS_V2 = tuple(_forms(2, V2, {"temperature": 0.5, "p": 0.9}, _whole_text, _piece))
FORMS_V1 = tuple(
    _forms(
        1,
        V1,
        {"temperature": 0.5},
        lambda value: value.text,
        lambda event: event.text if event.event_type == "text-generation" else "",
    )
)
PROVIDER = Provider("cohere", "cohere", "cohere", FORMS_V2, connect, answer, truth, refuses)


@contextlib.contextmanager
def _connect_v1(answer, *, is_async=False):
    with connect(answer, is_async=is_async, version=1) as client:
        yield client


PROVIDER_V1 = PROVIDER._replace(forms=FORMS_V1, connect=_connect_v1)
