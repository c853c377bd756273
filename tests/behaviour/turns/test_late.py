"""Calls that outlive their turn: each late line is whole, and stands where the turn's line lists it."""

from __future__ import annotations

import threading

import pytest

import moa_middleware as moa
from tests.support.plain_calls import Plain

LONG = "an answer of some length"


@moa.reference(label="inner")
def inner(messages):
    """Answer with tokens."""
    return {
        "choices": [{"message": {"content": f"{LONG}: {messages}"}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 9},
    }


class Slow:
    """Runs a call in a thread, up to a point before the turn closes, and on after it."""

    def __init__(self, call):
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=call, args=(self,))

    def start(self):
        self.thread.start()
        assert self.begun.wait(10)

    def pause(self):
        self.begun.set()
        assert self.go_on.wait(10)

    def end(self):
        self.go_on.set()
        self.thread.join()


def run(call, body=lambda: "early", before=lambda: None):
    """Run a turn that a call outlives."""
    slow = Slow(call)

    @moa.turn
    def create():
        before()
        slow.start()
        return body()

    create()
    slow.end()


def calls_of(turn):
    return turn["references"] + turn["calls"] + ([turn["aggregator"]] if turn["aggregator"] else [])


def joined(turns):
    """Return the turn's requests by id, as a reader joins them, and whether each had one whole record."""
    turn, *late = turns
    told = [call for call in calls_of(turn) if call["outcome"] is not None] + [line["call"] for line in late]
    assert len(told) == len({call["call_id"] for call in told})
    places = {call["call_id"]: call for call in calls_of(turn)}
    for call in told:
        listed = places.get(call["call_id"], call)
        names = ("index", "role", "role_source", "layer", "label", "attempt")
        assert [listed[name] for name in names] == [call[name] for name in names]
    found = {**places, **{call["call_id"]: call for call in told}}
    assert len(found) == len({call["index"] for call in found.values()})
    return list(found.values())


def tokens(calls):
    return sum(call["usage"].get("input_tokens") or 0 for call in calls)


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_the_calls_inside_a_late_one_are_told_too(before, turns):
    """Whether they ended before the turn or after it: nothing that was billed is lost or counted twice."""

    @moa.reference(label="outer")
    def outer(slow):
        for number in range(3):
            if number == before:
                slow.pause()
            inner(str(number))
        if before == 3:
            slow.pause()
        return "late"

    run(outer)
    found = joined(turns)
    assert 4 == len(found)
    assert 3000 == tokens(found)
    last = turns[-1]["call"]
    assert ("outer", "late", True) == (last["label"], last["output"], last["late"])
    assert {last["call_id"]} == {call["parent"] for call in found if call["label"] == "inner"}


@pytest.mark.parametrize("ended", [True, False])
def test_a_late_call_around_a_single_one_is_told_whole(ended, turns):
    """What its model got and billed, also if that had ended before the turn."""

    @moa.reference(label="outer")
    def outer(slow):
        if not ended:
            slow.pause()
        found = inner("one")
        if ended:
            slow.pause()
        return found

    run(outer)
    (call,) = joined(turns)
    assert [{"role": "user", "content": "one"}] == call["input_messages"]
    assert (1000, "completed") == (tokens([call]), call["outcome"])


def test_a_call_that_outlives_the_one_around_it_is_told(turns):
    """The outer is in the turn's line, the inner in a late one that names it."""
    slow = Slow(lambda slow: late_inner(slow))  # noqa: PLW0108 - it is made below

    @moa.reference(label="late inner")
    def late_inner(slow):
        slow.pause()
        return inner("one")

    @moa.reference(label="outer")
    def outer():
        slow.start()
        return "out"

    @moa.turn
    def create():
        return outer()

    create()
    slow.end()
    first, second = joined(turns)
    assert ("outer", "late inner") == (first["label"], second["label"])
    assert first["call_id"] == second["parent"]
    assert 1000 == tokens([second])


@pytest.mark.parametrize("before", [0, 1])
def test_earlier_requests_of_a_late_call_are_told(before, turns):
    """A retry that began after the turn, and what it came after."""

    def twice(call):
        try:
            return (yield call)
        except ValueError:
            return (yield call)

    tries = []

    @moa.Stack([twice]).reference(label="tried")
    def tried(slow):
        tries.append(slow)
        if len(tries) == before + 1:
            slow.pause()
        if len(tries) == 1:
            raise ValueError("the first")
        return "the second"

    run(tried)
    found = joined(turns)
    assert [(1, "error"), (2, "completed")] == sorted((call["attempt"], call["outcome"]) for call in found)
    assert {"reference"} == {call["role"] for call in found}
    assert 2 - before == len(turns) - 1


def test_a_role_that_was_inferred_for_the_turn_is_that_of_the_late_line(turns):
    """So are its layer and its index, which counts calls and not all that was submitted."""
    model = Plain()
    moa.instrument(model, call="create")

    class Waiting:
        def create(self, messages, slow):
            slow.pause()
            return LONG

    waiting = Waiting()
    moa.instrument(waiting, call="create")

    def before():
        for _ in range(3):
            thread = threading.Thread(target=str)
            thread.start()
            thread.join()

    def body():
        found = inner("q")["choices"][0]["message"]["content"]
        return model.create(f"q {found}")

    run(lambda slow: waiting.create("q", slow), body, before)
    turn, late = turns
    joined(turns)
    (listed,) = (call for call in calls_of(turn) if call["outcome"] is None)
    names = ("call_id", "index", "role", "layer", "role_source")
    assert [listed[name] for name in names] == [late["call"][name] for name in names]
    assert ("reference", 1, "inferred") == (listed["role"], listed["layer"], listed["role_source"])


@pytest.mark.parametrize("inner_calls", [1, 2])
def test_calls_that_end_at_the_same_instant_are_told_once(inner_calls, turns, monkeypatch):
    """The outer has ended and is being told when the inner ends in another thread."""
    from moa_middleware._capture.tracing.tracer import Tracer

    waits = []

    @moa.reference(label="late inner")
    def late_inner(slow):
        slow.pause()
        return inner_reply("one")

    def inner_reply(text):
        return {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 1000, "completion_tokens": 9}}

    @moa.reference(label="outer")
    def outer(slow):
        for number in range(inner_calls - 1):
            inner(str(number))
        nested = Slow(late_inner)
        nested.start()
        waits.append(nested)
        slow.pause()
        return "out"

    tell, inside, told = Tracer.ended_late, threading.Event(), threading.Event()

    def at_the_same_instant(self, turn, slot):
        if slot.label == "outer":
            waits[0].go_on.set()
            inside.wait(2)
            tell(self, turn, slot)
            told.set()
        else:
            inside.set()
            assert told.wait(10)
            tell(self, turn, slot)

    monkeypatch.setattr(Tracer, "ended_late", at_the_same_instant)
    run(outer)
    waits[0].end()
    found = joined(turns)
    assert 1 + inner_calls == len(found)
    assert 1000 * inner_calls == tokens(found)
