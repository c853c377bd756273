"""Reading Cohere's replies and events of both versions: the SDK's objects, and the JSON they are made of."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from moa_middleware._capture.flow.model import Chunk
from moa_middleware._capture.shapes import cohere as shape
from moa_middleware._capture.shapes.accumulator import Accumulator

USAGE = {
    "billed_units": {"input_tokens": 9.0, "output_tokens": 5.0},
    "tokens": {"input_tokens": 11.0, "output_tokens": 5.0},
    "cached_tokens": 2.0,
}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
BLOCKS = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
WHOLE = {
    "id": "r1",
    "finish_reason": "TOOL_CALL",
    "message": {"role": "assistant", "tool_plan": "I look. ", "content": BLOCKS, "tool_calls": [CALL]},
    "usage": USAGE,
}


def event(kind, message=None, **fields):
    return {"type": kind, **({"delta": {"message": message}} if message is not None else {}), **fields}


def call_piece(**fields):
    return {"tool_calls": fields}


EVENTS = [
    event("message-start", {"role": "assistant"}, id="r1"),
    event("tool-plan-delta", {"tool_plan": "I look. "}),
    event("content-start", {"content": {"type": "thinking", "thinking": ""}}, index=0),
    event("content-delta", {"content": {"thinking": "hm"}}, index=0),
    event("content-end", index=0),
    event("content-start", {"content": {"type": "text", "text": ""}}, index=1),
    event("content-delta", {"content": {"text": "one "}}, index=1),
    event("content-delta", {"content": {"text": "two"}}, index=1),
    event("citation-start", {"citations": {"start": 0, "end": 3, "text": "one", "sources": []}}, index=0),
    event("citation-end", index=0),
    event("content-end", index=1),
    event("tool-call-start", call_piece(**{**CALL, "function": {"name": "weather", "arguments": ""}}), index=0),
    event("tool-call-delta", call_piece(function={"arguments": '{"city": '}), index=0),
    event("tool-call-delta", call_piece(function={"arguments": '"Paris"}'}), index=0),
    event("tool-call-end", index=0),
    {"type": "message-end", "id": "r1", "delta": {"finish_reason": "TOOL_CALL", "usage": USAGE}},
]

V1_CALL = {"name": "weather", "parameters": {"city": "Paris"}}
V1 = {
    "text": "one two",
    "generation_id": "g1",
    "response_id": "r1",
    "finish_reason": "COMPLETE",
    "tool_calls": [V1_CALL],
    "meta": {"api_version": {"version": "1"}, "tokens": USAGE["tokens"], "billed_units": USAGE["billed_units"]},
}
V1_EVENTS = [
    {"event_type": "stream-start", "generation_id": "g1"},
    {"event_type": "text-generation", "text": "one "},
    {"event_type": "text-generation", "text": "two"},
    {"event_type": "tool-calls-generation", "tool_calls": [V1_CALL]},
    {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": V1},
]


@pytest.fixture(params=["json", "sdk"])
def form(request):
    if request.param == "sdk" and find_spec("cohere") is None:
        pytest.skip("cohere is not installed (it needs an environment of its own)")
    return request.param


def made(form, name, value):
    """Return a value as the SDK makes it of the bytes, or as it is."""
    if form == "json":
        return value
    import cohere
    from cohere.core.unchecked_base_model import construct_type

    return construct_type(type_=getattr(cohere, name), object_=value)


def streamed(form, name, events):
    gathered = Accumulator()
    assert all(shape.feed(gathered, made(form, name, one)) for one in events)
    return gathered.reply()


def read(form, name, value):
    made_value = made(form, name, value)
    return shape.read_value(made_value if form == "json" else vars(made_value), made_value)


def calls(reply):
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in reply.tool_calls]


def tokens(usage):
    """Return the counts that a usage object has, as JSON."""
    return usage if isinstance(usage, dict) else usage.dict(exclude_none=True)


def test_a_value_and_a_stream_of_version_2_say_the_same(form):
    """Thinking and the plan before tool calls are reasoning."""
    value, stream = read(form, "V2ChatResponse", WHOLE), streamed(form, "V2ChatStreamResponse", EVENTS)
    for reply in (value, stream):
        assert (reply.text, reply.reasoning, reply.finish_reason) == ("one two", "I look. hm", "TOOL_CALL")
        assert calls(reply) == [("c1", "weather", '{"city": "Paris"}')]
        assert reply._details["response_id"] == "r1"
        assert tokens(reply._details["usage_raw"]) == USAGE
        assert reply.error is None


def test_parallel_tool_calls_are_kept_apart(form):
    """Each has an index of its own, the pieces as well."""
    pieces = [
        event(
            "tool-call-start", call_piece(id=ident, type="function", function={"name": ident, "arguments": ""}), index=i
        )
        for i, ident in enumerate(("a", "b"))
    ]
    pieces += [event("tool-call-delta", call_piece(function={"arguments": "{}"}), index=i) for i in (1, 0)]
    assert calls(streamed(form, "V2ChatStreamResponse", pieces)) == [("a", "a", "{}"), ("b", "b", "{}")]


def test_an_error_at_the_end_of_a_stream_is_an_error(form):
    """The status was 200, and the SDK raises nothing."""
    end = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "overloaded"}}
    reply = streamed(form, "V2ChatStreamResponse", [EVENTS[6], end])
    assert (reply.text, reply.outcome, str(reply.error), reply.finish_reason) == (
        "one ",
        "error",
        "overloaded",
        "ERROR",
    )


def test_a_value_and_a_stream_of_version_1_say_the_same(form):
    """The last event has the whole reply once more, which adds nothing."""
    value = read(form, "NonStreamedChatResponse", V1)
    for reply in (value, streamed(form, "StreamedChatResponse", V1_EVENTS)):
        assert (reply.text, reply.finish_reason) == ("one two", "COMPLETE")
        assert calls(reply) == [(None, "weather", '{"city": "Paris"}')]
        assert reply._details["response_id"] == "r1"
        assert {name: tokens(found) for name, found in reply._details["usage_raw"].items()} == {
            name: USAGE[name] for name in ("tokens", "billed_units")
        }


def test_two_calls_of_version_1_without_ids_are_two(form):
    """Only their order distinguishes them."""
    calls_of = {"event_type": "tool-calls-generation", "tool_calls": [V1_CALL, {**V1_CALL, "name": "time"}]}
    assert [name for _, name, _ in calls(streamed(form, "StreamedChatResponse", [calls_of]))] == ["weather", "time"]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"type": "content"},
        {"type": "text-delta", "delta": "a"},
        {"message": "a"},
        {"message": {"role": "user", "content": "a"}, "finish_reason": "x"},
        {"text": "a"},
        {"choices": []},
    ],
)
def test_what_is_of_another_shape_is_left_to_the_others(value):
    """Events of other protocols have words with hyphens as well."""
    assert shape.read_value(value, value) is None
    assert not shape.feed(Accumulator(), value)
    assert shape.render_chunk(value, Chunk(text="x")) is None


def test_a_changed_text_is_put_into_a_copy(form):
    """The event that the SDK made stays as it is."""
    for name, raw, kind in (
        ("V2ChatStreamResponse", EVENTS[6], "text"),
        ("V2ChatStreamResponse", EVENTS[3], "reasoning"),
        ("StreamedChatResponse", V1_EVENTS[1], "text"),
    ):
        before = made(form, name, raw)
        after = shape.render_chunk(before, Chunk(**{kind: "new"}))
        assert type(after) is type(before)
        assert getattr(streamed("json", name, [after]), kind) == "new"
        assert getattr(streamed("json", name, [before]), kind) != "new"
