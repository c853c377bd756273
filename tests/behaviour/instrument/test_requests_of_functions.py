"""What a plain function is asked: its system text, its request and its model, by usual names or by those that are given."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import sys
from types import SimpleNamespace

import pytest

import moa_middleware as moa
from tests.support.plain_request import ASKED, BOTH, BRIEF, SYSTEM, USER, call_of

# Usual names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["system", "system_prompt", "instructions"])
@pytest.mark.parametrize("user", ["prompt", "user", "text", "content", "messages"])
def test_the_system_text_comes_first(turns, system, user):
    """By place and by name, in front of a text and of a list of messages."""
    scope = {}
    exec(f"def ask({system}, {user}): return 'an answer'", scope)
    ask = moa.reference(scope["ask"])
    ask(BRIEF, ASKED)
    assert (BOTH, []) == (call_of(turns)["input_messages"], call_of(turns)["params_omitted"])
    ask(**{user: [USER], system: BRIEF})
    assert (BOTH, []) == (call_of(turns)["input_messages"], call_of(turns)["params_omitted"])


SHAPES = {}


def shape(fn):
    """Add a function that asks in one of the forms."""
    SHAPES[fn.__name__] = fn
    return fn


@shape
def sync(decorate):
    @decorate
    def ask(system, user):
        return "an answer"

    assert "an answer" == ask(BRIEF, ASKED)


@shape
def coroutine(decorate):
    @decorate
    async def ask(system, user):
        return "an answer"

    assert "an answer" == asyncio.run(ask(BRIEF, user=ASKED))


@shape
def iterator(decorate):
    @decorate
    def ask(system, user):
        yield "an answer"

    assert ["an answer"] == list(ask(system=BRIEF, user=ASKED))


@shape
def async_iterator(decorate):
    @decorate
    async def ask(system, user):
        yield "an answer"

    async def run():
        return [piece async for piece in ask(BRIEF, ASKED)]

    assert ["an answer"] == asyncio.run(run())


@pytest.mark.parametrize("ask", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("middleware", [[], [lambda call: (yield call)]], ids=["straight", "conversation"])
def test_every_shape_and_both_roads_record_the_system_text(turns, ask, middleware):
    """Also as the middleware sees the call."""
    ask(moa.Stack(middleware).reference)
    assert BOTH == call_of(turns)["input_messages"]


def test_a_turn_has_its_system_text_too(turns):
    """`input_messages` of the turn."""

    @moa.turn
    def create(user, instructions=None):
        return "an answer"

    create(ASKED, BRIEF)
    create(ASKED)
    assert [BOTH, [USER]] == [turn["input_messages"] for turn in turns]


TURNS_OF_A_USER = {
    "the id alone": ("user", {"user": "u-17"}, None),
    "and a question": ("user, question", {"user": "u-17", "question": ASKED}, [USER]),
    "and a text": ("user, text", {"user": "u-17", "text": ASKED}, [USER]),
    "and anything": ("user, **rest", {"user": "u-17", "limit": 3}, None),
    "a system": ("system, user", {"user": ASKED, "system": BRIEF}, BOTH),
    "a system_prompt": ("user, system_prompt=None", {"user": ASKED}, [USER]),
    "instructions": ("user, instructions", {"user": ASKED, "instructions": BRIEF}, BOTH),
}


@pytest.mark.parametrize("case", TURNS_OF_A_USER)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_the_user_of_a_turn_is_its_request_only_with_a_system_text(turns, kind, case):
    """A view gets the id of a user by this name."""
    parameters, given, expected = TURNS_OF_A_USER[case]
    scope = {}
    exec(f"{kind} view({parameters}): return 'an answer'", scope)
    answer = moa.turn(scope["view"])(**given)
    assert "an answer" == (asyncio.run(answer) if kind == "async def" else answer)
    assert expected == turns[0]["input_messages"]


def test_a_named_system_text_or_request_makes_the_user_of_a_turn_a_request(turns):
    """Options say what a turn is asked, and a call has `user` as before."""
    moa.turn(system="persona")(lambda persona, user: "an answer")(BRIEF, ASKED)
    moa.turn(messages="user")(lambda user: "an answer")(ASKED)
    moa.turn(messages="words")(lambda user, words: "an answer")("u-17", ASKED)
    moa.reference(lambda user: "an answer")(ASKED)
    assert [BOTH, [USER], [USER]] == [turn["input_messages"] for turn in turns[:3]]
    assert [USER] == call_of(turns)["input_messages"]


def test_the_seven_names_go_before_the_new_ones(turns):
    """`user` may be the id of somebody; what is not read is named."""

    @moa.reference
    def ask(prompt, user, system=None, instructions=None):
        return "an answer"

    ask(ASKED, "u-17", BRIEF, "And kind.")
    assert (BOTH, {"user", "instructions"}) == (call_of(turns)["input_messages"], {*call_of(turns)["params_omitted"]})
    ask(ASKED, "u-17", system="")
    assert ([USER], ["user"]) == (call_of(turns)["input_messages"], call_of(turns)["params_omitted"])


def test_a_system_text_alone_is_the_request(turns):
    """And anything but a text under that name is named, and not recorded."""

    @moa.reference
    def ask(instructions):
        return "an answer"

    ask(BRIEF)
    assert [SYSTEM] == call_of(turns)["input_messages"]
    ask(SimpleNamespace(text=BRIEF))
    assert (None, ["instructions"]) == (call_of(turns)["input_messages"], call_of(turns)["params_omitted"])


def test_further_positional_arguments_are_named(turns):
    """What could not be understood is not passed over in silence."""

    @moa.reference
    def ask(prompt, *parts, **more):
        return "an answer"

    ask(ASKED, "one", "two", colour="blue")
    assert ["parts", "colour"] == call_of(turns)["params_omitted"]

    @moa.reference
    def talk(*messages):
        return "an answer"

    talk(USER, USER)
    assert ([USER, USER], []) == (call_of(turns)["input_messages"], call_of(turns)["params_omitted"])


# The model -------------------------------------------------------------------------------------------


class Kind(enum.Enum):
    """Models of an enumeration."""

    SMALL = "gpt-small"


class Answering:
    """A client with its model on it."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    @moa.reference
    def ask(self, prompt, model=None):
        return "an answer"


class WithSlots:
    """One without a `__dict__`."""

    __slots__ = ("model",)

    def __init__(self, model):
        self.model = model

    @moa.reference
    def ask(self, prompt):
        return "an answer"


class OfTheClass(Answering):
    """One whose class has the model."""

    model_name = "gpt-class"

    @classmethod
    @moa.reference
    def of_class(cls, prompt):
        return "an answer"


class Property(Answering):
    """One whose model is code."""

    @property
    def model(self):
        raise KeyError("model")


OBJECTS = {
    "attribute": (lambda: Answering(model="gpt-a"), "gpt-a"),
    "model_name": (lambda: Answering(model_name="gpt-b"), "gpt-b"),
    "model first": (lambda: Answering(model="gpt-a", model_name="gpt-b"), "gpt-a"),
    "no text": (lambda: Answering(model=SimpleNamespace(name="x"), model_name="gpt-b"), "gpt-b"),
    "enumeration": (lambda: Answering(model=Kind.SMALL), "gpt-small"),
    "slots": (lambda: WithSlots("gpt-s"), "gpt-s"),
    "empty slot": (lambda: WithSlots.__new__(WithSlots), None),
    "class attribute": (OfTheClass, "gpt-class"),
    "property": (Property, None),
    "none": (Answering, None),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_the_model_of_the_object_is_the_models_name(turns, name):
    """If no argument names one; a property's code is not run."""
    make, model = OBJECTS[name]
    assert "an answer" == make().ask(ASKED)
    assert (model, 0) == (call_of(turns)["model"], turns[-1]["instrumentation_errors"])


def test_an_argument_goes_before_the_object(turns):
    """The object's model is what is left if the call names none; a class method has its class."""
    Answering(model="gpt-a").ask(ASKED, "gpt-x")
    assert "gpt-x" == call_of(turns)["model"]
    OfTheClass.of_class(ASKED)
    assert "gpt-class" == call_of(turns)["model"]


def test_a_model_that_is_no_text_is_named_and_not_recorded(turns):
    """Enumerations and subclasses of `str` are texts."""

    @moa.reference
    def ask(prompt, model):
        return "an answer"

    @moa.reference
    def named(prompt, model_name):
        return "an answer"

    ask(ASKED, Kind.SMALL)
    assert ("gpt-small", []) == (call_of(turns)["model"], call_of(turns)["params_omitted"])
    ask(ASKED, object())
    assert (None, ["model"]) == (call_of(turns)["model"], call_of(turns)["params_omitted"])
    named(ASKED, "gpt-n")
    assert ("gpt-n", []) == (call_of(turns)["model"], call_of(turns)["params_omitted"])


def base(model, prompt, temperature=0.3):
    """Answer, as the functions that are bound below do."""
    return f"{model} has a long answer"


class Bound:
    """Methods that are partial applications."""

    def ask(self, model, prompt, temperature=0.3):
        return f"{model} has a long answer"

    fast = functools.partialmethod(ask, "m-1")
    faster = functools.partialmethod(fast, temperature=0.3)
    decorated = moa.reference(functools.partialmethod(ask, "m-1"))


class Marked(functools.partial):
    """A subclass: partial applications of it are not flattened."""


def by_path(path):
    """Return a method of an instance whose class was instrumented by path."""
    moa.instrument(Bound, reference=path)
    return getattr(Bound(), path)


PARTIALS = {
    "by place": lambda: moa.reference(functools.partial(base, "m-1")),
    "by name": lambda: moa.reference(functools.partial(base, model="m-1")),
    "of decorated": lambda: functools.partial(moa.reference(base), "m-1"),
    "two levels": lambda: moa.reference(functools.partial(functools.partial(base, "m-1"), temperature=0.3)),
    "a subclass inside": lambda: moa.reference(functools.partial(Marked(base, "m-1"), temperature=0.3)),
    "of a bound method": lambda: moa.reference(functools.partial(Bound().ask, "m-1")),
    "partialmethod by path": lambda: by_path("fast"),
    "partialmethod of one": lambda: by_path("faster"),
    "decorated partialmethod": lambda: Bound().decorated,
}


@pytest.mark.parametrize("name", PARTIALS)
def test_what_a_partial_application_binds_is_part_of_the_request(turns, name):
    """At any depth, by place and by name."""
    assert "m-1 has a long answer" == PARTIALS[name]()(prompt=ASKED)
    call = call_of(turns)
    assert ("m-1", 0.3, [USER]) == (call["model"], call["temperature"], call["input_messages"])


def test_a_request_that_a_partial_application_binds_by_place_is_recorded(turns):
    """It is not a parameter of the partial any more, and can no longer be given."""

    def ask(prompt, model):
        return "an answer"

    moa.reference(functools.partial(ask, ASKED))(model="m-2")
    assert ("m-2", [USER]) == (call_of(turns)["model"], call_of(turns)["input_messages"])

    def change(call):
        yield call.replace(messages="another")

    moa.configure(middleware=[change])
    with pytest.raises(moa.RequestError, match=r"is bound by a functools\.partial"):
        moa.reference(functools.partial(ask, ASKED))(model="m-2")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="functools.Placeholder is new in Python 3.14")
def test_a_placeholder_is_an_argument_that_is_still_to_come(turns):
    """`partial(base, Placeholder, "…")` binds the second one only."""
    moa.reference(functools.partial(base, functools.Placeholder, ASKED))("m-2")
    assert ("m-2", [USER]) == (call_of(turns)["model"], call_of(turns)["input_messages"])


def test_a_partial_application_keeps_no_client_alive(turns):
    """A bound value that is not plain is not kept with what is known of the function."""
    import gc
    import weakref

    class Client:
        """Something that can be referenced weakly."""

    def ask(client, prompt):
        return "an answer"

    holder, client = SimpleNamespace(), Client()
    holder.ask = functools.partial(ask, client)
    moa.instrument(holder, reference="ask")
    holder.ask(ASKED)
    gone = weakref.ref(client)
    moa.uninstrument(holder)
    del holder, client
    gc.collect()
    assert gone() is None


# Options ---------------------------------------------------------------------------------------------


class Council:
    """A client whose parts are in unusual places."""

    def __init__(self):
        self.config = SimpleNamespace(model="gpt-config")
        self.persona = BRIEF

    def ask(self, question_text, deployment=None):
        return "an answer"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A request in one object."""

    history: list
    model: str = "gpt-request"


OPTIONS = {"messages": "question_text", "system": "self.persona", "model": "self.config.model"}


def test_parts_of_the_request_are_named_by_paths(turns):
    """By a decorator, by `instrument` and by a target."""

    class Decorated(Council):
        ask = moa.reference(**OPTIONS)(Council.ask)

    class Named(Council):
        def ask(self, question_text):
            return "an answer"

    moa.instrument(Named, reference="ask", **OPTIONS)
    for client in (Decorated(), Named()):
        assert "an answer" == client.ask(ASKED)
        assert (BOTH, "gpt-config") == (call_of(turns)["input_messages"], call_of(turns)["model"])


def test_a_target_names_them_too(turns, module):
    """`Target(…, messages=…, system=…, model=…)`, as another package offers one."""
    from moa_middleware._capture.calls.function import Options
    from moa_middleware._capture.instrument.target import Target

    name = module("class C:\n    m = 'gpt-t'\n    def ask(self, a, b):\n        return 'an answer'\n", "requests_world")
    target = Target(name, "C.ask", "reference", messages="b", system="a", model="self.m")
    options = target.options_over(Options("call"))
    assert ("b", "a", "self.m") == (options.messages, options.system, options.model)
    world = __import__(name)
    moa.instrument(f"{name}:C.ask=reference(messages=b, system=a, model=self.m)")
    world.C().ask(BRIEF, ASKED)
    assert (BOTH, "gpt-t") == (call_of(turns)["input_messages"], call_of(turns)["model"])


def test_a_client_names_them_too(turns):
    """`@moa.client(messages=…)`; a function that lacks the parameter has the usual ones."""

    @moa.client(turn="create", reference="ask", messages="topic", model="self.chosen")
    class Client:
        chosen = "gpt-chosen"

        def ask(self, prompt):
            return "an answer"

        def create(self, topic):
            return self.ask(topic)

    Client().create(ASKED)
    assert [USER] == turns[-1]["input_messages"] == call_of(turns)["input_messages"]
    assert "gpt-chosen" == call_of(turns)["model"]


def test_a_path_leads_into_arguments(turns):
    """Attributes and keys."""

    @moa.reference(messages="request.history", model="request.model")
    def ask(request):
        return "an answer"

    ask(Wanted([USER]))
    ask({"history": [USER], "model": "gpt-request"})
    for turn in turns:
        (call,) = turn["references"]
        assert ([USER], "gpt-request") == (call["input_messages"], call["model"])
    ask(Wanted(None, None))
    ask(None)
    assert (None, None) == (call_of(turns)["input_messages"], call_of(turns)["model"])


def test_a_model_that_is_no_place_is_its_name(turns):
    """A value as before, with dots or without; a place is a parameter's name."""

    @moa.reference(model="gpt-4.1")
    def one(prompt):
        return "an answer"

    @moa.reference(model="deployment")
    def two(prompt, deployment="gpt-deployed"):
        return "an answer"

    @moa.reference(model=lambda prompt: "gpt-said")
    def three(prompt):
        return "an answer"

    for ask, model in ((one, "gpt-4.1"), (two, "gpt-deployed"), (three, "gpt-said")):
        ask(ASKED)
        assert model == call_of(turns)["model"]


WRONG = {
    "messages": (
        {"messages": "promt"},
        r"@moa\.reference\(messages='promt'\): `ask_of_nothing` has no such parameter, it has prompt",
    ),
    "system": ({"system": "persona"}, r"@moa\.reference\(system='persona'\): `ask_of_nothing` has no such parameter"),
    "a path": (
        {"messages": "request.history"},
        r"messages='request\.history'\): `ask_of_nothing` has no such parameter",
    ),
    "no name": ({"system": "not a name"}, r"system=…\) takes the name of a parameter, or a dotted path"),
    "no text": ({"messages": 7}, r"messages=…\) takes the name of a parameter, or a dotted path from one, not 7"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_name_is_an_error_where_it_is_written(name):
    """At the decorator, and for `instrument`, which has several functions, if none has it."""
    options, message = WRONG[name]
    with pytest.raises(moa.DecorationError, match=message):
        moa.reference(**options)(ask_of_nothing)
    thing = SimpleNamespace(ask=ask_of_nothing)
    with pytest.raises(moa.TargetError, match=r"instrument\((messages|system)="):
        moa.instrument(thing, reference="ask", **options)
    assert ask_of_nothing is thing.ask


def ask_of_nothing(prompt):
    """Return an answer."""
    return "an answer"


def test_a_function_that_takes_anything_is_not_refused(turns):
    """The names of what it takes are not known."""

    @moa.reference(messages="history", system="persona")
    def ask(**request):
        return "an answer"

    ask(history=[USER], persona=BRIEF)
    assert BOTH == call_of(turns)["input_messages"]
