"""Four times as many items of a reply take about four times as long to read, of whatever kind they are."""

from __future__ import annotations

import gc
from time import process_time

import pytest

from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware._capture.shapes.replies import read_reply

FEW, MANY = 500, 2000
MOST_TIMES = 8
"""A quadratic growth is 16 times; the rest is the noise of a machine that does other things as well."""
SECONDS = 1.5
"""That MANY may take, of the processor's time: at first it was less than 0.1."""


def chat(**delta):
    return {"choices": [{"index": 0, "delta": delta}]}


def tool(name=None, arguments="", **head):
    return {**head, "function": {"name": name, "arguments": arguments}}


def message_events(*events):
    return [{"type": "message_start", "message": {"role": "assistant", "content": []}}, *events]


def block(index, block, *deltas):
    yield {"type": "content_block_start", "index": index, "content_block": block}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def cited_blocks(n):
    for number in range(n):
        delta = {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": f"q{number}"}}
        yield from block(number, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a "}, delta)


def output(n, *, text):
    for number in range(n):
        yield {"type": "response.output_text.delta", "output_index": number, "delta": text}
        one = {"type": "url_citation", "url": f"https://{number}", "start_index": 0, "end_index": 1}
        where = {"content_index": 0, "annotation_index": 0}
        yield {"type": "response.output_text.annotation.added", "output_index": number, "annotation": one, **where}
        content = [{"type": "output_text", "text": text, "annotations": [one]}]
        item = {"type": "message", "role": "assistant", "content": content}
        yield {"type": "response.output_item.done", "output_index": number, "item": item}


def candidate(*parts, **rest):
    return {"candidates": [{"content": {"role": "model", "parts": [*parts]}, **rest}]}


def argument(number):
    return {"jsonPath": f"$.a[{number % 5}]", "stringValue": f"word {number} ", "willContinue": True}


def grounding(number):
    support = {"segment": {"start_index": 0, "end_index": number}, "grounding_chunk_indices": [0]}
    return {"grounding_chunks": [{"web": {"uri": "https://a"}}], "grounding_supports": [support]}


def blocks_of_converse(n):
    for number in range(n):
        yield {"contentBlockDelta": {"contentBlockIndex": number, "delta": {"text": "a "}}}
        citation = {"title": f"t{number}", "location": {"web": {"url": "https://a"}}}
        yield {"contentBlockDelta": {"contentBlockIndex": number, "delta": {"citation": citation}}}
        yield {"contentBlockStop": {"contentBlockIndex": number}}


def blocks_of_cohere(n):
    for number in range(n):
        content = {"message": {"content": {"type": "text", "text": "a "}}}
        yield {"type": "content-start", "index": number, "delta": content}
        cited = {"start": 0, "end": 1, "text": "a", "content_index": number, "sources": [{"type": "tool", "id": "s"}]}
        yield {"type": "citation-start", "index": number, "delta": {"message": {"citations": cited}}}


def image(number):
    source = {"source": {"bytes": bytes([number % 256])}}
    return {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"image": source}}}


STREAMS = {
    "items of an unknown key": lambda n: [chat(content="a", widgets=[{"n": number}]) for number in range(n)],
    "items with an index": lambda n: [chat(widgets=[{"index": number, "text": "a"}]) for number in range(n)],
    "pieces of one item": lambda n: [chat(widgets=[{"index": 0, "text": "abc"}]) for _ in range(n)],
    "pieces of an unknown text": lambda n: [chat(content="a", whisper=f"word {number} ") for number in range(n)],
    "pieces of an object": lambda n: [chat(extra={f"key{number}": {"a": number}}) for number in range(n)],
    "signatures": lambda n: [chat(reasoning_details=[{"signature": f"s{number}"}]) for number in range(n)],
    "annotations": lambda n: [chat(content="a", annotations=[{"url": f"https://{number}"}]) for number in range(n)],
    "pieces of audio": lambda n: [chat(audio={"id": "a", "data": "QUJD", "transcript": "a"}) for _ in range(n)],
    "parts of contents": lambda n: [chat(content=[{"type": "reference", "reference_ids": [1]}]) for _ in range(n)],
    "tool calls by index": lambda n: [chat(tool_calls=[tool("f", "{}", index=i, id=f"c{i}")]) for i in range(n)],
    "tool calls by id": lambda n: [chat(tool_calls=[tool("f", "{}", id=f"c{i}")]) for i in range(n)],
    "tool calls with names alone": lambda n: [chat(tool_calls=[tool("f", "{}")]) for _ in range(n)],
    "a name in each piece": lambda n: [chat(tool_calls=[tool("f", '{"a": [' if i == 0 else "1,")]) for i in range(n)],
    "a text in each piece": lambda n: [chat(tool_calls=[tool("f", '"' if i == 0 else "word ")]) for i in range(n)],
    "signed calls": lambda n: [chat(tool_calls=[tool("f", "{}", index=i, extra_content={"a": i})]) for i in range(n)],
    "choices": lambda n: [{"choices": [{"index": number, "delta": {"content": "a"}}]} for number in range(n)],
    "tokens": lambda n: [{"choices": [{"delta": {}, "logprobs": {"content": [{"token": "a"}]}}]} for _ in range(n)],
    "cited blocks": lambda n: message_events(*cited_blocks(n)),
    "pieces of a block": lambda n: message_events(
        *block(0, {"type": "x_block"}, *[{"type": "x_delta", "said": f"word {number} "} for number in range(n)])
    ),
    "blocks that call tools": lambda n: message_events(
        *[e for i in range(n) for e in block(i, {"type": "tool_use", "id": f"c{i}", "name": "f", "input": {}})]
    ),
    "items of an output": lambda n: [*output(n, text="a ")],
    "calls of an output": lambda n: [
        {
            "type": f"response.output_item.{end}",
            "output_index": i,
            "item": {"type": "x_call", "id": f"i{i}", "input": ""},
        }
        for i in range(n)
        for end in ("added", "done")
    ],
    "calls of Gemini's": lambda n: [candidate({"functionCall": {"name": "f", "args": {"a": i}}}) for i in range(n)],
    "pieces of a call of Gemini's": lambda n: [
        candidate({"functionCall": {"name": "f", "willContinue": True}}),
        *[
            candidate({"functionCall": {"partialArgs": [argument(number)], "willContinue": True}})
            for number in range(n)
        ],
    ],
    "signed texts of Gemini's": lambda n: [candidate({"text": "a ", "thoughtSignature": "c2ln"}) for _ in range(n)],
    "grounding of Gemini's": lambda n: [
        candidate({"text": "ä "}, groundingMetadata=grounding(number)) for number in range(n)
    ],
    "citations of Gemini's": lambda n: [
        candidate({"text": "ä "}, citationMetadata={"citations": [{"startIndex": 0, "endIndex": 3 * number}]})
        for number in range(n)
    ],
    "tokens of Gemini's": lambda n: [
        candidate({"text": "a"}, logprobsResult={"chosenCandidates": [{"token": "a"}]}) for _ in range(n)
    ],
    "blocks of Cohere's": lambda n: [*blocks_of_cohere(n)],
    "blocks of Bedrock's": lambda n: [*blocks_of_converse(n)],
    "pieces of an image": lambda n: [image(number) for number in range(n)],
    "calls of Ollama's": lambda n: [
        {"done": False, "created_at": "", "message": {"role": "assistant", "tool_calls": [tool("f", {"a": i})]}}
        for i in range(n)
    ],
    "speakers": lambda n: [{"model": f"m{number}", "text": "a"} for number in range(n)],
    "the whole in each event": lambda n: [{"text": "word " * number} for number in range(1, n // 7)],
    "events that repeat the last": lambda n: [
        {"type": f"text.{end}", "text": f"a rather long text of number {number} "}
        for number in range(n)
        for end in ("delta", "done")
    ],
    "ends with texts of their own": lambda n: [{"type": "step.done", "text": f"text {number} "} for number in range(n)],
    "columns": lambda n: [("name", f"text {number} ") for number in range(n)],
}
VALUES = {
    "tool calls": lambda n: {"choices": [{"message": {"tool_calls": [tool("f", "{}", id=f"c{i}") for i in range(n)]}}]},
    "choices": lambda n: {"choices": [{"index": number, "message": {"content": "a"}} for number in range(n)]},
    "annotations": lambda n: {
        "choices": [{"message": {"content": "a", "annotations": [{"url": f"https://{i}"} for i in range(n)]}}]
    },
    "blocks": lambda n: {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "a", "citations": [{"cited_text": "a"}]} for _ in range(n)],
    },
    "items of an output": lambda n: {
        "object": "response",
        "output": [event["item"] for event in output(n, text="a") if "item" in event],
    },
    "parts of Gemini's": lambda n: candidate(*[{"text": "a", "thoughtSignature": "c2ln"} for _ in range(n)]),
    "blocks of Bedrock's": lambda n: {
        "stopReason": "end_turn",
        "output": {"message": {"role": "assistant", "content": [{"text": "a"}, {"citationsContent": {}}] * n}},
    },
    "blocks of Cohere's": lambda n: {
        "finish_reason": "COMPLETE",
        "message": {
            "role": "assistant",
            "content": [{"type": "text", "text": "a"}] * n,
            "citations": [{"start": 0, "end": 1, "content_index": number} for number in range(n)],
        },
    },
}


def read_stream(chunks):
    gathered = Accumulator()
    for chunk in chunks:
        gathered.feed(chunk)
    assert not gathered.unread
    return gathered.reply()


def seconds_of(read, made):
    """Return the seconds that it takes to read a reply and to make what the record has of it, the least of two."""
    found = []
    for _ in range(2):
        gc.collect()
        start = process_time()
        reply = read(made)
        if "items" in reply._details:
            reply._details["items"].record()
        found.append(process_time() - start)
    assert reply.text or reply.tool_calls or "items" in reply._details
    return min(found)


CASES = [
    *(pytest.param(read_stream, make, id=f"stream of {name}") for name, make in STREAMS.items()),
    *(pytest.param(read_reply, make, id=f"{name} in one piece") for name, make in VALUES.items()),
]


@pytest.mark.parametrize(("read", "make"), CASES)
def test_time_grows_with_the_items(read, make):
    """The reader runs inside the user's call: what a server sends may not stop it."""
    few, many = seconds_of(read, make(FEW)), seconds_of(read, make(MANY))
    assert many < SECONDS
    assert many < MOST_TIMES * max(few, 0.002), (few, many)
