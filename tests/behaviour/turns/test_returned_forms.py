"""What is recorded when a function returns: its caller's text, the model's words, how it ended, in every form."""

from __future__ import annotations

import asyncio
import dataclasses
import decimal
import enum
import inspect
from collections import deque
from typing import NamedTuple

import attrs
import pydantic
import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.conftest import check

WORDS = "Air scatters blue light."
MORE = "Dust scatters the rest of it."
NAME = "a-model-whose-name-is-longer-than-its-answer"
USAGE = {"prompt_tokens": 3, "completion_tokens": 5}


class Pair(NamedTuple):
    name: str
    text: str


@dataclasses.dataclass
class Data:
    who: str
    said: str


@dataclasses.dataclass(slots=True)
class Slots:
    who: str
    said: str


@attrs.define
class Attrs:
    who: str
    said: str


class Plain:
    def __init__(self, who, said):
        self.who, self.said = who, said


class Model(pydantic.BaseModel):
    who: str
    said: str


class Text(str):
    __slots__ = ()


class Verdict(enum.Enum):
    YES = "Yes, it does."
    NO = 0


def completion(text):
    """Return a chat completion as a provider sends it."""
    message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"id": "chatcmpl-1", "model": "model-a-1", "choices": [message], "usage": USAGE}


HOLDS = {
    "text": lambda name, text: text,
    "text of a subclass": lambda name, text: Text(text),
    "name, text": lambda name, text: (name, text),
    "text, name": lambda name, text: (text, name),
    "label, text": lambda name, text: ("slot-with-a-label-longer-than-text", text),
    "text, tokens": lambda name, text: (text, 12),
    "text, cost": lambda name, text: (text, decimal.Decimal("0.01")),
    "text, usage": lambda name, text: (text, USAGE),
    "name, text, flag": lambda name, text: (name, text, True),
    "question, text": lambda name, text: ("Why is the sky blue, and not green?", text),
    "named tuple": Pair,
    "nested": lambda name, text: (name, {"deep": [text]}),
    "name, completion": lambda name, text: (name, completion(text)),
    "dict by model": lambda name, text: {name: text},
    "dict of a summary": lambda name, text: {"summary": text},
    "dict of name and answer": lambda name, text: {"model": name, "answer": text},
    "dict of name and text": lambda name, text: {"model": name, "verdict": text},
    "list with a name": lambda name, text: [name, text],
    "list of one": lambda name, text: [text],
    "deque": lambda name, text: deque([text]),
    "set": lambda name, text: {text},
    "conversation": lambda name, text: [
        {"role": "user", "content": "Something else that is longer than that."},
        {"role": "assistant", "content": text},
    ],
    "dataclass": Data,
    "dataclass with slots": Slots,
    "attrs": Attrs,
    "object": Plain,
    "pydantic": lambda name, text: Model(who=name, said=text),
    "bytes": lambda name, text: text.encode(),
    "name, bytes": lambda name, text: (name, text.encode()),
}
"""Forms that hold the model's words: `output` is these."""
GIVEN = {
    "upper case": (lambda text: text.upper(), WORDS.upper()),
    "name, upper case": (lambda text: (NAME, text.upper()), WORDS.upper()),
    "dict of something else": (lambda text: {"verdict": "It is blue."}, "It is blue."),
    "list of others": (lambda text: ["It is blue.", "It is not."], "It is blue.\n\nIt is not."),
    "number": (lambda text: 42, "42"),
    "fraction": (lambda text: 0.5, "0.5"),
    "enumeration": (lambda text: Verdict.YES, "Yes, it does."),
    "enumeration of numbers": (lambda text: Verdict.NO, "NO"),
}
"""Forms that hold another text: `output` is that, and `model_output` what the model said."""
EMPTY = {
    "nothing": lambda name: None,
    "flag": lambda name: True,
    "only a name": lambda name: (name, 3, None),
    "no words": lambda name: {},
    "binary": lambda name: b"\xff\xfe",
}
"""Forms that hold no text: `output` is what the model said, if that is known."""


@moa.reference
def model(prompt, fails=None):
    """Stand for an SDK that is instrumented."""
    if fails is not None:
        raise fails
    return completion(WORDS)


def asked(prompt, *, inside):
    """Return what the model says, by a call that is seen or by one that is not."""
    return model(prompt)["choices"][0]["message"]["content"] if inside else WORDS


def made(kind, shape):
    """Return a function of one kind that returns what `shape` makes, given the prompt and the model's name."""

    def value(prompt, model):
        return shape(prompt, model)

    async def later(prompt, model):
        await asyncio.sleep(0)
        return shape(prompt, model)

    return value if kind == "sync" else later


def run(function):
    """Call a function, to the end of what it returned; return the record of its turn."""
    with capture_turns() as found:
        result = function("Why is the sky blue, and not green?", model=NAME)
        if inspect.isawaitable(result):
            asyncio.run(_awaited(result))
        elif inspect.isasyncgen(getattr(result, "__wrapped__", result)):
            asyncio.run(_drained(result))
        elif hasattr(result, "__next__"):
            list(result)
    (record,) = found
    check(record)
    return record


async def _awaited(result):
    return await result


async def _drained(stream):
    return [chunk async for chunk in stream]


def record_of(level, function):
    """Return the record of a function that is a call, or a turn."""
    if level == "turn":
        return run(moa.turn(function))
    record = run(moa.reference(label="slot-with-a-label-longer-than-text")(function))
    (call,) = record["references"]
    return call


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])
LEVELS = pytest.mark.parametrize("level", ["call", "turn"])
INSIDE = pytest.mark.parametrize("inside", [True, False], ids=["call inside", "no call inside"])


@KINDS
@LEVELS
@INSIDE
@pytest.mark.parametrize("form", HOLDS)
def test_the_output_is_the_text_and_never_a_name(form, inside, level, kind):
    """However it is wrapped; with a call of an SDK inside, or by other means."""
    if level == "turn" and form == "label, text":
        pytest.skip("a turn has no label")
    record = record_of(level, made(kind, lambda prompt, name: HOLDS[form](name, asked(prompt, inside=inside))))
    assert (WORDS, "completed", None) == (record["output"], record["outcome"], record["error"])
    assert not {"model_output", "handled", "raw"} & set(record)
    if level == "call" and (inside or "usage" in form or "completion" in form):
        assert (3, 5) == (record["usage"]["input_tokens"], record["usage"]["output_tokens"])


@KINDS
@INSIDE
@pytest.mark.parametrize("form", GIVEN)
def test_what_a_function_made_of_it_is_its_output(form, inside, kind):
    """And the model's own words are kept where a call inside shows them."""
    shape, output = GIVEN[form]
    call = record_of("call", made(kind, lambda prompt, name: shape(asked(prompt, inside=inside))))
    assert (output, "completed") == (call["output"], call["outcome"])
    assert (WORDS if inside else None) == call.get("model_output")


@KINDS
@INSIDE
@pytest.mark.parametrize("form", EMPTY)
def test_what_has_no_text_is_what_the_model_said(form, inside, kind):
    """If that is known; else it is named under `raw`, but for nothing at all and a flag."""
    call = record_of("call", made(kind, lambda prompt, name: (asked(prompt, inside=inside), EMPTY[form](name))[1]))
    assert (WORDS if inside else None) == call["output"]
    assert not {"model_output", "handled"} & set(call)
    assert (not inside and form not in ("nothing", "flag")) == ("raw" in call)


@INSIDE
@pytest.mark.parametrize(
    "form", [list, tuple, lambda texts: {"a": texts[0], "b": texts[1]}], ids=["list", "tuple", "dict"]
)
def test_several_texts_are_kept_each(form, inside):
    """A list or a dict gives its caller all of them; of a tuple the longest is the reply."""
    call = record_of("call", lambda prompt, model: form([asked(prompt, inside=inside), MORE]))
    if inside:
        assert (WORDS, None) == (call["output"], call["choices"])
    elif form is tuple:
        assert (MORE, None) == (call["output"], call["choices"])
    else:
        assert f"{WORDS}\n\n{MORE}" == call["output"]
        assert [WORDS, MORE] == [choice["text"] for choice in call["choices"]]


@pytest.mark.parametrize(
    "part",
    [lambda error: error, lambda error: (NAME, error), lambda error: {"error": error}],
    ids=["error", "name, error", "dict"],
)
@KINDS
def test_an_exception_that_is_returned_is_a_failure(part, kind):
    """As a value, or next to a name."""
    error = ValueError("no capacity")
    call = record_of("call", made(kind, lambda prompt, name: part(error)))
    assert ("error", None) == (call["outcome"], call["output"])
    assert {"type": "ValueError", "message": "no capacity"} == call["error"]
    assert "handled" not in call


UNDERSTOOD = {
    "name, nothing, error": ((NAME, None, ValueError("no capacity")), "error"),
    "errors": ([ValueError("no capacity")], "error"),
    "dict": ({"ok": 0, "error": ValueError("no capacity")}, "error"),
    "object": (Data(NAME, ValueError("no capacity")), "error"),
    "True": (True, "completed"),
    "False": (False, "completed"),
}


@pytest.mark.parametrize("form", UNDERSTOOD)
def test_an_error_or_a_flag_is_understood(form):
    """Nothing is left to read: no `raw`, and it does not count as not understood."""
    returned, outcome = UNDERSTOOD[form]
    record = run(moa.reference(lambda prompt, model: returned))
    (call,) = record["references"]
    assert (None, outcome) == (call["output"], call["outcome"])
    assert ({"type": "ValueError", "message": "no capacity"} if outcome == "error" else None) == call["error"]
    assert "raw" not in call
    assert "unread" not in record["totals"]


def test_a_turn_that_returns_an_exception_failed():
    """Nothing was raised, and its caller got no answer."""
    record = record_of("turn", lambda prompt, model: ValueError("no capacity"))
    assert ("error", None) == (record["outcome"], record["output"])
    assert "no capacity" == record["error"]["message"]


CAUGHT = {
    "text": ("[failed]", "[failed]"),
    "nothing": (None, None),
    "name, text": ((NAME, "[failed]"), "[failed]"),
    "name, text, flag": ((NAME, "[failed]", False), "[failed]"),
    "name, nothing": ((NAME, None), None),
    "dict": ({"model": NAME, "error": "[failed]"}, "[failed]"),
    "object": (Data(NAME, "[failed]"), "[failed]"),
}


@KINDS
@pytest.mark.parametrize("form", CAUGHT)
def test_an_error_that_was_caught_is_kept_whatever_came_instead(form, kind):
    """It is the call's outcome, `handled`, and one of those that failed."""
    instead, output = CAUGHT[form]

    def careful(prompt, name):
        try:
            model(prompt, fails=ValueError("refused"))
        except ValueError:
            return instead

    record = run(moa.reference(made(kind, careful)))
    (call,) = record["references"]
    assert ("error", True, output, "refused") == (
        call["outcome"],
        call["handled"],
        call["output"],
        call["error"]["message"],
    )
    assert (1, "completed") == (record["totals"]["failed"], record["outcome"])


# Streams ------------------------------------------------------------------------------------------

PIECES = ("Air ", "scatters ", "blue ", "light.")
CHUNKS = {
    "piece": lambda name, piece: piece,
    "name, piece": lambda name, piece: (name, piece),
    "piece, name": lambda name, piece: (piece, name),
    "piece, tokens": lambda name, piece: (piece, 1),
    "name, piece, flag": lambda name, piece: (name, piece, False),
    "event, piece": lambda name, piece: ("delta", piece),
    "event, message": lambda name, piece: ("messages", ({"content": piece}, {"node": "n"})),
    "dict by model": lambda name, piece: {name: piece},
    "dict of name and piece": lambda name, piece: {"model": name, "delta": piece},
}


@pytest.mark.parametrize("kind", ["generator", "async generator"])
@LEVELS
@pytest.mark.parametrize("form", CHUNKS)
@pytest.mark.parametrize("pieces", [PIECES, (WORDS,)], ids=["pieces", "one piece"])
def test_a_stream_of_tuples_says_its_text_and_not_its_name(form, pieces, level, kind):
    """The name comes with each piece, in any place."""

    def generator(prompt, model):
        for piece in pieces:
            yield CHUNKS[form](model, piece)

    async def async_generator(prompt, model):
        for piece in pieces:
            yield CHUNKS[form](model, piece)

    record = record_of(level, generator if kind == "generator" else async_generator)
    assert (WORDS, "completed") == (record["output"], record["outcome"])
    if level == "call":
        assert len(pieces) == record["chunks"]


@moa.reference(model=NAME)
def streamed(prompt):
    """Yield a model's words."""
    yield from PIECES


def test_a_stream_next_to_a_name_is_the_output_of_the_call():
    """It ends the call when it is read, and the name is not its text."""
    with capture_turns() as found, moa.turn():
        name, stream = moa.reference(label="outer")(lambda prompt: ("a label that is long", streamed(prompt)))("Why?")
        assert list(stream) == list(PIECES)
    (call,) = found[0]["references"]
    assert (WORDS, "completed", True) == (call["output"], call["outcome"], call["streamed"])
    assert name == "a label that is long"


@pytest.mark.parametrize(
    "holder", [tuple, list, lambda parts: {"who": parts[0], "stream": parts[1]}], ids=["tuple", "list", "dict"]
)
def test_a_turn_that_returns_a_references_stream_answers_with_it(holder):
    """It closes with that stream, and its output is not the name next to it."""

    @moa.turn
    def create(prompt):
        return holder(["a name that is long", streamed(prompt)])

    with capture_turns() as found:
        held = create("Why?")
        assert not found
        for piece in held["stream"] if isinstance(held, dict) else held[1]:
            assert piece in PIECES
    (record,) = found
    assert (WORDS, "completed") == (record["output"], record["outcome"])
    (call,) = record["references"]
    assert (WORDS, False) == (call["output"], call["late"])


def test_a_name_next_to_a_stream_that_is_not_recorded_is_no_output():
    """Its text is not known."""
    call = record_of("call", lambda prompt, model: ("a label that is long", iter(PIECES)))
    assert (None, "completed") == (call["output"], call["outcome"])
    assert call["raw"]["type"] == "builtins.tuple"


@pytest.mark.parametrize("read", [0, 2])
def test_a_stream_that_was_read_half_and_returned_is_whole(read):
    """What the function read, and what its caller reads."""

    def half(prompt, model):
        stream = streamed(prompt)
        for _ in range(read):
            next(stream)
        return stream

    call = record_of("call", half)
    assert (WORDS, "completed") == (call["output"], call["outcome"])


# Generators that never run ------------------------------------------------------------------------


@pytest.mark.parametrize("observers", [(), ("observer",)], ids=["straight", "conversation"])
@pytest.mark.parametrize("left", ["dropped", "closed", "iterator dropped"])
@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_generator_that_never_began_is_not_a_call(kind, left, observers):
    """Its body never ran, so no model was asked."""

    def generator(prompt):
        yield WORDS

    async def async_generator(prompt):
        yield WORDS

    def watch(call):
        yield call

    stack = moa.Stack(observers=[watch] if observers else [])
    function = stack.aggregator(generator if kind == "generator" else async_generator)

    async def main():
        with moa.turn():
            model("Why?")
            stream = function("Why?")
            if left == "closed" and kind == "generator":
                stream.close()
            elif left == "closed":
                await stream.aclose()
            elif left == "iterator dropped":  # as `zip` does, if another one is empty
                _ = iter(stream) if kind == "generator" else aiter(stream)
                del _, stream
        with moa.turn():
            function("Why?")
        function("Why?")

    with capture_turns() as found:
        asyncio.run(main())
    (record,) = found
    assert (1, 1, None, []) == (
        record["totals"]["calls"],
        len(record["references"]),
        record["aggregator"],
        record["calls"],
    )


def test_a_generator_that_began_is_a_call_even_if_it_yielded_nothing():
    """What was begun is not lost."""

    @moa.aggregator
    async def slow(prompt):
        await asyncio.sleep(60)
        yield WORDS

    async def main():
        with moa.turn():
            stream = slow("Why?")
            step = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)

    with capture_turns() as found:
        asyncio.run(main())
    assert ("cancelled", 0) == (found[0]["aggregator"]["outcome"], found[0]["aggregator"]["chunks"])


# Figures ------------------------------------------------------------------------------------------


def test_the_totals_count_what_is_not_known():
    """Calls without tokens, and replies that were not understood; nothing where there is none."""

    @moa.reference
    def bare(prompt):
        return object()

    with capture_turns() as found:
        with moa.turn():
            model("Why?")
        with moa.turn():
            model("Why?")
            bare("Why?")
            moa.reference(lambda prompt: WORDS)("Why?")
    assert not {"no_usage", "unread"} & set(found[0]["totals"])
    assert (3, 2, 1) == tuple(found[1]["totals"][name] for name in ("calls", "no_usage", "unread"))
    assert 3 == found[1]["totals"]["usage"]["input_tokens"]


@pytest.mark.parametrize("count", [10**5000, 2**63, -1], ids=["long", "large", "negative"])
@pytest.mark.parametrize("name", ["prompt_tokens", "input_tokens"])
def test_a_count_is_a_number_of_tokens_or_missing(count, name, tmp_path):
    """Never a text, in the file and for `on_turn`."""
    heard = []
    moa.configure(save_traces=True, trace_dir=tmp_path, on_turn=heard.append)

    @moa.reference
    def odd(prompt):
        return {**completion(WORDS), "usage": {name: count, "completion_tokens": 5}}

    odd("Why?")
    (record,) = heard
    (call,) = record["references"]
    assert (None, 5) == (call["usage"]["input_tokens"], call["usage"]["output_tokens"])
    assert (None, 5) == (record["totals"]["usage"]["input_tokens"], record["totals"]["usage"]["output_tokens"])


# What a function was given ------------------------------------------------------------------------


def test_no_argument_is_the_reply():
    """Whatever its name is, and however long it is."""
    persona = "You are a physicist who answers children, and you never use a word of more than three syllables."

    def ask(question, persona):
        return persona, question, "Rayleigh."

    with capture_turns() as found, moa.turn():
        moa.reference(ask)("Why is the sky blue?", persona=persona)
    assert "Rayleigh." == found[0]["references"][0]["output"]


@KINDS
@INSIDE
def test_an_answer_that_was_appended_to_the_conversation_is_the_reply(inside, kind):
    """The function was given the very list that it returns."""

    def chat(messages):
        messages.append({"role": "assistant", "content": asked("Why?", inside=inside)})
        return messages

    async def chat_later(messages):
        return chat(messages)

    messages = [
        {"role": "user", "content": "Hello there, and good morning to you."},
        {"role": "assistant", "content": "Good morning. What can I do for you today, my friend?"},
        {"role": "user", "content": "Why is the sky blue?"},
    ]

    async def main():
        with moa.turn():
            result = moa.reference(chat_later if kind == "async" else chat)(messages)
            await result if inspect.isawaitable(result) else None

    with capture_turns() as found:
        asyncio.run(main())
    (call,) = found[0]["references"]
    assert (WORDS, 3) == (call["output"], 3 if inside else len(call["input_messages"]))
