"""Functions that others hold since before they were wrapped: wrapped there too, or named."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import sys
import weakref

import pytest

import moa_middleware as moa
from moa_middleware._capture.instrument import held

CORE = """
import functools

def ask(prompt):
    return "an answer"

async def ask_later(prompt):
    return "later"

def stream(prompt):
    yield "a "
    yield "stream"

async def stream_later(prompt):
    yield "a "
    yield "stream"

def run(prompt, fn=ask, *, other=ask):
    return fn(prompt) + other(prompt)

class Client:
    def answer(self, prompt, fn=ask):
        return fn(prompt)

    @staticmethod
    def still(prompt, *, fn=ask):
        return fn(prompt)

    class Inner:
        @classmethod
        def of(cls, prompt, fn=ask):
            return fn(prompt)

def traced(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return fn(*args)
    return wrapper

@traced
def behind(prompt, fn=ask):
    return fn(prompt)
"""
OTHER = """
from held_app.core import ask as alias, ask_later, stream, stream_later

def use(prompt, fn=alias):
    return fn(prompt)
"""
ELSEWHERE = "from held_app.core import ask, ask_later, stream, stream_later"
KINDS = ["ask", "ask_later", "stream", "stream_later"]


@pytest.fixture
def app(tmp_path, monkeypatch):
    """Return the modules of a package, and one of another package that imports from it by value."""
    package = tmp_path / "held_app"
    package.mkdir()
    for name, text in (("__init__", "from .core import ask"), ("core", CORE), ("other", OTHER)):
        (package / f"{name}.py").write_text(text)
    (tmp_path / "held_elsewhere.py").write_text(ELSEWHERE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(held.spent, "seconds", 0.0)
    yield tuple(map(importlib.import_module, ("held_app.core", "held_app.other", "held_app", "held_elsewhere")))
    moa.uninstrument()
    for name in [name for name in sys.modules if name.startswith("held_")]:
        del sys.modules[name]


def called(fn):
    """Return what a function of any kind says."""
    got = fn("why")
    if isinstance(got, str):
        return got
    if hasattr(got, "__next__"):
        return "".join(got)
    if hasattr(got, "__anext__"):

        async def read():
            return "".join([piece async for piece in got])

        return asyncio.run(read())
    return asyncio.run(got)


# The same object under other names ----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_globals_of_its_package_are_wrapped_too(kind, app, turns):
    """Whatever the name, sync and async, values and streams; and undone with the function itself."""
    core, other, _, _ = app
    name = "alias" if kind == "ask" else kind
    original = getattr(core, kind)
    moa.instrument(f"held_app.core:{kind}=call")
    assert getattr(core, kind) is getattr(other, name) is not original
    said = called(getattr(other, name))
    assert [said] == [turn["output"] for turn in turns]
    moa.uninstrument(f"held_app.core:{kind}")
    assert getattr(core, kind) is getattr(other, name) is original


USES = {
    "a default": (lambda core, other: core.run("why"), 2),
    "a default of another module": (lambda core, other: other.use("why"), 1),
    "a method's": (lambda core, other: core.Client().answer("why"), 1),
    "a static method's": (lambda core, other: core.Client.still("why"), 1),
    "a class method's": (lambda core, other: core.Client.Inner.of("why"), 1),
    "a decorated function's": (lambda core, other: core.behind("why"), 1),
}


@pytest.mark.parametrize("by", ["name", "module", "import"])
@pytest.mark.parametrize("use", USES)
def test_defaults_of_its_package_are_wrapped_too(use, by, app, turns):
    """By position and by keyword, of functions and of methods of every kind."""
    core, other, *_ = app
    call, count = USES[use]
    if by == "import":
        for name in [name for name in sys.modules if name.startswith("held_")]:
            del sys.modules[name]
        moa.instrument("held_app.core:ask=call")
        core, other = map(importlib.import_module, ("held_app.core", "held_app.other"))
    elif by == "name":
        moa.instrument("held_app.core:ask=call")
    else:
        moa.instrument(core, call="ask")
    call(core, other)
    assert ["an answer"] * count == [turn["output"] for turn in turns]
    moa.uninstrument()
    call(core, other)
    assert count == len(turns)


def test_undone_all_names_and_defaults_are_as_they_were(app):
    """Also what was in the package before; what the program has changed meanwhile stays changed."""
    core, other, package, _ = app
    original, fns = core.ask, (core.run, core.Client.answer, core.Client.still, core.Client.Inner.of, other.use)
    before = [(fn.__defaults__, fn.__kwdefaults__ and dict(fn.__kwdefaults__)) for fn in fns]
    moa.instrument("held_app.core:ask")
    mine = object()
    other.alias = mine
    core.run.__kwdefaults__["other"] = mine
    moa.uninstrument("held_app.core:ask")
    assert mine is other.alias is core.run.__kwdefaults__["other"]
    assert original is core.ask is package.ask
    core.run.__kwdefaults__["other"] = original
    assert before == [(fn.__defaults__, fn.__kwdefaults__ and dict(fn.__kwdefaults__)) for fn in fns]


@pytest.mark.parametrize("order", ["first", "last"])
def test_two_stacks_share_the_names(order, app, turns):
    """Each is undone alone, in any order, and then every name has the original."""
    core, other, *_ = app
    original, stack = core.ask, moa.Stack()
    moa.instrument("held_app.core:ask=call")
    stack.instrument("held_app.core:ask=call")
    assert core.ask is other.alias is core.run.__defaults__[0]
    for one in (stack, moa) if order == "last" else (moa, stack):
        one.uninstrument("held_app.core:ask")
    assert original is core.ask is other.alias is core.run.__defaults__[0]


def test_what_only_looks_the_same_is_not_touched(app):
    """Equal, but another object: a wrapper of somebody's, a partial application, a function of the same name."""
    core, other, *_ = app

    class Equal:
        def __eq__(self, _other):
            return True

        def __hash__(self):
            return 0

    other.equal, other.partial, other.namesake = Equal(), functools.partial(core.ask), lambda prompt: "mine"
    kept = other.equal, other.partial, other.namesake
    moa.instrument("held_app.core:ask")
    assert all(now is then for now, then in zip((other.equal, other.partial, other.namesake), kept, strict=True))


# What others hold ----------------------------------------------------------------------------------


class Registry:
    """A router, as web frameworks have them."""

    def __init__(self):
        self.routes = {}

    def route(self, fn):
        self.routes["/" + fn.__name__] = fn
        return fn


class Slotted:
    __slots__ = ("endpoint",)


def registered(fn):
    registry = Registry()
    registry.route(fn)
    return registry


def in_a_slot(fn):
    slotted = Slotted()
    slotted.endpoint = fn
    return slotted


def enclosed(fn):
    def closure():
        return fn

    return closure


def suspended(fn):
    def generator(kept):
        yield kept

    made = generator(fn)
    next(made)
    return made


HERE = f"{__name__}."
HOLDERS = {
    "a registry": (registered, f"{HERE}Registry.routes"),
    "a slot": (in_a_slot, f"{HERE}Slotted.endpoint"),
    "a closure": (enclosed, f"the closure of {HERE}enclosed.<locals>.closure"),
    "a suspended generator": (suspended, "a variable of suspended.<locals>.generator"),
    "a dict": (lambda fn: {"secret-key": fn}, "a dict"),
    "a list": (lambda fn: [fn], "a list"),
    "a nested list": (lambda fn: {"a": [[fn]]}, "a list"),
    "a partial": (lambda fn: functools.partial(fn, "x"), "a functools.partial"),
    "a class": (lambda fn: type("Sub", (), {"alias": fn, "__module__": "m"}), "m.Sub.alias"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", HOLDERS)
def test_what_others_hold_is_named_and_not_touched(what, kind, app, turns, caplog):
    """In the log, once, and in the status; never by a key or a value of theirs."""
    core, *_ = app
    make, place = HOLDERS[what]
    kept = make(getattr(core, kind))
    moa.instrument(f"held_app.core:{kind}=call")
    (held_one,) = [one for one in moa.status().targets_held if one.startswith(f"held_app.core:{kind} ")]
    assert place in held_one
    assert f"held_elsewhere.{kind}" in held_one
    (event,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("moa.target_held")]
    assert f"target=held_app.core:{kind} held=" in event
    assert place in event
    assert "secret" not in event + held_one
    assert kept is not None
    moa.uninstrument()
    assert () == moa.status().targets_held


def test_a_bound_method_is_named(app):
    """A method that was taken from its instance before its class was instrumented."""
    core, *_ = app
    kept = core.Client().answer
    moa.instrument("held_app.core:Client.answer=call")
    assert ("held_app.core:Client.answer (a bound method)",) == moa.status().targets_held
    del kept


def test_a_function_that_nobody_holds_is_not_searched(app, monkeypatch):
    """Its references are counted, which costs nothing; no object of the process is visited."""
    core, *_ = app
    monkeypatch.setattr(gc, "get_referrers", lambda *_: pytest.fail("searched"))
    moa.instrument("held_app.core:run=turn,held_app.core:Client.answer=call,held_app.core:Client.Inner.of=call")
    assert () == moa.status().targets_held
    assert core.run


def test_searches_are_left_to_those_who_ask_when_they_took_long(app, caplog):
    """Half a second a process; the status finds out what was left out."""
    core, *_ = app
    kept = [core.ask]
    held.spent.seconds = 1.0
    moa.instrument("held_app.core:ask=call")
    assert [] == caplog.records
    assert ("held_app.core:ask (held_elsewhere.ask, a list)",) == moa.status().targets_held
    assert 1 == len(caplog.records)
    del kept


def test_nothing_is_kept_alive(app):
    """Neither a module, nor a function whose default was replaced, nor the function itself."""
    _, other, *_ = app
    moa.instrument("held_app.core:ask=call")
    fn = weakref.ref(other.use)
    del other.use
    gc.collect()
    assert fn() is None
    moa.uninstrument()


def test_a_hostile_holder_runs_no_code(app):
    """Attributes, comparisons, reprs and classes that raise, in modules as well."""
    core, _, _, elsewhere = app

    class Hostile:
        def __getattribute__(self, name):
            raise RuntimeError(name)

        def __eq__(self, _other):
            raise RuntimeError

        def __hash__(self):
            return 1

        def __repr__(self):
            raise RuntimeError

    hostile = Hostile()
    object.__setattr__(hostile, "kept", core.ask)
    elsewhere.hostile, elsewhere.table = hostile, {hostile: core.ask}
    sys.modules["held_hostile"] = hostile
    moa.instrument("held_app.core:ask=call")
    (one,) = moa.status().targets_held
    assert f"{__name__}.test_a_hostile_holder_runs_no_code.<locals>.Hostile.kept" in one
    assert "held_elsewhere.table" in one


def test_many_threads_instrument_and_undo_together(app):
    """In the end every name has the original."""
    from concurrent.futures import ThreadPoolExecutor

    core, other, *_ = app
    original, kept = core.ask, [core.ask]

    def work(_):
        moa.instrument("held_app.core:ask=call")
        moa.status()
        moa.uninstrument("held_app.core:ask")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert original is core.ask is other.alias is core.run.__defaults__[0] is kept[0]
