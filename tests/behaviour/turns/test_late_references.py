"""References that outlive their turn are kept as late."""

from __future__ import annotations

import threading
import time

import pytest

import moa_middleware as moa
from tests.support.reference import reference
from tests.support.sdk_worlds import MESSAGES, TEXT, world


def test_a_reference_that_ends_after_its_turn_is_kept_as_late(trace_dir, read_lines):
    """The turn lists it without an outcome; a line in `late/` brings the rest."""
    begun, go_on = threading.Event(), threading.Event()

    def wait():
        begun.set()
        go_on.wait(10)

    thread = threading.Thread(target=lambda: reference("slow", wait=wait)(MESSAGES))

    @moa.turn(session_id="s")
    def create():
        thread.start()
        begun.wait(10)
        time.sleep(0.05)
        return reference("fast")(MESSAGES)

    create()
    go_on.set()
    thread.join()
    assert ["late", "s.jsonl"] == sorted(path.name for path in trace_dir.iterdir())
    late, turn = sorted(read_lines(trace_dir), key=lambda record: record["schema"])
    assert "moa-late/1" == late["schema"]
    assert turn["turn_id"] == late["turn_id"]
    assert "s" == late["session_id"]
    slow, fast = turn["references"]
    assert (None, None, None) == (slow["outcome"], slow["output"], slow["ended_at"])
    assert "completed" == fast["outcome"]
    call = late["call"]
    assert slow["call_id"] == call["call_id"]
    assert ("slow", "completed", True) == (call["output"], call["outcome"], call["late"])
    assert call["duration_ms"] > 40


def test_a_late_reference_around_an_instrumented_client_is_one_late_line(turns):
    """What the late reference asks its model after the turn belongs to it."""
    begun, go_on = threading.Event(), threading.Event()

    @moa.reference(label="slow")
    def ask(client):
        begun.set()
        go_on.wait(10)
        return client.chat.completions.create(model="m", messages=MESSAGES)

    with world("mock") as made:
        client = moa.instrument(made.client())

        @moa.turn
        def create():
            thread = threading.Thread(target=ask, args=(client,))
            thread.start()
            begun.wait(10)
            return thread

        thread = create()
        assert 1 == len(turns)
        go_on.set()
        thread.join()
    turn, late = turns
    assert [None] == [call["outcome"] for call in turn["references"]]
    call = late["call"]
    assert ("slow", "m", TEXT) == (call["label"], call["model"], call["output"])
    assert MESSAGES == call["input_messages"]


def test_a_failing_late_reference_keeps_its_error(turns):
    """Its real outcome is in the late line."""
    begun, go_on = threading.Event(), threading.Event()

    @moa.reference
    def ask():
        begun.set()
        go_on.wait(10)
        raise ValueError("too late")

    def quietly():
        with pytest.raises(ValueError, match="too late"):
            ask()

    @moa.turn
    def create():
        thread = threading.Thread(target=quietly)
        thread.start()
        begun.wait(10)
        return thread

    thread = create()
    go_on.set()
    thread.join()
    assert {"type": "ValueError", "message": "too late"} == turns[1]["call"]["error"]
