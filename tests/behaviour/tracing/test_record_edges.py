"""Records of edited, odd and broken requests: each says what was sent."""

from __future__ import annotations

import math

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.conftest import check

HELLO = [{"role": "user", "content": "hi"}]


def test_a_record_names_the_model_that_a_middleware_chose(turns):
    """A router sends the call to another model: the trace names the one that answered."""

    def route(call):
        yield call.replace(model="other")

    @moa.Stack([route]).reference
    def ask(messages, model="asked"):
        return f"{model} answers"

    assert "other answers" == ask(HELLO)
    (record,) = turns
    (call,) = record["references"]
    assert ("other", "other answers") == (call["model"], call["output"])


def test_each_attempt_of_a_fallback_names_its_own_model(turns):
    """Two models are tried: the failure stands under the model that failed, the answer under the other."""

    def fall_back(call):
        try:
            return (yield call)
        except ValueError:
            return (yield call.replace(model="second"))

    @moa.Stack([fall_back]).reference
    def ask(messages, model="first"):
        if model == "first":
            raise ValueError("overloaded")
        return f"{model} answers"

    assert "second answers" == ask(HELLO)
    (record,) = turns
    calls = sorted([*record["references"], *record["calls"]], key=lambda call: call["attempt"])
    assert [("first", "error"), ("second", "completed")] == [(call["model"], call["outcome"]) for call in calls]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_temperature_that_json_has_no_number_for_is_null(value):
    """Each line keeps the published schema, whatever the request holds."""

    @moa.reference
    def ask(messages, *, temperature):
        return "answer"

    with capture_turns() as found:
        ask(HELLO, temperature=value)
    check(found[0])
    assert found[0]["references"][0]["temperature"] is None


def test_a_listener_gets_a_number_that_python_does_not_read():
    """A provider reports a count of 5,000 digits: it is not a count, and is kept as a text in its own object."""
    heard = []
    faults = moa.status().faults
    moa.configure(on_turn=heard.append)

    @moa.reference
    def ask(messages):
        usage = {"prompt_tokens": 10**5000, "completion_tokens": 7}
        return {"choices": [{"message": {"content": "answer"}}], "usage": usage}

    ask(HELLO)
    (record,) = heard
    usage = record["references"][0]["usage"]
    assert (None, 7) == (usage["input_tokens"], usage["output_tokens"])
    assert record["references"][0]["usage_raw"]["prompt_tokens"].startswith("0x")
    assert faults == moa.status().faults
