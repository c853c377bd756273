"""Targets by name: written out, of an SDK, and offered by another package; done and undone."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import pickle
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._capture import config
from moa_middleware._capture.calls.function import Options
from moa_middleware._capture.instrument import targets
from moa_middleware.testing import Script, ScriptedServer

CLIENT = """
class Base:
    def propose(self, model):
        return f"draft of {model}"

    def create(self, prompt):
        return self.combine([self.propose("a"), self.propose("b")])

class Client(Base):
    def combine(self, drafts):
        return " + ".join(drafts)

    class Inner:
        @staticmethod
        def ask(prompt):
            return "inner"

class Part:
    def create(self, prompt):
        return "part"

class Chat:
    def __init__(self):
        self.completions = Part()

class Sdk:
    def __init__(self):
        self.chat = Chat()

client = Client()

def answer(prompt):
    return client.create(prompt)

async def later(prompt):
    return "later"
"""
SAID = "draft of a + draft of b"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that makes a module, not imported yet, and returns its name."""
    made = []

    def make(text=CLIENT, name="targets_world"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(tmp_path)
        made.append(name)
        return name

    yield make
    moa.uninstrument()
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def world(module):
    """Return a module that is imported."""
    return importlib.import_module(module())


def kinds(turns):
    """Return each turn as its numbers of references, of aggregators and of other calls."""
    return [(len(t["references"]), int(t["aggregator"] is not None), len(t["calls"])) for t in turns]


# The target itself -------------------------------------------------------------------------------


def test_a_target_is_a_value():
    """Frozen, slotted, equal by its fields, picklable, and printed in full."""
    target = moa.Target("pkg.mod", "Class.method", "turn", session_id="s")
    assert target == moa.Target(module="pkg.mod", path="Class.method", role="turn", session_id="s")
    assert target != moa.Target("pkg.mod", "Class.method")
    assert not hasattr(target, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        target.role = "call"
    assert target == pickle.loads(pickle.dumps(target))
    assert "pkg.mod:Class.method" == target.name
    assert "session_id='s'" in repr(target)


def test_options_are_by_keyword_only():
    """A fourth argument by position would be a guess."""
    with pytest.raises(TypeError):
        moa.Target("m", "f", "call", "label")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("", "f"), "module is a dotted name"),
        (("a b", "f"), "module is a dotted name"),
        (("m", ""), "path is a dotted name"),
        (("m", "f."), "path is a dotted name"),
        (("m", "f()"), "path is a dotted name"),
        ((None, "f"), "module is a dotted name"),
        (("m", "f", "boss"), "unknown role 'boss'; choose from turn, reference, aggregator, call"),
        (("m", "f", ""), "unknown role ''"),
    ],
)
def test_a_malformed_target_is_refused(args, says):
    """The error says what is right."""
    with pytest.raises(moa.TargetError, match="role") as caught:
        moa.Target(*args)
    assert says in str(caught.value)


def test_a_target_takes_every_option_of_a_function():
    """Each option has a field, or goes into `options`, where one that is unknown is an error."""
    fields = {field.name for field in dataclasses.fields(moa.Target)} - {"module", "path", "optional", "options"}
    rest = set(Options._fields) - fields - {"kind"}
    values = {name: f"the {name}" for name in fields - {"role"}}
    options = moa.Target("m", "f", "reference", **values, options=dict.fromkeys(rest, 1)).options_over(Options("call"))
    assert values | {"kind": "call", "role": "reference"} | dict.fromkeys(rest, 1) == options._asdict()
    for name in "reeds", "kind":
        with pytest.raises(moa.TargetError, match=f"unknown option {name}"):
            moa.Target("m", "f", options={name: 1}).options_over(Options("call"))


@pytest.mark.parametrize(
    ("role", "kind", "said"),
    [(None, "call", None), ("call", "call", None), ("turn", "turn", None), ("aggregator", "call", "aggregator")],
)
def test_a_role_is_a_kind_and_a_role(role, kind, said):
    """`turn` is a kind; `call` and nothing leave the role to be inferred."""
    options = moa.Target("m", "f", role).options_over(Options("call", preset="p"))
    assert (kind, said, "p") == (options.kind, options.role, options.preset)


# By name, from code ------------------------------------------------------------------------------

TARGETS = "targets_world:Base.create=turn,targets_world:Base.propose=reference, targets_world:Client.combine=aggregator"


def test_a_module_that_is_there_is_instrumented_at_once(world, turns):
    """The string comes back, as an object would."""
    assert moa.instrument(TARGETS) is TARGETS
    assert SAID == world.answer("why")
    assert [(2, 1, 0)] == kinds(turns)


def test_a_module_that_comes_later_is_instrumented_then(module, turns):
    """Nothing is imported for its sake."""
    name = module()
    moa.instrument(TARGETS)
    assert name not in sys.modules
    world = importlib.import_module(name)
    assert SAID == world.answer("why")
    assert [(2, 1, 0)] == kinds(turns)


PATHS = {
    # path: what calls it, what is on record
    "answer": (lambda world: world.answer("why"), SAID),
    "client.create": (lambda world: world.client.create("why"), SAID),
    "Client.create": (lambda world: world.Client().create("why"), SAID),
    "Client.Inner.ask": (lambda world: world.Client.Inner().ask("why"), "inner"),
    "Sdk.chat.completions.create": (lambda world: world.Sdk().chat.completions.create("why"), "part"),
}


@pytest.mark.parametrize("role", ["=turn", "=aggregator", "=call", ""])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("first", ["the import", "the target"])
def test_every_kind_of_path_leads_somewhere(first, path, role, module, turns):
    """A function, a method of an instance, of a class, of a class in a class, and of what instances have."""
    name, (call, text) = module(), PATHS[path]
    if first == "the import":
        importlib.import_module(name)
    moa.instrument(f"{name}:{path}{role}")
    world = importlib.import_module(name)
    assert text == call(world)
    (turn,) = turns
    if role != "=turn":
        assert text == turn["output"] == turn["aggregator"]["output"]
    moa.uninstrument(f"{name}:{path}")
    call(world)
    assert 1 == len(turns)


def attributes(world):
    """Return every attribute of the module's classes, and of the module."""
    owners = [world, world.client, *(v for v in vars(world).values() if isinstance(v, type)), world.Client.Inner]
    # Identities: a wrapper is equal to what it wraps.
    return [(repr(owner), sorted((name, id(value)) for name, value in vars(owner).items())) for owner in owners]


@pytest.mark.parametrize("undo", ["each", "all", "together"])
def test_undone_every_attribute_is_as_it_was(undo, world, turns):
    """No wrapper stays, no attribute that was inherited, no hook of subclasses or instances."""
    world.client.__dict__
    before = attributes(world)
    names = [f"{world.__name__}:{path}" for path in PATHS]
    moa.instrument(",".join(names))
    assert attributes(world) != before
    if undo == "each":
        for name in names:
            moa.uninstrument(name)
    else:
        moa.uninstrument(",".join(names) if undo == "together" else None)
    assert attributes(world) == before
    for call, _ in PATHS.values():
        call(world)
    assert [] == turns


@given(order=st.permutations(sorted(PATHS)))
def test_each_is_undone_alone_and_in_any_order(order):
    """What is undone acts no more, what is not acts on."""
    import types

    world = types.ModuleType("targets_given")
    sys.modules["targets_given"] = world
    exec(CLIENT, world.__dict__)
    before = attributes(world)
    try:
        records = []
        config.reset()
        moa.configure(on_turn=records.append)
        for path in order:
            moa.instrument(f"targets_given:{path}=call")
        for n, path in enumerate(order):
            moa.uninstrument(f"targets_given:{path}")
            for other in order[n + 1 :]:
                records.clear()
                PATHS[other][0](world)
                assert records, (path, other)
            if not {path, *order[n + 1 :]} & {"answer", "client.create", "Client.create"}:
                records.clear()
                PATHS[path][0](world)
                assert not records, path
        assert attributes(world) == before
    finally:
        moa.uninstrument()
        del sys.modules["targets_given"]


@pytest.mark.parametrize("undo", [None, TARGETS])
def test_a_hook_that_has_not_fired_does_nothing_after_it_was_undone(undo, module, turns):
    """The module comes when nobody asks for it any more."""
    name = module()
    moa.instrument(TARGETS)
    moa.uninstrument(undo)
    world = importlib.import_module(name)
    assert SAID == world.answer("why")
    assert [] == turns
    assert not hasattr(vars(world.Base)["create"], "__wrapped__")


def test_asked_again_it_acts_again(module, turns):
    """Also between two imports of what is undone."""
    name = module()
    for _ in range(2):
        moa.instrument(TARGETS)
        moa.uninstrument(TARGETS)
    moa.instrument(TARGETS)
    world = importlib.import_module(name)
    world.answer("why")
    moa.uninstrument(world.Base)
    moa.instrument(TARGETS)
    world.answer("why")
    assert [(2, 1, 0)] * 2 == kinds(turns)


def test_twice_is_one_layer(world, turns):
    """By name and by name, by name and by object, in one stack."""
    moa.instrument(TARGETS)
    moa.instrument(TARGETS)
    moa.instrument(world.Base, turn="create", reference="propose")
    world.answer("why")
    assert [(2, 1, 0)] == kinds(turns)


def test_what_was_instrumented_by_object_outlasts_what_was_by_name(world, turns):
    """Undoing one path of a class leaves its others, and those of its subclasses to come."""
    moa.instrument(world.Base, turn="create")
    moa.instrument("targets_world:Base.propose=reference")
    moa.uninstrument("targets_world:Base.propose")

    class Late(world.Client):
        def create(self, prompt):
            return "late " + super().create(prompt)

        def propose(self, model):
            return "late"

    world.answer("why")
    Late().create("why")
    assert [(0, 0, 0), (0, 0, 0)] == kinds(turns)
    moa.uninstrument(world.Base)
    assert "__init_subclass__" not in vars(world.Base)


def test_subclasses_follow_the_rules_of_classes(world, turns):
    """An override is instrumented, before and after; its `super()` call is the same turn."""

    class Early(world.Client):
        def create(self, prompt):
            return super().create(prompt)

    moa.instrument(TARGETS)

    class Late(Early):
        def create(self, prompt):
            return super().create(prompt)

    assert SAID == Early().create("why") == Late().create("why")
    assert [(2, 1, 0)] * 2 == kinds(turns)


def test_a_stack_of_one_s_own_has_its_own_targets(world, turns):
    """Undoing those of one leaves those of the other."""
    seen = []

    def watch(call):
        seen.append(call.role)
        yield call

    stack = moa.Stack([watch])
    stack.instrument("targets_world:Base.propose=reference")
    moa.instrument("targets_world:Base.propose=reference,targets_world:answer=turn")
    moa.uninstrument()
    world.answer("why")
    assert ["reference"] * 2 == seen
    stack.uninstrument()
    world.answer("why")
    assert ["reference"] * 2 == seen


def test_session_and_preset_are_those_of_the_call(world, turns):
    """The options of `instrument` go to what has none of its own."""
    moa.instrument("targets_world:answer=turn", session_id="s", preset=lambda prompt: f"p-{prompt}")
    world.answer("why")
    assert ("s", "p-why") == (turns[0]["session_id"], turns[0]["preset"])


WRONG = {
    "nobodys": "unknown target 'nobodys'; choose from anthropic, ",
    "": "'' names no target; choose from anthropic, ",
    " , ": "names no target",
    "targets_world": "unknown target 'targets_world'",
    "targets_world:": "path is a dotted name",
    "targets_world:answer=": "unknown role ''",
    "targets_world:answer=chief": "unknown role 'chief'",
    "targets_world:answer=turn=turn": "unknown role 'turn=turn'",
    "openai=turn": "a name takes no role",
    "targets_world:nothing": "targets_world has no attribute 'nothing'",
    "targets_world:Client.nothing=turn": "Client has no attribute 'nothing'",
    "targets_world:client": "which cannot be called",
    "targets_world:answer=turn,targets_world:answer=reference": "is a turn already; a function has one role",
    "later.comes:f=turn,later.comes:f": "is a turn already; a function has one role",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_an_error_and_touches_nothing(wrong, world, turns):
    """From code the place of the mistake is known; what stands beside it is not instrumented."""
    before = attributes(world)
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument(wrong)
    assert WRONG[wrong] in str(caught.value)
    with pytest.raises(moa.TargetError):
        moa.instrument(f"targets_world:Client.create=turn,{wrong.strip(' ,') or 'x y'}")
    assert before == attributes(world)
    moa.instrument("targets_world:answer=turn")
    world.answer("why")
    assert 1 == len(turns)


def test_a_role_that_was_given_stays(world):
    """Another one for the same function is an error, until the first is undone."""
    moa.instrument("targets_world:answer=turn")
    with pytest.raises(moa.TargetError, match="is a turn already"):
        moa.instrument("targets_world:answer=reference")
    moa.uninstrument("targets_world:answer=turn")
    moa.instrument("targets_world:answer=reference")


def test_a_string_names_its_paths_itself(world):
    """Paths beside a string are a mistake."""
    with pytest.raises(moa.TargetError, match="a string names its paths itself"):
        moa.instrument("targets_world:Client", turn="create")


def test_the_known_names_are_told():
    """Those of the SDKs and of this package."""
    assert {"openai", "anthropic", "together", "groq", "litellm", "hermes"} <= set(targets.known_names())
    with pytest.raises(moa.TargetError, match="anthropic, groq, hermes, litellm, openai, together"):
        moa.instrument("nobodys")


def test_undoing_what_was_not_done_is_nothing():
    """As it is for objects; a malformed name is an error all the same."""
    moa.uninstrument("openai,targets_world:answer,nobodys")
    with pytest.raises(moa.TargetError):
        moa.uninstrument("openai=turn")


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
    (info / "entry_points.txt").write_text(f"[{targets.GROUP}]\n{lines}")
    log = types.ModuleType("offered_log")
    log.seen = []
    monkeypatch.setitem(sys.modules, "offered_log", log)
    module(OFFER, "offered")
    return log.seen


def test_an_offer_is_loaded_when_it_is_asked_for(seen, world, turns):
    """And not before, nor for its name to be told."""
    assert {"one", "several", "hermes"} <= set(targets.known_names())
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
