"""What a page holds of a turn: the same that the reader tells, worked out beforehand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_middleware import read
from moa_middleware.read._overlap import unit_of, unit_spans, units
from moa_middleware.report._critical_path import critical_path
from moa_middleware.report._grid import Grid, similarity
from moa_middleware.report._messages import Pool
from tests.read.conftest import SEED, write

LETTERS = st.text(alphabet=st.sampled_from("aB ß.İŉ\n,中文字數ﬃ漢é"), max_size=60)


@given(LETTERS, st.lists(st.one_of(st.none(), LETTERS), max_size=3))
def test_the_painted_pieces_are_the_answer(answer, references):
    """Nothing is lost or doubled, whatever letters become when case is folded."""
    pieces = read.overlap_of(answer, references).pieces(answer)
    assert answer == "".join(text for text, _ in pieces)
    assert all(text for text, _ in pieces)


@given(LETTERS)
def test_each_unit_stands_where_it_is_said_to(text):
    """There is a place for each unit, in order, and its letters are those of the unit or fold to them."""
    unit = unit_of(text)
    found = unit_spans(text, unit)
    row = units(text, unit)
    assert len(row) == len(found)
    assert found == sorted(found)
    for one, (start, end) in zip(row, found, strict=True):
        assert one in text[start:end].casefold()


def test_the_answer_is_painted_by_the_reference_with_the_same_words():
    """A run of words carries the references in which it stands; what stands between two words belongs to the first."""
    answer = "One two three four five. Six seven, EIGHT nine ten; and more."
    overlap = read.overlap_of(
        answer, ["one two three four five six seven", "three four five six seven eight nine ten", None]
    )
    assert [
        ("One two ", [0]),
        ("three four five. Six seven, ", [0, 1]),
        ("EIGHT nine ten", [1]),
        ("; and more.", []),
    ] == overlap.pieces(answer)


def test_a_message_that_all_calls_share_is_held_once():
    """Who was asked what is told by places."""
    pool = Pool()
    ask = {"role": "user", "content": "Why?"}
    assert [0] == pool.places([ask])
    assert [0, 1] == pool.places([dict(ask), {"role": "system", "content": "Be short."}])
    assert [2] == pool.places("a prompt that is a text")
    assert ["Why?", "Be short.", "a prompt that is a text"] == [one["text"] for one in pool.messages]


MESSAGES = [
    (
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        "user",
        "a\nb",
        [],
    ),
    (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x" * 5000}}]},
        "user",
        "",
        [("image_url", "3,000 more characters")],
    ),
    (
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]},
        "assistant",
        "",
        [("f", '{"a": 1}')],
    ),
    ({"role": "assistant", "tool_calls": [17]}, "assistant", "", [("tool call", "17")]),
    ({"role": "tool", "tool_call_id": "call_1", "content": "37"}, "tool", "37", [("answers", "call_1")]),
    (
        {"type": "function_call", "name": "f", "odd": {"deep": 1}},
        "function_call",
        "",
        [("name", "f"), ("also", '"deep": 1')],
    ),
    (
        {"content": [{"type": ["text"], "text": "a"}, {"type": None, "text": "b"}]},
        None,
        "",
        [("data", "a"), ("data", "b")],
    ),
    (17, None, "17", []),
    (["a"], None, '[\n "a"\n]', []),
]


@pytest.mark.parametrize(("message", "role", "text", "more"), MESSAGES, ids=range(len(MESSAGES)))
def test_a_message_of_any_form_is_shown(message, role, text, more):
    """Text is text; what is none is named, and shown as JSON, a long value cut."""
    pool = Pool()
    pool.places([message])
    (found,) = pool.messages
    assert (role, text) == (found["role"], found["text"])
    assert [name for name, _ in more] == [name for name, _ in found["more"]]
    for (_, wanted), (_, shown) in zip(more, found["more"], strict=True):
        assert wanted in shown


def test_a_page_tells_of_a_turn_what_the_reader_tells(made, sampled):
    """Times, prices, fidelity and overlap are the reader's, call by call."""
    page = made(sampled)
    turns = {turn.id: turn for turn in read.open(sampled)}
    assert len(turns) == len(page.turns) == len(page.run["rows"])
    for told in page.turns:
        turn = turns[told["id"]]
        assert str(turn.cost) == told["cost"]["text"]
        assert turn.duration_ms == told["ms"]
        assert turn.output == "".join(text for text, _ in told["answer"])
        references = [call for call in told["calls"] if call["ref"] is not None]
        assert [str(one) for one in turn.fidelity()] == [call["fidelity"] for call in references]
        assert list(turn.overlap().covered) == [call["covered"] for call in references]
        by_id = {call["id"]: call for call in told["calls"]}
        assert {call.call_id for call in turn.all_calls} == by_id.keys()
        for call in turn.all_calls:
            one = by_id[call.call_id]
            assert (call.output, call.failed, call.late, call.cost_usd) == (
                one["said"],
                one["failed"],
                one["late"],
                one["usd"],
            )
        for one in turn.timeline():
            found = by_id[one.call.call_id]
            assert (one.start_ms, one.end_ms, one.slack_ms) == (found["start"], found["end"], found["slack"])


def test_the_sample_has_what_a_page_must_show(made, sampled):
    """A failure, a late call, a tool call, reasoning, a turn in a turn, and a price that is not known."""
    page = made(sampled)
    calls = [call for told in page.turns for call in told["calls"]]
    assert any(call["failed"] for call in calls)
    assert any(call["late"] for call in calls)
    assert any(call["tools"] for call in calls)
    assert any(call["reasoning"] for call in calls)
    assert any("up" in row for row in page.run["rows"])
    assert any("unpriced" in row["cost"] for row in page.run["rows"])


def test_the_critical_path_leads_back_from_the_aggregator(sampled):
    """It is the aggregator, its earlier call if it has one, and the last reference that it waited for."""
    for turn in read.open(sampled).turns(session="api-review"):
        spans = turn.timeline()
        path = [spans[place].call for place in sorted(critical_path(turn, spans))]
        if turn.aggregator is not None:
            assert path[-1] is turn.aggregator
        assert not any(call.late for call in path)
        slowest = [one.call for one in spans if one.slack_ms == 0]
        assert len(slowest) <= 1 or turn.references
        ends = [call.ended_at for call in path]
        assert ends == sorted(ends)


def test_references_that_say_the_same_are_alike(sampled):
    """The grid of a turn is symmetric, has no figure for a failure, and goes into the run's by names."""
    grid = Grid()
    for turn in read.open(sampled):
        cells = similarity(turn)
        for one, row in enumerate(cells):
            for other, value in enumerate(row):
                assert value == cells[other][one]
                if turn.references[one].failed:
                    assert value is None
        grid.add(turn, cells)
    whole = grid.to_jsonable()
    assert ["claude-sonnet-4", "deepseek-v3", "gemini-2.5-flash", "gpt-4.1-mini"] == whole["names"]
    same = whole["cells"][0][3]
    assert 0 < same[0] < 1
    assert 10 == same[1]


def test_a_trace_of_hermes_agent_makes_a_page(made, desk):
    """A line without schema, ids and times is shown as far as it tells."""
    page = made(write(desk / "seed.jsonl", SEED))
    (told,) = page.turns
    assert [None, None, None] == [call["start"] for call in told["calls"]]
    assert ["verbatim", "unknown (failed)"] == [call["fidelity"] for call in told["calls"] if call["ref"] is not None]
    assert "seed" == page.run["sessions"][page.run["rows"][0]["s"]]
    assert json.loads(json.dumps(page.run["figures"]["stats"])) == json.loads(
        json.dumps(read.to_jsonable(read.stats(desk / "seed.jsonl", "model")))
    )


ODD = [
    {"references": 17, "aggregator": [], "calls": "x", "totals": None, "tags": 1, "omitted": [1], "writer": 3},
    {
        "references": [
            {"usage": {"input_tokens": "many"}, "omitted": {"output": 1}, "tool_calls": [None, {"function": 1}]}
        ]
    },
    {"duration_ms": "long", "started_at": -1e300, "input_messages": {"a": [[[]]]}, "error": {"type": 3}},
    {"params": {"a": [1, {"b": None}]}, "turns": ["x", 3], "parent_turn_id": 7},
]


@pytest.mark.parametrize("keys", ODD, ids=range(len(ODD)))
def test_a_record_of_odd_values_makes_a_page(made, desk, keys):
    """A file may hold anything; what cannot be read is unknown."""
    line = {"schema": "moa-turn/1", "turn_id": "t-odd", "session_id": "s", "outcome": "completed", **keys}
    page = made(write(desk / "odd.jsonl", line))
    assert ["t-odd"] == [told["id"] for told in page.turns]
