"""Turns as another process writes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

import moa_middleware as moa
from moa_middleware import errors, read
from moa_middleware._capture.tracing.writer import FileWriter

from .conftest import SEED, Plain, ask, late_turn, records, write

WRITER = """
import sys, time
import moa_middleware as moa

moa.configure(save_traces=True, trace_dir=sys.argv[1], session_id="s")

@moa.reference
def propose(prompt):
    return prompt

print("ready", flush=True)
for line in sys.stdin:
    propose(line.strip())
    print(time.time(), flush=True)
"""


class Watch:
    """What a tail yields, gathered in a thread, with the moment at which it came."""

    def __init__(self, path, **kwargs):
        self.found = []
        self.times = []
        self.ended = threading.Event()
        self.tail = read.tail(path, interval=0.02, stop=self.ended.is_set, **kwargs)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        for one in self.tail:
            self.times.append(time.time())
            self.found.append(one)

    def wait(self, count):
        until = time.monotonic() + 30
        while len(self.found) < count:
            assert time.monotonic() < until, self.found
            time.sleep(0.005)
        return self.found


@contextmanager
def watch(path, **kwargs):
    one = Watch(path, **kwargs)
    try:
        yield one
    finally:
        one.ended.set()
        one.thread.join(30)
        assert not one.thread.is_alive()


def said(turns):
    return [turn.output or turn.references[0].output for turn in turns]


def test_turns_of_another_process_come_at_once(desk):
    """Within a second, and in their order; the directory need not be there yet."""
    path = desk / "traces"
    with (
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as writer,
        watch(path) as seen,
    ):
        assert "ready\n" == writer.stdout.readline()
        written = []
        for number in range(5):
            writer.stdin.write(f"answer {number}\n")
            writer.stdin.flush()
            written.append(float(writer.stdout.readline()))
            seen.wait(number + 1)
        writer.stdin.close()
    assert [f"answer {n}" for n in range(5)] == [turn.references[0].output for turn in seen.found]
    assert ["s#1", "s#2", "s#3", "s#4", "s#5"] == [turn.name for turn in seen.found]
    # The tail looks each 20 ms; the second is for a machine that is busy elsewhere.
    assert sorted(came - wrote for came, wrote in zip(seen.times, written, strict=True))[2] < 1


def test_the_last_turns_come_first(traces):
    """Those of all files, by the time when they were written; then it ends, if it does not follow."""
    found = list(read.tail(traces, last=3, follow=False))
    assert ["Question 3?", "Question 4?", "Question 5?"] == [turn.input_messages[0]["content"] for turn in found]
    assert [] == list(read.tail(traces, last=0, follow=False))
    assert 6 == len(list(read.tail(traces, last=100, follow=False)))
    assert ["s-1#2", "s-1#3"] == [turn.name for turn in read.tail(traces / "s-1.jsonl", last=2, follow=False)]


def test_a_long_history_is_not_kept(desk):
    """Only the last turns of it."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path, session_id="s")
    for number in range(60):
        Plain("one").create(ask(str(number)))
    found = list(read.tail(path, last=2, follow=False))
    assert [("58", "s#59"), ("59", "s#60")] == [(turn.input_messages[0]["content"], turn.name) for turn in found]


def test_sealing_loses_and_repeats_nothing(desk):
    """The file is renamed at nearly every turn."""
    path = desk / "traces"
    moa.configure(save_traces=True, writer=FileWriter(path, max_file_bytes=3000), session_id="s")
    Plain("one").create(ask("0"))
    with watch(path / "s.jsonl", last=1) as seen:
        seen.wait(1)
        for number in range(1, 30):
            Plain("one").create(ask(str(number)))
            if number % 3:
                time.sleep(0.01)
        seen.wait(30)
        time.sleep(0.1)
    # A file that is sealed while a look goes over the directory is read at the next one.
    assert list(range(30)) == sorted(int(turn.input_messages[0]["content"]) for turn in seen.found)
    assert () == seen.tail.problems


def test_a_file_that_is_rotated_or_removed_is_read_anew(desk):
    """What comes in its place is another file, though it may have its inode."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path, session_id="s")
    with watch(path) as seen:
        Plain("one").create(ask("first"))
        seen.wait(1)
        os.rename(path / "s.jsonl", path / "old")
        Plain("one").create(ask("second"))
        seen.wait(2)
        (path / "s.jsonl").unlink()
        Plain("one").create(ask("third"))
        seen.wait(3)
    assert ["first", "second", "third"] == [turn.input_messages[0]["content"] for turn in seen.found]


def test_a_file_that_is_cut_is_read_from_its_beginning(desk):
    """As `copytruncate` does it; turns that were told are not told again."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path, session_id="s")
    with watch(path) as seen:
        for number in range(3):
            Plain("one").create(ask(str(number)))
        seen.wait(3)
        first = (path / "s.jsonl").read_bytes().split(b"\n")[0]
        os.truncate(path / "s.jsonl", 0)
        until = time.monotonic() + 30
        while not seen.tail.problems:
            assert time.monotonic() < until
            time.sleep(0.01)
        with (path / "s.jsonl").open("ab") as file:
            file.write(first + b"\n")
        Plain("one").create(ask("after"))
        seen.wait(4)
    assert ["E111"] == [problem.code for problem in seen.tail.problems]
    assert "after" == seen.found[3].input_messages[0]["content"]
    assert "s#4" == seen.found[3].name


def test_a_line_is_told_when_it_is_whole(desk):
    """Written in three pieces; torn and foreign lines are problems, not turns."""
    path = desk / "traces"
    path.mkdir()
    line = json.dumps(SEED).encode()
    with watch(path) as seen, (path / "seed.jsonl").open("ab", buffering=0) as file:
        for piece in (line[:100], line[100:300], line[300:]):
            file.write(piece)
            time.sleep(0.08)
        assert [] == seen.found
        file.write(b"\n\nforeign\n" + line.replace(b"It sca", b"It too sca") + b"\n")
        seen.wait(2)
        assert (1, 4) == (seen.found[0].line, seen.found[1].line)
        assert line == seen.found[0].raw
    assert [("E102", 3)] == [(problem.code, problem.line) for problem in seen.tail.problems]


def test_late_calls_come_by_themselves(desk):
    """With the turn that they belong to."""
    with watch(desk / "traces") as seen:
        end = late_turn(desk / "traces")
        (turn,) = seen.wait(1)
        assert turn.references[0].pending
        end()
        _, late = seen.wait(2)
    assert isinstance(late, read.LateCall)
    assert (turn.turn_id, "s", "at last", turn.references[0].call_id) == (
        late.turn_id,
        late.session_id,
        late.call.output,
        late.call.call_id,
    )


def test_what_cannot_be_followed_is_a_clear_error(desk):
    """Before anything is waited for."""
    with pytest.raises(errors.UnreadableError, match="does not exist"):
        read.tail(desk / "nowhere" / "traces")
    with pytest.raises(errors.UnreadableError, match="does not exist"):
        read.tail(desk / "traces", follow=False)
    with pytest.raises(errors.QueryError):
        read.tail(desk, last=-1)
    assert [] == list(read.tail(desk, follow=False))


def test_a_directory_that_vanishes_is_waited_for(traces):
    """It may come back."""
    moved = traces.with_name("moved")
    with watch(traces, last=0) as seen:
        os.rename(traces, moved)
        time.sleep(0.06)
        traces.mkdir()
        write(traces / "seed.jsonl", SEED)
        seen.wait(1)
    assert 3 == len(records(moved / "s-0.jsonl"))


def test_a_file_of_the_same_size_in_its_place_is_read(desk):
    """Though it has the same inode too, as a new file often gets that of the one that was removed."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path, session_id="s")
    with watch(path) as seen:
        Plain("one").create(ask("first"))
        seen.wait(1)
        file = path / "s.jsonl"
        line = file.read_bytes()
        old = json.loads(line)["turn_id"].encode()
        file.write_bytes(line.replace(old, old[::-1]))
        seen.wait(2)
    assert [old.decode(), old[::-1].decode()] == [turn.id for turn in seen.found]


def test_a_line_without_an_end_is_told_where_nothing_more_is_waited_for(desk):
    """A file that somebody wrote by hand; one that is torn is a problem."""
    file = write(desk / "s.jsonl", SEED)
    file.write_bytes(file.read_bytes() + json.dumps(SEED).encode().replace(b"It sca", b"It too sca"))
    tail = read.tail(file, follow=False)
    assert [("seed#1", 1), ("seed#2", 2)] == [(turn.name, turn.line) for turn in tail]
    os.truncate(file, file.stat().st_size - 5)
    tail = read.tail(file, follow=False)
    assert 1 == len(list(tail))
    assert [("E101", 2)] == [(problem.code, problem.line) for problem in tail.problems]


def test_what_no_session_writes_to_cannot_be_followed(traces):
    """A compressed file, or one of another name: silence would look like no turns."""
    other = traces / "s-0.txt"
    os.rename(traces / "s-0.jsonl", other)
    with pytest.raises(errors.UnreadableError, match=r"session's \.jsonl file"):
        read.tail(other, follow=False)


def test_a_late_call_is_told_once(desk):
    """Though its file is cut, and read from its beginning."""
    path = desk / "traces"
    late_turn(path)()
    late = path / "late" / "s.jsonl"
    data = late.read_bytes()
    with watch(path, last=1) as seen:
        seen.wait(1)
        os.truncate(late, 0)
        until = time.monotonic() + 30
        while not seen.tail.problems:
            assert time.monotonic() < until
            time.sleep(0.01)
        late.write_bytes(data + data.replace(b'"call_id":"', b'"call_id":"new-'))
        seen.wait(2)
    assert ["new-"] == [one.call.call_id[:4] for one in seen.found[1:]]


def test_a_file_that_is_renamed_between_two_steps_of_a_look(desk):
    """The look that listed it finds another one in its place, and leaves both to the next look."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path, session_id="s")
    Plain("one").create(ask("first"))
    tail = read.tail(path / "s.jsonl", last=0)
    assert 1 == len(list(tail._look()))
    Plain("one").create(ask("second"))
    ((listed, status),) = tail._files()
    os.rename(path / "s.jsonl", path / "s~s1.jsonl")
    Plain("one").create(ask("third"))
    place, key = tail._places[status.st_dev, status.st_ino], (status.st_dev, status.st_ino)
    assert listed == place.path
    found = [*tail._new(place, key), *tail._look()]
    assert ["second", "third"] == [turn.input_messages[0]["content"] for turn in found]
    assert () == tail.problems


def test_a_long_line_is_not_copied_again_at_each_step(desk):
    """It grows in its place: 64 MB take no more than as many times 4 MB."""

    def took(megabytes):
        file = write(desk / f"{megabytes}.jsonl", b"x" * (megabytes << 20))
        best = 1e9
        for _ in range(3):
            began = time.process_time()
            list(read.tail(file, follow=False))
            best = min(best, time.process_time() - began)
        return best

    took(1)
    # Copied at each step it would be 16 times that again.
    assert took(64) < 5 * 16 * took(4)
