"""What a call costs: off, and from the caller to the SDK with the request kept."""

from __future__ import annotations

from functools import partial
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import TYPE_CHECKING, Any

import moa_middleware as moa

from . import ready
from .contenders import BARE, HAND, MIDDLEWARE, OFF, ON, SAME, SEED, contenders, switch
from .measure import Cost, cost_of, cpu, differences, interleave, ratios
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .plan import Plan

__all__ = ["rows", "whole_call"]

PART = "calls"
TEXT = "An answer of some length. " * 40


def many(create: Callable[..., Any], request: dict[str, Any], count: int) -> None:
    for _ in range(count):
        create(**request)


def whole_call(plan: Plan, size: int, names: tuple[str, ...], count: int) -> dict[str, Callable[[], Cost]]:
    """Return by contender what takes the cost of a call that is answered in one piece, its line included."""
    reply = ready.reply(TEXT)
    parts = contenders(plan.directory, *names)
    creates = {name: part.creates(lambda: reply) for name, part in parts.items()}
    request = {"model": "m", "messages": ready.messages(size)}

    def sample(name: str) -> Cost:
        parts[name].ready()
        cost = cost_of(partial(many, creates[name], request, count)).per(count)
        parts[name].check(TEXT)
        return cost

    return {name: partial(sample, name) for name in names}


def whole_calls(plan: Plan, size: int, names: tuple[str, ...], count: int) -> dict[str, list[Cost]]:
    """Return what one call takes, by contender and round."""
    return interleave(whole_call(plan, size, names, count), plan.pairs)


def entries(plan: Plan, size: int, count: int = 20) -> dict[str, list[Cost]]:
    """Return what passes between the caller and the SDK's function."""
    reply = ready.reply(TEXT)
    reached: list[tuple[int, int, int]] = []

    def clock() -> tuple[int, int, int]:
        return process_time_ns(), thread_time_ns(), perf_counter_ns()

    def answer() -> Any:
        reached.append(clock())
        return reply

    parts = contenders(plan.directory, BARE, OFF, ON)
    creates = {name: part.creates(answer) for name, part in parts.items()}
    request = {"model": "m", "messages": ready.messages(size)}

    def sample(name: str) -> Cost:
        parts[name].ready()
        reached.clear()
        began = []
        for _ in range(count):
            began.append(clock())
            creates[name](**request)
        sums = [0, 0, 0]
        for one, other in zip(began, reached, strict=True):
            sums = [total + b - a for total, a, b in zip(sums, one, other, strict=True)]
        return Cost(*sums).per(count)

    return interleave({name: partial(sample, name) for name in parts}, plan.pairs)


def is_back() -> int:
    """Return how many attributes of a client are not the original ones after it was instrumented for a while."""
    client = ready.Ready(lambda: None)
    completions = client.chat.completions

    def attributes() -> list[Any]:
        return [
            client.chat,
            client.chat.completions,
            *vars(client.chat.completions).values(),
            vars(type(completions))["create"],
        ]

    before = attributes()
    moa.instrument(client)
    assert type(client.chat.completions.create) is not type(completions.__init__)
    moa.uninstrument(client)
    after = attributes()
    return abs(len(after) - len(before)) + sum(one is not other for one, other in zip(before, after, strict=False))


def streams_off() -> int:
    """Return how many streams came back wrapped while the traces are off."""
    stream = ready.ready_stream([])
    client = moa.instrument(ready.Ready(lambda: stream))
    switch(on=False)
    wrapped = int(client.chat.completions.create(model="m", messages=[], stream=True) is not stream)
    moa.uninstrument(client)
    return wrapped


def micro(costs: list[Cost]) -> list[float]:
    return [one.process / 1000 for one in costs]


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what calls cost."""
    yield Row(PART, "uninstrumented: attributes that are not the original ones", plan.exactly(is_back()), "", 0)
    yield Row(PART, "off: streams that come back wrapped", plan.exactly(streams_off()), "", 0)

    found = whole_calls(plan, 1000, (BARE, OFF), 500)
    yield Row(
        PART, "off, a create: added", differences(micro(found[OFF]), micro(found[BARE])), "µs", 2, plan.beside(found)
    )

    found = entries(plan, 60_000)
    yield Row(
        PART,
        "call entry, 60 kB of messages",
        differences(micro(found[ON]), micro(found[BARE])),
        "µs",
        250,
        plan.beside(found),
    )
    found = entries(plan, 1000)
    yield Row(
        PART, "call entry, 1 kB", differences(micro(found[ON]), micro(found[BARE])), "µs", None, plan.beside(found)
    )

    names = (BARE, HAND, SAME, SEED, OFF, ON, MIDDLEWARE)
    for size, count in ((1000, 40), (60_000, 20)):
        found = whole_calls(plan, size, names, count)
        what = f"whole call, {size // 1000} kB of messages"
        yield Row(
            PART, f"{what}: added", differences(micro(found[ON]), micro(found[BARE])), "µs", None, plan.beside(found)
        )
        yield Row(PART, f"{what}: to by hand, text only", ratios(cpu(found[ON]), cpu(found[HAND])), "×")
