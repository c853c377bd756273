"""What a second reading of the capture core found wrong, one test a fault."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from types import SimpleNamespace

import pytest
import wrapt

import moa_middleware as moa
from moa_middleware._capture.calls import straight
from moa_middleware._capture.shapes import parts, replies
from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware._capture.turns.turn import Turn
from tests.conftest import lines_of
from tests.support.corpus.script import reply

MESSAGES = [{"role": "user", "content": "why is the sky blue"}]


class interrupting:
    """Interrupt the program when a function of ours is entered for the first time."""

    def __init__(self, *codes):
        self.codes = codes

    def look(self, frame, _event, _arg):
        if frame.f_code in self.codes:
            sys.settrace(None)
            raise KeyboardInterrupt

    def __enter__(self):
        sys.settrace(self.look)

    def __exit__(self, *_):
        sys.settrace(None)


@moa.reference
def ask(messages):
    return reply("Air scatters blue light.")


@moa.reference
async def ask_async(messages):
    return reply("Air scatters blue light.")


@pytest.mark.parametrize("run", [ask, lambda messages: asyncio.run(ask_async(messages))], ids=["sync", "async"])
@pytest.mark.parametrize("where", [replies.read_reply, straight.keep, straight._finish], ids=lambda fn: fn.__name__)
def test_an_interrupt_while_a_reply_is_read_ends_the_call(run, where, turns):
    """Neither the line of its turn is lost, nor does the turn stay open."""
    with pytest.raises(KeyboardInterrupt), interrupting(where.__code__):
        run(MESSAGES)
    assert moa.status().open_turns == 0
    (turn,) = turns
    call = turn["aggregator"] or turn["references"][0]
    assert call["outcome"] is not None
    assert turn["outcome"] == "cancelled"


def test_an_interrupt_while_a_reply_is_read_ends_the_call_in_an_open_turn(turns):
    """The call is not listed as one that still runs."""
    with moa.turn():
        with pytest.raises(KeyboardInterrupt), interrupting(replies.read_reply.__code__):
            ask(MESSAGES)
    (turn,) = turns
    assert turn["references"][0]["outcome"] == "cancelled"


class Response:
    """A reply as an SDK has it: an object with ids and, deep inside, the words."""

    def __init__(self, fields):
        for name, value in fields.items():
            setattr(self, name, self.of(value))

    @classmethod
    def of(cls, value):
        if isinstance(value, dict):
            return cls(value)
        return [cls.of(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("make", [dict, Response])
@pytest.mark.parametrize(
    "around",
    [lambda it: (it, 5), lambda it: ("a name", it), lambda it: (0.3, it, None)],
    ids=["first", "second", "middle"],
)
def test_a_response_in_a_tuple_is_the_output_and_not_its_id(make, around, turns):
    """The words are deeper in it than its id and the name of the model."""

    @moa.reference
    def inner(messages):
        return make(reply("Air."))

    @moa.reference(label="outer")
    def outer(messages):
        return around(inner(messages))

    outer(MESSAGES)
    (turn,) = turns
    (call,) = turn["references"]
    assert call["output"] == "Air."
    assert "model_output" not in call


def test_a_matrix_next_to_a_text_is_not_read_to_its_end(turns, monkeypatch):
    """A million numbers took more than a second of the caller's time."""
    asked = []
    monkeypatch.setattr(
        parts, "issubclass", lambda kind, kinds: asked.append(0) or issubclass(kind, kinds), raising=False
    )

    @moa.reference(label="outer")
    def outer(messages):
        text = ask(messages)["choices"][0]["message"]["content"]
        return "a name", [[0.5] * 1000] * 1000, text.upper()

    outer(MESSAGES)
    assert 0 < len(asked) < 10_000
    (turn,) = turns
    assert turn["references"][0]["output"] == "AIR SCATTERS BLUE LIGHT."


def test_an_object_that_refuses_its_names_costs_no_output(turns):
    """One that raises for each attribute, `__class__` too."""

    class Refusing:
        def __getattribute__(self, name):
            raise RuntimeError(name)

    @moa.reference(label="outer")
    def outer(messages):
        return Refusing(), ask(messages)["choices"][0]["message"]["content"].upper()

    outer(MESSAGES)
    (turn,) = turns
    assert turn["references"][0]["output"] == "AIR SCATTERS BLUE LIGHT."


@pytest.mark.parametrize("decorator", [moa.reference, moa.turn])
def test_a_coroutine_function_may_be_decorated_to_return_a_value(decorator, turns):
    """For example from a cache; the caller awaits what we return in its place."""

    @wrapt.decorator
    def cached(wrapped, instance, args, kwargs):
        return "cached"

    @decorator
    @cached
    async def answer(messages):
        raise AssertionError

    async def run():
        return await answer(MESSAGES)

    assert asyncio.run(run()) == "cached"
    (turn,) = turns
    assert (turn["outcome"], turn["output"]) == ("completed", "cached")


@pytest.mark.parametrize("make", [tuple, list])
def test_a_stream_in_a_tuple_is_the_output_and_not_the_name_next_to_it(make, turns):
    """It is read after the function has returned."""

    @moa.reference
    def inner(messages):
        yield from ("Air ", "scatters.")

    @moa.reference(label="outer")
    def outer(messages):
        return make(["a name", inner(messages)])

    with moa.turn():
        list(outer(MESSAGES)[1])
    (turn,) = turns
    (call,) = turn["references"]
    assert call["output"] == "Air scatters."
    assert call["outcome"] == "completed"
    assert "model_output" not in call


class Unhashable(type):
    """A class of classes that compares, so that no cache can hold them."""

    def __eq__(cls, other):
        return cls is other

    __hash__ = None


class Odd(metaclass=Unhashable):
    """Its kind cannot be judged by its type."""


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("decorator", [moa.reference, moa.turn])
def test_a_value_that_cannot_be_judged_reaches_the_caller(decorator, is_async, turns):
    """It raised TypeError from a turn, which stayed open."""
    value = Odd()
    if is_async:

        @decorator
        async def later(messages):
            return value

        assert asyncio.run(later(MESSAGES)) is value
    else:
        assert decorator(lambda messages: value)(MESSAGES) is value
    assert moa.status().open_turns == 0
    (turn,) = turns
    assert turn["outcome"] == "completed"


def test_an_interrupt_where_a_turn_ends_closes_it(turns):
    """Its line is written, and it does not stay open."""
    with pytest.raises(KeyboardInterrupt), interrupting(Turn.awaited.__code__):
        moa.turn(lambda messages: "text")(MESSAGES)
    assert moa.status().open_turns == 0
    (turn,) = turns
    assert turn["outcome"] == "cancelled"


class Mute:
    """A value of an option that has no text."""

    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize("option", ["label", "model", "provider", "session_id", "preset"])
def test_an_option_without_a_text_costs_neither_the_line_nor_the_turn(option, turns):
    """Its turn stayed open, and the line was lost."""
    asked = moa.reference(**{option: lambda messages: Mute()})(lambda messages: reply("Air."))
    asked(MESSAGES)
    assert moa.status().open_turns == 0
    (turn,) = turns
    assert turn["references"][0]["output"] == "Air."


@pytest.mark.parametrize("piece", ["", "Air "])
def test_a_stream_that_failed_and_was_caught_was_handled(piece, turns):
    """Also one that failed before its first word, in a function that returns nothing."""

    @moa.reference
    def inner(messages):
        if piece:
            yield piece
        raise ConnectionError

    @moa.reference(label="outer")
    def outer(messages):
        with suppress(ConnectionError):
            list(inner(messages))

    with moa.turn():
        outer(MESSAGES)
    (turn,) = turns
    (call,) = turn["references"]
    assert (call["outcome"], call.get("handled")) == ("error", True)


def test_a_stream_that_was_handed_out_and_failed_was_not_handled(turns):
    """It failed after its function had returned."""

    @moa.reference
    def inner(messages):
        yield from ()
        raise ConnectionError

    @moa.reference(label="outer")
    def outer(messages):
        return SimpleNamespace(body=inner(messages))

    with moa.turn(), suppress(ConnectionError):
        list(outer(MESSAGES).body)
    (turn,) = turns
    (call,) = turn["references"]
    assert (call["outcome"], "handled" in call) == ("error", False)


def test_the_parent_of_a_late_call_has_a_record(trace_dir):
    """The call around it is one with the call around that, whose id the record has."""
    begun, go_on = Event(), Event()

    @moa.reference
    def inner(messages):
        begun.set()
        assert go_on.wait(10)
        return reply("Air.")

    with ThreadPoolExecutor(1) as pool:

        @moa.reference(label="middle")
        def middle(messages):
            pool.submit(inner, messages)
            assert begun.wait(10)
            return "text"

        @moa.reference(label="outer")
        def outer(messages):
            return middle(messages)

        with moa.turn():
            outer(MESSAGES)
        go_on.set()
    (late,) = lines_of(next((trace_dir / "late").glob("*.jsonl")))
    (turn,) = lines_of(next(trace_dir.glob("*.jsonl")))
    assert late["call"]["parent"] == turn["references"][0]["call_id"]


class Later:
    """Something to be awaited."""

    def __await__(self):
        yield from ()
        return "text"


class LaterStream(Later):
    """A stream that may be awaited as well."""

    async def __aiter__(self):
        yield "Air "
        yield "scatters."

    async def __anext__(self):
        raise StopAsyncIteration


@pytest.mark.parametrize("decorator", [moa.reference, moa.turn])
def test_what_a_coroutine_function_returns_to_be_awaited_is_left_to_the_caller(decorator, turns):
    """It was awaited a second time, so that the caller got another object."""
    later = Later()

    @decorator
    async def ask_later(messages):
        return later

    async def run():
        return await ask_later(MESSAGES)

    assert asyncio.run(run()) is later
    (turn,) = turns
    assert turn["outcome"] == "completed"


@pytest.mark.parametrize("decorator", [moa.reference, moa.turn])
def test_a_stream_that_may_be_awaited_is_read(decorator, turns):
    """Its words are on record."""

    @decorator
    async def ask_stream(messages):
        return LaterStream()

    async def run():
        return [piece async for piece in await ask_stream(MESSAGES)]

    assert asyncio.run(run()) == ["Air ", "scatters."]
    (turn,) = turns
    assert turn["output"] == "Air scatters."


@moa.reference
def ask_for_stream(messages):
    yield from ("Air ", "scatters.")


@moa.turn
def answer_by_stream(messages):
    yield from ("Air ", "scatters.")


@moa.turn
def hand_stream_on(messages):
    return ask_for_stream(messages)


@pytest.mark.parametrize("run", [ask_for_stream, answer_by_stream, hand_stream_on], ids=["call", "turn", "both"])
def test_an_interrupt_while_the_reply_of_a_stream_is_read_ends_it(run, turns):
    """Neither the line of its turn is lost, nor does the turn stay open."""
    with pytest.raises(KeyboardInterrupt), interrupting(Accumulator.reply.__code__):
        list(run(MESSAGES))
    assert moa.status().open_turns == 0
    (turn,) = turns
    assert turn["outcome"] is not None


class OddError(Exception):
    """An exception whose attributes are code."""

    @property
    def completion(self):
        raise RuntimeError


@pytest.mark.parametrize("observers", [[], [lambda call: (yield call)]], ids=["straight", "conversation"])
def test_an_exception_with_a_property_that_raises_reaches_the_caller(observers, turns):
    """It is on record as the end of the call."""
    moa.configure(observers=observers)

    @moa.reference
    def fail(messages):
        raise OddError

    with pytest.raises(OddError):
        fail(MESSAGES)
    (turn,) = turns
    (call,) = turn["references"]
    assert (call["outcome"], turn["totals"]["failed"]) == ("error", 1)
