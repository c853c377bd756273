"""Streams that are read, left or passed on in unusual ways."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace

import pytest

import moa_middleware as moa

HELLO = [{"role": "user", "content": "hi"}]


def piece(text=None, *, tool_calls=None, finish_reason=None):
    """Return a chunk as the SDK of OpenAI makes it."""
    delta = SimpleNamespace(content=text, tool_calls=tool_calls)
    return SimpleNamespace(choices=[SimpleNamespace(index=0, delta=delta, finish_reason=finish_reason)], usage=None)


class Stream:
    """A stream of chunks."""

    def __init__(self, *items):
        self.items = iter(items)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.items)


class AsyncStream(Stream):
    """The same for `async for`."""

    __iter__ = __next__ = None

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self.items)
        except StopIteration:
            raise StopAsyncIteration from None


class LoopedStream(Stream):
    """A stream whose iterator is another object, as those of the SDKs are."""

    def __iter__(self):
        yield from self.items


class LoopedAsyncStream(AsyncStream):
    """The same for `async for`."""

    async def __aiter__(self):
        for item in self.items:
            yield item


def client_of(make):
    """Return an instrumented client of the SDK's form; `make` returns its streams."""

    class Completions:
        def create(self, *, model, messages, stream=True, tools=None):
            return make()

    return moa.instrument(SimpleNamespace(chat=SimpleNamespace(completions=Completions())))


def calls_of(record):
    return [call for call in (*record["references"], record["aggregator"], *record["calls"]) if call]


TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


@pytest.mark.parametrize("kind", [Stream, LoopedStream, AsyncStream, LoopedAsyncStream])
@pytest.mark.parametrize("step", ["next", "for"])
def test_a_tool_call_in_a_chunk_with_text_is_on_record(step, kind, turns):
    """Some providers send words and a tool call together, and more words behind them: the record has all."""
    wanted = SimpleNamespace(
        index=0, id="call_1", type="function", function=SimpleNamespace(name="look", arguments='{"at": "sky"}')
    )
    items = [piece("I "), piece("look", tool_calls=[wanted]), piece("."), piece(finish_reason="tool_calls")]
    client = client_of(lambda: kind(*items))

    def ask():
        return client.chat.completions.create(model="m", messages=HELLO, tools=[TOOL])

    async def read_async():
        if step == "for":
            return [chunk async for chunk in ask()]
        stream, seen = ask(), []
        while (chunk := await anext(stream, None)) is not None:
            seen.append(chunk)
        return seen

    if issubclass(kind, AsyncStream):
        seen = asyncio.run(read_async())
    elif step == "for":
        seen = list(ask())
    else:
        stream = ask()
        seen = list(iter(lambda: next(stream, None), None))
    assert items == seen
    (call,) = calls_of(turns[0])
    assert "I look." == call["output"]
    assert [("call_1", "look")] == [(tool["id"], tool["function"]["name"]) for tool in call["tool_calls"]]


def test_a_call_after_the_entry_of_an_async_manager_is_not_inside_it(turns):
    """`async with ask() as stream:` with another call in its block: the two stand side by side."""

    @moa.reference(label="managed")
    @asynccontextmanager
    async def ask(messages):
        inside("of its opening")
        yield AsyncStream(piece("answer"))

    @moa.reference(label=lambda text: text)
    def inside(text):
        return f"{text} answers"

    async def main():
        with moa.turn():
            async with ask(HELLO) as stream:
                inside("of the block")
                async for _ in stream:
                    pass
            inside("behind it")

    asyncio.run(main())
    (record,) = turns
    labels = {call["call_id"]: call["label"] for call in calls_of(record)}
    parents = {call["label"]: labels.get(call["parent"]) for call in calls_of(record)}
    assert (None, None) == (parents["of the block"], parents["behind it"])
    assert {"managed", "of its opening"} & {*parents}


def test_a_call_after_the_entry_of_a_manager_is_not_inside_it(turns):
    """The same without a loop."""

    @moa.reference(label="managed")
    @contextmanager
    def ask(messages):
        yield Stream(piece("answer"))

    @moa.reference(label=lambda text: text)
    def inside(text):
        return f"{text} answers"

    with moa.turn():
        with ask(HELLO) as stream:
            inside("of the block")
            list(stream)
        inside("behind it")
    (record,) = turns
    assert [("managed", None), ("of the block", None), ("behind it", None)] == [
        (call["label"], call["parent"]) for call in record["references"]
    ]


def streams_of(kind):
    """Return a function that opens a stream of text, of one of the forms that clients give out."""
    if kind == "sdk":
        client = client_of(lambda: Stream(piece("a"), piece("b"), piece(finish_reason="stop")))
        return lambda: client.chat.completions.create(model="m", messages=HELLO)

    @moa.aggregator
    def generator(messages):
        yield "a"
        yield "b"

    if kind == "generator":
        return lambda: generator(HELLO)

    @moa.turn
    def turn(messages):
        return (text for text in ("a", "b"))

    return lambda: turn(HELLO)


@pytest.mark.parametrize("kind", ["sdk", "generator", "turn"])
def test_flush_leaves_a_stream_alone_that_was_not_read_yet(kind, turns):
    """A signal handler flushes between the request and the first chunk: the answer is still recorded whole."""
    stream = streams_of(kind)()
    moa.flush()
    assert [] == turns
    seen = list(stream)
    assert len(seen) >= 2
    moa.flush()
    (record,) = turns
    assert ("completed", "ab") == (record["outcome"], record["output"])


def test_a_turn_whose_future_is_dropped_closes():
    """A client returns a future that nobody waits for and nobody fulfils: the turn is on record as abandoned."""

    @moa.turn
    def create(messages):
        return concurrent.futures.Future()

    with moa.testing.capture_turns() as found:
        future = create(HELLO)
        assert [] == found
        del future
        gc.collect()
        assert ["abandoned"] == [record["outcome"] for record in found]
    assert 0 == moa.status().open_turns


class Watch:
    """Reads along, and changes nothing."""

    def __init__(self):
        self.seen = []

    def __call__(self, call):
        call.on_chunk(lambda chunk: self.seen.append(chunk.text))
        yield call


def test_the_stream_of_a_call_inside_passes_through_middleware_once(turns):
    """A decorated function returns the stream of an instrumented client: middleware reads each chunk once."""
    items = [piece("a"), piece("b"), piece(finish_reason="stop")]
    client, watch = client_of(lambda: Stream(*items)), Watch()

    @moa.Stack([watch]).reference(label="outer")
    def ask(messages):
        return client.chat.completions.create(model="m", messages=messages)

    seen = list(ask(HELLO))
    assert items == seen
    assert ["a", "b"] == [text for text in watch.seen if text]
    assert "ab" == turns[0]["references"][0]["output"]


def test_the_stream_of_a_call_inside_passes_through_middleware_that_only_yields(turns):
    """A middleware that does not read along sees the reply, once, with the whole text."""
    client = client_of(lambda: Stream(piece("a"), piece("b"), piece(finish_reason="stop")))
    replies = []

    def look(call):
        reply = yield call
        replies.append(reply.text)

    @moa.Stack([look]).reference(label="outer")
    def ask(messages):
        return client.chat.completions.create(model="m", messages=messages)

    assert 3 == len(list(ask(HELLO)))
    assert ["ab"] == replies
    assert "ab" == turns[0]["references"][0]["output"]


@pytest.mark.parametrize("observed", [False, True], ids=["nobody", "observers"])
def test_the_stream_of_a_call_inside_is_handed_out_itself(observed, turns):
    """Without middleware there is one proxy, however deep the functions lie: no chunk is read twice."""
    client, opened = client_of(lambda: Stream(piece("a"), piece("b"), piece(finish_reason="stop"))), []
    replies = []

    def look(call):
        reply = yield call
        replies.append(reply.text)

    @moa.Stack(observers=[look] if observed else []).reference(label="outer")
    def ask(messages):
        opened.append(client.chat.completions.create(model="m", messages=messages))
        return opened[0]

    stream = ask(HELLO)
    assert stream is opened.pop()
    assert 3 == len(list(stream))
    assert ["ab"] * observed == replies
    assert "ab" == turns[0]["references"][0]["output"]


def test_in_asks_the_stream_itself(turns):
    """A stream type that knows what it contains is asked, and not read."""

    class Known(Stream):
        def __contains__(self, item):
            return item == "known"

    client = client_of(lambda: Known(piece("a"), piece(finish_reason="stop")))
    stream = client.chat.completions.create(model="m", messages=HELLO)
    assert "known" in stream
    assert "other" not in stream
    assert 2 == len(list(stream))
    assert "a" == turns[0]["output"]


def test_an_error_of_middleware_behind_a_broken_stream_is_a_note_on_it(turns):
    """The consumer had a part of the answer: it gets the model's error, and hears of the middleware's as well."""

    def translate(call):
        reply = yield call
        if reply.error is not None:
            raise LookupError("no other model is left")
        return reply

    @moa.Stack([translate]).reference
    def ask(messages):
        yield "a"
        raise ConnectionError("reset by peer")

    stream = ask(HELLO)
    assert "a" == next(stream)
    with pytest.raises(ConnectionError, match="reset by peer") as caught:
        next(stream)
    (note,) = caught.value.__notes__
    assert note.startswith("after that, LookupError was raised by the middleware `")
    assert "translate" in note
    (call,) = calls_of(turns[0])
    assert ("error", "a") == (call["outcome"], call["output"])
