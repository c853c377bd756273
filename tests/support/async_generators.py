"""Scenarios of an async generator's life: each gets `decorate` and a list to note things in."""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import gc
import inspect
from contextlib import aclosing

from tests.support.boom import Boom


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
