"""What a reply of Gemini's holds next to its text: grounding, other parts, ratings, log probabilities."""

from __future__ import annotations

import base64
import copy
import hashlib
import json

import httpx
import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.loopback import Answer
from tests.support.providers.items import WAYS, further, recorded

pytest.importorskip("google.genai", reason="google-genai is not installed (it needs an environment of its own)")

from tests.support.providers import gemini

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
DIGEST = {"media_type": "image/png", "bytes": len(PNG), "sha256": hashlib.sha256(PNG).hexdigest()}
TEXT = "Zürich ist schön. Bern auch."
FIRST, SECOND = "Zürich ist schön.", "Bern auch."


def segment(text):
    """Return the place of a text as the API gives it: bytes, and no start that is 0."""
    start = len(TEXT[: TEXT.index(text)].encode())
    return {**({"startIndex": start} if start else {}), "endIndex": start + len(text.encode()), "text": text}


GROUNDING = {
    "webSearchQueries": ["swiss towns"],
    "searchEntryPoint": {"renderedContent": "<div>chips</div>"},
    "groundingChunks": [
        {"web": {"uri": "https://a.example", "title": "a.example"}},
        {"retrievedContext": {"uri": "gs://b/c.pdf", "title": "c.pdf", "text": "Bern is fine."}},
        {"maps": {"uri": "https://m.example", "title": "Bern", "placeId": "places/1"}},
    ],
    "groundingSupports": [
        {"segment": segment(FIRST), "groundingChunkIndices": [0], "confidenceScores": [0.75]},
        {"segment": segment(SECOND), "groundingChunkIndices": [0, 1]},
    ],
}
RATINGS = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}]
LOGPROBS = {
    "chosenCandidates": [{"token": "Z", "logProbability": -0.5, "tokenId": 7}],
    "topCandidates": [{"candidates": [{"token": "Z", "logProbability": -0.5}]}],
}
FACTS = {
    "citationMetadata": {"citationSources": [{"endIndex": 7, "uri": "https://src.example", "license": "mit"}]},
    "finishMessage": "Done.",
    "groundingMetadata": GROUNDING,
    "urlContextMetadata": {"urlMetadata": [{"retrievedUrl": "https://u.example"}]},
    "safetyRatings": RATINGS,
    "logprobsResult": LOGPROBS,
    "avgLogprobs": -0.5,
    "finishReason": "STOP",
}
SIGNATURE = base64.b64encode(b"\x00\xffsealed").decode()
PARTS = [
    {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": SIGNATURE},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
    {"text": TEXT[:5]},
    {"text": TEXT[5:], "thoughtSignature": SIGNATURE},
    {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}},
    {"fileData": {"mimeType": "video/mp4", "fileUri": "https://f.example/1"}},
    {"functionCall": {"name": "f", "args": {"someKey": 1}}, "thoughtSignature": SIGNATURE},
]
REPLY = {"createTime": "2026-01-02T03:04:05.5Z", "modelVersion": "gemini-x", "responseId": "r1"}
CREATED = 1767323045.5
KEYS = {
    "created": CREATED,
    "citations": [
        {"type": "url", "url": "https://src.example", "start": 0, "end": 6, "details": {"license": "mit"}},
        {"type": "url", "url": "https://a.example", "title": "a.example", "start": 0, "end": 17}
        | {"details": {"confidence_score": 0.75}},
        {"type": "url", "url": "https://a.example", "title": "a.example", "start": 18, "end": 28},
        {"type": "document", "url": "gs://b/c.pdf", "title": "c.pdf", "quote": "Bern is fine.", "start": 18, "end": 28},
        {"type": "url", "url": "https://m.example", "title": "Bern", "details": {"place_id": "places/1"}},
    ],
    "parts": [
        {"type": "executable_code", "executable_code": {"language": "PYTHON", "code": "print(1)"}}
        | {"thought_signature": SIGNATURE},
        {"type": "code_execution_result", "code_execution_result": {"outcome": "OUTCOME_OK", "output": "1\n"}},
        {"type": "text", "thought_signature": SIGNATURE, "start": 5, "end": 28},
        {"type": "inline_data", "inline_data": {"mime_type": "image/png", "data": DIGEST}},
        {"type": "file_data", "file_data": {"mime_type": "video/mp4", "file_uri": "https://f.example/1"}},
        {"type": "function_call", "index": 0, "thought_signature": SIGNATURE},
        {"type": "finish_message", "finish_message": "Done."},
        {"type": "grounding_metadata"}
        | {
            "grounding_metadata": {
                "web_search_queries": ["swiss towns"],
                "search_entry_point": {"rendered_content": "<div>chips</div>"},
            }
        },
        {"type": "url_context_metadata"}
        | {"url_context_metadata": {"url_metadata": [{"retrieved_url": "https://u.example"}]}},
    ],
    "filters": {"safety_ratings": RATINGS},
    "logprobs": {
        "chosen_candidates": [{"token": "Z", "log_probability": -0.5, "token_id": 7}],
        "top_candidates": [{"candidates": [{"token": "Z", "log_probability": -0.5}]}],
        "avg_logprobs": -0.5,
    },
}

# What the SDK drops of a reply of the Gemini API, and leaves in one of Vertex AI's.
OF_GEMINI = {**KEYS, "parts": [one for one in KEYS["parts"] if one["type"] != "finish_message"]}
del OF_GEMINI["created"]


def whole(parts=PARTS, **facts):
    return {**REPLY, "candidates": [{"content": {"role": "model", "parts": [*parts]}, **facts}]}


def chunks(facts=FACTS):
    """Return the same in pieces: a part in each, then what is said of them."""
    return [*(whole([part]) for part in PARTS), whole([{"text": ""}], **facts)]


def answering(said, events=None):
    def answer(path, _body):
        if "stream" not in path:
            return Answer([json.dumps(said).encode()])
        return Answer([b"data: " + json.dumps(one).encode() + b"\n\n" for one in events], "text/event-stream")

    return answer


def ask(answer, *, is_async=False, streamed=False, most=None, vertexai=False):
    name = "generate_content_stream" if streamed else "generate_content"
    return recorded(
        lambda is_async: gemini.connect(answer, is_async=is_async, vertexai=vertexai),
        lambda client: getattr(client.models, name)(model="m", contents="q"),
        is_async=is_async,
        streamed=streamed,
        most=most,
    )


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
def test_a_record_holds_it(is_async, streamed):
    """Key by key, and no other key; places in the text are characters, though the API counts bytes."""
    call = ask(answering(whole(**FACTS), chunks()), is_async=is_async, streamed=streamed)
    assert call["output"] == TEXT
    assert (call["finish_reason"], call["response_model"], call["response_id"]) == ("STOP", "gemini-x", "r1")
    assert further(call) == OF_GEMINI
    assert [TEXT[one["start"] : one["end"]] for one in further(call)["citations"][1:4]] == [FIRST, SECOND, SECOND]


@pytest.mark.parametrize(("is_async", "streamed"), WAYS)
def test_a_record_of_vertex_ai_holds_more(is_async, streamed):
    """Its name for citations differs, too."""
    facts = {**FACTS, "citationMetadata": {"citations": FACTS["citationMetadata"]["citationSources"]}}
    answer = answering(whole(**facts), chunks(facts))
    assert further(ask(answer, is_async=is_async, streamed=streamed, vertexai=True)) == KEYS


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_is_left_keeps_what_came(is_async):
    """After the third of its chunks."""
    call = ask(answering(None, chunks()), is_async=is_async, streamed=True, most=3)
    assert call["outcome"] == "abandoned"
    assert further(call) == {"parts": KEYS["parts"][:2]}


def test_the_json_itself_is_read_alike():
    """A server's answer that no SDK has read has other names, and the record the same."""
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=whole(**FACTS)))

    def generate(prompt, model):
        with httpx.Client(transport=transport) as client:
            return client.post("http://mock/v1/models/m", json={"contents": prompt, "model": model}).json()

    with capture_turns() as turns:
        moa.reference(generate)("q", "m")
    [turn] = turns
    [call] = [*turn["references"], *turn["calls"]]
    assert (call["output"], call["finish_reason"], call["response_id"]) == (TEXT, "STOP", "r1")
    assert call["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"someKey": 1}'}
    assert further(call) == KEYS


@pytest.mark.parametrize(
    "change", [{"text": "Nowhere."}, {"endIndex": 4000}, {"endIndex": -1}, {"endIndex": None}], ids=str
)
def test_a_place_that_is_not_in_the_text_is_unknown(change):
    """The source stays, with what the API says of its place."""
    facts = copy.deepcopy(FACTS)
    facts["groundingMetadata"]["groundingSupports"][0]["segment"].update(change)
    [_, first, *_] = further(ask(answering(whole(**facts))))["citations"]
    assert {"start", "end"}.isdisjoint(first)
    assert first["url"] == "https://a.example"
    assert "segment" in first["details"]


def test_a_place_counts_from_its_part():
    """The second of two texts."""
    place = {"partIndex": 1, "endIndex": 4, "text": "Bern"}
    grounding = {**GROUNDING, "groundingSupports": [{"segment": place, "groundingChunkIndices": [1]}]}
    texts = [{"text": TEXT[:18]}, {"text": TEXT[18:]}]
    [first, *_] = further(ask(answering(whole(texts, groundingMetadata=grounding))))["citations"]
    assert (first["start"], first["end"]) == (18, 22)


@pytest.mark.parametrize("streamed", [False, True])
def test_each_candidate_has_its_own(streamed):
    """The second names its choice."""
    second = {**whole(**FACTS)["candidates"][0], "index": 1}
    said = {**REPLY, "candidates": [{"content": {"parts": [{"text": "One."}]}, "finishReason": "STOP"}, second]}
    found = further(ask(answering(said, [said]), streamed=streamed))
    assert found["citations"] == [{**one, "choice": 1} for one in KEYS["citations"]]
    assert found["parts"] == [{**one, "choice": 1} for one in OF_GEMINI["parts"]]
    assert found["filters"] == {"choices": {"1": KEYS["filters"]}}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_blocked_prompt_has_its_ratings(streamed):
    """Though there is no candidate."""
    said = {"promptFeedback": {"blockReason": "SAFETY", "safetyRatings": [{**RATINGS[0], "blocked": True}]}}
    found = further(ask(answering(said, [said]), streamed=streamed))
    rating = {**RATINGS[0], "blocked": True}
    assert found == {"filters": {"prompt_feedback": {"block_reason": "SAFETY", "safety_ratings": [rating]}}}


ODD = [None, 3, "x", [], [3], {}, {"x": 3}, [{"x": [None]}], [[{}]]]


@pytest.mark.parametrize("name", [*FACTS, "content"])
def test_a_field_of_any_form_breaks_nothing(name):
    """A server may send whatever it likes; the text is recorded all the same."""
    for odd in ODD:
        said = whole(**{**FACTS, "groundingMetadata": GROUNDING, name: odd})
        with capture_turns() as turns:
            moa.reference(lambda prompt, said=said: said)("q")
        [turn] = turns
        assert not turn["instrumentation_errors"], odd
    for inner in GROUNDING:
        for odd in ODD:
            said = whole(groundingMetadata={**GROUNDING, inner: odd})
            with capture_turns() as turns:
                moa.reference(lambda prompt, said=said: said)("q")
            assert not turns[0]["instrumentation_errors"], (inner, odd)
            assert turns[0]["references"][0]["output"] == TEXT
