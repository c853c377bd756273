"""Answers in the form of OpenAI's chat completions, for SDKs that have it in classes of their own."""

from __future__ import annotations

import json

from ..loopback import Answer
from . import ASKED, CACHED, CALLS, INPUT, OUTPUT, PIECES, REASONING, SYSTEM, TEXT

MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASKED}]
HEAD = {"id": "r1", "created": 1, "model": "m-001", "system_fingerprint": "f1"}
USAGE = {
    "prompt_tokens": INPUT,
    "completion_tokens": OUTPUT,
    "total_tokens": INPUT + OUTPUT,
    "prompt_tokens_details": {"cached_tokens": CACHED},
}


def _calls():
    for index, (name, arguments) in enumerate(CALLS):
        function = {"name": name, "arguments": json.dumps(arguments)}
        yield {"index": index, "id": f"call_{index}", "type": "function", "function": function}


def in_a_field(text, reasoning):
    """Return a message with its reasoning in a field of its own."""
    return {"content": text, **({"reasoning": reasoning} if reasoning else {})}


def in_parts(text, reasoning):
    """Return a message as Mistral has it: a list of parts where there is thinking."""
    if not reasoning:
        return {"content": text}
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": reasoning}]}]
    return {"content": [*parts, *([{"type": "text", "text": text}] if text else [])]}


def answering(message):
    """Return a function that answers a request; `message` makes a message of a text and reasoning."""

    def answer(_path, asked):
        if not asked.get("stream"):
            said = {"role": "assistant", **message(TEXT, REASONING), "tool_calls": [*_calls()]}
            choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
            return Answer(
                [json.dumps({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()]
            )
        deltas = [message("", REASONING), *(message(piece, "") for piece in PIECES)]
        deltas += [{"content": "", "tool_calls": [call]} for call in _calls()]
        choices = [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None} for delta in deltas]
        choices[-1]["finish_reason"] = "tool_calls"
        chunks = [{**HEAD, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
        chunks[-1]["usage"] = USAGE
        events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
        return Answer([*events, b"data: [DONE]\n\n"], "text/event-stream")

    return answer


def refuses(_path, _asked):
    """Return an error, as such servers word it."""
    return Answer(
        [b'{"object": "error", "message": "no such model", "type": "invalid_model", "code": "1500"}'], status=400
    )


def truth(_path, asked, pieces):
    """Return what the bytes say."""
    said = {"output": "", "reasoning": "", "tool_calls": [], "finish_reason": None}
    body = b"".join(pieces)
    events = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: {")] or [body]
    for event in map(json.loads, events):
        [choice] = event["choices"]
        message = choice.get("message") or choice["delta"]
        content = message["content"]
        for part in [{"text": content}] if isinstance(content, str) else content:
            if "thinking" in part:
                said["reasoning"] += "".join(one["text"] for one in part["thinking"])
            else:
                said["output"] += part["text"]
        said["reasoning"] += message.get("reasoning", "")
        for call in message.get("tool_calls", ()):
            said["tool_calls"].append((call["function"]["name"], json.loads(call["function"]["arguments"])))
        said["finish_reason"] = choice["finish_reason"] or said["finish_reason"]
        said |= {"response_id": event["id"], "response_model": event["model"], "usage": event.get("usage")}
    usage, cached = said["usage"], said["usage"]["prompt_tokens_details"]["cached_tokens"]
    said["usage"] = {
        "input_tokens": usage["prompt_tokens"] - cached,
        "cache_read_tokens": cached,
        "output_tokens": usage["completion_tokens"],
    }
    return {**said, "model": asked["model"], "input_messages": asked["messages"]}
