"""Programs that fail in each form of a call, with decorators and without, for comparing their tracebacks."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import moa_middleware as moa

try:
    import httpx2 as httpx  # openai >= 3
except ImportError:
    try:
        import httpx  # type: ignore[no-redef]
    except ImportError:
        httpx = None


class Failed(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Refuses that its attributes are set."""

    why: str = "it is so"


class Kinds:
    """The decorators, or functions that decorate nothing."""

    def __init__(self, *, real):
        self.is_real = real
        self.reference = moa.reference if real else lambda fn: fn
        self.turn = moa.turn if real else lambda fn: fn
        self.carry = moa.carry if real else lambda fn: fn
        self.client = moa.client if real else lambda **_: lambda cls: cls


def value(on):
    @on.reference
    def ask(prompt):
        raise Failed(prompt)

    ask("p")


def turn(on):
    @on.reference
    def ask(prompt):
        raise Failed(prompt)

    @on.turn
    def create(prompt):
        return [ask(prompt)]

    create("p")


def frozen(on):
    @on.reference
    def ask(prompt):
        raise Frozen

    ask("p")


def cause(on):
    @on.reference
    def ask(prompt):
        raise Failed(prompt)

    @on.turn
    def create(prompt):
        try:
            ask(prompt)
        except Failed as error:
            raise ValueError("no draft") from error

    create("p")


def context(on):
    @on.reference
    def ask(prompt):
        raise Failed(prompt)

    try:
        ask("p")
    except Failed:
        ask("q")


def raised_again(on):
    @on.reference
    def ask(prompt):
        raise Failed(prompt)

    try:
        ask("p")
    except Failed as error:
        raise error.with_traceback(error.__traceback__)


def recursion(on):
    @on.reference
    def ask(level):
        if not level:
            raise Failed
        return ask(level - 1)

    ask(5)


def client(on):
    class Inner:
        def create(self, prompt):
            raise Failed(prompt)

    @on.client(turn="inner.create")
    class Client:
        def __init__(self):
            self.inner = Inner()

    Client().inner.create("p")


def constructor(on):
    @on.client(turn="inner.create")
    class Client:
        def __init__(self):
            raise Failed

    class Sub(Client):
        def __init__(self):
            super().__init__()

    Sub()


def subclass(on):
    @on.client()
    class Client:
        def __init_subclass__(cls):
            raise Failed

        def create(self):
            pass

    class Sub(Client):
        pass


def coroutine(on):
    @on.reference
    async def ask(prompt):
        await asyncio.sleep(0)
        raise Failed(prompt)

    @on.turn
    async def create(prompt):
        return await ask(prompt)

    asyncio.run(create("p"))


def returned_coroutine(on):
    async def send():
        await asyncio.sleep(0)
        raise Failed

    @on.reference
    def ask():
        return send()

    async def main():
        await ask()

    asyncio.run(main())


def group(on):
    @on.reference
    async def ask(prompt):
        await asyncio.sleep(0)
        raise Failed(prompt)

    @on.turn
    async def create():
        async with asyncio.TaskGroup() as tasks:
            for prompt in "ab":
                tasks.create_task(ask(prompt))

    asyncio.run(create())


def gathered(on):
    @on.reference
    async def ask(prompt):
        raise Failed(prompt)

    @on.turn
    async def create():
        await asyncio.gather(ask("a"), asyncio.wait_for(ask("b"), 5))

    asyncio.run(create())


def cancelled(on):
    @on.reference
    async def ask():
        asyncio.current_task().cancel()
        await asyncio.sleep(5)

    asyncio.run(ask())


def _items(on, kind="reference"):
    @getattr(on, kind)
    def stream():
        try:
            yield 1
        except KeyError as error:
            raise Failed from error
        raise Failed

    return stream()


def loop(on):
    for _ in _items(on):
        pass


def turn_loop(on):
    list(_items(on, "turn"))


def steps(on):
    items = _items(on)
    next(items)
    next(items)


def sent(on):
    items = _items(on)
    next(items)
    items.send(2)


def thrown(on):
    items = _items(on)
    next(items)
    items.throw(KeyError("k"))


def delegated(on):
    def outer():
        yield from _items(on)

    items = outer()
    next(items)
    items.throw(KeyError("k"))


def closed(on):
    @on.reference
    def stream():
        try:
            yield 1
        finally:
            raise Failed

    items = stream()
    next(items)
    items.close()


def async_loop(on):
    @on.reference
    async def stream():
        yield 1
        raise Failed

    async def main():
        async for _ in stream():
            pass

    asyncio.run(main())


def async_thrown(on):
    @on.reference
    async def stream():
        yield 1

    async def main():
        items = stream()
        await anext(items)
        await items.athrow(Failed)

    asyncio.run(main())


def manager(on):
    class Manager:
        def __enter__(self):
            raise Failed

        def __exit__(self, *_):
            pass

    @on.reference
    def ask():
        return Manager()

    with ask():
        pass


def pooled(on):
    @on.reference
    def ask(prompt):
        raise Failed(prompt)

    @on.turn
    def create():
        with ThreadPoolExecutor(1) as pool:
            return [*pool.map(ask, "p")]

    create()


def shut_pool(on):
    @on.turn
    def create():
        with ThreadPoolExecutor(1) as pool:
            pass
        pool.submit(print)

    create()


def threaded(on):
    found = []

    def work():
        raise Failed

    class Worker(threading.Thread):
        def run(self):
            work()

    @on.turn
    def create():
        hook, threading.excepthook = threading.excepthook, lambda args: found.append(args.exc_value)
        try:
            worker = Worker()
            worker.start()
            worker.join()
        finally:
            threading.excepthook = hook

    create()
    with contextlib.suppress(Failed):
        raise found[0]
    found[0].__context__ = None
    raise found[0]


def to_thread(on):
    def ask():
        raise Failed

    @on.turn
    async def create():
        await asyncio.to_thread(ask)

    asyncio.run(create())


def carried(on):
    def ask():
        raise Failed

    @on.turn
    def create():
        on.carry(ask)()

    create()


def carried_coroutine(on):
    async def ask():
        raise Failed

    @on.turn
    async def create():
        await on.carry(ask)()

    asyncio.run(create())


def bound_arguments(on):
    @on.reference
    def ask(prompt):
        raise Failed

    partial(ask, "p")()


def _openai(on, body):
    import openai

    def answer(request):
        if body is None:
            return httpx.Response(400, json={"error": {"message": "no"}})
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body())

    http = httpx.Client(transport=httpx.MockTransport(answer))
    client = openai.OpenAI(api_key="k", base_url="http://localhost/v1", http_client=http, max_retries=0)
    return moa.instrument(client) if on.is_real else client


def refused_by_openai(on):
    _openai(on, None).chat.completions.create(model="m", messages=[])


def stream_of_openai(on):
    class Body(httpx.SyncByteStream):
        def __iter__(self):
            yield b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
            raise Failed

    for _ in _openai(on, Body).chat.completions.create(model="m", messages=[], stream=True):
        pass


FORMS = [
    *(value, turn, frozen, cause, context, raised_again, recursion, client, constructor, subclass, coroutine),
    *(returned_coroutine, group, gathered, cancelled, loop, turn_loop, steps, sent, thrown, delegated, closed),
    *(async_loop, async_thrown, manager, pooled, shut_pool, threaded, to_thread, carried, carried_coroutine),
    bound_arguments,
    *([] if httpx is None else [refused_by_openai, stream_of_openai]),
]
