"""Mistral's agents and its completion of code (`fim`), in one piece and in a stream, by the real SDK."""

from __future__ import annotations

import json

import pytest

from tests.support.loopback import Answer
from tests.support.providers.items import WAYS, recorded

pytest.importorskip("mistralai", reason="mistralai is not installed (it needs an environment of its own)")

from tests.support.providers import mistral

MESSAGES = [{"role": "user", "content": "Why?"}]
METHODS = {
    "agents": {"agent_id": "ag_1", "messages": MESSAGES, "max_tokens": 9},
    "fim": {"model": "codestral", "prompt": "def f(", "suffix": "return 1", "temperature": 0.5},
}
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
HEAD = {"id": "r1", "object": "chat.completion", "model": "codestral-25", "created": 5}
CALL = {"id": "c1", "function": {"name": "look", "arguments": '{"a": 1}'}}


def answer(path, asked):
    """Answer in one piece or in pieces, as the body asks; agents call a tool as well."""
    tools = [CALL] if "agents" in path else None
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "one two", "tool_calls": tools}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        return Answer([json.dumps({**HEAD, "choices": choices, "usage": USAGE}).encode()])
    deltas = [{"role": "assistant", "content": "one "}, {"content": "two", "tool_calls": tools}]
    chunks = [
        {**HEAD, "choices": [{"index": 0, "finish_reason": reason, "delta": delta}]}
        for delta, reason in zip(deltas, (None, "stop"), strict=True)
    ]
    chunks[-1]["usage"] = USAGE
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return Answer([*frames, b"data: [DONE]\n\n"], "text/event-stream")


def record_of(method, *, is_async, streamed, most=None):
    name = f"{'stream' if streamed else 'complete'}{'_async' if is_async else ''}"
    return recorded(
        lambda is_async: mistral.connect(answer, is_async=is_async),
        lambda client: getattr(getattr(client, method), name)(**METHODS[method]),
        is_async=is_async,
        streamed=streamed,
        most=most,
    )


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_a_reply_is_recorded(method, is_async, streamed):
    """With the request, the tokens and the ids."""
    call = record_of(method, is_async=is_async, streamed=streamed)
    assert ("one two", "stop", "completed") == (call["output"], call["finish_reason"], call["outcome"])
    assert (7, 5) == (call["usage"]["input_tokens"], call["usage"]["output_tokens"])
    assert ("r1", "codestral-25", streamed) == (call["response_id"], call["response_model"], call["streamed"])
    names = [one["function"]["name"] for one in call["tool_calls"]]
    assert names == (["look"] if method == "agents" else [])


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
def test_the_request_of_an_agent_is_recorded(is_async, streamed):
    """Its messages and parameters; its id is in the place of the model's name."""
    call = record_of("agents", is_async=is_async, streamed=streamed)
    assert call["input_messages"] == MESSAGES
    assert (call["model"], call["params"]["max_tokens"]) == ("ag_1", 9)


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
def test_the_request_of_a_completion_of_code_is_recorded(is_async, streamed):
    """The prompt as it was given; what comes after the gap is a parameter."""
    call = record_of("fim", is_async=is_async, streamed=streamed)
    assert call["input_messages"] == "def f("
    assert (call["model"], call["temperature"]) == ("codestral", 0.5)
    assert call["params"]["suffix"] == "return 1"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_stream_that_is_left_keeps_what_came(method, is_async):
    """The first piece alone."""
    call = record_of(method, is_async=is_async, streamed=True, most=1)
    assert call["output"] == "one "
    assert call["outcome"] in {"closed", "abandoned"}
