"""A model behind a mock transport, for the worlds of SDKs: it does what is planned and counts its connections."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module

from moa_middleware.testing import conformance


def http_of(sdk):
    """Return the HTTP library that an SDK's clients take: `httpx2` or `httpx`."""
    names = [name for name in ("httpx2", "httpx") if f"import {name}" in _source(sdk)]
    return import_module(names[0])


def _source(sdk):
    with open(import_module(f"{sdk}._base_client").__file__, encoding="utf-8") as file:
        return file.read()


class Wire(conformance.ClientHarness):
    """
    The wire: derive from it, and say what the bytes are.

    `whole` and the three parts of a stream are the provider's JSON; `frame` makes an event of it.
    """

    http = None
    """`httpx` or `httpx2`."""

    def __init__(self):
        super().__init__()
        self.opened = 0
        self.closed = 0

    # What a provider says. ------------------------------------------------------------------------

    def whole(self, plan):
        raise NotImplementedError

    def head(self, plan):
        return []

    def piece(self, plan, text):
        raise NotImplementedError

    def tail(self, plan):
        return []

    def error_event(self):
        return {"error": {"message": "overloaded", "type": "server_error"}}

    def refused_body(self):
        return {"error": {"message": "queue full", "type": "rate_limit"}}

    def frame(self, event):
        return f"data: {json.dumps(event)}\n\n".encode()

    last = b"data: [DONE]\n\n"

    # The transport. -------------------------------------------------------------------------------

    @property
    def open_connections(self):
        return self.opened - self.closed

    def steps(self, plan, *, stream):
        """Yield bytes, an exception to raise, or `hang`."""
        count = len(plan.pieces) if plan.stop is None else plan.after
        if stream and not plan.whole and (plan.stop is None or count):
            yield from map(self.frame, self.head(plan))
            yield from (self.frame(self.piece(plan, text)) for text in plan.pieces[:count])
        match plan.stop:
            case None if plan.whole or not stream:
                yield json.dumps(self.whole(plan)).encode()
            case None:
                yield from map(self.frame, self.tail(plan))
                yield self.last
            case "cut":
                yield self.http.ReadError("connection lost")
            case "error":
                yield self.frame(self.error_event())
            case "interrupt":
                yield KeyboardInterrupt()
            case "hang":
                yield "hang"

    def respond(self, request, make_body):
        body = json.loads(request.content)
        plan = self.plan_for(body)
        if plan.stop == "refused":
            return self.http.Response(429, json=self.refused_body(), request=request)
        self.opened += 1
        stream = bool(body.get("stream"))
        kind = "text/event-stream" if stream and not plan.whole else "application/json"
        headers = {"content-type": kind, "x-request-id": "r-1"}
        return self.http.Response(
            200, headers=headers, stream=make_body(self.steps(plan, stream=stream)), request=request
        )

    def done(self):
        self.closed += 1

    def transport(self):
        world, http = self, self.http

        class Body(http.SyncByteStream):
            def __init__(self, steps):
                self.steps = steps

            def __iter__(self):
                for step in self.steps:
                    if isinstance(step, BaseException):
                        raise step
                    yield step

            def close(self):
                world.done()

        return http.MockTransport(lambda request: self.respond(request, Body))

    def async_transport(self):
        world, http = self, self.http

        class Body(http.AsyncByteStream):
            def __init__(self, steps):
                self.steps = steps

            async def __aiter__(self):
                for step in self.steps:
                    await asyncio.sleep(0)
                    if step == "hang":
                        await world.hang()
                    if isinstance(step, BaseException):
                        raise step
                    yield step

            async def aclose(self):
                world.done()

        async def respond(request):
            return self.respond(request, Body)

        return http.MockTransport(respond)

    def http_client(self):
        return self.http.Client(transport=self.transport(), trust_env=False)

    def async_http_client(self):
        return self.http.AsyncClient(transport=self.async_transport(), trust_env=False)
