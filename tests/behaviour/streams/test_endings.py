"""
However a stream ends, there is one record, and the consumer notices nothing.

Each scenario runs uninstrumented, off and on. What the consumer saw has to be the same in all
three; the record has to have the outcome of the table.
"""

from __future__ import annotations

import asyncio
import gc
import threading

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.conftest import check
from tests.support.sdk_worlds import MESSAGES, PIECES, TEXT, Seen, settle, world


class Boom(Exception):
    """The consumer's own error."""


# Sync scenarios: (client, world, seen). -----------------------------------------------------------


def create(client, *, stream=True):
    return client.chat.completions.create(model="m", messages=MESSAGES, stream=stream)


def first_piece(stream, seen):
    while not seen.pieces:
        seen.take(next(stream))


def value(client, made, seen):
    seen.note(create(client, stream=False).choices[0].message.content)


def for_loop(client, made, seen):
    stream = create(client)
    seen.note((isinstance(stream, openai.Stream), hasattr(stream, "choices"), stream.response.status_code))
    for chunk in stream:
        seen.take(chunk)


def by_next(client, made, seen):
    stream = create(client)
    while True:
        try:
            seen.take(next(stream))
        except StopIteration as stop:
            seen.note(stop.value)
            return


def next_then_for(client, made, seen):
    stream = create(client)
    seen.take(next(stream))
    for chunk in stream:
        seen.take(chunk)


def with_block(client, made, seen):
    with create(client) as stream:
        seen.note(isinstance(stream, openai.Stream))
        for chunk in stream:
            seen.take(chunk)


def with_block_left(client, made, seen):
    with create(client) as stream:
        first_piece(stream, seen)


def with_block_left_after_finish(client, made, seen):
    with create(client) as stream:
        for chunk in stream:
            seen.take(chunk)
            if chunk.choices and chunk.choices[0].finish_reason:
                break


def break_resume(client, made, seen):
    stream = create(client)
    for chunk in stream:
        seen.take(chunk)
        if seen.pieces == 2:
            break
    for chunk in stream:
        seen.take(chunk)


def break_close(client, made, seen):
    stream = create(client)
    for chunk in stream:
        seen.take(chunk)
        if seen.pieces == 2:
            break
    seen.note(stream.close())


def break_drop(client, made, seen):
    stream = create(client)
    for chunk in stream:
        seen.take(chunk)
        if seen.pieces == 2:
            break
    del stream


def never_iterated(client, made, seen):
    create(client)


def network_error(client, made, seen):
    made.break_after(2)
    for chunk in create(client):
        seen.take(chunk)


def sse_error(client, made, seen):
    made.error_after(2)
    for chunk in create(client):
        seen.take(chunk)


def consumer_error_in_with(client, made, seen):
    with create(client) as stream:
        for chunk in stream:
            seen.take(chunk)
            if seen.pieces == 2:
                raise Boom("mine")


def consumer_error_in_for(client, made, seen):
    for chunk in create(client):
        seen.take(chunk)
        if seen.pieces == 2:
            raise Boom("mine")


def interrupt(client, made, seen):
    made.interrupt_after(2)
    for chunk in create(client):
        seen.take(chunk)


def exit_in_with(client, made, seen):
    with create(client) as stream:
        first_piece(stream, seen)
        raise SystemExit(3)


def other_thread(client, made, seen):
    stream = create(client)

    def consume():
        for chunk in stream:
            seen.take(chunk)

    thread = threading.Thread(target=consume)
    thread.start()
    thread.join()


def close_twice(client, made, seen):
    stream = create(client)
    first_piece(stream, seen)
    seen.note(stream.close())
    seen.note(stream.close())


def exhausted_then_closed(client, made, seen):
    stream = create(client)
    for chunk in stream:
        seen.take(chunk)
    seen.note(stream.close())


SYNC = {
    # scenario: outcome, text, only on the mock transport
    value: ("completed", TEXT),
    for_loop: ("completed", TEXT),
    by_next: ("completed", TEXT),
    next_then_for: ("completed", TEXT),
    with_block: ("completed", TEXT),
    with_block_left: ("closed", PIECES[0]),
    with_block_left_after_finish: ("completed", TEXT),
    break_resume: ("completed", TEXT),
    break_close: ("closed", PIECES[0] + PIECES[1]),
    break_drop: ("abandoned", PIECES[0] + PIECES[1]),
    never_iterated: ("abandoned", None),
    network_error: ("error", PIECES[0] + PIECES[1]),
    sse_error: ("error", PIECES[0] + PIECES[1]),
    consumer_error_in_with: ("consumer_error", PIECES[0] + PIECES[1]),
    consumer_error_in_for: ("abandoned", PIECES[0] + PIECES[1]),
    interrupt: ("cancelled", PIECES[0] + PIECES[1]),
    exit_in_with: ("cancelled", PIECES[0]),
    other_thread: ("completed", TEXT),
    close_twice: ("closed", PIECES[0]),
    exhausted_then_closed: ("completed", TEXT),
}

# Async scenarios. ---------------------------------------------------------------------------------


async def acreate(client, *, stream=True):
    return await client.chat.completions.create(model="m", messages=MESSAGES, stream=stream)


async def avalue(client, made, seen):
    seen.note((await acreate(client, stream=False)).choices[0].message.content)


async def async_for(client, made, seen):
    stream = await acreate(client)
    seen.note((isinstance(stream, openai.AsyncStream), hasattr(stream, "choices")))
    async for chunk in stream:
        seen.take(chunk)


async def by_anext(client, made, seen):
    stream = await acreate(client)
    while True:
        try:
            seen.take(await anext(stream))
        except StopAsyncIteration:
            return


async def async_with(client, made, seen):
    async with await acreate(client) as stream:
        seen.note(isinstance(stream, openai.AsyncStream))
        async for chunk in stream:
            seen.take(chunk)


async def async_with_left(client, made, seen):
    async with await acreate(client) as stream:
        while not seen.pieces:
            seen.take(await anext(stream))


async def abreak_resume(client, made, seen):
    stream = await acreate(client)
    async for chunk in stream:
        seen.take(chunk)
        if seen.pieces == 2:
            break
    async for chunk in stream:
        seen.take(chunk)


async def abreak_close(client, made, seen):
    stream = await acreate(client)
    async for chunk in stream:
        seen.take(chunk)
        if seen.pieces == 2:
            break
    seen.note(await stream.close())


async def abreak_drop(client, made, seen):
    stream = await acreate(client)
    async for chunk in stream:
        seen.take(chunk)
        if seen.pieces == 2:
            break
    del stream
    for _ in range(3):  # the loop closes the dropped iterator in a task of its own
        await asyncio.sleep(0)
        gc.collect()


async def anever_iterated(client, made, seen):
    await acreate(client)


async def anetwork_error(client, made, seen):
    made.break_after(2)
    async for chunk in await acreate(client):
        seen.take(chunk)


async def asse_error(client, made, seen):
    made.error_after(2)
    async for chunk in await acreate(client):
        seen.take(chunk)


async def aconsumer_error(client, made, seen):
    async with await acreate(client) as stream:
        async for chunk in stream:
            seen.take(chunk)
            if seen.pieces == 2:
                raise Boom("mine")


async def cancel(client, made, seen):
    made.slow(0.05)
    got_two = asyncio.Event()

    async def consume():
        async for chunk in await acreate(client):
            seen.take(chunk)
            if seen.pieces == 2:
                got_two.set()

    task = asyncio.create_task(consume())
    await got_two.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError as error:
        seen.error(error)


async def timeout(client, made, seen):
    made.slow(0.2)
    stream = await acreate(client)
    try:
        async with asyncio.timeout(0.3):
            async for chunk in stream:
                seen.take(chunk)
    except TimeoutError as error:
        seen.error(error)
    seen.texts.clear()  # how many pieces came in time is the clock's affair
    seen.kinds.clear()


async def other_task(client, made, seen):
    stream = await acreate(client)

    async def consume():
        async for chunk in stream:
            seen.take(chunk)

    await asyncio.create_task(consume())


async def unfinished_at_loop_end(client, made, seen):
    stream = await acreate(client)

    async def consume():
        async for chunk in stream:
            seen.take(chunk)
            if seen.pieces == 2:
                await asyncio.sleep(3600)

    task = asyncio.create_task(consume())
    while seen.pieces < 2:
        await asyncio.sleep(0.001)
    task.cancel()  # as asyncio.run does with what is left; it strikes at the consumer's own await


ASYNC = {
    avalue: ("completed", TEXT),
    async_for: ("completed", TEXT),
    by_anext: ("completed", TEXT),
    async_with: ("completed", TEXT),
    async_with_left: ("closed", PIECES[0]),
    abreak_resume: ("completed", TEXT),
    abreak_close: ("closed", PIECES[0] + PIECES[1]),
    abreak_drop: ("abandoned", PIECES[0] + PIECES[1]),
    anever_iterated: ("abandoned", None),
    anetwork_error: ("error", PIECES[0] + PIECES[1]),
    asse_error: ("error", PIECES[0] + PIECES[1]),
    aconsumer_error: ("consumer_error", PIECES[0] + PIECES[1]),
    cancel: ("cancelled", PIECES[0] + PIECES[1]),
    timeout: ("cancelled", ...),
    other_task: ("completed", TEXT),
    unfinished_at_loop_end: ("abandoned", PIECES[0] + PIECES[1]),
}

MOCK_ONLY = {interrupt}
CASES = [
    pytest.param(scenario, kind, id=f"{scenario.__name__}-{kind}")
    for scenario in [*SYNC, *ASYNC]
    for kind in ("mock", "loopback")
    if kind == "mock" or scenario not in MOCK_ONLY
]


def run(scenario, kind, mode):
    """Run a scenario; returns what the consumer saw, the records and the connections left open."""
    seen, is_async = Seen(), scenario in ASYNC
    with world(kind) as made:
        records = []
        with capture_turns() if mode == "on" else _nothing() as found:
            _drive(scenario, made, seen, is_async=is_async, instrument=mode != "bare")
            gc.collect()
            records = list(found)
        moa.uninstrument()
        # A mock counts in this process, and no closing of it is on its way; what is open then stays open.
        left = settle(made, seconds=0.2 if kind == "mock" else 5)
    for record in records:
        check(record)
    return seen, records, left


class _nothing:
    def __enter__(self):
        return []

    def __exit__(self, *_):
        return None


def _drive(scenario, made, seen, *, is_async, instrument):
    client = made.async_client() if is_async else made.client()
    if instrument:
        assert client is moa.instrument(client)
    try:
        if is_async:

            async def main():
                await scenario(client, made, seen)

            asyncio.run(main())
        else:
            scenario(client, made, seen)
    except BaseException as error:
        seen.error(error)
        error.__traceback__ = None
    gc.collect()
    if not is_async:
        client.close()


@pytest.mark.crowd(facets=lambda scenario, kind: (scenario, kind))
@pytest.mark.parametrize(("scenario", "kind"), CASES)
def test_the_consumer_notices_nothing_and_the_record_is_there(scenario, kind):
    """Chunks, exceptions and return values are the same bare, off and on; on, there is one record."""
    bare, _, bare_left = run(scenario, kind, "bare")
    off, none, _ = run(scenario, kind, "off")
    on, records, on_left = run(scenario, kind, "on")
    assert bare.as_tuple() == off.as_tuple()
    assert bare.as_tuple() == on.as_tuple()
    assert [] == none
    assert bare_left == on_left
    outcome, text = (SYNC | ASYNC)[scenario]
    assert [outcome] == [record["outcome"] for record in records]
    (record,) = records
    call = record["aggregator"]
    assert outcome == call["outcome"]
    assert "inferred" == call["role_source"]
    assert record["implicit"]
    assert 0 == record["instrumentation_errors"]
    if text is not ...:
        assert text == call["output"] == record["output"]
    if outcome in ("error", "consumer_error"):
        assert bare.raised[0].__qualname__ == call["error"]["type"].rpartition(".")[2]
        assert bare.raised[1] == call["error"]["message"]
    streamed = scenario not in (value, avalue)
    assert streamed == call["streamed"]
    expected = "absent" if text is None else "inline_from_stream" if streamed else "inline"
    if text is not ...:
        assert expected == call["output_location"]


@pytest.mark.parametrize("how", ["for", "next", "with"])
def test_the_chunks_are_the_sdks_own_objects(turns, how):
    """Not copies, not proxies: the same objects in the same order."""
    with world("mock") as made:
        stream = create(moa.instrument(made.client()))
        given = []
        inner = stream.__wrapped__._iterator
        stream._iterator = (given.append(chunk) or chunk for chunk in inner)
        if how == "with":
            with stream as entered:
                assert entered is stream
                seen = list(entered)
        else:
            seen = list(stream) if how == "for" else list(iter(lambda: next(stream, None), None))
    assert 6 == len(seen) == len(given)
    assert all(one is other for one, other in zip(seen, given, strict=True))
