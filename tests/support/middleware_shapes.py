"""
One test body for every kind of call: values and streams, sync and async, plain and of the real SDK.

A `Shape` makes a `Model` from what each request is to do; `Model.ask` asks it once, in the world
that the shape belongs to, and reads the answer to its end.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer


class ModelError(Exception):
    """What a plain function raises for its provider."""


@dataclass(frozen=True)
class Fails:
    """A request that fails before anything of its answer came, or in a stream after some pieces."""

    after: str = ""


def pieces_of(text):
    """Return the pieces in which a text is streamed: its words, each with the space before it."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


@dataclass
class Answer:
    """What the caller got: the value itself, what was read from it, and the error that ended it."""

    value: Any = None
    chunks: list = field(default_factory=list)
    text: str = ""
    error: BaseException | None = None


class Stop(Exception):
    """Raised by a test's own `look` to stop reading."""


class Plain:
    """Decorated functions of one's own."""

    sdk = False
    Error = ModelError

    def __init__(self, name, *, is_async, streams, managed=False):
        self.name = name
        self.is_async = is_async
        self.streams = streams
        self.managed = managed

    def model(self, *steps, stack=None, middleware=(), observers=()):
        """Return a model that does one step a request, the last one for ever."""
        stack = stack or moa.Stack(middleware, observers=observers)
        return PlainModel(self, steps, stack)

    def text_of(self, chunk):
        return chunk

    def call_in(self, turn):
        """Return the record of the call, as the turn's line names it."""
        return turn["references"][0]


class Model:
    """What the shapes' models have in common."""

    def __init__(self, shape, steps, stack):
        self.shape = shape
        self.steps = steps
        self.stack = stack
        self.received = []
        """The text of each request that reached the model."""
        self.arguments = []
        """All arguments of each request."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def ask(self, text="hello", *, look=None, **params):
        """Ask once and read to the end; what the call raises is raised."""
        answer = self.try_(text, look=look, **params)
        if answer.error is not None:
            raise answer.error
        return answer

    def try_(self, text="hello", *, look=None, **params):
        """Ask once and read to the end; `look` sees the value first."""
        answer = Answer()
        if self.shape.is_async:
            asyncio.run(self._ask_async(answer, text, look, params))
        else:
            self._ask(answer, text, look, params)
        return answer

    def _ask(self, answer, text, look, params):
        try:
            answer.value = value = self.call(text, params)
            if look is not None:
                look(value)
            if not self.shape.streams:
                answer.text = self.read(value)
                return
            if self.shape.managed:
                with value as stream:
                    self._read_all(answer, stream)
            else:
                self._read_all(answer, value)
        except BaseException as error:
            answer.error = error

    def _read_all(self, answer, stream):
        for chunk in stream:
            answer.chunks.append(chunk)
            answer.text += self.shape.text_of(chunk)

    async def _ask_async(self, answer, text, look, params):
        try:
            value = self.call(text, params)
            if hasattr(value, "__await__"):
                value = await value
            answer.value = value
            if look is not None:
                look(value)
            if not self.shape.streams:
                answer.text = self.read(value)
                return
            if self.shape.managed:
                async with value as stream:
                    await self._read_all_async(answer, stream)
            else:
                await self._read_all_async(answer, value)
        except BaseException as error:
            answer.error = error
        finally:
            await self.hang_up()

    async def _read_all_async(self, answer, stream):
        async for chunk in stream:
            answer.chunks.append(chunk)
            answer.text += self.shape.text_of(chunk)

    async def hang_up(self):
        """Close what belongs to the event loop."""


class PlainModel(Model):
    """A decorated function that does the steps."""

    def __init__(self, shape, steps, stack):
        super().__init__(shape, steps, stack)
        self.fn = stack.reference(_FUNCTIONS[shape.name](self._next))

    def _next(self, messages, kwargs):
        """Return the pieces and the error of the next request."""
        self.received.append(messages[-1]["content"])
        self.arguments.append({"messages": messages, **kwargs})
        step = self.steps[min(len(self.received), len(self.steps)) - 1]
        if isinstance(step, Fails):
            return pieces_of(step.after) if step.after else [], ModelError("scripted")
        return pieces_of(step), None

    def call(self, text, params):
        return self.fn(messages=[{"role": "user", "content": text}], **params)

    def read(self, value):
        return value


def _value(step):
    def value(messages, **kwargs):
        pieces, error = step(messages, kwargs)
        if error is not None:
            raise error
        return "".join(pieces)

    return value


def _async_value(step):
    async def async_value(messages, **kwargs):
        await asyncio.sleep(0)
        pieces, error = step(messages, kwargs)
        if error is not None:
            raise error
        return "".join(pieces)

    return async_value


class Pieces:
    """An iterator that is no generator."""

    def __init__(self, step, messages, kwargs):
        self.source = _generator(step)(messages, **kwargs)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.source)


class AsyncPieces:
    """An async iterator that is no generator."""

    def __init__(self, step, messages, kwargs):
        self.source = _async_generator(step)(messages, **kwargs)

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await anext(self.source)


def _iterator(step):
    def iterator(messages, *, stream=True, **kwargs):
        return Pieces(step, messages, kwargs)

    return iterator


def _async_iterator(step):
    async def async_iterator(messages, *, stream=True, **kwargs):
        await asyncio.sleep(0)
        return AsyncPieces(step, messages, kwargs)

    return async_iterator


def _generator(step):
    def generator(messages, **kwargs):
        pieces, error = step(messages, kwargs)
        yield from pieces
        if error is not None:
            raise error

    return generator


def _async_generator(step):
    async def async_generator(messages, **kwargs):
        pieces, error = step(messages, kwargs)
        for piece in pieces:
            await asyncio.sleep(0)
            yield piece
        if error is not None:
            raise error

    return async_generator


def _manager(step):
    @contextmanager
    def opened(messages, kwargs):
        yield Pieces(step, messages, kwargs)

    def manager(messages, *, stream=True, **kwargs):
        return opened(messages, kwargs)

    return manager


def _async_manager(step):
    @asynccontextmanager
    async def opened(messages, kwargs):
        yield AsyncPieces(step, messages, kwargs)

    def async_manager(messages, *, stream=True, **kwargs):
        return opened(messages, kwargs)

    return async_manager


_FUNCTIONS = {
    "value": _value,
    "async value": _async_value,
    "iterator": _iterator,
    "async iterator": _async_iterator,
    "generator": _generator,
    "async generator": _async_generator,
    "manager": _manager,
    "async manager": _async_manager,
}


class Sdk:
    """`chat.completions.create` of the real `openai` SDK, against a server on loopback."""

    sdk = True
    managed = False
    Error = (openai.APIError, httpx2.TransportError)

    def __init__(self, name, *, is_async, streams):
        self.name = name
        self.is_async = is_async
        self.streams = streams

    def model(self, *steps, stack=None, middleware=(), observers=()):
        """Return a model that does one step a request, the last one for ever."""
        stack = stack or moa.Stack(middleware, observers=observers)
        return SdkModel(self, steps, stack)

    def text_of(self, chunk):
        return (chunk.choices[0].delta.content or "") if chunk.choices else ""

    def call_in(self, turn):
        """Return the record of the call, as the turn's line names it."""
        return turn["aggregator"]


class SdkModel(Model):
    """A scripted server and an instrumented client."""

    def __init__(self, shape, steps, stack):
        super().__init__(shape, steps, stack)
        self.server = ScriptedServer({}, default=[self._script(step) for step in steps])
        self.client = None

    def _script(self, step):
        if not isinstance(step, Fails):
            return Script(pieces=pieces_of(step), usage_always=True)
        if self.shape.streams:
            return Script(
                pieces=pieces_of(step.after or "x"), error_after=len(pieces_of(step.after)) if step.after else 0
            )
        return Script(status=500)

    @property
    def received(self):
        return [body["messages"][-1]["content"] for body in self.arguments]

    @received.setter
    def received(self, value):
        pass

    @property
    def arguments(self):
        return [request.body for request in self.server.received]

    @arguments.setter
    def arguments(self, value):
        pass

    def __enter__(self):
        self.server.start()
        if not self.shape.is_async:
            self.client = self._client(openai.OpenAI)
        return self

    def __exit__(self, *_):
        if self.client is not None:
            self.client.close()
        self.stack.uninstrument()
        self.server.stop()

    def _client(self, kind):
        http = openai.DefaultHttpxClient if kind is openai.OpenAI else openai.DefaultAsyncHttpxClient
        client = kind(base_url=self.server.base_url, api_key="not a key", max_retries=0, http_client=http(verify=False))
        return self.stack.instrument(client)

    def call(self, text, params):
        if self.shape.is_async:
            self.client = self._client(openai.AsyncOpenAI)
        given = {"model": "m", "messages": [{"role": "user", "content": text}], **params}
        if self.shape.streams:
            given["stream"] = True
        return self.client.chat.completions.create(**given)

    async def hang_up(self):
        client, self.client = self.client, None
        if client is not None:
            await client.close()

    def read(self, value):
        return value.choices[0].message.content


VALUES = [
    Plain("value", is_async=False, streams=False),
    Plain("async value", is_async=True, streams=False),
    Sdk("openai value", is_async=False, streams=False),
    Sdk("async openai value", is_async=True, streams=False),
]
MANAGERS = [
    Plain("manager", is_async=False, streams=True, managed=True),
    Plain("async manager", is_async=True, streams=True, managed=True),
]
STREAMS = [
    Plain("iterator", is_async=False, streams=True),
    Plain("async iterator", is_async=True, streams=True),
    Plain("generator", is_async=False, streams=True),
    Plain("async generator", is_async=True, streams=True),
    Sdk("openai stream", is_async=False, streams=True),
    Sdk("async openai stream", is_async=True, streams=True),
]
SHAPES = VALUES + STREAMS + MANAGERS


def calls_in(turn):
    """Return the records of all calls of a turn, in the order in which they were made."""
    found = [*turn["references"], *turn["calls"]]
    if turn["aggregator"] is not None:
        found.append(turn["aggregator"])
    return sorted(found, key=lambda call: call["index"])
