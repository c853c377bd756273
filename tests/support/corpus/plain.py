"""Decorated functions of one's own: each kind, and each way in which it ends."""

# ruff: noqa: D401 - the docstring of a script names its run

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager, contextmanager, suppress

import moa_middleware as moa

from .script import QUESTION, BoomError, chunks, quietly, reply, script


@script()
def value():
    """A mixture of plain functions."""

    @moa.reference
    def ask(messages, model, temperature=0.5):
        return reply(f"The draft of {model}.")

    @moa.aggregator(label="judge", provider="house", model="model-j")
    def synthesize(messages):
        return "Both are right."

    @moa.turn(session_id="s-1", preset="duo", tags={"flag": True, "n": 3})
    def create(messages):
        drafts = [ask(messages, model=name) for name in ("model-a", "model-b")]
        text = " ".join(draft["choices"][0]["message"]["content"] for draft in drafts)
        return synthesize([*messages, {"role": "user", "content": text}])

    create(QUESTION)


@script()
def value_async():
    """Coroutines, gathered: they overlap."""

    @moa.reference
    async def ask(messages, model):
        await asyncio.sleep(0)
        return reply(f"The draft of {model}.")

    @moa.aggregator
    async def synthesize(messages):
        return reply("Both are right.")

    @moa.turn
    async def create(messages):
        await asyncio.gather(*(ask(messages, name) for name in ("model-a", "model-b", "model-c")))
        return await synthesize(messages)

    asyncio.run(create(QUESTION))


def _streamed(read, body=None, **options):
    @moa.aggregator(**options)
    def synthesize(messages):
        yield from chunks() if body is None else body()

    @moa.turn(session_id="s-1")
    def create(messages):
        return synthesize(messages)

    quietly(lambda: read(create(QUESTION)))
    gc.collect()


def _failing():
    yield from chunks()[:2]
    raise BoomError("the line is dead")


@script()
def generator():
    """Read by `for`."""
    _streamed(list)


@script()
def generator_of_texts():
    """Pieces that are strings."""
    _streamed(list, lambda: iter(["Air ", "", "scatters."]))


@script()
def generator_by_next():
    """Read by `next`, to the end."""

    def read(stream):
        while next(stream, None) is not None:
            pass

    _streamed(read)


@script()
def generator_closed():
    """Closed after two chunks."""

    def read(stream):
        next(stream)
        next(stream)
        stream.close()

    _streamed(read)


@script()
def generator_break():
    """Left after two chunks by a `break`, and dropped."""

    def read(stream):
        for number, _ in enumerate(stream):
            if number == 1:
                break

    _streamed(read)


@script()
def generator_abandoned():
    """Dropped unread."""
    _streamed(lambda stream: None)


@script()
def generator_fails():
    """An error after two chunks."""
    _streamed(list, _failing)


@script()
def generator_fails_at_once():
    """An error before the first chunk."""

    def body():
        raise BoomError("refused")
        yield

    _streamed(list, body)


@script()
def generator_interrupted():
    """Ctrl-C in the source."""

    def body():
        yield chunks()[0]
        raise KeyboardInterrupt

    _streamed(list, body)


@script()
def generator_consumer_fails():
    """The reader throws its own error in."""

    def read(stream):
        next(stream)
        stream.throw(BoomError("the reader's"))

    _streamed(read)


@script()
def generator_turn():
    """The turn is a generator itself, and so is its aggregator."""

    @moa.aggregator
    def synthesize(messages):
        yield from chunks("One ", "two.")

    @moa.turn
    def create(messages):
        yield from synthesize(messages)
        yield from synthesize(messages)

    list(create(QUESTION))


@script()
def generator_returns():
    """A generator that returns a value and takes values."""

    @moa.reference
    def ask(prompt):
        got = yield "One "
        yield f"{got}"
        return "kept"

    with moa.turn():
        stream = ask("Why?")
        next(stream)
        stream.send("two.")
        list(stream)


@script()
def iterator_object():
    """A function that returns an iterator."""

    @moa.reference
    def ask(prompt):
        return iter(chunks("A ", "b."))

    @moa.turn
    def create(prompt):
        list(ask(prompt))
        return ask(prompt)

    list(create("Why?"))


async def _async_streamed(read, body):
    @moa.aggregator
    async def synthesize(messages):
        async for one in body():
            yield one

    @moa.turn(session_id="s-1")
    def create(messages):
        return synthesize(messages)

    with suppress(BoomError, asyncio.CancelledError):
        await read(create(QUESTION))


async def _all(stream):
    async for _ in stream:
        pass


async def _each():
    for one in chunks():
        await asyncio.sleep(0)
        yield one


@script()
def async_generator():
    """Read by `async for`."""
    asyncio.run(_async_streamed(_all, _each))


@script()
def async_generator_closed():
    """Closed after a chunk."""

    async def read(stream):
        await anext(stream)
        await stream.aclose()

    asyncio.run(_async_streamed(read, _each))


@script()
def async_generator_fails():
    """An error after two chunks."""

    async def body():
        for one in _failing():
            yield one

    asyncio.run(_async_streamed(_all, body))


@script()
def async_generator_cancelled():
    """Its reader is cancelled while it waits."""

    async def body():
        yield chunks()[0]
        await asyncio.sleep(60)

    async def read(stream):
        task = asyncio.ensure_future(_all(stream))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(_async_streamed(read, body))


@script()
def async_cancelled_before():
    """A coroutine that is cancelled, one that is never awaited, and one that fails."""

    @moa.reference
    async def ask(messages, how):
        if how == "fails":
            raise BoomError("no")
        await asyncio.sleep(60)

    @moa.turn
    async def create(messages):
        task = asyncio.ensure_future(ask(messages, "waits"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, ask(messages, "fails"), return_exceptions=True)
        return "none"

    asyncio.run(create(QUESTION))


@script()
def awaitable_of_stream():
    """A coroutine that returns an async iterator, as SDKs do."""

    @moa.aggregator
    async def synthesize(messages, *, stream):
        return _each()

    @moa.turn
    async def create(messages):
        return await synthesize(messages, stream=True)

    async def main():
        await _all(await create(QUESTION))

    asyncio.run(main())


@script()
def managers():
    """Context managers around streams, sync and async."""

    @moa.aggregator
    @contextmanager
    def synthesize(messages):
        yield iter(chunks())

    @moa.aggregator
    @asynccontextmanager
    async def asynthesize(messages):
        yield _each()

    with moa.turn(session_id="s-1"):
        with synthesize(QUESTION) as stream:
            list(stream)
        with synthesize(QUESTION) as stream:
            next(iter(stream))

    async def main():
        async with moa.turn(session_id="s-2"), asynthesize(QUESTION) as stream:
            await _all(stream)

    asyncio.run(main())


@script()
def manager_fails():
    """The block around the stream raises."""

    @moa.aggregator
    @contextmanager
    def synthesize(messages):
        yield iter(chunks())

    @moa.turn
    def create(messages):
        with synthesize(messages) as stream:
            next(stream)
            raise BoomError("in the block")

    quietly(lambda: create(QUESTION))


@script()
def value_fails():
    """References that fail, then the aggregator, then the turn."""

    @moa.reference
    def ask(messages, error):
        raise error

    @moa.turn
    def create(messages):
        for error in (BoomError("first"), ValueError("a", "b"), KeyError("k"), BoomError()):
            try:
                ask(messages, error)
            except Exception:
                continue
        raise BoomError("no reference answered")

    quietly(lambda: create(QUESTION))


@script()
def value_cause():
    """An error with a cause, a note and a credential in its text."""

    @moa.reference
    def ask(messages, api_key):
        try:
            raise ValueError("inside")
        except ValueError as error:
            outer = BoomError(f"key {api_key} refused")
            outer.add_note("try later")
            raise outer from error

    @moa.turn
    def create(messages):
        ask(messages, api_key="sk-proj-abcdefghijklmnopqrstuvwx")

    quietly(lambda: create(QUESTION))


@script()
def wrong_arguments():
    """A call that does not fit the function."""

    @moa.reference
    def ask(messages):
        return "never"

    @moa.turn
    def create(messages):
        return ask(messages, unknown=1)

    quietly(lambda: create(QUESTION))


@script()
def methods():
    """A client class: methods, a class method, a static method, paths."""

    @moa.client(session_id=lambda messages, session=None: session, preset="kit")
    class Mixture:
        @moa.reference(label=lambda self, messages, n: f"slot {n}", layer=1)
        def ask(self, messages, n):
            return reply(f"draft {n}")

        @moa.reference
        @classmethod
        def ask_class(cls, messages):
            return "class"

        @moa.reference
        @staticmethod
        def ask_static(messages):
            return "static"

        @moa.aggregator
        def synthesize(self, messages):
            return reply("All.")

        def create(self, messages, session=None):
            self.ask(messages, 1)
            self.ask(messages, n=2)
            self.ask_class(messages)
            self.ask_static(messages)
            return self.synthesize(messages)

    Mixture().create(QUESTION, session="s-9")
    Mixture().create(QUESTION)


@script()
def instrumented_paths():
    """Classes, objects and modules of somebody else's, by path."""

    class Inner:
        def propose(self, prompt):
            return f"draft on {prompt}"

        def judge(self, prompt):
            return "judged"

    class Other:
        def __init__(self):
            self.inner = Inner()

        def run(self, prompt):
            drafts = [self.inner.propose(prompt), self.inner.propose(prompt + "!")]
            return self.inner.judge(" ".join(drafts))

    other = Other()
    moa.instrument(other, turn="run", reference="inner.propose", call="inner.judge", session_id="s-4")
    other.run("Why?")
    moa.uninstrument(other)
    moa.instrument(Inner, call=["propose", "judge"])
    Other().run("How?")
