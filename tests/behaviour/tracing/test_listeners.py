"""Writers and listeners of the user's: what they get, and what their failures cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.conftest import check
from tests.support.plain_calls import Memory, Plain, ask


def test_a_users_writer_takes_the_lines():
    """`configure(writer=…)`: any object with `write(session_id, line)`."""
    memory = Memory()
    moa.configure(save_traces=True, writer=memory)
    with moa.tag(session_id="s"):
        ask("hi")
    ((session, line),) = memory.lines
    assert "s" == session
    assert isinstance(line, bytes)
    assert line.endswith(b"}\n")
    check(json.loads(line))


def test_a_writer_that_fails_is_counted_and_logged_once(caplog):
    """The call is untouched; the loss is in the counters and once in the log."""
    memory = Memory()
    memory.fail = True
    moa.configure(save_traces=True, writer=memory)
    before = moa.status()
    assert ["an answer"] * 3 == [ask("hi"), ask("hi"), ask("hi")]
    assert 3 == moa.status().refused - before.refused
    assert before.written == moa.status().written
    (event,) = [r for r in caplog.records if "moa.trace_refused" in r.getMessage()]
    assert "No space left on device" in event.getMessage()


def test_numbers_have_no_gap_where_no_line_is_missing(trace_dir, read_lines, monkeypatch):
    """Turns that are not written take no number: without references, or for a listener alone."""
    monkeypatch.setenv("MOA_TURNS", "fanout")
    undeclared = Plain()
    moa.instrument(undeclared, call="create")
    ask("hi")
    with moa.turn():
        undeclared.create("hi")
    monkeypatch.setenv("MOA_SAVE_TRACES", "0")
    with capture_turns() as found:
        ask("hi")
        ask("hi")
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    ask("hi")
    first, second = (record["writer"]["seq"] for record in read_lines(trace_dir))
    assert 1 == second - first
    assert [1, 2] == [record["writer"]["seq"] for record in found]


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_in_the_writer_costs_no_line_unseen(times):
    """It is written once more before the interrupt goes on; twice in a row is a counted loss."""
    memory = Memory()
    left = [KeyboardInterrupt()] * times

    class Interrupted:
        def write(self, session_id, line):
            if left:
                raise left.pop()
            memory.write(session_id, line)

    moa.configure(save_traces=True, writer=Interrupted())
    before = moa.status()
    with pytest.raises(KeyboardInterrupt):
        ask("hi")
    after = moa.status()
    assert [(1, 0), (0, 1)][times - 1] == (after.written - before.written, after.refused - before.refused)
    assert 2 - times == len(memory.lines)
    ask("hi")
    assert 3 - times == len(memory.lines)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_forked_by_a_listener_writes_its_own_lines_alone(tmp_path, read_lines):
    """It stands inside its parent's write; the lines that wait there are the parent's."""
    code = """
    import os, sys
    import moa_middleware as moa

    @moa.reference
    def ask(messages):
        return messages

    def on_turn(record):
        if record["output"] == "parent" and record["writer"]["pid"] == os.getpid():
            ask("waits")
            pid = os.fork()
            if not pid:
                ask("child")
                ask("child")
                assert 0 == moa.status().waiting
                moa.flush()
                os._exit(0)
            assert not os.waitpid(pid, 0)[1]

    moa.configure(save_traces=True, trace_dir=sys.argv[1], on_turn=on_turn)
    ask("parent")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert ["child", "child", "parent", "waits"] == sorted(record["output"] for record in read_lines(tmp_path))


@pytest.mark.parametrize("where", ["file", "below a file", "no permission"])
def test_an_unwritable_directory_costs_the_line_and_nothing_else(where, tmp_path, monkeypatch, caplog):
    """The call is untouched, the loss counted and logged once."""
    blocker = tmp_path / "blocker"
    if where == "no permission":
        if not os.geteuid():
            blocker = Path("/proc/no-such-place")
        else:
            blocker.mkdir(mode=0o500)
        target = blocker / "t"
    else:
        blocker.write_text("")
        target = blocker if where == "file" else blocker / "t"
    moa.configure(save_traces=True, trace_dir=target)
    before = moa.status().refused
    assert "an answer" == ask("hi") == ask("hi")
    assert 2 == moa.status().refused - before
    assert 1 == sum("moa.trace_refused" in record.getMessage() for record in caplog.records)


def test_on_turn_gets_each_record_and_may_fail(caplog):
    """It is told of each turn, on or off; what it raises reaches nobody."""
    found = []

    def on_turn(record):
        found.append(record)
        raise ValueError("mine")

    moa.configure(on_turn=on_turn)
    assert "an answer" == ask("hi")
    (record,) = found
    check(record)
    assert any("moa.observer_failed" in r.getMessage() for r in caplog.records)
    moa.configure(on_turn=None)
    ask("hi")
    assert 1 == len(found)
