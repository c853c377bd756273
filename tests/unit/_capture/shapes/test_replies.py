"""Reading what models send: real SDK objects, dicts and look-alikes, chunks and values, odd and even."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

import moa_middleware as moa
from moa_middleware._capture.flow.model import Chunk, Reply, Usage
from moa_middleware._capture.shapes.accumulator import Accumulator, read_chunks
from moa_middleware._capture.shapes.parts import read_parts
from moa_middleware._capture.shapes.registry import register_shape
from moa_middleware._capture.shapes.replies import read_reply
from moa_middleware._capture.shapes.usage import read_usage
from tests.support.replies import namespace
from tests.support.sdk_worlds import chunk

FORMS = {
    "sdk": ChatCompletionChunk.model_validate,
    "constructed": lambda value: ChatCompletionChunk.construct(**value),
    "dict": lambda value: value,
    "look-alike": namespace,
}
VALUE_FORMS = {
    "sdk": ChatCompletion.model_validate,
    "constructed": lambda value: ChatCompletion.construct(**value),
    "dict": lambda value: value,
    "look-alike": namespace,
}


def read_stream(chunks, form="dict"):
    """Return the reply of a stream of JSON chunks in one form."""
    acc = Accumulator()
    for one in chunks:
        acc.feed(FORMS[form](one))
    assert 0 == acc.unread
    return acc


def delta(index=0, *, finish=None, **fields):
    return {"index": index, "delta": fields, "finish_reason": finish}


def of(*choices, **fields):
    return {**chunk(choices=list(choices)), **fields}


@pytest.mark.parametrize("form", FORMS)
def test_everything_a_chat_stream_carries_is_joined(form):
    """Content, reasoning under both names, refusal, finish reason, ids and usage."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }
    acc = read_stream(
        [
            of(delta(role="assistant", content="")),
            of(delta(reasoning_content="Hm. ")),
            of(delta(reasoning="Ah.")),
            of(delta(content="Yes, ")),
            of(delta(content="but ", refusal="no")),
            of(delta(refusal="thing")),
            of(delta(content="no.", finish="stop"), system_fingerprint="fp", service_tier="default"),
            of(delta(finish="stop")),
            of(usage=usage),
        ],
        form,
    )
    reply = acc.reply()
    assert ("Yes, but no.", "Hm. Ah.", "nothing", "stop") == (
        reply.text,
        reply.reasoning,
        reply.refusal,
        reply.finish_reason,
    )
    assert Usage(input_tokens=60, output_tokens=20, cache_read_tokens=40, reasoning_tokens=8) == reply.usage
    assert ("chatcmpl-1", "m", "fp", "default") == tuple(
        reply._details[key] for key in ("response_id", "response_model", "system_fingerprint", "service_tier")
    )
    assert acc.finished
    assert 9 == reply.chunks


@pytest.mark.parametrize("form", FORMS)
def test_usage_may_ride_on_the_finish_chunk(form):
    """In either place."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    reply = read_stream([of(delta(content="a")), of(delta(finish="stop"), usage=usage)], form).reply()
    assert Usage(input_tokens=3, output_tokens=2) == reply.usage


@pytest.mark.parametrize("form", FORMS)
def test_choices_are_kept_apart(form):
    """`n > 1`: choices of index 1 come unasked, interleaved."""
    acc = read_stream(
        [of(delta(0, content="a1"), delta(1, content="b1")), of(delta(1, content="b2")), of(delta(0, finish="stop"))],
        form,
    )
    assert not acc.finished
    acc.feed(FORMS[form](of(delta(1, finish="length"))))
    reply = acc.reply()
    assert ["a1", "b1b2"] == [choice["text"] for choice in reply.choices]
    assert ["stop", "length"] == [choice["finish_reason"] for choice in reply.choices]
    assert ("a1", "stop", True) == (reply.text, reply.finish_reason, acc.finished)


TOOLS = {
    "parallel, arguments in pieces": (
        [
            [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}],
            [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{"}}],
            [{"index": 0, "function": {"arguments": '{"x"'}}, {"index": 1, "function": {"arguments": "}"}}],
            [{"index": 0, "function": {"arguments": ": 1}"}}],
        ],
        [("a", "f", '{"x": 1}'), ("b", "g", "{}")],
    ),
    "index used again with another id": (
        [
            [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}}],
            [{"index": 0, "id": "b", "function": {"name": "g", "arguments": "2"}}],
        ],
        [("a", "f", "1"), ("b", "g", "2")],
    ),
    "name repeated in each chunk": (
        [
            [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}}],
            [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "2"}}],
        ],
        [("a", "f", "12")],
    ),
    "no index": (
        [
            [{"id": "a", "function": {"name": "f", "arguments": "1"}}],
            [{"function": {"arguments": "2"}}],
            [{"id": "b", "function": {"name": "g", "arguments": "3"}}],
        ],
        [("a", "f", "12"), ("b", "g", "3")],
    ),
    "no function": ([[{"index": 0, "id": "a", "function": None}]], [("a", None, "")]),
    "number as id": ([[{"index": 0, "id": 7, "function": {"name": "f", "arguments": "1"}}]], [("7", "f", "1")]),
    "arguments as an object": (
        [[{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]],
        [("a", "f", '{"x": 1}')],
    ),
}


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("form", ["dict", "look-alike", "constructed"])
def test_tool_calls_are_joined_as_the_servers_mean_them(name, form):
    """By index, id and name, with the quirks of servers that speak the format."""
    if (name, form) == ("arguments as an object", "look-alike"):
        pytest.skip("an object of a look-alike is no JSON")
    deltas, expected = TOOLS[name]
    reply = read_stream([of(delta(tool_calls=calls)) for calls in deltas], form).reply()
    found = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in reply.tool_calls]
    assert expected == found


ODD = {
    "choices null": {"choices": None},
    "no choices": {"choices": []},
    "delta null": {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
    "no delta": {"choices": [{"index": 0}]},
    "index null": {"choices": [{"index": None, "delta": {"content": ""}}]},
    "choice null": {"choices": [None]},
    "content as parts": {"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": ""}]}}]},
    "content as a number": {"choices": [{"index": 0, "delta": {"content": 3}}]},
    "tool calls null": {"choices": [{"index": 0, "delta": {"tool_calls": None}}]},
    "tool call null": {"choices": [{"index": 0, "delta": {"tool_calls": [None]}}]},
    "empty object": {},
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("form", ["dict", "look-alike"])
def test_an_odd_chunk_costs_nothing_but_itself(name, form):
    """It never raises, and the text around it stays."""
    acc = Accumulator()
    for one in (of(delta(content="be")), ODD[name], of(delta(content="fore"))):
        acc.feed(FORMS[form](one))
    assert "before" == acc.reply().text
    assert 3 == acc.count


class Angry:
    def __getattr__(self, name):
        raise RuntimeError(name)


def test_a_chunk_that_raises_is_counted():
    """Somebody else's object may do anything."""
    acc = Accumulator()
    for one in ("a", Angry(), object(), "b"):
        acc.feed(one)
    assert ("ab", 2) == (acc.reply().text, acc.unread)


@pytest.mark.parametrize("form", VALUE_FORMS)
def test_a_completed_response_is_read_whole(form):
    """All that a message carries, with the price that OpenRouter adds."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "id": "r",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "Yes",
                    "reasoning_content": "Hm",
                    "refusal": "no",
                    "tool_calls": [call],
                },
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cost": 0.25},
    }
    value = VALUE_FORMS[form](body)
    reply = read_reply(value)
    assert value is reply.raw
    assert ("Yes", "Hm", "no", "tool_calls", 0.25) == (
        reply.text,
        reply.reasoning,
        reply.refusal,
        reply.finish_reason,
        reply.cost_usd,
    )
    assert (call,) == reply.tool_calls
    assert Usage(input_tokens=5, output_tokens=2) == reply.usage


@pytest.mark.parametrize("form", VALUE_FORMS)
def test_several_choices_of_a_value_are_all_there(form):
    """One call with n=3 is three references' worth of text."""
    choices = [
        {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        for i, text in enumerate("abc")
    ]
    body = {"id": "r", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
    reply = read_reply(VALUE_FORMS[form](body))
    assert ("a", ["a", "b", "c"]) == (reply.text, [choice["text"] for choice in reply.choices])


PLAIN = {
    "str": ("text", "text"),
    "none": (None, None),
    "content": ({"content": "text"}, "text"),
    "text": ({"text": "text", "tokens": 3}, "text"),
    "delta": ({"type": "token", "delta": "text"}, "text"),
    "nested": ({"type": "x", "delta": {"text": "text"}}, "text"),
    "parts": ({"content": [{"type": "text", "text": "te"}, {"type": "text", "text": "xt"}]}, "text"),
    "tuple": (("text", 12), "text"),
    "tuple of a message": ((SimpleNamespace(content="text"), {"node": "n"}), "text"),
    "message": (SimpleNamespace(content="text", usage_metadata=None), "text"),
    "list of strings": ({"output": ["te", "xt"]}, "text"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_values_and_chunks_give_their_text(name):
    """The same object as a value and as a chunk."""
    value, text = PLAIN[name]
    assert text == read_parts(value, read_reply(value)).text
    acc = Accumulator()
    acc.feed(value)
    assert text == acc.reply().text
    assert 0 == acc.unread


def test_plain_objects_carry_usage_and_tool_calls():
    """LangChain's messages, say."""
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    message = SimpleNamespace(content="", tool_calls=[call], usage_metadata={"input_tokens": 3, "output_tokens": 4})
    reply = read_reply(message)
    assert Usage(input_tokens=3, output_tokens=4) == reply.usage
    assert (call,) == reply.tool_calls
    acc = Accumulator()
    acc.feed(message)
    assert Usage(input_tokens=3, output_tokens=4) == acc.reply().usage
    assert "f" == acc.reply().tool_calls[0]["function"]["name"]


@pytest.mark.parametrize(
    "value", [3, 2.5, object(), [1, 2], {"nothing": 1}, (1, 2)], ids=lambda value: type(value).__name__
)
def test_an_unknown_value_is_named(value):
    """By type and a bounded repr."""
    reply = read_reply(value)
    assert reply.text is None
    assert value is reply.raw
    assert f"builtins.{type(value).__name__}" == reply._details["unknown"]["type"]


USAGES = {
    "none": (None, None),
    "empty": ({}, None),
    "openai": ({"prompt_tokens": 10, "completion_tokens": 2}, Usage(input_tokens=10, output_tokens=2)),
    "cached": (
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}},
        Usage(input_tokens=6, cache_read_tokens=4),
    ),
    "responses": (
        {"input_tokens": 10, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}},
        Usage(input_tokens=6, output_tokens=2, cache_read_tokens=4),
    ),
    "anthropic": (
        {"input_tokens": 6, "output_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1},
        Usage(input_tokens=6, output_tokens=2, cache_read_tokens=4, cache_write_tokens=1),
    ),
    "zero": ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(input_tokens=0, output_tokens=0)),
    "words": ({"prompt_tokens": "many"}, None),
    "booleans": ({"prompt_tokens": True}, None),
}


@pytest.mark.parametrize("name", USAGES)
def test_usage_is_brought_to_one_form(name):
    """Input without its cached part, unknown as None and never 0."""
    raw, expected = USAGES[name]
    assert expected == read_usage(raw)
    assert expected == read_usage(namespace(raw) if raw else raw)


def test_a_class_of_the_users_can_be_registered(turns, monkeypatch):
    """`register_shape` for chunks and for values."""
    from moa_middleware._capture.shapes import registry

    monkeypatch.setattr(registry, "registered", [])

    class Token:
        def __init__(self, piece):
            self.piece = piece

    class Result:
        pass

    register_shape(Token, chunk=lambda token: Chunk(text=token.piece) if token.piece else None)
    register_shape(Result, reply=lambda _: Reply(text="result", finish_reason="stop"))

    @moa.aggregator
    def stream():
        yield Token("a")
        yield Token("")
        yield Token("b")

    @moa.reference
    def value():
        return Result()

    list(stream())
    value()
    assert ["ab", "result"] == [turns[0]["aggregator"]["output"], turns[1]["references"][0]["output"]]
    assert "c" == read_chunks(Token("c"))[0].text
    with pytest.raises(TypeError, match="takes a class"):
        register_shape("Token")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "delta",
                        "content",
                        "text",
                        "index",
                        "tool_calls",
                        "function",
                        "usage",
                        "message",
                        "finish_reason",
                        "x",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_breaks_the_readers(value):
    """Whatever a server sends."""
    acc = Accumulator()
    acc.feed(value)
    acc.feed(namespace(value))
    acc.reply()
    read_chunks(value)
    assert value is read_reply(value).raw or value is None
