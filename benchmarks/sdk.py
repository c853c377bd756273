"""The real `openai` SDK over a transport whose bodies are ready: what a user's process spends, and our share."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI, OpenAI

import moa_middleware as moa

from . import ready
from .chunks import added_by_chunk
from .contenders import BARE, HAND, ON, Contender
from .measure import Cost, cost_of, cpu, differences, interleave, ratios, spread
from .ready import httpx
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["rows"]

COUNTS = (20, 520)
REQUEST: dict[str, Any] = {"model": "m", "messages": ready.messages(1000)}


def answer(bodies: dict[str, bytes], request: Any) -> Any:
    """Answer with the events of a stream, as many as the model's name says, or with a whole reply."""
    asked = json.loads(request.content)
    kind = "text/event-stream" if asked.get("stream") else "application/json"
    return httpx.Response(200, headers={"content-type": kind}, content=bodies[asked["model"]])


def bodies() -> dict[str, bytes]:
    """Return the bodies by the model that sends them."""
    made = {str(count): ready.events(count) for count in COUNTS}
    return {**made, "m": ready.reply("An answer of some length. " * 40).to_json().encode()}


class Clients:
    """The SDK's client of each contender, on the same bodies."""

    def __init__(self, plan: Plan, names: tuple[str, ...]) -> None:
        self.parts = {name: Contender(name, plan.directory) for name in names}
        them = bodies()

        async def answer_async(request: Any) -> Any:
            return answer(them, request)

        transport = {
            OpenAI: lambda: httpx.Client(transport=httpx.MockTransport(partial(answer, them))),
            AsyncOpenAI: lambda: httpx.AsyncClient(transport=httpx.MockTransport(answer_async)),
        }
        self.all: dict[tuple[str, Any], Any] = {}
        for name in names:
            for kind, make in transport.items():
                client: Any = kind(api_key="k", base_url="http://localhost/v1", http_client=make())
                self.all[name, kind] = moa.instrument(client) if name == ON else client

    def stream(self, name: str, count: int) -> Cost:
        """Return what one stream takes."""
        part = self.parts[name]
        request = {**REQUEST, "model": str(count), "stream": True}
        part.ready()

        def run() -> None:
            source = self.all[name, OpenAI].chat.completions.create(**request)
            for _ in source if part.capture is None else part.capture.stream(request, source):
                pass

        cost = cost_of(run)
        part.check(ready.text_of(count))
        return cost

    def stream_async(self, loop: asyncio.Runner, name: str, count: int) -> Cost:
        """Return what one async stream takes."""
        part = self.parts[name]
        request = {**REQUEST, "model": str(count), "stream": True}
        part.ready()

        async def run() -> None:
            source = await self.all[name, AsyncOpenAI].chat.completions.create(**request)
            async for _ in source if part.capture is None else part.capture.astream(request, source):
                pass

        cost = cost_of(lambda: loop.run(run()))
        part.check(ready.text_of(count))
        return cost

    def call(self, name: str) -> Cost:
        """Return what one call takes that is answered in one piece."""
        part = self.parts[name]
        part.ready()

        def run() -> None:
            for _ in range(10):
                reply = self.all[name, OpenAI].chat.completions.create(**REQUEST)
                if part.capture is not None:
                    part.capture.reply(REQUEST, reply)

        cost = cost_of(run).per(10)
        part.check("An answer of some length. " * 40)
        return cost


def slope(run: Any, name: str) -> Cost:
    short, long = COUNTS
    return run(name, long).less(run(name, short)).per(long - short)


def rows(plan: Plan) -> Iterator[Row]:
    """Yield our share of what the SDK takes."""
    names = (BARE, HAND, ON)
    clients = Clients(plan, names)
    loop = asyncio.Runner()
    samples: Any = {name: partial(slope, clients.stream, name) for name in names}
    samples["added"] = added_by_chunk(plan)
    found = interleave(samples, plan.pairs)
    seen = {name: found[name] for name in names}
    share = spread(100 * one / two for one, two in zip(cpu(found["added"]), cpu(found[BARE]), strict=True))
    note = plan.beside(seen)
    yield Row("sdk", "a chunk of the SDK: share that a ready-made chunk's cost is of it", share, "%", 0.5, note)
    yield Row("sdk", "a chunk of the SDK, on: to bare", ratios(cpu(found[ON]), cpu(found[BARE])), "×")
    found = interleave({name: partial(slope, partial(clients.stream_async, loop), name) for name in names}, plan.pairs)
    told = plan.beside(found)
    yield Row("sdk", "a chunk of the async SDK, on: to bare", ratios(cpu(found[ON]), cpu(found[BARE])), "×", None, told)
    found = interleave({name: partial(clients.call, name) for name in names}, plan.pairs)
    added = differences([one / 1000 for one in cpu(found[ON])], [one / 1000 for one in cpu(found[BARE])])
    yield Row("sdk", "a call of the SDK, not streamed: added", added, "µs", None, plan.beside(found))
    loop.close()
