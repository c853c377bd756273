"""
Two roads, one record: what the straight road writes, the conversation writes byte for byte.

A call that only the recording looks at takes the straight road (`calls/straight.py`), one with
middleware or observers the conversation (`calls/call.py`). An observer that does nothing changes the
road and nothing else.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._capture.calls import call as conversation
from moa_middleware._capture.calls import straight
from tests.support.corpus import SCRIPTS
from tests.support.corpus.script import BoomError, chunks, reply

from .test_corpus import GOLDEN, SDKS, normal, version_of, written


def watch(call):
    """Look on, and leave everything as it is."""
    yield call


@pytest.fixture
def watched():
    """Let an observer watch every call of the default stack."""
    moa.configure(observers=[watch])


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_watched_run_of_the_corpus_writes_the_same_lines(name, watched, trace_dir, monkeypatch):
    """The golden files are those of the straight road."""
    for sdk, major in SDKS.items():
        if version_of(sdk).partition(".")[0] != major:
            pytest.skip(f"the golden files are those of {sdk} {major}")
    for key, value in SCRIPTS[name].env.items():
        monkeypatch.setenv(key, value)
    SCRIPTS[name].run()
    gc.collect()
    golden = (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8")
    assert golden.split("\n") == normal(written(trace_dir)).split("\n")


# Random scripts: functions that call functions, and return, raise or stream in every way. ----------

RETURNS = st.sampled_from(
    ["text", "reply", "tuple", "held", "none", "number", "inner", "raise", "interrupt", "handled", "awaited", "future"]
)
STREAMS = st.sampled_from(["all", "some", "close", "drop", "with", "fails", "next"])
LEAF = st.one_of(
    st.fixed_dictionaries({"returns": RETURNS, "is_async": st.booleans(), "calls": st.just([])}),
    st.fixed_dictionaries({"stream": STREAMS, "is_async": st.booleans()}),
)
PLANS = st.recursive(
    LEAF,
    lambda inner: st.fixed_dictionaries(
        {"returns": RETURNS, "is_async": st.booleans(), "calls": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


class Source:
    """A stream in the form of an SDK's."""

    __module__ = "openai"

    def __init__(self, fails):
        self.left = chunks("Air ", "scatters.")
        self.fails = fails

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise BoomError("cut") if self.fails else StopIteration
        return self.left.pop(0)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.left = []


class AsyncSource(Source):
    """The same in the async world."""

    __module__ = "openai"
    __iter__ = __next__ = __enter__ = __exit__ = None

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return Source.__next__(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        self.close()

    async def aclose(self):
        self.close()


def result_of(plan, results):
    """Return what a function of the plan returns, given what its calls did."""
    kind = plan["returns"]
    if kind == "raise":
        raise BoomError("no answer")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "inner" and results:
        return results[-1]
    if kind == "held":
        return "name", Source(fails=False)
    found = {"text": "It is blue.", "tuple": ("name", "It is blue."), "number": 7}
    return reply() if kind in ("reply", "awaited", "future") else found.get(kind)


def consume(stream, how):
    """Read a stream in one of the ways that consumers read."""
    if how == "with":
        with stream as inside:
            next(iter(inside))
    elif how == "next":
        next(stream)
    elif how != "drop":
        for _ in stream:
            if how in ("some", "close"):
                break
    if how == "close":
        stream.close()


async def consume_async(stream, how):
    """Do the same in the async world."""
    if how == "with":
        async with stream as inside:
            await anext(aiter(inside))
    elif how == "next":
        await anext(stream)
    elif how != "drop":
        async for _ in stream:
            if how in ("some", "close"):
                break
    if how == "close":
        await stream.aclose()


def run_sync(plan, numbers):
    """Call the functions of a plan from a sync world; what fails is handled where the plan says so."""
    name = f"model-{next(numbers)}"
    if "stream" in plan:

        @moa.reference(label=name)
        def stream(model, messages):
            return Source(plan["stream"] == "fails")

        opened = stream(name, "Why?")
        try:
            consume(opened, plan["stream"])
        except BoomError:
            return None
        return None

    @moa.reference(label=name)
    def ask(model, messages):
        results = []
        for inner in plan["calls"]:
            try:
                results.append(run_sync(inner, numbers))
            except (BoomError, KeyboardInterrupt):
                if plan["returns"] != "handled":
                    raise
        return result_of(plan, results)

    return ask(name, "Why?")


async def run_in_loop(plan, numbers):
    """Do the same in the async world."""
    name = f"model-{next(numbers)}"
    if "stream" in plan:

        @moa.reference(label=name)
        async def stream(model, messages):
            return AsyncSource(plan["stream"] == "fails")

        opened = await stream(name, "Why?")
        try:
            await consume_async(opened, plan["stream"])
        except BoomError:
            return None
        return None

    @moa.reference(label=name)
    async def ask(model, messages):
        results = []
        for inner in plan["calls"]:
            try:
                results.append(await run_in_loop(inner, numbers) if inner["is_async"] else run_sync(inner, numbers))
            except (BoomError, asyncio.CancelledError):
                if plan["returns"] != "handled":
                    raise
        return result_of({**plan, "returns": "raise" if plan["returns"] == "interrupt" else plan["returns"]}, results)

    if plan["returns"] == "awaited":
        # A plain function that returns what has to be awaited.
        def plain(model, messages):
            return later(model, messages)

        return await moa.reference(label=name)(plain)(name, "Why?")
    if plan["returns"] == "future":
        task = moa.reference(label=name)(lambda model, messages: asyncio.ensure_future(later(model, messages)))
        return await task(name, "Why?")
    return await ask(name, "Why?")


async def later(model, messages):
    """Answer after a while."""
    await asyncio.sleep(0)
    return reply()


def lines_of(plan, directory, **configured):
    """Run a plan as a turn, and return its lines."""
    moa.configure(save_traces=True, trace_dir=directory, **configured)
    numbers = count()

    @moa.turn
    def create(messages):
        return asyncio.run(run_in_loop(plan, numbers)) if plan["is_async"] else run_sync(plan, numbers)

    with suppress(BoomError, KeyboardInterrupt):
        create("Why?")
    gc.collect()
    return normal(written(directory)).split("\n")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=PLANS)
def test_a_random_script_writes_the_same_lines_by_both_roads(plan, tmp_path_factory):
    """Calls inside calls, in both worlds: returned, raised, interrupted, streamed, handled."""
    by_straight = lines_of(plan, tmp_path_factory.mktemp("straight"))
    assert by_straight == lines_of(plan, tmp_path_factory.mktemp("conversation"), observers=[watch])
    moa.configure(observers=[])
    assert len(by_straight) > 2


def test_the_roads_are_what_they_are_called(monkeypatch, trace_dir):
    """Without an observer no conversation is made for a value; with one there is."""
    made = []
    real = conversation.CallConversation._run
    monkeypatch.setattr(conversation.CallConversation, "_run", lambda self, sent: made.append(self) or real(self, sent))
    begun = []
    begin = straight._begin
    monkeypatch.setattr(straight, "_begin", lambda *args: begun.append(1) or begin(*args))

    @moa.reference
    def ask(model, messages):
        return "It is blue."

    ask("m", "Why?")
    assert (0, 1) == (len(made), len(begun))
    moa.configure(observers=[watch])
    ask("m", "Why?")
    assert (1, 1) == (len(made), len(begun))
