"""
Twelve programs, each run by zero code, by decorators and with a block: every request is in the record that it belongs in.

The server's log says what was asked and answered, the table of the program what each request was for
(`tests/support/program_truth.py`). What the program prints never changes.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import runpy
import subprocess
import sys
from collections import Counter
from functools import wraps
from pathlib import Path

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import ScriptedServer
from tests.conftest import lines_of
from tests.support import forked
from tests.support.program_truth import PROGRAMS, Models

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "tests" / "support" / "programs"
WAYS = ("zero code", "decorators", "block")

_printed: dict[str, str] = {}
"""What each program prints where we are not there."""


@contextlib.contextmanager
def serving(program, monkeypatch):
    """Serve a program's models, to whom the SDK's environment leads."""
    models = Models(program)
    with ScriptedServer({}, default=models) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-of-the-tests-0123456789")
        yield server, models


def run_here(program, *, change=lambda module: None, start=lambda run: run()):
    """Run a program in this process and return what it printed; `change` gets its module, `start` what runs it."""
    out = io.StringIO()
    sys.path.insert(0, str(PLACE))
    try:
        with contextlib.redirect_stdout(out):
            if program.is_script:
                path = str(PLACE / f"{program.name}.py")
                start(lambda: runpy.run_path(path, run_name="__main__") and None)
            else:
                module = importlib.import_module(program.name)
                change(module)
                start(module.main)
    finally:
        sys.path.remove(str(PLACE))
        sys.modules.pop(program.name, None)
    return out.getvalue()


def run_there(program, quick, **environment):
    """Run a program in a process of its own, by `moa run`, and return what it printed."""
    assert openai.resources.chat.completions  # imported once, before the forks
    args = ["run", *(["--turn", f"{program.name}.py"] if program.target is None else ["start.py", program.name])]
    env = {**os.environ, **environment}
    is_off = environment.get("MOA_SAVE_TRACES") == "0"
    # A program that is one turn ends with its interpreter, which a fork has none of.
    if is_off or (quick and program.target is not None):
        done = forked.run(args, env=env, cwd=PLACE)
    else:
        command = [sys.executable, "-m", "moa_middleware", *args]
        done = subprocess.run(command, env=env, cwd=PLACE, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def owner_of(module, path):
    """Return what holds a function, and the function's name in it."""
    *steps, name = path.split(".")
    for step in steps:
        module = getattr(module, step)
    return module, name


def decorate(program):
    """Return a function that puts decorators before the functions of a module."""

    def change(module):
        for path, role in program.decorated.items():
            owner, name = owner_of(module, path)
            setattr(owner, name, getattr(moa, role)(getattr(owner, name)))

    return change


def open_blocks(program):
    """Return a function that opens a block around the body of a function of a module."""

    def change(module):
        owner, name = owner_of(module, program.blocks)
        inner = getattr(owner, name)

        @wraps(inner)
        def fn(*args, **kwargs):
            named = inspect.signature(inner).bind(*args, **kwargs).arguments
            with moa.turn(session_id=named.get("session_id")):
                return inner(*args, **kwargs)

        setattr(owner, name, fn)

    return change


def run(program, way, quick):
    """Run a program in one of the three ways, and return what it printed."""
    if way == "zero code":
        entries = ["openai", *([f"{program.name}:{program.target}=turn"] if program.target else [])]
        return run_there(program, quick, MOA_INSTRUMENT=",".join(entries))
    moa.instrument("openai")
    if way == "decorators":
        whole = moa.turn if program.is_script else lambda fn: fn
        return run_here(program, change=decorate(program), start=lambda fn: whole(fn)())

    def in_a_block(fn):
        with moa.turn():
            fn()

    if program.blocks is None:
        return run_here(program, start=in_a_block)
    return run_here(program, change=open_blocks(program))


def calls_of(turn):
    """Return every call of a line."""
    return [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]


def key_of(program, call):
    """Return the key of the request that a record shows."""
    return program.key({**call["params"], "model": call["model"], "messages": call["input_messages"]})


def named(call, expected):
    """Return a role as the tables write it; a call whose role is unknown does not count as another call where they demand that."""
    if expected == "?" and (call["role"], call["role_source"]) == ("call", "unknown"):
        return "?"
    return {"reference": f"R{call['layer']}", "aggregator": "A", "call": "C"}.get(call["role"], call["role"])


def check(program, way, lines, server, models):
    """Assert that lines show what the server's log and the tables say: every request once, and where it belongs."""
    asked = {key: (body, text) for key, body, text in models.log}
    tables = [dict(table) for table in program.turns]
    assert Counter(key for key, _, _ in models.log) == Counter(key for table in tables for key in table)
    if way == "block" or program.is_script:
        tables = [{key: program.in_a_block.get(key, role) for key, role in table.items()} for table in tables]
    usage = {sent.text: sent.usage for sent in server.sent}
    found = []
    for turn in lines:
        assert (turn["schema"], turn["outcome"], turn["instrumentation_errors"]) == ("moa-turn/1", "completed", 0)
        calls = calls_of(turn)
        keys = [key_of(program, call) for call in calls]
        for key, call in zip(keys, calls, strict=True):
            body, text = asked[key]
            assert call["input_messages"] == body["messages"], key
            assert call["streamed"] is bool(body.get("stream")), key
            if text is None:
                # A function that caught the error returned something in its place.
                instead = program.caught if way == "decorators" else ""
                failed = (instead, "error", "openai.BadRequestError")
                assert (call["output"] or "", call["outcome"], call["error"]["type"]) == failed, key
                assert call.get("handled", False) is (way == "decorators"), key
                continue
            assert (call["output"], call["outcome"]) == (text, "completed"), key
            sent = usage[text]
            tokens = (call["usage"]["input_tokens"], call["usage"]["output_tokens"])
            assert tokens == (sent["prompt_tokens"], sent["completion_tokens"]), key
        assert turn["totals"]["calls"] == len(calls)
        assert turn["totals"]["failed"] == len(program.failing & set(keys))
        expected = next(table for table in tables if keys[0] in table)
        found.append({key: named(call, expected.get(key)) for key, call in zip(keys, calls, strict=True)})
    assert sorted(map(sorted, (table.items() for table in found))) == sorted(
        map(sorted, (table.items() for table in tables))
    )
    if program.sessions is not None:
        assert sorted(turn["session_id"] for turn in lines) == list(program.sessions)


CASES = [pytest.param(program, way, id=f"{program.name}-{way}") for program in PROGRAMS for way in WAYS]


@pytest.fixture
def alone(program, monkeypatch):
    """Return what a program prints where we are not there."""
    if program.name not in _printed:
        with serving(program, monkeypatch):
            _printed[program.name] = run_here(program)
    return _printed[program.name]


@pytest.mark.crowd(facets=lambda program, way: (program.name, way))
@pytest.mark.parametrize(("program", "way"), CASES)
def test_every_request_is_where_it_belongs(  # noqa: PLR0917 - fixtures
    program, way, alone, quick, monkeypatch, trace_dir
):
    """Once, in its turn, with its role, layer, messages, tokens and text; and the program prints what it prints alone."""
    with serving(program, monkeypatch) as (server, models):
        shown = run(program, way, quick)
    assert shown == alone
    lines = [line for file in sorted(trace_dir.rglob("*.jsonl")) for line in lines_of(file)]
    check(program, way, lines, server, models)


@pytest.mark.crowd(facets=lambda program: (program.target is None,))
@pytest.mark.parametrize("program", [pytest.param(program, id=program.name) for program in PROGRAMS])
def test_off_is_as_if_we_were_not_there(program, alone, monkeypatch, quick, tmp_path):
    """Started by `moa run` with the switch off: the same output, and nothing is written."""
    place = tmp_path / "traces"
    entries = ["openai", *([f"{program.name}:{program.target}=turn"] if program.target else [])]
    with serving(program, monkeypatch):
        shown = run_there(
            program, quick, MOA_INSTRUMENT=",".join(entries), MOA_SAVE_TRACES="0", MOA_TRACE_DIR=str(place)
        )
    assert shown == alone
    assert not place.exists()
