"""What stands in traces that should not, and what is old."""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta

import pytest

import moa_middleware as moa
from moa_middleware import errors, read
from moa_middleware._capture.tracing.journal import JOURNAL_SCHEMA, this_process
from moa_middleware._capture.tracing.writer import FileWriter
from moa_middleware._layout.folder import Folder

from .conftest import SEED, Plain, ask, late_turn, records, write

LATE_LINE = {"schema": "moa-late/1", "turn_id": "t", "call": {}}
KEY = "sk-proj-abcd1234efgh5678ijkl9012"
MAIL = "somebody@example.com"
PHONE = "+49 30 1234567"


# Scan ----------------------------------------------------------------------------------------------


def test_secrets_and_personal_data_are_found_where_they_stand(traces):
    """By rule, line and place, and never with their values."""
    file = traces / "s-0.jsonl"
    first, second, third = records(file)
    second["references"][1]["output"] = f"Write to {MAIL} or {MAIL}, or call {PHONE}."
    second["input_messages"][0]["content"] = f"My key is {KEY}."
    second["tags"] = {MAIL: 1, "a.b": {"password": "hunter2hunter2"}}
    write(file, first, second, third, f"no JSON, but {KEY}")
    found = list(read.scan(traces))
    assert {
        ("secrets", 2, "input_messages.0.content", 1),
        ("emails", 2, "references.1.output", 2),
        ("phones", 2, "references.1.output", 1),
        ("emails", 2, "tags.*", 1),
        ("secrets", 2, "tags.a~1b.password", 1),
        ("secrets", 4, "", 1),
    } == {(one.rule, one.line, one.path, one.count) for one in found}
    assert {str(file)} == {one.file for one in found}
    assert {second["turn_id"], None} == {one.turn_id for one in found}
    for value in (KEY, MAIL, PHONE, "hunter2"):
        assert value not in repr(found)


def test_a_clean_run_has_no_findings(traces):
    """Ids, times, models and paths are none."""
    assert [] == list(read.scan(traces))


def test_late_lines_and_journals_are_scanned_too(traces):
    """A directory may be published whole."""
    for folder in ("late", "open"):
        (traces / folder).mkdir()
        write(traces / folder / "x.jsonl", {"schema": "some/1", "turn_id": "t", "text": MAIL})
    assert [("late", "t"), ("open", "t")] == [
        (os.path.basename(os.path.dirname(one.file)), one.turn_id) for one in read.scan(traces)
    ]


def test_rules_can_be_chosen(traces):
    """A wrong one is an error before anything is read."""
    data = json.dumps({"text": f"{MAIL} {KEY}"}).encode()
    assert ["emails"] == [one.rule for one in read.scan(io.BytesIO(data), rules="emails")]
    assert ["secrets"] == [one.rule for one in read.scan(io.BytesIO(data), rules=["secrets"])]
    with pytest.raises(errors.QueryError, match="secrets, emails, phones"):
        read.scan(traces, rules=["everything"])
    with pytest.raises(errors.UnreadableError):
        read.scan(traces / "nowhere")


def test_what_the_writer_redacts_is_not_found(desk):
    """The rules are the same."""
    moa.configure(save_traces=True, trace_dir=desk / "a", session_id="s", redact=["secrets", "emails", "phones"])
    Plain(f"Take {KEY}, {MAIL} and {PHONE}.").create(ask(MAIL))
    assert [] == list(read.scan(desk / "a"))
    moa.configure(save_traces=True, trace_dir=desk / "b", session_id="s", redact=None)
    Plain(f"Take {KEY}, {MAIL} and {PHONE}.").create(ask(MAIL))
    assert {"secrets", "emails", "phones"} == {one.rule for one in read.scan(desk / "b")}


# Prune ---------------------------------------------------------------------------------------------

OLD = 40 * 86400


def age(*paths, seconds=OLD):
    for path in paths:
        then = time.time() - seconds
        os.utime(path, (then, then))


def fates(report):
    return {str(one.path.relative_to(report.directory)): one.status for one in report.files}


def test_old_files_go_and_young_ones_stay(traces):
    """By the time of their last write; a dry run says the same, and changes nothing."""
    age(traces / "s-0.jsonl")
    size = (traces / "s-0.jsonl").stat().st_size
    for dry_run in (True, False):
        assert (traces / "s-0.jsonl").exists()
        report = read.prune(traces, older_than="30d", dry_run=dry_run)
        assert {"s-0.jsonl": "removed"} == fates(report)
        assert (dry_run, size, 1, 1) == (report.dry_run, report.bytes, report.recent, len(report.removed))
    assert [".pruned", "s-1.jsonl"] == sorted(path.name for path in traces.iterdir())
    assert 3 == read.stats(traces).total.turns
    assert {} == fates(read.prune(traces, older_than="30d"))


def test_segments_go_before_the_file_that_grows(desk):
    """And late lines stay as long as a file of their session does."""
    path = desk / "traces"
    moa.configure(save_traces=True, writer=FileWriter(path, max_file_bytes=3000), session_id="s")
    for number in range(4):
        Plain("one").create(ask(str(number)))
    late = path / "late"
    late.mkdir()
    write(late / "s.jsonl", LATE_LINE)
    write(late / "gone.jsonl", LATE_LINE)
    segments = sorted(path.glob("s~s*.jsonl"))
    age(*segments[:2], late / "s.jsonl", late / "gone.jsonl")
    found = read.prune(path, older_than=timedelta(days=30))
    assert {
        "s~s1.jsonl": "removed",
        "s~s2.jsonl": "removed",
        "late/s.jsonl": "needed",
        "late/gone.jsonl": "removed",
    } == fates(found)
    assert ["segment", "segment", "late", "late"] == [one.kind for one in found.files]
    age(*path.glob("*.jsonl"), late / "s.jsonl")
    read.prune(path, older_than=OLD - 86400)
    assert [] == list(path.rglob("*.jsonl"))


def test_what_was_pruned_is_not_missed(desk):
    """The numbers of a process between others, and turns of late lines; what is lost since is missed."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path)
    for session in ("a", "b", "a", "c"):
        with moa.tag(session_id=session):
            Plain("one").create(ask())
    late_turn(path)()
    os.rename(path / "s.jsonl", path / "s~s1.jsonl")
    late_turn(path)()
    assert read.verify(path).clean
    # In a minute, when all but two files are written again.
    now = time.time() + 60
    old = [path / "b.jsonl", path / "s~s1.jsonl"]
    age(*({*path.rglob("*.jsonl")} - {*old}), seconds=-3600)
    assert old == [one.path for one in read.prune(path, older_than=0, now=now, dry_run=True).removed]
    assert not (path / ".pruned").exists()
    assert old == [one.path for one in read.prune(path, older_than=0, now=now).removed]
    for source in (path, [path / "a.jsonl", path / "c.jsonl"], f"{path}/*.jsonl"):
        assert read.verify(source).clean
    assert 0o600 == (path / ".pruned").stat().st_mode & 0o777
    # An earlier moment takes nothing back.
    age(path / "c.jsonl")
    assert 1 == len(read.prune(path, older_than="1d").removed)
    assert read.verify(path).clean


def test_what_is_lost_since_a_prune_is_missed(traces):
    """Only lines written before the moment are let be."""
    before = time.time() - OLD
    age(write(traces / "old.jsonl", SEED), seconds=2 * OLD)
    assert 1 == len(read.prune(traces, older_than=OLD).removed)
    lines = (traces / "s-0.jsonl").read_bytes().split(b"\n")
    write(traces / "s-0.jsonl", lines[0], lines[2])
    assert {"E104": 1} == dict(read.verify(traces).counts)
    for odd in (b"[]", b"{", b'{"before": "soon"}', b"[" * 9999, f'{{"before": {before}}}'.encode()):
        (traces / ".pruned").write_bytes(odd)
        assert {"E104": 1} == dict(read.verify(traces).counts)


def test_what_somebody_writes_to_stays(traces):
    """A lock that is held says so, however old the file looks."""
    age(traces / "s-0.jsonl", traces / "s-1.jsonl")
    with (traces / "s-0.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert {"s-0.jsonl": "busy", "s-1.jsonl": "removed"} == fates(read.prune(traces, older_than="1d"))
    assert (traces / "s-0.jsonl").exists()


@pytest.mark.parametrize("where", ["a thread", "an event loop"])
def test_a_live_writer_loses_no_line(where, desk, monkeypatch):
    """Files that are made to look old are removed under its hands, again and again; in a loop it waits for no lock."""
    code = """
import asyncio
import sys
import time
import moa_middleware as moa

moa.configure(save_traces=True, trace_dir=sys.argv[1], session_id="s")

@moa.reference
def propose(prompt):
    return prompt

def work():
    for number in range(60):
        propose(str(number))
        time.sleep(0.002)

async def main():
    work()

asyncio.run(main()) if sys.argv[2] == "an event loop" else work()
print(moa.status().written)
"""
    path, kept = desk / "traces", desk / "kept"
    kept.mkdir()
    remove = Folder.remove

    def slowly(folder, name):
        """Hold the window open in which a writer without the lock has looked, and the file is there still."""
        time.sleep(0.003)
        try:
            os.link(path / name, kept / f"{len(removed)}.jsonl")
        except FileNotFoundError:
            return
        removed.append(name)
        remove(folder, name)

    removed = []
    monkeypatch.setattr(Folder, "remove", slowly)
    with subprocess.Popen([sys.executable, "-c", code, path, where], stdout=subprocess.PIPE, text=True) as writer:
        while writer.poll() is None:
            for file in path.glob("*.jsonl"):
                with suppress(FileNotFoundError):
                    age(file)
            with suppress(errors.UnreadableError):
                read.prune(path, older_than="1d")
        assert "60\n" == writer.stdout.read()
    run = read.open([kept, *([path] if path.exists() else [])])
    assert {str(n) for n in range(60)} == {turn.references[0].output for turn in run}
    assert len(removed) > 1


@pytest.mark.parametrize("taken", [False, True], ids=["name free", "name taken"])
def test_what_is_appended_while_a_file_is_removed_is_put_back(taken, traces, monkeypatch):
    """A writer without the lock may write between the last look and the removal."""
    path = traces / "s-0.jsonl"
    age(path)
    last = write(traces / "s-0.txt", {**SEED, "session_id": "s-0"}).read_bytes()
    remove = Folder.remove

    def meanwhile(folder, name):
        with path.open("ab") as file:
            file.write(b"\n" + last)
        remove(folder, name)
        if taken:
            write(path, {**SEED, "ts": SEED["ts"] + 1})

    monkeypatch.setattr(Folder, "remove", meanwhile)
    assert {"s-0.jsonl": "removed"} == fates(read.prune(traces, older_than="1d"))
    where = traces / "s-0~s1.jsonl" if taken else path
    assert b"\n" + last == where.read_bytes()
    assert 0o600 == where.stat().st_mode & 0o777
    assert 1 + taken == sum(1 for turn in read.open(traces) if turn.id.startswith("~"))


def test_what_is_put_back_overwrites_no_line(traces, monkeypatch):
    """The writer may find the new file, and write into it, before anything is put back there."""
    path = traces / "s-0.jsonl"
    age(path)
    last = write(traces / "s-0.txt", {**SEED, "session_id": "s-0"}).read_bytes()
    open_file, remove = Folder.open, Folder.remove

    def meanwhile(folder, name):
        with path.open("ab") as file:
            file.write(b"\n" + last)
        remove(folder, name)

    def beside(folder, name, flags=os.O_RDONLY, **more):
        descriptor = open_file(folder, name, flags, **more)
        if flags & os.O_EXCL and name == path.name:
            with path.open("ab") as file:
                file.write(last)
        return descriptor

    monkeypatch.setattr(Folder, "remove", meanwhile)
    monkeypatch.setattr(Folder, "open", beside)
    assert {"s-0.jsonl": "removed"} == fates(read.prune(traces, older_than="1d"))
    assert last + b"\n" + last == path.read_bytes()


def test_journals_of_the_dead_go_and_those_of_the_living_stay(traces):
    """Those of other machines stay, unless they are said to be dead."""
    folder = traces / "open"
    folder.mkdir()
    for name, process in {
        "live": this_process(),
        "dead": {**this_process(), "started": 1},
        "elsewhere": {**this_process(), "host": "another"},
    }.items():
        age(write(folder / f"{name}.jsonl", {"schema": JOURNAL_SCHEMA, "turn_id": name, "process": process}))
    empty = "01a20a23-6c3c-709f-9e47-25ccc2c6c2f0.jsonl"
    age(write(folder / "foreign.jsonl", b"what", b"{", {"process": 3}), write(folder / "empty.jsonl"))
    age(write(folder / empty), write(folder / "torn.jsonl", b'{"schema":"moa-journal/1","turn_id":"torn","sess'))
    found = read.prune(traces, older_than="30d")
    foreign = {"open/empty.jsonl": "foreign", "open/foreign.jsonl": "foreign"}
    assert {
        f"open/{empty}": "removed",
        "open/dead.jsonl": "removed",
        "open/elsewhere.jsonl": "elsewhere",
        "open/live.jsonl": "live",
        "open/torn.jsonl": "removed",
        **foreign,
    } == fates(found)
    assert {"open/elsewhere.jsonl": "removed", "open/live.jsonl": "live", **foreign} == fates(
        read.prune(traces, older_than="30d", elsewhere=True)
    )


FOREIGN = {
    "tune.jsonl": b'{"messages": [{"role": "user", "content": "Why?"}]}\n',
    "log.jsonl": b"2026-01-01 started\n",
    "output.jsonl": b'done\n{"schema": "moa-turn/1", "turn_id": "t"}\n',
    "quoted.jsonl": b'{"text": "{\\"schema\\": \\"moa-turn/1\\"}"}\n',
    "inner.jsonl": b'{"record": {"schema": "moa-turn/1", "turn_id": "t"}}\n',
    "list.jsonl": b'["schema", "moa-turn/1"]\n',
    "other.jsonl": b'{"schema": "another/1", "turn_id": "t"}\n',
    "near.jsonl": b'{"schema": "moa-turner/1", "turn_id": "t"}\n',
    "no-turn.jsonl": b'{"schema": "moa-turn/1"}\n',
    "no-text.jsonl": b'{"schema": ["moa-turn/1"], "turn_id": "t"}\n',
    "journal.jsonl": b'{"schema": "moa-journal/1", "turn_id": "journal"}\n',
    "half.jsonl": b'{"references": []}\n',
    "blank.jsonl": b"\n \n",
    "empty.jsonl": b"",
    "binary.jsonl": b"\0" * 4096,
    "begin.jsonl": b'{"schema": "moa-tur',
    "notes.jsonl.gz": gzip.compress(b"my notes\n"),
    "broken.jsonl.gz": gzip.compress(b'{"schema": "moa-turn/1", "turn_id": "t"}\n')[:15],
    "plain.jsonl.gz": b"my notes\n",
}
OWN = {
    "seed.jsonl": json.dumps(SEED).encode() + b"\n",
    "packed.jsonl.gz": gzip.compress(json.dumps(SEED).encode() + b"\n"),
    "sorted.jsonl": b'{"aggregator": null, "schema": "moa-turn/1", "turn_id": "t"}\n',
    "newer.jsonl": b'{"schema": "moa-turn/12", "turn_id": "t"}\n',
    "torn.jsonl": b'{"schema":"moa-turn/1","turn_id":"t","sess',
    "torn-first.jsonl": b'{"schema":"moa-turn/1","turn_id":"t","sess\n{"schema": "moa-turn/1", "turn_id": "u"}\n',
    "behind-blanks.jsonl": b'\n\n{"schema": "moa-turn/1", "turn_id": "t"}\n',
    "large.jsonl": b'{"schema":"moa-turn/1","turn_id":"t","x":"' + b"x" * 200_000 + b'"}\n',
    "large-seed.jsonl": json.dumps({**SEED, "preset": "x" * 200_000}).encode() + b"\n",
}


def test_only_what_is_readable_as_a_trace_goes(desk):
    """A name proves nothing: the first line must be one of a turn or a late call, at the top of its object."""
    for place in ("traces", "none"):
        path = desk / place
        path.mkdir()
        for name, data in {**FOREIGN, **(OWN if place == "traces" else {})}.items():
            (path / name).write_bytes(data)
            age(path / name)
        for dry_run in (True, False):
            found = read.prune(path, older_than="1d", dry_run=dry_run)
            assert {
                **dict.fromkeys(FOREIGN, "foreign"),
                **dict.fromkeys(OWN if place == "traces" else (), "removed"),
            } == (fates(found))
            assert all(one.error for one in found.files if one.status == "foreign")
        left = {one.name: one.read_bytes() for one in path.iterdir() if one.name != ".pruned"}
        assert FOREIGN == left
        assert (place == "traces") == (path / ".pruned").exists()


def test_nothing_else_is_touched(traces, desk):
    """Other files, directories, and what links lead to; what has the name of a trace is listed."""
    other = write(desk / "other.jsonl", SEED)
    (traces / "link.jsonl").symlink_to(other)
    (traces / "notes.txt").write_text("mine")
    (traces / "folder.jsonl").mkdir()
    os.mkfifo(traces / "pipe.jsonl")
    names = ("link.jsonl", "folder.jsonl", "pipe.jsonl")
    age(other, traces / "notes.txt", *(traces / name for name in names[1:]))
    os.utime(traces / "link.jsonl", (1, 1), follow_symlinks=False)
    found = read.prune(traces, older_than="1d")
    assert dict.fromkeys(names, "foreign") == fates(found)
    assert {"it is a link", "it is a directory", "it is a pipe"} == {one.error for one in found.files}
    assert other.exists()
    assert {"notes.txt", "s-0.jsonl", "s-1.jsonl", *names} == {path.name for path in traces.iterdir()}


@pytest.mark.parametrize("name", ["late", "open"])
def test_a_link_leads_no_removal_out_of_the_directory(traces, desk, name):
    """`late/` and `open/` may be links too; what stands behind them is not of this directory."""
    (desk / "other").mkdir()
    schema = {"late": "moa-late/1", "open": JOURNAL_SCHEMA}[name]
    other = write(desk / "other" / "mine.jsonl", {"schema": schema, "turn_id": "mine", "call": {}})
    (traces / name).symlink_to(desk / "other")
    age(other)
    (found,) = read.prune(traces, older_than="1d").files
    assert (traces / name, "foreign", "it is a link") == (found.path, found.status, found.error)
    assert other.exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "directory", "text", "other JSON"])
def test_a_mark_is_not_put_in_the_place_of_something_else(kind, traces, desk):
    """The old files go, and what has the name of the mark stays and is listed; `verify` is not held up by it."""
    target = desk / "target"
    if kind == "link":
        target.write_text('{"before": 1}')
    place = traces / ".pruned"
    {
        "link": lambda: place.symlink_to(target),
        "dangling link": lambda: place.symlink_to(target),
        "pipe": lambda: os.mkfifo(place),
        "directory": place.mkdir,
        "text": lambda: place.write_text("mine"),
        "other JSON": lambda: place.write_text('{"mine": 1}'),
    }[kind]()
    before = place.lstat()
    age(traces / "s-0.jsonl")
    found = read.prune(traces, older_than="1d")
    assert {"s-0.jsonl": "removed", ".pruned": "foreign"} == fates(found)
    assert os.path.samestat(before, place.lstat())
    assert {"link": '{"before": 1}'}.get(kind) == (target.read_text() if target.exists() else None)
    read.verify(traces)


def test_no_link_that_is_put_there_is_written_through(traces, desk, monkeypatch):
    """The mark is made under a random name, and a file that has it already is not opened."""
    target = desk / "target"
    target.write_text("precious")
    (traces / f".pruned.{os.getpid()}").symlink_to(target)
    monkeypatch.setattr(os, "urandom", lambda count: b"x" * count)
    (traces / f".pruned.{(b'x' * 8).hex()}").symlink_to(target)
    age(traces / "s-0.jsonl")
    assert {"s-0.jsonl": "removed"} == fates(read.prune(traces, older_than="1d"))
    assert "precious" == target.read_text()
    assert not (traces / ".pruned").exists()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("30d", 30 * 86400), ("1.5h", 5400), ("90s", 90), ("2w", 1209600), ("5m", 300), (" 1D ", 86400), (60, 60), (0, 0)],
)
def test_ages(given, seconds):
    """A number with a unit, seconds, or a timedelta."""
    assert seconds == read.parse_age(given)
    assert seconds == read.parse_age(timedelta(seconds=seconds))


@pytest.mark.parametrize("bad", ["30", "d", "", "a month", "-1d", -1, True, None, "nand", float("nan"), "1y", "infd"])
def test_an_age_that_is_none_is_an_error(bad, traces):
    """Before anything is removed."""
    with pytest.raises(errors.QueryError, match="30d say"):
        read.prune(traces, older_than=bad)
    with pytest.raises(errors.UnreadableError):
        read.prune(traces / "nowhere", older_than="1d")
