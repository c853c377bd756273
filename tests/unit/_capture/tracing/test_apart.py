"""Lines next to a foreign file: which file they go to, when another one is begun, and when the line waits."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from moa_middleware._capture.tracing import apart
from moa_middleware._capture.tracing.trace_file import ForeignFileError, Receipt
from moa_middleware._capture.tracing.writer import FileWriter
from moa_middleware._layout import shared

from .test_writer import TRACING, interrupted

OTHER = 65534
"""The user `nobody`."""
pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files to other users"
)


def line(number):
    return b'{"n": %d, "pad": "%s"}\n' % (number, b"x" * 30)


@pytest.fixture
def folder():
    """Return a directory that all may write to, and reach, with another user's file in the session's place."""
    apart._instead.clear()
    with tempfile.TemporaryDirectory(prefix="moa-apart-") as name:
        os.chmod(name, 0o755)
        path = Path(name) / "traces"
        path.mkdir()
        path.chmod(0o1777)
        given(path / "s.jsonl")
        yield path
    apart._instead.clear()
    shared._known.clear()


def given(path, mode=0o666):
    """Make a file of another user's."""
    path.touch()
    path.chmod(mode)
    os.chown(path, OTHER, OTHER)


@contextmanager
def as_user(number):
    """Be another user for a while."""
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)


def files(folder):
    """Return the numbers in each file."""
    return {
        path.name: [int(one.split(b":")[1].split(b",")[0]) for one in path.read_bytes().split(b"\n") if one]
        for path in sorted(folder.glob("*.jsonl"))
    }


def test_lines_stay_together_and_are_counted(folder):
    """In one process and in the next one, which takes up the file of the first."""
    writer, before = FileWriter(folder), apart.diverted()
    for number in range(4):
        if number == 2:
            apart._instead.clear()  # another process knows nothing of it
        writer.write("s", line(number))
    assert {"s.jsonl": [], "s~s1.jsonl": [0, 1, 2, 3]} == files(folder)
    assert 4 == apart.diverted() - before


def test_a_file_that_is_full_is_followed_by_another(folder):
    """By `max_file_bytes`; the next process begins another one too where the last one is full."""
    writer = FileWriter(folder, max_file_bytes=100)
    for number in range(5):
        if number == 4:
            apart._instead.clear()
        writer.write("s", line(number))
    assert {"s.jsonl": [], "s~s1.jsonl": [0, 1], "s~s2.jsonl": [2, 3], "s~s3.jsonl": [4]} == files(folder)


@pytest.mark.parametrize("how", ["removed", "given away", "linked", "replaced by a link"])
def test_what_becomes_of_the_file_costs_no_line(how, folder):
    """It is looked at anew for each line: one that is not this user's any more is left, and one that is gone is made."""
    writer, own = FileWriter(folder), folder / "s~s1.jsonl"
    writer.write("s", line(0))
    kept = own.read_bytes()
    if how == "given away":
        os.chown(own, OTHER, OTHER)
    elif how == "linked":
        os.link(own, folder / "other.txt")
    else:
        own.unlink()
    if how == "replaced by a link":
        own.symlink_to(folder / "nowhere.txt")
    writer.write("s", line(1))
    if how == "removed":
        assert {"s.jsonl": [], "s~s1.jsonl": [1]} == files(folder)
    else:
        assert b"1" in (folder / "s~s2.jsonl").read_bytes()
        assert own.is_symlink() or kept == own.read_bytes()
    assert not (folder / "nowhere.txt").exists()


def test_the_sessions_own_place_is_taken_again_when_it_is_free(folder):
    """An admin removes what was planted: the next line is in the file that all expect."""
    writer = FileWriter(folder)
    writer.write("s", line(0))
    (folder / "s.jsonl").unlink()
    writer.write("s", line(1))
    assert {"s.jsonl": [1], "s~s1.jsonl": [0]} == files(folder)


def test_a_line_is_refused_where_each_new_file_is_foreign_at_once(folder, monkeypatch):
    """It waits then, as if the disk had refused it."""
    real = apart._made

    def made(path):
        name = real(path)
        os.chown(name, OTHER, OTHER)
        return name

    monkeypatch.setattr(apart, "_made", made)
    receipt, before = Receipt(), apart.diverted()
    with pytest.raises(ForeignFileError, match="another user"):
        FileWriter(folder).append("s", line(0), receipt)
    assert not receipt.whole
    assert before == apart.diverted()
    assert {()} == {tuple(found) for found in files(folder).values()}


def test_a_name_that_is_taken_between_is_passed_over(folder, monkeypatch):
    """Another process has made the next segment since the directory was listed."""
    real = apart.segments

    def listed(path):
        found = real(path)
        given(folder / f"s~s{len(found) + 1}.jsonl")
        return found

    monkeypatch.setattr(apart, "segments", listed)
    FileWriter(folder).write("s", line(0))
    assert [0] in files(folder).values()
    assert [] == files(folder)["s~s1.jsonl"]


def test_where_new_files_have_another_owner_the_file_is_our_own(folder, monkeypatch):
    """As behind NFS with `root_squash`: what was made to find that out goes again, and no second look is needed."""
    real, made = os.open, []

    def squashed(path, flags, mode=0o777, **kwargs):
        new = flags & os.O_CREAT and not os.path.lexists(path)
        descriptor = real(path, flags, mode, **kwargs)
        if new:
            made.append(path)
            os.fchown(descriptor, OTHER, OTHER)
        return descriptor

    monkeypatch.setattr(os, "open", squashed)
    before = apart.diverted()
    for number in range(3):
        FileWriter(folder).write("s", line(number))
    assert {"s.jsonl": [0, 1, 2]} == files(folder)
    assert 1 == len(made)
    assert before == apart.diverted()
    os.link(folder / "s.jsonl", folder / "backup.txt")
    FileWriter(folder).write("s", line(3))
    assert [3] == files(folder)["s~s1.jsonl"]


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12 does not trace single instructions this way")
def test_an_interrupt_anywhere_leaves_the_line_there_once_or_not_at_all(folder):
    """The receipt says which, so that the line is written again if it is not there."""
    below = tuple(os.path.join(TRACING, name) for name in ("apart.py", "writer.py", "trace_file.py"))
    writer, places = FileWriter(folder), 0
    for place in itertools.count(1):
        apart._instead.clear()
        receipt = Receipt()
        there = interrupted(lambda receipt=receipt: writer.append("s", line(7), receipt), place, below)
        found = [number for numbers in files(folder).values() for number in numbers]
        assert ([7] if receipt.whole else []) == found, place
        if not there:
            break
        places += receipt.whole
        for path in folder.glob("s~s*.jsonl"):
            path.unlink()
    assert places > 10
    assert [7] == found


def test_a_late_line_goes_to_the_session_where_late_belongs_to_another(folder):
    """Another user has made `late/`, and this one may not write there."""
    (folder / "s.jsonl").unlink()
    (folder / "late").mkdir(mode=0o755)
    with as_user(OTHER):
        FileWriter(folder).write_late("s", line(0))
    assert {"s.jsonl": [0]} == files(folder)
    given(folder / "late" / "t.jsonl", 0o600)
    with as_user(OTHER + 1):
        FileWriter(folder).write_late("t", line(1))
    assert {"s.jsonl": [0], "t.jsonl": [1]} == files(folder)


def test_in_a_directory_of_its_owner_alone_such_a_late_line_waits(folder):
    """The owner has closed `late/` to this user: no other user can have put it there."""
    (folder / "late").mkdir(mode=0o755)
    folder.chmod(0o755)
    with as_user(OTHER), pytest.raises(PermissionError):
        FileWriter(folder).write_late("s", line(0))
    assert {"s.jsonl": []} == files(folder)
