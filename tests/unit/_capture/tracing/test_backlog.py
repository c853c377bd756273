"""Lines that the disk refuses: they wait, within bounds, and are written once it takes them."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import moa_middleware as moa
from moa_middleware._capture.tracing import outbox
from moa_middleware._capture.tracing.backlog import Backlog, Line
from tests.support.trace_files import limited


@moa.reference
def ask(text):
    return text


class Moody:
    """A writer of the user's that refuses now and then."""

    def __init__(self):
        self.error = None
        self.lines = []

    def write(self, session_id, line):
        if self.error is not None:
            raise self.error
        self.lines.append(json.loads(line)["references"][0]["output"])


@pytest.fixture
def moody():
    """Return a writer that refuses, configured."""
    writer = Moody()
    writer.error = OSError(errno.ENOSPC, "No space left on device")
    moa.configure(save_traces=True, writer=writer)
    return writer


def texts(records):
    return [record["references"][0]["output"] for record in records]


def whole(path):
    """Return the records of the lines that are whole, and how many lines are torn."""
    records, torn = [], 0
    for line in path.read_bytes().split(b"\n"):
        try:
            records += [json.loads(line)] if line else []
        except ValueError:
            torn += 1
    return records, torn


def delta(before):
    return {name: getattr(moa.status(), name) - getattr(before, name) for name in ("written", "refused", "lost")}


def test_what_was_refused_goes_first_at_the_next_line(moody):
    """In its old order; it was refused once, is written now, and nothing is lost."""
    before = moa.status()
    ask("1")
    ask("2")
    assert (2, {"written": 0, "refused": 2, "lost": 0}) == (moa.status().waiting, delta(before))
    moody.error = None
    ask("3")
    assert ["1", "2", "3"] == moody.lines
    assert (0, {"written": 3, "refused": 2, "lost": 0}) == (moa.status().waiting, delta(before))


def test_flush_tries_what_waits(moody):
    """And returns the counters afterwards."""
    ask("1")
    assert 1 == moa.flush().waiting
    moody.error = None
    assert 0 == moa.flush().waiting
    assert ["1"] == moody.lines


@pytest.mark.parametrize("error", [ValueError("no"), OSError(errno.EACCES, "no")])
def test_one_that_is_always_refused_does_not_hold_up_the_others(error, moody):
    """A fault of its own: it goes to the end of those that wait."""
    refuse = moody.write

    def picky(session_id, line):
        if b"never" in line:
            raise error
        refuse(session_id, line)

    moody.write = picky
    ask("never")
    ask("1")
    moody.error = None
    for text in ("2", "3"):
        ask(text)
    assert {"1", "2", "3"} == set(moody.lines)
    assert 1 == moa.status().waiting


def test_lines_of_a_file_keep_their_order(tmp_path, monkeypatch, read_lines):
    """Though it refuses them again and again; and the oldest fall out, not those in the middle."""
    (tmp_path / "bad.jsonl").mkdir()
    monkeypatch.setattr(outbox.backlog, "most_lines", 6)
    moa.configure(save_traces=True, trace_dir=tmp_path)
    for number in range(9):
        with moa.tag(session_id="bad"):
            ask(f"{number}")
        with moa.tag(session_id="good"):
            ask(f"good {number}")
    (tmp_path / "bad.jsonl").rmdir()
    with moa.tag(session_id="bad"):
        ask("9")
    records = read_lines(tmp_path)
    assert [*map(str, range(3, 10))] == [text for text in texts(records) if "good" not in text]
    assert [f"good {number}" for number in range(9)] == [text for text in texts(records) if "good" in text]
    assert 0 == moa.status().waiting


def test_a_file_that_refuses_does_not_hold_up_another(tmp_path, read_lines):
    """Whichever refused last is tried last."""
    bad = [tmp_path / f"bad-{number}.jsonl" for number in range(4)]
    for path in bad:
        path.mkdir(parents=True)
    moa.configure(save_traces=True, trace_dir=tmp_path)
    for path in bad:
        with moa.tag(session_id=path.stem):
            ask(path.stem)
    bad[3].rmdir()
    for number in range(4):
        ask(f"{number}")
    bad = [path for path in bad if path.is_dir()]
    for path in bad:
        path.rmdir()
    assert {"bad-3", "0", "1", "2", "3"} == set(texts(read_lines(tmp_path)))
    moa.flush()
    assert 8 == len(read_lines(tmp_path))


def test_another_writer_does_not_get_them(moody, trace_dir, read_lines):
    """They were meant for the first one; `flush` tries all."""
    ask("1")
    moody.error = None
    moa.configure(writer=None)
    ask("2")
    assert ["2"] == texts(read_lines(trace_dir))
    assert [] == moody.lines
    moa.flush()
    assert ["1"] == moody.lines


def test_a_directory_has_one_writer_for_all_who_write_there(trace_dir, read_lines, monkeypatch):
    """A changed setting makes another writer; the lines are the directory's."""
    trace_dir.write_text("")
    ask("1")
    trace_dir.unlink()
    monkeypatch.setenv("MOA_SESSION_ID", "s")
    ask("2")
    assert ["2", "1"] == texts(read_lines(trace_dir))
    assert 0 == moa.status().waiting


def test_late_lines_wait_too(trace_dir, read_lines):
    """And go to their own directory."""
    (trace_dir / "late").parent.mkdir()
    (trace_dir / "late").write_text("")
    go_on = threading.Event()

    @moa.reference
    def slow():
        go_on.wait(10)
        return "late"

    @moa.turn
    def create():
        thread = threading.Thread(target=slow)
        thread.start()
        return thread

    thread = create()
    go_on.set()
    thread.join()
    assert 1 == moa.status().waiting
    (trace_dir / "late").unlink()
    moa.flush()
    late, turn = sorted(read_lines(trace_dir), key=lambda record: record["schema"])
    assert ("late", turn["turn_id"]) == (late["call"]["output"], late["turn_id"])


@pytest.mark.parametrize(("lines", "size"), [(3, 10**9), (10**9, 3500)])
def test_it_is_bounded_and_the_oldest_fall_out(lines, size, moody, monkeypatch, caplog):
    """What falls out is lost, counted and logged."""
    monkeypatch.setattr(outbox.backlog, "most_lines", lines)
    monkeypatch.setattr(outbox.backlog, "most_bytes", size)
    before = moa.status()
    for number in range(9):
        ask(str(number))
    kept = moa.status().waiting
    assert 0 < kept < 9
    assert {"written": 0, "refused": 9, "lost": 9 - kept} == delta(before)
    assert 1 == sum("moa.trace_lost" in record.getMessage() for record in caplog.records)
    moody.error = None
    moa.flush()
    assert list(map(str, range(9 - kept, 9))) == moody.lines


def test_a_line_that_is_larger_than_all_that_may_wait_drops_no_other(moody, monkeypatch):
    """It alone is lost."""
    monkeypatch.setattr(outbox.backlog, "most_bytes", 20_000)
    ask("small")
    before = moa.status()
    ask("x" * 30_000)
    assert (1, 1) == (moa.status().lost - before.lost, moa.status().waiting)


def test_a_refusal_is_logged_once_a_minute(moody, caplog):
    """Without content."""
    for number in range(20):
        ask(f"CONTENT-{number}")
    (event,) = [r.getMessage() for r in caplog.records if r.name == "moa_middleware"]
    assert "moa.trace_refused" in event
    assert "CONTENT" not in event


def test_a_gap_in_the_numbers_is_a_missing_line(moody, tmp_path):
    """A line that waits keeps its number: the gap closes when it is written, and stays if it is lost."""
    numbers = []
    moody.write = lambda session_id, line, write=moody.write: (
        write(session_id, line),
        numbers.append(json.loads(line)["writer"]["seq"]),
    )
    moody.error = None
    ask("1")
    moody.error = OSError(errno.EIO, "no")
    ask("2")
    moody.error = None
    first = numbers[0]
    assert [first] == numbers
    ask("3")
    assert [first, first + 1, first + 2] == numbers
    moody.error = OSError(errno.EIO, "no")
    ask("4")
    outbox.forget()
    moody.error = None
    ask("5")
    assert [first, first + 1, first + 2, first + 4] == numbers


def test_many_that_wait_hold_the_next_one_up_only_briefly(moody):
    """The rest follow with the lines after it, or with `flush`."""
    for number in range(60):
        ask(str(number))
    moody.error = None
    quick = moody.write

    def slow(session_id, line):
        time.sleep(0.005)
        quick(session_id, line)

    moody.write = slow
    began = time.monotonic()
    ask("new")
    assert time.monotonic() - began < 0.2
    assert "new" in moody.lines
    assert 40 < moa.status().waiting < 60

    async def in_a_loop():
        before = len(moody.lines)
        ask("newer")
        return len(moody.lines) - before

    assert asyncio.run(in_a_loop()) < 5
    assert 0 == moa.flush().waiting
    assert 62 == len(moody.lines) == len(set(moody.lines))


def test_threads_that_retry_at_once_write_nothing_twice(moody):
    """Each line is tried by one of them at a time."""
    for number in range(50):
        ask(str(number))
    moody.error = None
    start = threading.Barrier(8)

    def work(number):
        start.wait()
        ask(f"new {number}")
        moa.flush()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    moa.flush()
    assert 58 == len(moody.lines) == len(set(moody.lines))


def test_a_full_disk_and_then_space_again(trace_dir):
    """No line is destroyed, what was refused is written afterwards, and each call had its answer."""
    size = 400_000
    with moa.tag(session_id="s"):
        with limited(size):
            answers = [ask(f"{number} {'x' * 50_000}") for number in range(9)]
            assert moa.status().waiting
            assert all(answer.endswith("x") for answer in answers)
        ask("last")
    records, torn = whole(trace_dir / "s.jsonl")
    assert sorted([*answers, "last"]) == sorted(texts(records))
    assert torn == 1
    numbers = sorted(record["writer"]["seq"] for record in records)
    assert list(range(numbers[0], numbers[0] + 10)) == numbers
    (trace_dir / "s.jsonl").unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full(tmp_path, monkeypatch):
    """ENOSPC, with lines that wait: each next line leaves no further torn one of theirs."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False, capture_output=True
    ).returncode:
        pytest.skip("no mount here")
    try:
        moa.configure(save_traces=True, trace_dir=small, session_id="s")
        path = small / "s.jsonl"
        answers = [ask(f"{number} {'x' * 35_000}") for number in range(10)]
        assert moa.status().waiting
        records, torn = whole(path)
        path.rename(small / "old.txt")
        assert torn <= 1 + moa.status().waiting
        (small / "old.txt").unlink()
        ask("again")
        assert moa.flush().waiting == 0
        later, more = whole(path)
        assert 0 == more
        assert sorted([*answers, "again"]) == sorted(texts(records) + texts(later))
    finally:
        subprocess.run(["umount", small], check=False)


def run(code, *args, **env):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
    )


def test_at_exit_what_waits_is_tried_a_last_time(tmp_path, read_lines):
    """Written if the disk takes it by then; else it is said on the log."""
    code = """
    import os, sys
    import moa_middleware as moa
    @moa.reference
    def ask(text):
        return text
    moa.configure(save_traces=True, trace_dir=sys.argv[1])
    ask("1")
    assert 1 == moa.status().waiting
    if sys.argv[2] == "free":
        os.unlink(sys.argv[1])
    """
    target = tmp_path / "t"
    for then in ("full", "free"):
        target.write_text("")
        done = run(code, target, then)
        assert 0 == done.returncode, done.stderr
        assert ("moa.trace_lost" in done.stderr) == (then == "full")
    assert ["1"] == texts(read_lines(target))


def test_a_forked_child_owes_none_of_its_parents_lines(tmp_path, read_lines):
    """They are written once, by the parent; the child counts from zero."""
    code = """
    import os, sys
    import moa_middleware as moa
    @moa.reference
    def ask(text):
        return text
    moa.configure(save_traces=True, trace_dir=sys.argv[1])
    ask("parent")
    os.unlink(sys.argv[1])
    pid = os.fork()
    if not pid:
        assert (0, 0, 0) == (moa.status().waiting, moa.status().refused, moa.status().written)
        moa.flush()
        ask("child")
        assert 1 == moa.status().written
        sys.exit(0)
    assert not os.waitpid(pid, 0)[1]
    """
    target = tmp_path / "t"
    target.write_text("")
    done = run(code, target)
    assert 0 == done.returncode, done.stderr
    assert ["child", "parent"] == sorted(texts(read_lines(target)))


# The object ---------------------------------------------------------------------------------------


def line(text="x"):
    return Line(text.encode(), session_id=None, writer=Moody())


def test_a_line_in_flight_does_not_fall_out():
    """The thread that tries it holds its token; it may be written at this moment."""
    backlog = Backlog(most_lines=1)
    first = line()
    backlog.add(first)

    def attempt(one):
        assert one is first
        assert 1 == backlog.add(line())  # the new one, since the first is in flight
        one.receipt.results.append(None)

    backlog.retry(attempt)
    assert 0 == len(backlog)


def test_an_interrupt_while_one_is_tried_leaves_it_waiting():
    """And free to be tried again."""
    backlog = Backlog()
    backlog.add(line())

    def interrupt(one):
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            backlog.retry(interrupt)
        assert 1 == len(backlog)


def test_a_line_that_is_written_as_it_is_interrupted_waits_no_more():
    """The receipt tells, not the return."""
    backlog = Backlog()
    backlog.add(line())

    def attempt(one):
        one.receipt.results.append(None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backlog.retry(attempt)
    assert 0 == len(backlog)


def test_a_retry_for_one_writer_stops_when_its_time_is_up():
    """At least one is tried."""
    backlog = Backlog()
    lines = [line(str(n)) for n in range(3)]
    for one in lines:
        one.writer = lines[0].writer
        backlog.add(one)
    tried = itertools.count()

    def attempt(one):
        next(tried)
        one.receipt.results.append(None)

    backlog.retry(attempt, key=lines[0].key, seconds=0)
    assert (2, 1) == (len(backlog), next(tried))
