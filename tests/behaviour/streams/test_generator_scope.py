"""Which turn is current in the body of a generator, and generators that several threads and turns share."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest

import moa_middleware as moa
from tests.support.boom import Boom


def here():
    """Return the id of the current turn."""
    turn = moa.current_turn()
    return turn.id if turn is not None else None


def test_the_turn_is_current_in_each_step_and_not_between(turns):
    """For `next`, `send`, `throw` and the cleaning up of `close`."""
    inside, outside = [], []

    @moa.turn
    def fn(messages):
        inside.append(here())
        try:
            yield "a"
            inside.append(here())
            yield "b"
        except Boom:
            inside.append(here())
            yield "c"
        finally:
            inside.append(here())

    generator = fn("q")
    for step in (generator.__next__, lambda: generator.send(1), lambda: generator.throw(Boom()), generator.close):
        outside.append(here())
        step()
    outside.append(here())
    assert [turns[0]["turn_id"]] * 4 == inside
    assert [None] * 5 == outside


def test_the_turn_is_current_in_each_async_step_and_not_between(turns):
    """The same for `anext`, `asend`, `athrow` and `aclose`, also behind an `await`."""
    inside, outside = [], []

    @moa.turn
    async def fn(messages):
        inside.append(here())
        try:
            yield "a"
            await asyncio.sleep(0)
            inside.append(here())
            yield "b"
        except Boom:
            inside.append(here())
            yield "c"
        finally:
            await asyncio.sleep(0)
            inside.append(here())

    async def main():
        generator = fn("q")
        for step in (lambda: anext(generator), lambda: generator.asend(1), lambda: generator.athrow(Boom())):
            outside.append(here())
            await step()
        outside.append(here())
        await generator.aclose()
        outside.append(here())

    asyncio.run(main())
    assert [turns[0]["turn_id"]] * 4 == inside
    assert [None] * 5 == outside


def test_two_generators_in_turns_do_not_mix(turns):
    """Steps of two generator turns alternate; each call is its own turn's."""

    @moa.reference
    def ask(model):
        return model

    @moa.turn
    def fn(name):
        for number in range(3):
            yield ask(f"{name}{number}")

    pairs = zip(fn("a"), fn("b"), strict=True)
    assert [("a0", "b0"), ("a1", "b1"), ("a2", "b2")] == list(pairs)
    asked = [[call["model"] for call in record["references"]] for record in turns]
    assert [["a0", "a1", "a2"], ["b0", "b1", "b2"]] == sorted(asked)


def test_a_turn_made_in_a_turn_keeps_its_parent(turns):
    """A generator turn begun inside another turn and read after it has ended is still its child."""

    @moa.turn
    def inner(messages):
        yield "a"

    @moa.turn
    def outer(messages):
        held.append(inner("q"))
        return "outer"

    held = []
    outer("q")
    assert ["a"] == list(held[0])
    records = {record["output"]: record for record in turns}
    assert records["outer"]["turn_id"] == records["a"]["parent_turn_id"]
    assert [records["a"]["turn_id"]] == records["outer"]["turns"]


def test_a_turn_over_an_aggregators_stream_records_both(turns):
    """What the aggregator said and what the turn made of it."""

    @moa.aggregator
    def act(messages):
        yield "the "
        yield "answer"

    @moa.turn
    def create(messages):
        for piece in act(messages):
            yield piece.upper()

    assert ["THE ", "ANSWER"] == list(create("q"))
    (record,) = turns
    assert ("the answer", "THE ANSWER") == (record["aggregator"]["output"], record["output"])
    assert ("completed", 2) == (record["aggregator"]["outcome"], record["aggregator"]["chunks"])


def test_an_async_turn_over_an_aggregators_stream_records_both(turns):
    """The same for async generators, with references asked at once."""

    @moa.reference
    async def ask(model):
        return f"{model} says"

    @moa.aggregator
    async def act(messages):
        yield "the "
        yield "answer"

    @moa.turn
    async def create(messages):
        drafts = await asyncio.gather(ask("a"), ask("b"))
        yield f"[{len(drafts)}] "
        async for piece in act(drafts):
            yield piece

    async def main():
        return "".join([piece async for piece in create("q")])

    assert "[2] the answer" == asyncio.run(main())
    (record,) = turns
    assert ("the answer", "[2] the answer") == (record["aggregator"]["output"], record["output"])
    assert ["a says", "b says"] == [call["output"] for call in record["references"]]


def test_a_turn_that_returns_the_aggregators_generator_is_that_stream(turns):
    """A `def` that hands it through: the same stream, its text kept once."""

    @moa.aggregator
    def act(messages):
        got = yield "the "
        yield got
        return "value"

    @moa.turn
    def create(messages):
        return act(messages)

    generator = create("q")
    assert ("the ", "answer") == (next(generator), generator.send("answer"))
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert "value" == stop.value.value
    (record,) = turns
    assert "the answer" == record["aggregator"]["output"] == record["output"]


def test_a_generator_closed_early_closes_the_aggregators(turns):
    """`yield from` hands the close on; both records are closed, with the text so far."""

    @moa.aggregator
    def act(messages):
        yield "the "
        yield "answer"

    @moa.turn
    def create(messages):
        yield from act(messages)

    generator = create("q")
    next(generator)
    generator.close()
    (record,) = turns
    assert ("closed", "the ") == (record["outcome"], record["output"])
    assert ("closed", "the ") == (record["aggregator"]["outcome"], record["aggregator"]["output"])


def test_made_in_one_thread_and_finished_in_another(turns):
    """No error about contexts, and a call made in the last step is the turn's."""

    @moa.reference
    def ask(model):
        return model

    @moa.turn
    def fn(messages):
        yield "a"
        yield ask("b")

    generator = fn("q")
    rest = [next(generator)]
    thread = threading.Thread(target=lambda: rest.extend(generator))
    thread.start()
    thread.join()
    assert ["a", "b"] == rest
    (record,) = turns
    assert [("b", "ab")] == [(call["model"], record["output"]) for call in record["references"]]


def test_two_threads_share_a_generator(turns):
    """Python's own "already executing" is the loser's error; the record is not hurt by it."""
    entered, go_on = threading.Event(), threading.Event()

    @moa.turn
    def fn(messages):
        yield "a"
        entered.set()
        go_on.wait(10)
        yield "b"

    generator = fn("q")
    got = [next(generator)]
    thread = threading.Thread(target=lambda: got.append(next(generator)))
    thread.start()
    entered.wait(10)
    with pytest.raises(ValueError, match="already executing"):
        next(generator)
    with pytest.raises(ValueError, match="already executing"):
        generator.close()
    go_on.set()
    thread.join()
    assert ["a", "b"] == [*got, *generator]
    assert [("completed", "ab")] == [(record["outcome"], record["output"]) for record in turns]


def test_an_iterator_outlives_a_step_that_was_refused(turns):
    """Python refuses it a step while another thread is in one; it may take the next one."""
    entered, go_on = threading.Event(), threading.Event()

    @moa.turn
    def fn(messages):
        yield "a"
        entered.set()
        go_on.wait(10)
        yield "b"
        yield "c"

    generator = fn("q")
    steps = iter(generator)
    got = [next(steps)]
    thread = threading.Thread(target=lambda: got.append(next(generator)))
    thread.start()
    entered.wait(10)
    with pytest.raises(ValueError, match="already executing"):
        next(steps)
    go_on.set()
    thread.join()
    assert ["a", "b", "c"] == [*got, *steps]
    assert [("completed", "abc")] == [(record["outcome"], record["output"]) for record in turns]


@contextmanager
def pausing(told):
    """Call `told` with each exception that comes out of a step, in this thread, before the step is over."""

    def local(frame, event, value):
        if event == "exception":
            told(value[0])
        return local

    former = sys.gettrace()
    sys.settrace(lambda frame, *_: local if frame.f_code.co_name == "one" else None)
    try:
        yield
    finally:
        sys.settrace(former)


def test_a_refused_reader_ends_nothing_though_the_generator_is_over_by_then(turns):
    """Between the refusal and what is made of it another thread may read the generator to its end."""
    inside, refused, over = threading.Event(), threading.Event(), threading.Event()

    @moa.turn
    def fn(messages):
        yield "a"
        inside.set()
        refused.wait(30)

    generator = fn("q")
    assert "a" == next(generator)

    def first():
        with pausing(lambda kind: over.wait(30)), suppress(StopIteration):
            next(generator)

    def second(kind):
        assert kind is ValueError
        refused.set()
        while generator.gi_frame is not None and thread.is_alive():
            time.sleep(0.001)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(30)
    with pausing(second), pytest.raises(ValueError, match="already executing"):
        next(generator)
    over.set()
    thread.join()
    assert [("completed", "a")] == [(record["outcome"], record["output"]) for record in turns]


def test_an_async_generator_that_is_running_is_not_ended_by_a_second_reader(turns):
    """The same for two tasks."""

    @moa.turn
    async def fn(messages):
        yield "a"
        await asyncio.sleep(0.01)
        yield "b"

    async def main():
        generator = fn("q")
        got = [await anext(generator)]
        task = asyncio.create_task(generator.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already running"):
            await anext(generator)
        with pytest.raises(RuntimeError, match="already running"):
            await generator.aclose()
        got.append(await task)
        return got + [piece async for piece in generator]

    assert ["a", "b"] == asyncio.run(main())
    assert [("completed", "ab")] == [(record["outcome"], record["output"]) for record in turns]


def test_middleware_reaches_generators(turns):
    """It changes chunks and the request of a generator call; the generator stays one."""

    def shout(call):
        call.map_chunks(lambda chunk: chunk.text.upper())
        reply = yield call.replace(messages=[{"role": "user", "content": "changed"}])
        seen.append(reply.text)

    seen = []
    moa.configure(middleware=[shout])

    @moa.reference
    def fn(messages):
        yield messages[0]["content"]
        got = yield "a"
        yield got

    generator = fn([{"role": "user", "content": "q"}])
    assert inspect.isgenerator(generator)
    assert ("CHANGED", "A", "B") == (next(generator), next(generator), generator.send("b"))
    assert [] == list(generator)
    assert ["changedab"] == seen
