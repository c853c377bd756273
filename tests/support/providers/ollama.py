"""Ollama's SDK on a mock transport."""

from __future__ import annotations

import contextlib
import json

import httpx

from ..loopback import Answer
from . import ASKED, CALLS, INPUT, OUTPUT, PIECES, REASONING, SYSTEM, TEXT, Form, Provider
from .http import async_transport, transport

MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASKED}]
OPTIONS = {"temperature": 0.5}
CHAT = {"model": "m", "messages": MESSAGES, "options": OPTIONS, "think": True}
GENERATE = {"model": "m", "prompt": ASKED, "system": SYSTEM, "options": OPTIONS}
HEAD = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}
END = {
    **HEAD,
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": INPUT,
    "eval_count": OUTPUT,
    "total_duration": 9,
}


def _messages():
    yield {"thinking": REASONING, "content": ""}
    yield from ({"content": piece} for piece in PIECES)
    for name, arguments in CALLS:
        yield {"content": "", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}


def answer(path, asked):
    """Return the answer to a request: one object, or a line for each part."""
    if path == "/api/chat":
        calls = [{"function": {"name": name, "arguments": arguments}} for name, arguments in CALLS]
        message = {"role": "assistant", "content": TEXT, "thinking": REASONING, "tool_calls": calls}
        whole = {**END, "message": message}
        parts = [{**HEAD, "done": False, "message": {"role": "assistant", **part}} for part in _messages()]
        parts.append({**END, "message": {"role": "assistant", "content": ""}})
    else:
        whole = {**END, "response": TEXT, "thinking": REASONING}
        parts = [{**HEAD, "done": False, "response": "", "thinking": REASONING}]
        parts += [{**HEAD, "done": False, "response": piece} for piece in PIECES]
        parts.append({**END, "response": ""})
    if not asked["stream"]:
        return Answer([json.dumps(whole).encode()])
    return Answer([json.dumps(part).encode() + b"\n" for part in parts], kind="application/x-ndjson")


def refuses(_path, _asked):
    """Return an error, as the server words it."""
    return Answer([b'{"error": "model \'m\' not found"}'], status=404)


def truth(path, asked, pieces):
    """Return what the bytes say."""
    said = {"output": "", "reasoning": "", "tool_calls": [], "finish_reason": None, "response_model": None}
    counts = {}
    for line in b"".join(pieces).splitlines():
        part = json.loads(line)
        holder = part["message"] if path == "/api/chat" else part
        said["output"] += holder.get("content") or holder.get("response") or ""
        said["reasoning"] += holder.get("thinking") or ""
        said["tool_calls"] += [
            (c["function"]["name"], c["function"]["arguments"]) for c in holder.get("tool_calls", ())
        ]
        said["finish_reason"] = part.get("done_reason")
        said["response_model"] = part["model"]
        counts = {"input_tokens": part.get("prompt_eval_count"), "output_tokens": part.get("eval_count")}
    messages = asked["messages"] if path == "/api/chat" else MESSAGES
    shown = [{name: message[name] for name in ("role", "content")} for message in messages]
    return {**said, "usage": counts, "model": asked["model"], "input_messages": shown}


@contextlib.contextmanager
def connect(answer, *, is_async=False):
    """Give a client whose requests are answered here."""
    import ollama

    if is_async:
        yield ollama.AsyncClient(host="http://mock", transport=async_transport(answer), trust_env=False)
        return
    client = ollama.Client(host="http://mock", transport=transport(answer), trust_env=False)
    # The functions of the module are methods of a client of its own, made when it is imported.
    own, former = ollama.chat.__self__, ollama.chat.__self__._client
    own._client = httpx.Client(transport=transport(answer), base_url="http://mock", trust_env=False)
    try:
        yield client
    finally:
        own._client = former


def _module(name):
    def ask(_client, **kwargs):
        import ollama

        return getattr(ollama, name)(**kwargs)

    return ask


def _chat_text(value):
    return value.message.content or ""


def _forms():
    for is_async in (False, True):
        for streamed in (False, True):
            kind = f"{'async_' if is_async else ''}{'stream' if streamed else 'value'}"
            for name, request, text in (
                ("chat", CHAT, _chat_text),
                ("generate", GENERATE, lambda value: value.response),
            ):
                given = {**request, "stream": True} if streamed else request
                params = {key: request[key] for key in ("options", "think") if key in request}

                def ask(client, name=name, given=given):
                    return getattr(client, name)(**given)

                yield Form(f"{name}_{kind}", ask, is_async, streamed, text, params=params)
                if not is_async:
                    yield Form(
                        f"module_{name}_{kind}",
                        lambda client, name=name, given=given: _module(name)(client, **given),
                        is_async,
                        streamed,
                        text,
                        params=params,
                    )


PROVIDER = Provider("ollama", "ollama", "ollama", tuple(_forms()), connect, answer, truth, refuses)
