"""What finalisers call while the interpreter ends behaves as without us, and is recorded as long as that is possible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PROGRAM = """
import atexit, json, os, sys, threading, types, weakref
import moa_middleware as moa
import wrapt

mode, place, how = sys.argv[1:4]
if mode == "on":
    moa.configure(save_traces=True, trace_dir=sys.argv[4], session_id="s")
call, turn = (lambda fn: fn, lambda fn: fn) if mode == "bare" else (moa.reference, moa.turn)

class Stream:
    number = 0
    def __iter__(self):
        return self
    def __next__(self):
        self.number += 1
        if self.number > 3:
            raise StopIteration
        return f"chunk {self.number}"
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self.close()
    def close(self):
        return "closed"

class Completions:
    def create(self, *, model, messages, stream=False):
        return Stream() if stream else {"choices": [{"message": {"role": "assistant", "content": "hi"}}]}
class Chat:
    completions = Completions()
class SDK:
    chat = Chat()

sdk = SDK()
if mode != "bare":
    moa.instrument(sdk)

@call
def ask(prompt):
    return f"answer {prompt}"
@call
def fails(prompt):
    raise KeyError(prompt)
@call
def stream(prompt):
    yield "a"
    yield "b"
@call
async def ask_async(prompt):
    return f"answer {prompt}"
class Client:
    @turn
    def create(self, prompt):
        return ask(prompt)

def run(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value

def create(stream):
    return sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "q"}], stream=stream)

def begun(stream):
    next(stream)
    return stream

WAYS = {
    "calls": lambda: (
        lambda: ask("x"), lambda: Client().create("x"), lambda: list(stream("x")), lambda: run(ask_async("x")),
        lambda: fails("x"), lambda: create(False), lambda: list(create(True)),
    ),
    "streams": lambda: (
        *(lambda s=s: list(s) for s in (begun(stream("x")), begun(create(True)), create(True), begun(iter(create(True))))),
        *(lambda s=s: s.close() for s in (begun(stream("x")), begun(create(True)), create(True))),
        *(lambda s=s: next(s) for s in (begun(stream("x")), begun(create(True)))),
        lambda s=create(True): s.__enter__() and s.__exit__(None, None, None),
    ),
}

class Late:
    def __init__(self):
        self.write, self.name = os.write, type.__name__
        self.ways = WAYS[how]()
        self.list, self.type, self.repr = list, type, repr
    def __del__(self):
        for way in self.ways:
            try:
                found = way()
            except BaseException as error:
                found = f"{self.type(error).__name__} {error}"
            self.write(1, f"{found}\\n".encode())

def module(name):
    sys.modules[name].late = Late()

def cycle():
    late = globals()["late"] = Late()
    late.me = late

def builtin():
    import builtins
    builtins.late = Late()

def a_finalizer():
    late = [Late()]
    class Thing: ...
    sys.thing = Thing()
    weakref.finalize(sys.thing, late.clear)

def a_generator():
    def generator(late):
        try:
            yield
        finally:
            late.__del__()
    globals()["late"] = generator(Late())
    next(late)

def a_thread():
    local = globals()["local"] = threading.local()
    local.late = Late()

PLACES = {
    "a global": lambda: globals().update(late=Late()), "a cycle": cycle, "builtins": builtin,
    "a generator": a_generator, "thread-local": a_thread, "atexit": lambda: atexit.register([Late()].clear),
    "a finalizer": a_finalizer,
}
PLACES[place]() if place in PLACES else module(place)
"""

LATE = ("json", "types", "wrapt", "os", "moa_middleware")
"""Modules that keep an object until Python clears them, when others are gone already."""
PLACES = ("a global", "a cycle", "builtins", "a generator", "thread-local", "atexit", "a finalizer")
COLLECTED = ("a global", "a cycle", "a generator", "thread-local")
"""Places that are freed by the collector, together with the program's module."""


def ended(mode, place, how, traces):
    """Run the program to its end; return what its finaliser saw, what else it printed, and its lines."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MOA_", "COVERAGE"))}
    command = [sys.executable, "-c", PROGRAM, mode, place, how, str(traces)]
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(line) for path in traces.glob("*.jsonl") for line in path.read_text().splitlines()]
    return done.stdout, done.stderr, lines


@pytest.mark.processes
@pytest.mark.parametrize("how", ["calls", "streams"])
@pytest.mark.parametrize("place", [*PLACES, *LATE])
def test_finalisers_see_what_they_see_without_us(place, how, tmp_path):
    """Whatever holds the object: its own module, a cycle, or a module that is cleared late."""
    if place in COLLECTED and (3, 12) <= sys.version_info[:3] < (3, 12, 4):
        pytest.skip("`inspect.getattr_static` of this Python keeps the classes that it has seen (gh-118013)")
    bare, noise, _ = ended("bare", place, how, tmp_path)
    off, off_noise, none = ended("off", place, how, tmp_path)
    on, errors, lines = ended("on", place, how, tmp_path)
    assert bare == off == on
    assert noise == off_noise == ""
    assert [] == none
    # What could not be recorded, since parts of the standard library are gone, is counted and logged.
    assert all(line.startswith("moa.") for line in errors.splitlines())
    if how == "streams":
        assert 10 == len(lines)
    else:
        # An object of an SDK's that is collected together with the finaliser, or before it, is not known any more.
        missed = 2 if place in (*COLLECTED, "moa_middleware") else 0
        assert bare.count("\n") == (14 if place == "a generator" else 7)  # that one calls them twice
        assert errors or len(lines) >= 7 - missed
        assert place in LATE or not errors


@pytest.mark.parametrize("how", ["calls", "streams"])
def test_a_decorated_function_is_called_at_shutdown(how, tmp_path):
    """The case that users meet: an object in a module that was imported before the library was."""
    bare, _, _ = ended("bare", "types", how, tmp_path)
    on, _, _ = ended("on", "types", how, tmp_path)
    assert bare == on
    assert "answer x" in bare or "closed" in bare


def test_a_writer_is_let_go_of_before_the_end(tmp_path):
    """Its own `__del__` may flush what it holds; so may a middleware's."""
    code = """
import os
import moa_middleware as moa
class Held:
    def __init__(self, name):
        self.name, self.call, self.lines = name, os.write, []
    def write(self, session_id, line):
        self.lines.append(line)
    def __call__(self, call):
        return (yield call)
    def __del__(self):
        self.call(1, f"{self.name} {len(self.lines)}\\n".encode())
moa.configure(save_traces=True, writer=Held("writer"), middleware=[Held("middleware")], on_turn=lambda _, held=Held("on_turn"): None)
@moa.reference
def ask(prompt):
    return prompt
ask("x")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=60, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "" == done.stderr
    assert ["middleware 0", "on_turn 0", "writer 1"] == sorted(done.stdout.splitlines())


def test_modules_that_are_taken_from_a_running_program_stay(tmp_path):
    """Tests and reloaders clear `sys.modules`; only at the end of the interpreter the guard does."""
    code = """
import sys
import moa_middleware as moa
before = {name for name in sys.modules if name.startswith("moa_middleware")}
guard = next(name for name in before if "<" in name)
del sys.modules[guard]
assert all(sys.modules[name] is not None for name in before - {guard})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)
