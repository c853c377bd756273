"""Middleware that answers in the place of the model: caches, and replies of one's own."""

import asyncio

import openai
import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import VALUES, calls_in
from tests.support.middlewares import ANSWERABLE, expect_form, openai_shape, over
from tests.support.sdk_worlds import MESSAGES, world

# Cache: answer by short-circuit. ------------------------------------------------------------------


@over(ANSWERABLE)
def test_a_cache_hit_has_the_callers_form_and_is_in_the_record(shape, turns):
    """A Reply made by hand is rendered as what the caller asked for; the record names its source."""

    def cache(call):
        return moa.Reply(text="from the shelf", source="cache")
        yield

    def hit(call):
        # No generator: one that answers at once.
        return cache(call)

    with shape.model("never", middleware=[hit]) as model:
        answer = model.ask(look=lambda value: expect_form(shape, value))
        assert "from the shelf" == answer.text
        assert [] == model.received
    (turn,) = turns
    (call,) = calls_in(turn)
    assert call == shape.call_in(turn)
    assert ("from the shelf", "cache", "completed") == (call["output"], call["source"], call["outcome"])
    assert "hello" == call["input_messages"][-1]["content"]
    if shape.sdk:
        assert "from the shelf" == turn["output"]


@over(ANSWERABLE)
def test_a_stored_reply_is_a_cache_hit(shape, turns):
    """What a provider said before is, returned again, from a cache; usage and text are there."""
    shelf = {}

    def cache(call):
        key = call.messages[-1]["content"]
        if key not in shelf:
            shelf[key] = yield call
        return shelf[key]

    with shape.model("the good answer", "another", middleware=[cache]) as model:
        assert "the good answer" == model.ask().text
        assert "the good answer" == model.ask(look=lambda value: expect_form(shape, value)).text
        assert ["hello"] == model.received
    first, second = (shape.call_in(turn) for turn in turns)
    assert ["provider", "cache"] == [first["source"], second["source"]]
    assert first["output"] == second["output"]
    assert first["usage"] == second["usage"]
    assert first["response_id"] == second["response_id"]


@pytest.mark.parametrize("first", ANSWERABLE, ids=lambda shape: shape.name)
@over([shape for shape in ANSWERABLE if shape.name in ("value", "async generator", "openai value", "openai stream")])
def test_a_stored_reply_serves_every_form(first, shape):
    """A cache filled by one kind of call answers another kind."""
    shelf = []

    def cache(call):
        if not shelf:
            shelf.append((yield call).replace(raw=None))
        return shelf[0]

    with first.model("the good answer", middleware=[cache]) as model:
        model.ask()
    with shape.model("never", middleware=[cache]) as model:
        assert "the good answer" == model.ask(look=lambda value: expect_form(shape, value)).text


def test_an_answered_stream_of_the_sdk_has_with_and_close():
    """What stands in for an `openai.Stream` can be entered, left and closed."""

    def cache(call):
        return moa.Reply(text="from the shelf")
        yield

    with openai_shape("openai stream").model("never", middleware=[cache]) as model:
        with model.call("hello", {}) as stream:
            (chunk,) = stream
        stream.close()
        assert ("from the shelf", "stop") == (chunk.choices[0].delta.content, chunk.choices[0].finish_reason)
        assert isinstance(chunk, openai.types.chat.ChatCompletionChunk)


def test_an_answered_async_stream_of_the_sdk_has_with_and_close():
    """The same of an `openai.AsyncStream`."""

    def cache(call):
        return moa.Reply(text="from the shelf")
        yield

    async def main(model):
        async with await model.call("hello", {}) as stream:
            chunks = [chunk async for chunk in stream]
        await stream.close()
        await model.hang_up()
        return chunks

    with openai_shape("async openai stream").model("never", middleware=[cache]) as model:
        (chunk,) = asyncio.run(main(model))
    assert "from the shelf" == chunk.choices[0].delta.content


@over([shape for shape in VALUES if shape.sdk])
def test_tool_calls_and_usage_of_a_reply_are_rendered(shape):
    """Everything that a Reply says is in the SDK's object."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    def cache(_):
        usage = moa.Usage(input_tokens=10, cache_read_tokens=5, output_tokens=2)
        return moa.Reply(tool_calls=[call], usage=usage)
        yield

    with shape.model("never", middleware=[cache]) as model:
        completion = model.ask().value
    assert "f" == completion.choices[0].message.tool_calls[0].function.name
    assert "tool_calls" == completion.choices[0].finish_reason
    assert (15, 2) == (completion.usage.prompt_tokens, completion.usage.completion_tokens)


@over(ANSWERABLE)
def test_a_hit_without_a_turn_or_record_works(shape):
    """Answering does not depend on tracing."""

    def cache(call):
        return moa.Reply(text="from the shelf")
        yield

    with shape.model("never", middleware=[cache]) as model:
        assert "from the shelf" == model.ask().text


def test_what_the_aggregator_read_is_in_the_record(turns):
    """A reference answered by the cache stands among the references of the turn, with its source."""

    def cache(call):
        if call.role == "reference":
            return moa.Reply(text="from the shelf", source="cache")
        yield call

    stack = moa.Stack([cache])
    ask = stack.reference(lambda prompt: "never")
    answer = stack.aggregator(lambda prompt: f"so: {prompt}")
    create = stack.turn(lambda prompt: answer(ask(prompt)))
    assert "so: from the shelf" == create("hi")
    (turn,) = turns
    assert [("from the shelf", "cache")] == [(r["output"], r["source"]) for r in turn["references"]]
    assert "provider" == turn["aggregator"]["source"]


# Calls inside calls -------------------------------------------------------------------------------


def test_an_answer_takes_the_form_that_the_function_returns(turns):
    """A decorated function that returns completions gets a completion, once it has shown it."""

    def swap(call):
        yield call
        return moa.Reply(text="swapped")

    with world("mock") as made:
        client = made.client()
        stack = moa.Stack([swap])

        @stack.aggregator
        def ask(*, stream=False):
            return client.chat.completions.create(model="m", messages=MESSAGES, stream=stream)

        assert "swapped" == ask().choices[0].message.content
        stack.replace(middleware=[lambda call: moa.Reply(text="at once")])
        assert "at once" == ask().choices[0].message.content
        assert ["at once"] == [chunk.choices[0].delta.content for chunk in ask(stream=True)]


def test_a_plain_function_may_answer_with_a_reply():
    """A generator is needed only to send the call on."""

    def canned(call):
        return moa.Reply(text="canned")

    assert "canned" == moa.Stack([canned]).reference(lambda: "x")()
