"""
Users' generators keep their life, whether they are a call, a turn, both, or nothing.

Each scenario runs bare, off and on, and everything that the consumer and the body noticed is
compared; on, there is one record with the outcome of the table.
"""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import gc
import inspect
import sys
import threading
import time
import types
from contextlib import aclosing, closing, contextmanager, suppress
from itertools import islice

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.conftest import check


class Boom(Exception):
    """A user's own error."""


# Sync scenarios: each gets `decorate` and a list to note things in. -------------------------------------


def for_loop(decorate, note):
    @decorate
    def fn(messages):
        yield "a"
        yield "b"
        note("body ended")

    for piece in fn("q"):
        note(piece)


def list_of(decorate, note):
    @decorate
    def fn(messages):
        yield from "ab"

    note(list(fn("q")))


def by_next(decorate, note):
    @decorate
    def fn(messages):
        yield "a"
        yield "b"
        return "returned"

    generator = fn("q")
    while True:
        try:
            note(next(generator))
        except StopIteration as stop:
            note(stop.value)
            break
    note(next(generator, "over"))


def yield_from(decorate, note):
    @decorate
    def fn(messages):
        got = yield "a"
        note(("sent", got))
        try:
            yield "b"
        except Boom as error:
            note(("thrown", str(error)))
            yield "b"
        return "returned"

    def outer():
        note(("value", (yield from fn("q"))))
        yield "end"

    generator = outer()
    note(next(generator))
    note(generator.send("hello"))
    note(generator.throw(Boom("mine")))
    note(next(generator))


def send(decorate, note):
    @decorate
    def fn(messages):
        total = ""
        while len(total) < 2:
            total += yield total or "a"
        return total

    generator = fn("q")
    note(generator.send(None))
    note(generator.send("b"))
    try:
        generator.send("b")
    except StopIteration as stop:
        note(stop.value)


def send_too_early(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"

    generator = fn("q")
    try:
        generator.send("x")
    except TypeError as error:
        note(str(error))
    note(list(generator))


def throw_caught(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
        except Boom:
            yield "b"

    generator = fn("q")
    note(next(generator))
    note(generator.throw(Boom("mine")))
    note(list(generator))


def throw_uncaught(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "ab"
        finally:
            note("cleaned")

    generator = fn("q")
    note(next(generator))
    try:
        generator.throw(Boom("mine"))
    except Boom as error:
        note(str(error))
    note(next(generator, "over"))


def throw_a_class(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"

    generator = fn("q")
    note(next(generator))
    try:
        generator.throw(Boom)
    except Boom as error:
        note(repr(error))


def throw_turned(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "ab"
        except Boom as error:
            raise KeyError("other") from error

    generator = fn("q")
    note(next(generator))
    try:
        generator.throw(Boom("mine"))
    except KeyError as error:
        note((str(error), type(error.__cause__).__name__))


def body_raises(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"
        raise Boom("body")

    try:
        for piece in fn("q"):
            note(piece)
    except Boom as error:
        note((str(error), error.__cause__, error.__context__))


def body_raises_before(decorate, note):
    @decorate
    def fn(messages):
        raise Boom("body")
        yield "ab"

    generator = fn("q")
    note("made")
    try:
        next(generator)
    except Boom as error:
        note(str(error))


def wrong_arguments(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"

    try:
        fn("q", "x")
    except TypeError as error:
        note(str(error).rpartition(".")[2])


def close(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    generator = fn("q")
    note(next(generator))
    note(generator.close())
    note(generator.close())
    note(next(generator, "over"))


def close_before_the_start(decorate, note):
    @decorate
    def fn(messages):
        note("never")
        yield "a"

    note(fn("q").close())


def close_refused(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "ab"
        except GeneratorExit:
            yield "again"

    generator = fn("q")
    note(next(generator))
    try:
        generator.close()
    except RuntimeError as error:
        note(str(error))
    generator = None


def close_with_an_error(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "ab"
        finally:
            raise ValueError("cleaning failed")

    generator = fn("q")
    note(next(generator))
    try:
        generator.close()
    except ValueError as error:
        note(str(error))


def with_closing(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    with closing(fn("q")) as generator:
        note(next(generator))


def break_and_go_on(decorate, note):
    @decorate
    def fn(messages):
        yield "a"
        yield "b"

    generator = fn("q")
    for piece in generator:
        note(piece)
        break
    for piece in generator:
        note(piece)


def break_and_drop(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    for piece in fn("q"):
        note(piece)
        break
    gc.collect()


def never_begun(decorate, note):
    @decorate
    def fn(messages):
        note("never")
        yield "a"

    fn("q")


def outer_closed(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        except GeneratorExit:
            note("exit")
            raise

    def outer():
        yield from fn("q")

    generator = outer()
    note(next(generator))
    generator.close()


def slices_and_zips(decorate, note):
    @decorate
    def fn(messages):
        yield from ("a", "b")

    generator = fn("q")
    note(list(islice(generator, 1)))
    note(list(zip(generator, "x", strict=True)))
    note(dict(enumerate(generator)))


def unpacked(decorate, note):
    @decorate
    def fn(messages):
        yield from ("a", "b")

    first, second = fn("q")
    note((first, second))


def contains(decorate, note):
    @decorate
    def fn(messages):
        yield from ("a", "b")

    generator = fn("q")
    note("a" in generator)
    note("a" in generator)


def two_fors_at_once(decorate, note):
    @decorate
    def fn(messages):
        yield from ("a", "b")

    generator = fn("q")
    one, other = iter(generator), iter(generator)
    note((next(one), next(other), next(one, "over"), next(other, "over")))


def looks(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"

    generator = fn("q")
    note(inspect.isgenerator(generator))
    note(isinstance(generator, types.GeneratorType))
    for kind in ("Generator", "Iterator", "Iterable", "AsyncIterator", "Sized", "Collection", "Awaitable", "Hashable"):
        note((kind, isinstance(generator, getattr(collections.abc, kind))))
    for name in ("__enter__", "__aenter__", "__anext__", "aclose", "__call__", "__await__"):
        note((name, hasattr(generator, name)))
    note(bool(generator))
    for ask in (len, lambda g: g[0], reversed):
        try:
            note(ask(generator))
        except TypeError as error:
            note(type(error))
    note((generator.__name__, generator.gi_running, inspect.getgeneratorstate(generator)))
    note(list(generator))


def same_objects(decorate, note):
    pieces = [{"text": "a"}, types.SimpleNamespace(content="b"), None, object()]

    @decorate
    def fn(messages):
        yield from pieces

    note([got is sent for got, sent in zip(fn("q"), pieces, strict=True)])


def other_thread(decorate, note):
    @decorate
    def fn(messages):
        yield "a"
        yield "b"

    generator = fn("q")
    note(next(generator))
    thread = threading.Thread(target=lambda: note(list(generator)))
    thread.start()
    thread.join()


def other_context(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    generator = contextvars.Context().run(fn, "q")
    note(contextvars.Context().run(next, generator))
    note(contextvars.Context().run(next, generator))
    contextvars.Context().run(generator.close)


def already_running(decorate, note):
    @decorate
    def fn(messages):
        try:
            next(mine)
        except ValueError as error:
            note(str(error))
        yield "ab"

    mine = fn("q")
    note(list(mine))


def manager_of_it(decorate, note):
    @contextmanager
    @decorate
    def fn(messages):
        try:
            yield "ab"
        except Boom as error:
            note(str(error))

    with fn("q") as value:
        note(value)
        raise Boom("inside")


def recursive(decorate, note):
    @decorate
    def fn(messages, depth=1):
        yield "a"
        if depth:
            yield from fn.__wrapped__(messages, depth - 1) if hasattr(fn, "__wrapped__") else fn(messages, depth - 1)

    note(list(fn("q")))


# Async scenarios. ---------------------------------------------------------------------------------------


async def async_for(decorate, note):
    @decorate
    async def fn(messages):
        yield "a"
        await asyncio.sleep(0)
        yield "b"
        note("body ended")

    async for piece in fn("q"):
        note(piece)


async def by_anext(decorate, note):
    @decorate
    async def fn(messages):
        yield "a"
        yield "b"

    generator = fn("q")
    note(await anext(generator))
    note(await generator.__anext__())
    note(await anext(generator, "over"))


async def asend(decorate, note):
    @decorate
    async def fn(messages):
        got = yield "a"
        note(got)
        yield "b"

    generator = fn("q")
    note(await generator.asend(None))
    note(await generator.asend("hello"))
    note(await anext(generator, "over"))


async def athrow_caught(decorate, note):
    @decorate
    async def fn(messages):
        try:
            yield "a"
        except Boom as error:
            note(str(error))
            yield "b"

    generator = fn("q")
    note(await anext(generator))
    note(await generator.athrow(Boom("mine")))
    note([piece async for piece in generator])


async def athrow_uncaught(decorate, note):
    @decorate
    async def fn(messages):
        try:
            yield "ab"
        finally:
            note("cleaned")

    generator = fn("q")
    note(await anext(generator))
    try:
        await generator.athrow(Boom("mine"))
    except Boom as error:
        note(str(error))


async def abody_raises(decorate, note):
    @decorate
    async def fn(messages):
        yield "ab"
        raise Boom("body")

    try:
        async for piece in fn("q"):
            note(piece)
    except Boom as error:
        note(str(error))


async def aclose(decorate, note):
    @decorate
    async def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            await asyncio.sleep(0)
            note("cleaned")

    generator = fn("q")
    note(await anext(generator))
    note(await generator.aclose())
    note(await generator.aclose())
    note(await anext(generator, "over"))


async def with_aclosing(decorate, note):
    @decorate
    async def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    async with aclosing(fn("q")) as generator:
        async for piece in generator:
            note(piece)
            break


async def abreak_and_go_on(decorate, note):
    @decorate
    async def fn(messages):
        yield "a"
        yield "b"

    generator = fn("q")
    async for piece in generator:
        note(piece)
        break
    async for piece in generator:
        note(piece)


async def abreak_and_drop(decorate, note):
    @decorate
    async def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    async for piece in fn("q"):
        note(piece)
        break
    for _ in range(5):
        gc.collect()
        await asyncio.sleep(0)


async def anever_begun(decorate, note):
    @decorate
    async def fn(messages):
        note("never")
        yield "a"

    fn("q")


async def acancelled(decorate, note):
    begun = asyncio.Event()

    @decorate
    async def fn(messages):
        try:
            yield "ab"
            begun.set()
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            note("cancelled")
            raise

    async def consume():
        async for piece in fn("q"):
            note(piece)

    task = asyncio.create_task(consume())
    await begun.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        note("task cancelled")


async def adelegated(decorate, note):
    @decorate
    async def fn(messages):
        async for piece in inner():
            yield piece

    async def inner():
        yield "a"
        yield "b"

    async def outer():
        async for piece in fn("q"):
            yield piece

    note([piece async for piece in outer()])


async def alooks(decorate, note):
    @decorate
    async def fn(messages):
        yield "ab"

    generator = fn("q")
    note(inspect.isasyncgen(generator))
    for kind in ("AsyncGenerator", "AsyncIterator", "AsyncIterable", "Iterator", "Sized", "Awaitable"):
        note((kind, isinstance(generator, getattr(collections.abc, kind))))
    for name in ("__enter__", "__aenter__", "__aexit__", "__next__", "close", "__await__", "__call__"):
        note((name, hasattr(generator, name)))
    note(bool(generator))
    note((generator.__name__, generator.ag_running))
    note([piece async for piece in generator])


async def aother_task(decorate, note):
    @decorate
    async def fn(messages):
        yield "a"
        yield "b"

    generator = fn("q")
    note(await anext(generator))

    async def rest():
        return [piece async for piece in generator]

    note(await asyncio.create_task(rest()))
    note(await anext(generator, "over"))


async def aother_context(decorate, note):
    @decorate
    async def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    async def step():
        return await anext(generator)

    generator = contextvars.Context().run(fn, "q")
    for _ in range(2):
        note(await asyncio.create_task(step(), context=contextvars.Context()))
    await generator.aclose()


COMPLETED, CLOSED, ABANDONED = ("completed", "ab"), ("closed", "a"), ("abandoned", "a")
SCENARIOS = {
    # scenario: outcome and text
    for_loop: COMPLETED,
    list_of: COMPLETED,
    by_next: COMPLETED,
    yield_from: ("completed", "abb"),
    send: ("completed", "ab"),
    send_too_early: COMPLETED,
    throw_caught: COMPLETED,
    throw_uncaught: ("consumer_error", "ab"),
    throw_a_class: ("consumer_error", "ab"),
    throw_turned: ("error", "ab"),
    body_raises: ("error", "ab"),
    body_raises_before: ("error", None),
    wrong_arguments: ("error", None),
    close: CLOSED,
    close_before_the_start: ("closed", None),
    close_refused: ("error", "ab"),
    close_with_an_error: ("error", "ab"),
    with_closing: CLOSED,
    break_and_go_on: COMPLETED,
    break_and_drop: ABANDONED,
    never_begun: ("abandoned", None),
    outer_closed: CLOSED,
    slices_and_zips: COMPLETED,
    unpacked: COMPLETED,
    contains: COMPLETED,
    two_fors_at_once: COMPLETED,
    looks: COMPLETED,
    same_objects: COMPLETED,
    other_thread: COMPLETED,
    other_context: ("closed", "ab"),
    already_running: COMPLETED,
    manager_of_it: ("completed", "ab"),
    recursive: ("completed", "aa"),
    async_for: COMPLETED,
    by_anext: COMPLETED,
    asend: COMPLETED,
    athrow_caught: COMPLETED,
    athrow_uncaught: ("consumer_error", "ab"),
    abody_raises: ("error", "ab"),
    aclose: CLOSED,
    with_aclosing: CLOSED,
    abreak_and_go_on: COMPLETED,
    abreak_and_drop: ABANDONED,
    anever_begun: ("abandoned", None),
    acancelled: ("cancelled", "ab"),
    adelegated: COMPLETED,
    alooks: COMPLETED,
    aother_task: COMPLETED,
    aother_context: ("closed", "ab"),
}


def bare(fn):
    """Leave a function as it is."""
    return fn


DECORATORS = {
    "reference": moa.reference,
    "aggregator": moa.aggregator,
    "turn": moa.turn,
    "turn over aggregator": lambda fn: moa.turn(moa.aggregator(fn)),
}


def run(scenario, decorate, *, on):
    """Run a scenario; returns what was noted and the records."""
    seen = []
    with capture_turns() if on else nothing() as found:
        if inspect.iscoroutinefunction(scenario):
            asyncio.run(scenario(decorate, seen.append))
        else:
            scenario(decorate, seen.append)
        gc.collect()
        records = list(found)
    for record in records:
        check(record)
    return seen, records


@contextmanager
def nothing():
    yield []


@pytest.mark.parametrize("kind", DECORATORS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_generator_lives_as_before_and_is_recorded(scenario, kind):
    """What body and consumer notice is the same bare, off and on; on, there is one record."""
    decorate = DECORATORS[kind]
    expected, _ = run(scenario, bare, on=False)
    off, none = run(scenario, decorate, on=False)
    on, records = run(scenario, decorate, on=True)
    assert expected == off
    assert expected == on
    assert [] == none
    (record,) = records
    outcome, text = SCENARIOS[scenario]
    assert outcome == record["outcome"]
    assert 0 == record["instrumentation_errors"]
    calls = [*record["references"], *([record["aggregator"]] if record["aggregator"] else []), *record["calls"]]
    assert (0 if kind == "turn" else 1) == len(calls)
    for call in calls:
        assert (outcome, text) == (call["outcome"], call["output"])
    if kind != "reference":
        assert text == record["output"]


def test_a_stream_cannot_be_called(turns):
    """`callable()` is asked by frameworks that take a value or a function."""

    @moa.reference
    def fn(messages):
        yield "a"

    generator = fn("q")
    assert not callable(generator)
    generator.close()


# Where the body stands ----------------------------------------------------------------------------------


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
