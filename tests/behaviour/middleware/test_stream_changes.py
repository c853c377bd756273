"""Middleware that changes a stream on its way: chunk by chunk, buffered, or replaced."""

import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import STREAMS, VALUES, Fails, calls_in
from tests.support.middlewares import ALL_STREAMS, expect_form, openai_shape, over, retry


@over(ALL_STREAMS)
def test_map_chunks_changes_text(shape, turns):
    """The consumer reads the changed text; the record has what the model said and what was read."""

    def shout(call):
        call.map_chunks(lambda chunk: chunk.replace(text=chunk.text.upper()) if chunk.text else chunk)
        yield call

    with shape.model("the good answer", middleware=[shout]) as model:
        answer = model.ask()
    assert "THE GOOD ANSWER" == answer.text
    (turn,) = turns
    assert [("the good answer", "provider"), ("THE GOOD ANSWER", "middleware")] == [
        (call["output"], call["source"]) for call in calls_in(turn)
    ]
    assert "THE GOOD ANSWER" == shape.call_in(turn)["output"]


@over(ALL_STREAMS)
def test_map_chunks_may_return_a_string(shape):
    """A str is the chunk's new text."""

    def shout(call):
        call.map_chunks(lambda chunk: chunk.text.upper())
        yield call

    with shape.model("the good answer", middleware=[shout]) as model:
        assert "THE GOOD ANSWER" == model.ask().text


@over(ALL_STREAMS)
def test_map_chunks_may_drop_chunks(shape):
    """`None` drops a chunk, and the others are the same objects as ever."""
    raws = []

    def trim(call):
        call.on_chunk(lambda chunk: raws.append(chunk.raw))
        call.map_chunks(lambda chunk: None if chunk.text == " good" else chunk)
        yield call

    with shape.model("the good answer", middleware=[trim]) as model:
        answer = model.ask()
    assert "the answer" == answer.text
    assert len(raws) == len(answer.chunks) + 1
    assert all(any(chunk is raw for raw in raws) for chunk in answer.chunks)


@over(ALL_STREAMS)
def test_map_chunks_of_several_middlewares_run_from_the_wire_outwards(shape):
    """The inner one sees the model's text, the outer one the inner one's."""

    def adds(mark):
        def add(call):
            call.map_chunks(lambda chunk: chunk.text + mark if chunk.text else chunk)
            yield call

        return add

    with shape.model("answer", middleware=[adds("<outer>"), adds("<inner>")]) as model:
        assert "answer<inner><outer>" == model.ask().text


@over(ALL_STREAMS)
def test_map_chunks_that_returns_something_else_is_named(shape):
    """It takes a Chunk, a str or None."""

    def wrong(call):
        call.map_chunks(lambda chunk: 5)
        yield call

    with shape.model("the good answer", middleware=[wrong]) as model:
        with pytest.raises(moa.ReplyFormError, match=r"wrong`: map_chunks takes .* got int"):
            model.ask()


@over(ALL_STREAMS)
def test_a_buffered_stream_can_be_replaced(shape, turns):
    """Held back until it is whole, a stream's reply is replaced before the consumer reads any of it."""

    def guard(call):
        call.buffer()
        reply = yield call
        assert "the bad answer" == reply.text
        return reply.replace(text="no comment")

    with shape.model("the bad answer", middleware=[guard]) as model:
        assert "no comment" == model.ask().text
    (turn,) = turns
    assert [("the bad answer", "provider"), ("no comment", "middleware")] == [
        (call["output"], call["source"]) for call in calls_in(turn)
    ]
    assert "no comment" == shape.call_in(turn)["output"]


@over(ALL_STREAMS)
def test_a_buffered_stream_that_is_not_replaced_is_the_same(shape):
    """The consumer gets the very chunks, after the middleware has seen the whole reply."""
    raws, order = [], []

    def hold(call):
        call.on_chunk(lambda chunk: raws.append(chunk.raw))
        call.buffer()
        yield call
        order.append("reply")

    with shape.model("the good answer", middleware=[hold]) as model:
        answer = model.ask(look=None if shape.managed else lambda _: order.append("value"))
    assert "the good answer" == answer.text
    assert [id(raw) for raw in raws] == [id(chunk) for chunk in answer.chunks]
    # What an async generator function returns is there before anything can be awaited.
    expected = ["value", "reply"] if shape.name == "async generator" else ["reply", "value"]
    assert (["reply"] if shape.managed else expected) == order


@over([shape for shape in ALL_STREAMS if not shape.managed])
def test_a_buffered_stream_keeps_its_form(shape):
    """It is still the SDK's stream, or an iterator of the same kind."""

    def hold(call):
        call.buffer()
        yield call

    with shape.model("the good answer", middleware=[hold]) as model:
        assert "the good answer" == model.ask(look=lambda value: expect_form(shape, value)).text


@over(ALL_STREAMS)
def test_a_buffered_stream_that_breaks_may_be_sent_again(shape, turns):
    """Nothing was delivered, so even a stream that broke in the middle is resent."""

    def hold(call):
        call.buffer()
        yield call

    with shape.model(Fails(after="half an"), "the good answer", middleware=[retry, hold]) as model:
        assert "the good answer" == model.ask().text
    (turn,) = turns
    assert [("half an", "error"), ("the good answer", "completed")] == [
        (call["output"], call["outcome"]) for call in calls_in(turn)
    ]


@over(ALL_STREAMS)
def test_a_buffered_stream_is_mapped_too(shape, turns):
    """`map_chunks` and `buffer` go together, and the record has what was read."""

    def shout(call):
        call.buffer()
        call.map_chunks(lambda chunk: chunk.text.upper() if chunk.text else chunk)
        yield call

    with shape.model("the good answer", middleware=[shout]) as model:
        assert "THE GOOD ANSWER" == model.ask().text
    (turn,) = turns
    assert "THE GOOD ANSWER" == shape.call_in(turn)["output"]


@over(VALUES)
def test_a_value_can_be_replaced(shape, turns):
    """What a middleware returns is what the caller gets, in the caller's form; both are in the record."""

    def guard(call):
        reply = yield call
        return reply.replace(text=reply.text.upper())

    with shape.model("the good answer", middleware=[guard]) as model:
        assert "THE GOOD ANSWER" == model.ask(look=lambda value: expect_form(shape, value)).text
    (turn,) = turns
    assert [("the good answer", "provider"), ("THE GOOD ANSWER", "middleware")] == [
        (call["output"], call["source"]) for call in calls_in(turn)
    ]
    assert "THE GOOD ANSWER" == shape.call_in(turn)["output"]


def test_a_replaced_first_choice_is_rendered():
    """Of a reply with several choices the first is changed, the others stay."""
    first = {"index": 0, "text": "one", "reasoning": None, "refusal": None, "tool_calls": [], "finish_reason": "stop"}
    reply = moa.Reply(text="one", choices=[first, {**first, "index": 1, "text": "two"}])

    def cache(call):
        return reply.replace(text="1")
        yield

    with openai_shape("openai value").model("never", middleware=[cache]) as model:
        completion = model.ask().value
    assert ["1", "two"] == [choice.message.content for choice in completion.choices]


@over(STREAMS)
def test_a_late_replacement_is_ignored_and_logged(shape, caplog, turns):
    """After chunks were delivered the reply is the consumer's."""

    def late(call):
        reply = yield call
        return reply.replace(text="instead")

    with shape.model("the good answer", middleware=[late]) as model:
        assert "the good answer" == model.ask().text
    assert ["moa.late_replacement"] == [record.message.split()[0] for record in caplog.records]
    (turn,) = turns
    assert ["the good answer"] == [call["output"] for call in calls_in(turn)]
