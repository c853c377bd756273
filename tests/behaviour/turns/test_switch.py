"""Which turns are recorded: the switch, the setting for turns without references, and captures in tests."""

from __future__ import annotations

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.conftest import check
from tests.support.reference import outputs, reference
from tests.support.sdk_worlds import MESSAGES


def test_the_switch_is_live_between_two_turns(tmp_path, monkeypatch, read_lines):
    """On for one turn, off for the next, on again: it is read at each turn's start."""
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "t"))
    for number, on in enumerate(["1", "0", "true", "off", ""]):
        monkeypatch.setenv("MOA_SAVE_TRACES", on)
        reference(f"r{number}")(MESSAGES)
    assert [["r0"], ["r2"]] == [outputs(record) for record in read_lines(tmp_path)]


def test_off_makes_no_directory_and_returns_the_functions_own_objects(tmp_path, monkeypatch):
    """No directory, no file, no proxy."""
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "t"))

    @moa.reference
    def ask():
        return iter("abc")

    assert type(iter("abc")) is type(ask())
    assert [] == list(tmp_path.iterdir())


def test_fanout_records_only_turns_that_ran_references(turns, monkeypatch):
    """`MOA_TURNS=fanout`, as the seed did."""
    monkeypatch.setenv("MOA_TURNS", "fanout")

    @moa.turn
    def create(messages, *, cached):
        return "cached" if cached else reference("fresh")(messages)

    create(MESSAGES, cached=True)
    create(MESSAGES, cached=False)
    create(MESSAGES, cached=True)
    assert [["fresh"]] == [outputs(record) for record in turns]


def test_each_create_is_a_turn_also_without_references(turns):
    """A cache hit of the client's own is a turn without calls."""

    @moa.turn
    def create(messages):
        return "cached"

    create(MESSAGES)
    assert [([], None, "cached")] == [(r["references"], r["aggregator"], r["output"]) for r in turns]


def test_capture_turns_may_nest():
    """Each block gets the turns that opened within it."""
    with capture_turns() as outer:
        reference("one")(MESSAGES)
        with capture_turns() as inner:
            reference("two")(MESSAGES)
    assert [["one"], ["two"]] == [outputs(record) for record in outer]
    assert [["two"]] == [outputs(record) for record in inner]
    for record in outer:
        check(record)
