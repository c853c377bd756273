"""
The state of a stream: it is over once, however it ends, and wakes all that wait for it.

A conversation that is taken up and a plain function that is called have to see the same, so each
scenario runs with both. What a value is, before it becomes a stream, is tested here too.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import inspect
import types
from contextlib import asynccontextmanager, contextmanager, suppress
from types import SimpleNamespace
from unittest.mock import AsyncMock, MagicMock

import httpx
import pytest
import wrapt
from openai._response import APIResponse

import moa_middleware as moa
from moa_middleware._capture.flow.driver import Deliver
from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware._capture.streams.kinds import (
    is_awaitable,
    is_future,
    is_manager,
    is_raw,
    is_stream,
    is_value,
    kind_of,
)
from moa_middleware._capture.streams.proxies import manager_proxy, stream_proxy
from moa_middleware._capture.streams.state import ManagerEntered, StreamState, finish_broken_off


class Boom(Exception):
    """An error of the source, or of the consumer."""


def chunk(text, finish_reason=None):
    delta = SimpleNamespace(content=text, role=None, tool_calls=None)
    choice = SimpleNamespace(index=0, delta=delta, finish_reason=finish_reason)
    return SimpleNamespace(id="c", model="m", object="chat.completion.chunk", choices=[choice], usage=None)


def chunks():
    return [chunk("a"), chunk("b"), chunk("c", "stop")]


class Source:
    """A stream as SDKs make them: `iter` of it is another object, and it can be closed and entered."""

    def __init__(self, *, fails=None, close_fails=None):
        self.fails = fails
        self.close_fails = close_fails
        self.steps = self._steps()

    def _steps(self):
        yield from chunks()[: 1 if self.fails else 3]
        if self.fails is not None:
            raise self.fails

    def __iter__(self):
        for one in self.steps:  # noqa: UP028 - `yield from` would close it with the loop over this
            yield one

    def __next__(self):
        return next(self.steps)

    def close(self):
        if self.close_fails is not None:
            raise self.close_fails

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class AsyncSource:
    """The same for async code."""

    def __init__(self, *, fails=None):
        self.steps = Source(fails=fails).steps

    async def __aiter__(self):
        for one in self.steps:
            yield one

    async def __anext__(self):
        for one in self.steps:
            return one
        raise StopAsyncIteration

    async def close(self):
        """Close nothing."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()


class Watched:
    """A state with whatever it tells of its end."""

    def __init__(self, form):
        self.ends = []
        self.followed = []
        if form == "a function":
            self.state = StreamState(None, Accumulator(), finish=self.ends.append)
        else:
            talk = self._talk()
            next(talk)
            self.state = StreamState(talk, Accumulator())
        self.state.add_done_callback(lambda outcome, error: self.followed.append((outcome, error)))

    def _talk(self):
        got = yield Deliver(None)
        if isinstance(got, ManagerEntered):
            if not is_stream(got.value):
                return got.value
            got = yield Deliver(got.value)
        self.ends.append(got)
        if got.listening and got.error is not None and self.state.delivered == 0:
            raise got.error  # as a call does whose request may be sent again
        return None


# Scenarios: each takes a state, and returns what the consumer saw. --------------------------------


def read_to_the_end(state):
    return [one.choices[0].delta.content for one in stream_proxy(Source(), state)]


def read_by_steps(state):
    stream = stream_proxy(Source(), state)
    return [next(stream), next(stream), next(stream), next(stream, "over")][3]


def break_and_drop(state):
    for _ in stream_proxy(Source(), state):
        break


def break_and_flush(state):
    stream = stream_proxy(Source(), state)
    for _ in stream:
        break
    finish_broken_off()
    return [one.choices[0].delta.content for one in stream]  # reading on is no second end


def break_and_go_on(state):
    stream = stream_proxy(Source(), state)
    for _ in stream:
        break
    return [one.choices[0].delta.content for one in stream]


def drop_unread(state):
    stream_proxy(Source(), state)


def drop_within_a_cycle(state):
    box = [stream_proxy(Source(), state)]
    box.append(box)
    del box
    gc.collect()


def still_open_at_exit(state):
    stream = stream_proxy(Source(), state)
    next(stream)
    finish_broken_off(everything=True)
    del stream


def close_early(state):
    stream = stream_proxy(Source(), state)
    next(stream)
    stream.close()
    stream.close()


def close_fails(state):
    stream_proxy(Source(close_fails=Boom("close")), state).close()


def leave_a_with(state):
    with stream_proxy(Source(), state) as stream:
        next(stream)


def leave_a_with_after_the_finish_reason(state):
    with stream_proxy(Source(), state) as stream:
        for one in stream:
            if one.choices[0].finish_reason:
                break


def raise_within_a_with(state):
    with stream_proxy(Source(), state) as stream:
        next(stream)
        raise Boom("consumer")


def source_fails(state):
    return list(stream_proxy(Source(fails=Boom("source")), state))


def source_fails_in_a_step(state):
    stream = stream_proxy(Source(fails=Boom("source")), state)
    next(stream)
    next(stream)


def source_fails_at_once(state):
    return list(stream_proxy(_failing(), state))


def interrupted(state):
    return list(stream_proxy(Source(fails=KeyboardInterrupt()), state))


def throw_into_a_generator(state):
    stream = stream_proxy(_generator(), state)
    next(stream)
    stream.throw(Boom("thrown"))


def send_to_the_end(state):
    stream = stream_proxy(_generator(), state)
    next(stream)
    return stream.send("word"), next(iter(stream), "over")


def iterate_a_generator(state):
    got = yield_from(stream_proxy(_generator(), state))
    return list(got)


def yield_from(stream):
    result = yield from stream
    yield result


def end_with_a_stream_inside(state):
    inner = Watched("a function")
    state.inner = inner.state
    stream = stream_proxy(Source(), state)
    next(stream)
    stream.close()
    return [end[:2] for end in inner.ends]


def drop_with_a_stream_inside(state):
    inner = Watched("a function")
    state.inner = inner.state
    stream_proxy(Source(), state)
    return [end[:2] for end in inner.ends]


def end_twice_by_hand(state):
    return state.end("closed"), state.end("error", Boom()), state.drop()


def enter_a_manager(state):
    @contextmanager
    def manage():
        yield Source()

    with manager_proxy(manage(), state) as stream:
        next(stream)


def manager_fails(state):
    @contextmanager
    def manage():
        raise Boom("not opened")
        yield

    with manager_proxy(manage(), state):
        pass


async def async_read_to_the_end(state):
    return [one.choices[0].delta.content async for one in stream_proxy(AsyncSource(), state)]


async def async_read_by_steps(state):
    stream = stream_proxy(AsyncSource(), state)
    return [await anext(stream), await anext(stream), await anext(stream), await anext(stream, "over")][3]


async def async_break_and_drop(state):
    async for _ in stream_proxy(AsyncSource(), state):
        break


async def async_close_early(state):
    stream = stream_proxy(AsyncSource(), state)
    await anext(stream)
    await stream.close()


async def async_raise_within_a_with(state):
    async with stream_proxy(AsyncSource(), state) as stream:
        await anext(stream)
        raise Boom("consumer")


async def async_source_fails(state):
    return [one async for one in stream_proxy(AsyncSource(fails=Boom("source")), state)]


async def async_enter_a_manager(state):
    @asynccontextmanager
    async def manage():
        yield AsyncSource()

    async with manager_proxy(manage(), state) as stream:
        await anext(stream)


async def async_manager_fails(state):
    @asynccontextmanager
    async def manage():
        raise Boom("not opened")
        yield

    async with manager_proxy(manage(), state):
        pass


def _generator():
    one = None
    for one in chunks()[:1]:
        yield one
    word = yield one
    return word


class _failing:
    def __iter__(self):
        return self

    def __next__(self):
        raise Boom("at once")


SCENARIOS = {
    read_to_the_end: "completed",
    read_by_steps: "completed",
    break_and_drop: "abandoned",
    break_and_flush: "abandoned",
    break_and_go_on: "completed",
    drop_unread: "abandoned",
    drop_within_a_cycle: "abandoned",
    still_open_at_exit: "abandoned",
    close_early: "closed",
    close_fails: "error",
    leave_a_with: "closed",
    leave_a_with_after_the_finish_reason: "completed",
    raise_within_a_with: "consumer_error",
    source_fails: "error",
    source_fails_in_a_step: "error",
    source_fails_at_once: "error",
    interrupted: "cancelled",
    throw_into_a_generator: "consumer_error",
    send_to_the_end: "completed",
    iterate_a_generator: "completed",
    end_with_a_stream_inside: "closed",
    drop_with_a_stream_inside: "abandoned",
    end_twice_by_hand: "closed",
    enter_a_manager: "closed",
    manager_fails: "error",
    async_read_to_the_end: "completed",
    async_read_by_steps: "completed",
    async_break_and_drop: "abandoned",
    async_close_early: "closed",
    async_raise_within_a_with: "consumer_error",
    async_source_fails: "error",
    async_enter_a_manager: "closed",
    async_manager_fails: "error",
}


def run(scenario, state):
    """Run a scenario; returns what the consumer saw, with the type and the text of what was raised."""
    try:
        seen = asyncio.run(scenario(state)) if inspect.iscoroutinefunction(scenario) else scenario(state)
    except (Boom, KeyboardInterrupt) as error:
        return None, type(error), str(error)
    finally:
        gc.collect()  # Python 3.12 leaves an async generator that was broken off to the collector
    return seen, None, None


@pytest.mark.parametrize("form", ["a conversation", "a function"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_stream_is_over_once_however_it_ends(scenario, form):
    """With the outcome of the table, and the exception that ended it; followers hear of it after that."""
    watched = Watched(form)
    seen = run(scenario, watched.state)
    other = Watched("a function" if form == "a conversation" else "a conversation")
    assert seen == run(scenario, other.state)
    (end,) = watched.ends
    assert SCENARIOS[scenario] == end.outcome == watched.state.ended
    assert [(end.outcome, end.error)] == watched.followed
    (twin,) = other.ends
    assert (twin.outcome, type(twin.error), twin.listening) == (end.outcome, type(end.error), end.listening)
    assert other.state.delivered == watched.state.delivered
    assert other.state.error == watched.state.error


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_what_the_function_raises_reaches_nobody(scenario):
    """A fault of ours is counted, followers hear of the end all the same, and the consumer sees no difference."""
    before = moa.status().faults
    calm = run(scenario, StreamState(None, Accumulator(), finish=lambda end: None))

    def finish(end):
        raise ValueError(end.outcome)

    state = StreamState(None, Accumulator(), finish=finish)
    followed = []
    state.add_done_callback(lambda outcome, error: followed.append(outcome))
    assert calm == run(scenario, state)
    assert [SCENARIOS[scenario]] == followed
    assert before + 1 == moa.status().faults


def test_the_function_is_let_go_when_the_stream_is_over():
    """It may hold the call, and the call its stream: a cycle that only the collector would end."""
    state = StreamState(None, Accumulator(), finish=lambda end: None)
    assert state.finish is not None
    state.end("completed")
    assert state.finish is None


# What a value is. ---------------------------------------------------------------------------------


class Response:
    """A response that can be closed by `with`, and has its text already."""

    def __init__(self):
        self.choices = [SimpleNamespace(index=0, message=SimpleNamespace(content="text"), finish_reason="stop")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


class AwaitedManager:
    """Awaited or entered, as the requests of aiohttp are."""

    def __await__(self):
        yield

    async def __aenter__(self):
        return None

    async def __aexit__(self, *_):
        return None


class FutureManager(concurrent.futures.Future):
    """A future that can be entered too."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@types.coroutine
def awaited_generator():
    yield


async def coroutine():
    return None


def raw_response(*, is_closed):
    response = httpx.Response(200, content=b"{}", request=httpx.Request("GET", "http://x"))
    response.is_closed = is_closed
    return APIResponse(raw=response, cast_to=dict, client=None, stream=False, stream_cls=None, options=None)


async def values():
    """Yield an object of each sort with what it is."""
    one = coroutine()
    yield one, "awaitable"
    one.close()
    one = coroutine()
    yield wrapt.ObjectProxy(one), "awaitable"
    one.close()
    future = asyncio.get_running_loop().create_future()
    yield future, "future"
    yield concurrent.futures.Future(), "future"
    yield FutureManager(), "manager"
    yield awaited_generator(), "awaitable"
    yield AwaitedManager(), "awaitable"
    yield _generator(), "stream"
    yield AsyncSource(), "stream"
    yield Source(), "stream"
    yield Source().__iter__(), "stream"
    yield AsyncSource().__aiter__(), "stream"
    yield wrapt.ObjectProxy(Source()), "stream"
    yield wrapt.ObjectProxy(wrapt.ObjectProxy(Source())), "stream"
    yield stream_proxy(Source(), StreamState(None, Accumulator())), "stream"
    yield suppress(), "manager"
    yield wrapt.ObjectProxy(suppress()), "manager"
    yield Response(), "value"
    yield wrapt.ObjectProxy(Response()), "value"
    yield raw_response(is_closed=False), "raw"
    yield raw_response(is_closed=True), "value"
    yield wrapt.ObjectProxy(raw_response(is_closed=False)), "value"
    yield MagicMock(), "value"
    yield MagicMock(spec=APIResponse), "value"
    yield AsyncMock(), "value"
    for value in (None, "text", b"", 1, [], {}, SimpleNamespace(), object, wrapt.ObjectProxy([])):
        yield value, "value"


def by_questions(value):
    """Return what a value is by one question after the other."""
    questions = {
        "awaitable": is_awaitable,
        "manager": is_manager,
        "future": is_future,
        "raw": is_raw,
        "stream": is_stream,
    }
    return next((kind for kind, question in questions.items() if question(value)), "value")


def test_one_question_has_the_answer_of_six():
    """Asked twice: the second answer may come from what was remembered of the type."""

    async def main():
        async for value, kind in values():
            assert kind == kind_of(value), type(value)
            assert kind == kind_of(value), type(value)
            assert kind == by_questions(value), type(value)
            assert not is_value(value) or kind == "value", type(value)

    asyncio.run(main())
