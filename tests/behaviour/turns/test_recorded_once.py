"""One record for a call and the single call inside it: what was returned, what the model said, how it ended."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

import moa_middleware as moa
from moa_middleware._capture.shapes.parts import reply_text
from moa_middleware.testing import capture_turns
from tests.conftest import check

WORDS = "Air scatters blue light."


class RefusedError(Exception):
    """Raised by a model."""


@moa.reference
def model(prompt, *, fails=None):
    """Stand for an instrumented SDK: a call inside the functions of these tests."""
    if fails is not None:
        raise fails
    return {
        "id": "chatcmpl-1",
        "model": "model-a-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": WORDS}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5},
    }


def text_of(reply):
    return reply["choices"][0]["message"]["content"]


def recorded(function, *args, layer=moa.reference):
    """Return the turn of one call of a function around others."""
    with capture_turns() as found, moa.turn():
        layer(label="outer", model="outer-model")(function)(*args)
    (record,) = found
    check(record)
    return record


def calls_of(record):
    return [*record["references"], *([record["aggregator"]] if record["aggregator"] else []), *record["calls"]]


def only(record):
    (call,) = calls_of(record)
    return call


class Answer(NamedTuple):
    name: str
    text: str


@dataclass
class Result:
    who: str
    reply: str


@pytest.mark.parametrize(
    "returned",
    [
        lambda text: text,
        lambda text: ("outer-model", text),
        lambda text: ("outer-model", text, True),
        lambda text: ("a name that is longer than the reply, and no reply", text),
        lambda text: ("outer-model", 3, None),
        lambda text: Answer("outer-model", text),
        lambda text: ["outer-model", text],
        lambda text: Result("outer-model", text),
        lambda text: ("outer-model", {"deep": [text]}),
    ],
    ids=["text", "pair", "triple", "long name", "no text", "named tuple", "list", "object", "deep"],
)
def test_the_output_is_what_the_model_said_wherever_it_is(returned):
    """In a tuple, a list, a named tuple or an object, never the name beside it."""
    call = only(recorded(lambda prompt: returned(text_of(model(prompt))), "Why?"))
    assert (WORDS, "completed", 5) == (call["output"], call["outcome"], call["usage"]["output_tokens"])
    assert not {"model_output", "handled"} & set(call)


@pytest.mark.parametrize(
    ("returned", "output"),
    [
        (str.upper, WORDS.upper()),
        (lambda text: ("outer-model", f"  {text.lower()}\n"), f"  {WORDS.lower()}\n"),
        (lambda text: ("outer-model", text[:-6]), WORDS[:-6]),
        (lambda text: ("outer-model", "Luft streut blaues Licht."), "Luft streut blaues Licht."),
        (lambda text: Result("outer-model", f"Answer: {text}"), f"Answer: {WORDS}"),
    ],
    ids=["upper", "spaces", "most of it", "another language", "object"],
)
def test_what_a_function_made_of_it_is_the_output_and_the_models_words_are_kept(returned, output):
    """Both, where they differ."""
    call = only(recorded(lambda prompt: returned(text_of(model(prompt))), "Why?"))
    assert (output, WORDS) == (call["output"], call["model_output"])
    assert "inline" == call["output_location"]
    assert "raw" not in call


def test_an_argument_is_not_taken_for_the_reply():
    """However long it is."""
    prompt = "A long question, longer than any answer to it, which comes back with that."
    call = only(recorded(lambda prompt: (prompt, "Rayleigh."), prompt))
    assert "Rayleigh." == call["output"]
    call = only(recorded(lambda prompt: model(prompt) and (prompt, "Rayleigh."), prompt))
    assert ("Rayleigh.", WORDS) == (call["output"], call["model_output"])


def test_an_object_that_contains_itself_is_looked_through():
    """To a depth, and no further."""
    value = [WORDS.upper()]
    value.append(value)
    assert reply_text(value, WORDS) == WORDS.upper()
    assert reply_text([[[[WORDS]]]], WORDS) is None


@pytest.mark.parametrize("instead", ["[failed]", None])
def test_an_error_that_was_caught_is_in_the_record(instead):
    """It is the call's outcome, counted as failed, though the function went on."""

    def careful(prompt):
        try:
            model(prompt, fails=RefusedError("no"))
        except RefusedError:
            return instead

    record = recorded(careful, "Why?")
    call = only(record)
    assert ("error", True, instead) == (call["outcome"], call["handled"], call["output"])
    assert call["error"]["type"].endswith("RefusedError")
    assert (1, "completed") == (record["totals"]["failed"], record["outcome"])


def test_an_error_that_was_not_caught_is_not_handled():
    """The outer call's own error is the outcome."""

    def careless(prompt):
        return model(prompt, fails=RefusedError("no"))

    with capture_turns() as found, moa.turn(), pytest.raises(RefusedError):
        moa.reference(careless)("Why?")
    call = only(found[0])
    assert "error" == call["outcome"]
    assert "handled" not in call


def test_one_of_two_calls_inside_that_failed_is_a_record_itself():
    """Then there is nothing to be handled in the outer one."""

    def tries(prompt):
        try:
            return model(prompt, fails=RefusedError("no"))
        except RefusedError:
            return text_of(model(prompt))

    record = recorded(tries, "Why?")
    outer = next(call for call in calls_of(record) if call["label"] == "outer")
    assert ("completed", WORDS) == (outer["outcome"], outer["output"])
    assert not {"model_output", "handled"} & set(outer)
    assert sorted(["error", "completed"]) == sorted(call["outcome"] for call in calls_of(record) if call is not outer)
    assert 1 == record["totals"]["failed"]


def test_a_cancellation_that_was_caught_stays_one():
    """`asyncio.wait_for` cancels the call inside: it was no error."""

    @moa.reference
    async def slow(prompt):
        await asyncio.sleep(60)

    async def patient(prompt):
        try:
            return await asyncio.wait_for(slow(prompt), 0.01)
        except TimeoutError:
            return "[no answer]"

    async def main():
        with moa.turn():
            await moa.reference(patient)("Why?")

    with capture_turns() as found:
        asyncio.run(main())
    call = only(found[0])
    assert ("cancelled", True, "[no answer]") == (call["outcome"], call["handled"], call["output"])
    assert 1 == found[0]["totals"]["failed"]


def test_a_stream_that_was_cut_and_caught_keeps_what_the_model_said():
    """The part of it that came."""

    @moa.reference
    def stream(prompt):
        yield "Air "
        yield "scatters"
        raise RefusedError("cut")

    def careful(prompt):
        said = []
        try:
            said.extend(stream(prompt))
        except RefusedError:
            said.append("nothing")
        return "[failed]"

    call = only(recorded(careful, "Why?"))
    assert ("error", True, "[failed]", "Air scatters") == (
        call["outcome"],
        call["handled"],
        call["output"],
        call["model_output"],
    )


def test_a_failed_answer_that_was_handled_is_still_the_aggregators():
    """Roles follow what the function gave, not what failed inside it."""

    class Client:
        def first(self, prompt):
            return text_of(model(prompt))

        def last(self, prompt):
            try:
                model(prompt, fails=RefusedError("no"))
            except RefusedError:
                return "No model could answer."

    client = Client()
    moa.instrument(client, call=["first", "last"])
    with capture_turns() as found, moa.turn():
        client.last(f"Why? {client.first('Why?')}")
    record = found[0]
    assert ("last", True) == (record["aggregator"]["label"], record["aggregator"]["handled"])
    assert "No model could answer." == record["aggregator"]["output"]


@pytest.mark.parametrize("innermost", [1, 2])
def test_every_parent_is_in_the_record(innermost):
    """Three levels, of which the middle one is one record with the outer."""

    @moa.reference(label="middle")
    def middle(prompt):
        return [text_of(model(f"{prompt} {number}")) for number in range(innermost)][-1]

    record = recorded(middle, "Why?", layer=moa.reference)
    with capture_turns() as found, moa.turn():
        moa.reference(label="outer")(lambda prompt: middle(prompt).upper())("Why?")
    for one in (record, found[0]):
        ids = {call["call_id"] for call in calls_of(one)}
        assert {call["parent"] for call in calls_of(one)} <= {None, *ids}
        assert innermost == one["totals"]["calls"]
    outer = next(call for call in calls_of(found[0]) if call["label"] == "outer")
    assert WORDS.upper() == outer["output"]
    assert (innermost == 1) == ("model-a-1" == outer["response_model"])


def test_a_retry_inside_the_middle_has_a_parent():
    """The earlier request of a call that is one with the outer one."""

    def again(call):
        try:
            return (yield call)
        except RefusedError:
            return (yield call)

    failing = [RefusedError("once")]

    @moa.Stack([again]).reference(label="inmost")
    def retried(prompt):
        if failing:
            raise failing.pop()
        return WORDS

    @moa.reference(label="middle")
    def middle(prompt):
        return retried(prompt)

    record = recorded(middle, "Why?")
    ids = {call["call_id"] for call in calls_of(record)}
    assert sorted(["completed", "error"]) == sorted(call["outcome"] for call in calls_of(record))
    assert {call["parent"] for call in calls_of(record)} <= {None, *ids}


def test_a_record_of_the_first_version_is_valid():
    """The new keys may be missing."""
    golden = json.loads((Path(__file__).parents[2] / "golden" / "turn_0_1.json").read_text())
    assert not {"model_output", "handled"} & {key for call in calls_of(golden) for key in call}
    check(golden)


def pieces():
    """Yield the words of a model, one at a time."""
    yield from WORDS.split()


def left_by_break(answer):
    for _ in answer:
        break


def left_by_error(answer):
    with pytest.raises(RefusedError):
        for _ in answer:
            raise RefusedError


def left_by_drop(answer):
    next(answer)


@pytest.mark.parametrize("leave", [left_by_break, left_by_error, left_by_drop])
def test_a_generator_over_a_stream_that_is_dropped_is_one_request(leave):
    """The stream that its frame reads ends with it, and not as a late call of its own."""
    ask = moa.reference(model="model-a")(pieces)

    @moa.aggregator
    def synthesize(prompt):
        for piece in ask():
            yield piece.upper()

    @moa.turn
    def create(prompt):
        return synthesize(prompt)

    with capture_turns() as found:
        leave(create("Why?"))
    (turn,) = found
    check(turn)
    assert ("abandoned", 1, "AIR") == (turn["outcome"], turn["totals"]["calls"], turn["output"])
    assert ("model-a", "Air") == (turn["aggregator"]["model"], turn["aggregator"]["model_output"])
    assert [] == turn["references"] + turn["calls"]
