"""
Wire forms through the real SDKs: a mock transport that sends a form's bytes in odd pieces, and every way to read them.

A way returns what the caller saw: class and `repr` of each object, the lines, or the exception.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from itertools import cycle
from types import SimpleNamespace
from typing import Any, NamedTuple

from tests.support import event_stream
from tests.support.wire_truth import payloads

_SIZES = (1, 7, 64, 3, 200, 19, 1000)
"""Bytes of the pieces in which a body comes."""


def _pieces(data):
    start, sizes = 0, cycle(_SIZES)
    while start < len(data):
        size = next(sizes)
        yield data[start : start + size]
        start += size


_CLIENTS = {
    "openai": ("openai", "OpenAI"),
    "azure": ("openai", "AzureOpenAI"),
    "anthropic": ("anthropic", "Anthropic"),
    "bedrock": ("anthropic", "AnthropicBedrock"),
    "together": ("together", "Together"),
    "groq": ("groq", "Groq"),
}
"""By the name in a form: package and class of the client."""


class Wire:
    """A client of an SDK whose requests are all answered by the form at hand."""

    def __init__(self, sdk, *, is_async):
        self.form: Any = None
        self.frames = sdk == "bedrock"
        """True if the events of a stream come as Amazon's binary ones."""
        package, name = _CLIENTS[sdk]
        module = importlib.import_module(package)
        # openai and anthropic come with httpx2 from some version on, the others with httpx.
        kind = getattr(module, "DefaultHttpxClient").__mro__[1]
        self.http: Any = importlib.import_module(kind.__module__.partition(".")[0])
        transport = self.http.MockTransport(self._answer_async if is_async else self._answer)
        client = (self.http.AsyncClient if is_async else self.http.Client)(transport=transport, trust_env=False)
        made = getattr(module, f"Async{name}" if is_async else name)
        where = {"base_url": "http://mock/v1"}
        if sdk == "azure":
            where = {"azure_endpoint": "http://mock", "api_version": "2025-04-01-preview"}
        elif sdk == "bedrock":
            where["aws_region"] = "eu-west-1"
        self.client = made(**where, api_key="key-of-the-test", max_retries=0, http_client=client)

    def _response(self, request, base):
        data = self.form.body
        kind = "text/event-stream" if self.form.streamed else "application/json"
        if self.frames and self.form.streamed:
            data = b"".join(event_stream.chunk(body) for body in payloads(data, streamed=True))
            kind = "application/vnd.amazon.eventstream"

        class Body(base):
            def __iter__(self):
                return _pieces(data)

            async def __aiter__(self):
                for piece in _pieces(data):
                    yield piece

        return self.http.Response(self.form.status, headers={"content-type": kind}, stream=Body(), request=request)

    def _answer(self, request):
        return self._response(request, self.http.SyncByteStream)

    async def _answer_async(self, request):
        return self._response(request, self.http.AsyncByteStream)


_MADE: dict[tuple[Any, ...], Wire] = {}


def wire(sdk, *, is_async, role):
    """Return the one client of an SDK for a role, `bare` or `traced`: to make one takes longer than to replay a form."""
    key = (sdk, is_async, role)
    if key not in _MADE:
        _MADE[key] = Wire(sdk, is_async=is_async)
    return _MADE[key]


_MESSAGES = [{"role": "user", "content": "What is it?"}]
_ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat.completions", {"model": "m", "messages": _MESSAGES}),
    "text": ("completions", {"model": "m", "prompt": "What is it?"}),
    "responses": ("responses", {"model": "m", "input": "What is it?"}),
    "messages": ("messages", {"model": "m", "messages": _MESSAGES, "max_tokens": 50}),
}


def _resource(client, form):
    path, arguments = _ASKED[form.api]
    for name in path.split("."):
        client = getattr(client, name)
    return client, {**arguments, **({"stream": True} if form.streamed else {})}


class Way(NamedTuple):
    """One way to read a reply."""

    name: str
    run: Any
    is_async: bool
    streamed: bool
    apis: tuple[str, ...]
    left_early: bool
    sdks: tuple[str, ...]


WAYS: list[Way] = []
_MANAGED = ("chat", "responses", "messages")


def way(*, streamed, apis=("chat", "text", "responses", "messages"), left_early=False, sdks=()):
    def add(fn):
        WAYS.append(Way(fn.__name__, fn, inspect.iscoroutinefunction(fn), streamed, apis, left_early, sdks))
        return fn

    return add


def ways_of(form, sdk):
    """Return the ways in which a form can be read with an SDK."""
    return [
        one
        for one in WAYS
        if one.streamed == form.streamed and form.api in one.apis and (not one.sdks or sdk in one.sdks)
    ]


def shown(obj):
    """Return an object as it can be compared."""
    return type(obj).__qualname__, repr(obj)


# In one piece. -------------------------------------------------------------------------------------


@way(streamed=False)
def value(resource, asked, seen):
    seen(resource.create(**asked))


@way(streamed=False)
def raw_value(resource, asked, seen):
    seen(resource.with_raw_response.create(**asked).parse())


@way(streamed=False)
def open_value(resource, asked, seen):
    with resource.with_streaming_response.create(**asked) as response:
        seen(response.parse())


@way(streamed=False)
def open_json(resource, asked, seen):
    with resource.with_streaming_response.create(**asked) as response:
        seen(response.json())


@way(streamed=False)
async def async_value(resource, asked, seen):
    seen(await resource.create(**asked))


@way(streamed=False)
async def async_open_value(resource, asked, seen):
    async with resource.with_streaming_response.create(**asked) as response:
        seen(await response.parse())


# In events. ----------------------------------------------------------------------------------------


@way(streamed=True)
def for_loop(resource, asked, seen):
    for chunk in resource.create(**asked):
        seen(chunk)


@way(streamed=True)
def by_next(resource, asked, seen):
    stream = resource.create(**asked)
    while (chunk := next(stream, None)) is not None:
        seen(chunk)


@way(streamed=True)
def raw_stream(resource, asked, seen):
    for chunk in resource.with_raw_response.create(**asked).parse():
        seen(chunk)


@way(streamed=True)
def open_stream(resource, asked, seen):
    with resource.with_streaming_response.create(**asked) as response:
        for chunk in response.parse():
            seen(chunk)


@way(streamed=True)
def lines(resource, asked, seen):
    with resource.with_streaming_response.create(**asked) as response:
        for line in response.iter_lines():
            seen(line)


@way(streamed=True)
async def async_for(resource, asked, seen):
    async for chunk in await resource.create(**asked):
        seen(chunk)


@way(streamed=True)
async def async_lines(resource, asked, seen):
    async with resource.with_streaming_response.create(**asked) as response:
        async for line in response.iter_lines():
            seen(line)


@way(streamed=True, apis=_MANAGED, sdks=("openai", "anthropic"))
def manager(resource, asked, seen):
    with resource.stream(**{name: value for name, value in asked.items() if name != "stream"}) as stream:
        for event in stream:
            seen(event)


@way(streamed=True, apis=_MANAGED, sdks=("openai", "anthropic"))
async def async_manager(resource, asked, seen):
    async with resource.stream(**{name: value for name, value in asked.items() if name != "stream"}) as stream:
        async for event in stream:
            seen(event)


@way(streamed=True, left_early=True)
def left(resource, asked, seen, count):
    with resource.create(**asked) as stream:
        for chunk in stream:
            seen(chunk)
            if len(seen.found) == count:
                break


@way(streamed=True, left_early=True)
async def async_left(resource, asked, seen, count):
    async with await resource.create(**asked) as stream:
        async for chunk in stream:
            seen(chunk)
            if len(seen.found) == count:
                break


def as_namespace(value):
    """Return JSON as objects whose attributes are its keys."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_namespace(item) for name, item in value.items()})
    return [*map(as_namespace, value)] if isinstance(value, list) else value


def half(form):
    """Return after how many events a stream is left, and how many payloads these are: pings do not reach the caller."""
    found = payloads(form.body, streamed=True)
    shown_ones = [number for number, body in enumerate(found, 1) if body.get("type") != "ping"]
    count = max(len(shown_ones) // 2, 1)
    return count, shown_ones[count - 1]


class Seen:
    """What a caller saw."""

    def __init__(self):
        self.found = []
        self.failed = False

    def __call__(self, obj):
        self.found.append(shown(obj))


def replay(form, how, made):
    """Read a form in one way; return what the caller saw."""
    made.form = form
    resource, asked = _resource(made.client, form)
    seen = Seen()
    more = (half(form)[0],) if how.left_early else ()
    try:
        if how.is_async:
            asyncio.run(how.run(resource, asked, seen, *more))
        else:
            how.run(resource, asked, seen, *more)
    except Exception as error:
        seen.found.append((type(error).__qualname__, str(error)))
        seen.failed = True
    return seen
