"""Read-only file systems, PID 1, processes that are frozen, and containers that share a volume: real namespaces of Linux."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from moa_middleware import read
from tests.support.faults.evidence import environment
from tests.support.killed import whats

PRELUDE = """
import json, os, signal, subprocess, sys
import moa_middleware as moa

@moa.reference
def ask(text):
    return f"answer {text}"

def show(**more):
    found = moa.status()
    print(json.dumps({"written": found.written, "refused": found.refused, "waiting": found.waiting, **more}), flush=True)

moa.configure(save_traces=True, session_id="s")
"""
MOUNTS = ("-m",)
PROCESSES = ("-pf", "--mount-proc")


def why_no(spaces):
    """Return why there are no such namespaces here, an empty text if there are."""
    if shutil.which("unshare") is None:
        return "needs unshare of util-linux"
    command = ["unshare", "-r", *spaces, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(command if "-m" in spaces else [*command[:-5], "true"], check=False, capture_output=True)
    return f"needs user namespaces: {done.stderr.decode().strip()}" if done.returncode else ""


NO_MOUNTS, NO_PROCESSES = why_no(MOUNTS), why_no(PROCESSES)
with_mounts = pytest.mark.skipif(bool(NO_MOUNTS), reason=NO_MOUNTS)
with_processes = pytest.mark.skipif(bool(NO_PROCESSES), reason=NO_PROCESSES)


def begin(spaces, place, code, *args, **env):
    """Start a program in namespaces of its own; with none of them, as an ordinary process."""
    command = ["unshare", "-r", *spaces] if spaces else []
    return subprocess.Popen(
        [*command, sys.executable, "-c", PRELUDE + textwrap.dedent(code), *map(str, args)],
        env={**environment(), "MOA_TRACE_DIR": str(place), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run(*args, code=0, **env):
    """Run such a program to its end; return what it printed, line by line, and its log."""
    process = begin(*args, **env)
    printed, log = process.communicate(timeout=60)
    assert code == process.returncode, log
    return [json.loads(line) for line in printed.splitlines()], log


def answers(place):
    return sorted(turn.references[0].output for turn in read.open(place))


READ_ONLY = """
place, end = sys.argv[1:3]
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
subprocess.run(["mount", "-o", "remount,ro", place], check=True)
show(answers=[ask(str(number)) for number in range(3)])
if end == "writable":
    subprocess.run(["mount", "-o", "remount,rw", place], check=True)
    ask("3")
    show(lines=len(open(f"{place}/traces/s.jsonl").readlines()))
"""


@with_mounts
def test_lines_wait_while_a_file_system_is_read_only(tmp_path):
    """No call notices; the lines are refused and wait, and are written once it is writable."""
    (during, after), log = run(MOUNTS, tmp_path / "traces", READ_ONLY, tmp_path, "writable")
    assert {"written": 0, "refused": 3, "waiting": 3, "answers": ["answer 0", "answer 1", "answer 2"]} == during
    assert {"written": 4, "refused": 3, "waiting": 0, "lines": 4} == after
    assert "moa.trace_refused" in log
    assert "moa.trace_lost" not in log


@with_mounts
def test_lines_are_lost_and_counted_if_it_stays_read_only(tmp_path):
    """The log says so when the process ends, and its exit code is its own."""
    ((during,), log) = run(MOUNTS, tmp_path / "traces", READ_ONLY, tmp_path, "read-only")
    assert (0, 3) == (during["written"], during["waiting"])
    assert "moa.trace_refused" in log
    assert "moa.trace_lost" in log


ONLY_TEMPORARY = """
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", sys.argv[1]], check=True)
subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
os.chdir(sys.argv[1])
os.environ["HOME"] = sys.argv[1]
ask("here")
show(mode=os.stat(os.environ["MOA_TRACE_DIR"]).st_mode & 0o777)
"""


@with_mounts
def test_one_writable_folder_is_enough(tmp_path):
    """The home and the working directory are read-only; the directory is made for this user alone."""
    (tmp_path / "read-only").mkdir()
    ((found,), log) = run(MOUNTS, tmp_path / "tmp" / "traces", ONLY_TEMPORARY, tmp_path / "read-only")
    assert {"written": 1, "refused": 0, "waiting": 0, "mode": 0o700} == found
    assert "" == log
    assert ["answer here"] == answers(tmp_path / "tmp" / "traces")


SIGNALS = """
def on_term(signum, frame):
    sys.exit(128 + signum)

@moa.reference
def stream():
    yield "one"
    yield "two"

if sys.argv[1] == "handler":
    signal.signal(signal.SIGTERM, on_term)
left = stream()
next(left)
os.kill(os.getpid(), signal.SIGTERM)
show(pid=os.getpid())
"""


@with_processes
def test_sigterm_is_ignored_as_pid_1_without_a_handler(tmp_path):
    """That is the kernel's rule for the first process of a container; with a handler it ends, and its stream is written."""
    ((found,), _) = run(PROCESSES, tmp_path / "plain", SIGNALS, "none")
    assert 1 == found["pid"]
    assert ([], "") == run(PROCESSES, tmp_path / "handled", SIGNALS, "handler", code=128 + signal.SIGTERM)
    (turn,) = read.open(tmp_path / "handled")
    assert ("one", "abandoned") == (turn.references[0].output, turn.references[0].outcome)


DIES = """
moa.configure(journal=True)

@moa.turn
def create():
    ask("before the end")
    os._exit(7)

create()
"""


@with_processes
def test_journals_of_another_container_are_elsewhere(tmp_path):
    """Its PID 1 is not the PID 1 here; `--elsewhere` takes it for dead."""
    run(PROCESSES, tmp_path, DIES, code=7)
    assert ["elsewhere"] == whats(tmp_path)
    assert ["recovered"] == whats(tmp_path, elsewhere=True)
    assert ["answer before the end"] == answers(tmp_path)


MANY = """
moa.configure(integrity="digest")
for number in range(30):
    ask(f"{sys.argv[1]}-{number}")
show(pid=os.getpid())
"""


@with_processes
def test_containers_share_a_volume(tmp_path):
    """Each is PID 1 and writes into the same file; no line is torn, lost or taken for another process's."""
    running = [begin(PROCESSES, tmp_path, MANY, name) for name in "abc"]
    for process in running:
        printed, log = process.communicate(timeout=60)
        assert 0 == process.returncode, log
        assert 1 == json.loads(printed)["pid"]
    assert sorted(f"answer {name}-{number}" for name in "abc" for number in range(30)) == answers(tmp_path)
    assert ["s.jsonl"] == [path.name for path in tmp_path.glob("*.jsonl")]
    report = read.verify(tmp_path)
    assert ({}, 90) == (dict(report.counts), report.proven)


HANDLER = """
@moa.reference
def stream():
    yield "one"
    yield "two"

def handler(event):
    answer = ask(event)
    for _ in stream():
        break
    global left
    left = stream()
    for _ in left:
        break
    moa.flush()
    return answer

for line in sys.stdin:
    show(answer=handler(line.strip()))
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_a_process_that_is_frozen_after_a_flush_owes_no_line(tmp_path):
    """It goes on at the next invocation, and may be killed while it is frozen: the lines were written before."""
    command = [sys.executable, "-c", PRELUDE + HANDLER]
    process = subprocess.Popen(
        command,
        env={**environment(), "MOA_TRACE_DIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        for number in range(3):
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            os.kill(process.pid, signal.SIGCONT)
            found = json.loads(process.stdout.readline())
            assert f"answer {number}" == found["answer"]
            assert (0, 3 * (number + 1)) == (found["waiting"], found["written"])
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            assert 3 * (number + 1) == len((tmp_path / "s.jsonl").read_bytes().splitlines())
    finally:
        process.kill()  # also one that is stopped
        process.communicate()
    assert {} == dict(read.verify(tmp_path).counts)
