"""Threads that outlive a turn, contexts that are stale, pools that many share, greenlets: nothing is lost or misplaced."""

from __future__ import annotations

import asyncio
import contextvars
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import anyio
import anyio.to_thread
import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer

MESSAGES = [{"role": "user", "content": "Which city?"}]
WAIT = 10.0  # seconds


@moa.reference(label=lambda name: name)
def ask(name):
    """Answer at once."""
    return f"{name} has an answer."


def placed(turns):
    """Return session and labels of each turn, and of each late line; a turn nobody opened has no session."""
    return sorted(
        (record["session_id"] or "", [call["label"] for call in record["references"]])
        if record["schema"] == "moa-turn/1"
        else ("late " + (record["session_id"] or ""), [record["call"]["label"]])
        for record in turns
    )


# --- late references --------------------------------------------------------------------------------------------------


class Gate:
    """Holds references back until it is opened, and tells how many are there."""

    def __init__(self, count):
        self.begun = threading.Barrier(count + 1, timeout=WAIT)
        self.open = threading.Event()

    def through(self):
        self.begun.wait()
        assert self.open.wait(WAIT)


def test_references_that_a_turn_does_not_wait_for_are_late_lines(turns):
    """First come, first served: the turn takes the quickest, and each of the others is told when it ends."""
    gate = Gate(2)

    @moa.reference(label=lambda name: name)
    def late(name):
        gate.through()
        return f"{name} is late."

    with ThreadPoolExecutor(3) as pool:
        with moa.turn(session_id="s"):
            futures = [pool.submit(late, "a"), pool.submit(late, "b"), pool.submit(ask, "c")]
            gate.begun.wait()
            futures[2].result(WAIT)
        (record,) = turns
        gate.open.set()
    assert [("a", None), ("b", None), ("c", "completed")] == [
        (call["label"], call["outcome"]) for call in record["references"]
    ]
    told = {line["call"]["call_id"]: line for line in turns[1:]}
    for call in record["references"][:2]:
        line = told.pop(call["call_id"])
        assert (record["turn_id"], "s", f"{call['label']} is late.", "completed", call["index"]) == (
            line["turn_id"],
            line["session_id"],
            line["call"]["output"],
            line["call"]["outcome"],
            line["call"]["index"],
        )
    assert {} == told


def test_a_late_stream_is_told_when_it_has_been_read(turns):
    """A reference streams; its turn has closed by the time that its text is complete."""
    with ScriptedServer({"m": Script("one two three four"), "judge": "Done."}) as server:
        client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0))
        half, go_on, found = threading.Event(), threading.Event(), []

        def read():
            with moa.tag(role="reference"):
                stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            for number, chunk in enumerate(stream):
                found.append(chunk.choices[0].delta.content or "")
                if number == 1:
                    half.set()
                    assert go_on.wait(WAIT)

        reader = threading.Thread(target=read)

        @moa.turn(session_id="s")
        def create():
            reader.start()
            assert half.wait(WAIT)
            return client.chat.completions.create(model="judge", messages=MESSAGES).choices[0].message.content

        assert "Done." == create()
        assert 1 == len(turns)
        go_on.set()
        reader.join()
        client.close()
    assert "one two three four" == "".join(found)
    turn, late = turns
    assert [("m", None, None)] == [(call["model"], call["outcome"], call["output"]) for call in turn["references"]]
    assert "Done." == turn["aggregator"]["output"]
    assert ("m", "one two three four", "completed", True) == tuple(
        late["call"][key] for key in ("model", "output", "outcome", "late")
    )


def test_a_late_reference_in_asyncio_is_told(turns):
    """A task that the turn did not wait for ends after it."""

    async def main():
        go_on = asyncio.Event()

        @moa.reference(label="slow")
        async def slow():
            await go_on.wait()
            return "At last."

        @moa.turn(session_id="s")
        async def create():
            task = asyncio.create_task(slow())
            await asyncio.sleep(0)
            ask("fast")
            return [task]

        (task,) = await create()
        assert 1 == len(turns)
        go_on.set()
        await task

    asyncio.run(main())
    assert [("late s", ["slow"]), ("s", ["slow", "fast"])] == placed(turns)


def test_a_late_reference_that_is_cancelled_is_told(turns):
    """The loop ends with a task in mid-call."""

    async def main():
        @moa.reference(label="slow")
        async def slow():
            await asyncio.sleep(WAIT)

        @moa.turn(session_id="s")
        async def create():
            task = asyncio.create_task(slow())
            await asyncio.sleep(0)
            return [task]

        return await create()

    asyncio.run(main())
    assert ["cancelled"] == [record["call"]["outcome"] for record in turns if record["schema"] == "moa-late/1"]


def test_many_late_references_are_all_told(trace_dir, read_lines):
    """Of several turns at once, on disk: each line is whole and names its turn."""
    count, each = 8, 3
    gate = Gate(count * each)

    @moa.reference(label=lambda name: name)
    def late(name):
        gate.through()
        return f"{name} is late."

    threads = []

    def create(number):
        with moa.turn(session_id=f"s{number}"):
            for letter in "abc":
                threads.append(threading.Thread(target=late, args=(f"{number}{letter}",)))
                threads[-1].start()
            ask(f"{number}!")

    creators = [threading.Thread(target=create, args=(number,)) for number in range(count)]
    for thread in creators:
        thread.start()
    gate.begun.wait()
    for thread in creators:
        thread.join()
    gate.open.set()
    for thread in threads:
        thread.join()
    lines = read_lines(trace_dir)
    by_turn = {line["turn_id"]: line["session_id"] for line in lines if line["schema"] == "moa-turn/1"}
    late_lines = [line for line in lines if line["schema"] == "moa-late/1"]
    assert (count, count * each) == (len(by_turn), len(late_lines))
    for line in late_lines:
        assert by_turn[line["turn_id"]] == line["session_id"] == f"s{line['call']['label'][0]}"


# --- stale contexts ---------------------------------------------------------------------------------------------------


def test_a_closed_turn_is_never_joined(turns):
    """A context, a bound function and a thread of a turn that is over: what they call is a turn of its own."""
    work, done = queue.Queue(), queue.Queue()

    def serve():
        while (name := work.get()) is not None:
            done.put(ask(name))

    worker = threading.Thread(target=serve)
    with moa.turn(session_id="first"):
        ask("inside")
        context, bound = contextvars.copy_context(), moa.carry(ask)
        worker.start()
        work.put("worker inside")
        done.get(timeout=WAIT)
    for _ in range(2):
        context.run(ask, "context")
        bound("bound")
        work.put("worker")
        done.get(timeout=WAIT)
    work.put(None)
    worker.join()
    outside = [("", ["bound"]), ("", ["context"]), ("", ["worker"])]
    assert sorted([*outside, *outside, ("first", ["inside", "worker inside"])]) == placed(turns)


def test_a_task_that_outlives_its_turn_makes_turns_of_its_own(turns):
    """A background task that the first request started serves on."""

    async def main():
        work: asyncio.Queue[str | None] = asyncio.Queue()

        async def serve():
            while (name := await work.get()) is not None:
                ask(name)
                work.task_done()

        with moa.turn(session_id="first"):
            task = asyncio.create_task(serve())
            work.put_nowait("inside")
            await work.join()
        work.put_nowait("after")
        await work.join()
        with moa.turn(session_id="second"):
            ask("second")
            work.put_nowait("during")
            await work.join()
        work.put_nowait(None)
        await task

    asyncio.run(main())
    assert [("", ["after"]), ("", ["during"]), ("first", ["inside"]), ("second", ["second"])] == placed(turns)


def executor_map(pool):
    return lambda names: list(pool.map(ask, names))


def test_threads_that_an_earlier_turn_started_serve_the_next(turns):
    """An executor's threads are kept, but not their first turn."""
    with ThreadPoolExecutor(2) as pool:
        run = executor_map(pool)
        for session in ("first", "second"):
            with moa.turn(session_id=session):
                run([f"{session} {number}" for number in range(3)])
        run(["outside"])
    assert [
        ("", ["outside"]),
        ("first", ["first 0", "first 1", "first 2"]),
        ("second", ["second 0", "second 1", "second 2"]),
    ] == placed(turns)


def test_a_frameworks_worker_threads_serve_each_turn(turns):
    """Anyio keeps its worker threads, and brings each call's own context."""

    async def main():
        for session in ("first", "second"):
            with moa.turn(session_id=session):
                await anyio.to_thread.run_sync(ask, session)
        await anyio.to_thread.run_sync(ask, "outside")

    anyio.run(main)
    assert [("", ["outside"]), ("first", ["first"]), ("second", ["second"])] == placed(turns)


def test_an_executor_that_two_open_turns_share_mixes_nothing(turns):
    """Its threads are started in the one and used by the other while both are open."""
    inside, go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def other():
            assert inside.wait(WAIT)
            with moa.turn(session_id="other"):
                pool.submit(ask, "other").result(WAIT)
            go_on.set()

        thread = threading.Thread(target=other)
        thread.start()
        with moa.turn(session_id="first"):
            pool.submit(ask, "first 0").result(WAIT)
            inside.set()
            assert go_on.wait(WAIT)
            pool.submit(ask, "first 1").result(WAIT)
        thread.join()
    assert [("first", ["first 0", "first 1"]), ("other", ["other"])] == placed(turns)


def pool_apply(pool, names):
    for name in names:
        pool.apply(ask, (name,))


def pool_async(pool, names):
    for name in names:
        pool.apply_async(ask, (name,)).get(WAIT)


def pool_map(pool, names):
    pool.map(ask, names)


def pool_starmap(pool, names):
    pool.starmap(ask, [(name,) for name in names])


def pool_imap(pool, names):
    list(pool.imap(ask, names))


def pool_unordered(pool, names):
    list(pool.imap_unordered(ask, names))


POOLED = [pool_apply, pool_async, pool_map, pool_starmap, pool_imap, pool_unordered]


@pytest.mark.parametrize("run", POOLED)
def test_a_thread_pool_made_in_a_turn_serves_it(turns, run):
    """`multiprocessing.pool.ThreadPool`, which joblib uses as well."""
    with moa.turn(session_id="s"), ThreadPool(1) as pool:
        run(pool, ["a", "b", "c"])
    assert [("s", ["a", "b", "c"])] == placed(turns)


@pytest.mark.parametrize("where", ["before", "in the first"])
@pytest.mark.parametrize("run", POOLED)
def test_a_thread_pool_serves_every_turn(turns, run, where):
    """Made before all turns, or in the first of them."""
    pool = ThreadPool(1) if where == "before" else None
    with moa.turn(session_id="first"):
        pool = pool or ThreadPool(1)
        run(pool, ["a", "b"])
    with moa.turn(session_id="second"):
        run(pool, ["c", "d"])
    run(pool, ["e"])
    pool.terminate()
    assert [("", ["e"]), ("first", ["a", "b"]), ("second", ["c", "d"])] == placed(turns)


def test_a_thread_pool_that_two_open_turns_share_mixes_nothing(turns):
    """Made in the one and used by the other while both are open."""
    pools, inside, go_on = [], threading.Event(), threading.Event()

    def other():
        assert inside.wait(WAIT)
        with moa.turn(session_id="other"):
            pools[0].map(ask, ["other"])
        go_on.set()

    thread = threading.Thread(target=other)
    thread.start()
    with moa.turn(session_id="first"):
        pools.append(ThreadPool(1))
        inside.set()
        assert go_on.wait(WAIT)
        pools[0].map(ask, ["first"])
    thread.join()
    pools[0].terminate()
    assert [("first", ["first"]), ("other", ["other"])] == placed(turns)


def test_carry_serves_any_pool(turns, monkeypatch):
    """Whatever a pool's threads hold, a bound function is in the turn in which it was bound."""
    monkeypatch.setenv("MOA_PROPAGATE_THREADS", "0")
    with ThreadPool(2) as pool:
        for session in ("first", "second"):
            with moa.turn(session_id=session):
                pool.map(moa.carry(ask), [session])
        pool.map(ask, ["outside"])
    assert [("", ["outside"]), ("first", ["first"]), ("second", ["second"])] == placed(turns)


# --- races ------------------------------------------------------------------------------------------------------------


def test_turns_that_close_while_their_references_end_lose_none(trace_dir, read_lines):
    """A reference that ends as its turn closes is in the turn's line or in a late one, never in neither."""
    rounds = 60

    @moa.reference(label=lambda name: name)
    def late(name, seconds):
        time.sleep(seconds)
        return f"{name} has an answer."

    with ThreadPoolExecutor(4) as pool:
        for number in range(rounds):
            with moa.turn(session_id="s", tags={"number": number}):
                futures = [pool.submit(late, f"{number}.{each}", 0.0005 * each) for each in range(4)]
                futures[0].result(WAIT)
            # The block is left while the others are about to end.
    lines = read_lines(trace_dir)
    ended = [
        call["label"]
        for line in lines
        for call in ([line["call"]] if line["schema"] == "moa-late/1" else line["references"])
        if call["outcome"] == "completed"
    ]
    begun = [call["label"] for line in lines if line["schema"] == "moa-turn/1" for call in line["references"]]
    assert len(ended) == len(set(ended))
    assert len(begun) == len(set(begun))
    assert sorted(f"{number}.{each}" for number in range(rounds) for each in range(4)) == sorted(ended)


# --- gevent -----------------------------------------------------------------------------------------------------------

GEVENT = """
import sys
if {patched}:
    from gevent import monkey
    monkey.patch_all()
import gevent, gevent.pool, threading
from concurrent.futures import ThreadPoolExecutor
import openai
import moa_middleware as moa

client = moa.instrument(openai.OpenAI(base_url={url!r}, api_key="test", max_retries=0))
MODELS = ["ada", "ben", "cleo"]

def ask(model):
    messages = [{{"role": "user", "content": "Which city?"}}]
    return client.chat.completions.create(model=model, messages=messages).choices[0].message.content

def judge(texts):
    messages = [{{"role": "user", "content": "Which city? " + " ".join(texts)}}]
    stream = client.chat.completions.create(model="judge", messages=messages, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

def spawned():
    jobs = [gevent.spawn(moa.carry(ask), model) for model in MODELS]
    gevent.joinall(jobs)
    return [job.get() for job in jobs]

def pooled():
    return gevent.pool.Pool(2).map(moa.carry(ask), MODELS)

def in_the_hubs_pool():
    return gevent.get_hub().threadpool.map(moa.carry(ask), MODELS)

def bare():
    return gevent.pool.Group().map(ask, MODELS)

def in_threads():
    found = {{}}
    threads = [threading.Thread(target=lambda model=model: found.update({{model: ask(model)}})) for model in MODELS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[model] for model in MODELS]

def in_an_executor():
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(ask, MODELS))

def answer(session):
    with moa.turn(session_id=session):
        judge({way}())

if {concurrent}:
    gevent.joinall([gevent.spawn(answer, "s%d" % number) for number in range(4)], raise_error=True)
else:
    answer("s0")
"""

needs_gevent = pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")


def run_gevent(tmp_path, way, *, patched, concurrent=False):
    """Run a program under gevent, against a server in this process; return its records."""

    def says(body):
        return f"{body['model'][::-1]} holds that it is number {len(body['model'])}."

    with ScriptedServer({"judge": "It is Paris."}, default=says) as server:
        code = GEVENT.format(url=server.base_url, way=way, patched=patched, concurrent=concurrent)
        environment = {**os.environ, "MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(tmp_path / "traces")}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    return [json.loads(line) for path in sorted(tmp_path.rglob("*.jsonl")) for line in path.read_text().splitlines()]


CARRIED = ["spawned", "pooled", "in_threads", "in_an_executor"]


@needs_gevent
@pytest.mark.parametrize("way", CARRIED)
def test_references_in_greenlets_are_in_their_turn(tmp_path, way):
    """Greenlets by `moa.carry`; threads and executors, which are greenlets under the patch, by themselves."""
    (record,) = run_gevent(tmp_path, way, patched=True)
    assert sorted([("ada", 1), ("ben", 1), ("cleo", 1)]) == sorted(
        (call["model"], call["layer"]) for call in record["references"]
    )
    assert ("judge", "It is Paris.") == (record["aggregator"]["model"], record["aggregator"]["output"])


@needs_gevent
def test_references_in_gevents_own_threads_are_in_their_turn(tmp_path):
    """Its thread pool, by `moa.carry`; without the patch, since native threads have no use for it."""
    (record,) = run_gevent(tmp_path, "in_the_hubs_pool", patched=False)
    assert {"ada", "ben", "cleo"} == {call["model"] for call in record["references"]}


@needs_gevent
@pytest.mark.parametrize("way", CARRIED)
def test_concurrent_turns_in_greenlets_do_not_mix(tmp_path, way):
    """A server's requests: each greenlet has a context of its own."""
    records = run_gevent(tmp_path, way, patched=True, concurrent=True)
    assert ["s0", "s1", "s2", "s3"] == sorted(record["session_id"] for record in records)
    for record in records:
        assert {"ada", "ben", "cleo"} == {call["model"] for call in record["references"]}
        assert "judge" == record["aggregator"]["model"]


@needs_gevent
def test_bare_greenlets_are_turns_of_their_own(tmp_path):
    """Gevent gives a new greenlet an empty context: nothing is lost, but the turn does not know it."""
    records = run_gevent(tmp_path, "bare", patched=True)
    alone = [record for record in records if record["implicit"]]
    assert {"ada", "ben", "cleo"} == {record["aggregator"]["model"] for record in alone}
    (turn,) = [record for record in records if not record["implicit"]]
    assert ([], "judge") == (turn["references"], turn["aggregator"]["model"])
