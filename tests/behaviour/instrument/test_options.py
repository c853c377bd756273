"""The options of the decorators: values, functions of the arguments, and options that fail."""

from __future__ import annotations

import asyncio

import pytest

import moa_middleware as moa
from tests.support.callables import HELLO


def one(turns):
    """Return the record of the one turn, and its one call."""
    (record,) = turns
    (call,) = record["references"] or [record["aggregator"]]
    return record, call


def test_options_may_be_values(turns):
    """Label, layer, model, provider, session, preset and tags."""

    @moa.reference(label="l", layer=2, model="m", provider="p", session_id="s", preset="x", tags={"a": 1})
    def fn(messages):
        return "out"

    fn(HELLO)
    record, call = one(turns)
    assert ("l", 2, "m", "p") == (call["label"], call["layer"], call["model"], call["provider"])
    assert ("s", "x", {"a": 1}) == (record["session_id"], record["preset"], record["tags"])


def test_options_may_be_functions_of_the_bound_arguments(turns):
    """Positional or by keyword, with defaults, `self` among them; they take what they name."""

    class Client:
        preset_name = "deep"

        @moa.reference(
            label=lambda model, **_: model.upper(),
            layer=lambda layer: layer,
            provider=lambda **named: ",".join(sorted(named)),
            session_id=lambda self, model: f"{self.preset_name}-{model}",
        )
        def ask(self, model, messages, layer=3, other=None):
            return "out"

        @moa.turn(preset=lambda self, **_: self.preset_name, session_id=lambda messages, **_: len(messages))
        def create(self, messages):
            return "out"

    Client().ask("m", messages=HELLO)
    record, call = one(turns)
    assert ("M", 3, "layer,messages,model,other,self") == (call["label"], call["layer"], call["provider"])
    assert "deep-m" == record["session_id"]
    turns.clear()
    Client().create(HELLO)
    assert ("deep", "1") == (turns[0]["preset"], turns[0]["session_id"])


def test_defaults_of_the_function_are_part_of_the_request(turns):
    """A model, a temperature and messages that the caller left to the function."""

    @moa.reference
    def ask(messages=HELLO, model="deep", *, temperature=0.5, client=object()):
        return "out"

    ask()
    ask(model="other", temperature=1)
    (first,), (second,) = (record["references"] for record in turns)
    assert ("deep", 0.5, HELLO) == (first["model"], first["temperature"], first["input_messages"])
    assert ("other", 1) == (second["model"], second["temperature"])


def test_options_by_name_may_be_functions(turns):
    """`moa.client(preset=…)` and `moa.instrument(obj, session_id=…)`."""

    @moa.client(preset=lambda self, **_: self.name, session_id=lambda messages, **_: messages[0]["content"])
    class Client:
        name = "deep"

        def create(self, messages):
            return "out"

    Client().create(HELLO)
    assert ("deep", "hello") == (turns[0]["preset"], turns[0]["session_id"])


FAULTY = {
    "raises": lambda: 1 / 0,
    "asks for more": lambda nothing: nothing,
    "asks for a keyword": lambda *, x: x,
    "takes it for a dict": lambda model: model["x"],
}


@pytest.mark.parametrize("faulty", FAULTY.values(), ids=FAULTY)
def test_a_failing_option_function_costs_nothing(turns, faulty):
    """The call is made and recorded, without that option; the fault is counted."""
    before = moa.status().faults

    @moa.reference(label=faulty, layer=faulty, session_id=faulty)
    def fn(model):
        return "out"

    @moa.turn(preset=faulty)
    def create(model):
        return fn(model)

    assert "out" == create("m")
    (record,) = turns
    assert ("m", None) == (record["references"][0]["label"], record["preset"])
    assert moa.status().faults >= before + 3


def test_an_option_function_that_says_nonsense_costs_nothing(turns):
    """A layer that is no round is left out; a label that is no text becomes one."""

    @moa.reference(label=lambda **_: 7, layer=lambda **_: "first")
    def fn(model):
        return "out"

    fn("m")
    _, call = one(turns)
    assert "7" == call["label"]
    assert call["layer"] in (None, 1)


def test_the_parameter_of_the_request_can_be_named(turns):
    """`messages="conversation"`, for a call and for a turn."""

    @moa.reference(messages="conversation")
    def ask(query, conversation):
        return "out"

    @moa.turn(messages="conversation")
    def create(query, conversation):
        return ask(query, conversation)

    create("q", HELLO)
    (record,) = turns
    assert HELLO == record["input_messages"] == record["references"][0]["input_messages"]


def test_a_tag_goes_before_the_decorators_word(turns):
    """`moa.tag` is nearer to the call than what was said when the function was defined."""

    @moa.reference(label="l", layer=1)
    def fn(model):
        return "out"

    with moa.tag(role="critic", label="tagged", layer=2, session_id="t"):
        fn("m")
    (record,) = turns
    call = record["aggregator"] or (record["references"] + record["calls"])[0]
    assert ("critic", "tag", "tagged", 2) == (call["role"], call["role_source"], call["label"], call["layer"])
    assert "t" == record["session_id"]


def message_of(caplog):
    """Return the one log message, without the count of those that it holds for."""
    (message,) = [record.getMessage() for record in caplog.records if record.name == "moa_middleware"]
    return message


WRONG = {
    "a misspelled name": (lambda usr: usr, " error=TypeError parameter=usr"),
    "the second": (lambda user, usr: usr, " error=TypeError parameter=usr"),
    "by keyword": (lambda *, usr: usr, " error=TypeError parameter=usr"),
    "an error inside": (lambda user: user + 1, " error=TypeError"),
    "another error": (lambda user: {}[user], " error=KeyError"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("option", ["session_id", "preset"])
def test_a_wrong_function_of_a_turn_is_named_with_its_option_and_parameter(turns, caplog, option, wrong):
    """The log names the decorated function, never content, and the record counts the fault."""

    def view(user):
        return "out"

    function, end = WRONG[wrong]
    assert "out" == moa.turn(**{option: function})(view)("secret")
    assert f"moa.observer_failed observer=option {option} of {view.__qualname__}{end}" == message_of(caplog)
    assert "secret" not in caplog.text
    assert (None, 1) == (turns[0][option], turns[0]["instrumentation_errors"])


@pytest.mark.parametrize("option", ["label", "layer", "model", "provider", "session_id", "preset"])
def test_a_wrong_function_of_a_call_is_named_and_counted(turns, caplog, option):
    """In the turn that the call opens, or in the turn around it, once a call."""

    def ask(messages):
        return "out"

    decorated = moa.reference(**{option: lambda usr: usr})(ask)
    decorated(HELLO)
    assert f"observer=option {option} of {ask.__qualname__} error=TypeError parameter=usr" in message_of(caplog)
    assert [1] == [turn["instrumentation_errors"] for turn in turns]
    with moa.turn():
        decorated(HELLO)
        decorated(HELLO)
    of_a_turn = option in {"session_id", "preset"}
    assert (0 if of_a_turn else 2) == turns[1]["instrumentation_errors"]


def test_each_failed_option_of_a_turn_is_counted(turns):
    """A value without a text, and a function that has no hash, so that its parameters are not looked up."""

    class Mute:
        def __str__(self):
            raise RuntimeError

    class Unhashable:
        __hash__ = None

        def __call__(self, user):
            return user

    @moa.turn(session_id=lambda user: Mute(), preset=Unhashable())
    async def view(user):
        return "out"

    assert "out" == asyncio.run(view("u-17"))
    assert (None, None, 2) == tuple(turns[0][key] for key in ("session_id", "preset", "instrumentation_errors"))
