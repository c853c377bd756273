"""What a reply of Cohere's holds next to its text: citations of both versions, and log probabilities."""

from __future__ import annotations

import json

import pytest

from tests.support.loopback import Answer
from tests.support.providers.items import WAYS, further, recorded

pytest.importorskip("cohere", reason="cohere is not installed (it needs an environment of its own)")

from tests.support.providers import cohere

TEXT = "Paris is big. Rome too."
DOCUMENT = {"type": "document", "id": "d1", "document": {"id": "d1", "title": "Towns", "snippet": "Paris: big."}}
TOOL = {"type": "tool", "id": "t1:0", "tool_output": {"size": "big"}}
WEB = {"type": "document", "id": "d2", "document": {"id": "d2", "title": "Rome", "url": "https://r.example"}}


def cited(words, *sources, **fields):
    start = TEXT.index(words)
    return {"start": start, "end": start + len(words), "text": words, "sources": [*sources], **fields}


CITATIONS = [
    cited("Paris", DOCUMENT, TOOL, content_index=1, type="TEXT_CONTENT"),
    cited("Rome too", WEB, content_index=1, type="TEXT_CONTENT"),
    {"start": 0, "end": 2, "text": "Hm", "sources": [TOOL], "content_index": 0, "type": "THINKING_CONTENT"},
]
LOGPROBS = [{"text": piece, "token_ids": [at], "logprobs": [-0.5]} for at, piece in enumerate((TEXT[:14], TEXT[14:]))]
KEYS = {
    "citations": [
        {"type": "document", "title": "Towns", "quote": "Paris: big.", "start": 0, "end": 5, "details": {"id": "d1"}},
        {"type": "tool", "start": 0, "end": 5, "details": {"id": "t1:0", "tool_output": {"size": "big"}}},
        {"type": "document", "url": "https://r.example", "title": "Rome", "start": 14, "end": 22}
        | {"details": {"id": "d2"}},
        {"type": "tool"}
        | {
            "details": {
                "id": "t1:0",
                "tool_output": {"size": "big"},
                "cited": {"type": "THINKING_CONTENT", "start": 0, "end": 2, "text": "Hm"},
            }
        },
    ],
    "logprobs": {"content": LOGPROBS},
}


def message(**fields):
    content = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": TEXT}]
    return {"role": "assistant", "content": content, **fields}


def events():
    yield {"type": "message-start", "id": "r1", "delta": {"message": {"role": "assistant", "content": []}}}
    yield {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "thinking", "thinking": ""}}}}
    yield {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "Hm."}}}}
    yield {"type": "content-start", "index": 1, "delta": {"message": {"content": {"type": "text", "text": ""}}}}
    for number, one in enumerate(LOGPROBS):
        delta = {"message": {"content": {"text": one["text"]}}}
        yield {"type": "content-delta", "index": 1, "delta": delta, "logprobs": one}
        yield {"type": "citation-start", "index": number, "delta": {"message": {"citations": CITATIONS[number]}}}
        yield {"type": "citation-end", "index": number}
    yield {"type": "citation-start", "index": 2, "delta": {"message": {"citations": CITATIONS[2]}}}
    yield {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}


# Version 1.
DOCUMENTS = [{"id": "d1", "title": "Towns", "snippet": "Paris: big.", "url": "https://t.example"}]
CITATIONS_V1 = [{"start": 0, "end": 5, "text": "Paris", "document_ids": ["d1", "d9"]}]
KEYS_V1 = {
    "citations": [
        {"type": "document", "url": "https://t.example", "title": "Towns", "quote": "Paris: big.", "start": 0, "end": 5}
        | {"details": {"id": "d1"}},
        {"type": "document", "start": 0, "end": 5, "details": {"id": "d9"}},
    ]
}
WHOLE_V1 = {"response_id": "r1", "generation_id": "g1", "text": TEXT, "finish_reason": "COMPLETE"}
WHOLE_V1 |= {"citations": CITATIONS_V1, "documents": DOCUMENTS}


def events_v1():
    yield {"event_type": "stream-start", "generation_id": "g1", "is_finished": False}
    yield {"event_type": "search-results", "documents": DOCUMENTS, "is_finished": False}
    yield {"event_type": "text-generation", "text": TEXT, "is_finished": False}
    yield {"event_type": "citation-generation", "citations": CITATIONS_V1, "is_finished": False}
    yield {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": WHOLE_V1, "is_finished": True}


def answer(path, asked):
    is_v2 = path == "/v2/chat"
    if not asked.get("stream"):
        whole = {"id": "r1", "finish_reason": "COMPLETE", "message": message(citations=CITATIONS)}
        return Answer([json.dumps({**whole, "logprobs": LOGPROBS} if is_v2 else WHOLE_V1).encode()])
    if is_v2:
        frames = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events()]
        return Answer(frames, kind="text/event-stream")
    return Answer([json.dumps(one).encode() + b"\n" for one in events_v1()], kind="application/stream+json")


def ask(version, *, is_async=False, streamed=False, most=None, answer=answer):
    given = {"message": "q"} if version == 1 else {"messages": [{"role": "user", "content": "q"}]}
    return recorded(
        lambda is_async: cohere.connect(answer, is_async=is_async, version=version),
        lambda client: getattr(client, "chat_stream" if streamed else "chat")(model="m", **given),
        is_async=is_async,
        streamed=streamed,
        most=most,
    )


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
@pytest.mark.parametrize(("version", "keys"), [(2, KEYS), (1, KEYS_V1)], ids=["v2", "v1"])
def test_a_record_holds_it(version, keys, is_async, streamed):
    """Each source of a citation is one; what is cited in the thinking has no place in the text."""
    call = ask(version, is_async=is_async, streamed=streamed)
    assert call["output"] == TEXT
    assert further(call) == keys


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("version", "most", "keys"),
    [(2, 6, {"citations": KEYS["citations"][:2], "logprobs": {"content": LOGPROBS[:1]}}), (1, 4, KEYS_V1)],
    ids=["v2", "v1"],
)
def test_a_stream_that_is_left_keeps_what_came(version, most, keys, is_async):
    """Up to the first citation."""
    assert further(ask(version, is_async=is_async, streamed=True, most=most)) == keys


@pytest.mark.parametrize("odd", [3, "x", [3], [{}], {}, [{"start": "a", "end": {}}], [{"sources": 3}], [{"type": []}]])
def test_citations_of_any_form_break_nothing(odd):
    """The text is recorded all the same."""

    def other(_path, _asked):
        said = {"id": "r1", "finish_reason": "COMPLETE", "message": message(citations=odd)}
        return Answer([json.dumps(said).encode()])

    assert ask(2, answer=other)["output"] == TEXT
