"""Middleware: one source each, in every kind of call."""

import asyncio
import contextlib
import gc
import logging
from contextlib import suppress

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer, capture_turns
from tests.support.middleware_shapes import (
    MANAGERS,
    SHAPES,
    STREAMS,
    VALUES,
    Fails,
    ModelError,
    Plain,
    calls_in,
    pieces_of,
)
from tests.support.sdk_worlds import MESSAGES, world

SYNC = [shape for shape in SHAPES if not shape.is_async]
# Before it is called, nothing shows that a plain function returns an async manager.
ASYNC = [shape for shape in SHAPES if shape.is_async and not shape.managed]
ALL_STREAMS = STREAMS + MANAGERS
# What a manager's function returns does not show before it is called, so nothing can stand in for it.
ANSWERABLE = VALUES + STREAMS
SDK = [shape for shape in SHAPES if shape.sdk]
VALUE = Plain("value", is_async=False, streams=False)
ITERATOR = Plain("iterator", is_async=False, streams=True)
GENERATOR = Plain("generator", is_async=False, streams=True)


def over(shapes):
    """Run a test in each of these shapes."""
    return pytest.mark.parametrize("shape", shapes, ids=lambda shape: shape.name)


def openai_shape(name):
    return next(shape for shape in SHAPES if shape.name == name)


def notes_of(error):
    return list(getattr(error, "__notes__", ()))


def retry(call):
    """Try again, up to three times."""
    for _ in range(2):
        try:
            return (yield call)
        except Exception:
            yield moa.sleep(0.001)
    return (yield call)


def untouched(call):
    """Do nothing."""
    yield call


@over(SHAPES)
def test_a_stack_that_does_nothing_changes_nothing(shape, turns):
    """The answer, the request and the record are those of the model."""
    with shape.model("the good answer", middleware=[untouched]) as model:
        assert "the good answer" == model.ask().text
        assert ["hello"] == model.received
    (turn,) = turns
    assert "the good answer" == shape.call_in(turn)["output"]
    assert "completed" == shape.call_in(turn)["outcome"]
    assert "provider" == shape.call_in(turn)["source"]


@over(SHAPES)
def test_the_models_own_exception_passes(shape):
    """A failure reaches the caller as the same kind of exception, with no note of ours."""
    with shape.model(Fails(), middleware=[untouched]) as model:
        with pytest.raises(shape.Error) as caught:
            model.ask()
    assert [] == notes_of(caught.value)


# Redact: change what the model sees. --------------------------------------------------------------


def redact(call):
    """Take the secret out of what the model sees."""
    scrubbed = [{**m, "content": m["content"].replace("secret", "[…]")} for m in call.messages]
    yield call.replace(messages=scrubbed)


@over(SHAPES)
def test_redact_reaches_the_model_and_the_record(shape, turns):
    """The model gets the redacted text, and the call's record shows what the model got."""
    with shape.model("fine", middleware=[redact]) as model:
        model.ask("my secret is 42")
        assert ["my […] is 42"] == model.received
    (turn,) = turns
    assert "my […] is 42" == shape.call_in(turn)["input_messages"][-1]["content"]


def test_redact_leaves_the_callers_list_alone():
    """The caller's own messages are as they were."""
    mine = [{"role": "user", "content": "my secret"}]

    @moa.Stack([redact]).reference
    def ask(messages):
        return messages[0]["content"]

    assert "my […]" == ask(mine)
    assert [{"role": "user", "content": "my secret"}] == mine


@over(SHAPES)
def test_middleware_runs_while_nothing_is_recorded(shape):
    """Redaction does not depend on tracing."""
    with shape.model("fine", middleware=[redact]) as model:
        assert "fine" == model.ask("my secret").text
        assert ["my […]"] == model.received


@over(ANSWERABLE)
def test_a_hit_behind_redaction_is_recorded_redacted(shape, turns):
    """What a cache answered is recorded as the cache saw it, not as the caller said it."""

    def cache(call):
        return moa.Reply(text=call.messages[-1]["content"], source="cache")
        yield

    with shape.model("fine", middleware=[redact, cache]) as model:
        assert "my […]" == model.ask("my secret").text
        assert [] == model.received
    (turn,) = turns
    assert "my […]" == shape.call_in(turn)["input_messages"][-1]["content"]


@over(SDK)
def test_edits_of_the_request_reach_the_sdk(shape):
    """Model and parameters of the edited call are what the server receives; removed ones are gone."""

    def edit(call):
        params = {name: value for name, value in call.params.items() if name != "temperature"}
        yield call.replace(model="other", params={**params, "seed": 7})

    with shape.model("fine", middleware=[edit]) as model:
        model.ask(temperature=0.5, top_p=0.25)
        (body,) = model.arguments
    assert ("other", 7, 0.25) == (body["model"], body["seed"], body["top_p"])
    assert "temperature" not in body


def test_an_edit_of_stream_reaches_the_function():
    """`stream` is an argument as any other."""

    def whole(call):
        yield call.replace(stream=False)

    @moa.Stack([whole]).reference
    def ask(messages, *, stream=False):
        return stream

    assert ask("hi", stream=True) is False


def test_edits_of_arguments_are_read_back():
    """New keyword arguments show as messages and parameters of the edited call."""
    seen = []

    def edit(call):
        call = call.replace(kwargs={"prompt": "other", "temperature": 0.5})
        seen.append((call.messages, dict(call.params)))
        yield call

    @moa.Stack([edit]).reference
    def ask(prompt, temperature=1.0):
        return prompt, temperature

    assert ("other", 0.5) == ask(prompt="mine")
    assert [([{"role": "user", "content": "other"}], {"temperature": 0.5})] == seen


def test_defaults_of_the_function_survive_an_edit():
    """A model, a parameter and `stream` that are only the function's defaults are still shown."""
    seen = []

    def look(call):
        seen.append((call.model, call.params.get("temperature"), call.stream))
        yield call

    @moa.Stack([look, redact, look]).reference
    def ask(messages, model="m", temperature=0.5, *, stream=True):
        return iter(["fine"])

    assert ["fine"] == list(ask([{"role": "user", "content": "my secret"}]))
    assert [("m", 0.5, True)] * 2 == seen


@pytest.mark.parametrize("positional", [True, False])
def test_a_function_that_takes_a_string_gets_a_string(positional):
    """One user message is given to it as its content, wherever the argument stood."""

    @moa.Stack([redact]).reference
    def ask(prompt):
        return prompt

    assert "my […]" == (ask("my secret") if positional else ask(prompt="my secret"))


def test_messages_of_an_unknown_argument_are_a_clear_error():
    """It says how to name the argument; named, it works."""
    stack = moa.Stack([lambda call: (yield call.replace(messages=["new"]))])

    def ask(history):
        return history

    with pytest.raises(moa.RequestError, match=r'messages="…"'):
        stack.reference(ask)(["old"])
    assert ["new"] == stack.reference(messages="history")(ask)(["old"])


def test_several_messages_for_a_string_are_a_clear_error():
    """A function that takes one string cannot get two messages."""
    stack = moa.Stack([lambda call: (yield call.replace(messages=[*call.messages, *call.messages]))])
    with pytest.raises(moa.RequestError, match="'prompt' is a string"):
        stack.reference(lambda prompt: prompt)("hi")


@pytest.mark.parametrize("edit", [{"model": "other"}, {"params": {"seed": 1}}, {"stream": True}])
def test_a_parameter_that_the_function_lacks_is_a_clear_error(edit):
    """It is named, and the function is not called with it."""
    stack = moa.Stack([lambda call: (yield call.replace(**edit))])
    name = "seed" if "params" in edit else next(iter(edit))
    with pytest.raises(moa.RequestError, match=f"no parameter '{name}'; it takes prompt"):
        stack.reference(lambda prompt: prompt)("hi")


def test_an_unknown_field_is_a_clear_error():
    """A typing error in `replace` is named, with the fields that there are."""
    stack = moa.Stack([lambda call: (yield call.replace(mesages=[]))])
    with pytest.raises(moa.TagError, match=r"no field 'mesages'; it has .*messages"):
        stack.reference(lambda prompt: prompt)("hi")


# Watch: look at chunks. ---------------------------------------------------------------------------


@over(ALL_STREAMS)
def test_watch_sees_each_chunk_as_it_passes(shape):
    """The taps see every chunk with its text, and the consumer the very objects."""
    seen = []

    def watch(call):
        call.on_chunk(seen.append)
        yield call

    with shape.model("the good answer", middleware=[watch]) as model:
        answer = model.ask()
    assert "the good answer" == answer.text == "".join(chunk.text for chunk in seen)
    assert [id(chunk) for chunk in answer.chunks] == [id(chunk.raw) for chunk in seen]


@over(VALUES)
def test_a_value_has_no_chunks(shape):
    """A tap on a call that returns a value is never called."""

    def watch(call):
        call.on_chunk(lambda _: pytest.fail("a value has no chunks"))
        reply = yield call
        assert reply.chunks is None

    with shape.model("the good answer", middleware=[watch]) as model:
        assert "the good answer" == model.ask().text


@over(ALL_STREAMS)
def test_a_tap_that_raises_is_loud(shape, turns):
    """The consumer gets the exception of a middleware's tap, with a note that names the middleware."""

    def watch(call):
        call.on_chunk(lambda chunk: {}["missing"])
        yield call

    with shape.model("the good answer", middleware=[watch]) as model:
        answer = model.try_()
    assert isinstance(answer.error, KeyError)
    assert any("watch" in note for note in notes_of(answer.error))
    assert [] == answer.chunks
    (turn,) = turns
    assert "error" == shape.call_in(turn)["outcome"]


@over(ALL_STREAMS)
def test_registrations_are_carried_along_by_replace(shape):
    """A tap on the call that was given counts for the call that is sent, once."""
    seen = []

    def watch(call):
        call.on_chunk(lambda chunk: seen.append(chunk.text))
        yield call.replace(messages=[{"role": "user", "content": "other"}])

    with shape.model("the good answer", middleware=[watch]) as model:
        model.ask()
        assert ["other"] == model.received
    assert pieces_of("the good answer") == [text for text in seen if text]


def test_registrations_on_a_copy_are_the_copys():
    """A tap put on a replaced call is not on the call that it was made from."""
    seen = []

    def watch(call):
        call.replace(messages="other").on_chunk(seen.append)
        yield call

    with ITERATOR.model("the good answer", middleware=[watch]) as model:
        model.ask()
    assert [] == seen


@over(STREAMS)
def test_registrations_are_not_doubled_by_a_retry(shape):
    """A tap inside a retry, and an observer's, see each chunk of the second request once."""
    seen, observed = [], []

    def watch(call):
        call.on_chunk(lambda chunk: seen.append(chunk.text))
        yield call

    def observe(call):
        call.on_chunk(lambda chunk: observed.append(chunk.text))
        yield call

    stack = moa.Stack([retry, watch], observers=[observe])
    with shape.model(Fails(), "the good answer", stack=stack) as model:
        model.ask()
    assert pieces_of("the good answer") == [text for text in seen if text]
    assert seen == observed


@over(STREAMS)
def test_observers_taps_are_not_doubled_by_an_innermost_retry(shape):
    """The same call object sent twice carries an observer's tap once."""
    observed = []

    def observe(call):
        call.on_chunk(lambda chunk: observed.append(chunk.text))
        yield call

    with shape.model(Fails(), "the good answer", middleware=[retry], observers=[observe]) as model:
        model.ask()
    assert pieces_of("the good answer") == [text for text in observed if text]


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


# Retry. -------------------------------------------------------------------------------------------


@over(SHAPES)
def test_a_failed_request_is_sent_again(shape, turns):
    """A request that failed before anything came is resent; each attempt is in the record."""
    with shape.model(Fails(), Fails(), "the good answer", middleware=[retry]) as model:
        answer = model.ask()
        assert "the good answer" == answer.text
        assert ["hello"] * 3 == model.received
    (turn,) = turns
    calls = calls_in(turn)
    assert [1, 2, 3] == [call["attempt"] for call in calls]
    assert ["error", "error", "completed"] == [call["outcome"] for call in calls]
    assert calls[-1] == shape.call_in(turn)
    assert calls[:-1] == turn["calls"]
    assert "completed" == turn["outcome"]
    assert 3 == turn["totals"]["calls"]
    assert 2 == turn["totals"]["failed"]


@over(SHAPES)
def test_a_retry_that_gives_up_raises_the_last_exception(shape, turns):
    """All attempts failed: the caller gets the last failure, unchanged."""
    with shape.model(Fails(), middleware=[retry]) as model:
        answer = model.try_()
        assert ["hello"] * 3 == model.received
    assert isinstance(answer.error, shape.Error)
    assert [] == notes_of(answer.error)
    (turn,) = turns
    assert ["error"] * 3 == [call["outcome"] for call in calls_in(turn)]
    assert "error" == turn["outcome"]


@over(SHAPES)
def test_a_retry_may_change_the_request(shape, turns):
    """Another request goes out the second time, and each record shows its own."""

    def simpler(call):
        try:
            return (yield call)
        except Exception:
            return (yield call.replace(messages=[{"role": "user", "content": "simpler"}]))

    with shape.model(Fails(), "the good answer", middleware=[simpler]) as model:
        assert "the good answer" == model.ask().text
        assert ["hello", "simpler"] == model.received
    (turn,) = turns
    assert ["hello", "simpler"] == [call["input_messages"][-1]["content"] for call in calls_in(turn)]


def test_messages_of_an_iterator_are_sent_again():
    """The second request reads the same messages, though the caller gave an iterator."""
    read = []

    @moa.Stack([retry]).reference
    def ask(messages):
        read.append(list(messages))
        if len(read) == 1:
            raise ModelError
        return "fine"

    assert "fine" == ask(iter(["one", "two"]))
    assert [["one", "two"]] * 2 == read


@over([shape for shape in SHAPES if shape.name != "async manager"])
def test_sleep_works_in_both_worlds(shape):
    """It takes its time, and in an event loop others run meanwhile."""
    ticks = []

    def nap(call):
        loop = asyncio.get_running_loop() if shape.is_async else None
        if loop is not None:
            loop.call_later(0.01, ticks.append, "tick")
        yield moa.sleep(0.03)
        ticks.append("awake")
        yield call

    with shape.model("the good answer", middleware=[nap]) as model:
        assert "the good answer" == model.ask().text
    assert (["tick", "awake"] if shape.is_async else ["awake"]) == ticks


@over(ALL_STREAMS)
def test_a_resend_after_chunks_is_refused(shape, turns):
    """The middleware gets ResendError; unhandled, the consumer gets its own exception with a note."""

    def stubborn(call):
        reply = yield call
        if reply.error is not None:
            yield call

    with shape.model(Fails(after="half an"), "the good answer", middleware=[stubborn]) as model:
        answer = model.try_()
        assert ["hello"] == model.received
    assert isinstance(answer.error, shape.Error)
    (note,) = notes_of(answer.error)
    assert "stubborn` asked to resend after " in note
    assert f"{len(answer.chunks)} chunks were delivered" in note
    (turn,) = turns
    assert ["error"] == [call["outcome"] for call in calls_in(turn)]


@over(ALL_STREAMS)
def test_a_refused_resend_can_be_handled(shape):
    """A middleware that catches ResendError goes on; the reply stays what it was."""
    caught = []

    def stubborn(call):
        yield call
        try:
            yield call
        except moa.ResendError as error:
            caught.append(error)

    with shape.model("the good answer", middleware=[stubborn]) as model:
        assert "the good answer" == model.ask().text
    assert 1 == len(caught)


@over(ALL_STREAMS)
def test_a_refused_resend_of_a_whole_stream_is_loud(shape):
    """There is no exception of the model's to go first: the misuse is the consumer's to see."""

    def stubborn(call):
        yield call
        yield call

    with shape.model("the good answer", middleware=[stubborn]) as model:
        answer = model.try_()
    assert isinstance(answer.error, moa.ResendError)
    assert "stubborn" in str(answer.error)


@over(VALUES)
def test_a_value_may_be_sent_again_for_its_content(shape, turns):
    """Values are not delivered before the middleware is done: the best of two is returned."""

    def longest(call):
        return max((yield call), (yield call), key=lambda reply: len(reply.text))

    with shape.model("the good answer", "short", middleware=[longest]) as model:
        assert "the good answer" == model.ask().text
    (turn,) = turns
    assert ["the good answer", "short"] == [call["output"] for call in calls_in(turn)]


def test_the_cause_of_an_exception_is_left_alone():
    """What a middleware swallowed and did not answer is raised as it was, with its cause."""
    cause = OSError("socket")

    def swallow(call):
        with suppress(ModelError):
            yield call

    @moa.Stack([swallow]).reference
    def ask(messages):
        raise ModelError from cause

    with pytest.raises(ModelError) as caught:
        ask([])
    assert cause is caught.value.__cause__


def test_a_stop_iteration_of_the_function_is_not_renamed():
    """Python would turn it into RuntimeError inside a generator; the caller gets its own."""
    empty = iter(())
    for middleware in ([], [untouched], [untouched, untouched]):

        @moa.Stack(middleware, observers=[untouched]).reference
        def ask(messages):
            return next(empty)

        with pytest.raises(StopIteration):
            ask([])


# Cache: answer by short-circuit. ------------------------------------------------------------------


def expect_form(shape, value):
    """Assert that a value is what this shape's caller works with."""
    if shape.sdk and not shape.streams:
        assert isinstance(value, openai.types.chat.ChatCompletion)
    elif shape.name == "openai stream":
        assert isinstance(value, openai.Stream)
        assert value.response.status_code == 200
        assert not hasattr(value, "choices")
    elif shape.name == "async openai stream":
        assert isinstance(value, openai.AsyncStream)
        assert value.response.status_code == 200
    elif not shape.streams:
        assert isinstance(value, str)
    else:
        assert hasattr(value, "__anext__" if shape.is_async else "__next__")


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


# Budget: state, and refusing. ---------------------------------------------------------------------


class OverBudget(Exception):
    """What a budget raises."""


class Budget:
    """Refuse the calls beyond the first few."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, call):
        if not self.left:
            raise OverBudget("no calls left")
        self.left -= 1
        yield call


@over(SHAPES)
def test_a_budget_refuses_before_anything_is_sent(shape, turns):
    """The exception reaches the caller as it is, with a note; the refused call is in the record."""
    with shape.model("the good answer", middleware=[Budget(1)]) as model:
        model.ask()
        with pytest.raises(OverBudget, match="no calls left") as caught:
            model.ask("again")
        assert ["hello"] == model.received
    assert ["raised by the middleware `Budget`"] == notes_of(caught.value)
    refused = shape.call_in(turns[1])
    assert ("error", "middleware", 1) == (refused["outcome"], refused["source"], refused["attempt"])
    assert refused["error"]["type"].endswith("OverBudget")
    assert "again" == refused["input_messages"][-1]["content"]
    assert "error" == turns[1]["outcome"]


def test_a_refusal_behind_redaction_is_recorded_redacted(turns):
    """A refused call is recorded as the budget saw it."""
    with VALUE.model("never", middleware=[redact, Budget(0)]) as model:
        with pytest.raises(OverBudget):
            model.ask("my secret")
    (turn,) = turns
    assert "my […]" == VALUE.call_in(turn)["input_messages"][-1]["content"]


@over(SHAPES)
def test_an_exception_passes_the_middleware_further_out(shape):
    """It is thrown into the outer one, which may answer; unanswered it has one note, of who raised it."""
    seen = []

    def outer(call):
        try:
            yield call
        except OverBudget as error:
            seen.append(error)
            raise

    with shape.model("never", middleware=[outer, Budget(0)]) as model:
        answer = model.try_()
    assert [answer.error] == seen
    assert ["raised by the middleware `Budget`"] == notes_of(answer.error)


@over(VALUES)
def test_an_exception_after_the_reply_reaches_the_caller(shape, turns):
    """A guard that rejects what came is loud; the record keeps what the model said."""

    def guard(call):
        reply = yield call
        raise OverBudget(len(reply.text))

    with shape.model("the good answer", middleware=[guard]) as model:
        answer = model.try_()
    assert isinstance(answer.error, OverBudget)
    assert "guard" in notes_of(answer.error)[0]
    (turn,) = turns
    assert "the good answer" == shape.call_in(turn)["output"]
    assert "error" == turn["outcome"]


@over(ALL_STREAMS)
def test_an_exception_at_the_end_of_a_stream_reaches_the_consumer(shape):
    """It comes where the stream would have ended, after every chunk."""

    def guard(call):
        yield call
        raise OverBudget

    with shape.model("the good answer", middleware=[guard]) as model:
        answer = model.try_()
    assert isinstance(answer.error, OverBudget)
    assert "the good answer" == answer.text


def test_a_plain_function_that_raises_is_named():
    """A middleware need not be a generator function to fail loud."""

    def broken(call):
        raise OverBudget

    with VALUE.model("never", middleware=[broken]) as model:
        answer = model.try_()
    assert isinstance(answer.error, OverBudget)
    assert "broken" in notes_of(answer.error)[0]


# Changing a stream on its way. --------------------------------------------------------------------


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


# Fallback. ----------------------------------------------------------------------------------------


@over(SHAPES)
def test_a_fallback_answers_for_a_model_that_failed(shape, turns):
    """Returning a Reply in `except` answers; the failed attempt is in the record before it."""

    def fallback(call):
        try:
            return (yield call)
        except Exception:
            return moa.Reply(text="sorry")

    with shape.model(Fails(), middleware=[fallback]) as model:
        assert "sorry" == model.ask().text
    (turn,) = turns
    assert [(None, "error", "provider"), ("sorry", "completed", "middleware")] == [
        (call["output"], call["outcome"], call["source"]) for call in calls_in(turn)
    ]
    assert "sorry" == shape.call_in(turn)["output"]
    assert "completed" == turn["outcome"]


def test_a_fallback_may_call_another_function():
    """A raw stream of another source goes on for the one that failed before its first chunk."""

    def fallback(call):
        try:
            return (yield call)
        except ModelError:
            return iter(["from", " elsewhere"])

    for shape in (ITERATOR, GENERATOR):
        with shape.model(Fails(), middleware=[fallback]) as model:
            assert "from elsewhere" == model.ask().text


# Wait. --------------------------------------------------------------------------------------------


async def look_up(key):
    await asyncio.sleep(0)
    return f"{key} found"


def waits(call):
    found = yield moa.wait(look_up("a"))
    again = yield from moa.wait(look_up("b"))
    yield call.replace(messages=[{"role": "user", "content": f"{found}, {again}"}])


@over(ASYNC)
def test_wait_awaits_on_an_async_client(shape):
    """Both `yield` and `yield from` give the result."""
    with shape.model("fine", middleware=[waits]) as model:
        assert "fine" == model.ask().text
        assert ["a found, b found"] == model.received


@over(SYNC)
def test_wait_on_a_sync_client_is_named(shape):
    """There is nothing that could await: the error names the middleware."""
    with shape.model("fine", middleware=[waits]) as model:
        with pytest.raises(moa.AsyncOnSyncError, match="`waits` awaits, but this client is a sync one"):
            model.ask()
        assert [] == model.received


@over(ASYNC)
def test_wait_at_the_end_of_an_async_call(shape):
    """After the reply, at the end of a stream too, it may await."""
    found = []

    def store(call):
        yield call
        found.append((yield moa.wait(look_up("end"))))

    with shape.model("the good answer", middleware=[store]) as model:
        assert "the good answer" == model.ask().text
    assert ["end found"] == found


@over(ASYNC)
def test_what_is_awaited_may_fail(shape):
    """Its exception is thrown into the middleware."""

    async def fail():
        raise LookupError("nothing there")

    def cache(call):
        with suppress(LookupError):
            yield moa.wait(fail())
        yield call

    with shape.model("the good answer", middleware=[cache]) as model:
        assert "the good answer" == model.ask().text


# Order. -------------------------------------------------------------------------------------------


@over(SHAPES)
def test_the_first_is_outermost_and_observers_innermost(shape):
    """List order is from the caller to the wire, observers next to the wire."""
    order = []

    def named(name):
        def fn(call):
            order.append(name)
            yield call
            order.append(f"/{name}")

        return fn

    stack = moa.Stack([named("a"), moa.observer(named("o")), named("b")], observers=[named("p")])
    with shape.model("fine", stack=stack) as model:
        model.ask()
    assert ["a", "b", "o", "p"] == order[:4]
    assert {"/o", "/p"} == set(order[4:6])
    assert ["/b", "/a"] == order[6:]


def test_the_default_stack_is_looked_up_at_each_call():
    """`configure` after decoration works, and what it is not given stays."""

    @moa.reference
    def ask(messages):
        return messages[-1]["content"]

    mine = [{"role": "user", "content": "my secret"}]
    assert "my secret" == ask(mine)
    moa.configure(middleware=[redact])
    assert "my […]" == ask(mine)
    moa.configure(save_traces=False)
    assert "my […]" == ask(mine)
    moa.configure(middleware=[])
    assert "my secret" == ask(mine)


# Misuse. ------------------------------------------------------------------------------------------


def returns_none(call):
    return None


def returns_a_number(call):
    return 5


def empty(call):
    return
    yield


async def coroutine(call):
    return None


async def async_generator(call):
    yield call


@over(SHAPES)
@pytest.mark.parametrize("wrong", [returns_none, returns_a_number, empty, coroutine, async_generator])
def test_who_did_not_yield_is_named(shape, wrong):
    """Neither a yield nor a value: the error names the middleware."""
    with shape.model("fine", middleware=[wrong]) as model:
        with pytest.raises(moa.DidNotYieldError, match=f"`{wrong.__name__}` did not yield"):
            model.ask()
        assert [] == model.received


@over(SHAPES)
def test_who_yields_something_else_is_named(shape):
    """Only the call, a sleep or a wait can be yielded."""

    def junk(call):
        yield 5

    with shape.model("fine", middleware=[junk]) as model:
        with pytest.raises(moa.MiddlewareError, match="junk` yielded int"):
            model.ask()
        assert [] == model.received


@pytest.mark.parametrize("wrong", [5, "text", redact(None)])
def test_what_is_no_middleware_is_refused_at_once(wrong):
    """A stack says which item cannot be called, or was called already."""
    with pytest.raises(moa.MiddlewareError, match=r"middleware\[1\]"):
        moa.Stack([untouched, wrong])


@over(VALUES)
def test_a_raw_value_of_the_right_form_is_the_callers(shape):
    """A middleware may return what the function itself would."""
    given = []

    def cache(call):
        if not given:
            given.append((yield call).raw)
        return given[0]

    with shape.model("the good answer", "another", middleware=[cache]) as model:
        model.ask()
        answer = model.ask()
        assert given[0] is answer.value
        assert ["hello"] == model.received


@over([shape for shape in VALUES if shape.sdk])
@pytest.mark.parametrize("wrong", ["text", 5, {"choices": []}])
def test_a_raw_value_of_the_wrong_form_is_named(shape, wrong):
    """Who reads `.choices` cannot use a string."""

    def cache(call):
        return wrong
        yield

    with shape.model("never", middleware=[cache]) as model:
        with pytest.raises(moa.ReplyFormError, match=f"cache` answered with {type(wrong).__name__}"):
            model.ask()


@over(VALUES)
def test_a_raw_stream_where_a_value_was_asked_for_is_named(shape):
    """The caller would not iterate it."""

    def cache(call):
        return iter(["text"])
        yield

    with shape.model("never", middleware=[cache]) as model:
        with pytest.raises(moa.ReplyFormError, match="cache` answered with a stream"):
            model.ask()


@over([shape for shape in STREAMS if shape.name != "iterator"])
def test_a_raw_stream_of_the_other_world_is_named(shape):
    """An async consumer cannot use an iterator, nor a sync one an async iterator."""

    async def agen():
        yield "text"

    def cache(call):
        return iter(["text"]) if shape.is_async else agen()
        yield

    with shape.model("never", middleware=[cache]) as model:
        with pytest.raises(moa.ReplyFormError, match=r"cache` answered with .*(async|sync) stream"):
            model.ask()


@over([shape for shape in STREAMS if not shape.sdk])
def test_a_raw_stream_of_the_right_form_is_the_callers(shape, turns):
    """Its text is in the record, with the middleware as its source."""

    async def agen():
        for piece in ("from", " elsewhere"):
            yield piece

    def other(call):
        return agen() if shape.is_async else iter(["from", " elsewhere"])
        yield

    with shape.model("never", middleware=[other]) as model:
        assert "from elsewhere" == model.ask().text
    (turn,) = turns
    (call,) = calls_in(turn)
    assert ("from elsewhere", "middleware") == (call["output"], call["source"])


# Ends. --------------------------------------------------------------------------------------------


def test_the_flow_is_closed_when_a_stream_is_dropped():
    """A middleware's `finally` runs with the stream's end, though nobody read it out."""
    ends = []

    def watch(call):
        try:
            ends.append((yield call).outcome)
        finally:
            ends.append("finally")

    for shape in (ITERATOR, GENERATOR):
        with shape.model("the good answer", middleware=[watch]) as model:
            stream = model.call("hello", {})
            assert "the" == next(stream)
            del stream
            gc.collect()
        assert ["abandoned", "finally"] == ends
        ends.clear()


def test_a_dropped_stream_cannot_sleep(caplog):
    """There the flow is closed, logged once, and nothing is raised."""
    ends = []

    def slow(call):
        try:
            yield call
            yield moa.sleep(60)
            ends.append("woke")
        finally:
            ends.append("finally")

    with ITERATOR.model("the good answer", middleware=[slow]) as model:
        for _ in range(2):
            stream = model.call("hello", {})
            next(stream)
            del stream
            gc.collect()
    assert ["finally"] * 2 == ends
    assert ["moa.middleware_closed"] == [record.message.split()[0] for record in caplog.records]


@pytest.mark.parametrize("late", ["wait", "send", "raise", "raise in finally", "yield in finally"])
def test_a_dropped_stream_raises_nothing(caplog, late):
    """Whatever the middleware still wants, the interpreter hears nothing of it."""

    def slow(call):
        try:
            yield call
            if late == "wait":
                yield moa.wait(look_up("a"))
            elif late == "send":
                yield call
            elif late == "raise":
                raise OverBudget
            else:
                yield moa.sleep(1)
        finally:
            if late == "raise in finally":
                raise OverBudget
            if late == "yield in finally":
                yield moa.sleep(1)

    with ITERATOR.model("the good answer", middleware=[slow]) as model:
        stream = model.call("hello", {})
        next(stream)
        del stream
        gc.collect()
    assert 1 == len(caplog.records)
    assert logging.WARNING == caplog.records[0].levelno


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("how", ["answer", "go on", "another error", "another error in finally"])
@over([VALUE, openai_shape("async openai value"), GENERATOR])
def test_an_interrupt_cannot_be_swallowed(shape, interrupt, how, turns):
    """A middleware may clean up, but neither answer nor hide it; the record says cancelled."""
    raised = interrupt()

    def swallow(call):
        try:
            yield call
        except BaseException:
            if how == "answer":
                return moa.Reply(text="nothing happened")
            if how == "go on":
                yield call
            if how == "another error":
                raise OverBudget from None
        finally:
            if how == "another error in finally":
                raise OverBudget

    def interrupts(call):
        yield moa.sleep(0)
        raise raised

    def outer(call):
        try:
            yield call
        except Exception:
            return moa.Reply(text="nothing happened")

    stack = moa.Stack([outer, swallow, interrupts])
    with shape.model("never", stack=stack) as model:
        if shape.is_async:

            async def main():
                with pytest.raises(interrupt) as caught:
                    await model.call("hello", {})
                await model.hang_up()
                return caught.value

            error = asyncio.run(main())
        else:
            with pytest.raises(interrupt) as caught:
                model.call("hello", {})
            error = caught.value
    assert raised is error
    (turn,) = turns
    assert "cancelled" == turn["outcome"] == shape.call_in(turn)["outcome"]


def test_a_cancelled_stream_stays_cancelled(turns):
    """Cancellation before the first chunk goes through every middleware."""

    async def main():
        async def never(messages):
            await asyncio.sleep(60)
            yield "never"

        def swallow(call):
            try:
                yield call
            except BaseException:
                return moa.Reply(text="nothing happened")

        stream = moa.Stack([swallow]).reference(never)([])
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (turn,) = turns
    assert "cancelled" == turn["references"][0]["outcome"]


def test_what_the_consumer_throws_is_not_sent_again():
    """An exception thrown into a generator is the consumer's, not a failure of the model's."""
    with GENERATOR.model("the good answer", middleware=[retry]) as model:
        stream = model.call("hello", {})
        with pytest.raises(LookupError):
            stream.throw(LookupError())
        assert [] == model.received


@over([shape for shape in STREAMS if shape.name in ("generator", "openai stream")])
def test_a_closed_stream_is_over_for_the_middleware(shape):
    """`close` gives the middleware its reply, with the text so far; a resend is refused."""
    seen = []

    def stubborn(call):
        reply = yield call
        seen.append((reply.outcome, reply.text))
        try:
            yield call
        except moa.ResendError as error:
            seen.append(str(error))

    with shape.model("the good answer", middleware=[stubborn]) as model:
        stream = model.call("hello", {})
        for chunk in stream:
            if shape.text_of(chunk):
                break
        stream.close()
        assert 1 == len(model.received)
    assert ("closed", "the") == seen[0]
    assert "stubborn` asked to resend after" in seen[1]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_manager_that_fails_to_open_can_be_sent_again(turns, is_async):
    """Openai's `chat.completions.stream()` sends its request in `__enter__`: a 429 comes there."""
    tried = []

    def retry(call):
        try:
            yield call
        except ValueError:
            yield call

    def attempt():
        tried.append(1)
        if len(tried) == 1:
            raise ValueError("overloaded")
        return "good"

    if is_async:

        @contextlib.asynccontextmanager
        async def opened(messages):
            text = attempt()

            async def pieces():
                yield text

            yield pieces()
    else:

        @contextlib.contextmanager
        def opened(messages):
            yield iter([attempt()])

    stack = moa.Stack([retry])
    ask = stack.aggregator(opened)

    async def read():
        async with ask([]) as stream:
            return [piece async for piece in stream]

    def read_sync():
        with ask([]) as stream:
            return list(stream)

    assert ["good"] == (asyncio.run(read()) if is_async else read_sync())
    (record,) = turns
    assert ("good", 2, "completed") == tuple(record["aggregator"][k] for k in ("output", "attempt", "outcome"))
    assert ["error"] == [call["outcome"] for call in record["calls"]]


def test_a_manager_that_never_opens_raises_its_own_error(turns):
    """Without a middleware that mends it."""
    error = ValueError("refused")

    @moa.aggregator
    @contextlib.contextmanager
    def opened(messages):
        raise error
        yield

    with pytest.raises(ValueError, match="refused") as raised, opened([]):
        pass
    assert error is raised.value
    assert ["error"] == [record["outcome"] for record in turns]


def test_the_reply_that_a_middleware_settles_on_is_the_one_on_record(turns):
    """Best of two: the role goes to the request whose reply the caller got."""

    def longest(call):
        first = yield call
        second = yield call
        return max(first, second, key=lambda reply: len(reply.text))

    answers = iter(["the longer answer", "short"])

    @moa.Stack([longest]).reference
    def ask(messages):
        return next(answers)

    assert "the longer answer" == ask([])
    (record,) = turns
    assert ["the longer answer"] == [call["output"] for call in record["references"]]
    assert ["short"] == [call["output"] for call in record["calls"]]


def test_a_text_that_map_chunks_leaves_as_it_is_leaves_the_chunk(turns):
    """The very object goes on."""

    def same(call):
        call.map_chunks(lambda chunk: chunk.text)
        yield call

    chunks = [{"content": "a"}, {"type": "ping"}]

    @moa.Stack([same]).aggregator
    def ask():
        return iter(chunks)

    assert all(one is other for one, other in zip(chunks, ask(), strict=True))


def test_a_stream_whose_chunks_were_all_dropped_may_be_sent_again(turns):
    """Nothing of it had reached the consumer."""

    def careful(call):
        call.map_chunks(lambda chunk: chunk if chunk.text != "noise" else None)
        try:
            yield call
        except ValueError:
            yield call

    tried = []

    @moa.Stack([careful]).aggregator
    def ask():
        tried.append(1)
        yield "noise"
        if len(tried) == 1:
            raise ValueError
        yield "good"

    assert ["good"] == list(ask())
    assert 2 == len(tried)


# Calls inside calls -------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("on", [False, True])
def test_a_call_inside_a_call_passes_the_middleware_once(stream, on):
    """A decorated function around an instrumented client: one retry, one price, one redaction."""
    seen = []

    def count(call):
        reply = yield call
        seen.append((call.role, call.label, reply.usage.output_tokens if reply.usage else None))

    with ScriptedServer({"m": Script("ok then", usage_always=True)}) as server:
        stack = moa.Stack([count])
        client = stack.instrument(openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0))

        @stack.reference(label="mine")
        def ask(messages):
            reply = client.chat.completions.create(model="m", messages=messages, stream=stream)
            if stream:
                return "".join(c.choices[0].delta.content or "" for c in reply if c.choices)
            return reply.choices[0].message.content

        with capture_turns() if on else contextlib.nullcontext():
            assert "ok then" == ask([{"role": "user", "content": "q"}])
        stack.uninstrument()
        client.close()
    assert [("reference", "mine", 2)] == seen


def test_a_library_with_a_stack_of_its_own_keeps_its_middleware():
    """Once for each stack."""
    seen = []

    def note(name):
        def middleware(call):
            seen.append((name, call.parent is not None))
            yield call

        return middleware

    inner = moa.Stack([note("inner")]).reference(lambda: "x")
    outer = moa.Stack([note("outer")]).reference(inner)
    outer()
    assert [("outer", False), ("inner", True)] == seen


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


@pytest.mark.parametrize("value", [{"x": 1}, 5, [1], object()], ids=["dict", "int", "list", "object"])
def test_a_value_that_makes_no_stream_is_refused(value):
    """An empty stream would be a lie."""

    def wrong(call):
        return value
        yield

    @moa.Stack([wrong]).aggregator
    def ask():
        yield "x"

    with pytest.raises(moa.ReplyFormError, match=r"wrong.* answered with .*, but the caller reads a stream"):
        list(ask())


def test_a_plain_function_may_answer_with_a_reply():
    """A generator is needed only to send the call on."""

    def canned(call):
        return moa.Reply(text="canned")

    assert "canned" == moa.Stack([canned]).reference(lambda: "x")()


@pytest.mark.parametrize("wrong", [-1, "1", None, True, float("nan")], ids=str)
def test_sleeping_takes_seconds(wrong):
    """Said where it is written."""
    with pytest.raises(moa.MiddlewareError, match="number of seconds"):
        moa.sleep(wrong)
    with pytest.raises(moa.MiddlewareError, match="takes an awaitable"):
        moa.wait(wrong)


@pytest.mark.parametrize("wrong", [lambda call: (yield call), None, 3], ids=["function", "none", "int"])
def test_a_stack_takes_a_list(wrong):
    """The most likely slip has a message of its own."""
    with pytest.raises(moa.MiddlewareError, match="takes a list"):
        moa.Stack(wrong)
    with pytest.raises(moa.MiddlewareError, match="takes a list"):
        moa.configure(middleware=wrong)
