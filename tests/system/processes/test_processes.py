"""Real processes: exit with an open stream, Ctrl-C, fork, pools, and what is imported when."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.sdk_worlds import MESSAGES, PIECES, TEXT, world

CLIENT = """
import os, sys
import openai
import moa_middleware as moa
client = moa.instrument(openai.OpenAI(base_url=os.environ["URL"], api_key="k", max_retries=0))
def stream():
    return client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "count"}], stream=True)
def read(s, pieces):
    for chunk in s:
        if chunk.choices and chunk.choices[0].delta.content:
            pieces -= 1
            if not pieces:
                return
"""


def run(code, trace_dir, url="", **env):
    """Run a script in a process of its own; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-c", CLIENT + textwrap.dedent(code)],
        env={**os.environ, "URL": url, "MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(trace_dir), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


EXITS = {
    "a turn entered and never left": (
        'moa.turn(session_id="s").__enter__(); read(stream(), 1)',
        0,
        "abandoned",
        PIECES[0],
    ),
    # code: exit status, outcome, text
    "open at exit": ("s = stream(); read(s, 2)", 0, "abandoned", PIECES[0] + PIECES[1]),
    "held by a global and an iterator": ("s = stream(); i = iter(s); next(i); next(i)", 0, "abandoned", PIECES[0]),
    "never iterated": ("s = stream()", 0, "abandoned", None),
    "unhandled error": ("s = stream(); read(s, 2); raise ValueError", 1, "abandoned", PIECES[0] + PIECES[1]),
    "sys.exit inside the loop": (
        "for chunk in stream():\n    if chunk.choices[0].delta.content: sys.exit(3)",
        3,
        "abandoned",
        PIECES[0],
    ),
    "sys.exit inside with": ("with stream() as s:\n    read(s, 1); sys.exit(3)", 3, "cancelled", PIECES[0]),
    "os._exit after flush": (
        "s = stream(); read(s, 2); moa.flush(); os._exit(4)",
        4,
        "abandoned",
        PIECES[0] + PIECES[1],
    ),
    "os._exit after a flush of open streams": (
        "s = stream(); next(s); next(s); moa.flush(open_streams=True); os._exit(4)",
        4,
        "abandoned",
        PIECES[0],
    ),
    "a turn by hand around it": ("with moa.turn():\n    s = stream(); read(s, 1)", 0, "abandoned", PIECES[0]),
    "a generator left unfinished": (
        """
        @moa.turn
        def create():
            for chunk in stream():
                yield chunk.choices[0].delta.content or ""
        g = create()
        next(g); next(g)
        """,
        0,
        "abandoned",
        PIECES[0],
    ),
}


@pytest.fixture(scope="module")
def crashed():
    """Return the status of an interpreter that crashes on an open stream of the SDK's, without us."""
    # CPython 3.13.0 does: it collects a suspended generator of openai's while it exits.
    bare = CLIENT.replace("moa.instrument(", "(") + "s = stream(); read(s, 2)"
    with ScriptedServer({"m": Script(TEXT, pieces=PIECES)}) as server:
        env = {**os.environ, "URL": server.base_url}
        done = subprocess.run([sys.executable, "-c", bare], env=env, capture_output=True, timeout=60, check=False)
    return done.returncode


@pytest.mark.processes
@pytest.mark.parametrize("ending", EXITS)
def test_an_open_stream_is_on_record_however_the_interpreter_exits(ending, tmp_path, read_lines, crashed):
    """One line, the text so far, and the exit status and stderr that the script alone would have."""
    code, status, outcome, text = EXITS[ending]
    with ScriptedServer({"m": Script(TEXT, pieces=PIECES)}) as server:
        done = run(code, tmp_path / "t", server.base_url)
    assert done.returncode in ((status, crashed) if crashed else (status,)), done.stderr
    if "error" not in ending:
        assert "" == done.stderr
    assert "" == done.stdout
    (record,) = read_lines(tmp_path)
    assert (outcome, text) == (record["outcome"], record["output"])


def test_ctrl_c_inside_the_iteration_is_cancelled(tmp_path, read_lines):
    """A real SIGINT while the stream waits for its next piece."""
    code = """
    try:
        for chunk in stream():
            if chunk.choices[0].delta.content:
                print("go", flush=True)
    except KeyboardInterrupt:
        sys.exit(7)
    """
    script = Script(TEXT, pieces=PIECES, piece_delay=0.4)
    with ScriptedServer({"m": script}) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENT + textwrap.dedent(code)],
            env={**os.environ, "URL": server.base_url, "MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(tmp_path / "t")},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert "go\n" == process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert 7 == process.returncode
    (record,) = read_lines(tmp_path)
    assert ("cancelled", PIECES[0]) == (record["outcome"], record["output"])
    assert "KeyboardInterrupt" == record["error"]["type"]


def test_off_imports_neither_pydantic_nor_structlog(tmp_path):
    """With the switch off, a whole turn imports neither, and makes no directory."""
    code = """
    import sys
    import moa_middleware as moa

    @moa.client
    class Client:
        @moa.reference
        def ask(self, messages):
            return "x"
        @moa.aggregator
        def act(self, messages):
            return iter(["y"])
        def create(self, messages):
            self.ask(messages)
            return self.act(messages)

    list(Client().create([]))
    moa.status(); moa.flush()
    found = [m for m in ("pydantic", "pydantic_core", "pydantic_settings", "structlog",
                         "typing_extensions", "platformdirs", "openai") if m in sys.modules]
    assert not found, found
    """
    for value in ("", "0", "false", "no", "off", "OFF"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, "MOA_SAVE_TRACES": value, "MOA_TRACE_DIR": str(tmp_path / "t")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_with_an_open_stream_writes_nothing_twice(tmp_path, read_lines):
    """The child exits with, drops, closes or flushes its copy: the record is the parent's alone."""
    code = """
    s = stream()
    i = iter(s); next(i); next(i)
    pid = os.fork()
    if not pid:
        ACTION
        os._exit(0)
    os.waitpid(pid, 0)
    for _ in i: pass
    """
    actions = ["pass", "sys.exit(0)", "del i, s", "s.close()", "moa.flush(open_streams=True)"]
    for number, action in enumerate(actions):
        with ScriptedServer({"m": Script(TEXT, pieces=PIECES)}) as server:
            done = run(code.replace("ACTION", action), tmp_path / str(number), server.base_url)
        assert 0 == done.returncode, done.stderr
        (record,) = read_lines(tmp_path / str(number))
        assert ("completed", TEXT) == (record["outcome"], record["output"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_call_in_a_forked_child_is_a_turn_of_the_childs(tmp_path, read_lines):
    """The inherited turn is the parent's; what the child asks is not lost and not written twice."""
    code = """
    @moa.reference
    def ask(text):
        return text

    @moa.turn
    def create():
        ask("parent")
        pid = os.fork()
        if not pid:
            ask("child")
            os._exit(0)
        os.waitpid(pid, 0)
        return "done"

    create()
    """
    done = run(code, tmp_path)
    assert 0 == done.returncode, done.stderr
    child, parent = read_lines(tmp_path)
    assert ["child"] == [call["output"] for call in child["references"]]
    assert ["parent"] == [call["output"] for call in parent["references"]]
    assert child["implicit"]
    assert child["writer"]["pid"] != parent["writer"]["pid"]
    assert child["turn_id"] != parent["turn_id"]
    assert 1 == child["writer"]["seq"] == parent["writer"]["seq"]


@moa.reference(label="pooled")
def pooled(text):
    """Answer in a process pool."""
    return text.upper()


@pytest.mark.processes
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("on", [False, True])
def test_a_process_pool_runs_a_decorated_function(tmp_path, monkeypatch, read_lines, method, on):
    """It pickles by its name, tracing off and on."""
    monkeypatch.setenv("MOA_SAVE_TRACES", str(int(on)))
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path))
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        assert "ABC" == pool.submit(pooled, "abc").result()
    expected = [["ABC"]] if on else []
    assert expected == [[c["output"] for c in r["references"]] for r in read_lines(tmp_path)]


def test_a_dropped_stream_is_final_without_the_collector(turns):
    """No cycle holds the proxy: reference counting alone ends it, and closes the connection."""
    import gc

    with world("mock") as made:
        client = moa.instrument(made.client())
        gc.disable()
        try:
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            next(stream)
            del stream
            assert 1 == len(turns)

            @moa.turn
            def create():
                return client.chat.completions.create(model="m", messages=MESSAGES, stream=True)

            stream = create()
            for _ in stream:
                break
            del stream
            assert 2 == len(turns)
        finally:
            gc.enable()


def test_collections_during_writing_neither_hang_nor_lose(trace_dir, read_lines):
    """A finaliser may run inside any allocation, also while another line is written."""
    import gc

    @moa.reference
    def ask(number):
        yield f"piece {number}"
        yield "never read"

    threshold = gc.get_threshold()

    class Cycle:
        def __init__(self, number):
            self.stream = ask(number)
            next(self.stream)
            self.me = self

    gc.set_threshold(1)
    try:
        for number in range(100):
            Cycle(number)
            with moa.turn():
                list(ask(1000 + number))
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    outcomes = sorted(record["outcome"] for record in read_lines(trace_dir))
    assert ["abandoned"] * 100 + ["completed"] * 100 == outcomes


def test_a_handler_in_the_middle_of_a_line_loses_none_of_its_own(tmp_path):
    """SIGTERM while the main thread waits for a lock: the handler's turn came back, and is flushed before the end."""
    program = """
import os, signal, sys, threading
import moa_middleware as moa

@moa.reference
def ask(text):
    return text

def handler(*_):
    ask("the handler's")
    moa.flush(open_streams=True)
    os._exit(0)

signal.signal(signal.SIGTERM, handler)
ask("first")
print("ready", flush=True)
sys.stdin.readline()
threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
ask("second")
signal.pause()
"""
    env = {**os.environ, "MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], env=env, **pipes) as process:
        assert b"ready\n" == process.stdout.readline()
        path = tmp_path / "unknown-session.jsonl"
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            process.communicate(b"\n", timeout=60)
    texts = [json.loads(line)["references"][0]["output"] for line in path.read_bytes().splitlines() if line]
    assert {"first", "the handler's"} <= set(texts)
    assert len(texts) == len(set(texts))


def test_a_file_system_that_knows_no_unicode_takes_the_line(tmp_path):
    """In the locale C the file's name is spelt without it."""
    program = """
import moa_middleware as moa
with moa.tag(session_id=chr(0x65e5) + chr(0x672c)):
    moa.reference(lambda: "said")()
print(moa.status())
"""
    env = {**os.environ, "MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(tmp_path)}
    env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=60)
    (path,) = tmp_path.glob("*.jsonl")
    assert path.name.isascii()
    assert "\u65e5\u672c" == json.loads(path.read_bytes())["session_id"]


def test_the_status_says_whether_turns_are_saved(monkeypatch, tmp_path):
    """A service's health check sees a bad setting; a directory below a variable that is not set is one."""
    assert not moa.status().saving
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path))
    assert moa.status().saving
    monkeypatch.setenv("MOA_TRACE_DIR", "$MOA_NOT_SET_HERE/traces")
    assert not moa.status().saving
    monkeypatch.setenv("MOA_TRACE_DIR", "${TMPDIR_OF_MINE}/traces")
    monkeypatch.setenv("TMPDIR_OF_MINE", str(tmp_path))
    assert moa.status().saving
    monkeypatch.setenv("MOA_REDACT", "nonsense")
    assert not moa.status().saving
