"""Large turns: their requests are in the journal and not in memory, and the line is the same."""

from __future__ import annotations

import os
import threading

import pytest

import moa_middleware as moa
from moa_middleware._capture.tracing import stored
from tests.support.killed import journals, killed, whats

TIMES = ("_at", "_ms")
OWN = ("ts", "turn_id", "call_id", "parent", "writer", "trace_context")


def plain(value):
    """Return a record without ids and times; a call's parent is only there or not."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: plain(item) for key, item in value.items() if not key.endswith(TIMES) and key not in OWN}
    return {**kept, "has_parent": bool(value.get("parent"))}


@pytest.fixture
def large(monkeypatch):
    """Return a function that says from how many calls on a turn is large."""

    def set_limit(calls):
        monkeypatch.setattr(stored, "MOST_CALLS", calls)

    return set_limit


def said_of(caplog, event):
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(event)]


# What a program asks, in every form whose record has a request ------------------------------------------


class Sdk:
    """A class that the program instruments: its calls have no role of their own."""

    @staticmethod
    def create(model, messages):
        if model == "broken":
            raise ValueError("no")
        return f"what {model} says of {next(one['content'] for one in messages)[:40]}, at length"


once = moa.reference(lambda model, messages: Sdk.create(model, messages))  # noqa: PLW0108 - looked up when it is called
twice = moa.reference(lambda model, messages: Sdk.create(model, messages) + Sdk.create(model + "2", messages))
stream = moa.reference(lambda model, messages: iter(["what ", model, " says"]))


def question(text):
    return [{"role": "user", "content": f"{text} é \ud800 {1.0} {10**20}"}]


def program():
    """Ask references with one question and with many, fail, stream, ask inside, answer from what was read."""
    call = moa.instrument(Sdk, call="create").create
    same = question("the same for all")
    drafts = [once(f"m{number}", same) for number in range(4)]
    drafts += [twice(f"n{number}", question(number)) for number in range(3)]
    drafts += ["".join(stream("s", question("streamed")))]
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            once("broken", question("broken"))
    drafts += [call("open", question("whose role is open"))]
    call("iterator", iter(question("of an iterator")))
    [*stream("left", question("streamed"))]
    return call("judge", question(" ; ".join(drafts)))


@pytest.mark.parametrize(("limit", "journal"), [(0, False), (5, False), (5, True)])
def test_the_line_of_a_large_turn_is_the_same(limit, journal, large, trace_dir, read_lines, caplog):  # noqa: PLR0917
    """Whenever its requests leave the memory: texts, roles, layers, sums and places."""
    moa.configure(save_traces=True, trace_dir=trace_dir, session_id="s", journal=journal)
    with moa.turn():
        program()
    large(limit)
    with moa.turn():
        program()
        turn = moa.current_turn()
        shots = [attempt.snapshot for state in turn.calls for attempt in state.attempts if state.parent is None]
        kinds = [type(shot.messages) for shot in shots]
        assert kinds.count(stored.StoredRequest) >= len(shots) - 8
        assert 1 == len(journals(trace_dir))
    before, after = read_lines(trace_dir)
    assert plain(before) == plain(after)
    assert [] == journals(trace_dir)
    (event,) = said_of(caplog, "moa.turn_large")
    assert f"turn_id={after['turn_id']} calls={max(limit + 1, 2)} " in event
    assert event.endswith(" moved=True")
    assert "the same for all" not in caplog.text


def test_threads_of_a_large_turn_lose_no_request(large, trace_dir, read_lines):
    """Calls that end at the same time while the turn becomes large."""
    large(20)
    moa.configure(save_traces=True, trace_dir=trace_dir, session_id="s")

    def work(name):
        for number in range(25):
            once(f"{name}.{number}", question(f"{name}.{number}"))

    with moa.turn():
        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (record,) = read_lines(trace_dir)
    asked = [call["input_messages"][0]["content"].split()[0] for call in record["references"]]
    assert [call["model"] for call in record["references"]] == asked
    assert 200 == len(set(asked))


def test_a_turn_is_large_above_a_thousand_calls(trace_dir, read_lines, caplog):
    """The number of the documentation, and its bytes are those of the requests."""
    moa.configure(save_traces=True, trace_dir=trace_dir, session_id="s")
    with moa.turn():
        for number in range(1000):
            once("m", question(number))
        assert [] == said_of(caplog, "moa.turn_large")
        assert not (trace_dir / "open").exists()
        once("m", question(1000))
    (record,) = read_lines(trace_dir)
    assert list(range(1001)) == [int(one["input_messages"][0]["content"].split()[0]) for one in record["references"]]
    (event,) = said_of(caplog, "moa.turn_large")
    assert "calls=1001 " in event


def test_a_turn_is_large_by_its_bytes(monkeypatch, trace_dir, read_lines, caplog):
    """Equal requests in a row count once, or twice where the first is shared otherwise."""
    monkeypatch.setattr(stored, "MOST_BYTES", 200_000)
    moa.configure(save_traces=True, trace_dir=trace_dir, session_id="s")
    with moa.turn():
        same = [{"role": "user", "content": "x" * 60_000}]
        for _ in range(9):
            once("m", same)
        assert [] == said_of(caplog, "moa.turn_large")
        for letter in "yz":
            once("m", question(letter * 70_000))
    assert 1 == len(said_of(caplog, "moa.turn_large"))
    (record,) = read_lines(trace_dir)
    assert 11 == len(record["references"])


KEPT = {
    "redaction": ({"redact": "secrets"}, "what is redacted or withheld must not be on the disk as it is"),
    "sizes": ({"capture": "metadata"}, "what is redacted or withheld must not be on the disk as it is"),
    "a writer": (
        {"writer": type("Writer", (), {"write": lambda *_: None})()},
        "the lines go to a writer of the program and not to files",
    ),
}


@pytest.mark.parametrize("what", KEPT)
def test_what_must_not_be_on_the_disk_stays_in_memory(what, large, trace_dir, caplog):
    """The event says why."""
    settings, reason = KEPT[what]
    large(3)
    moa.configure(save_traces=True, trace_dir=trace_dir, session_id="s", **settings)
    with moa.turn():
        program()
        assert [] == journals(trace_dir)
    (event,) = said_of(caplog, "moa.turn_large")
    assert event.endswith(f"reason={reason}")


def test_a_disk_that_refuses_the_journal_costs_nothing(large, trace_dir, read_lines, caplog):
    """The requests stay in memory, the line is whole, and the log says it."""
    moa.configure(save_traces=True, trace_dir=trace_dir, session_id="s")
    with moa.turn():
        program()
    (trace_dir / "open").write_text("a file in the place of the folder")
    large(3)
    with moa.turn():
        program()
    before, after = read_lines(trace_dir)
    assert plain(before) == plain(after)
    assert 1 == len(said_of(caplog, "moa.journal_refused"))


@pytest.mark.parametrize("harm", ["removed", "truncated"])
def test_a_journal_that_is_harmed_costs_what_it_held(harm, large, trace_dir, read_lines, caplog):
    """A removed file can still be read; of a truncated one the log and the record say what is lost."""
    large(0)
    moa.configure(save_traces=True, trace_dir=trace_dir, session_id="s")
    with moa.turn():
        for number in range(3):
            once(f"m{number}", question(number))
        (path,) = (trace_dir / "open").iterdir()
        path.unlink() if harm == "removed" else os.truncate(path, 100)
        for request in (state.attempts[0].snapshot.messages for state in moa.current_turn().calls):
            if type(request) is stored.StoredRequest:
                request._store._cache.clear()
    (record,) = read_lines(trace_dir)
    asked = [call["input_messages"] for call in record["references"]]
    if harm == "removed":
        assert [question(number) for number in range(3)] == asked
        assert ([], 0) == (said_of(caplog, "moa.requests_lost"), record["instrumentation_errors"])
    else:
        assert [None, None, None] == asked
        assert 3 == record["instrumentation_errors"]
        (event,) = said_of(caplog, "moa.requests_lost")
        assert "requests=3" in event
    assert [f"m{number}" for number in range(3)] == [call["model"] for call in record["references"]]


def test_a_large_turn_that_is_killed_comes_back(place, read_lines):
    """Without `MOA_JOURNAL` too: what had left the memory is in the journal."""
    body = """
    from moa_middleware._capture.tracing import stored
    stored.MOST_CALLS = 3

    @moa.reference
    def once(model):
        return f"{model} answers at length"

    with moa.turn():
        for number in range(9):
            once(f"m{number}")
        die()
    """
    killed(place, body, MOA_JOURNAL="0")
    assert ["recovered"] == whats(place)
    (record,) = read_lines(place)
    assert [f"m{number}" for number in range(9)] == [call["model"] for call in record["references"]]


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_has_come_into_the_journals_place_is_not_read(kind, tmp_path):
    """A pipe would hold the turn for ever, and a link leads to another file: the requests stay in memory."""
    path = tmp_path / "journal.txt"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(__file__)
    with pytest.raises(OSError):
        stored.RequestStore(str(path))._stored(stored.Raw(b"[]"), 0)
