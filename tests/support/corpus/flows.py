"""Middleware and observers: retries, short-circuits, taps and buffers, on values and on streams."""

# ruff: noqa: D401 - the docstring of a script names its run

from __future__ import annotations

import asyncio

import moa_middleware as moa

from .script import QUESTION, BoomError, chunks, quietly, reply, script


def _retry(call):
    for _ in range(2):
        try:
            return (yield call)
        except BoomError:
            yield moa.sleep(0)
    return (yield call)


def _model(stack, *, fails=0, streams=False, label=None):
    left = [fails]

    def fault():
        left[0] -= 1
        if left[0] >= 0:
            raise BoomError(f"attempt {fails - left[0]} failed")

    @stack.reference(label=label)
    def ask(messages, model="model-a"):
        fault()
        return reply(f"The draft of {model}.")

    @stack.aggregator(label=label)
    def stream(messages, model="model-a"):
        fault()
        yield from chunks()

    return stream if streams else ask


def _turn(fn, *args, read=lambda value: value, **kwargs):
    @moa.turn(session_id="s-1")
    def create(messages):
        return fn(messages, *args, **kwargs)

    quietly(lambda: read(create(QUESTION)))


@script()
def retry_value():
    """Two attempts fail, the third answers; then all three fail."""
    _turn(_model(moa.Stack([_retry]), fails=2))
    _turn(_model(moa.Stack([_retry]), fails=3))


@script()
def retry_stream():
    """The same, with a stream."""
    _turn(_model(moa.Stack([_retry]), fails=1, streams=True), read=list)
    _turn(_model(moa.Stack([_retry]), fails=3, streams=True), read=list)


@script()
def retry_async():
    """The same, awaited."""
    left = [1]

    @moa.Stack([_retry]).reference
    async def ask(messages):
        await asyncio.sleep(0)
        left[0] -= 1
        if left[0] >= 0:
            raise BoomError("once")
        return "late but well"

    @moa.turn
    async def create(messages):
        return await ask(messages)

    asyncio.run(create(QUESTION))


@script()
def fallback_model():
    """Another model is asked, with other parameters and another prompt."""

    def fall_back(call):
        try:
            return (yield call)
        except BoomError:
            messages = [{"role": "system", "content": "Be brief."}, *call.messages]
            return (yield call.replace(model="model-z", messages=messages))

    _turn(_model(moa.Stack([fall_back]), fails=1, label="slot"))


@script()
def short_circuit():
    """Answered without the model: a text, a reply, a reply from a cache, an object."""

    def answered(value):
        def answer(call):
            return value
            yield call

        return answer

    answers = (
        "A text.",
        moa.Reply(text="A reply.", usage=moa.Usage(input_tokens=3, output_tokens=0), cost_usd=0.25),
        moa.Reply(text="From the cache.", source="cache", reasoning="because", finish_reason="stop"),
        moa.Reply(
            text=None, tool_calls=[{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
        ),
        reply("An object."),
    )
    for answer in answers:
        _turn(_model(moa.Stack([answered(answer)])))


@script()
def short_circuit_stream():
    """The same in place of a stream."""

    def cached(call):
        return moa.Reply(text="From the cache.", source="cache", usage=moa.Usage(output_tokens=3))
        yield call

    _turn(_model(moa.Stack([cached]), streams=True), read=list)


@script()
def replaced_reply():
    """The reply is changed on its way back."""

    def shout(call):
        found = yield call
        return found.replace(text=(found.text or "").upper())

    _turn(_model(moa.Stack([shout])))


@script()
def swallowed_error():
    """A middleware that answers in place of an error, and one that raises another."""

    def swallow(call):
        try:
            return (yield call)
        except BoomError:
            return "Never mind."

    def other(call):
        try:
            return (yield call)
        except BoomError as error:
            raise ValueError("worse") from error

    _turn(_model(moa.Stack([swallow]), fails=1))
    _turn(_model(moa.Stack([other]), fails=1))
    _turn(_model(moa.Stack([swallow]), fails=1, streams=True), read=list)


@script()
def did_not_yield():
    """Mistakes of a middleware."""

    def nothing(call):
        return
        yield call

    def odd(call):
        yield 7

    def raises(call):
        raise RuntimeError("before the call")
        yield call

    for fault in (nothing, odd, raises):
        _turn(_model(moa.Stack([fault])))
        _turn(_model(moa.Stack([fault]), streams=True), read=list)


def _tapped(call):
    call.on_chunk(lambda chunk: None)
    call.map_chunks(lambda chunk: chunk.text.upper() if chunk.text else chunk)
    return (yield call)


@script()
def map_chunks():
    """Chunks that are changed, and chunks that are dropped."""

    def drop(call):
        call.map_chunks(lambda chunk: None if chunk.text == "SCATTERS " else chunk)
        return (yield call)

    _turn(_model(moa.Stack([_tapped]), streams=True), read=list)
    _turn(_model(moa.Stack([drop, _tapped]), streams=True), read=list)


@script()
def map_chunks_fails():
    """A tap that raises, after a chunk."""

    def broken(call):
        seen = []

        def tap(chunk):
            seen.append(chunk)
            if len(seen) == 2:
                raise BoomError("the tap")
            return chunk

        call.map_chunks(tap)
        return (yield call)

    _turn(_model(moa.Stack([broken]), streams=True), read=list)


@script()
def buffered():
    """Held back until it is whole, then replaced, or answered anew."""

    def moderate(call):
        call.buffer()
        found = yield call
        return found.replace(text="Moderated.") if "blue" in (found.text or "") else found

    def again(call):
        call.buffer()
        yield call
        return (yield call)

    _turn(_model(moa.Stack([moderate]), streams=True), read=list)
    _turn(_model(moa.Stack([again]), streams=True), read=list)


@script()
def tapped_values():
    """Taps where the answer comes in one piece."""
    _turn(_model(moa.Stack([_tapped])))


@script()
def observers():
    """Observers that look, and that fail."""

    @moa.observer
    def look(call):
        call.on_chunk(lambda chunk: None)
        yield call

    @moa.observer
    def broken(call):
        raise BoomError("of the observer")
        yield call

    @moa.observer
    def breaks_later(call):
        yield call
        raise BoomError("after it")

    for streams, read in ((False, str), (True, list)):
        _turn(_model(moa.Stack([look]), streams=streams), read=read)
        _turn(_model(moa.Stack(observers=[broken, breaks_later, look]), streams=streams), read=read)


@script()
def edited_request():
    """Arguments, model, messages and parameters are changed on the way in."""

    def edit(call):
        return (yield call.replace(params={**call.params, "temperature": 0.9}, model="model-y"))

    def words(call):
        return (yield call.replace(messages=[*call.messages, {"role": "user", "content": "Be brief."}]))

    @moa.Stack([edit, words]).reference
    def ask(messages, model="model-a", temperature=0.1, max_tokens=5):
        return f"{model} {temperature} {len(messages)}"

    _turn(ask)

    @moa.Stack([words]).reference
    def ask_text(prompt):
        return prompt

    with moa.turn(session_id="s-1"):
        quietly(lambda: ask_text("Why?"))


@script()
def middleware_around_a_call_inside():
    """A stack outside and another inside; the inner one repeats."""
    inner = _model(moa.Stack([_retry]), fails=1)

    @moa.Stack([_tapped]).reference(label="outer")
    def outer(messages):
        return inner(messages)

    _turn(outer)


@script()
def concurrent_attempts():
    """A middleware that asks twice and takes the first answer."""

    def twice(call):
        first = yield call
        yield call.replace(model="model-q")
        return first

    _turn(_model(moa.Stack([twice])))


@script()
def middleware_waits():
    """An async middleware effect, on an async call and on a sync one."""

    async def lookup():
        return "hit"

    def cached(call):
        hit = yield from moa.wait(lookup())
        return moa.Reply(text=hit, source="cache")

    def patient(call):
        made = lookup()
        try:
            yield from moa.wait(made)
        finally:
            made.close()
        return (yield call)

    @moa.Stack([cached]).reference
    async def ask(messages):
        return "miss"

    @moa.turn
    async def create(messages):
        return await ask(messages)

    asyncio.run(create(QUESTION))
    _turn(_model(moa.Stack([patient])))


async def _chunks_later():
    for one in chunks():
        await asyncio.sleep(0)
        yield one


@script()
def async_streams():
    """Retried, mapped, held back and answered: async streams, from coroutines and from async generators."""

    def moderate(call):
        call.buffer()
        found = yield call
        return found.replace(text="Moderated.")

    def cached(call):
        return moa.Reply(text="From the cache.", source="cache")
        yield call

    def broken_tap(call):
        call.map_chunks(lambda chunk: 1 / 0)
        return (yield call)

    for number, middleware in enumerate(([_retry], [_tapped], [moderate], [cached], [_tapped, moderate], [broken_tap])):
        stack = moa.Stack(middleware)
        left = [1 if middleware == [_retry] else 0]

        @stack.aggregator(label="awaited")
        async def awaited(messages, *, stream, left=left):
            left[0] -= 1
            if left[0] >= 0:
                raise BoomError("once")
            return _chunks_later()

        @stack.aggregator(label="generated")
        async def generated(messages):
            async for one in _chunks_later():
                yield one

        async def main(awaited=awaited, generated=generated, number=number):
            async with moa.turn(session_id=f"s-{number}"):
                for make in (lambda: awaited(QUESTION, stream=True), lambda: generated(QUESTION)):
                    try:
                        made = make()
                        async for _ in await made if asyncio.iscoroutine(made) else made:
                            pass
                    except (BoomError, ZeroDivisionError):
                        continue

        asyncio.run(main())
