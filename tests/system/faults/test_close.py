"""Errors at `close(2)`: what a network file system could not keep is refused, waits, and is written later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from moa_middleware import read
from tests.support.faults import closing
from tests.support.faults.evidence import environment

pytestmark = pytest.mark.skipif(bool(closing.why_unavailable()), reason=closing.why_unavailable())

ERRORS = ("EDQUOT", "ENOSPC", "EIO", "EINTR", "EFBIG")


def run(tmp_path, code, *args, **env):
    """Run a program with the library; return what it printed, line by line, as JSON."""
    library = closing.built(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", closing.PRELUDE + textwrap.dedent(code), library, *map(str, args)],
        env={**environment(), "LD_PRELOAD": str(library), **env},
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert 0 == done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


TURNS = """
import json
import moa_middleware as moa

@moa.reference
def ask(text):
    return text

def counted():
    found = moa.status()
    return [found.written, found.refused, found.waiting, found.lost, found.faults]

for name in sys.argv[3].split(","):
    for lose in (0, 1):
        folder = Path(sys.argv[2]) / f"{name}-{lose}"
        moa.configure(save_traces=True, trace_dir=folder, session_id="s")
        before = counted()
        fail_close(getattr(errno, name), "/s.jsonl", lose)
        answers = [ask(str(number)) for number in range(5)]
        failures, during = library.failed(), counted()
        fail_close(0, "", 0)
        moa.flush()
        print(json.dumps({
            "name": folder.name, "answers": answers, "failures": failures,
            "during": [now - then for now, then in zip(during, before)],
            "after": [now - then for now, then in zip(counted(), before)],
        }))
"""


def test_an_error_at_close_is_a_refusal(tmp_path):
    """Whether the bytes are kept or lost: no call notices, the line counts as refused and comes later, once or twice."""
    found, log = run(tmp_path, TURNS, tmp_path / "traces", ",".join(ERRORS))
    assert 2 * len(ERRORS) == len(found)
    for one in found:
        assert list("01234") == one["answers"], one
        assert one["failures"] >= 5, one
        assert [0, 5, 5, 0, 0] == one["during"], one
        assert [5, 5, 0, 0, 0] == one["after"], one
        folder = tmp_path / "traces" / one["name"]
        assert list("01234") == sorted(turn.references[0].output for turn in read.open(folder)), one
        counts = dict(read.verify(folder).counts)
        assert (one["name"].endswith("-1") and counts == {}) or counts.keys() == {"E103"}, (one, counts)
    assert "moa.trace_refused" in log
    assert "Disk quota exceeded" in log


LATE = """
import json
from moa_middleware._capture.tracing.writer import FileWriter

writer = FileWriter(sys.argv[2])
fail_close(errno.EDQUOT, "/late/", 1)
try:
    writer.write_late("s", b'{"n": 1}\\n')
except OSError as error:
    print(json.dumps(error.errno == errno.EDQUOT))
fail_close(0, "", 0)
writer.write_late("s", b'{"n": 2}\\n')
print(json.dumps(len(os.listdir("/proc/self/fd"))))
fail_close(errno.EDQUOT, "/late/", 1)
for number in range(20):
    try:
        writer.write_late("s", b'{"n": 3}\\n')
    except OSError:
        pass
print(json.dumps(len(os.listdir("/proc/self/fd"))))
"""


def test_a_late_line_is_refused_likewise_and_no_descriptor_is_left(tmp_path):
    """The error reaches the writer's caller; the next line is written."""
    (refused, before, after), _ = run(tmp_path, LATE, tmp_path / "traces")
    assert refused is True
    assert before == after
    (tmp_path / "traces" / "late" / "s.jsonl").unlink()


JOURNALS = """
import json
import moa_middleware as moa

@moa.reference
def ask(text):
    return text

@moa.turn
def create(end):
    ask("one")
    fail_close(0, "", 0)
    ask("two")
    if end:
        os.kill(os.getpid(), 9)

moa.configure(save_traces=True, trace_dir=sys.argv[2], session_id="s", journal=True)
fail_close(errno.EIO, "/open/", 1)
create(False)
if os.fork():
    os.wait()
    print(json.dumps([library.failed(), moa.status().faults, os.listdir(Path(sys.argv[2]) / "open")]))
else:
    fail_close(errno.EIO, "/open/", 1)
    create(True)
"""


def test_a_journal_that_is_refused_at_close_costs_no_turn(tmp_path):
    """The turn is written, and goes on in its journal: the next call brings what the turn was asked."""
    ((_, faults, left),), log = run(tmp_path, JOURNALS, tmp_path / "traces")
    assert (0, 1) == (faults, len(left))
    assert "moa.journal_refused" in log
    assert ["one", "two"] == [one.output for turn in read.open(tmp_path / "traces") for one in turn.references]
    from tests.support.killed import whats

    assert ["recovered"] == whats(tmp_path / "traces")
    crashed = [turn for turn in read.open(tmp_path / "traces") if turn.outcome == "crashed"]
    assert [["two"]] == [[one.output for one in turn.references] for turn in crashed]
    assert [] == os.listdir(tmp_path / "traces" / "open")


CLOSED = """
import json
from moa_middleware._capture.tracing import trace_file
from moa_middleware._capture.tracing.trace_file import Receipt, append

real = trace_file._write
def closed_by_another(files, *args, **kwargs):
    real(files, *args, **kwargs)
    os.close(files[0])
trace_file._write = closed_by_another
receipt = Receipt()
append(sys.argv[2], b"1\\n", receipt)
print(json.dumps(receipt.whole))
"""


def test_a_file_that_another_has_closed_is_no_refusal(tmp_path):
    """A program that closes all descriptors when it becomes a daemon gets no line twice."""
    assert [True] == run(tmp_path, CLOSED, tmp_path / "lines.txt")[0]
    assert b"1\n" == (tmp_path / "lines.txt").read_bytes()
