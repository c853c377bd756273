"""The real `openai` SDK on a mock transport and on the loopback server, and what a consumer saw."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import time
from contextlib import contextmanager

import openai

from moa_middleware.testing import Script, ScriptedServer

# `httpx2` from openai 3 on, `httpx` before.
http = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])

PIECES = ["One ", "two ", "three ", "four ", "five."]
TEXT = "".join(PIECES)
MESSAGES = [{"role": "user", "content": "count"}]


def chunk(text=None, *, finish=None, usage=None, choices=None):
    """Return one SSE payload of a chat stream."""
    delta = {} if text is None else {"content": text}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}] if choices is None else choices,
    }
    if usage is not None:
        body["usage"] = usage
    return body


class _Body:
    """The bytes of a stream in pieces; a piece may be an exception to raise."""

    def __init__(self, parts, on_close, *, pause=0.0):
        self.parts, self.on_close, self.pause = parts, on_close, pause

    def _next(self, part):
        if isinstance(part, BaseException):
            raise part
        return part if isinstance(part, bytes) else f"data: {json.dumps(part)}\n\n".encode()


class SyncBody(_Body, http.SyncByteStream):
    def __iter__(self):
        for part in self.parts:
            if self.pause:
                time.sleep(self.pause)
            yield self._next(part)

    def close(self):
        self.on_close()


class AsyncBody(_Body, http.AsyncByteStream):
    async def __aiter__(self):
        for part in self.parts:
            await asyncio.sleep(self.pause)
            yield self._next(part)

    async def aclose(self):
        self.on_close()


class World:
    """A way to reach a model; `open_connections` counts responses that were not closed."""

    def __init__(self, kind):
        self.kind = kind
        self.bodies = 0
        self.closed = 0
        self.pause = 0.0
        self.parts = [chunk(p) for p in PIECES] + [chunk(finish="stop"), b"data: [DONE]\n\n"]
        self.server = None
        self.script = Script(TEXT, pieces=PIECES)

    @property
    def open_connections(self):
        if self.server is None:
            return self.bodies - self.closed
        return self.server.open_connections

    def break_after(self, count):
        """Cut the connection after so many pieces."""
        error = http.ReadError("connection lost")
        self.parts = [chunk(p) for p in PIECES[:count]] + [error]
        self._script(break_after=count)

    def error_after(self, count):
        """Send the SDK's error event after so many pieces."""
        event = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
        self.parts = [chunk(p) for p in PIECES[:count]] + [event]
        self._script(error_after=count, error={"message": "overloaded", "type": "server_error"})

    def interrupt_after(self, count):
        """Raise KeyboardInterrupt inside the iteration; on the mock transport only."""
        self.parts = [chunk(p) for p in PIECES[:count]] + [KeyboardInterrupt()]

    def slow(self, seconds):
        """Pause before each piece, in seconds."""
        self.pause = seconds
        self._script(piece_delay=seconds)

    def _script(self, **fields):
        if self.server is not None:
            self.script = Script(TEXT, pieces=PIECES, **fields)

    def _respond(self, body, request):
        if json.loads(request.content).get("stream"):
            self.bodies += 1
            headers = {"content-type": "text/event-stream"}

            def on_close():
                self.closed += 1

            stream = body(self.parts, on_close, pause=self.pause)
            return http.Response(200, headers=headers, stream=stream, request=request)
        message = {"role": "assistant", "content": TEXT}
        return http.Response(
            200,
            json={
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            },
            request=request,
        )

    def client(self):
        """Return a sync SDK client."""
        if self.server is not None:
            return openai.OpenAI(base_url=self.server.base_url, api_key="k", max_retries=0)
        transport = http.MockTransport(lambda request: self._respond(SyncBody, request))
        return openai.OpenAI(
            api_key="k", base_url="http://mock/v1", max_retries=0, http_client=http.Client(transport=transport)
        )

    def async_client(self):
        """Return an async SDK client."""
        if self.server is not None:
            return openai.AsyncOpenAI(base_url=self.server.base_url, api_key="k", max_retries=0)

        async def respond(request):
            return self._respond(AsyncBody, request)

        return openai.AsyncOpenAI(
            api_key="k",
            base_url="http://mock/v1",
            max_retries=0,
            http_client=http.AsyncClient(transport=http.MockTransport(respond)),
        )


@contextmanager
def world(kind):
    """Open a world: `mock` or `loopback`."""
    made = World(kind)
    if kind == "mock":
        yield made
        return
    with ScriptedServer({"m": lambda _: made.script}) as server:
        made.server = server
        yield made


class Seen:
    """What a consumer saw of one run: comparable between runs."""

    def __init__(self):
        self.texts = []
        self.returned = []
        self.raised = None
        self.kinds = []

    def take(self, chunk):
        """Note a chunk."""
        self.kinds.append(type(chunk).__name__)
        if chunk.choices:
            self.texts.append(chunk.choices[0].delta.content)

    def note(self, value):
        """Note something that was returned."""
        self.returned.append(value)

    def error(self, error):
        """Note an exception."""
        self.raised = (type(error), str(error))

    def as_tuple(self):
        return self.texts, self.kinds, self.returned, self.raised

    @property
    def pieces(self):
        """How many chunks had text."""
        return sum(bool(text) for text in self.texts)


def settle(made, *, seconds=5.0):
    """Wait until every connection is closed; returns how many are still open."""
    deadline = time.monotonic() + seconds
    while made.open_connections and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    return made.open_connections
