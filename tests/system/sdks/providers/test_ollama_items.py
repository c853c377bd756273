"""What a reply of Ollama's holds next to its text: times, images, log probabilities."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from tests.support.loopback import Answer
from tests.support.providers.items import WAYS, further, recorded

pytest.importorskip("ollama", reason="ollama is not installed (it needs an environment of its own)")

from tests.support.providers import ollama

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
DIGEST = {"media_type": "image/png", "bytes": len(PNG), "sha256": hashlib.sha256(PNG).hexdigest()}
TIMES = {"total_duration": 9, "load_duration": 1, "prompt_eval_duration": 2, "eval_duration": 5}
LOGPROBS = [
    {"token": piece, "logprob": -0.5, "top_logprobs": [{"token": piece, "logprob": -0.5}]} for piece in ("One ", "two.")
]
END = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2, **TIMES}
CREATED = 1767323045.5
KEYS = {"created": CREATED, "timings": TIMES, "logprobs": {"content": LOGPROBS}}
IMAGE = {"parts": [{"type": "image", "image": DIGEST}]}


def head(seconds="05.500000001"):
    return {"model": "m", "created_at": f"2026-01-02T03:04:{seconds}Z"}


def said(path, text):
    return {"message": {"role": "assistant", "content": text}} if path == "/api/chat" else {"response": text}


def answer(path, asked):
    image = {"image": base64.b64encode(PNG).decode()} if path == "/api/generate" else {}
    if not asked["stream"]:
        return Answer([json.dumps({**head(), **said(path, "One two."), "logprobs": LOGPROBS, **END, **image}).encode()])
    parts = [{**head(), **said(path, one["token"]), "done": False, "logprobs": [one]} for one in LOGPROBS]
    parts.append({**head("59"), **said(path, ""), **END, **image})
    return Answer([json.dumps(part).encode() + b"\n" for part in parts], kind="application/x-ndjson")


def ask(name, *, is_async=False, streamed=False, most=None, answer=answer):
    given = {"prompt": "q"} if name == "generate" else {"messages": [{"role": "user", "content": "q"}]}
    return recorded(
        lambda is_async: ollama.connect(answer, is_async=is_async),
        lambda client: getattr(client, name)(model="m", stream=streamed, **given),
        is_async=is_async,
        streamed=streamed,
        most=most,
    )


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
@pytest.mark.parametrize(("name", "keys"), [("chat", KEYS), ("generate", {**KEYS, **IMAGE})], ids=["chat", "generate"])
def test_a_record_holds_it(name, keys, is_async, streamed):
    """Times in nanoseconds, as the server gives them; the reply was made when its first part was."""
    call = ask(name, is_async=is_async, streamed=streamed)
    assert call["output"] == "One two."
    assert further(call) == keys


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", ["chat", "generate"])
def test_a_stream_that_is_left_keeps_what_came(name, is_async):
    """After its first part."""
    call = ask(name, is_async=is_async, streamed=True, most=1)
    assert further(call) == {"created": CREATED, "logprobs": {"content": LOGPROBS[:1]}}


@pytest.mark.parametrize("created", ["", "yesterday", "2026-01-02T03:04:05"])
def test_a_moment_that_is_not_known_is_left_out(created):
    """One without a zone may be any."""

    def other(path, _asked):
        return Answer([json.dumps({**head(), "created_at": created, **said(path, "x"), **END}).encode()])

    assert further(ask("chat", answer=other)) == {"timings": TIMES}


def test_an_image_in_a_message_is_a_digest():
    """In the SDK's class for it, whose value is base64."""
    image = {"value": base64.b64encode(PNG).decode()}

    def other(_path, _asked):
        message = {"role": "assistant", "content": "x", "images": [image]}
        return Answer([json.dumps({**head(), "message": message, **END}).encode()])

    assert further(ask("chat", answer=other))["parts"] == IMAGE["parts"]
