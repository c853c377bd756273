"""Reading Amazon Bedrock's replies and events, and the bodies of its models: dicts, as boto3 returns them."""

from __future__ import annotations

import json

import pytest

from moa_middleware._capture.flow.model import Chunk
from moa_middleware._capture.shapes import bedrock as shape
from moa_middleware._capture.shapes import bedrock_body as body_shape
from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware.errors import RequestError

USAGE = {"inputTokens": 11, "outputTokens": 5, "totalTokens": 16, "cacheReadInputTokens": 4}
COUNTS = {"inputTokens": 11, "outputTokens": 5}
METADATA = {"RequestId": "r1", "HTTPStatusCode": 200, "HTTPHeaders": {"x-amzn-requestid": "r1"}}
CONTENT = [
    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
    {"text": "one "},
    {"citationsContent": {"content": [{"text": "two"}], "citations": []}},
    {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Paris"}}},
]
WHOLE = {
    "ResponseMetadata": METADATA,
    "output": {"message": {"role": "assistant", "content": CONTENT}},
    "stopReason": "tool_use",
    "usage": USAGE,
    "metrics": {"latencyMs": 3},
    "serviceTier": {"type": "priority"},
}


def delta(index, **said):
    return {"contentBlockDelta": {"delta": said, "contentBlockIndex": index}}


EVENTS = [
    {"messageStart": {"role": "assistant"}},
    delta(0, reasoningContent={"text": "hm"}),
    delta(0, reasoningContent={"signature": "s"}),
    {"contentBlockStop": {"contentBlockIndex": 0}},
    delta(1, text="one "),
    delta(1, text="two"),
    {"contentBlockStop": {"contentBlockIndex": 1}},
    {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "c1", "name": "weather"}}, "contentBlockIndex": 2}},
    delta(2, toolUse={"input": '{"city": '}),
    delta(2, toolUse={"input": '"Paris"}'}),
    {"contentBlockStop": {"contentBlockIndex": 2}},
    {"messageStop": {"stopReason": "tool_use"}},
    {"metadata": {"usage": USAGE, "metrics": {"latencyMs": 3}, "serviceTier": {"type": "priority"}}},
]


def streamed(events):
    gathered = Accumulator()
    assert all(shape.feed(gathered, event) or body_shape.feed(gathered, event) for event in events)
    return gathered.reply()


def said(reply):
    calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in reply.tool_calls
    ]
    return reply.text, reply.reasoning, reply.finish_reason, calls


def test_a_value_and_a_stream_of_converse_say_the_same():
    """Text with citations is text; reasoning comes under two names."""
    for reply in (shape.read_value(WHOLE, WHOLE), streamed(EVENTS)):
        assert said(reply) == ("one two", "hm", "tool_use", [("c1", "weather", {"city": "Paris"})])
        assert reply._details["usage_raw"] == USAGE
        assert reply._details["service_tier"] == "priority"


def test_the_response_of_the_sdk_has_the_id_and_the_counts():
    """In `ResponseMetadata`, of which nothing else is read."""
    headers = {"x-amzn-bedrock-input-token-count": "11", "x-amzn-bedrock-output-token-count": "5", "set-cookie": "no"}
    response = {"ResponseMetadata": {**METADATA, "HTTPHeaders": headers}, "serviceTier": "flex"}
    assert shape.facts_of_response(response) == ({"response_id": "r1", "service_tier": "flex"}, COUNTS)
    assert shape.facts_of_response({}) == ({}, None)
    odd = {"ResponseMetadata": {"HTTPHeaders": {"x-amzn-bedrock-input-token-count": "many"}}}
    assert shape.facts_of_response(odd) == ({}, None)


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "one two"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 11, "output_tokens": 5},
}
CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "one two"}, "stop_reason": "stop"}]}
NOVA = {
    "output": {"message": {"role": "assistant", "content": [{"text": "one two"}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
}
TITAN = {
    "inputTextTokenCount": 11,
    "results": [{"tokenCount": 5, "outputText": "one two", "completionReason": "FINISH"}],
}
LLAMA = {"generation": "one two", "prompt_token_count": 11, "generation_token_count": 5, "stop_reason": "stop"}
BODIES = {
    "anthropic": (MESSAGE, "end_turn", {"input_tokens": 11, "output_tokens": 5}),
    "nova": (NOVA, "end_turn", USAGE),
    "titan": (TITAN, "FINISH", COUNTS),
    "llama": (LLAMA, "stop", COUNTS),
    "mistral": ({"outputs": [{"text": "one two", "stop_reason": "stop"}]}, "stop", None),
    "mistral-chat": (CHAT, "stop", None),
    "cohere": ({"generations": [{"text": "one two", "finish_reason": "COMPLETE"}]}, "COMPLETE", None),
    "command-r": ({"text": "one two", "generation_id": "g", "finish_reason": "COMPLETE"}, "COMPLETE", None),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_read_in_the_words_of_its_model(name):
    """Where it has no counts, those of the headers are taken."""
    body, reason, usage = BODIES[name]
    reply = body_shape.read_body(body, None, body)
    assert (reply.text, reply.finish_reason, reply._details["usage_raw"]) == ("one two", reason, usage)
    reply = body_shape.read_body(body, {"inputTokens": 1, "outputTokens": 2}, body)
    assert reply.source == "provider"
    assert reply._details["usage_raw"] == (usage or {"inputTokens": 1, "outputTokens": 2})


METRICS = {"inputTokenCount": 11, "outputTokenCount": 5, "invocationLatency": 3, "firstByteLatency": 1}
LAST = {"amazon-bedrock-invocationMetrics": METRICS}
ANTHROPIC_EVENTS = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "usage": {"input_tokens": 11, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "two"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop", **LAST},
]
NOVA_EVENTS = [
    *(delta(0, text=text) for text in ("one ", "two")),
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": USAGE}, **LAST},
]
TITAN_EVENTS = [
    {"outputText": "one ", "index": 0, "inputTextTokenCount": 11, "completionReason": None},
    {"outputText": "two", "index": 1, "totalOutputTextTokenCount": 5, "completionReason": "FINISH", **LAST},
]
LLAMA_EVENTS = [
    {"generation": "one ", "prompt_token_count": 11, "generation_token_count": 1, "stop_reason": None},
    {"generation": "two", "prompt_token_count": None, "generation_token_count": 5, "stop_reason": "stop", **LAST},
]
MISTRAL_EVENTS = [
    {"outputs": [{"text": "one ", "stop_reason": None}]},
    {"outputs": [{"text": "two", "stop_reason": "stop"}], **LAST},
]
CHAT_EVENTS = [
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "one "}, "stop_reason": None}]},
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "two"}, "stop_reason": "stop"}], **LAST},
]
STREAMS = {
    "anthropic": (ANTHROPIC_EVENTS, "end_turn", {"input_tokens": 11, "output_tokens": 5}),
    "nova": (NOVA_EVENTS, "end_turn", USAGE),
    "titan": (TITAN_EVENTS, "FINISH", COUNTS),
    "llama": (LLAMA_EVENTS, "stop", COUNTS),
    "mistral": (MISTRAL_EVENTS, "stop", COUNTS),
    "mistral-chat": (CHAT_EVENTS, "stop", COUNTS),
}


def chunks(events):
    return [{"chunk": {"bytes": json.dumps(event).encode()}} for event in events]


@pytest.mark.parametrize("name", STREAMS)
def test_the_chunks_of_a_model_are_joined(name):
    """The metrics in the last event count where the model itself names no tokens."""
    events, reason, usage = STREAMS[name]
    reply = streamed(chunks(events))
    assert (reply.text, reply.finish_reason, reply._details["usage_raw"]) == ("one two", reason, usage)
    assert reply.chunks is not None


TRACE = {"guardrail": {"input": {"g1": {"topicPolicy": {"topics": [{"name": "t", "action": "BLOCKED"}]}}}}}
GUARDED = {"amazon-bedrock-guardrailAction": "INTERVENED", "amazon-bedrock-trace": TRACE}
FILTERS = {"amazon-bedrock-guardrailAction": "INTERVENED", "guardrail": TRACE["guardrail"]}


def guarded_body(name):
    body, reason, _ = BODIES[name]
    return body_shape.read_body({**body, **GUARDED}, None, body), reason


def guarded_stream(name):
    events, reason, _ = STREAMS[name]
    return streamed(chunks([*events[:-1], {**events[-1], **GUARDED}])), reason


def guarded_alone(name):
    events, reason, _ = STREAMS[name]
    return streamed(chunks([*events, GUARDED])), reason


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (make, name)
        for make in (guarded_body, guarded_stream, guarded_alone)
        for name in (BODIES if make is guarded_body else STREAMS)
    ],
)
def test_a_guardrail_adds_its_trace_to_the_body_of_any_model(make, name):
    """As filters, as `converse` has them, and not as parts; the rest is read as without it."""
    reply, reason = make(name)
    assert (reply.text, reply.finish_reason, reply.source) == ("one two", reason, "provider")
    assert (reply.filters, reply.parts) == (FILTERS, ())


@pytest.mark.parametrize("odd", [None, 5, "NONE", [], {"guardrail": None}], ids=str)
def test_an_odd_trace_breaks_nothing(odd):
    """A word is kept, nothing else."""
    reply = body_shape.read_body({**MESSAGE, "amazon-bedrock-trace": odd}, None, None)
    assert reply.text == "one two"
    assert reply.filters == ({"amazon-bedrock-trace": odd} if odd == "NONE" else {})


ODD = [
    {},
    {"text": "a"},
    {"chunk": {}},
    {"chunk": {"bytes": b"no JSON"}},
    {"chunk": {"bytes": b"[1]"}},
    {"metadata": 1},
]


@pytest.mark.parametrize("value", ODD)
def test_what_is_of_another_shape_is_left_to_the_others(value):
    """None of it raises."""
    for module in (shape, body_shape):
        assert not module.feed(Accumulator(), value)
        assert module.read_value(value, value) is None
        assert module.render_chunk(value, Chunk(text="x")) is None


def test_a_body_of_no_known_model_is_not_read():
    """An image, for example."""
    assert body_shape.read_body({"images": ["aGk="]}, COUNTS, None) is None
    assert shape.json_of(b"\x89PNG") is None
    assert shape.json_of(b"[1]") is None


@pytest.mark.parametrize("name", ["converse", *STREAMS])
def test_a_changed_text_is_put_into_a_copy(name):
    """The event that the SDK made stays as it is."""
    if name == "converse":
        raw = EVENTS[4]
    else:
        raw = next(one for one in chunks(STREAMS[name][0]) if b"one " in one["chunk"]["bytes"])
    before = json.dumps(raw, default=repr)
    made = (shape if name == "converse" else body_shape).render_chunk(raw, Chunk(text="new"))
    assert streamed([made]).text == "new"
    assert json.dumps(raw, default=repr) == before


@pytest.mark.parametrize(
    ("body", "name", "changed"),
    [
        ({"prompt": "q", "max_gen_len": 5}, "max_gen_len", {"prompt": "q", "max_gen_len": 9}),
        ({"messages": []}, "max_tokens", {"messages": [], "max_tokens": 9}),
        ({"messages": [], "inferenceConfig": {"topP": 1}}, "topP", {"messages": [], "inferenceConfig": {"topP": 9}}),
        ({"inferenceConfig": {"topP": 1}}, "maxTokens", {"inferenceConfig": {"topP": 1, "maxTokens": 9}}),
        ({"textGenerationConfig": {}, "seed": 1}, "seed", {"textGenerationConfig": {}, "seed": 9}),
    ],
    ids=str,
)
@pytest.mark.parametrize("encode", [json.dumps, lambda body: json.dumps(body).encode()], ids=["text", "bytes"])
def test_a_parameter_is_changed_where_the_body_has_it(body, name, changed, encode):
    """A new one goes where the others are; the body keeps its type, and the caller's is as it was."""
    given = encode(body)
    made = body_shape.param_into(given, name, 9)
    assert (type(made), json.loads(made)) == (type(given), changed)
    assert name not in body_shape.params_of(body_shape.param_into(made, name, None))
    assert json.loads(given) == body


def test_a_parameter_of_a_body_that_is_no_json_cannot_be_changed():
    """The error says so."""
    with pytest.raises(RequestError, match="not a JSON text"):
        body_shape.param_into(b"\xff", "top_p", 1)
