"""The writer: one file, many hands, and each line whole, once, and where it belongs."""

from __future__ import annotations

import asyncio
import dis
import errno
import fcntl
import itertools
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import moa_middleware as moa
from moa_middleware._capture.tracing import trace_file
from moa_middleware._capture.tracing.trace_file import Receipt, append, segments
from moa_middleware._capture.tracing.writer import FileWriter, file_name
from moa_middleware._layout import lock

LINE = b'{"schema": "moa-turn/1"}\n'


@pytest.fixture(autouse=True)
def _patient():
    """Hold nothing against a file that another test has locked."""
    lock._until.clear()
    yield
    lock._until.clear()


@pytest.fixture
def path(tmp_path):
    """Return a file that is not there yet; its name keeps it from being checked as a trace."""
    return tmp_path / "lines.txt"


def write(path, line, **kwargs):
    receipt = Receipt()
    append(str(path), line, receipt, **kwargs)
    assert receipt.whole
    return receipt


@contextmanager
def locked(path):
    """Hold the lock of a file."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def limited(size):
    """Let no file of this process grow above a size, in bytes: a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
    """Else whoever may write into the directory chose where traces go."""
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
    """Whoever waited holds a file that nobody will look into."""
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


def test_a_lock_that_hangs_costs_half_a_second_once(path):
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


# Interrupts ---------------------------------------------------------------------------------------

TRACING = str(Path(trace_file.__file__).parent)


def interrupted(function, place, below):
    """
    Run a function, and raise KeyboardInterrupt at one of the places in files of such names where it may come.

    Those are the ends of calls, the beginnings of functions and the turns of loops. Returns whether
    there are so many.
    """
    count = [0]
    before = {}

    def trace(frame, event, arg):
        if not frame.f_code.co_filename.startswith(below):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            last = before.get(frame, "RESUME")
            before[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if last.startswith(("CALL", "RESUME", "JUMP_BACKWARD")):
                count[0] += 1
                if count[0] == place:
                    raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        assert count[0] >= place
        return True
    finally:
        sys.settrace(None)
        before.clear()
    assert count[0] < place, "the interrupt was swallowed"
    return False


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12 does not trace single instructions this way")
def test_an_interrupt_anywhere_in_an_append_writes_the_line_once(path):
    """Between any two instructions: the line is there once, the receipt knows it, no lock is left."""
    below = (os.path.join(TRACING, "trace_file.py"), lock.__file__)
    for place in itertools.count(1):
        path.write_bytes(b"torn")
        receipt = Receipt()
        if not interrupted(lambda receipt=receipt: append(str(path), LINE, receipt), place, below):
            break
        lines = path.read_bytes().split(b"\n")
        assert receipt.whole == (1 == lines.count(LINE.strip())), (place, lines)
        assert receipt.whole or place < 3  # nothing was begun
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert place > 40


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12 does not trace single instructions this way")
def test_an_interrupt_anywhere_while_a_turn_is_written_costs_nothing(trace_dir, read_lines):
    """From the close of the turn to its last byte: one line, once, in its number, and the interrupt goes on."""

    @moa.reference
    def ask(number):
        return str(number)

    names = ("tracer.py", "outbox.py", "backlog.py", "writer.py", "trace_file.py")
    below = tuple(os.path.join(TRACING, name) for name in names)
    first = moa.status().written
    for place in itertools.count(1):
        block = moa.turn(session_id="s")
        block.__enter__()
        ask(place)
        # Only its close: an interrupt of a call is the call's.
        if not interrupted(lambda block=block: block.__exit__(None, None, None), place, below):
            break
    moa.flush()
    found = read_lines(trace_dir)
    told = sorted(int(record["references"][0]["output"]) for record in found)
    assert place > 90
    # Before the first: it came before anything was begun.
    assert list(range(place + 1 - len(told), place + 1)) == told
    assert place - len(told) < 5
    numbers = sorted(record["writer"]["seq"] for record in found)
    assert list(range(numbers[0], numbers[0] + len(told))) == numbers
    assert (len(told), 0) == (moa.status().written - first, moa.status().waiting)


# Names --------------------------------------------------------------------------------------------

HOSTILE = [
    "../../x",
    "..",
    ".",
    "",
    "a\0b",
    "a" * 300,
    "a" * 299,
    "CON",
    "con.txt",
    "s",
    "S",
    "s/1",
    "s_1",
    "s\\1",
    "/etc/passwd",
    "~root",
    "🦊",
    "é",
    "e\u0301",
    "line\nbreak",
    "\ud800",
    "unknown-session",
    "x~s1",
    "late",
    "open",
    " ",
    "x" * 100 + "/" * 300,
]


def test_hostile_session_ids_stay_inside_and_apart(trace_dir, read_lines):
    """Each id has a file of its own below the directory, and each record names its id."""

    @moa.reference
    def ask(number):
        return str(number)

    for number, session in enumerate(HOSTILE):
        with moa.tag(session_id=session):
            ask(number)
    files = [file for file in trace_dir.parent.rglob("*") if file.is_file()]
    assert len(HOSTILE) == len(files)
    assert all(file.resolve().parent == trace_dir.resolve() for file in files)
    assert all(len(file.name.encode()) <= 255 for file in files)
    found = {record["references"][0]["output"]: record["session_id"] for record in read_lines(trace_dir)}
    odd = {"\ud800"}
    assert all(found[str(n)] == session for n, session in enumerate(HOSTILE) if session not in odd)


def test_a_relative_directory_stays_where_it_was(tmp_path, monkeypatch, read_lines):
    """A program that changes its working directory between two turns has one trace."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    monkeypatch.setenv("MOA_TRACE_DIR", "traces")
    answer = moa.turn(lambda: "answer")
    answer()
    monkeypatch.chdir(tmp_path / "elsewhere")
    answer()
    assert 2 == len(read_lines(tmp_path / "traces"))
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_a_working_directory_that_is_gone_costs_nothing(tmp_path, monkeypatch, read_lines):
    """An absolute directory needs none."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "traces"))
    assert "answer" == moa.turn(lambda: "answer")()
    monkeypatch.setenv("MOA_TRACE_DIR", "traces")
    assert "answer" == moa.turn(lambda: "answer")()
    assert 1 == len(read_lines(tmp_path / "traces"))


def test_a_late_call_has_a_file_of_the_same_name(tmp_path):
    """In a directory of its own, with the same care."""
    writer = FileWriter(tmp_path)
    with locked_late(tmp_path, writer) as late:
        began = time.monotonic()
        writer.write_late("s", b"{}\n")
        assert 0.2 < time.monotonic() - began < 0.5
    assert b"\n{}\n" == late.read_bytes()
    late.unlink()


@contextmanager
def locked_late(tmp_path, writer):
    late = tmp_path / "late" / writer.path_of("s").name
    late.parent.mkdir()
    with locked(late):
        yield late


# Sealing ------------------------------------------------------------------------------------------


def numbered(count, size=40):
    return [b'{"n": %d, "pad": "%s"}\n' % (n, b"x" * size) for n in range(count)]


def test_a_full_file_is_sealed(tmp_path):
    """No segment grows above the limit, and read in order they hold each line once."""
    path = tmp_path / "s.jsonl"
    lines = numbered(12)
    for line in lines:
        write(path, line, limit=150)
    parts = [*segments(str(path)), str(path)]
    assert [f"{tmp_path}/s~s{n}.jsonl" for n in range(1, len(parts))] == parts[:-1]
    assert len(parts) > 3
    assert all(Path(part).stat().st_size <= 150 for part in parts)
    assert b"".join(lines) == b"".join(Path(part).read_bytes() for part in parts)
    for part in parts:
        os.unlink(part)


def test_a_line_above_the_limit_has_a_file_of_its_own(tmp_path):
    """It is not cut, and nothing empty is sealed."""
    path = tmp_path / "s.jsonl"
    big = b'{"pad": "%s"}\n' % (b"x" * 500)
    for line in (big, b"{}\n", big):
        write(path, line, limit=100)
    assert [len(big), 3, len(big)] == [os.path.getsize(p) for p in (*segments(str(path)), path)]
    for part in (*segments(str(path)), path):
        os.unlink(part)


def test_numbers_of_segments_go_on_where_early_ones_were_deleted(tmp_path):
    """A name is not used twice while a later one is there; other sessions' segments are not ours."""
    path = tmp_path / "s.jsonl"
    for name in ("s~s10.jsonl", "s~s9.jsonl", "s2~s77.jsonl", "s~sx.jsonl"):
        (tmp_path / name).write_bytes(b"{}\n")
    write(path, b"{}\n", limit=4)
    write(path, b"{}\n", limit=4)
    assert ["s~s9.jsonl", "s~s10.jsonl", "s~s11.jsonl"] == [os.path.basename(p) for p in segments(str(path))]
    for file in tmp_path.iterdir():
        file.unlink()


def test_a_file_that_cannot_be_renamed_grows_on(tmp_path, monkeypatch):
    """A limit costs no line."""
    path = tmp_path / "s.txt"

    def refuse(*names):
        raise PermissionError

    monkeypatch.setattr(os, "rename", refuse)
    for _ in range(3):
        write(path, LINE, limit=10)
    assert LINE * 3 == path.read_bytes()


def test_segments_are_sealed_safely_beside_other_writers(tmp_path):
    """Processes and threads that append and seal at once lose nothing and write nothing twice."""
    code = """
    import sys, threading
    from moa_middleware._capture.tracing.writer import FileWriter
    writer = FileWriter(sys.argv[1], max_file_bytes=2000)
    def work(thread):
        for n in range(60):
            writer.write("s", b'{"id": "%s-%d-%d", "pad": "%s"}\\n' % (sys.argv[2].encode(), thread, n, b"x" * 100))
    threads = [threading.Thread(target=work, args=(t,)) for t in range(2)]
    [t.start() for t in threads]; [t.join() for t in threads]
    """
    running = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), tmp_path, str(p)]) for p in range(3)]
    assert [0, 0, 0] == [process.wait(60) for process in running]
    files = list(tmp_path.iterdir())
    assert len(files) > 20
    found = [json.loads(line)["id"] for file in files for line in file.read_bytes().split(b"\n") if line]
    assert sorted(f"{p}-{t}-{n}" for p in range(3) for t in range(2) for n in range(60)) == sorted(found)
    for file in files:
        file.unlink()


def test_sealing_is_a_setting(trace_dir, monkeypatch, read_lines):
    """`MOA_MAX_FILE_BYTES`, or `configure(max_file_bytes=…)`; the file's name is the session's."""

    @moa.reference
    def ask(number):
        return str(number)

    monkeypatch.setenv("MOA_MAX_FILE_BYTES", "5000")
    with moa.tag(session_id="s"):
        for number in range(9):
            ask(number)
        moa.configure(max_file_bytes=10**9)
        for number in range(9, 20):
            ask(number)
    sealed = segments(str(trace_dir / file_name("s")))
    assert len(sealed) > 1
    assert max(map(os.path.getsize, sealed)) <= 5000 < os.path.getsize(trace_dir / "s.jsonl")
    assert list(map(str, range(20))) == sorted(
        (r["output"] or r["references"][0]["output"] for r in read_lines(trace_dir)), key=int
    )
    with pytest.raises(moa.SettingsError):
        moa.configure(max_file_bytes=0)
