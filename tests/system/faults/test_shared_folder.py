"""A directory that other users may write to: nothing of theirs is written into, and no line is lost for it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from moa_middleware import read
from tests.support.faults.evidence import environment
from tests.support.killed import killed, whats

pytestmark = pytest.mark.processes

OTHER = 65534
"""The user `nobody`."""
root_only = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files to other users"
)

PROGRAM = """
import json, os, sys, threading
import moa_middleware as moa

@moa.reference
def ask(text):
    return text

def late():
    begun, go_on = threading.Event(), threading.Event()

    @moa.reference
    def slow(text):
        begun.set()
        go_on.wait(20)
        return text

    @moa.turn
    def create():
        thread = threading.Thread(target=slow, args=("late",))
        thread.start()
        begun.wait(20)
        return thread

    thread = create()
    go_on.set()
    thread.join()

if sys.argv[2]:
    # All is imported before: another user may not be able to read the interpreter's own files.
    moa.configure(save_traces=True, trace_dir=sys.argv[1] + "-warm", session_id="s", journal=True)
    late()
    os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))
warm = moa.status()
moa.configure(save_traces=True, trace_dir=sys.argv[1], session_id="s", journal="journal" in sys.argv)
for number in range(3):
    ask(str(number))
if "late" in sys.argv:
    late()
found = moa.status()
names = ("written", "refused", "waiting", "faults", "diverted")
print(json.dumps({name: getattr(found, name) - getattr(warm, name) for name in names}))
"""


@pytest.fixture
def place():
    """Return a directory that another user reaches, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="moa-shared-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield Path(name)


def run(folder, *words, user=None):
    """Run the program, as another user perhaps; return its counters and its log."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder, str(user or ""), *words],
        env=environment(),
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout), done.stderr


def outputs(folder):
    return sorted(call.output for turn in read.open(folder) for call in (*turn.references, *turn.calls))


def made(folder, mode):
    folder.mkdir()
    folder.chmod(mode)
    return folder


def of_other(path, mode=0o666):
    path.touch()
    path.chmod(mode)
    os.chown(path, OTHER, OTHER)


def planted(kind, path, precious):
    """Put something into the place of a file; `precious` is a file that must not be changed."""
    if kind == "another's file":
        of_other(path)
    elif kind == "another's file, closed":
        of_other(path, 0o600)
    elif kind == "hard link":
        os.link(precious, path)
    elif kind == "link":
        path.symlink_to(precious)
    elif kind == "dangling link":
        path.symlink_to(precious.with_name("nowhere"))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "another's pipe":
        os.mkfifo(path, 0o666)
        path.chmod(0o666)
        os.chown(path, OTHER, OTHER)
    elif kind == "device":
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    elif kind == "directory":
        path.mkdir()


KINDS = (
    *("another's file", "another's file, closed", "hard link", "link", "dangling link"),
    *("pipe", "another's pipe", "device", "directory"),
)


@root_only
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770], ids=oct)
def test_a_foreign_file_is_not_written_into(mode, place):
    """Whatever is in the place: the lines are in a file of the user's own, read with the session, logged and counted."""
    precious = place / "precious.txt"
    precious.write_text("precious")
    for kind in KINDS if mode == 0o1777 else KINDS[:3]:
        folder = made(place / f"{kind} {mode:o}".replace("'", "").replace(" ", "-"), mode)
        planted(kind, folder / "s.jsonl", precious)
        before = (folder / "s.jsonl").lstat()
        found, log = run(folder)
        assert {"written": 3, "refused": 0, "waiting": 0, "faults": 0, "diverted": 3} == found, kind
        assert 1 == log.count("moa.file_foreign"), (kind, log)
        assert ["s.jsonl", "s~s1.jsonl"] == sorted(os.listdir(folder)), kind
        after = (folder / "s.jsonl").lstat()
        assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size), kind
        assert 0o600 == (folder / "s~s1.jsonl").stat().st_mode & 0o777
        assert ["0", "1", "2"] == sorted(
            json.loads(line)["references"][0]["output"] for line in (folder / "s~s1.jsonl").open()
        )
        assert "precious" == precious.read_text()
        assert ["precious.txt"] == [one.name for one in place.iterdir() if one.is_file()]


@root_only
def test_two_users_share_a_session(place):
    """Each has a file of its own, which its next process goes on with; no line is lost."""
    folder = made(place / "traces", 0o1777)
    for _ in range(2):
        for user in (None, OTHER):
            found, _ = run(folder, user=user)
            assert (3, 0, 0) == (found["written"], found["refused"], found["waiting"])
    assert {"s.jsonl": 0, "s~s1.jsonl": OTHER} == {one.name: one.stat().st_uid for one in folder.iterdir()}
    assert sorted("012" * 4) == outputs(folder)
    assert {} == dict(read.verify(folder).counts)


@root_only
@pytest.mark.parametrize("name", ["late", "open"])
@pytest.mark.parametrize("kind", ["link", "another's link", "file", "another's closed directory"])
def test_a_foreign_directory_below_is_not_written_into(name, kind, place):
    """A late line is in the session's own file then, a journal is refused; nothing is put where a link leads."""
    folder, other = made(place / "traces", 0o1777), made(place / "other", 0o777)
    if "link" in kind:
        (folder / name).symlink_to(other)
    elif kind == "file":
        (folder / name).touch()
    else:
        made(folder / name, 0o755)
    if "another" in kind:
        os.chown(folder / name, OTHER, OTHER, follow_symlinks=False)
    # Root may write everywhere.
    user = OTHER + 1 if "closed" in kind else None
    os.chmod(place, 0o755)
    found, log = run(folder, "late", "journal", user=user)
    # One line for each turn, and the late one.
    assert (5, 0, 0, 0) == (found["written"], found["refused"], found["waiting"], found["faults"]), log
    assert ["0", "1", "2", "late"] == outputs(folder)
    assert {} == dict(read.verify(folder).counts)
    assert [] == list(other.iterdir())
    assert ("moa.file_foreign" in log) == (name == "late")
    if name == "open":
        assert [] == [one for one in log.splitlines() if "faults" in one]


@root_only
@pytest.mark.parametrize("kind", ["another's file", "hard link", "link", "pipe"])
def test_a_foreign_file_for_late_lines_is_not_written_into(kind, place):
    """Also if `late/` itself is another user's, who alone may write to it: the directory above is shared."""
    folder, precious = made(place / "traces", 0o1777), place / "precious.txt"
    precious.write_text("precious")
    made(folder / "late", 0o755)
    planted(kind, folder / "late" / "s.jsonl", precious)
    os.chown(folder / "late", OTHER, OTHER)
    found, log = run(folder, "late")
    assert (5, 0, 1) == (found["written"], found["waiting"], found["diverted"]), log
    assert ["0", "1", "2", "late"] == outputs(folder)
    assert ["s.jsonl", "s~s1.jsonl"] == sorted(os.listdir(folder / "late"))
    assert "precious" == precious.read_text()


@root_only
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=oct)
@pytest.mark.parametrize("kind", ["bind mount", "backup", "both", "late backup"])
def test_where_only_the_owner_may_write_nothing_is_asked(kind, mode, place):
    """A bind mount shows other owners, and a backup gives files a second name: the lines are in their file."""
    folder = made(place / "traces", mode)
    late = made(folder / "late", 0o700)
    path = late / "s.jsonl" if "late" in kind else folder / "s.jsonl"
    path.touch()
    if kind in ("bind mount", "both"):
        for one in (folder, path):
            os.chown(one, OTHER, OTHER)
    if kind != "bind mount":
        os.link(path, place / "backup.jsonl")
    found, log = run(folder, "late")
    assert {"written": 5, "refused": 0, "waiting": 0, "faults": 0, "diverted": 0} == found, log
    assert "foreign" not in log
    assert ["late", "s.jsonl"] == sorted(os.listdir(folder))
    assert ["s.jsonl"] == os.listdir(late)
    assert ["0", "1", "2", "late"] == outputs(folder)


SQUASHED = """
# A file system that gives all that this user makes to another one, as NFS does with `root_squash`.
import os
real = os.open
def squashed(path, flags, mode=0o777, **kwargs):
    new = flags & os.O_CREAT and not os.path.lexists(path)
    descriptor = real(path, flags, mode, **kwargs)
    if new:
        os.fchown(descriptor, 65534, 65534)
    return descriptor
os.open = squashed
"""


@root_only
def test_where_files_are_made_for_another_owner_they_are_our_own(place):
    """Behind NFS with `root_squash` the owner is `nobody`: all lines are in one file, also those of the next process."""
    folder = made(place / "traces", 0o1777)
    for number in range(1, 3):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(SQUASHED) + PROGRAM, folder, "", "late"],
            env=environment(),
            check=False,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert 0 == done.returncode, done.stderr
        found = json.loads(done.stdout)
        assert {"written": 5, "refused": 0, "waiting": 0, "faults": 0, "diverted": 0} == found, done.stderr
        assert ["late", "s.jsonl"] == sorted(os.listdir(folder))
        assert ["s.jsonl"] == os.listdir(folder / "late")
        assert sorted(["0", "1", "2", "late"] * number) == outputs(folder)


LIMITED = """
import sys
from moa_middleware._capture.tracing.writer import FileWriter
writer = FileWriter(sys.argv[1], max_file_bytes=100)
for number in range(9):
    writer.write("s", b'{"schema": "moa-turn/1", "turn_id": "%d", "pad": "%s"}\\n' % (number, b"x" * 20))
"""


@root_only
def test_full_files_are_followed_by_the_next(place):
    """`max_file_bytes` holds for these files, too; none of them is renamed into another session's name."""
    folder = made(place / "traces", 0o1777)
    of_other(folder / "s.jsonl")
    subprocess.run([sys.executable, "-c", LIMITED, folder], env=environment(), check=True, timeout=60)
    assert ["s.jsonl", *(f"s~s{number}.jsonl" for number in range(1, 10))] == sorted(os.listdir(folder))
    assert [str(number) for number in range(9)] == [turn.id for turn in read.open(folder)]


@root_only
def test_names_that_are_taken_are_passed_over(place):
    """Another user has put files and links at the next names as well."""
    folder = made(place / "traces", 0o1777)
    of_other(folder / "s.jsonl")
    of_other(folder / "s~s1.jsonl")
    (folder / "s~s2.jsonl").symlink_to(place / "nowhere")
    of_other(folder / "s~s9999999999999999999.jsonl")
    found, _ = run(folder)
    assert (3, 3) == (found["written"], found["diverted"])
    (own,) = [one for one in folder.iterdir() if one.lstat().st_uid == 0 and not one.is_symlink()]
    assert 3 == len(own.read_bytes().splitlines())
    assert not (place / "nowhere").exists()
    assert ["0", "1", "2"] == outputs(folder)


@root_only
def test_a_recovered_turn_is_written_once_next_to_a_foreign_file(place):
    """Recovery looks for the line in the file that it goes to, so that a journal that stays costs no second line."""
    folder = made(place / "traces", 0o1777)
    of_other(folder / "s.jsonl")
    killed(folder)
    (journal,) = (folder / "open").iterdir()
    kept = journal.read_bytes()
    assert ["recovered"] == whats(folder)
    journal.write_bytes(kept)
    assert ["written"] == whats(folder)
    assert 0 == (folder / "s.jsonl").stat().st_size
    assert 1 == sum(1 for _ in read.open(folder))
    shutil.rmtree(folder)
