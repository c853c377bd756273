"""Turns in turns, implicit turns, and turns that begin by hand."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from types import SimpleNamespace

import pytest

import moa_middleware as moa
from tests.support.reference import outputs, reference
from tests.support.sdk_worlds import MESSAGES, PIECES, TEXT, world

# Nested, implicit, by hand --------------------------------------------------------------------------


def test_a_nested_turn_is_a_line_of_its_own_linked_both_ways(turns):
    """The parent lists the child's id, the child names the parent and inherits its session."""

    @moa.turn
    def inner():
        return reference("inner")(MESSAGES)

    @moa.turn(session_id="s", preset="p")
    def outer():
        reference("outer")(MESSAGES)
        return inner()

    outer()
    child, parent = turns
    assert parent["turn_id"] == child["parent_turn_id"]
    assert [child["turn_id"]] == parent["turns"]
    assert ("s", "p") == (child["session_id"], child["preset"])
    assert ["inner"] == outputs(child)
    assert ["outer"] == outputs(parent)
    assert 1 == parent["totals"]["calls"] == child["totals"]["calls"]


def test_a_nested_turn_names_its_own_session(turns):
    """It is in its parent's session unless it names another."""

    @moa.turn(session_id="mine")
    def inner():
        return "x"

    @moa.turn(session_id="theirs")
    def outer():
        return inner()

    outer()
    assert ["mine", "theirs"] == [record["session_id"] for record in turns]


def test_a_call_outside_a_turn_is_an_implicit_turn(turns):
    """Nothing is lost: a turn of one call."""
    reference("alone")(MESSAGES)
    (record,) = turns
    assert record["implicit"]
    assert ["alone"] == outputs(record)
    assert "alone" == record["output"]
    assert record["aggregator"] is None


def test_a_turn_by_hand_without_calls_lends_and_writes_nothing(turns):
    """It lent session, preset and tags to the turn inside."""

    @moa.turn
    def create():
        return "x"

    with moa.turn(session_id="s", preset="p", tags={"tenant": "a"}) as turn:
        assert turn is moa.current_turn()
        create()
    assert moa.current_turn() is None
    (record,) = turns
    assert ("s", "p", {"tenant": "a"}) == (record["session_id"], record["preset"], record["tags"])
    assert turn.id == record["parent_turn_id"]


def test_a_turn_by_hand_closes_with_the_last_stream_begun_in_it(turns):
    """The stream may end after the block."""
    with world("mock") as made:
        client = moa.instrument(made.client())
        with moa.turn():
            reference("first")(MESSAGES)
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        assert [] == turns
        for _ in stream:
            pass
    (record,) = turns
    assert TEXT == record["aggregator"]["output"] == record["output"]
    assert ["completed"] == [call["outcome"] for call in record["calls"] + record["references"]]


def test_an_error_in_the_block_keeps_the_stream_and_says_so(turns):
    """The turn's outcome is the block's error, its text is all that passed."""
    with world("mock") as made:
        client = moa.instrument(made.client())
        with pytest.raises(ValueError, match="mine"), moa.turn():
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            next(stream)
            raise ValueError("mine")
        stream.close()
    (record,) = turns
    assert ("error", "ValueError") == (record["outcome"], record["error"]["type"])
    assert ("closed", PIECES[0]) == (record["aggregator"]["outcome"], record["aggregator"]["output"])


HOLDERS = {
    "tuple": lambda stream: (stream, {"cost": 1}),
    "holder": lambda stream: SimpleNamespace(body=stream),
    "list": lambda stream: [stream],
    "dict": lambda stream: {"stream": stream},
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_create_that_hands_its_stream_out_in_a_holder_loses_nothing(turns, holder):
    """The turn closes with the aggregator's stream, not with the return."""
    with world("mock") as made:
        client = moa.instrument(made.client())

        @moa.turn
        def create():
            reference("ref")(MESSAGES)
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            return HOLDERS[holder](stream)

        held = create()
        assert [] == turns
        (stream,) = [held.body] if holder == "holder" else [held["stream"]] if holder == "dict" else [held[0]]
        text = "".join(c.choices[0].delta.content or "" for c in stream)
    (record,) = turns
    assert TEXT == text == record["aggregator"]["output"] == record["output"]
    assert "completed" == record["outcome"]


@pytest.mark.parametrize("decorated", [False, True])
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_stream_dropped_with_its_holder_ends_at_once(turns, holder, decorated):
    """Nothing of ours keeps the holder, or what is in it, alive."""
    with world("mock") as made:
        client = moa.instrument(made.client())

        def act():
            return HOLDERS[holder](client.chat.completions.create(model="m", messages=MESSAGES, stream=True))

        act = moa.aggregator(act) if decorated else act

        @moa.turn
        def create():
            return act()

        held = create()
        assert [] == turns
        del held
        assert 1 == len(turns)
        held = act()
        del held
    for record in turns:
        assert ("abandoned", "abandoned") == (record["outcome"], record["aggregator"]["outcome"])


def test_reading_a_value_reads_no_property(turns):
    """`.text` of a streaming HTTP response would read the body away from its owner."""

    class Response:
        reads = 0

        @property
        def text(self):
            Response.reads += 1
            return "body"

        content = output = text

    @moa.reference
    def ask():
        return Response()

    ask()
    assert 0 == Response.reads
    assert turns[0]["references"][0]["raw"]["type"].endswith("Response")


def test_the_aggregators_own_stream_is_read_once(turns):
    """A create that returns it adds no proxy, and the turn ends with it."""
    with world("mock") as made:
        client = moa.instrument(made.client())
        inner = []

        @moa.turn
        def create():
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            inner.append(id(stream))
            return stream

        stream = create()
        assert inner == [id(stream)]
        next(stream)
        stream.close()
    (record,) = turns
    assert ("closed", "closed") == (record["outcome"], record["aggregator"]["outcome"])
    assert PIECES[0] == record["output"] == record["aggregator"]["output"]


def test_a_generator_over_the_aggregators_stream_is_recorded_beside_it(turns):
    """The turn has the generator's text, the aggregator its own."""
    with world("mock") as made:
        client = moa.instrument(made.client())

        @moa.turn
        def create():
            for chunk in client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
                yield (chunk.choices[0].delta.content or "").upper()

        assert TEXT.upper() == "".join(create())
    (record,) = turns
    assert TEXT.upper() == record["output"]
    assert TEXT == record["aggregator"]["output"]


def test_one_block_may_be_entered_by_several_tasks_at_once(turns):
    """Nothing of one use is kept on the block."""
    block = moa.turn(session_id="shared")

    async def one(number, mine, later):
        with block as turn:
            await later.wait()
            reference(f"r{number}")(MESSAGES)
            assert turn is moa.current_turn()
        mine.set()

    async def main():
        over = [asyncio.Event() for _ in range(6)]
        over[5].set()
        await asyncio.gather(*(one(number, over[number], over[number + 1]) for number in range(5)))

    asyncio.run(main())
    assert [[f"r{n}"] for n in reversed(range(5))] == [outputs(record) for record in turns]


def test_a_block_left_in_another_thread_closes_its_turn(turns):
    """Fixtures and dependencies leave elsewhere than they entered; that never raises."""
    block = moa.turn()
    block.__enter__()
    reference("there")(MESSAGES)
    thread = threading.Thread(target=block.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert [["there"]] == [outputs(record) for record in turns]
    tag = moa.tag(role="critique")
    tag.__enter__()
    thread = threading.Thread(target=tag.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    tag.__exit__(None, None, None)


def test_tags_win_over_decorators(turns):
    """`tag` is the strongest word on role, label, layer, session and preset."""

    @moa.turn(session_id="weak", preset="weak")
    def create():
        with moa.tag(role="critique", label="strong", layer=3, tags={"a": 1}):
            return reference("weak")(MESSAGES)

    with moa.tag(session_id="strong", preset="strong"):
        create()
    (record,) = turns
    assert ("strong", "strong") == (record["session_id"], record["preset"])
    (call,) = record["calls"]
    assert ("critique", "tag", "strong", 3) == tuple(call[name] for name in ("role", "role_source", "label", "layer"))


def test_a_tag_is_meant_for_the_call_and_not_for_what_is_inside(turns):
    """A call's body does not inherit the role that the call was tagged with."""

    @moa.reference
    def inner():
        return "inner answer"

    @moa.reference
    def inner_too():
        return "inner too"

    @moa.aggregator
    def outer():
        inner()
        inner_too()
        return "outer answer"

    @moa.turn
    def create():
        with moa.tag(role="critique"):
            return outer()

    create()
    (record,) = turns
    assert ["critique", "reference", "reference"] == [call["role"] for call in record["calls"]] + [
        call["role"] for call in record["references"]
    ]


# Off ----------------------------------------------------------------------------------------------


def test_a_turn_by_hand_may_be_entered_by_async_with(turns):
    """As a user of async code would write it."""

    async def main():
        async with moa.turn(session_id="s"):
            reference("inside")(MESSAGES)

    asyncio.run(main())
    assert [("s", ["inside"])] == [(record["session_id"], outputs(record)) for record in turns]


def test_a_function_is_no_tag_of_a_block():
    """It has no arguments to call it with."""
    with pytest.raises(moa.TagError, match="is for decorators"), moa.turn(session_id=lambda user: user):
        pass


def test_nested_calls_outside_a_turn_are_one_implicit_turn(turns):
    """The inner call does not end the turn that was opened for the outer."""

    @moa.reference(label="inner")
    def inner():
        return "inner answer"

    @moa.reference(label="outer")
    def outer():
        return inner().upper()

    outer()
    (record,) = turns
    (call,) = record["references"]
    assert ("outer", "INNER ANSWER", "completed") == (call["label"], call["output"], call["outcome"])


def test_a_turn_that_returns_a_stream_manager_ends_with_its_stream(turns):
    """Entered and read; entered for a value; never entered."""

    @moa.turn
    @contextlib.contextmanager
    def streams():
        yield iter(["a", "b"])

    @moa.turn
    @contextlib.contextmanager
    def values():
        yield "whole"

    with streams() as stream:
        assert ["a", "b"] == list(stream)
    with values() as value:
        assert "whole" == value
    streams()
    assert [("completed", "ab"), ("completed", "whole"), ("abandoned", None)] == [
        (record["outcome"], record["output"]) for record in turns
    ]


def test_an_async_turn_that_returns_a_stream_manager_ends_with_its_stream(turns):
    """The same for `async with`."""

    @moa.turn
    @contextlib.asynccontextmanager
    async def streams():
        async def pieces():
            yield "a"
            yield "b"

        yield pieces()

    async def main():
        async with streams() as stream:
            return [piece async for piece in stream]

    assert ["a", "b"] == asyncio.run(main())
    assert [("completed", "ab")] == [(record["outcome"], record["output"]) for record in turns]


def test_a_turn_whose_awaitable_is_never_awaited_is_abandoned(turns):
    """What was opened is closed when the last reference goes."""

    class Later:
        def __await__(self):
            yield

    @moa.turn
    def create():
        return Later()

    create()
    gc.collect()
    assert ["abandoned"] == [record["outcome"] for record in turns]
