"""Role and layer inference: a pure function of a turn's calls."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_middleware._capture.tracing.encode import encode
from moa_middleware._capture.turns.roles import Node, _common_prefix, _find, infer


def escape(text):
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


class Turn:
    """Builds nodes one after the other; calls of one round overlap."""

    def __init__(self):
        self.nodes = []
        self.now = 0

    def round(self, *calls):
        """Add calls that overlap: (content or messages, output, fields)."""
        for content, output, fields in calls:
            messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
            self.nodes.append(
                Node(
                    **{
                        "input": json.dumps(messages, ensure_ascii=False, separators=(",", ":")).encode(),
                        "output": output,
                        "started_ns": self.now,
                        "ended_ns": self.now + 10,
                        "failed": False,
                        "answered": False,
                        "role": None,
                        "layer": None,
                        **fields,
                    }
                )
            )
        self.now += 20
        return self

    def inferred(self):
        infer(self.nodes, escape)
        return [(node.role, node.layer) for node in self.nodes]


def test_references_feed_the_aggregator():
    """Their outputs stand in its input."""
    turn = Turn().round(("Why?", "Because of the rain.", {}), ("Why?", "Because of the sun.", {}))
    turn.round(("Why? Because of the rain. Because of the sun.", "Both.", {}))
    assert [("reference", 1), ("reference", 1), ("aggregator", None)] == turn.inferred()


def test_layers_count_the_rounds():
    """One more than the deepest reference inside its own input."""
    turn = Turn().round(("q", "first answer A", {}), ("q", "first answer B", {}))
    turn.round(("q first answer A first answer B", "second answer", {}), ("q other", "independent one", {}))
    turn.round(("q second answer independent one", "final", {}))
    assert [1, 1, 2, 1, None] == [layer for _, layer in turn.inferred()]


def test_what_the_turn_returned_is_the_aggregator_even_if_not_last():
    """Same object, or its text."""
    turn = Turn().round(("q", "the real answer", {"answered": True})).round(("q", "a log summary", {}))
    assert ["aggregator", "call"] == [role for role, _ in turn.inferred()]


def test_the_last_that_did_not_fail_is_the_aggregator():
    """Else the last."""
    turn = Turn().round(("q", "good answer", {})).round(("q", None, {"failed": True}))
    assert ["aggregator", "call"] == [role for role, _ in turn.inferred()]
    turn = Turn().round(("q", None, {"failed": True})).round(("q", None, {"failed": True}))
    assert ["call", "aggregator"] == [role for role, _ in turn.inferred()]


def test_an_echo_of_the_common_prompt_is_no_evidence():
    """What both inputs begin with proves nothing."""
    prompt = "Say exactly: hello to all of you. "
    turn = Turn().round((prompt, "hello to all of you", {})).round((prompt + "Now.", "ok then", {}))
    assert ["call", "aggregator"] == [role for role, _ in turn.inferred()]


def test_an_assistant_message_is_an_earlier_step():
    """A conversation is no ensemble."""
    first = [{"role": "user", "content": "q"}]
    second = [*first, {"role": "assistant", "content": "the first step"}, {"role": "user", "content": "go on"}]
    turn = Turn().round((first, "the first step", {})).round((second, "the second step", {}))
    assert ["call", "aggregator"] == [role for role, _ in turn.inferred()]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": [{"type": "text", "text": "the first step"}]},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}], "content": "the first step"},
        {"content": "the first step\n", "annotations": {"a": [{}]}, "role": "assistant"},
    ],
)
def test_an_assistant_message_is_a_step_however_it_is_written(message):
    """With parts, with tool calls before the content, with spaces around it."""
    first = [{"role": "user", "content": "q"}]
    last = {"role": "user", "content": "go on"}
    turn = Turn().round((first, "the first step", {})).round(([*first, message, last], "the second step", {}))
    assert "call" == turn.inferred()[0][0]
    turn = Turn().round((first, "the first step", {}))
    turn.round(([*first, {"role": "user", "content": "the first step"}, {"role": "assistant"}], "x", {}))
    assert "reference" == turn.inferred()[0][0]


def test_a_lone_surrogate_elsewhere_hides_no_reference():
    """An input that has one is written as ASCII escapes, the needle is not."""
    turn = Turn().round(("q", "Die Antwort ist größer", {}))
    turn.round(("q", "final", {}))
    turn.nodes[1].input = encode([{"role": "user", "content": "q: Die Antwort ist größer \ud800"}])
    assert "reference" == turn.inferred()[0][0]


def test_an_assistant_message_beside_a_lone_surrogate_is_a_step():
    """The fallback encoder writes no spaces, as the fast one."""
    first = [{"role": "user", "content": "q"}]
    second = [*first, {"role": "assistant", "content": "the größte step"}, {"role": "user", "content": "\ud800"}]
    turn = Turn().round((first, "the größte step", {})).round((first, "x", {}))
    turn.nodes[1].input = encode(second)
    assert b": " not in turn.nodes[1].input
    assert "call" == turn.inferred()[0][0]


def test_a_failed_call_asked_what_a_reference_was_asked_is_one_of_its_round():
    """So is one with an answer too short to find."""
    turn = Turn().round(("q", "a long enough answer", {}), ("q", None, {"failed": True}), ("q", "Yes", {}))
    turn.round(("q: a long enough answer, Yes", "final", {}))
    assert [("reference", 1)] * 3 + [("aggregator", None)] == turn.inferred()


def test_what_was_said_stays():
    """Inference fills in only what is missing."""
    turn = Turn().round(("q", "answer number one", {"role": "critique"}), ("q", "answer number two", {"layer": 7}))
    turn.round(("answer number one answer number two", "final", {"role": "aggregator"}))
    assert [("critique", None), ("reference", 7), ("aggregator", None)] == turn.inferred()


def test_texts_with_quotes_newlines_and_other_scripts_are_found():
    """They are compared as they stand inside JSON."""
    odd = 'He said: "no",\n\tand left. 中文 \\ /'
    turn = Turn().round(("q", odd, {})).round((f"q\n{odd}", "final", {}))
    assert "reference" == turn.inferred()[0][0]


def test_calls_that_overlap_are_not_compared():
    """In a fan-out nobody can have read the other."""
    turn = Turn().round(("q the same text", "the same text", {}), ("x the same text", "the same text", {}))
    assert "call" == turn.inferred()[0][0]


@given(st.binary(), st.binary())
def test_the_common_prefix_is_the_longest(one, two):
    """By bisection, as by counting."""
    expected = 0
    while expected < min(len(one), len(two)) and one[expected] == two[expected]:
        expected += 1
    assert expected == _common_prefix(one, two)


@given(
    st.lists(
        st.tuples(st.sampled_from(["q", "answer-0 ", "answer-1 "]), st.integers(0, 3), st.booleans(), st.booleans()),
        max_size=6,
    )
)
def test_every_call_gets_a_role_and_at_most_one_is_the_aggregator(calls):
    """Whatever the data flow, and twice the same."""

    def build():
        turn = Turn()
        for content, number, failed, answered in calls:
            turn.round((content * 3, f"answer-{number} ", {"failed": failed, "answered": answered}))
        return turn.inferred()

    found = build()
    assert found == build()
    assert all(role for role, _ in found)
    aggregators = sum(role == "aggregator" for role, _ in found)
    alike = any(role == "reference" for role, _ in found)  # a fan-out whose aggregator was never asked
    assert aggregators == 1 or (aggregators == 0 and (alike or not calls))
    assert all(layer is not None for role, layer in found if role == "reference")


def test_a_fan_out_without_an_aggregator_is_a_round_of_references():
    """Three were asked the same, and nobody read them: the last is one of them. A second try of one changes nothing."""
    turn = Turn()
    turn.round(("question", "answer one", {}), ("question", "answer two", {}), ("question", "", {"failed": True}))
    turn.round(("question", "answer three", {}))
    assert turn.inferred() == [("reference", 1)] * 4


def test_an_aggregator_that_is_asked_twice_stays_the_aggregator():
    """Both have read the reference; the later one answers."""
    turn = Turn()
    turn.round(("question", "answer one", {}))
    turn.round(("question, see: answer one", "first words", {}))
    turn.round(("question, see: answer one", "second words", {}))
    assert [role for role, _ in turn.inferred()] == ["reference", "call", "aggregator"]


@given(
    st.lists(st.sampled_from(["ab" * 30, "ab", "b", "c"]), max_size=40),
    st.lists(st.sampled_from(["ab" * 30, "b", "c"]), min_size=1, max_size=4),
    st.integers(0, 80),
)
def test_a_search_by_the_head_of_a_text_finds_what_a_whole_search_finds(parts, text, start):
    """Among them texts that begin alike again and again, which the whole search has to take over."""
    data, needle = "".join(parts).encode(), "".join(text).encode()
    assert _find(data, needle, start) == data.find(needle, start)
