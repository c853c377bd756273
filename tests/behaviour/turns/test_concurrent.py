"""Turns at the same time: in threads, pools and tasks, each keeps its own calls."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import moa_middleware as moa
from tests.support.reference import outputs, reference
from tests.support.sdk_worlds import MESSAGES

TURNS, REFERENCES = 8, 3


class Fanout:
    """One client object for all turns; every text is unique, and all references overlap."""

    def __init__(self, barrier):
        self.barrier = barrier

    @moa.reference
    def ask(self, name, messages):
        self.barrier.wait(20)
        return f"{messages[0]['content']}-{name}"

    @moa.aggregator
    def synthesize(self, messages):
        return iter([piece["content"] + ";" for piece in messages])

    @moa.turn
    def create(self, messages):
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda name: self.ask(name, messages), "abc"))
        return self.synthesize([{"role": "user", "content": text} for text in found])


def test_eight_turns_in_threads_on_one_client_do_not_mix(turns):
    """All references of all turns wait on one barrier; each line has its own texts, in order."""
    client = Fanout(threading.Barrier(TURNS * REFERENCES))

    def one(number):
        return "".join(client.create([{"role": "user", "content": f"turn{number}"}]))

    with ThreadPoolExecutor(TURNS) as pool:
        answers = list(pool.map(one, range(TURNS)))
    assert TURNS == len(turns)
    for number, answer in enumerate(answers):
        expected = [f"turn{number}-{name}" for name in "abc"]
        assert ";".join(expected) + ";" == answer
        (mine,) = [r for r in turns if r["input_messages"][0]["content"] == f"turn{number}"]
        assert expected == outputs(mine)
        assert answer == mine["aggregator"]["output"] == mine["output"]
        assert [0, 1, 2] == [call["index"] for call in mine["references"]]
        assert 3 == mine["aggregator"]["index"]


def test_eight_turns_in_asyncio_on_one_client_do_not_mix(turns):
    """The same with gather, nested in gather."""

    class Client:
        def __init__(self):
            self.arrived = 0
            self.all_there = None

        @moa.reference
        async def ask(self, name, messages):
            self.arrived += 1
            if self.arrived == TURNS * REFERENCES:
                self.all_there.set()
            await asyncio.wait_for(self.all_there.wait(), 20)
            return f"{messages[0]['content']}-{name}"

        @moa.aggregator
        async def synthesize(self, messages):
            for message in messages:
                await asyncio.sleep(0)
                yield message["content"] + ";"

        @moa.turn
        async def create(self, messages):
            found = await asyncio.gather(*(self.ask(name, messages) for name in "abc"))
            return self.synthesize([{"role": "user", "content": text} for text in found])

    async def main():
        client = Client()
        client.all_there = asyncio.Event()

        async def one(number):
            stream = await client.create([{"role": "user", "content": f"turn{number}"}])
            return "".join([piece async for piece in stream])

        return await asyncio.gather(*(one(number) for number in range(TURNS)))

    answers = asyncio.run(main())
    assert TURNS == len(turns)
    for number, answer in enumerate(answers):
        (mine,) = [r for r in turns if r["input_messages"][0]["content"] == f"turn{number}"]
        assert [f"turn{number}-{name}" for name in "abc"] == outputs(mine)
        assert answer == mine["aggregator"]["output"] == mine["output"]


def fan_out_bare(ask, items):
    with ThreadPoolExecutor(2) as pool:
        return [one.result() for one in [pool.submit(ask, item) for item in items]]


def fan_out_map(ask, items):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(ask, items))


def fan_out_carry(ask, items):
    with ThreadPoolExecutor(2) as pool:
        return [one.result() for one in [pool.submit(moa.carry(ask), item) for item in items]]


def fan_out_carry_map(ask, items):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(moa.carry(ask), items))


def fan_out_threads(ask, items):
    found = {}
    threads = [threading.Thread(target=lambda item=item: found.update({item: ask(item)})) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[item] for item in items]


def fan_out_executor(ask, items):
    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(None, ask, item) for item in items))

    return asyncio.run(main())


def fan_out_to_thread(ask, items):
    async def main():
        return await asyncio.gather(*(asyncio.to_thread(ask, item) for item in items))

    return asyncio.run(main())


FAN_OUTS = [
    fan_out_bare,
    fan_out_map,
    fan_out_carry,
    fan_out_carry_map,
    fan_out_threads,
    fan_out_executor,
    fan_out_to_thread,
]


@pytest.mark.parametrize("fan_out", FAN_OUTS)
def test_references_are_in_their_turn_in_the_order_of_submission(turns, fan_out):
    """The later a reference was submitted, the sooner it ends: the order is that of submission."""
    items = list(range(6))

    @moa.reference(label=lambda item: f"r{item}")
    def ask(item):
        time.sleep(0.002 * (6 - item))
        return f"answer {item}"

    @moa.turn
    def create():
        return ",".join(fan_out(ask, items))

    create()
    (record,) = turns
    if fan_out is not fan_out_to_thread:  # tasks enter in the order in which the loop runs them
        assert [f"r{item}" for item in items] == [call["label"] for call in record["references"]]
    assert sorted(f"answer {item}" for item in items) == sorted(outputs(record))
    assert items == [call["index"] for call in record["references"]]


def test_without_propagation_bare_threads_are_turns_of_their_own(turns, monkeypatch):
    """`MOA_PROPAGATE_THREADS=0` leaves threads alone; `carry` still works."""
    monkeypatch.setenv("MOA_PROPAGATE_THREADS", "0")
    submit = ThreadPoolExecutor.submit

    @moa.turn
    def create():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(reference("bare"), MESSAGES).result()
            pool.submit(moa.carry(reference("carried")), MESSAGES).result()

    create()
    assert submit is ThreadPoolExecutor.submit
    implicit, turn = turns
    assert implicit["implicit"]
    assert ["bare"] == outputs(implicit)
    assert ["carried"] == outputs(turn)


def test_uninstrument_puts_threads_and_pools_back(turns):
    """The patches come with the first traced turn and go with `uninstrument`."""
    before = ThreadPoolExecutor.submit, threading.Thread.start
    with moa.turn():
        assert before[0] is not ThreadPoolExecutor.submit
    moa.uninstrument()
    assert before == (ThreadPoolExecutor.submit, threading.Thread.start)


def test_a_pool_that_was_started_in_a_turn_serves_others_without_it(turns):
    """A worker thread that a turn's submit started does not keep the turn for later work."""
    pool = ThreadPoolExecutor(1)

    @moa.turn
    def create():
        return pool.submit(reference("inside"), MESSAGES).result()

    create()
    pool.submit(reference("outside"), MESSAGES).result()
    pool.shutdown()
    inside, outside = turns
    assert ["inside"] == outputs(inside)
    assert outside["implicit"]
    assert ["outside"] == outputs(outside)


def test_a_thread_object_is_left_as_it_was(turns):
    """Carrying a turn into a thread leaves no trace on the thread object."""
    thread = threading.Thread(target=lambda: None)
    before = set(vars(thread))
    with moa.turn():
        thread.start()
        thread.join()
        assert "run" not in set(vars(thread)) - before
        with pytest.raises(RuntimeError):
            thread.start()
        assert "run" not in vars(thread)
