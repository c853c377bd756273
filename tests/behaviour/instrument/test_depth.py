"""Frames of ours a level, where a program recurses through decorated functions: few, so that its depth suffices."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from pathlib import Path

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns

PACKAGE = str(Path(moa.__file__).parent)
LEVELS = 4
MOST = {"off": 1, "on": 2, "middleware": 3}
"""Of frames a level, where the function returns a value."""


@contextlib.contextmanager
def switched(how):
    """Run with nothing on the stack, with a recording, or with a recording and middleware."""
    if how == "off":
        yield
        return
    with capture_turns():
        moa.configure(middleware=[passing] if how == "middleware" else [])
        try:
            yield
        finally:
            moa.configure(middleware=[])


def passing(call):
    yield call


def between():
    """Return the number of our frames between each two frames of functions called `ask`, the innermost first."""
    found, ours, frame = [], 0, sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            ours += 1
        elif frame.f_code.co_name == "ask":
            found.append(ours)
            ours = 0
        frame = frame.f_back
    return found[1:]


def value(decorate):
    @decorate
    def ask(level):
        return ask(level - 1) if level else between()

    return lambda: ask(LEVELS)


def method(decorate):
    class Client:
        @decorate
        def ask(self, level):
            return self.ask(level - 1) if level else between()

    return lambda: Client().ask(LEVELS)


def coroutine(decorate):
    @decorate
    async def ask(level):
        await asyncio.sleep(0)
        return await ask(level - 1) if level else between()

    return lambda: asyncio.run(ask(LEVELS))


def returned_coroutine(decorate):
    async def inner(level):
        async def ask():
            return await outer(level - 1) if level else between()

        return await ask()

    @decorate
    def outer(level):
        return inner(level)

    return lambda: asyncio.run(outer(LEVELS))


def generator(decorate):
    @decorate
    def ask(level):
        if level:
            yield from ask(level - 1)
        else:
            yield between()

    return lambda: next(iter(ask(LEVELS)))


def loop(decorate):
    @decorate
    def ask(level):
        for item in ask(level - 1) if level else [between()]:
            yield [*item]

    return lambda: next(iter(ask(LEVELS)))


def async_generator(decorate):
    @decorate
    async def ask(level):
        if not level:
            yield between()
            return
        async for item in ask(level - 1):
            yield item

    async def first():
        return await anext(aiter(ask(LEVELS)))

    return lambda: asyncio.run(first())


VALUES = [value, method, coroutine]
OTHERS = [returned_coroutine, generator, loop, async_generator]


@pytest.mark.parametrize("how", MOST)
@pytest.mark.parametrize("decorate", [moa.reference, moa.aggregator, moa.turn], ids=["reference", "aggregator", "turn"])
@pytest.mark.parametrize("form", [*VALUES, *OTHERS], ids=lambda form: form.__name__)
def test_a_level_of_recursion_has_few_frames_of_ours(form, decorate, how):
    """At most three, two of a recorded value, one where nothing is recorded."""
    run = form(decorate)
    with switched(how):
        found = run()
    assert LEVELS == len(found)
    assert max(found) <= (MOST[how] if form in VALUES or how == "off" else 3), found


@pytest.mark.parametrize("how", MOST)
@pytest.mark.parametrize("kind", ["turn", "call"])
def test_an_instrumented_method_has_as_few(how, kind):
    """A class that was instrumented by name, and an instance."""

    class Client:
        def ask(self, level):
            return self.ask(level - 1) if level else between()

    class Other(Client):
        pass

    moa.instrument(Client, **{kind: "ask"})
    other = Other()
    with switched(how):
        assert max(Client().ask(LEVELS)) <= MOST[how]
        assert max(moa.instrument(other, **{kind: "ask"}).ask(LEVELS)) <= MOST[how]


def in_a_thread(fn):
    """Return what a function returns in a thread, which begins with an empty stack."""
    found = []
    thread = threading.Thread(target=lambda: found.append(fn()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(("how", "least"), [("off", 320), ("on", 235), ("middleware", 190)])
def test_a_program_may_recurse_deep_through_a_decorated_function(how, least):
    """Under the interpreter's own limit of 1,000."""

    @moa.reference
    def ask(level):
        depth[0] = level
        return ask(level + 1)

    def recurse():
        with contextlib.suppress(RecursionError):
            ask(1)
        return depth[0]

    depth = [0]
    assert 1000 == sys.getrecursionlimit()
    with switched(how):
        assert in_a_thread(recurse) >= least
