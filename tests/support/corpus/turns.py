"""Turns: threads and pools, nesting, late calls, calls outside any turn, roles and tags."""

# ruff: noqa: D401 - the docstring of a script names its run

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import moa_middleware as moa

from .script import QUESTION, BoomError, chunks, quietly, reply, script, text_of


class Model:
    """A plain client, to be instrumented; one instance's calls are of no role."""

    def create(self, messages, model="model-a"):
        content = messages[-1]["content"]
        return reply(f"{model} on {len(content)} letters: all of it is well known by now.", model=f"{model}-2026")


def _client():
    model = Model()
    moa.instrument(model, call="create")
    return model


def _user(text):
    return [{"role": "user", "content": text}]


@script()
def pool():
    """References in a pool, all at once."""
    at_once = threading.Barrier(3)

    @moa.reference
    def ask(model):
        at_once.wait(10)
        return f"The draft of {model}."

    @moa.aggregator
    def synthesize(prompt):
        yield from chunks("All ", "of it.")

    @moa.turn(session_id="s-1")
    def create(prompt):
        with ThreadPoolExecutor(3) as pool:
            drafts = list(pool.map(ask, ["model-a", "model-b", "model-c"]))
        return synthesize(" ".join(drafts))

    list(create("Why?"))


@script()
def pool_fails():
    """One of them fails, and its error comes out of the pool."""

    @moa.reference
    def ask(model):
        if model == "model-b":
            raise BoomError("down")
        return model

    @moa.turn
    def create(prompt):
        with ThreadPoolExecutor(1) as pool:
            return list(pool.map(ask, ["model-a", "model-b", "model-c"]))

    quietly(lambda: create("Why?"))


@script()
def threads():
    """Bare threads, joined one after the other, and a function that is carried."""
    client = _client()

    @moa.turn
    def create(messages):
        for name in ("model-a", "model-b"):
            thread = threading.Thread(target=client.create, args=(messages, name))
            thread.start()
            thread.join()
        carried = moa.carry(client.create)
        thread = threading.Thread(target=carried, args=(messages, "model-c"))
        thread.start()
        thread.join()
        return "done"

    create(QUESTION)


@script(propagate_threads="0")
def threads_not_carried():
    """Calls in threads are turns of their own."""
    client = _client()

    @moa.turn(session_id="s-1")
    def create(messages):
        with moa.tag(session_id="s-2"):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(client.create, messages).result()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(moa.carry(client.create), messages).result()

    create(QUESTION)


@script()
def nested_turns():
    """A mixture of mixtures."""

    @moa.reference
    def ask(prompt):
        return f"draft on {prompt}"

    @moa.turn(preset="inner")
    def inner(prompt):
        return ask(prompt)

    @moa.turn(session_id="s-1", preset="outer")
    def outer(prompt):
        first = inner(prompt)
        with moa.turn(session_id="s-2"):
            ask(first)
        return inner(first)

    outer("Why?")


@script()
def nested_turn_fails():
    """Its error goes through the outer turn."""

    @moa.turn
    def inner(prompt):
        raise BoomError("inside")

    @moa.turn
    def outer(prompt):
        return inner(prompt)

    quietly(lambda: outer("Why?"))


@script()
def nested_calls():
    """A decorated call around one other, around two, around none."""
    client = _client()

    @moa.reference(label="one", tags={"k": "v"})
    def one(messages):
        return client.create(messages)

    @moa.reference(label="two")
    def two(messages):
        first = client.create(messages, "model-b")
        return text_of(client.create(_user(text_of(first)), "model-c"))

    @moa.reference(label="text of one")
    def text_of_one(messages):
        return "Changed: " + text_of(client.create(messages, "model-d"))

    @moa.reference(label="deep")
    def deep(messages):
        return one(messages)

    @moa.turn
    def create(messages):
        one(messages)
        two(messages)
        text_of_one(messages)
        return deep(messages)

    create(QUESTION)


@script()
def nested_call_fails():
    """The inner call fails: the outer passes it on, hides it, or repeats it."""

    @moa.reference(label="inner")
    def inner(messages, *, fails):
        if fails:
            raise BoomError("inner failed")
        return reply("well")

    @moa.reference(label="passes on")
    def passes_on(messages):
        return inner(messages, fails=True)

    @moa.reference(label="hides")
    def hides(messages):
        quietly(lambda: inner(messages, fails=True))
        return "hidden"

    @moa.reference(label="repeats")
    def repeats(messages):
        quietly(lambda: inner(messages, fails=True))
        return inner(messages, fails=False)

    @moa.reference(label="fails after")
    def fails_after(messages):
        inner(messages, fails=False)
        raise BoomError("outer failed")

    @moa.turn
    def create(messages):
        for ask in (passes_on, hides, repeats, fails_after):
            quietly(lambda ask=ask: ask(messages))

    create(QUESTION)


@script()
def nested_streams():
    """A decorated function that returns the stream of an inner one, as it is and changed."""

    @moa.aggregator(label="inner")
    def inner(messages):
        yield from chunks("One ", "two.")

    @moa.aggregator(label="same")
    def same(messages):
        return inner(messages)

    @moa.aggregator(label="texts")
    def texts(messages):
        for one in inner(messages):
            if one.choices and one.choices[0].delta.content:
                yield one.choices[0].delta.content.upper()

    with moa.turn():
        list(same(QUESTION))
        list(texts(QUESTION))
        texts(QUESTION)
        gc.collect()


@script()
def late_call():
    """A call that ends after its turn, and one that begins after it."""
    begun, go_on = threading.Event(), threading.Event()

    @moa.reference(label="slow")
    def slow(messages):
        begun.set()
        assert go_on.wait(10)
        return reply("Late.")

    @moa.reference(label="quick")
    def quick(messages):
        return reply("Quick.")

    @moa.turn(session_id="s-1")
    def create(messages):
        quick(messages)
        thread = threading.Thread(target=lambda: (slow(messages), quick(messages)))
        thread.start()
        assert begun.wait(10)
        return thread

    thread = create(QUESTION)
    go_on.set()
    thread.join()


@script()
def late_stream():
    """A stream of a reference that is read after its turn."""

    @moa.reference(label="slow")
    def slow(messages):
        yield from chunks()

    kept = []

    @moa.turn(session_id="s-1")
    def create(messages):
        kept.append(slow(messages))
        next(kept[0])
        return "early"

    create(QUESTION)
    list(kept[0])


@script()
def late_error():
    """A late call that fails."""
    begun, go_on = threading.Event(), threading.Event()

    @moa.reference
    def slow(messages):
        begun.set()
        assert go_on.wait(10)
        raise BoomError("late and bad")

    with moa.turn(session_id="s-1"):
        thread = threading.Thread(target=quietly, args=(lambda: slow(QUESTION),))
        thread.start()
        assert begun.wait(10)
    go_on.set()
    thread.join()


@script(session_id="from the environment")
def implicit_turns():
    """Calls outside any turn: a value, a stream, an error, tagged."""
    client = _client()

    @moa.aggregator
    def stream(messages):
        yield from chunks()

    @moa.reference
    def fails(messages):
        raise BoomError("alone")

    client.create(QUESTION)
    list(stream(QUESTION))
    quietly(lambda: fails(QUESTION))
    with moa.tag(session_id="s-5", preset="p", tags={"a": 1}, role="router", label="slot"):
        client.create(QUESTION)


@script()
def roles_inferred():
    """Two rounds of references and an aggregator, by what their prompts hold."""
    client = _client()

    @moa.turn
    def create(messages):
        first = [text_of(client.create(_user("Why is it?"), name)) for name in ("model-a", "model-b")]
        both = " ".join(first)
        second = [text_of(client.create(_user(f"Improve: {both}"), name)) for name in ("model-c", "model-d")]
        return client.create(_user("Combine: " + " ".join(second)), "model-j")

    create(QUESTION)


@script()
def roles_alone():
    """One call, and calls that share nothing."""
    client = _client()
    with moa.turn():
        client.create(_user("Only one."))
    with moa.turn():
        for text in ("One thing.", "Quite another.", "A third."):
            client.create(_user(text))


@script()
def tags():
    """What is lent to turns and calls: by blocks, by decorators, inside one another."""
    client = _client()
    with moa.tag(session_id="s-1", tags={"outer": 1, "both": "outer"}):
        with moa.tag(role="critic", layer=2, label="the critic", tags={"both": "inner"}), moa.turn(tags={"own": None}):
            client.create(QUESTION)
            with moa.tag(role="aggregator"):
                client.create(QUESTION)
        with moa.turn(preset="second"):
            client.create(QUESTION)


@script(turns="fanout")
def fanout_only():
    """Only turns that ran references are written."""
    client = _client()

    @moa.reference
    def ask(messages):
        return "draft"

    with moa.turn():
        client.create(QUESTION)
    with moa.turn(session_id="s-1"):
        ask(QUESTION)
    client.create(QUESTION)


@script()
def turn_blocks():
    """Blocks: empty, failing, async, returned from, and a generator inside one."""
    with moa.turn():
        pass
    with moa.turn(session_id="s-1", preset="p", tags={"k": [1, {"n": None}]}) as turn:
        assert turn is not None
    quietly(_failing_block)

    async def main():
        async with moa.turn(session_id="s-2"):
            await asyncio.sleep(0)

    asyncio.run(main())


def _failing_block():
    with moa.turn(session_id="s-3"):
        raise BoomError("in the block")


@script()
def turn_cancelled():
    """A turn that is cancelled with a call under way."""

    @moa.reference
    async def ask(messages):
        await asyncio.sleep(60)

    @moa.turn
    async def create(messages):
        return await ask(messages)

    async def main():
        task = asyncio.ensure_future(create(QUESTION))
        for _ in range(4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


@script()
def turn_interrupted():
    """Ctrl-C in a call, and a program that exits from one."""

    @moa.reference
    def ask(messages, error):
        raise error

    @moa.turn
    def create(messages, error):
        return ask(messages, error)

    for error in (KeyboardInterrupt(), SystemExit(3)):
        try:
            create(QUESTION, error)
        except BaseException:
            continue


@script()
def futures():
    """Calls that return futures of a pool, and of a loop."""
    with ThreadPoolExecutor(1) as pool:

        @moa.reference
        def ask(messages, fails=False):
            def work():
                if fails:
                    raise BoomError("in the pool")
                return reply("From the pool.")

            return pool.submit(work)

        @moa.turn(session_id="s-1")
        def create(messages):
            answer = ask(messages).result()
            quietly(ask(messages, fails=True).result)
            return answer

        create(QUESTION)

    @moa.reference
    def ask_loop(messages):
        future = asyncio.get_running_loop().create_future()
        future.get_loop().call_soon(future.set_result, reply("From the loop."))
        return future

    @moa.turn(session_id="s-2")
    async def acreate(messages):
        return await ask_loop(messages)

    asyncio.run(acreate(QUESTION))


@script()
def tasks_and_executors():
    """Tasks, `to_thread` and executors of a loop carry the turn."""

    @moa.reference
    async def ask(messages, name):
        await asyncio.sleep(0)
        return f"{name} in a task"

    @moa.reference
    def ask_thread(messages, name):
        return f"{name} in a thread"

    @moa.turn(session_id="s-1")
    async def create(messages):
        loop = asyncio.get_running_loop()
        await asyncio.create_task(ask(messages, "model-a"))
        async with asyncio.TaskGroup() as group:
            group.create_task(ask(messages, "model-b"))
            group.create_task(ask(messages, "model-c"))
        await asyncio.to_thread(ask_thread, messages, "model-d")
        with ThreadPoolExecutor(1) as pool:
            await loop.run_in_executor(pool, ask_thread, messages, "model-e")
        return await moa.carry(ask)(messages, "model-f")

    asyncio.run(create(QUESTION))


@script()
def generators_across_turns():
    """A generator that makes calls of its own, read inside one turn and outside it."""
    client = _client()

    @moa.aggregator
    def stream(messages):
        yield "first "
        client.create(messages)
        yield "last"

    @moa.turn(session_id="s-1")
    def create(messages):
        yield "before "
        yield from stream(messages)
        client.create(messages, "model-b")

    reading = create(QUESTION)
    next(reading)
    next(reading)
    with moa.turn(session_id="s-2"):
        client.create(QUESTION)
        next(reading)
    client.create(QUESTION)
    list(reading)
    dropped = create(QUESTION)
    next(dropped)
    del dropped
    gc.collect()
