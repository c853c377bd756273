"""
Hostile folders: something foreign in each place of a trace directory that others may write to, for each verb.

A case is a verb, what was put there, and where. It is met if the verb ends in time, as it may end, and has left alone what
was put there and what that leads to.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from contextlib import contextmanager, suppress

import moa_middleware as moa
from moa_middleware import read, report
from moa_middleware._capture.tracing.journal import JOURNAL_SCHEMA, this_process
from moa_middleware._capture.tracing.recover import recover
from moa_middleware._capture.tracing.writer import FileWriter
from moa_middleware.cli import _checkup

OTHER = 65534
"""The user `nobody`."""
TURN_ID = "01a20a23-6c3c-709f-9e47-25ccc2c6c2f3"
PRECIOUS = b"precious\n"
SECONDS = 20
"""How long a verb may take."""
KINDS = (
    *("another's file", "another's closed file", "another's link", "another's pipe"),
    *("hard link", "link", "dangling link", "pipe", "socket", "device", "directory"),
)
PLACES = ("s.jsonl", "s~s1.jsonl", "late", "late/s.jsonl", "open", f"open/{TURN_ID}.jsonl", ".pruned")
PAGES = ("index.html", "session-a.html", "session-old.html")
"""Places of a report of several pages; the last one is of no session."""


class Hung(BaseException):
    """A verb took too long; not an `Exception`, which it might catch."""


def why_unavailable():
    """Return why there are no such folders here, an empty text if there are."""
    return "" if hasattr(os, "geteuid") and os.geteuid() == 0 else "only root may give files to other users"


def plant(kind, path, precious):
    """Put something into a place; `precious` is a file that must not be changed."""
    if kind == "hard link":
        os.link(precious, path)
    elif kind.endswith("link"):
        path.symlink_to(precious.with_name("nowhere") if "dangling" in kind else precious)
    elif kind.endswith("pipe"):
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, 0o666 | stat.S_IFSOCK)
    elif kind == "device":
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    elif kind == "directory":
        path.mkdir()
        (path / "mine.txt").write_bytes(PRECIOUS)
    else:
        path.write_bytes(PRECIOUS)
    if not kind.endswith("link"):
        path.chmod(0o600 if "closed" in kind else 0o777)
    if kind.startswith("another"):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)


# Verbs --------------------------------------------------------------------------------------------


def write(folder, planted):
    """Run a turn."""
    moa.configure(save_traces=True, trace_dir=folder, session_id="s", journal=False)
    moa.reference(lambda text: text)("mine")
    assert 0 == moa.status().waiting, "a line waits"
    assert "mine" in [one.output for turn in read.open(_own(folder)) for one in turn.references]


def write_late(folder, planted):
    """Write the line of a late call."""
    FileWriter(folder).write_late("s", b'{"schema":"moa-late/1","turn_id":"t","call":{"call_id":"c"}}\n')
    assert any(b'"call_id":"c"' in path.read_bytes() for path in _own(folder)), "the line is nowhere"


def journal(folder, planted):
    """Run a turn that keeps a journal, in whose place something is put when the turn has begun."""
    moa.configure(save_traces=True, trace_dir=folder, session_id="s", journal=True)
    faults = moa.status().faults

    @moa.turn
    def create():
        if planted is not None and planted.stem == TURN_ID:
            planted.rename(planted.with_name(f"{moa.current_turn().id}.jsonl"))
        moa.reference(lambda text: text)("mine")
        if planted is not None and not os.path.lexists(planted):
            (folder / "open" / f"{moa.current_turn().id}.jsonl").rename(planted)

    create()
    assert (faults, 0) == (moa.status().faults, moa.status().waiting)


def _own(folder):
    """Return the files of this user's that have lines."""
    found = []
    for path in folder.rglob("*.jsonl"):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1:
            found.append(path)
    return found


def recovered(folder, planted):
    """Recover, twice: a dry run says what the other one does."""
    for dry_run in (True, False):
        for one in recover(FileWriter(folder), dry_run=dry_run):
            assert one.what in ("foreign", "recovered") if one.path == planted else True, one


def pruned(folder, planted):
    """Remove all that is old, and all is."""
    for dry_run in (True, False):
        found = read.prune(folder, older_than=0, dry_run=dry_run, now=time.time() + 60, elsewhere=True)
        assert "foreign" in [one.status for one in found.files] or planted is None or dry_run, found
        assert folder / "a.jsonl" in [one.path for one in found.removed]


def tailed(folder, planted):
    """Read the last turns, as they come."""
    list(read.Tail(folder, follow=False))


def reported(folder, planted):
    """Write a report of several pages into the folder; it is refused where something has the name of a page."""
    refused = planted is not None and planted.name in PAGES[:2]
    try:
        report.write(folder, folder, split=True)
        written = True
    except moa.MoaError:
        written = False
    assert written != refused, "it was written" if written else "it was refused"


def checked(folder, planted):
    """Look as `moa doctor` does."""
    os.environ["MOA_TRACE_DIR"] = str(folder)
    try:
        _checkup.check()
    finally:
        del os.environ["MOA_TRACE_DIR"]


VERBS = {
    "write": write,
    "write late": write_late,
    "journal": journal,
    "recover": recovered,
    "prune": pruned,
    "ls": lambda folder, _: [turn.cost for turn in read.open(folder)],
    "stats": lambda folder, _: read.stats(folder),
    "verify": lambda folder, _: read.verify(folder),
    "scan": lambda folder, _: list(read.scan(folder)),
    "tail": tailed,
    "report": reported,
    "doctor": checked,
}


# One case -----------------------------------------------------------------------------------------


@contextmanager
def in_time(seconds):
    """Raise `Hung` in what takes longer, for example because it waits for a pipe."""

    def late(*_):
        raise Hung

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def made(folder, kind, place):
    """Make a shared folder with a turn of this user's and a dead process's journal, and put something into a place."""
    folder.mkdir()
    folder.chmod(0o1777)
    (folder / "a.jsonl").write_text('{"schema":"moa-turn/1","turn_id":"a","session_id":"a"}\n')
    path = folder / place
    for name in ("late", "open"):
        if place != name:
            (folder / name).mkdir()
            (folder / name).chmod(0o777)
    if place != "open":
        dead = {**this_process(), "started": 1}
        line = {"schema": JOURNAL_SCHEMA, "turn_id": "dead", "session_id": "s", "process": dead}
        line |= {"covers": [], "calls": [], "places": []}
        (folder / "open" / "dead.jsonl").write_text(json.dumps(line) + "\n")
    precious = folder.with_name(f"{folder.name}-precious")
    precious.write_bytes(PRECIOUS)
    plant(kind, path, precious)
    return path, precious


def _look(path):
    """Return all that says whether something was changed."""
    status = path.lstat()
    inner = [(one.name, one.read_bytes()) for one in path.iterdir()] if stat.S_ISDIR(status.st_mode) else []
    return (
        (status.st_ino, status.st_mode, status.st_uid, status.st_nlink, inner),
        (status.st_size, status.st_mtime_ns) if not inner else None,
    )


def case(folder, verb, kind, place):
    """Return what is wrong with one case, an empty text if nothing is."""
    path, precious = made(folder, kind, place)
    # A directory is what belongs there: it is used.
    used = kind == "directory" and place in ("late", "open")
    before = _look(path), _look(precious)
    wrong = []
    try:
        with in_time(SECONDS):
            VERBS[verb](folder, None if used else path)
    except Hung:
        wrong.append("it hung")
    except (AssertionError, OSError, moa.MoaError) as error:
        wrong.append(f"{type(error).__name__}: {error}"[:300])
    finally:
        moa.configure(save_traces=False, journal=False)
    if _look(precious) != before[1]:
        wrong.append("what it leads to was changed")
    if precious.with_name("nowhere").exists():
        wrong.append("what it leads to was made")
    with suppress(OSError):
        if not used and _look(path) != before[0]:
            wrong.append("it was changed")
    if not os.path.lexists(path):
        wrong.append("it is gone")
    return "; ".join(wrong)


def cases(place, verbs=tuple(VERBS)):
    """Yield verb, kind, place and what is wrong, of each case."""
    every = [(v, k, p) for v in verbs for k in KINDS for p in PLACES + PAGES * (v == "report")]
    for number, (verb, kind, where) in enumerate(every):
        yield verb, kind, where, case(place / str(number), verb, kind, where)
