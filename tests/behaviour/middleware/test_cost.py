"""Middleware that resumes at the end of a call with its reply, cost and errors."""

import openai

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.middleware_shapes import SHAPES, STREAMS, Fails, calls_in
from tests.support.middlewares import ALL_STREAMS, notes_of, over
from tests.support.sdk_worlds import MESSAGES

# Cost: resume at the end. -------------------------------------------------------------------------


@over(SHAPES)
def test_cost_resumes_with_the_whole_reply(shape):
    """One source adds up texts, tokens and times, of values and of streams."""
    replies = []

    def cost(call):
        replies.append((call, (yield call)))

    with shape.model("the good answer", middleware=[cost]) as model:
        model.ask()
    ((call, reply),) = replies
    assert "the good answer" == reply.text
    assert "completed" == reply.outcome
    assert "provider" == reply.source
    assert reply.duration_ms > 0
    assert shape.streams == (reply.chunks is not None)
    assert shape.streams == (reply.first_chunk_ms is not None)
    assert (3 if shape.sdk else None) == (reply.usage and reply.usage.output_tokens)
    assert (None if shape.sdk else "reference") == call.role
    assert ("m" if shape.sdk else None) == call.model
    assert ("openai" if shape.sdk else None) == call.provider


@over(SHAPES)
def test_the_call_has_the_id_of_its_record(shape, turns):
    """What a middleware logs can be found in the file."""
    seen = []

    def note(call):
        seen.append((call.id, call.turn_id))
        yield call

    with shape.model("the good answer", middleware=[note]) as model:
        model.ask()
    (turn,) = turns
    assert [(shape.call_in(turn)["call_id"], turn["turn_id"])] == seen


@over(SHAPES)
def test_a_price_noted_on_the_reply_is_in_the_record(shape, turns):
    """A reply returned with another price is the same reply: the caller's object, one call in the record."""

    def price(call):
        reply = yield call
        return reply.replace(cost_usd=0.25)

    def outer(call):
        reply = yield call
        spent.append(reply.cost_usd)

    spent = []
    with shape.model("the good answer", middleware=[outer, price]) as model:
        assert "the good answer" == model.ask().text
    assert [0.25] == spent
    (turn,) = turns
    (call,) = calls_in(turn)
    assert (0.25, "provider", 1) == (call["cost_usd"], call["source"], call["attempt"])


@over(ALL_STREAMS)
def test_a_stream_that_breaks_is_a_reply_with_the_text_so_far(shape, turns):
    """The middleware sees how it ended, the consumer gets the original exception."""
    replies = []

    def cost(call):
        replies.append((yield call))

    with shape.model(Fails(after="half an"), middleware=[cost]) as model:
        answer = model.try_()
    (reply,) = replies
    assert ("half an", "error") == (reply.text, reply.outcome)
    assert answer.error is reply.error
    assert isinstance(answer.error, shape.Error)
    assert [] == notes_of(answer.error)
    assert "half an" == answer.text
    (turn,) = turns
    assert ("half an", "error") == (shape.call_in(turn)["output"], shape.call_in(turn)["outcome"])


@over(ALL_STREAMS)
def test_a_stream_that_broke_stays_the_consumers_whatever_the_middleware_does(shape):
    """An exception of the middleware's does not hide the model's; a note tells of it."""

    def guard(call):
        yield call
        raise LookupError("mine")

    with shape.model(Fails(after="half an"), middleware=[guard]) as model:
        answer = model.try_()
    assert isinstance(answer.error, shape.Error)
    (note,) = notes_of(answer.error)
    assert "LookupError" in note
    assert "guard" in note


@over(STREAMS)
def test_a_whole_reply_cannot_be_put_in_the_place_of_a_broken_stream(shape):
    """After chunks were delivered, returning a reply changes nothing for the consumer."""

    def fallback(call):
        yield call
        return moa.Reply(text="instead")

    with shape.model(Fails(after="half an"), middleware=[fallback]) as model:
        answer = model.try_()
    assert isinstance(answer.error, shape.Error)
    assert "half an" == answer.text


# Calls inside calls -------------------------------------------------------------------------------


def test_a_changed_reply_is_not_paid_for_twice(turns):
    """Totals count the requests that a model got; the change is an entry of its own."""

    def shout(call):
        call.map_chunks(lambda chunk: chunk.text.upper())
        yield call

    with ScriptedServer({"m": Script("ok then", usage_always=True)}) as server:
        stack = moa.Stack([shout])
        client = stack.instrument(openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0))
        list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
        stack.uninstrument()
        client.close()
    (record,) = turns
    assert ("OK THEN", "middleware") == (record["output"], record["aggregator"]["source"])
    assert ["ok then"] == [call["output"] for call in record["calls"]]
    assert (1, 2, 1) == (
        record["totals"]["calls"],
        record["totals"]["usage"]["output_tokens"],
        record["totals"]["unpriced"],
    )
