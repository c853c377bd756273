"""Reading Ollama's own replies: the SDK's objects, and the JSON they are made of."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from moa_middleware._capture.flow.model import Chunk
from moa_middleware._capture.shapes import ollama as shape
from moa_middleware._capture.shapes.accumulator import Accumulator

HEAD = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}
COUNTS = {"prompt_eval_count": 11, "eval_count": 5, "total_duration": 9, "load_duration": 1}
END = {**HEAD, "done": True, "done_reason": "stop", **COUNTS}
PARIS = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}
ROME = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}


def _sdk(name):
    import ollama

    return getattr(ollama, name)


def chat(form, message, **fields):
    value = {**HEAD, "done": False, **fields, "message": {"role": "assistant", **message}}
    return _sdk("ChatResponse")(**value) if form == "sdk" else value


def generate(form, **fields):
    value = {**HEAD, "done": False, **fields}
    return _sdk("GenerateResponse")(**value) if form == "sdk" else value


@pytest.fixture(params=["json", "sdk"])
def form(request):
    if request.param == "sdk" and find_spec("ollama") is None:
        pytest.skip("ollama is not installed (it needs an environment of its own)")
    return request.param


def read(value):
    data = value if isinstance(value, dict) else vars(value)
    return shape.read_value(data, value)


def streamed(*chunks):
    gathered = Accumulator()
    assert all(shape.feed(gathered, chunk) for chunk in chunks)
    return gathered.reply()


def calls(reply):
    return [(call["function"]["name"], call["function"]["arguments"]) for call in reply.tool_calls]


def test_a_whole_chat_reply_is_read(form):
    """Text, thinking, two calls of one function, counts, reason and model."""
    message = {"content": "one two", "thinking": "hm", "tool_calls": [PARIS, ROME]}
    value = chat(form, message, **END)
    reply = read(value)
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("one two", "hm", "stop")
    assert calls(reply) == [("weather", '{"city": "Paris"}'), ("weather", '{"city": "Rome"}')]
    known = {name: value for name, value in reply._details.items() if name != "items"}
    assert known == {"response_model": "m", "usage_raw": COUNTS, "created": 1767225600.0}
    assert reply.raw is value


def test_the_parts_of_a_chat_stream_are_joined(form):
    """The last part has no text and all counts; a call comes whole in a part of its own."""
    parts = [{"content": "", "thinking": "h"}, {"content": "", "thinking": "m"}, {"content": "one "}]
    parts += [{"content": "two"}, {"content": "", "tool_calls": [PARIS]}, {"content": "", "tool_calls": [ROME]}]
    chunks = [chat(form, part) for part in parts]
    reply = streamed(*chunks, chat(form, {"content": ""}, **END))
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("one two", "hm", "stop")
    assert calls(reply) == [("weather", '{"city": "Paris"}'), ("weather", '{"city": "Rome"}')]
    assert reply._details["usage_raw"] == COUNTS
    assert reply.chunks is not None


def test_a_completion_is_read_in_both_ways(form):
    """`generate` has its texts at the top."""
    value = read(generate(form, **{**END, "response": "one two", "thinking": "hm"}))
    parts = [
        generate(form, response="", thinking="hm"),
        generate(form, response="one "),
        generate(form, response="two"),
    ]
    stream = streamed(*parts, generate(form, **{**END, "response": ""}))
    for reply in (value, stream):
        assert (reply.text, reply.reasoning, reply.finish_reason) == ("one two", "hm", "stop")
        assert reply._details["usage_raw"] == COUNTS


def test_a_stream_that_breaks_off_has_no_counts(form):
    """What was not sent is unknown, and not 0."""
    reply = streamed(chat(form, {"content": "one "}))
    assert (reply.text, reply.finish_reason, reply.usage) == ("one ", None, None)


def test_an_id_of_a_call_is_kept_where_the_server_sends_one():
    """Newer servers do; the SDK's class drops it."""
    reply = read(chat("json", {"content": "", "tool_calls": [{"id": "call_1", **PARIS}]}, **END))
    assert [call["id"] for call in reply.tool_calls] == ["call_1"]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"done": True},
        {"done": True, "created_at": "x"},
        {"done": "yes", "created_at": "x", "response": "a"},
        {"message": {"role": "assistant", "content": "a"}, "created_at": "x"},
        {"choices": [], "model": "m"},
    ],
)
def test_what_is_of_another_shape_is_left_to_the_others(value):
    """Events of hand-written generators use some of the same words."""
    assert shape.read_value(value, value) is None
    assert not shape.feed(Accumulator(), value)
    assert shape.render_chunk(value, Chunk(text="x")) is None


def test_a_changed_text_is_put_into_a_copy(form):
    """The part that the SDK made stays as it is."""
    for part, path in ((chat(form, {"content": "a", "thinking": "t"}), "message"), (generate(form, response="a"), "")):
        made = shape.render_chunk(part, Chunk(text="b", reasoning="u" if path else ""))
        assert type(made) is type(part)
        assert (streamed(part).text, streamed(made).text) == ("a", "b")
        assert streamed(made).reasoning == ("u" if path else None)
