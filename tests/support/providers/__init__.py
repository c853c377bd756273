"""
SDKs of providers with forms of their own: how a user asks them, the bytes that they get, and what these say.

Each module has `PROVIDER`. What the bytes say is found out by code that shares nothing with the library or the SDK.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any, NamedTuple

TEXT = "One two."
PIECES = ["One ", "two."]
REASONING = "Hm."
CALLS = [("weather", {"city": "Paris"}), ("weather", {"city": "Rome"})]
"""Two calls of one function: nothing but their order, or their ids, keeps them apart."""
SYSTEM, ASKED = "be brief", "count"
INPUT, OUTPUT, CACHED = 11, 5, 4


class Form(NamedTuple):
    """One way to ask."""

    name: str
    ask: Any
    """A function of a client that returns what the SDK returns: a value, a stream, or an awaitable of one."""
    is_async: bool
    streamed: bool
    text_of: Any
    """A function of a value, or of one chunk, that returns its text."""
    chunks_of: Any = None
    """A function of what was returned that returns the stream in it."""
    read: Any = None
    """A function that reads a value as a user does; for a body of bytes."""
    params: Any = None
    """Parameters that the record has to hold."""

    def __str__(self):
        return self.name


class Provider(NamedTuple):
    """One SDK, on a wire of ours."""

    sdk: str
    """What a program imports."""
    entry: str
    """The name by which `moa.instrument("…")` knows it."""
    provider: str
    """The name in the record."""
    forms: tuple
    connect: Any
    """A function of an answer (see `loopback.Answer`) and `is_async` that returns a context manager of a client."""
    answer: Any
    """A function of a path and the JSON of a request that returns the whole answer to it."""
    truth: Any
    """A function of the path, the request and the bytes that returns what the record has to say."""
    refuses: Any
    """A function of the path and the request that returns an answer that is an error."""
    failure: tuple = ()
    """What the bytes of a stream that fails end with, where a lost connection is nothing to the SDK."""


def is_installed(sdk):
    """Return True if an SDK can be imported; `google.genai` is in a namespace that may not be there."""
    try:
        return find_spec(sdk) is not None
    except ImportError:
        return False


def tool_calls_of(call):
    """Return the tool calls of a record as names and arguments."""
    return [(one["function"]["name"], json.loads(one["function"]["arguments"])) for one in call["tool_calls"]]


async def awaited(value):
    """Return a value, awaited if it has to be."""
    return await value if hasattr(value, "__await__") else value


def taken(form, client, most=None):
    """Ask in sync code, and return the objects that the caller got and their text."""
    value = form.ask(client)
    if not form.streamed:
        value = value if form.read is None else form.read(value)
        return [value], form.text_of(value)
    objects = []
    for chunk in form.chunks_of(value) if form.chunks_of else value:
        objects.append(chunk)
        if len(objects) == most:
            break
    return objects, "".join(map(form.text_of, objects))


async def taken_async(form, client, most=None):
    """Do the same as `taken` in async code."""
    value = await awaited(form.ask(client))
    if not form.streamed:
        value = value if form.read is None else await awaited(form.read(value))
        return [value], form.text_of(value)
    objects = []
    async for chunk in form.chunks_of(value) if form.chunks_of else value:
        objects.append(chunk)
        if len(objects) == most:
            break
    return objects, "".join(map(form.text_of, objects))
