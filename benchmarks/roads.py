"""
The roads of a call, a turn and a stream, from the caller to the line, against the thinnest capture by hand.

Prompts of 20 words, of 8 kB and of 60 kB; references in sequence and in a pool; the SDK's own kind of
stream; one call of the real SDK on a transport whose reply is ready; 2,000 turns of one event loop.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import moa_middleware as moa

from . import ready
from .calls import many, whole_calls
from .contenders import BARE, DIGEST, HAND, HMAC, ON, Contender, contenders
from .frames import Real
from .measure import Cost, cost_of, cpu, differences, interleave, ratios
from .mixture import DRAFTS, MODELS, Now, client_of, consume
from .table import Row
from .turn import CHUNKS, mixture_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .plan import Plan

__all__ = ["rows"]

PART = "roads"
NAMES = (BARE, HAND, ON)
SIZES = ((120, "20 words"), (8000, "8 kB"), (60_000, "60 kB"))
LONG = 2000
TURNS = 2000
TEXT = "An answer of some length. " * 40


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what each road takes, as a multiple of the capture by hand."""
    for size, what in SIZES:
        limited = size == 8000
        yield _row(f"call, prompt of {what}", whole_calls(plan, size, NAMES, 100), 2.0 if limited else None, plan)
        found = _turns(plan, size, Now(), names=(*NAMES, DIGEST, HMAC))
        yield _row(f"turn in sequence, {what}", found, 1.4 if limited else None, plan)
        for name in (DIGEST, HMAC):
            yield _row(f"turn in sequence, {what}, {name.rpartition(' ')[2]}", found, None, plan, ours=name)
            measured = ratios(cpu(found[name]), cpu(found[ON]))
            yield Row(PART, f"turn in sequence, {what}: {name.rpartition(' ')[2]} to none", measured, "×")
        with ThreadPoolExecutor(len(MODELS)) as pool:
            yield _row(f"turn in a pool, {what}", _turns(plan, size, pool), 1.55 if limited else None, plan)
        yield _row(f"stream of {LONG:,} chunks, {what}", _streams(plan, size), 1.5 if limited else None, plan)
    yield _row("call of the real SDK, 8 kB", _real_calls(plan), None, plan)
    yield _together(plan)


def _row(what: str, found: dict[str, list[Cost]], limit: float | None, plan: Plan, *, ours: str = ON) -> Row:
    measured = ratios(cpu(found[ours]), cpu(found[HAND]))
    return Row(PART, f"{what}: to by hand, text only", measured, "×", limit, plan.beside(found))


def _turns(
    plan: Plan, size: int, pool: Any, *, count: int = 10, names: tuple[str, ...] = NAMES
) -> dict[str, list[Cost]]:
    parts = {name: Contender(name, plan.directory) for name in names}
    chunks, text = ready.openai_chunks(CHUNKS), ready.text_of(CHUNKS)
    messages = ready.messages(size)
    clients = {name: mixture_of(part)(client_of(chunks, DRAFTS), pool) for name, part in parts.items()}

    def sample(name: str) -> Cost:
        parts[name].ready()
        cost = cost_of(partial(consume, clients[name], messages, count)).per(count)
        parts[name].check(text, list(DRAFTS.values()))
        return cost

    return interleave({name: partial(sample, name) for name in names}, plan.pairs)


def _streams(plan: Plan, size: int, *, count: int = 4) -> dict[str, list[Cost]]:
    chunks, text = ready.openai_chunks(LONG), ready.text_of(LONG)
    parts = contenders(plan.directory, *NAMES)
    creates = {name: part.creates(partial(ready.ready_stream, chunks)) for name, part in parts.items()}
    request: dict[str, Any] = {"model": "m", "messages": ready.messages(size), "stream": True}

    def run(create: Callable[..., Any]) -> None:
        for _ in range(count):
            for _ in create(**request):
                pass

    def sample(name: str) -> Cost:
        parts[name].ready()
        cost = cost_of(partial(run, creates[name])).per(count)
        parts[name].check(text)
        return cost

    return interleave({name: partial(sample, name) for name in NAMES}, plan.pairs)


def _real_calls(plan: Plan, *, count: int = 10) -> dict[str, list[Cost]]:
    parts = contenders(plan.directory, *NAMES)
    creates = {}
    for name, part in parts.items():
        client = Real().client
        if part.stack is not None:
            part.stack.instrument(client)
        create = client.chat.completions.create
        capture = part.capture

        def ask(create: Any = create, capture: Any = capture, **request: Any) -> Any:
            reply = create(**request)
            return reply if capture is None else capture.reply(request, reply)

        creates[name] = ask
    request: dict[str, Any] = {"model": "m", "messages": ready.messages(8000)}

    def sample(name: str) -> Cost:
        parts[name].ready()
        return cost_of(partial(many, creates[name], request, count)).per(count)

    return interleave({name: partial(sample, name) for name in NAMES}, plan.pairs)


def _together(plan: Plan) -> Row:
    """Return what tracing adds to each of many turns that end together in one event loop."""
    parts = contenders(plan.directory, *NAMES)
    reply = ready.reply(TEXT)
    turns = TURNS // 10 if plan.quick else TURNS
    creates = {name: part.creates_async(lambda: reply) for name, part in parts.items()}
    request: dict[str, Any] = {"model": "m", "messages": ready.messages(1000)}

    async def turn(name: str, gate: asyncio.Event) -> None:
        part = parts[name]
        if part.capture is not None:
            part.capture.keep({**request, **part.capture.read(await _bare(reply, gate))})
            return

        async def answer() -> Any:
            await gate.wait()
            return await creates[name](**request)

        await (moa.turn(answer) if part.on else answer)()

    async def all_turns(name: str) -> None:
        gate = asyncio.Event()
        tasks = [asyncio.ensure_future(turn(name, gate)) for _ in range(turns)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)

    def sample(name: str) -> Cost:
        parts[name].ready()
        return cost_of(lambda: asyncio.run(all_turns(name))).per(turns)

    found = interleave({name: partial(sample, name) for name in NAMES}, max(3, plan.pairs // 4))
    added = differences(cpu(found[ON]), cpu(found[BARE]))
    measured = added._replace(middle=added.middle / 1e6, low=added.low / 1e6, high=added.high / 1e6)
    return Row(PART, f"{turns:,} turns of one loop: added to each", measured, "ms", 0.4, plan.beside(found))


async def _bare(reply: Any, gate: asyncio.Event) -> Any:
    await gate.wait()
    return reply
