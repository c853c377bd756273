"""Role and layer inference: a pure function of a turn's calls."""

from __future__ import annotations

import html
import json
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_middleware._capture.tracing.encode import encode
from moa_middleware._capture.turns import evidence
from moa_middleware._capture.turns.evidence import Node, _find
from moa_middleware._capture.turns.roles import infer


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

    def inferred(self, **returned):
        infer(self.nodes, escape, **returned)
        return [(node.role, node.layer) for node in self.nodes]

    def known(self, **returned):
        """Return the roles, with a question mark if they are unknown."""
        infer(self.nodes, escape, **returned)
        return [node.role + "?" * (not node.known) for node in self.nodes]


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
    turn = Turn().round((prompt, "hello to all of you", {})).round((prompt + "Now.", "ok then", {"answered": True}))
    assert ["call?", "aggregator"] == turn.known()
    turn = Turn().round((prompt, "hello to all of you", {})).round((prompt + "Now.", "ok then", {}))
    assert ["call?", "call?"] == turn.known()


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


@given(
    st.lists(
        st.tuples(st.sampled_from(["q", "answer-0 ", "answer-1 "]), st.integers(0, 3), st.booleans(), st.booleans()),
        max_size=6,
    )
)
def test_every_call_gets_a_role_and_at_most_one_is_the_aggregator(calls):
    """Whatever the data flow, and twice the same; what is unknown is a call, and every role but that is known."""

    def build():
        turn = Turn()
        for content, number, failed, answered in calls:
            turn.round((content * 3, f"answer-{number} ", {"failed": failed, "answered": answered}))
        turn.inferred()
        return [(node.role, node.layer, node.known) for node in turn.nodes]

    found = build()
    assert found == build()
    assert sum(role == "aggregator" for role, _, _ in found) <= 1
    assert all((layer is not None) is (role == "reference") for role, layer, _ in found)
    assert all(known or role == "call" for role, _, known in found)
    assert {"call", "reference", "aggregator"} >= {role for role, _, _ in found}


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


REPLY = SimpleNamespace(choices=[])
LONG = "The harbour is closed until the end of March."


@dataclass(slots=True)
class Slotted:
    """A result with a slot that is not filled."""

    answer: str
    later: str = field(init=False)


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (None, LONG),
        (REPLY, None),
        (f"  {LONG}\n", None),
        ({"a": {"b": [(1, LONG)]}}, None),
        ([REPLY], None),
        (SimpleNamespace(answer=LONG), None),
        (Slotted(LONG), None),
        (f"# Answer\n\n{LONG}\n", None),
        (LONG[:30], None),
    ],
)
def test_what_the_turn_returned_is_known_by_its_text_or_object(returned, text):
    """In whatever it is held, stripped, cut or wrapped: the title that was made of it is a call."""
    turn = Turn().round(("q", LONG, {"raw": REPLY})).round((f"A title for: {LONG}", "No boats", {}))
    assert ["aggregator", "call?"] == turn.known(returned=returned, text=text)


def test_a_value_is_searched_without_its_code():
    """Properties and `__getattr__` are not asked, and a value that holds itself is searched once."""

    class Odd:
        def __init__(self):
            self.own, self.text = self, LONG

        def __getattr__(self, name):
            raise KeyError(name)

        @property
        def costly(self):
            raise KeyError

        def __iter__(self):
            raise KeyError

    odd = Odd()
    turn = Turn().round(("q", LONG, {})).round((f"A title for: {LONG}", "No boats", {}))
    assert ["aggregator", "call?"] == turn.known(returned=odd)


def test_a_title_and_a_last_word_look_alike_in_a_block():
    """Which of both is the answer cannot be known; what was returned would show it."""

    def build():
        turn = Turn().round(("q", "answer number one", {}), ("q", "answer number two", {}))
        turn.round(("answer number one answer number two", LONG, {}))
        return turn.round((f"q: {LONG}", "A harbour in winter", {}))

    assert ["reference", "reference", "call?", "call?"] == build().known()
    assert ["reference", "reference", "aggregator", "call?"] == build().known(returned=LONG)
    assert ["reference", "reference", "reference", "aggregator"] == build().known(returned="A harbour in winter")


def test_a_verdict_is_no_answer():
    """A judge says a number; the program's own choice is not known."""
    turn = Turn().round(("q", "answer number one", {}), ("q", "answer number two", {}))
    turn.round(("answer number one answer number two", "2", {}))
    assert ["reference", "reference", "call?"] == turn.known()


def test_a_score_in_the_conversation_is_no_answer_either():
    """Which of the steps is the answer is unknown without what was returned."""

    def build():
        first = [{"role": "user", "content": "q"}]
        second = [*first, {"role": "assistant", "content": LONG}, {"role": "user", "content": "How sure?"}]
        return Turn().round((first, LONG, {})).round((second, "0.8", {}))

    assert ["call?", "call?"] == build().known()
    assert ["aggregator", "call?"] == build().known(returned=(LONG, 0.8))


def test_an_answer_that_was_parsed_is_found_next_to_its_drafts():
    """All that is held as it was said was read by the call whose answer was parsed."""
    drafts = ["answer number one", "answer number two"]
    turn = Turn().round(*[("q", text, {}) for text in drafts])
    turn.round((" ".join(drafts), json.dumps({"synthesis": LONG}), {}))
    assert ["reference", "reference", "aggregator"] == turn.known(returned={"raw": drafts, "parsed": {"text": LONG}})


def test_one_request_sent_twice_to_one_model_shows_nothing():
    """Samples, or a try that was not good enough; of two models it is a round."""

    def build(models):
        turn = Turn()
        for number, model in enumerate(models):
            turn.round(("question", f"answer number {number}", {"model": model}))
        return turn

    assert ["call?", "call?"] == build(["m", "m"]).known()
    assert ["reference", "reference"] == build(["m", "n"]).known()


def test_the_next_round_of_a_debate_has_no_aggregator():
    """The same models were asked again, one after the other, with what they had said."""
    turn = Turn().round(*[("q", f"answer number {n}", {"model": f"m-{n}"}) for n in range(3)])
    for n in range(3):
        turn.round(("answer number 0 answer number 1 answer number 2", f"second {n} of all", {"model": f"m-{n}"}))
    assert [("reference", 1)] * 3 + [("reference", 2)] * 3 == turn.inferred()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:60],
        lambda text: text.replace("\n", "\n> "),
        lambda text: json.dumps({"answer": text}),
        html.escape,
        lambda text: " ".join(text.split()),
        lambda text: "\n".join(f"{n}) {line}" for n, line in enumerate(text.splitlines())),
        lambda text: text.splitlines()[-1],
    ],
    ids=["cut", "quoted", "JSON", "HTML", "joined", "numbered", "last line"],
)
def test_a_text_that_was_changed_is_known_by_a_line(change):
    """Cut, quoted, escaped, renumbered: by either end of its longest line, or by its last."""
    lines = '{0}. "Boats" of {0} owners winter on land, and in the sheds & yards.\n- So say {0} keepers,\tand {0} owners, who have to know.'
    texts = [lines.format(n) for n in (10, 20)]
    turn = Turn().round(*[("q", text, {}) for text in texts])
    turn.round(("q " + " ".join(map(change, texts)), "Both.", {}))
    assert [("reference", 1), ("reference", 1), ("aggregator", None)] == turn.inferred()


def test_a_line_that_a_third_call_has_said_as_well_proves_nothing():
    """It may have come from that one."""
    line = "They are stored inland because of the storms of the winter."
    turn = Turn().round(("q", f"{line}\nAnd that is all of it.", {}), ("r", f"{line}\nOr is it not all of it?", {}))
    turn.round((f"s: {line} What of it?", "Both.", {}))
    assert ["call?", "call?", "call?"] == turn.known()


def test_agents_with_a_conversation_each_are_references_to_one_another():
    """A step of one's own conversation that another has read is a reference, and so is the layer after it."""
    turn = Turn()
    said = {name: f"{name} says the first thing" for name in ("ada", "ben")}
    talks = {name: [{"role": "system", "content": name}, {"role": "user", "content": "q"}] for name in said}
    turn.round(*[(talks[name], said[name], {}) for name in said])
    for name, other in (("ada", "ben"), ("ben", "ada")):
        talks[name] = [*talks[name], {"role": "assistant", "content": said[name]}]
        talks[name] += [{"role": "user", "content": f"The other: {said[other]}"}]
    turn.round(*[(talks[name], f"{name} says the second thing", {}) for name in said])
    turn.round(("ada says the second thing ben says the second thing", "Both.", {}))
    assert [("reference", 1)] * 2 + [("reference", 2)] * 2 + [("aggregator", None)] == turn.inferred()


@pytest.mark.parametrize(
    "added",
    [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"content": None, "role": "assistant"},
        {"type": "function_call", "name": "f", "arguments": "{}"},
    ],
)
def test_a_call_of_a_tool_is_a_step(added):
    """It says nothing, and its request goes on with what the model did."""
    first = [{"role": "user", "content": "q"}]
    turn = Turn().round((first, None, {})).round(([*first, added, {"role": "tool", "content": "x"}], "found it", {}))
    assert ["call", "aggregator"] == turn.known()


def test_an_unknown_request_proves_nothing():
    """Calls without one are not asked alike; an echo of what ran at the same time is not evidence."""
    turn = Turn().round(*[("q", f"answer number {n}", {}) for n in range(3)])
    for node in turn.nodes:
        node.input = b""
    assert ["call?"] * 3 == turn.known()
    turn = Turn().round(("", "hello to all of you", {}), ("Say hello to all of you", "x", {}))
    turn.nodes[0].input = b""
    turn.round(("Say hello to all of you now", "ok then", {}))
    assert "call?" == turn.known()[0]


def test_a_turn_of_thousands_of_calls_takes_no_minutes():
    """Each is compared with those before it only; the batch is named as each question alone would be."""
    turn = Turn()
    for n in range(700):
        turn.round(*[(f"q{n}", f"answer {letter} to question {n}.", {}) for letter in "ab"])
        turn.round((f"q{n} answer a to question {n}. answer b to question {n}.", f"{n} is it, then, after all", {}))
    began = time.perf_counter()
    roles = [role for role, _ in turn.inferred()]
    assert ["reference", "reference", "call"] * 700 == roles
    assert time.perf_counter() - began < 10


def test_long_requests_are_compared_with_fewer_calls(monkeypatch):
    """Those before each call; what it has read of earlier ones is unknown, and not said to be anything."""
    turn = Turn().round(*[(f"question {n}?", f"the answer to question {n}.", {}) for n in range(12)])
    turn.round((" ".join(node.output for node in turn.nodes), "all of it.", {"answered": True}))
    monkeypatch.setattr(evidence, "_BYTES", 8 * sum(len(node.input) for node in turn.nodes))
    assert ["call?"] * 4 + ["reference"] * 8 + ["aggregator"] == turn.known()


@given(
    st.lists(st.sampled_from(["ab" * 30, "ab", "b", "c"]), max_size=40),
    st.lists(st.sampled_from(["ab" * 30, "b", "c"]), min_size=1, max_size=4),
    st.integers(0, 80),
)
def test_a_search_by_the_head_of_a_text_finds_what_a_whole_search_finds(parts, text, start):
    """Among them texts that begin alike again and again, which the whole search has to take over."""
    data, needle = "".join(parts).encode(), "".join(text).encode()
    assert _find(data, needle, start) == data.find(needle, start)
