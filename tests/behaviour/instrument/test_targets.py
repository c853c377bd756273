"""Targets by name: written out, done and undone."""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._capture import config
from moa_middleware._capture.calls.function import Options
from moa_middleware._capture.instrument import offers
from moa_middleware._capture.instrument.grammar import read
from tests.support.targets_world import CLIENT, WRONG

SAID = "draft of a + draft of b"


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
    assert {"openai", "anthropic", "together", "groq", "litellm", "hermes"} <= set(offers.known_names())
    with pytest.raises(moa.TargetError) as error:
        moa.instrument("nobodys")
    assert ", ".join(sorted(offers.known_names())) in str(error.value)


def test_undoing_what_was_not_done_is_nothing():
    """As it is for objects; a malformed name is an error all the same."""
    moa.uninstrument("openai,targets_world:answer,nobodys")
    with pytest.raises(moa.TargetError):
        moa.uninstrument("openai=turn")


@pytest.mark.parametrize(
    ("package", "name"), [("boto3", "bedrock"), ("google.genai", "google-genai"), ("openai", "openai")]
)
def test_a_package_is_another_word_for_its_sdk(package, name):
    """What a program imports need not be what the SDK is called."""
    assert read(package).name == name
    assert read(f"{package}:answer").name == package
