"""What a killed turn leaves, where its journal is unusual."""

from __future__ import annotations

import json

from tests.support.killed import killed, whats


def test_of_two_aggregators_the_one_that_answered_is_the_answer(place, read_lines):
    """The first aggregator completed, a second one failed, then the process died: the answer is kept as such."""
    body = """
    @moa.aggregator
    def answer(text):
        if text is None:
            raise ValueError("overloaded")
        return text

    @moa.turn
    def create(messages):
        ask(0)
        answer("the answer")
        try:
            answer(None)
        except ValueError:
            die()

    create([{"role": "user", "content": "Why?"}])
    """
    killed(place, body)
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    assert ("completed", "the answer") == (turn["aggregator"]["outcome"], turn["aggregator"]["output"])
    assert ["error"] == [call["outcome"] for call in turn["calls"]]


def test_a_turn_whose_start_is_lost_begins_with_its_first_call(place, read_lines):
    """The first line of the journal is torn: the turn has the time of the earliest call that is known."""
    killed(place)
    (path,) = (place / "open").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    del lines[0]["turn"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    assert min(call["started_at"] for call in turn["references"]) == turn["started_at"]


def test_a_turn_without_a_call_or_a_start_comes_back(place, read_lines):
    """Its journal names nothing but the process: the line is written, with what is known."""
    killed(place)
    (path,) = (place / "open").glob("*.jsonl")
    line = json.loads(path.read_text().splitlines()[0])
    del line["turn"]
    path.write_text(json.dumps({**line, "calls": [], "places": [], "covers": []}) + "\n")
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    assert (0.0, [], "crashed") == (turn["started_at"], turn["references"], turn["outcome"])
