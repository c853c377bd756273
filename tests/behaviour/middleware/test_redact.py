"""Middleware that changes what the model sees: redaction, and edits of the request."""

import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import SHAPES
from tests.support.middlewares import ANSWERABLE, over, redact

SDK = [shape for shape in SHAPES if shape.sdk]


@over(SHAPES)
def test_redact_reaches_the_model_and_the_record(shape, turns):
    """The model gets the redacted text, and the call's record shows what the model got."""
    with shape.model("fine", middleware=[redact]) as model:
        model.ask("my secret is 42")
        assert ["my […] is 42"] == model.received
    (turn,) = turns
    assert "my […] is 42" == shape.call_in(turn)["input_messages"][-1]["content"]


def test_redact_leaves_the_callers_list_alone():
    """The caller's own messages are as they were."""
    mine = [{"role": "user", "content": "my secret"}]

    @moa.Stack([redact]).reference
    def ask(messages):
        return messages[0]["content"]

    assert "my […]" == ask(mine)
    assert [{"role": "user", "content": "my secret"}] == mine


@over(SHAPES)
def test_middleware_runs_while_nothing_is_recorded(shape):
    """Redaction does not depend on tracing."""
    with shape.model("fine", middleware=[redact]) as model:
        assert "fine" == model.ask("my secret").text
        assert ["my […]"] == model.received


@over(ANSWERABLE)
def test_a_hit_behind_redaction_is_recorded_redacted(shape, turns):
    """What a cache answered is recorded as the cache saw it, not as the caller said it."""

    def cache(call):
        return moa.Reply(text=call.messages[-1]["content"], source="cache")
        yield

    with shape.model("fine", middleware=[redact, cache]) as model:
        assert "my […]" == model.ask("my secret").text
        assert [] == model.received
    (turn,) = turns
    assert "my […]" == shape.call_in(turn)["input_messages"][-1]["content"]


@over(SDK)
def test_edits_of_the_request_reach_the_sdk(shape):
    """Model and parameters of the edited call are what the server receives; removed ones are gone."""

    def edit(call):
        params = {name: value for name, value in call.params.items() if name != "temperature"}
        yield call.replace(model="other", params={**params, "seed": 7})

    with shape.model("fine", middleware=[edit]) as model:
        model.ask(temperature=0.5, top_p=0.25)
        (body,) = model.arguments
    assert ("other", 7, 0.25) == (body["model"], body["seed"], body["top_p"])
    assert "temperature" not in body


def test_an_edit_of_stream_reaches_the_function():
    """`stream` is an argument as any other."""

    def whole(call):
        yield call.replace(stream=False)

    @moa.Stack([whole]).reference
    def ask(messages, *, stream=False):
        return stream

    assert ask("hi", stream=True) is False


def test_edits_of_arguments_are_read_back():
    """New keyword arguments show as messages and parameters of the edited call."""
    seen = []

    def edit(call):
        call = call.replace(kwargs={"prompt": "other", "temperature": 0.5})
        seen.append((call.messages, dict(call.params)))
        yield call

    @moa.Stack([edit]).reference
    def ask(prompt, temperature=1.0):
        return prompt, temperature

    assert ("other", 0.5) == ask(prompt="mine")
    assert [([{"role": "user", "content": "other"}], {"temperature": 0.5})] == seen


def test_defaults_of_the_function_survive_an_edit():
    """A model, a parameter and `stream` that are only the function's defaults are still shown."""
    seen = []

    def look(call):
        seen.append((call.model, call.params.get("temperature"), call.stream))
        yield call

    @moa.Stack([look, redact, look]).reference
    def ask(messages, model="m", temperature=0.5, *, stream=True):
        return iter(["fine"])

    assert ["fine"] == list(ask([{"role": "user", "content": "my secret"}]))
    assert [("m", 0.5, True)] * 2 == seen


@pytest.mark.parametrize("positional", [True, False])
def test_a_function_that_takes_a_string_gets_a_string(positional):
    """One user message is given to it as its content, wherever the argument stood."""

    @moa.Stack([redact]).reference
    def ask(prompt):
        return prompt

    assert "my […]" == (ask("my secret") if positional else ask(prompt="my secret"))


def test_messages_of_an_unknown_argument_are_a_clear_error():
    """It says how to name the argument; named, it works."""
    stack = moa.Stack([lambda call: (yield call.replace(messages=["new"]))])

    def ask(history):
        return history

    with pytest.raises(moa.RequestError, match=r'messages="…"'):
        stack.reference(ask)(["old"])
    assert ["new"] == stack.reference(messages="history")(ask)(["old"])


def test_several_messages_for_a_string_are_a_clear_error():
    """A function that takes one string cannot get two messages."""
    stack = moa.Stack([lambda call: (yield call.replace(messages=[*call.messages, *call.messages]))])
    with pytest.raises(moa.RequestError, match="'prompt' is a string"):
        stack.reference(lambda prompt: prompt)("hi")


@pytest.mark.parametrize("edit", [{"model": "other"}, {"params": {"seed": 1}}, {"stream": True}])
def test_a_parameter_that_the_function_lacks_is_a_clear_error(edit):
    """It is named, and the function is not called with it."""
    stack = moa.Stack([lambda call: (yield call.replace(**edit))])
    name = "seed" if "params" in edit else next(iter(edit))
    with pytest.raises(moa.RequestError, match=f"no parameter '{name}'; it takes prompt"):
        stack.reference(lambda prompt: prompt)("hi")


def test_an_unknown_field_is_a_clear_error():
    """A typing error in `replace` is named, with the fields that there are."""
    stack = moa.Stack([lambda call: (yield call.replace(mesages=[]))])
    with pytest.raises(moa.TagError, match=r"no field 'mesages'; it has .*messages"):
        stack.reference(lambda prompt: prompt)("hi")
