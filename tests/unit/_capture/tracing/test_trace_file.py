"""The file of a trace: its lock, and what a disk, a link or another process does to it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from moa_middleware._capture.tracing import trace_file
from moa_middleware._capture.tracing.trace_file import Receipt, append, segments
from moa_middleware._capture.tracing.writer import FileWriter
from moa_middleware._layout import lock
from tests.support.trace_files import LINE, limited, locked, write

# Files --------------------------------------------------------------------------------------------


def test_files_and_directories_are_the_users_alone(tmp_path):
    """Made with 0700 and 0600; what is there keeps its mode."""
    there = tmp_path / "there"
    there.mkdir(mode=0o755)
    there.chmod(0o755)
    writer = FileWriter(there / "a" / "b")
    writer.write("s", b"{}\n")
    modes = [stat.S_IMODE(os.stat(p).st_mode) for p in (there, there / "a", there / "a" / "b", writer.path_of("s"))]
    assert [0o755, 0o700, 0o700, 0o600] == modes
    writer.path_of("s").unlink()


def test_a_link_in_the_files_place_is_not_followed(tmp_path):
    """Otherwise any user with write access to the directory could choose where traces go."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    writer = FileWriter(tmp_path)
    writer.path_of("s").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic"):
        writer.write("s", LINE)
    assert b"" == elsewhere.read_bytes()
    writer.path_of("s").unlink()


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_what_is_no_file_is_refused_at_once(kind, path):
    """A pipe without a reader would hold the turn for ever."""
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    began = time.monotonic()
    with pytest.raises(OSError):
        write(path, LINE)
    assert time.monotonic() - began < 1


def test_a_file_that_cannot_be_read_is_written(path):
    """Its last byte stays unknown, so the line brings its own newline."""
    path.write_bytes(b"torn")
    real = os.open

    def no_reading(name, flags, *rest):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(name, flags, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", no_reading)
        write(path, LINE)
    assert b"torn\n" + LINE == path.read_bytes()


@pytest.mark.parametrize(("before", "after"), [(b"", b""), (LINE, LINE), (b'{"torn', b'{"torn\n'), (b"\n", b"\n")])
def test_a_torn_tail_costs_only_itself(before, after, path):
    """The next line begins on a line of its own, and only then with a newline."""
    path.write_bytes(before)
    write(path, LINE)
    assert after + LINE == path.read_bytes()


def test_a_file_that_is_renamed_or_deleted_between_lines_is_begun_anew(path):
    """No descriptor is kept."""
    write(path, b"1\n")
    path.rename(path.with_suffix(".old"))
    write(path, b"2\n")
    path.unlink()
    write(path, b"3\n")
    assert b"3\n" == path.read_bytes()


@pytest.mark.parametrize("how", ["renamed", "deleted", "replaced"])
def test_a_file_that_goes_while_its_lock_is_waited_for_is_begun_anew(how, path):
    """A writer that waited holds a file that no reader will open."""
    path.write_bytes(b"old\n")
    with locked(path):
        thread = threading.Thread(target=write, args=(path, LINE))
        thread.start()
        time.sleep(0.05)
        if how == "deleted":
            path.unlink()
        else:
            path.rename(path.with_suffix(".old"))
        if how == "replaced":
            path.write_bytes(b"new\n")
    thread.join()
    assert (b"new\n" if how == "replaced" else b"") + LINE == path.read_bytes()


def test_no_descriptor_is_left_open(tmp_path, path):
    """Whatever comes of the line."""
    before = os.listdir("/proc/self/fd")
    write(path, LINE)
    for bad in (tmp_path, tmp_path / "none" / "x"):
        with pytest.raises(OSError):
            write(bad, LINE)
    with limited(10), pytest.raises(OSError):
        write(path, LINE)
    assert sorted(before) == sorted(os.listdir("/proc/self/fd"))
    assert {} == trace_file._opened


# The lock -----------------------------------------------------------------------------------------


def test_a_lock_that_hangs_costs_a_quarter_of_a_second_once(path):
    """Then the line is written without it, behind a newline; for 5 s that file is not waited for."""
    with locked(path):
        spent = []
        for _ in range(3):
            began = time.monotonic()
            write(path, LINE)
            spent.append(time.monotonic() - began)
    assert 0.2 < spent[0] < 0.5
    assert max(spent[1:]) < 0.1
    assert (b"\n" + LINE) * 3 == path.read_bytes()


def test_another_file_is_not_blamed(tmp_path):
    """Only the one whose lock was not to be had."""
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    with locked(one), locked(other):
        write(one, LINE)
        began = time.monotonic()
        write(other, LINE)
        assert 0.2 < time.monotonic() - began


def test_a_file_is_waited_for_again_after_a_while(path, monkeypatch):
    """5 s after the lock was not to be had."""
    monkeypatch.setattr(lock, "COOL_DOWN", 0.05)
    with locked(path):
        write(path, LINE)
    time.sleep(0.06)
    with locked(path):
        began = time.monotonic()
        write(path, LINE)
        assert 0.2 < time.monotonic() - began


def test_in_an_event_loop_nobody_waits(path):
    """One try; a thread beside the loop waits as ever."""
    spent = {}

    def timed(name):
        began = time.monotonic()
        write(path, LINE)
        spent[name] = time.monotonic() - began

    async def main():
        timed("loop")
        await asyncio.to_thread(timed, "thread")

    with locked(path):
        asyncio.run(main())
    assert spent["loop"] < 0.1
    assert 0.2 < spent["thread"] < 0.5


@pytest.mark.parametrize("why", ["no locks on this platform", "the file system has none"])
def test_without_locks_each_line_brings_its_own_newline(why, path, monkeypatch):
    """Blank lines are legal, and a torn tail still costs only itself."""

    def flock(descriptor, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(lock, "_flock", None if why.startswith("no") else flock)
    path.write_bytes(b"torn")
    write(path, LINE)
    write(path, LINE)
    assert b"torn" + (b"\n" + LINE) * 2 == path.read_bytes()


def test_without_locks_nothing_is_sealed(path, monkeypatch):
    """Two writers might rename the same file."""
    monkeypatch.setattr(lock, "_flock", None)
    for _ in range(3):
        write(path, LINE, limit=10)
    assert [] == segments(str(path))


@pytest.mark.parametrize("why", ["held by another", "no locks"])
@pytest.mark.parametrize("how", ["deleted", "deleted with a backup", "replaced", "sealed", "left alone"])
def test_a_line_without_the_lock_is_not_lost_in_a_file_that_is_removed(how, why, path, tmp_path, monkeypatch):
    """`moa prune` may remove the file between its opening and the write; a sealed file has the line, and once."""
    path.write_bytes(b"old\n")
    if why == "no locks":
        monkeypatch.setattr(lock, "_flock", None)
    if how == "deleted with a backup":
        os.link(path, tmp_path / "backup.txt")
    real, done = trace_file._write, []

    def removed_meanwhile(*args, **kwargs):
        if not done:
            done.append(True)
            if how.startswith("deleted"):
                path.unlink()
            elif how == "replaced":
                (tmp_path / "new.txt").write_bytes(b"new\n")
                (tmp_path / "new.txt").replace(path)
            elif how == "sealed":
                path.rename(tmp_path / "sealed.txt")
        real(*args, **kwargs)

    monkeypatch.setattr(trace_file, "_write", removed_meanwhile)
    lock.gave_up(str(path))  # it is not waited for
    with locked(path):
        write(path, LINE)
    there = path if how != "sealed" else tmp_path / "sealed.txt"
    assert 1 == there.read_bytes().count(LINE)
    assert path.exists() == (how != "sealed")


def test_a_file_that_is_removed_at_each_opening_refuses_the_line(path, monkeypatch):
    """It waits then, and is written later."""
    monkeypatch.setattr(lock, "_flock", None)
    real = trace_file._write

    def removed(*args, **kwargs):
        path.unlink()
        real(*args, **kwargs)

    monkeypatch.setattr(trace_file, "_write", removed)
    receipt = Receipt()
    with pytest.raises(OSError, match="handle"):
        append(str(path), LINE, receipt)
    assert not receipt.whole


def run(code, *args, **kwargs):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        **kwargs,
    )


def test_a_forked_child_never_keeps_the_lock(path):
    """Not while its parent lives, nor when that is killed in the middle of a line."""
    code = """
    import os, sys, threading, time
    from moa_middleware._capture.tracing import trace_file
    from moa_middleware._capture.tracing.trace_file import Receipt, append

    holding, go_on = threading.Event(), threading.Event()
    real = trace_file._write
    def slow(*args, **kwargs):
        holding.set()
        go_on.wait(20)
        real(*args, **kwargs)
    trace_file._write = slow
    thread = threading.Thread(target=append, args=(sys.argv[1], b"1\\n", Receipt()), daemon=True)
    thread.start()
    holding.wait()
    pid = os.fork()
    if not pid:
        os.close(1), os.close(2)
        time.sleep(20)
        os._exit(0)
    print(pid, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), 9)
    go_on.set()
    thread.join()
    """
    for end in ("lives", "killed"):
        done = run(code, path, end)
        child = int(done.stdout)
        try:
            with path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.kill(child, signal.SIGKILL)
    assert b"1\n" == path.read_bytes()


def test_a_child_forked_inside_an_append_does_not_finish_it(path):
    """By a signal handler, say: the line is its parent's, and the descriptor may be another file's by now."""
    code = """
    import os, sys
    from moa_middleware._capture.tracing import trace_file
    from moa_middleware._capture.tracing.trace_file import Receipt, append
    real = trace_file._ends_line
    children = []
    def forks(*args):
        children.append(os.fork())
        if not children[0]:
            os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
        return real(*args)
    trace_file._ends_line = forks
    receipt = Receipt()
    try:
        append(sys.argv[1], b"1\\n", receipt)
    except Exception:
        os._exit(0 if not children[0] and not receipt.whole else 1)
    assert children[0] and receipt.whole
    assert not os.waitpid(children[0], 0)[1]
    """
    other = path.with_name("other.txt")
    done = run(code, path, other)
    assert (0, "") == (done.returncode, done.stderr)
    assert (b"1\n", b"") == (path.read_bytes(), other.read_bytes())


# Errors -------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_a_torn_line_and_costs_no_other(path):
    """Nothing is truncated; the next line stands on its own."""
    write(path, LINE)
    receipt = Receipt()
    with limited(len(LINE) + 7), pytest.raises(OSError) as raised:
        append(str(path), LINE, receipt)
    assert errno.EFBIG == raised.value.errno
    assert not receipt.whole
    write(path, LINE)
    assert [LINE, LINE[:7] + b"\n", LINE] == path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("then", ["fails", "goes on"])
def test_an_unlocked_line_between_a_short_write_and_the_rest_survives(then, path, monkeypatch):
    """It is neither cut off nor glued, and ours is written whole, once."""
    write(path, b"first\n")
    real, done = os.write, []

    def short(descriptor, data):
        done.append(1)
        if len(done) == 1:
            count = real(descriptor, data[:5])
            with path.open("ab") as file:
                file.write(b"\nneighbour\n")
            return count
        if then == "fails":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", short)
    receipt = Receipt()
    if then == "fails":
        with pytest.raises(OSError):
            append(str(path), LINE, receipt)
    else:
        append(str(path), LINE, receipt)
    monkeypatch.undo()
    assert receipt.whole == (then != "fails")
    write(path, b"last\n")
    lines = path.read_bytes().split(b"\n")
    for line in (b"first", b"neighbour", b"last"):
        assert 1 == lines.count(line)
    assert (then != "fails") == lines.count(LINE.strip())


def test_a_short_write_is_gone_on_with(path, monkeypatch):
    """The line comes out in one piece, without a copy."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:9]))
    write(path, LINE)
    monkeypatch.undo()
    assert LINE == path.read_bytes()


def test_a_torn_line_that_comes_between_the_look_and_the_write_costs_only_itself(path, monkeypatch):
    """Of a neighbour without the lock that was killed just then."""
    write(path, b"first\n")
    real = os.write

    def torn_before(descriptor, data):
        monkeypatch.setattr(os, "write", real)
        with path.open("ab") as file:
            file.write(b"\ntorn")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", torn_before)
    write(path, LINE)
    lines = path.read_bytes().split(b"\n")
    assert 1 == lines.count(LINE.strip())
