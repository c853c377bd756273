"""What a reply of Mistral's holds next to its text: references, without the defaults of its classes."""

from __future__ import annotations

import json

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


def answer(_path, asked):
    if not asked.get("stream"):
        message = {"role": "assistant", "content": CONTENT}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        return Answer([json.dumps({**REPLY, "choices": choices}).encode()])
    chunks = [
        {**REPLY, "choices": [{"index": 0, "finish_reason": None, "delta": {"content": [part]}}]} for part in CONTENT
    ]
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return Answer([*frames, b"data: [DONE]\n\n"], "text/event-stream")


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
def test_a_record_holds_its_references(is_async, streamed):
    """And no other key."""
    name = f"{'stream' if streamed else 'complete'}{'_async' if is_async else ''}"
    call = recorded(
        lambda is_async: mistral.connect(answer, is_async=is_async),
        lambda client: getattr(client.chat, name)(model="m", messages=[{"role": "user", "content": "q"}]),
        is_async=is_async,
        streamed=streamed,
    )
    assert call["output"] == "A B"
    assert further(call) == {"created": 5, "citations": [{"type": "reference", "details": {"reference_ids": [1, 2]}}]}
