"""What a reply of Bedrock's holds next to its text: citations, signatures, images, traces, times."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from tests.support import event_stream
from tests.support.loopback import Answer
from tests.support.providers import is_installed
from tests.support.providers.items import WAYS, further, recorded

if not (is_installed("boto3") and is_installed("aiobotocore")):
    pytest.skip("boto3 and aiobotocore are not installed", allow_module_level=True)

from tests.support.providers import bedrock

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
DIGEST = {"media_type": "image/png", "bytes": len(PNG), "sha256": hashlib.sha256(PNG).hexdigest()}
SEALED = base64.b64encode(b"\x00sealed\xff").decode()


def encoded(data):
    return base64.b64encode(data).decode()


WEB = {"title": "A", "location": {"web": {"url": "https://a.example", "domain": "a.example"}}}
PAGE = {
    "title": "Manual",
    "source": "s3",
    "sourceContent": [{"text": "Bern "}, {"text": "is."}],
    "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}},
}
TRACE = {"guardrail": {"actionReason": "No action.", "modelOutput": ["x"]}, "promptRouter": {"invokedModelId": "m-1"}}
FIELDS = {"stop_sequence": "END"}
TEXT = "Zürich. Bern. End."
CONTENT = [
    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig"}}},
    {"reasoningContent": {"redactedContent": SEALED}},
    {"citationsContent": {"content": [{"text": "Zürich."}], "citations": [WEB]}},
    {"citationsContent": {"content": [{"text": " Bern."}], "citations": [WEB, PAGE]}},
    {"text": " End."},
    {"image": {"format": "png", "source": {"bytes": encoded(PNG)}}},
]
END = {"usage": bedrock.USAGE, "metrics": {"latencyMs": 31}, "trace": TRACE}
WHOLE = {"output": {"message": {"role": "assistant", "content": CONTENT}}, "stopReason": "stop_sequence", **END}
WHOLE["additionalModelResponseFields"] = FIELDS
OF_WEB = {"type": "url", "url": "https://a.example", "title": "A"}
KEYS = {
    "citations": [
        {**OF_WEB, "start": 0, "end": 7, "details": {"domain": "a.example"}},
        {**OF_WEB, "start": 7, "end": 13, "details": {"domain": "a.example"}},
        {"type": "document", "title": "Manual", "quote": "Bern is.", "start": 7, "end": 13}
        | {"details": {"source": "s3", "location": PAGE["location"]}},
    ],
    "parts": [
        {"type": "reasoningContent", "signature": "sig"},
        {"type": "reasoningContent", "redactedContent": SEALED},
        {"type": "image", "image": {"format": "png", "source": {"bytes": DIGEST}}},
        {"type": "additionalModelResponseFields", "additionalModelResponseFields": FIELDS},
    ],
    "filters": {"guardrail": TRACE["guardrail"]},
    "stop_sequence": "END",
    "timings": {"latencyMs": 31},
}


def delta(index, **said):
    return "contentBlockDelta", {"delta": said, "contentBlockIndex": index}


def events():
    yield "messageStart", {"role": "assistant"}
    yield delta(0, reasoningContent={"text": "Hm."})
    yield delta(0, reasoningContent={"signature": "sig"})
    yield "contentBlockStop", {"contentBlockIndex": 0}
    yield delta(1, reasoningContent={"redactedContent": SEALED})
    yield delta(2, text="Zür")
    yield delta(2, text="ich.")
    yield delta(2, citation=WEB)
    yield "contentBlockStop", {"contentBlockIndex": 2}
    yield delta(3, text=" Bern.")
    yield delta(3, citation=WEB)
    yield delta(3, citation=PAGE)
    yield delta(4, text=" End.")
    yield "contentBlockStart", {"start": {"image": {"format": "png"}}, "contentBlockIndex": 5}
    yield from (delta(5, image={"source": {"bytes": encoded(piece)}}) for piece in (PNG[:50], PNG[50:]))
    yield "messageStop", {"stopReason": "stop_sequence", "additionalModelResponseFields": FIELDS}
    yield "metadata", END


def answer(path, _asked):
    if path.endswith("/converse"):
        return Answer([json.dumps(WHOLE).encode()])
    return Answer([event_stream.event(*one) for one in events()], kind=bedrock.EVENTS)


def ask(*, is_async=False, streamed=False, most=None):
    return recorded(
        lambda is_async: bedrock.connect(answer, is_async=is_async),
        lambda client: getattr(client, "converse_stream" if streamed else "converse")(**bedrock.CONVERSE),
        is_async=is_async,
        streamed=streamed,
        most=most,
        chunks_of=lambda response: response["stream"],
    )


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
def test_a_record_holds_it(is_async, streamed):
    """Key by key, and no other key; the model to which a router went is the reply's."""
    call = ask(is_async=is_async, streamed=streamed)
    assert (call["output"], call["reasoning"], call["response_model"]) == (TEXT, "Hm.", "m-1")
    assert further(call) == KEYS


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_is_left_keeps_what_came(is_async):
    """Up to the first citation."""
    found = further(ask(is_async=is_async, streamed=True, most=8))
    assert found == {"citations": KEYS["citations"][:1], "parts": KEYS["parts"][:2]}


@pytest.mark.parametrize("model", list(bedrock.BODIES))
def test_a_streamed_body_has_its_times(model):
    """The service adds them to the last event of every model."""
    body = json.dumps(bedrock.BODIES[model][0])
    call = recorded(
        lambda is_async: bedrock.connect(bedrock.answer, is_async=is_async),
        lambda client: client.invoke_model_with_response_stream(modelId=model, body=body),
        streamed=True,
        chunks_of=lambda response: response["body"],
    )
    assert further(call)["timings"] == {"invocationLatency": 3, "firstByteLatency": 1}
