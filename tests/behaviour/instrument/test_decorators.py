"""The decorators: on everything that can be called, keeping what it was."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import subprocess
import sys
import typing
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.callables import (
    ENSEMBLE,
    HELLO,
    Ensemble,
    answer,
    apropose,
    callable_object,
    capture_nothing,
    partial,
    propose,
    traced,
    undecorated,
)

# Things to call: each says `model` twice. They stand on module level, as pickle wants it. ------------


@moa.reference
def generate(model, messages=HELLO):
    yield model
    yield model


@moa.reference
async def agenerate(model, messages=HELLO):
    yield model
    yield model


class AsyncProposer:
    async def __call__(self, model, messages=HELLO):
        return model * 2


apartial = moa.reference(functools.partial(apropose.__wrapped__, messages=HELLO))
agpartial = moa.reference(functools.partial(agenerate.__wrapped__, messages=HELLO))
async_object = moa.reference(AsyncProposer())
CALLS = {
    "function": propose,
    "async": apropose,
    "generator": generate,
    "async generator": agenerate,
    "partial": partial,
    "async partial": apartial,
    "async generator partial": agpartial,
    "callable object": callable_object,
    "async callable object": async_object,
    "method": ENSEMBLE.method,
    "unbound method": functools.partial(Ensemble.method, ENSEMBLE),
    "async method": ENSEMBLE.amethod,
    "class method": Ensemble.class_inside,
    "class method outside": ENSEMBLE.class_outside,
    "static method": Ensemble.static_inside,
    "static method outside": ENSEMBLE.static_outside,
    # From Python 3.14 on it is a method, and gets the object in place of the model.
    **({"partial in a class": ENSEMBLE.partial} if sys.version_info < (3, 14) else {}),
    "object in a class": ENSEMBLE.object,
}


def result_of(value):
    """Return the text of a value, coroutine or stream."""
    if hasattr(value, "__anext__"):

        async def join():
            return "".join([chunk async for chunk in value])

        return asyncio.run(join())
    if inspect.isawaitable(value):

        async def get():
            return await value

        return asyncio.run(get())
    return value if isinstance(value, str) else "".join(value)


@pytest.mark.parametrize("kind", CALLS)
def test_everything_that_can_be_called_is_a_reference(turns, kind):
    """One call, one record, with its model, its request and its text; and the caller gets the same."""
    assert "mm" == result_of(CALLS[kind]("m"))
    (record,) = turns
    (call,) = record["references"] or [record["aggregator"]]
    assert ("mm", "m", HELLO) == (call["output"], call["model"], call["input_messages"])
    assert ("reference", "declared", "completed") == (call["role"], call["role_source"], call["outcome"])
    assert 0 == record["instrumentation_errors"]


@pytest.mark.parametrize("kind", CALLS)
def test_off_is_straight_through(kind):
    """With nothing to do, the function's own coroutine or generator comes back."""
    value = CALLS[kind]("m")
    assert type(value).__name__ in ("str", "coroutine", "generator", "async_generator")
    assert "mm" == result_of(value)


@pytest.mark.parametrize("decorate", [moa.turn, moa.turn(), moa.turn(preset="p")], ids=["bare", "called", "said"])
@pytest.mark.parametrize(
    "fn",
    [propose, apropose, generate, agenerate, partial, callable_object],
    ids=["def", "async def", "generator", "async generator", "partial", "object"],
)
def test_everything_that_can_be_called_is_a_turn(turns, decorate, fn):
    """Bare, with parentheses, with options."""
    assert "mm" == result_of(decorate(fn.__wrapped__)("m"))
    (record,) = turns
    assert ("mm", False, "completed") == (record["output"], record["implicit"], record["outcome"])


# What a function was, it stays ----------------------------------------------------------------------


def asyncio_asks(fn):
    """Return what `asyncio.iscoroutinefunction` says, which Python 3.14 announces to go."""
    with warnings.catch_warnings(action="ignore"):
        return asyncio.iscoroutinefunction(fn)


@pytest.mark.parametrize(
    "fn",
    [propose, apropose, generate, agenerate, answer, Ensemble.method, Ensemble.amethod],
    ids=lambda fn: fn.__qualname__,
)
def test_introspection_finds_the_function(fn):
    """Name, module, doc, signature, source, annotations and kind are those of the function."""
    bare = inspect.unwrap(fn)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__annotations__"):
        assert getattr(bare, name) == getattr(fn, name)
    assert inspect.signature(bare) == inspect.signature(fn)
    assert inspect.getsource(bare) == inspect.getsource(fn)
    for asks in (
        inspect.isfunction,
        inspect.isroutine,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        asyncio_asks,
        callable,
    ):
        assert asks(bare) == asks(fn), asks
    assert typing.get_type_hints(bare) == typing.get_type_hints(fn)


def test_a_bound_method_is_a_bound_method():
    """`__self__`, `__func__`, its signature, and that it equals itself."""
    bound = ENSEMBLE.method
    assert inspect.ismethod(bound)
    assert ENSEMBLE is bound.__self__
    assert ["model", "messages"] == list(inspect.signature(bound).parameters)
    assert ENSEMBLE.method == ENSEMBLE.method
    assert 1 == len({ENSEMBLE.method, ENSEMBLE.method})


def test_attributes_of_a_function_stay_and_can_be_set():
    """Other decorators leave marks on functions."""

    def fn():
        """Do nothing."""

    fn.mark = 1
    decorated = moa.reference(fn)
    decorated.other = 2
    assert (1, 2) == (decorated.mark, fn.other)


def test_an_abstract_method_stays_abstract():
    """Under the decorator and above it."""

    class Base(ABC):
        @moa.turn
        @abstractmethod
        def create(self): ...

        @abstractmethod
        @moa.reference
        def ask(self): ...

    assert frozenset({"create", "ask"}) == Base.__abstractmethods__
    with pytest.raises(TypeError, match="abstract"):
        Base()


def test_a_context_manager_function_stays_one(turns):
    """It is made of a generator function, and what it returns has to be entered."""

    @moa.reference
    @contextmanager
    def fn(messages):
        yield ["a", "b"]

    with fn(HELLO) as pieces:
        assert ["a", "b"] == pieces
    assert [0] == [record["instrumentation_errors"] for record in turns]

    def answer_itself(call):
        return iter(["short"])
        yield call

    moa.configure(middleware=[answer_itself])
    with pytest.raises(moa.ReplyFormError):
        fn(HELLO)


def test_other_decorators_may_stand_above_and_below(turns):
    """`functools.wraps`, `lru_cache` and `singledispatch` keep working."""

    def loud(fn):
        @functools.wraps(fn)
        def wrapper(*args, **kwargs):
            return fn(*args, **kwargs).upper()

        return wrapper

    assert "MM" == moa.reference(loud(undecorated))("m")
    assert "MM" == loud(moa.reference(undecorated))("m")
    cached = functools.lru_cache(moa.reference(lambda model: model * 2))
    assert "mm" == cached("m") == cached("m")
    assert 3 == len(turns)
    assert ["MM", "mm", "mm"] == [record["references"][0]["output"] for record in turns]


def test_decorating_twice_is_one_layer(turns):
    """Of the same role; under somebody else's wrapper it is another call, and one record with it."""

    @functools.wraps(propose)
    def between(*args, **kwargs):
        return propose(*args, **kwargs)

    assert propose is moa.reference(propose)
    with moa.turn():
        moa.reference(between)("m")
    assert [1] == [record["totals"]["calls"] for record in turns]


def test_a_function_has_one_role(turns):
    """Another decorator of the same stack is refused; one around a wrapper of it has its own role."""
    with pytest.raises(moa.DecorationError, match=r"@moa\.aggregator: `propose` is a reference .* already"):
        moa.aggregator(propose)

    @moa.aggregator
    @functools.wraps(propose)
    def retrying(*args, **kwargs):
        propose(*args, **kwargs)
        return propose(*args, **kwargs)

    with moa.turn():
        assert "mm" == retrying("m")
    assert "mm" == turns[0]["aggregator"]["output"]


def test_the_same_errors_come_out():
    """A wrong call is the function's own TypeError, bare, off and on."""
    seen = []
    for fn, on in ((undecorated, False), (traced, False), (traced, True)):
        with capture_turns() if on else capture_nothing():
            with pytest.raises(TypeError) as caught:
                fn(models="m")
        seen.append(str(caught.value))
    assert 1 == len(set(seen))


# What a first turn has to import -------------------------------------------------------------------


LOADED = """
import os, sys
import moa_middleware as moa

def loaded():
    return "moa_middleware._capture.tracing.tracer" in sys.modules

assert not loaded()
exec(sys.argv[1])
print(loaded())
exec(sys.argv[2])
before = set(sys.modules)
with moa.turn() as turn:
    assert turn.recording is not None
print(sorted(name for name in set(sys.modules) - before if name.startswith(("moa_middleware", "pydantic"))))
"""
ON = "os.environ['MOA_SAVE_TRACES'] = '1'"


@pytest.mark.parametrize(
    ("first", "loaded", "then"),
    [
        (f"{ON}\nmoa.reference(lambda messages: 'x')", True, ""),
        (f"{ON}\nmoa.turn(session_id='s')(lambda messages: 'x')", True, ""),
        (f"{ON}\nmoa.instrument('openai')", True, ""),
        ("moa.configure(save_traces=True)", True, ""),
        ("moa.configure(on_turn=print)", True, ""),
        ("moa.reference(lambda messages: 'x')", False, f"{ON}\nmoa.reference(lambda messages: 'y')"),
        (f"{ON}\nmoa.configure(save_traces=False); moa.turn(len)", False, "moa.configure(save_traces=None)"),
    ],
)
def test_the_tracer_is_imported_where_the_decorator_runs(tmp_path, first, loaded, then):
    """While turns are recorded, and not before: the first turn may begin in a running event loop, and imports nothing."""
    env = {**os.environ, "MOA_TRACE_DIR": str(tmp_path)}
    env.pop("MOA_SAVE_TRACES", None)
    command = [sys.executable, "-c", LOADED, first, then]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    said = done.stdout.splitlines()
    assert [str(loaded), "[]"] == said[:2]
