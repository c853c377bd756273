"""Programs of the corpus, run through the library; what was written of their calls is compared with the truth."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import moa_middleware as moa

from .world import ModelError, World

MODULES = (
    "ensembles",
    "debates",
    "conversations",
    "selections",
    "alterations",
    "returns",
    "failures",
    "further",
    "programs",
)
"""The modules of programs."""

RIGHT, UNKNOWN, WRONG = "right", "unknown", "wrong"


@dataclass(frozen=True)
class Flow:
    """
    One program.

    Attributes:
        name: Its name.
        program: A function, or a coroutine function, of a `World`.
        ways: `f` if it is to run as a turn's function, `b` inside a block.
    """

    name: str
    program: object
    ways: str = "fb"


FLOWS = {}
"""All programs of the corpus by their names."""


def flow(program=None, *, ways="fb", over=None):
    """
    Add a program to the corpus.

    Args:
        program: The function.
        ways: As those of `Flow`.
        over: Values of its second argument by their names: each makes a program of its own.
    """

    def add(function):
        for key, value in (over or {"": None}).items():
            name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}" + (f"[{key}]" if key else "")
            FLOWS[name] = Flow(name, _bound(function, value) if over else function, ways)
        return function

    return add(program) if program is not None else add


def _bound(function, value):
    return lambda world: function(world, value)


def load():
    """Return all programs by their names."""
    for name in MODULES:
        import_module(f".{name}", __package__)
    return FLOWS


@dataclass(frozen=True)
class Verdict:
    """What the record says of one call, compared with the truth."""

    flow: str
    way: str
    call: int
    truth: str
    said: str
    known: bool

    @property
    def rate(self):
        """`right`, `unknown` or `wrong`."""
        if self.said in self.truth.split("/"):
            return RIGHT
        # A call that is neither reference nor aggregator is recorded as a call, whether that is known or not.
        return UNKNOWN if self.said == "C" and not self.known else WRONG


def judge(flows, ways="fb", *, seed=0):
    """
    Run programs, and return a verdict on each of their calls.

    Args:
        flows: The programs.
        ways: The ways to run them, as far as they have them.
        seed: Of their texts.
    """
    worlds = []
    with tempfile.TemporaryDirectory(prefix="moa-flows-") as directory:
        moa.configure(save_traces=True, trace_dir=directory, propagate_threads=True)
        try:
            for one in flows:
                for way in one.ways:
                    if way in ways:
                        worlds.append((one.name, way, _run(one, way, len(worlds), seed)))
            gc.collect()
            moa.flush()
        finally:
            moa.configure(save_traces=None, trace_dir=None, propagate_threads=None)
        lines = [json.loads(line) for path in Path(directory).rglob("*.jsonl") for line in path.open("rb")]
    records = {line["tags"]["run"]: line for line in lines if line["schema"] == "moa-turn/1"}
    assert len(records) == len(worlds), "some turn has no line"
    return [verdict for run, world in enumerate(worlds) for verdict in _verdicts(records[run], *world)]


def _run(one, way, run, seed):
    world = World(f"{seed}/{one.name}")
    moa.instrument(world.chat.completions, call="create")
    moa.instrument(world.later.completions, call="create")
    moa.instrument(world.plain, call=["invoke", "fetch"])
    is_async = inspect.iscoroutinefunction(one.program)
    with suppress(ModelError), moa.tag(session_id="flows", tags={"run": run}):
        if way == "f":
            _as_function(one.program, world, is_async=is_async)
        else:
            _in_block(one.program, world, is_async=is_async)
    return world


def _as_function(program, world, *, is_async):
    if is_async:

        @moa.turn
        async def create():
            return await program(world)

        asyncio.run(create())
        return

    @moa.turn
    def create():
        return program(world)

    _consume(create())


def _in_block(program, world, *, is_async):
    with moa.turn():
        if is_async:
            asyncio.run(program(world))
        else:
            _consume(program(world))


def _consume(value):
    if hasattr(value, "__next__"):
        for _ in value:
            pass


def _verdicts(record, name, way, world):
    calls = [*record["references"], *record["calls"]]
    if record["aggregator"] is not None:
        calls.append(record["aggregator"])
    calls = {call["params"]["seed"]: call for call in calls}
    assert calls.keys() == world.truth.keys(), f"{name}: not every call is in the record"
    for number, truth in world.truth.items():
        call = calls[number]
        said = {"reference": f"R{call['layer']}", "aggregator": "A", "call": "C"}[call["role"]]
        yield Verdict(name, way, number, truth, said, call["role_source"] == "inferred")


def rates(verdicts):
    """Return how many calls are right, unknown and wrong."""
    found = Counter(verdict.rate for verdict in verdicts)
    return {rate: found[rate] for rate in (RIGHT, UNKNOWN, WRONG)}
