"""Figures and files at their edges: ties, runs that got worse, odd prompts, lines that come twice, old files that stay."""

from __future__ import annotations

import errno
import json
import os
import time
from copy import deepcopy
from pathlib import Path

import pytest

import moa_middleware as moa
from moa_middleware import read
from moa_middleware._layout import lock

from .conftest import ask, late_turn, records, write

# Two runs -------------------------------------------------------------------------------------------


@pytest.fixture
def answered(traces):
    """Return the record of a turn that went well."""
    return records(traces / "s-0.jsonl")[0]


def asked(record, text, *, cost=None, failed=False):
    """Return a copy of a record of another turn, with another question, price or end."""
    found = deepcopy(record)
    found["turn_id"] = f"{text}-{cost}-{failed}"
    found["input_messages"] = ask(text)
    if cost is not None:
        found["aggregator"]["cost_usd"] = cost
    if failed:
        found["outcome"], found["error"] = "error", {"type": "ValueError", "message": "no answer"}
    return found


def lines(path, *found):
    """Write records with each character beyond ASCII escaped, as lone surrogates have to be."""
    return write(path, *map(json.dumps, found))


def test_turns_that_fail_only_in_the_second_run_are_counted(desk, answered):
    """Of three turns that fail in B, one did not fail in A and one failed there too; a third is not in A."""
    a = lines(
        desk / "a.jsonl",
        asked(answered, "fine"),
        asked(answered, "bad", failed=True),
        asked(answered, "better", failed=True),
    )
    b = lines(
        desk / "b.jsonl",
        asked(answered, "fine", failed=True),
        asked(answered, "bad", failed=True),
        asked(answered, "better"),
        asked(answered, "new", failed=True),
    )
    assert (3, 1, 1) == ((found := read.compare(a, b)).matched, found.only_b, found.newly_failed)
    assert 1 == read.compare(b, a).newly_failed
    assert 0 == read.compare(a, a).newly_failed


def test_the_worst_turns_are_as_many_as_were_asked_for(desk, answered):
    """`worst=1` shows the one with the greatest rise."""
    a = lines(desk / "a.jsonl", *[asked(answered, text, cost=1.0) for text in "xyz"])
    b = lines(
        desk / "b.jsonl", *[asked(answered, text, cost=cost) for text, cost in zip("xyz", (2, 4, 3), strict=True)]
    )
    assert [3.0] == [pair.cost_usd for pair in read.compare(a, b, worst=1).costlier]
    assert [3.0, 2.0] == [pair.cost_usd for pair in read.compare(a, b, worst=2).costlier]
    assert () == read.compare(a, b, worst=0).costlier


def test_prompts_with_lone_surrogates_are_matched(desk, answered):
    """Half an emoji, which a tokenizer may cut, has no UTF-8; such prompts match their like and no other."""
    a = lines(desk / "a.jsonl", asked(answered, "half \ud83d"), asked(answered, "other half \ude00"))
    b = lines(desk / "b.jsonl", asked(answered, "other half \ude00"), asked(answered, "half \ud83c"))
    found = read.compare(a, b)
    assert (1, 1, 1) == (found.matched, found.only_a, found.only_b)


# One turn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["long first", "short first"])
def test_of_two_calls_around_others_the_shorter_one_is_their_sum(order, desk, answered):
    """
    Two calls lie inside one that is recorded under another id, and a longer one ran all the while.

    The one that fits closely is the sum of the two, and costs nothing of its own.
    """
    call = answered["references"][0]

    def at(start, end, cost, **fields):
        times = {"started_at": start, "ended_at": end, "duration_ms": 1000.0 * (end - start)}
        return {**call, **times, "cost_usd": cost, "call_id": f"{start}-{end}", "parent": None, **fields}

    around = [at(0.0, 9.0, 8.0), at(1.0, 6.0, 2.0)]
    answered["references"] = [at(2.0, 3.0, 1.0, parent="gone"), at(4.0, 5.0, 1.0, parent="gone")]
    answered["calls"] = [around[place] for place in order]
    answered["aggregator"] = None
    (turn,) = read.open(lines(desk / "one.jsonl", answered)).turns()
    assert 10.0 == turn.cost.known_usd


def test_the_answer_of_a_turn_that_was_broken_off_is_explained(desk, answered):
    """Nothing was returned, since the caller left; what the aggregator had said until then is compared."""
    answered["output"], answered["outcome"] = None, "cancelled"
    answered["references"][0]["output"] = "air scatters blue light far more than red light"
    answered["references"][1]["output"] = "the sea is mirrored in the sky above it"
    answered["aggregator"]["output"] = "air scatters blue light far more than"
    (turn,) = read.open(lines(desk / "one.jsonl", answered)).turns()
    assert "air scatters blue light far more than" == turn.answer
    found = turn.overlap()
    assert (7, 0.0, (1.0, 0.0)) == (found.total, found.novel, found.covered)


def test_a_line_with_many_odd_values_names_some_and_counts_the_rest(desk, answered):
    """Five are named: a line of another program may have hundreds."""
    for name in ("preset", "error", "started_at", "ended_at", "duration_ms", "turns", "writer"):
        answered[name] = object.__name__
    (answered["preset"], answered["turns"]) = 1, "odd"
    found = read.verify(lines(desk / "one.jsonl", answered))
    (problem,) = [one for one in found.problems if one.code == "E109"]
    named, _, more = problem.message.partition(" and ")
    assert 5 == len(named.split(", "))
    assert "2 more" == more


# A tail ---------------------------------------------------------------------------------------------


def late_lines(desk):
    """Return a trace directory, and the record of a late call in it."""
    path = desk / "late-traces"
    late_turn(path)()
    moa.flush()
    (file,) = (path / "late").glob("*.jsonl")
    (record,) = records(file)
    return path, file, record


def tailed(path, file, *found):
    """Return the ids of the late calls that a tail yields of lines which are written while it runs."""

    def write_and_stop():
        with file.open("ab") as out:
            out.writelines(json.dumps(record).encode() + b"\n" for record in found)
        return True

    return [
        one.call.call_id for one in read.tail(path, last=0, interval=0, stop=write_and_stop) if hasattr(one, "call")
    ]


def test_a_late_call_is_told_once_however_it_is_written(desk):
    """A recovery may write it again with other spaces or times: it is the same call."""
    path, file, record = late_lines(desk)
    one = {**record, "call": {**record["call"], "call_id": "one"}}
    again = {**one, "ts": 1.0}
    other = {**record, "call": {**record["call"], "call_id": "other"}}
    assert ["one", "other"] == tailed(path, file, one, again, other)


def test_late_calls_without_an_id_are_all_told(desk):
    """Lines of another program: two that differ are two calls, and the same line is one."""
    path, file, record = late_lines(desk)
    first = {**record, "call": {**record["call"], "call_id": None, "output": "first"}}
    second = {**record, "call": {**record["call"], "call_id": None, "output": "second"}}
    assert [None, None] == tailed(path, file, first, second, first)


# Old files ------------------------------------------------------------------------------------------


def aged(traces):
    """Let a session be old; return its file."""
    file = traces / "s-0.jsonl"
    then = time.time() - 40 * 86400
    os.utime(file, (then, then))
    return file


def descriptors():
    return sorted(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc on this platform")
def test_no_descriptor_of_a_removed_file_is_left_open(traces):
    """A cleanup of thousands of files must not run out of descriptors."""
    aged(traces)
    before = descriptors()
    read.prune(traces, older_than="30d", dry_run=True)
    assert before == descriptors()
    assert 1 == len(read.prune(traces, older_than="30d").removed)
    assert before == descriptors()


def test_a_file_that_may_not_be_removed_is_named_with_the_reason(traces, monkeypatch):
    """The directory is somebody else's: the file stays, the others go, and the report says why."""
    file = aged(traces)

    def refuse(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "unlink", refuse)
    report = read.prune(traces, older_than="30d")
    monkeypatch.undo()
    assert [(file, "failed", "Permission denied")] == [(one.path, one.status, one.error) for one in report.files]
    assert file.exists()
    assert (0, ()) == (report.bytes, report.removed)


def test_old_files_go_where_a_file_system_has_no_locks(traces, monkeypatch):
    """Some network file systems refuse every lock: writers go without one there, and so does the cleanup."""
    file = aged(traces)

    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_flock", refuse)
    assert [file] == [one.path for one in read.prune(traces, older_than="30d").removed]
    assert not file.exists()
