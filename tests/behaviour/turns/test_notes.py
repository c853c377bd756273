"""Notes of the client on its turn: in the record as they were when they were made, and never lost without a word."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import moa_middleware as moa
from moa_middleware import read
from moa_middleware.errors import TagError


def events_of(caplog, name):
    return [one.getMessage() for one in caplog.records if one.getMessage().startswith(name)]


def data_of(turn):
    return [{key: value for key, value in note.items() if key != "at"} for note in turn["notes"]]


def test_notes_are_in_the_order_in_which_they_were_made(turns):
    """With their times, and values as they were when the note was made."""
    scores = {"a": 0.5}
    with moa.turn():
        moa.note("router", scores=scores, chosen="a")
        scores["b"] = 1.0
        moa.note("stopped", after_layer=2, agreed=True)
    (turn,) = turns
    router, stopped = data_of(turn)
    assert router == {"kind": "router", "scores": {"a": 0.5}, "chosen": "a"}
    assert stopped == {"kind": "stopped", "after_layer": 2, "agreed": True}
    first, second = (note["at"] for note in turn["notes"])
    assert turn["started_at"] - 1 <= first <= second


def test_a_turn_without_notes_has_no_such_key(turns):
    """The key is written only where it holds something."""
    with moa.turn():
        pass

    @moa.turn
    def ask():
        return "a"

    ask()
    assert all("notes" not in turn for turn in turns)


def decorated(body):
    moa.turn(body)()


def in_a_thread(body):
    @moa.turn
    def ask():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(body).result()

    ask()


def in_a_task(body):
    @moa.turn
    async def ask():
        await asyncio.gather(asyncio.to_thread(body), asyncio.to_thread(int))

    asyncio.run(ask())


def in_a_stream(body):
    @moa.turn
    def ask():
        yield "a"
        body()
        yield "b"

    assert list(ask()) == ["a", "b"]


def in_an_async_stream(body):
    @moa.turn
    async def ask():
        yield "a"
        body()

    async def run():
        assert [one async for one in ask()] == ["a"]

    asyncio.run(run())


def inside_a_call(body):
    @moa.turn
    def ask():
        return moa.aggregator(lambda: body() or "a")()

    ask()


def of_a_failed_turn(body):
    @moa.turn
    def ask():
        body()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ask()


PLACES = [decorated, in_a_thread, in_a_task, in_a_stream, in_an_async_stream, inside_a_call, of_a_failed_turn]


@pytest.mark.parametrize("place", PLACES, ids=[place.__name__ for place in PLACES])
def test_a_note_is_on_its_turn(place, turns):
    """Wherever in the turn the client makes it: sync, async, in a stream, in a thread, in a call, before a failure."""
    place(lambda: moa.note("vote", winner="a"))
    (turn,) = turns
    assert data_of(turn) == [{"kind": "vote", "winner": "a"}]


def test_a_note_is_on_the_inner_turn_alone(turns):
    """A nested turn has its own; and a turn of notes alone has a line."""
    with moa.turn():
        moa.note("outer")
        with moa.turn():
            moa.note("inner")
    assert [data_of(turn) for turn in turns] == [[{"kind": "inner"}], [{"kind": "outer"}]]


def test_notes_of_many_threads_are_all_there(turns):
    """None is lost between threads."""

    @moa.turn
    def ask():
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: moa.note("vote", number=number), range(200)))

    ask()
    assert sorted(note["number"] for note in turns[0]["notes"]) == [*range(200)]


class Odd:
    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "value", [Odd(), float("nan"), 10**5000, {1: {2, 3}}, "\ud800", iter([1]), lambda: 1, b"\xff"], ids=type
)
def test_any_value_is_written_as_far_as_it_can_be(value, turns):
    """Whatever the value is, the note is there, and the line is JSON."""
    with moa.turn():
        moa.note("odd", value=value, after=1)
    (note,) = turns[0]["notes"]
    assert note["after"] == 1
    assert "value" in note
    assert turns[0]["instrumentation_errors"] == 0
    json.dumps(turns[0])


def test_nothing_is_consumed(turns):
    """An iterator is still whole afterwards."""
    source = iter([1, 2])
    with moa.turn():
        moa.note("odd", source=source)
    assert list(source) == [1, 2]


# What is not right --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("", {}, r"note\(kind\) takes a name of 1 to 100 characters, got 0 characters"),
        ("k" * 101, {}, "got 101 characters"),
        (None, {}, "got NoneType"),
        (7, {}, "got int"),
        ("vote", {"at": 1}, r"note\(at=…\): the record has a key of that name"),
        ("vote", {"kind": 1}, r"note\(kind=…\)"),
    ],
    ids=["empty", "long", "None", "a number", "at", "kind"],
)
def test_a_note_that_cannot_be_one_says_why(kind, data, says):
    """The message names the argument and the limit."""
    with pytest.raises(TagError, match=says):
        moa.note(kind, **data)


def test_a_note_outside_a_turn_is_logged(turns, caplog):
    """By its kind, without its values."""
    moa.note("vote", winner="canary")
    (event,) = events_of(caplog, "moa.note_dropped")
    assert "kind=vote" in event
    assert "canary" not in event
    assert list(turns) == []


def test_a_note_after_the_turn_is_logged(turns, caplog):
    """A thread that outlives its turn has none to write on."""
    go, there = threading.Event(), threading.Event()

    def late():
        go.wait(10)
        moa.note("late")
        there.set()

    @moa.turn
    def ask():
        threading.Thread(target=moa.carry(late)).start()

    ask()
    go.set()
    assert there.wait(10)
    assert len(events_of(caplog, "moa.note_dropped")) == 1
    assert "notes" not in turns[0]


def test_without_tracing_a_note_does_nothing(caplog):
    """Not even a log event."""
    moa.note("vote")
    with moa.turn():
        moa.note("vote")
    assert events_of(caplog, "moa.note_dropped") == []


# What is written ----------------------------------------------------------------------------------


def test_metadata_keep_kind_numbers_and_flags(turns):
    """Texts are left out, and listed as such."""
    moa.configure(capture="metadata")
    with moa.turn():
        moa.note("router", chosen="canary", score=0.5, agreed=True, by={"canary": 2})
    (turn,) = turns
    assert data_of(turn) == [{"kind": "router", "chosen": None, "score": 0.5, "agreed": True, "by": None}]
    assert turn["omitted"]["notes.0.chosen"] == {"reason": "metadata", "bytes": 6}


def test_redaction_passes_texts_keys_and_numbers(turns):
    """All but the kind, which is a name."""
    moa.configure(redact=lambda text: text.replace("canary", "-").replace("5550100", "-"))
    with moa.turn():
        moa.note("canary", said="a canary", number=5550100, inside={"canary": ["canary"]})
    (note,) = data_of(turns[0])
    assert note.pop("kind") == "canary"
    assert "canary" not in json.dumps(note)
    assert "5550100" not in json.dumps(note)


def test_they_are_shown_and_read(tmp_path, monkeypatch):
    """By `moa show` and by the reader."""
    moa.configure(save_traces=True, trace_dir=tmp_path)
    with moa.turn(session_id="s"):
        moa.note("router", chosen="m-1")
        moa.aggregator(lambda: "a")()
    (turn,) = read.open(tmp_path).turns()
    assert [note["kind"] for note in turn.notes] == ["router"]
    shown = subprocess.run(
        [sys.executable, "-m", "moa_middleware", "show", str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert 'router {"chosen":"m-1"}' in shown


KILLED = """
import os, signal, sys
import moa_middleware as moa
moa.configure(save_traces=True, trace_dir=sys.argv[1], journal=True)
with moa.turn(session_id="s"):
    moa.note("router", chosen="a")
    moa.reference(lambda: "one")()
    moa.note("stopped", after=1)
    moa.reference(lambda: "two")()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_turn_keeps_the_notes_before_its_last_call(tmp_path):
    """The journal has them."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    subprocess.run([sys.executable, "-m", "moa_middleware", "recover", str(tmp_path)], check=False, capture_output=True)
    (turn,) = read.open(tmp_path).turns()
    assert [note["kind"] for note in turn.notes] == ["router", "stopped"]
    assert turn.outcome == "crashed"


def test_the_writer_stays_the_last_key(turns):
    """So that a line with notes is proven without being read again."""
    with moa.turn():
        moa.note("vote")
    assert list(turns[0])[-1] == "writer"
