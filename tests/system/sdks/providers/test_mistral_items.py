"""What a reply of Mistral's holds next to its text: references, without the defaults of its classes."""

from __future__ import annotations

import json
from functools import partial

import pytest

from tests.support.loopback import Answer
from tests.support.providers.items import WAYS, further, recorded

pytest.importorskip("mistralai", reason="mistralai is not installed (it needs an environment of its own)")

from tests.support.providers import mistral

CONTENT = [
    {"type": "text", "text": "A "},
    {"type": "reference", "reference_ids": [1, 2]},
    {"type": "text", "text": "B"},
]
REPLY = {"id": "r1", "object": "chat.completion", "model": "m", "created": 5, "usage": {"prompt_tokens": 1}}


THINKING = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "A B"}]
SIGNED = [{**THINKING[0], "signature": "c2ln"}, THINKING[1]]


def answers(content):
    """Return a server that answers with a content, in one piece or each part in a chunk."""
    return partial(answer, content=content)


def answer(_path, asked, content=CONTENT):
    if not asked.get("stream"):
        message = {"role": "assistant", "content": content}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        return Answer([json.dumps({**REPLY, "choices": choices}).encode()])
    chunks = [
        {**REPLY, "choices": [{"index": 0, "finish_reason": None, "delta": {"content": [part]}}]} for part in content
    ]
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return Answer([*frames, b"data: [DONE]\n\n"], "text/event-stream")


def recorded_of(content, *, is_async, streamed):
    """Return the record of a call that is answered with a content."""
    name = f"{'stream' if streamed else 'complete'}{'_async' if is_async else ''}"
    return recorded(
        lambda is_async: mistral.connect(answers(content), is_async=is_async),
        lambda client: getattr(client.chat, name)(model="m", messages=[{"role": "user", "content": "q"}]),
        is_async=is_async,
        streamed=streamed,
    )


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
def test_a_record_holds_its_references(is_async, streamed):
    """And no other key."""
    call = recorded_of(CONTENT, is_async=is_async, streamed=streamed)
    assert call["output"] == "A B"
    assert further(call) == {"created": 5, "citations": [{"type": "reference", "details": {"reference_ids": [1, 2]}}]}


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
def test_what_the_sdk_calls_not_given_is_no_part(is_async, streamed):
    """Of a thinking without a signature nothing is left but its text, and of one with it the signature."""
    call = recorded_of(THINKING, is_async=is_async, streamed=streamed)
    assert (call["reasoning"], call["output"]) == ("Hm.", "A B")
    assert further(call) == {"created": 5}
    call = recorded_of(SIGNED, is_async=is_async, streamed=streamed)
    (part,) = further(call)["parts"]
    assert (part["type"], part["signature"]) == ("thinking", "c2ln")
