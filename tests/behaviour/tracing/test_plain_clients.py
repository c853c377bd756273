"""Hand-written clients: values, tuples, events and message objects of every kind, recorded as what they are."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer

MESSAGES = [{"role": "user", "content": "Which city?"}]


def drain(made):
    """Read a stream of either kind to its end, and return its items; another value is returned as it is."""
    if hasattr(made, "__anext__"):

        async def read():
            return [item async for item in made]

        return asyncio.run(read())
    return list(made) if hasattr(made, "__next__") else made


def generator(*items):
    """Return a generator function over items."""

    def stream(messages):
        yield from items

    return stream


def async_generator(*items):
    """Return an asynchronous generator function over items."""

    async def stream(messages):
        for item in items:
            await asyncio.sleep(0)
            yield item

    return stream


KINDS = {"generator": generator, "async generator": async_generator}


@pytest.fixture(params=KINDS)
def streaming(request):
    """Return what makes a generator function of either kind."""
    return KINDS[request.param]


def function(value):
    """Return a function that answers with a value."""

    def ask(messages):
        return value

    return ask


def coroutine(value):
    """Return a coroutine function that answers with a value."""

    async def ask(messages):
        await asyncio.sleep(0)
        return value

    return ask


def call_of(made, turns, role=moa.reference, items=None):
    """Call what was made as a reference, and return its record; the caller must have got the very same."""
    result = role(made)(MESSAGES)
    result = asyncio.run(result) if inspect.isawaitable(result) else drain(result)
    if items is not None:
        assert all(got is given for got, given in zip(result, items, strict=True))
    (record,) = turns
    (call,) = [*record["references"], *record["calls"], *([record["aggregator"]] if record["aggregator"] else [])]
    return call


# --- n > 1 ------------------------------------------------------------------------------------------------------------


def choices_of(call):
    """Return index, text and finish reason of each choice."""
    return [(choice["index"], choice["text"], choice["finish_reason"]) for choice in call["choices"]]


SAMPLES = ["The first sample says one.", "Two is what the second says.", "And three is the third one."]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("world", ["sync", "async"])
def test_each_of_several_choices_is_kept(turns, stream, world):
    """One call with `n=3`, in one piece and interleaved."""
    script = Script(choices=[Script(SAMPLES[0]), Script(SAMPLES[1], finish_reason="length"), Script(SAMPLES[2])])
    with ScriptedServer({"m": script}) as server:
        options: dict[str, Any] = {"base_url": server.base_url, "api_key": "test", "max_retries": 0}
        request: dict[str, Any] = {"model": "m", "messages": MESSAGES, "n": 3, "stream": stream}

        async def ask():
            async with moa.instrument(openai.AsyncOpenAI(**options)) as client:
                made = await client.chat.completions.create(**request)
                return [chunk async for chunk in made] if stream else made

        if world == "async":
            asyncio.run(ask())
        else:
            with moa.instrument(openai.OpenAI(**options)) as client:
                drain(client.chat.completions.create(**request))
    call = turns[0]["aggregator"]
    assert [(0, SAMPLES[0], "stop"), (1, SAMPLES[1], "length"), (2, SAMPLES[2], "stop")] == choices_of(call)
    assert (SAMPLES[0], 3, stream) == (call["output"], call["params"]["n"], call["streamed"])


@pytest.mark.parametrize("used", [[0, 1, 2], [0], [1]])
def test_a_call_of_several_choices_is_a_reference_whichever_is_used(turns, used):
    """The aggregator may read all of them, or the one that somebody picked."""
    scripts = {"m": Script(choices=[Script(text) for text in SAMPLES]), "judge": "It is one, two or three."}
    with ScriptedServer(scripts) as server:
        with moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0)) as client:
            with moa.turn():
                reply = client.chat.completions.create(model="m", messages=MESSAGES, n=3)
                texts = [reply.choices[index].message.content for index in used]
                prompt = [*MESSAGES, {"role": "user", "content": "\n".join(texts)}]
                client.chat.completions.create(model="judge", messages=prompt)
    (record,) = turns
    assert (["m"], "judge") == ([call["model"] for call in record["references"]], record["aggregator"]["model"])


# --- labels -----------------------------------------------------------------------------------------------------------


def test_labels_may_repeat(turns):
    """Each call stands for itself, whatever it is called."""
    answers = iter(["one", "two", "three"])

    @moa.reference(label="fast", model="m")
    def ask(messages):
        return next(answers)

    @moa.turn
    def create(messages):
        return " ".join([ask(messages), ask(messages), ask(messages)])

    create(MESSAGES)
    (record,) = turns
    assert [("fast", "m", text, index) for index, text in enumerate(["one", "two", "three"])] == [
        (call["label"], call["model"], call["output"], call["index"]) for call in record["references"]
    ]
    assert 3 == len({call["call_id"] for call in record["references"]})


def test_labels_may_repeat_among_streams_that_are_read_in_turns(turns):
    """The pieces of streams with one label never mix."""

    @moa.reference(label="same")
    def ask(messages, letter):
        for number in range(3):
            yield f"{letter}{number}"

    with moa.turn():
        for _ in zip(*(ask(MESSAGES, letter) for letter in "abc"), strict=True):
            pass
    (record,) = turns
    assert {"same"} == {call["label"] for call in record["references"]}
    assert ["a0a1a2", "b0b1b2", "c0c1c2"] == [call["output"] for call in record["references"]]


# --- events -----------------------------------------------------------------------------------------------------------


EVENTS = {
    "str": (["Pa", "ris", "."], None),
    "delta": ([{"delta": "Pa"}, {"delta": "ris."}], None),
    "content": ([{"content": "Pa"}, {"content": "ris."}], None),
    "text": ([{"text": "Pa"}, {"text": "ris."}], None),
    "types": (
        [{"type": "start"}, {"type": "delta", "delta": "Pa"}, {"type": "delta", "delta": "ris."}, {"type": "end"}],
        None,
    ),
    "type and data": ([{"type": "token", "text": "Pa"}, {"type": "token", "text": "ris."}, {"type": "done"}], None),
    "done repeats the text": ([{"delta": "Pa"}, {"delta": "ris."}, {"type": "done", "text": "Paris."}], None),
    "usage": ([{"delta": "Paris."}, {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}], (3, 4)),
    "mixed": (["Pa", {"delta": "ris"}, SimpleNamespace(content="."), None], None),
    "nothing between": (["Pa", None, {}, "ris."], None),
    "one model": ([{"model": "m", "delta": "Pa"}, {"model": "m", "delta": "ris."}], None),
}


@pytest.mark.parametrize("name", EVENTS)
def test_events_give_their_text(turns, streaming, name):
    """What people yield from generators of their own, in both worlds; the consumer gets the very objects."""
    items, usage = EVENTS[name]
    call = call_of(streaming(*items), turns, items=items)
    assert ("Paris.", "completed", True, "inline_from_stream") == (
        call["output"],
        call["outcome"],
        call["streamed"],
        call["output_location"],
    )
    assert len(items) == call["chunks"]
    assert usage == (usage and (call["usage"]["input_tokens"], call["usage"]["output_tokens"]))


def interleaved(key="model", **more):
    """Return the events of two models that speak at once."""
    return [{**more, key: name, "delta": piece} for name, piece in zip("abab", ["1", "x", "2", "y"], strict=True)]


INTERLEAVED = {
    "model": interleaved(),
    "type and model": interleaved(type="delta"),
    "source": interleaved("source"),
    "agent": interleaved("agent"),
    "label": interleaved("label"),
    "objects": [SimpleNamespace(**event) for event in interleaved()],
    "tuples": [(event["model"], event["delta"]) for event in interleaved()],
}


@pytest.mark.parametrize("name", [name for name in INTERLEAVED if name != "tuples"])
def test_models_that_speak_at_once_are_kept_apart(turns, streaming, name):
    """One generator, several models: each has a choice of its own, and nobody's text is glued to another's."""
    call = call_of(streaming(*INTERLEAVED[name]), turns, items=INTERLEAVED[name])
    assert [("a", "12"), ("b", "xy")] == [(choice["model"], choice["text"]) for choice in call["choices"]]
    assert call["output"] is None


@pytest.mark.parametrize("final", [{"delta": "Paris."}, {"model": "judge", "delta": "Paris."}, "Paris."])
def test_the_one_who_speaks_when_all_others_have_ended_gives_the_output(turns, streaming, final):
    """References at once, then the aggregator, in one generator: its text is the answer."""
    items = [*interleaved(), final]
    call = call_of(streaming(*items), turns, items=items)
    assert ["12", "xy", "Paris."] == [choice["text"] for choice in call["choices"]]
    assert "Paris." == call["output"]


def test_a_turn_of_events_of_several_models_has_the_last_ones_text(turns, streaming):
    """As for a call: a generator that is the turn itself."""
    drain(moa.turn(streaming(*interleaved(), {"type": "final", "model": "judge", "delta": "Paris."}))(MESSAGES))
    assert "Paris." == turns[0]["output"]


def test_events_of_several_models_may_come_from_calls_of_their_own(turns):
    """Where each model's stream is a call, the events that are made of them do not matter."""

    @moa.reference(label=lambda name: name)
    def ask(name):
        yield from (f"{name}1", f"{name}2")

    @moa.turn
    def create(messages):
        streams = [(name, ask(name)) for name in "ab"]
        for _ in range(2):
            for name, stream in streams:
                yield {"model": name, "delta": next(stream)}
        for _, stream in streams:
            assert next(stream, None) is None

    drain(create(MESSAGES))
    assert [("a", "a1a2"), ("b", "b1b2")] == [(call["label"], call["output"]) for call in turns[0]["references"]]


# --- a final result after the text ------------------------------------------------------------------------------------


@dataclass
class RequestUsage:
    """As AutoGen's."""

    prompt_tokens: int
    completion_tokens: int


@dataclass
class CreateResult:
    """As AutoGen's model clients end their streams."""

    content: Any
    usage: RequestUsage
    finish_reason: str = "stop"
    cached: bool = False
    logprobs: Any = None
    thought: str | None = None


RESULT = CreateResult("Paris, of course.", RequestUsage(11, 3))


@pytest.mark.parametrize("pieces", [["Paris,", " of", " course."], ["Paris, of course."], []], ids=len)
def test_a_result_object_after_the_text_repeats_nothing(turns, streaming, pieces):
    """AutoGen's `create_stream`: strings, then a `CreateResult` with the whole and the usage."""
    call = call_of(streaming(*pieces, RESULT), turns, items=[*pieces, RESULT])
    assert ("Paris, of course.", "stop", 11, 3) == (
        call["output"],
        call["finish_reason"],
        call["usage"]["input_tokens"],
        call["usage"]["output_tokens"],
    )


@dataclass
class Spoken:
    """As the messages and events of AutoGen's agents."""

    content: str
    source: str
    type: str
    models_usage: RequestUsage | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class TaskResult:
    """As AutoGen's runs end."""

    messages: list[Any]
    stop_reason: str | None = None


def test_an_agents_run_has_its_text_once(turns, streaming):
    """Pieces, the message that they make, and a result that holds all messages."""
    pieces = [Spoken(piece, "ada", "ModelClientStreamingChunkEvent") for piece in ("Paris,", " of", " course.")]
    whole = Spoken("Paris, of course.", "ada", "TextMessage", RequestUsage(11, 3))
    call = call_of(streaming(*pieces, whole, TaskResult([whole])), turns)
    assert ("Paris, of course.", "completed") == (call["output"], call["outcome"])


def test_a_result_object_may_be_the_value(turns):
    """`create` instead of `create_stream`."""
    call = call_of(coroutine(RESULT), turns)
    assert ("Paris, of course.", "stop", 3) == (call["output"], call["finish_reason"], call["usage"]["output_tokens"])


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [function, coroutine])
@pytest.mark.parametrize(
    "value", [("Paris.", 12), ("Paris.", {"tokens": 12}), ("Paris.", None), (None, "Paris."), ("label", "Paris.")]
)
def test_a_tuple_reaches_the_caller_as_it_is(turns, made, value):
    """Whatever it holds: the longest text in it is the output."""
    found = moa.reference(made(value))(MESSAGES)
    found = asyncio.run(found) if inspect.isawaitable(found) else found
    assert found is value
    (call,) = turns[0]["references"]
    assert "Paris." == call["output"]


def test_usage_beside_the_text_is_read(turns):
    """A tuple whose second part is a usage, as the SDKs report it."""
    call = call_of(function(("Paris.", {"prompt_tokens": 7, "completion_tokens": 2})), turns)
    assert ("Paris.", 7, 2) == (call["output"], call["usage"]["input_tokens"], call["usage"]["output_tokens"])


@pytest.mark.parametrize("made", [function, coroutine])
def test_nothing_is_an_answer(turns, made):
    """A reference that returns None has completed without output."""
    call = call_of(made(None), turns)
    assert ("completed", None, None, "absent") == (
        call["outcome"],
        call["error"],
        call["output"],
        call["output_location"],
    )


def test_nothing_among_answers_keeps_its_place(turns):
    """A round whose second reference had nothing to say."""
    answers = iter(["A first long answer.", None, "A third long answer."])

    @moa.reference
    def ask(messages):
        return next(answers)

    with moa.turn():
        [ask(MESSAGES) for _ in range(3)]
    assert ["A first long answer.", None, "A third long answer."] == [call["output"] for call in turns[0]["references"]]
    assert 0 == turns[0]["totals"]["failed"]


class Refused(RuntimeError):
    """A provider's error."""


@pytest.mark.parametrize("made", [function, coroutine])
def test_an_exception_that_is_returned_is_a_failure(turns, made):
    """The caller gets that very object, and nothing is raised; the record tells what it is."""
    error = Refused("no capacity")
    with moa.turn():
        found = moa.reference(made(error))(MESSAGES)
        found = asyncio.run(found) if inspect.isawaitable(found) else found
    assert found is error
    assert error.__traceback__ is None
    assert not hasattr(error, "__notes__")
    (call,) = turns[0]["references"]
    assert ("error", None, f"{__name__}.Refused", "no capacity") == (
        call["outcome"],
        call["output"],
        call["error"]["type"],
        call["error"]["message"],
    )
    assert (1, "completed") == (turns[0]["totals"]["failed"], turns[0]["outcome"])


def test_an_exception_beside_a_label_is_a_failure(turns):
    """`(label, error)`, as a pool's worker returns it."""
    error = Refused("no capacity")
    call = call_of(function(("fast", error)), turns)
    assert (None, "error", "no capacity") == (call["output"], call["outcome"], call["error"]["message"])


def test_a_cancelled_error_that_is_returned_is_a_cancellation(turns):
    """`gather(return_exceptions=True)` gives those as well."""
    assert "cancelled" == call_of(function(asyncio.CancelledError()), turns)["outcome"]


def test_middleware_sees_a_returned_exception(turns):
    """Its reply has the outcome and the error, and the value stays what it was."""
    seen = []

    def watch(call):
        reply = yield call
        seen.append((reply.outcome, reply.error))

    error = Refused("no capacity")
    assert error is moa.Stack([watch]).reference(function(error))(MESSAGES)
    assert [("error", error)] == seen


# --- LangChain --------------------------------------------------------------------------------------------------------


@dataclass
class AIMessageChunk:
    """As LangChain's: content is a str, or a list of parts."""

    content: str | list[Any]
    type: str = "AIMessageChunk"
    id: str = "run-1"
    name: str | None = None
    tool_calls: list[Any] = field(default_factory=list)
    tool_call_chunks: list[Any] = field(default_factory=list)
    usage_metadata: dict[str, Any] | None = None
    response_metadata: dict[str, Any] = field(default_factory=dict)
    additional_kwargs: dict[str, Any] = field(default_factory=dict)


PARTS = {
    "str": ["", "Pa", "ris.", ""],
    "parts": [[], [{"type": "text", "text": "Pa", "index": 0}], [{"type": "text", "text": "ris.", "index": 0}], []],
    "strings in a list": [["Pa"], ["ris."]],
    "mixed": ["Pa", [{"type": "text", "text": "ris."}]],
}


@pytest.mark.parametrize("name", PARTS)
def test_message_chunks_give_their_text(turns, streaming, name):
    """`model.stream()` and `model.astream()`."""
    chunks = [AIMessageChunk(content) for content in PARTS[name]]
    chunks[-1].usage_metadata = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    call = call_of(streaming(*chunks), turns, items=chunks)
    assert ("Paris.", 9, 2) == (call["output"], call["usage"]["input_tokens"], call["usage"]["output_tokens"])


def test_message_chunks_beside_metadata_give_their_text(turns, streaming):
    """LangGraph's `stream_mode="messages"`: pairs of a chunk and its metadata."""
    pairs = [(AIMessageChunk(text), {"langgraph_node": "judge"}) for text in ("Pa", "ris.")]
    assert "Paris." == call_of(streaming(*pairs), turns, items=pairs)["output"]


@pytest.mark.parametrize("content", ["Paris.", [{"type": "text", "text": "Paris."}]])
def test_a_message_is_a_value(turns, content):
    """`model.invoke()`."""
    message = AIMessageChunk(content, type="ai", usage_metadata={"input_tokens": 9, "output_tokens": 2})
    call = call_of(function(message), turns)
    assert ("Paris.", 9) == (call["output"], call["usage"]["input_tokens"])


def test_a_messages_tool_calls_are_kept(turns):
    """LangChain's have `args`, decoded."""
    called = {"name": "weather", "args": {"city": "Paris"}, "id": "call_1", "type": "tool_call"}
    call = call_of(function(AIMessageChunk("", type="ai", tool_calls=[called])), turns)
    (found,) = call["tool_calls"]
    assert ("call_1", "weather", '{"city": "Paris"}') == (
        found["id"],
        found["function"]["name"],
        found["function"]["arguments"],
    )


def test_a_streams_tool_calls_are_joined(turns, streaming):
    """LangChain's come in pieces, by index."""
    pieces = [("call_1", "weather", '{"city": '), (None, None, '"Paris"}')]
    chunks = [
        AIMessageChunk("", tool_call_chunks=[{"id": ident, "name": name, "args": args, "index": 0}])
        for ident, name, args in pieces
    ]
    (found,) = call_of(streaming(*chunks), turns)["tool_calls"]
    assert ("call_1", "weather", '{"city": "Paris"}') == (
        found["id"],
        found["function"]["name"],
        found["function"]["arguments"],
    )


def test_a_messages_usage_has_its_details(turns):
    """Its input includes what was read from a cache."""
    usage = {
        "input_tokens": 9,
        "output_tokens": 5,
        "total_tokens": 14,
        "input_token_details": {"cache_read": 4, "cache_creation": 2},
        "output_token_details": {"reasoning": 3},
    }
    call = call_of(function(AIMessageChunk("Paris.", type="ai", usage_metadata=usage)), turns)
    assert (4, 3) == (call["usage"]["cache_read_tokens"], call["usage"]["reasoning_tokens"])


# --- clients of classes -----------------------------------------------------------------------------------------------


class Ensemble:
    """A client of somebody's own, with the shapes that such clients have."""

    def ask(self, model, messages):
        return f"{model} says so.", 7

    async def ask_later(self, model, messages):
        await asyncio.sleep(0)
        return SimpleNamespace(content=f"{model} says so.", usage={"prompt_tokens": 1, "completion_tokens": 3})

    def act(self, messages):
        yield {"type": "delta", "delta": "It is "}
        yield {"type": "delta", "delta": "so."}

    async def act_later(self, messages):
        for piece in ("It is ", "so."):
            await asyncio.sleep(0)
            yield {"type": "delta", "delta": piece}

    def create(self, messages):
        texts = [self.ask(model, messages)[0] for model in "ab"]
        yield from self.act([*messages, {"role": "user", "content": "\n".join(texts)}])

    async def create_later(self, messages):
        replies = await asyncio.gather(*(self.ask_later(model, messages) for model in "ab"))
        prompt = [*messages, {"role": "user", "content": "\n".join(reply.content for reply in replies)}]
        async for event in self.act_later(prompt):
            yield event


@pytest.mark.parametrize(
    ("turn", "reference", "aggregator"), [("create", "ask", "act"), ("create_later", "ask_later", "act_later")]
)
def test_a_client_of_events_is_one_turn(turns, turn, reference, aggregator):
    """Instrumented by name: tuples or objects from references, events from the aggregator and from the turn."""
    client = moa.instrument(Ensemble(), turn=turn, reference=reference, aggregator=aggregator)
    events = drain(getattr(client, turn)(MESSAGES))
    assert "It is so." == "".join(event["delta"] for event in events)
    (record,) = turns
    assert [("a", "a says so."), ("b", "b says so.")] == [
        (call["model"], call["output"]) for call in record["references"]
    ]
    assert ("It is so.", "It is so.") == (record["aggregator"]["output"], record["output"])
