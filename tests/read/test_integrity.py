"""What lines prove, as `verify` checks it: changed bytes, missing lines, other keys, and what cannot be checked."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import os
import random
import time

import pytest

import moa_middleware as moa
from moa_middleware import errors, read
from tests.support.faults import changed_bytes
from tests.support.faults.changed_bytes import age

from .conftest import SEED, Plain, ask, late_turn, write

FLIPS = 200


@pytest.fixture
def key(desk):
    """Return a key file."""
    path = desk / "key"
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return path


def run(path, turns=9, sessions=3, begin=0, **settings):
    """Write turns of several sessions in turn, each session with its file."""
    moa.configure(save_traces=True, trace_dir=path, **{"integrity": "digest", **settings})
    for number in range(begin, begin + turns):
        with moa.tag(session_id=f"s-{number % sessions}"):
            Plain().create(ask(f"Question {number}?"))
    return path


@pytest.fixture
def proven(desk):
    """Return a directory of three sessions with three proven turns each."""
    return run(desk / "traces")


@pytest.fixture
def signed(desk, key):
    """Return the same with HMACs."""
    return run(desk / "signed", integrity="hmac", integrity_key_file=key)


def counts(path, **how):
    return dict(read.verify(path, **how).counts)


def lines_of(path):
    return path.read_bytes().split(b"\n")[:-1]


# Changed bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["digest", "hmac"])
@pytest.mark.parametrize("change", ["bit", "byte", "cut"])
def test_every_changed_byte_is_found(kind, change, desk, key):
    """200 of 200: one bit, one byte, or a tail that is torn off; in lines of turns and of late calls."""
    path = desk / "traces"
    settings = {"integrity": kind, "integrity_key_file": key}
    run(path, turns=4, sessions=2, **settings)
    late_turn(path)()
    assert read.verify(path, key_files=key if kind == "hmac" else ()).clean
    how = {"key_files": key} if kind == "hmac" else {}
    assert [] == changed_bytes.missed(path, change, FLIPS, random.Random(f"{kind} {change}"), **how)


def test_a_change_of_each_kind_of_byte_is_e121(proven):
    """The line is named; its neighbours are right as they are, and so is the chain."""
    file = proven / "s-1.jsonl"
    data = file.read_bytes()
    number = json.loads(lines_of(file)[1])["writer"]["seq"]
    for old, new in [
        (b"Question 4", b"Question 5"),  # content
        (b'"preset":null', b'"preset":true'),
        (b'"seq":%d' % number, b'"seq":%d' % (number + 1)),
        (b'"integrity"', b'"integrit0"'),
        (b'"digest":"', b'"digezt":"'),
        (b'"writer"', b'"wruter"'),
        (b'"schema":"moa-turn/1","ts"', b'"schemb":"moa-turn/1","ts"'),
    ]:
        start = data.index(b"\n") + 1
        place = data.index(old, start)
        file.write_bytes(data[:place] + new + data[place + len(old) :])
        problems = read.verify(proven, semantics=False, ignore=["E103", "E104", "E109"]).problems
        assert ("E121", 2, str(file)) == (problems[0].code, problems[0].line, problems[0].file), (new, problems)
        assert {"E121", "E122"} >= {problem.code for problem in problems}
    file.write_bytes(data)
    assert read.verify(proven).clean


@pytest.mark.parametrize("between", [b"\x0b", b" ", b"\x0b\x0b"])
def test_a_newline_that_was_changed_is_found(between, proven):
    """Two lines in one are read as two, and named."""
    file = proven / "s-0.jsonl"
    file.write_bytes(file.read_bytes().replace(b"\n", between, 1))
    report = read.verify(proven)
    assert 9 == report.turns
    assert "E121" in report.counts


def test_a_line_behind_a_torn_one_is_right(proven):
    """What somebody without a lock has put together is two lines: one torn, and one as it was written."""
    file = proven / "s-0.jsonl"
    first, *rest = lines_of(file)
    write(file, first[:50] + first, *rest)
    assert {"E101": 1} == counts(proven)


# Missing lines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1, 4, 7])
def test_a_missing_line_is_e122(which, proven):
    """Also the first one of the process, which no number shows."""
    file = proven / f"s-{which % 3}.jsonl"
    lines = lines_of(file)
    del lines[which // 3]
    write(file, *lines)
    found = read.verify(proven)
    assert 1 == found.counts["E122"]
    assert (0 if which == 0 else 1) == found.counts.get("E104", 0)
    (problem,) = (problem for problem in found.problems if problem.code == "E122")
    assert (str(proven / f"s-{(which + 1) % 3}.jsonl"), (which + 1) // 3 + 1) == (problem.file, problem.line)


def test_the_last_lines_of_a_process_are_not_missed(proven):
    """Nothing follows them: the documented limit."""
    write(proven / "s-2.jsonl", *lines_of(proven / "s-2.jsonl")[:-1])
    assert {} == counts(proven)


def test_a_session_that_was_removed_is_missed(proven):
    """Each of its lines, but for the last one."""
    (proven / "s-1.jsonl").unlink()
    assert 3 == counts(proven)["E122"]


def test_one_file_alone_is_checked_line_by_line(proven):
    """Its neighbours have the lines between; a directory is the whole."""
    report = read.verify(proven / "s-0.jsonl")
    assert (True, 3, False) == (report.clean, report.proven, report.chain_checked)
    report = read.verify([proven / f"s-{number}.jsonl" for number in range(3)])
    assert (True, 9, False) == (report.clean, report.proven, report.chain_checked)
    with (proven / "s-0.jsonl").open("rb") as file:
        assert not read.verify(file).chain_checked
    assert read.verify(proven).chain_checked
    file = proven / "s-0.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Question 3", b"Question 8"))
    assert {"E121": 1} == counts(file)


def test_the_order_of_lines_and_files_does_not_matter(proven):
    """Lines that wait are written behind later ones, and sessions are read by name."""
    file = proven / "s-0.jsonl"
    write(file, *reversed(lines_of(file)))
    (proven / "s-0.jsonl").rename(proven / "z.jsonl")
    assert read.verify(proven).clean


def test_a_line_that_is_there_twice_is_e103_alone(proven):
    """Neither is changed, and no line is missing, whether the line before it is read sooner or later."""
    for name in ("s-0", "s-2"):
        file = proven / f"{name}.jsonl"
        lines = lines_of(file)
        write(file, *lines, lines[1])
    assert {"E103": 2} == counts(proven)


def test_a_late_line_that_is_there_twice_is_e103_alone(desk):
    """The same below `late/`."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path, integrity="digest")
    end = late_turn(path)
    with moa.tag(session_id="a"):
        Plain("read before the late line that follows it").create(ask())
    end()
    (late,) = (path / "late").glob("*.jsonl")
    late.write_bytes(late.read_bytes() * 2)
    assert {"E103": 1} == counts(path)


def test_a_line_that_follows_a_line_of_another_directory_begins_its_own_chain(desk):
    """Each directory is whole by itself."""
    for number in range(3):
        run(desk / "a", turns=2, begin=number)
        run(desk / "b", turns=2, begin=number)
    for path in (desk / "a", desk / "b"):
        assert read.verify(path, ignore=["E104"]).clean  # numbers are those of the process


# Moved, removed, mixed -----------------------------------------------------------------------------


def test_what_was_shipped_is_checked_where_it_is(proven, desk):
    """Files that were copied, compressed and renamed prove what they did."""
    there = desk / "there"
    there.mkdir()
    for file in proven.glob("*.jsonl"):
        with gzip.open(there / f"host-{file.name}.gz", "wb") as packed:
            packed.write(file.read_bytes())
    report = read.verify(there)
    assert (True, 9, True) == (report.clean, report.proven, report.chain_checked)
    data = gzip.decompress((there / "host-s-2.jsonl.gz").read_bytes())
    (there / "host-s-2.jsonl.gz").write_bytes(gzip.compress(data.replace(b"Question 5", b"Question 6")))
    assert {"E121": 1} == counts(there)


@pytest.mark.parametrize("old", ["s-0", "s-1", "s-2"])
def test_what_was_pruned_is_not_missed(old, proven):
    """Lines of files that went as old ones; what is lost since is missed."""
    age(*(set(proven.glob("*.jsonl")) - {proven / f"{old}.jsonl"}), seconds=-3600)
    now = time.time() + 60
    assert 1 == len(read.prune(proven, older_than=0, now=now).removed)
    assert read.verify(proven).clean


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("lines", [1, 3])
def test_late_lines_that_were_pruned_alone_are_not_missed(lines, packed, desk):
    """Their session's file went earlier, and the mark of that is older than they are."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path, integrity="digest")
    ends = [late_turn(path) for _ in range(lines)]
    now = time.time()
    run(path, turns=1, sessions=1)
    for number, end in enumerate(ends):
        end()
        run(path, turns=1, sessions=1, begin=number + 1)
    if packed:
        (late,) = (path / "late").iterdir()
        late.with_name("s.jsonl.gz").write_bytes(gzip.compress(late.read_bytes()))
        late.unlink()
    assert read.verify(path).clean
    age(path / "s-0.jsonl", seconds=-3600)
    age(path / "s.jsonl")
    assert ["turns"] == [one.kind for one in read.prune(path, older_than=0, now=now).removed]
    assert ["late"] == [one.kind for one in read.prune(path, older_than=0, now=time.time() + 60).removed]
    assert read.verify(path).clean


def test_what_was_written_and_lost_after_a_prune_is_missed(proven):
    """The first line that a process wrote since then may follow one that was removed; no other one may."""
    age(proven / "s-0.jsonl")
    assert 1 == len(read.prune(proven, older_than="1d").removed)
    mark = proven / ".pruned"
    assert json.loads(mark.read_bytes())["before"] < time.time() - 80_000
    # All lines are younger than that moment, so all that is gone is missed.
    assert 3 == counts(proven)["E122"]
    mark.write_text(json.dumps({"before": json.loads(lines_of(proven / "s-1.jsonl")[1])["ts"]}))
    assert {"E104": 1, "E122": 1} == counts(proven)


def test_old_lines_stay_readable(proven, desk):
    """Lines without a digest, of before and of Hermes Agent, next to proven ones."""
    moa.configure(integrity="off")
    with moa.tag(session_id="s-0"):
        Plain().create(ask())
    write(proven / "seed.jsonl", SEED)
    report = read.verify(proven)
    assert (True, 11, 9, True) == (report.clean, report.turns, report.proven, report.chain_checked)
    moa.configure(trace_dir=desk / "plain")
    Plain().create(ask())
    report = read.verify(desk / "plain", ignore=["E104"])
    assert (True, 0, False) == (report.clean, report.proven, report.chain_checked)


def test_what_is_read_otherwise_is_the_same(proven):
    """A proof adds nothing to figures, to the fields of a turn, or to what a scan finds."""
    turns = list(read.open(proven).turns())
    assert 9 == len(turns)
    assert turns[0].writer.digest == json.loads(turns[0].raw)["writer"]["digest"]
    assert turns[0].writer.integrity == "digest"
    assert [] == list(read.scan(proven))


# Keys ----------------------------------------------------------------------------------------------


def test_without_the_key_nothing_of_an_hmac_is_checked(signed):
    """It says so; the chain is checked all the same."""
    report = read.verify(signed)
    assert (True, 9, 9, True) == (report.clean, report.proven, report.unchecked, report.chain_checked)
    file = signed / "s-0.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Question 3", b"Question 8"))
    assert {} == counts(signed)


def test_with_the_key_an_edit_is_found(signed, key):
    """Content, and a proof that somebody without the key makes anew."""
    assert read.verify(signed, key_files=key).clean
    file = signed / "s-0.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Question 3", b"Question 8"))
    assert {"E121": 1} == counts(signed, key_files=key)


@pytest.mark.parametrize("way", ["digest", "off", "other key", "kept id", "removed"])
def test_nobody_without_the_key_makes_a_line_that_passes(way, signed, key, desk):
    """A plain digest, none, the HMAC of another key, that with the right key's name, and no line at all."""
    file = signed / "s-0.jsonl"
    first, forged, last = lines_of(file)
    record = json.loads(forged)
    record["output"] = "forged"
    writer = record["writer"]
    del writer["digest"]
    made = b"" if way == "off" else b"of my own"
    if way == "digest":
        writer["integrity"] = "digest"
        del writer["key_id"]
    elif way == "other key":
        writer["key_id"] = hmac.digest(made, b"moa_middleware key id", "sha256").hex()[:8]
    elif way == "off":
        record["writer"] = {name: writer[name] for name in ("version", "host", "pid", "started_at", "seq")}
    data = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    if way != "off":
        head = data[:-2]
        digest = hashlib.sha256(head) if way == "digest" else hmac.new(made, head, "sha256")
        data = head + f',"digest":"{digest.hexdigest()}"}}}}'.encode()
    write(file, first, *([] if way == "removed" else [data]), last)
    found = counts(signed, key_files=key)
    wanted = {"digest": "E124", "off": "E124", "other key": "E123", "kept id": "E121", "removed": "E122"}
    assert 1 == found[wanted[way]]
    assert 1 == found["E122"]  # the line behind it follows another one


def test_a_wrong_key_is_e123_for_each_line(signed, desk):
    """It is not taken for a change."""
    (desk / "other").write_bytes(b"another key")
    assert {"E123": 9} == counts(signed, key_files=desk / "other")


def test_a_key_that_was_exchanged_is_given_with_the_new_one(signed, key, desk):
    """Each line names its key."""
    (desk / "other").write_bytes(b"another key")
    run(signed, turns=3, begin=9, integrity="hmac", integrity_key_file=desk / "other")
    assert {"E123": 3} == counts(signed, key_files=key)
    report = read.verify(signed, key_files=[key, desk / "other"])
    assert (True, 12, 0) == (report.clean, report.proven, report.unchecked)


def test_lines_without_an_hmac_are_named_where_a_key_is_given(proven, key):
    """Older ones can be left out by their code."""
    assert {"E124": 9} == counts(proven, key_files=key)
    assert read.verify(proven, key_files=key, ignore=["E124"]).clean


def test_a_key_file_that_cannot_be_used_is_a_clear_error(proven, desk):
    """It names the file."""
    for path, says in [(desk / "none", "does not exist"), (desk, "cannot be read: ")]:
        with pytest.raises(errors.QueryError) as caught:
            read.verify(proven, key_files=path)
        assert f"the key file {str(path)!r} {says}" in str(caught.value)


def test_a_directory_that_grows_meanwhile_is_not_broken(proven):
    """A line that came since the reading began may follow one of a file that was read by then."""
    reading = read.open(proven)._reading(keys=())
    turns = reading.turns()
    read_so_far = [next(turns) for _ in range(4)]
    run(proven, turns=3, begin=9)
    # The first file was read before its fourth turn came, which the next one of the second file follows.
    found = [turn.session_id for turn in (*read_so_far, *turns)]
    assert [3, 4, 4] == [found.count(f"s-{number}") for number in range(3)]
    assert "E122" not in reading.problem_log.counts
