"""What a decorated function returns: tasks, futures, awaitables, and when it is over."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.callables import ENSEMBLE, HELLO, apropose, capture_nothing, outputs


@pytest.mark.parametrize("decorate", [moa.aggregator, moa.turn], ids=["aggregator", "turn"])
@pytest.mark.parametrize("mode", ["bare", "off", "on"])
def test_a_task_comes_back_itself(decorate, mode):
    """A `def` that returns a task, gives the very task, which ends the call when it is done."""

    async def main():
        made = []

        def start(model):
            made.append(asyncio.create_task(apropose.__wrapped__(model)))
            return made[0]

        fn = start if mode == "bare" else decorate(start)
        got = fn("m")
        assert got is made[0]
        return await got

    with capture_turns() if mode == "on" else capture_nothing() as found:
        assert "mm" == asyncio.run(main())
    assert (["mm"] if mode == "on" else []) == [record["output"] for record in found]


@pytest.mark.parametrize("decorate", [moa.aggregator, moa.turn], ids=["aggregator", "turn"])
def test_futures_come_back_themselves(turns, decorate):
    """A pool's future, one that is done, and one that fails."""
    done, failed = Future(), Future()
    done.set_result("done")
    failed.set_exception(KeyError("gone"))
    with ThreadPoolExecutor() as pool:
        later = pool.submit(lambda: "later")
        for future in (done, failed, later):
            assert future is decorate(lambda messages, future=future: future)(HELLO)
    assert ["completed", "error", "completed"] == [record["outcome"] for record in turns]
    assert ["done", None, "later"] == [record["output"] for record in turns]


def test_an_awaitable_object_keeps_its_type(turns):
    """It is still an instance of its class, and can be awaited."""

    class Query:
        kind = "query"

        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "mm"

    async def main():
        query = moa.reference(lambda model: Query())("m")
        assert isinstance(query, Query)
        assert "query" == query.kind
        return await query

    assert "mm" == asyncio.run(main())
    assert ["mm"] == outputs(turns)


def test_a_coroutine_that_is_never_awaited_is_no_record(turns):
    """Nothing has begun, so nothing is recorded; the warning is Python's."""
    with pytest.warns(RuntimeWarning, match="never awaited"):
        apropose("m")
    assert [] == turns


def test_a_def_that_returns_a_coroutine_is_awaited(turns):
    """`AsyncOpenAI…create` is such a one: no coroutine function, but its result is awaited."""

    @moa.reference
    def start(model):
        return apropose.__wrapped__(model)

    assert not inspect.iscoroutinefunction(start)
    assert "mm" == asyncio.run(start("m"))
    assert ["mm"] == outputs(turns)


def test_gather_in_an_async_turn_needs_nothing_more(turns):
    """The references are of the turn, in the order in which they were asked."""

    @moa.turn
    async def ask_all(messages):
        return "".join(await asyncio.gather(*(apropose(model) for model in "abc")))

    assert "aabbcc" == asyncio.run(ask_all(HELLO))
    (record,) = turns
    assert ["a", "b", "c"] == [call["model"] for call in record["references"]]


def test_the_turn_is_current_in_the_body_and_only_there(turns):
    """For functions, coroutines and threads."""
    seen = []

    @moa.turn
    def body():
        seen.append(moa.current_turn().id)

    @moa.turn
    async def abody():
        await asyncio.sleep(0)
        seen.append(moa.current_turn().id)

    async def main():
        await asyncio.gather(abody(), abody())
        assert moa.current_turn() is None

    body()
    assert moa.current_turn() is None
    asyncio.run(main())
    assert {record["turn_id"] for record in turns} == set(seen)
    assert 3 == len(set(seen))


def test_one_client_in_many_threads_never_mixes(turns):
    """Twenty turns at once on one object: each has its own call, and nobody else's."""
    start = threading.Barrier(20)

    def work(model):
        start.wait()
        ENSEMBLE.create(model)

    threads = [threading.Thread(target=work, args=(f"model-{n}",)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 20 == len(turns)
    for record in turns:
        (call,) = record["references"]
        assert call["model"] * 2 == call["output"] == record["output"]
