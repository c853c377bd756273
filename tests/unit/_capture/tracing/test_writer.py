"""The writer: each line whole and once, through interrupts, under hostile names, and in sealed segments."""

from __future__ import annotations

import dis
import fcntl
import itertools
import json
import os
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import moa_middleware as moa
from moa_middleware._capture.tracing import trace_file
from moa_middleware._capture.tracing.trace_file import Receipt, append, segments
from moa_middleware._capture.tracing.writer import FileWriter, file_name
from moa_middleware._layout import lock
from tests.support.trace_files import LINE, locked, write

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
    assert place > 30


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
    assert place > 70
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
