"""A traceback that the caller sees is the one without us: the same frames, lines and exception, in every form."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import traceback
import weakref
from functools import partial

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support import failing_calls
from tests.support.failing_calls import FORMS, Failed, Kinds


def seen_by(fn):
    """Return what a caller can see of the exception that a function raises."""
    try:
        fn()
    except BaseException as error:
        return described(error)
    raise AssertionError("it raised nothing")


def described(error):
    """Return an exception with its frames, its cause, its context and those in its group."""
    if error is None:
        return None
    trace = [(frame.filename, frame.lineno, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    inside = [described(one) for one in getattr(error, "exceptions", ())]
    return type(error), str(error), trace, described(error.__cause__), described(error.__context__), inside


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("saved", [False, True], ids=["off", "on"])
def test_the_caller_sees_the_traceback_of_the_bare_program(form, saved):
    """Its frames and line numbers, and those of what it came from, with traces off and on."""
    bare = seen_by(partial(form, Kinds(real=False)))
    with capture_turns() if saved else contextlib.nullcontext() as turns:
        found = seen_by(partial(form, Kinds(real=True)))
    assert bare == found
    assert turns or not saved or form in (failing_calls.constructor, failing_calls.subclass)


MIDDLEWARE_FORMS = [
    getattr(failing_calls, name)
    for name in ("value", "coroutine", "returned_coroutine", "loop", "async_loop", "recursion", "manager")
]


def in_order(call):
    yield call


class Hand:
    """A middleware that raises something of its own."""

    def __call__(self, call):
        try:
            yield call
        except Failed as error:
            raise ValueError("no answer") from error


@pytest.mark.parametrize("form", MIDDLEWARE_FORMS)
def test_of_middleware_its_own_frames_are_seen_and_none_of_ours(form):
    """What a middleware raises or passes on comes through its `yield`."""
    moa.configure(middleware=[in_order, Hand()])
    kind, _, trace, cause, _, _ = seen_by(partial(form, Kinds(real=True)))
    frames = [name for file, _, name in trace]
    package = os.path.dirname(moa.__file__)
    assert not [one for one in trace if one[0].startswith(package)]
    if kind is ValueError:
        assert frames.index("in_order") < frames.index("__call__")
        assert cause[0] is Failed
        assert not [one for one in cause[2] if one[0].startswith(package)]
    else:
        assert kind is Failed


def test_an_error_of_ours_keeps_its_frames():
    """A middleware that does not yield is our error, and it says where it was raised."""

    def silent(call):
        return None
        yield call

    @moa.reference
    def ask():
        return "an answer"

    moa.configure(middleware=[silent])
    with pytest.raises(moa.DidNotYieldError) as caught:
        ask()
    assert "chain" == traceback.extract_tb(caught.value.__traceback__)[-1].name


def test_a_failed_call_keeps_nothing_alive():
    """The exception holds the function's frames as without us, and no frame of ours holds the exception."""

    class Thing:
        pass

    @moa.reference
    def ask(thing):
        raise Failed

    gc.collect()
    gc.disable()
    try:
        with capture_turns():
            thing = Thing()
            gone = weakref.ref(thing)
            with contextlib.suppress(Failed):
                ask(thing)
            del thing
            assert gone() is None
    finally:
        gc.enable()


class Frozen(Failed):
    """As a frozen dataclass: nothing of it can be set."""

    def __setattr__(self, name, value):
        raise AttributeError(name)


@pytest.mark.parametrize("kind", [Failed, Frozen])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_stream_sent_again_leaves_the_exception_that_its_caller_handles(is_async, kind):
    """It has its frames still, is not a context any more, and the stream goes when it is dropped."""
    failures = [kind(), kind()]

    def retry(call):
        while True:
            try:
                return (yield call)
            except Failed:
                pass

    stack = moa.Stack([retry])

    def refuse():
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise failures.pop() from cause

    @stack.reference
    def ask(prompt):
        return refuse() if failures else iter("ab")

    @stack.reference
    async def ask_async(prompt):
        return refuse() if failures else iter("ab")

    def names(error):
        return [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    async def main():
        try:
            raise ValueError("the caller's own")
        except ValueError as error:
            before = names(error)
            stream = await ask_async("p") if is_async else ask("p")
            after = names(error)
            gone = weakref.ref(stream)
            del stream
            is_gone = gone() is None
        assert (["main"], ["main"], True) == (before, after, is_gone)

    thrown = list(failures)
    gc.collect()
    gc.disable()
    try:
        with capture_turns():
            asyncio.run(main())
    finally:
        gc.enable()
    assert [(None, None)] * 2 == [(error.__traceback__, error.__cause__.__traceback__) for error in thrown]
    assert [KeyError] * 2 == [type(error.__context__) for error in thrown]
    assert [None] * 2 == [error.__cause__.__context__ for error in thrown]


PROGRAM = """
import asyncio, traceback
import world


def main():
    for fn in (world.ask, world.create):
        try:
            fn("p")
        except ValueError:
            print(traceback.format_exc())
    try:
        asyncio.run(world.later("p"))
    except ValueError:
        traceback.print_exc()
    world.create("q")

main()
"""
WORLD = """
def ask(prompt):
    raise ValueError(prompt)


def create(prompt):
    return [ask(prompt)]


async def later(prompt):
    return create(prompt)
"""


def test_a_program_that_prints_tracebacks_prints_the_same(tmp_path):
    """`traceback.format_exc` and the interpreter's own report, under `moa run` and without it."""
    (tmp_path / "world.py").write_text(WORLD)
    (tmp_path / "app.py").write_text(PROGRAM)
    targets = "world:ask=reference,world:create=turn,world:later=turn"
    env = {**os.environ, "MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(tmp_path / "traces"), "MOA_INSTRUMENT": targets}
    how_run = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
    runs = [
        subprocess.run([sys.executable, *how, "app.py"], check=False, **how_run)
        for how in ((), ("-m", "moa_middleware", "run"))
    ]
    assert ["p"] * 2 == [line[-1] for line in runs[0].stdout.splitlines() if line.startswith("ValueError")]
    assert (runs[0].stdout, runs[0].stderr, runs[0].returncode) == (runs[1].stdout, runs[1].stderr, runs[1].returncode)
    assert 5 == sum(len(file.read_text().splitlines()) for file in (tmp_path / "traces").glob("*.jsonl"))
