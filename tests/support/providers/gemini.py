"""Google's SDK for Gemini, on a mock transport."""

from __future__ import annotations

import contextlib
import json
import ssl

from ..loopback import Answer
from . import ASKED, CACHED, CALLS, INPUT, OUTPUT, PIECES, REASONING, SYSTEM, Form, Provider
from .http import async_transport, transport

THOUGHT = 2
"""Tokens of the output that are reasoning; Gemini counts them apart."""


def _usage(output):
    return {
        "promptTokenCount": INPUT,
        "cachedContentTokenCount": CACHED,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": THOUGHT,
        "totalTokenCount": INPUT + output + THOUGHT,
    }


def _reply(*parts, output, finish=None):
    candidate = {"index": 0, "content": {"role": "model", "parts": [*parts]}}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(output),
        "modelVersion": "gemini-x-001",
        "responseId": "r1",
    }


def answer(path, _asked):
    """Return the answer to a request: an object, or an event for each chunk, with counts that grow."""
    thought = {"text": REASONING, "thought": True}
    calls = [{"functionCall": {"name": name, "args": arguments}} for name, arguments in CALLS]
    if "streamGenerateContent" not in path:
        whole = _reply(thought, *({"text": piece} for piece in PIECES), *calls, output=OUTPUT, finish="STOP")
        return Answer([json.dumps(whole).encode()])
    chunks = [_reply(thought, output=0), *(_reply({"text": piece}, output=1 + at) for at, piece in enumerate(PIECES))]
    chunks += [_reply(calls[0], output=3), _reply(calls[1], output=OUTPUT, finish="STOP")]
    return Answer([b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks], "text/event-stream")


def refuses(_path, _asked):
    """Return an error, as the API words it."""
    error = {"code": 404, "message": "models/m is not found", "status": "NOT_FOUND"}
    return Answer([json.dumps({"error": error}).encode()], status=404)


def truth(path, asked, pieces):
    """Return what the bytes say."""
    said = {"output": "", "reasoning": "", "tool_calls": [], "finish_reason": None}
    counts = {}
    body = b"".join(pieces)
    events = [line[6:] for line in body.split(b"\r\n\r\n") if line] if body.startswith(b"data: ") else [body]
    for event in map(json.loads, events):
        [candidate] = event["candidates"]
        for part in candidate["content"]["parts"]:
            if "functionCall" in part:
                said["tool_calls"].append((part["functionCall"]["name"], part["functionCall"]["args"]))
            else:
                said["reasoning" if part.get("thought") else "output"] += part["text"]
        said["finish_reason"] = candidate.get("finishReason")
        said |= {"response_id": event["responseId"], "response_model": event["modelVersion"]}
        usage = event["usageMetadata"]
        counts = {
            "input_tokens": usage["promptTokenCount"] - usage["cachedContentTokenCount"],
            "cache_read_tokens": usage["cachedContentTokenCount"],
            "output_tokens": usage["candidatesTokenCount"] + usage["thoughtsTokenCount"],
            "reasoning_tokens": usage["thoughtsTokenCount"],
        }
    shown = [{"role": "system", "content": [{"text": part["text"]} for part in asked["systemInstruction"]["parts"]]}]
    for content in asked["contents"]:
        role = {"model": "assistant"}.get(content["role"], content["role"])
        shown.append({"role": role, "content": [{"text": part["text"]} for part in content["parts"]]})
    model = path.partition("/models/")[2].partition(":")[0]
    return {**said, "usage": counts, "model": model, "input_messages": shown}


@contextlib.contextmanager
def connect(answer, *, is_async=False, vertexai=False):
    """Give a client of either of Google's APIs whose requests are answered here; the async one is its `aio`."""
    from google import genai

    # No authorities: to load them takes a tenth of a second, and nothing is encrypted here.
    args = {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "trust_env": False}
    options = {"base_url": "http://mock", "client_args": {**args, "transport": transport(answer)}}
    options["async_client_args"] = {**args, "transport": async_transport(answer)}
    client = genai.Client(api_key="canary-key", vertexai=vertexai, http_options=options)
    yield client.aio if is_async else client


CONFIG = {"system_instruction": SYSTEM, "temperature": 0.5, "thinking_config": {"include_thoughts": True}}
PARAMS = {"temperature": 0.5}


def _dicts():
    return {"model": "m", "contents": [{"role": "user", "parts": [{"text": ASKED}]}], "config": CONFIG}


def _objects():
    from google.genai import types

    history = [types.Content(role="user", parts=[types.Part(text="hello")])]
    history += [types.Content(role="model", parts=[types.Part(text="hi")]), types.UserContent(parts=[ASKED])]
    return {"model": "m", "contents": history, "config": types.GenerateContentConfig(**CONFIG)}


def _text():
    return {"model": "m", "contents": ASKED, "config": CONFIG}


def _text_of(value):
    """Join the texts of the parts: `value.text` warns where there are other parts."""
    parts = value.candidates[0].content.parts or ()
    return "".join(part.text for part in parts if part.text and not part.thought)


def _chat(client):
    return client.chats.create(model="m", config=CONFIG)


def _forms():
    for is_async in (False, True):
        for streamed in (False, True):
            world = "async_" if is_async else ""
            name = "generate_content_stream" if streamed else "generate_content"
            for words, given in (("text", _text), ("dicts", _dicts), ("objects", _objects)):

                def ask(client, name=name, given=given):
                    return getattr(client.models, name)(**given())

                yield Form(f"{world}{name}_{words}", ask, is_async, streamed, _text_of, params=PARAMS)

            method = "send_message_stream" if streamed else "send_message"

            def send(client, method=method):
                return getattr(_chat(client), method)(ASKED)

            yield Form(f"{world}chat_{method}", send, is_async, streamed, _text_of, params=PARAMS)


PROVIDER = Provider("google.genai", "google-genai", "google", tuple(_forms()), connect, answer, truth, refuses)
