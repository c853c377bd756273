"""Targets of an SDK, offered by another package, and named in the environment."""

from __future__ import annotations

import importlib
import logging
import sys

import pytest

import moa_middleware as moa
from moa_middleware._capture.calls.function import Options
from moa_middleware._capture.instrument import offers, targets
from moa_middleware.testing import Script, ScriptedServer
from tests.support.targets_world import WRONG

# SDKs --------------------------------------------------------------------------------------------


def test_a_client_that_nobody_named_is_on_record(turns):
    """Clients made before and after; undone, the SDK's classes are as they were."""
    import openai
    from openai.resources.chat.completions import AsyncCompletions, Completions

    before = [dict(vars(cls)) for cls in (Completions, AsyncCompletions)]

    def ask(client):
        return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "why"}])

    with ScriptedServer({"m": Script("an answer")}) as server:
        early = openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0)
        assert "openai" == moa.instrument("openai")
        late = openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0)
        for client in early, late, late.with_options(timeout=9):
            assert "an answer" == ask(client).choices[0].message.content
        assert 3 == len(turns)
        moa.uninstrument("openai")
        ask(early)
        moa.instrument("openai")
        moa.uninstrument()
        ask(late)
    assert 3 == len(turns)
    after = [dict(vars(cls)) for cls in (Completions, AsyncCompletions)]
    assert all(old[name] is new[name] for old, new in zip(before, after, strict=True) for name in {*old, *new})


# Offered by other packages -----------------------------------------------------------------------

OFFER = """
import moa_middleware as moa
import offered_log
offered_log.seen.append("loaded")

ONE = moa.Target("targets_world", "answer", "turn", session_id="offered")
SEVERAL = (ONE, moa.Target("targets_world", "Base.propose", "reference", label=lambda model: f"the {model}"))
VERSIONS = [ONE, moa.Target("targets_world", "gone", optional=True), moa.Target("targets_world", "lost")]
TEXT = "targets_world:answer"
NUMBER = 3
OPTION = moa.Target("targets_world", "answer", options={"nothing": 1})

def custom(stack):
    offered_log.seen.append(stack)
    return lambda: offered_log.seen.append("undone")

def silent(stack):
    stack.instrument("targets_world:answer=turn")

def fails(stack):
    raise ValueError("secret-4711")

def fails_later(stack):
    def back():
        raise ValueError("secret-4711")
    return back

MIXED = [ONE, custom]
"""
POINTS = {
    "one": "offered:ONE",
    "several": "offered:SEVERAL",
    "versions": "offered:VERSIONS",
    "custom": "offered:custom",
    "silent": "offered:silent",
    "mixed": "offered:MIXED",
    "text": "offered:TEXT",
    "number": "offered:NUMBER",
    "option": "offered:OPTION",
    "fails": "offered:fails",
    "fails-later": "offered:fails_later",
    "nothing": "offered:NOTHING",
    "absent": "absent_package:TARGETS",
    "openai": "offered:custom",
}


@pytest.fixture
def seen(tmp_path, module, monkeypatch):
    """Install a package that offers targets; return what it does."""
    import types

    info = tmp_path / "offered-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    lines = "".join(f"{name} = {where}\n" for name, where in POINTS.items())
    (info / "entry_points.txt").write_text(f"[{offers.GROUP}]\n{lines}")
    log = types.ModuleType("offered_log")
    log.seen = []
    monkeypatch.setitem(sys.modules, "offered_log", log)
    module(OFFER, "offered")
    return log.seen


def test_an_offer_is_loaded_when_it_is_asked_for(seen, world, turns):
    """And not before, nor for its name to be told."""
    assert {"one", "several", "hermes"} <= set(offers.known_names())
    assert [] == seen
    moa.instrument("one")
    assert ["loaded"] == seen
    world.answer("why")
    assert ["offered"] == [turn["session_id"] for turn in turns]


def test_an_offer_may_be_several_targets(seen, module, turns):
    """For a module that comes later too; undone by its name."""
    name = module()
    moa.instrument("several")
    world = importlib.import_module(name)
    world.answer("why")
    (turn,) = turns
    assert ["the a", "the b"] == [call["label"] for call in turn["references"]]
    moa.uninstrument("several")
    world.answer("why")
    assert 1 == len(turns)


def test_an_offer_may_name_what_some_versions_lack(seen, world, turns, caplog):
    """What is optional is passed over, the other one is named, and the rest works."""
    moa.instrument("versions")
    world.answer("why")
    assert 1 == len(turns)
    assert ["moa.target_missing"] == [record.args[0] for record in caplog.records]
    assert "targets_world:lost" in caplog.text


def test_an_offer_may_be_a_function_of_the_stack(seen):
    """It is called once, and what it returns undoes it."""
    stack = moa.Stack()
    for _ in range(2):
        stack.instrument("custom")
    assert ["loaded", stack] == seen
    stack.uninstrument("custom")
    stack.uninstrument("custom")
    assert ["loaded", stack, "undone"] == seen
    stack.instrument("custom")
    stack.uninstrument()
    assert ["loaded", stack, "undone", stack, "undone"] == seen


def test_an_offer_may_return_nothing(seen, world, turns):
    """What it did through the stack goes when everything does."""
    moa.instrument("silent")
    world.answer("why")
    moa.uninstrument()
    world.answer("why")
    assert 1 == len(turns)


def test_an_offer_may_be_mixed(seen, world, turns):
    """Targets and functions in one list."""
    moa.instrument("mixed")
    world.answer("why")
    assert ["loaded", moa.default_stack] == seen
    assert 1 == len(turns)


def test_our_names_win(seen):
    """A package cannot take the place of an SDK's name."""
    moa.instrument("openai")
    assert [] == seen


BROKEN = ["text", "number", "option", "fails", "nothing", "absent"]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_offer_is_an_error_in_code(name, seen, world, turns):
    """It names the target; what is wrong inside is its cause, and no text of it is repeated."""
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument(name)
    assert "4711" not in str(caught.value)
    assert name in str(caught.value) or "targets_world:answer: unknown option nothing" == str(caught.value)
    world.answer("why")
    assert [] == turns


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_offer_is_logged_where_the_environment_asks(name, seen, world, turns, caplog):
    """Once, and what stands beside it works."""
    for _ in range(2):
        targets.apply(f"{name},targets_world:answer=turn", moa.default_stack, Options("call"))
    world.answer("why")
    assert 1 == len(turns)
    (record,) = caplog.records
    assert record.args[0] in ("moa.target_failed", "moa.target_unknown")
    assert (record.levelno, record.name) == (logging.WARNING, "moa_middleware")
    assert name in caplog.text
    assert "4711" not in caplog.text


def test_an_offer_whose_undoing_fails_harms_nothing(seen, world, turns, caplog):
    """Everything else is undone all the same."""
    moa.instrument("one,fails-later,several")
    moa.uninstrument()
    world.answer("why")
    assert [] == turns
    assert "moa.target_failed" in caplog.text
    assert "4711" not in caplog.text


# From the environment ----------------------------------------------------------------------------


def test_what_the_environment_names_wrong_is_said_once(world, turns, caplog):
    """Each entry once, however often it is applied; nothing is raised."""
    wrong = [name for name in WRONG if name.strip(" ,") and "," not in name]
    for _ in range(2):
        targets.apply(
            ",".join([*wrong, "", "targets_world:answer=turn", "targets_world:answer=call"]),
            moa.default_stack,
            Options("call"),
        )
    world.answer("why")
    assert 1 == len(turns)
    said = [record.getMessage() for record in caplog.records]
    assert len(wrong) + 1 == len(said)
    for entry in wrong:
        assert [entry.partition("=")[0] in line for line in said].count(True) >= 1
    assert any("is a turn already" in line for line in said)


def test_a_child_does_not_repeat_what_its_parent_said(world, caplog):
    """`report=False` is for the children of the program that was run."""
    targets.apply("nobodys,targets_world:nothing,absent:f", moa.default_stack, Options("call"), report=False)
    assert [] == caplog.records
