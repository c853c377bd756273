"""The journal and `moa recover`: what a killed process had finished comes back, once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import moa_middleware as moa
from moa_middleware._capture import config
from moa_middleware._capture.tracing import trace_file
from moa_middleware._capture.tracing.journal import JOURNAL_SCHEMA, is_alive, this_process
from moa_middleware._capture.tracing.recover import recover
from moa_middleware._capture.tracing.writer import FileWriter, file_name
from moa_middleware._layout.owner import started

PRELUDE = """
import asyncio, os, sys, threading, time
import moa_middleware as moa

@moa.reference
def ask(n):
    return {"choices": [{"message": {"content": f"answer number {n}"}, "finish_reason": "stop"}],
            "model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": n + 1, "total_tokens": n + 11}}

def die():
    os.kill(os.getpid(), 9)

def ready():
    print("ready", flush=True)
"""
MODELS = """
    import openai
    from moa_middleware.testing import ScriptedServer

    server = ScriptedServer({}, default=lambda body: f"{body['model']} answers at length").__enter__()
    client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0))

    def model(messages, name):
        return client.chat.completions.create(model=name, messages=messages).choices[0].message.content
"""
THREE = """
@moa.turn(preset="trio")
def create(messages):
    for n in range(3):
        ask(n)
    die()

create([{"role": "user", "content": "Why?"}])
"""


def environment(directory, **env):
    return {
        **os.environ,
        "MOA_SAVE_TRACES": "1",
        "MOA_TRACE_DIR": str(directory),
        "MOA_SESSION_ID": "s",
        "MOA_JOURNAL": "1",
        **env,
    }


def script(body):
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(body)]


def killed(directory, body=THREE, **env):
    """Run a program that kills itself."""
    done = subprocess.run(script(body), env=environment(directory, **env), check=False, capture_output=True, timeout=60)
    assert -signal.SIGKILL == done.returncode, done.stderr.decode()


def moa_recover(directory, *args):
    """Run `moa recover`, and return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "moa_middleware", "recover", str(directory), *args],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def journals(directory):
    return sorted((directory / "open").glob("*.jsonl")) if (directory / "open").exists() else []


def whats(directory, **kwargs):
    """Recover in this process, and return what was done."""
    return [finding.what for finding in recover(FileWriter(directory), **kwargs)]


@pytest.fixture
def place(tmp_path):
    """Return a directory for traces; what is left of journals is no trace to be checked."""
    directory = tmp_path / "traces"
    yield directory
    for path in journals(directory):
        path.unlink()


def test_a_killed_turn_comes_back_with_its_finished_references(place, read_lines):
    """One `crashed` turn in its session's file: request, outputs, tokens and roles as they had been."""
    killed(place)
    assert 1 == len(journals(place))
    assert (1, "recovered, 3 calls") == ((found := moa_recover(place))[0], found[1].split("  ")[1].strip())
    assert [] == journals(place)
    (turn,) = read_lines(place)
    assert ["s.jsonl"] == [path.name for path in place.glob("*.jsonl")]
    assert ("crashed", "s", "trio") == (turn["outcome"], turn["session_id"], turn["preset"])
    assert [{"role": "user", "content": "Why?"}] == turn["input_messages"]
    assert [f"answer number {n}" for n in range(3)] == [call["output"] for call in turn["references"]]
    assert [1, 2, 3] == [call["usage"]["output_tokens"] for call in turn["references"]]
    assert [0, 1, 2] == [call["index"] for call in turn["references"]]
    assert ["completed"] * 3 == [call["outcome"] for call in turn["references"]]
    assert (None, []) == (turn["aggregator"], turn["calls"])
    assert (3, 30, 6) == (
        turn["totals"]["calls"],
        turn["totals"]["usage"]["input_tokens"],
        turn["totals"]["usage"]["output_tokens"],
    )


def test_recovery_again_changes_nothing(place):
    """The second run finds nothing, and the file stays as it is."""
    killed(place)
    moa_recover(place)
    before = (place / "s.jsonl").read_bytes()
    assert (0, f"nothing to recover in {place}\n") == moa_recover(place)
    assert before == (place / "s.jsonl").read_bytes()


def test_a_dry_run_changes_nothing(place):
    """It says what would be done; every file stays as it is, byte for byte."""
    killed(place)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    code, said = moa_recover(place, "--dry-run")
    assert (1, True) == (code, "would be recovered, 3 calls" in said)
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_the_report_is_json_and_holds_no_content(place):
    """`--json` counts and names the turns, and tells nothing of what they hold."""
    killed(place)
    (journal,) = journals(place)
    code, said = moa_recover(place, "--json")
    assert 1 == code
    assert {"recovered": 1} == json.loads(said)["counts"]
    assert [{"turn_id": journal.stem, "what": "recovered", "calls": 3, "error": None}] == json.loads(said)["journals"]
    assert "answer" not in said
    assert "Why" not in said


def test_a_directory_that_is_none_exits_with_3(tmp_path):
    """A wrong path is no clean result."""
    assert 3 == moa_recover(tmp_path / "nowhere")[0]


def test_the_turn_of_a_running_process_is_left_alone(place, read_lines):
    """While the process runs its journal stays, and goes with the turn's own line."""
    body = """
    @moa.turn
    def create(messages):
        ask(0)
        ready()
        sys.stdin.readline()
        return "the end"

    create([])
    """
    with subprocess.Popen(
        script(body), env=environment(place), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert "ready\n" == process.stdout.readline()
        (journal,) = journals(place)
        assert (0, True) == ((found := moa_recover(place))[0], "left alone, its process runs" in found[1])
        assert [journal] == journals(place)
        process.communicate("\n", timeout=30)
    assert 0 == process.returncode
    assert [] == journals(place)
    (turn,) = read_lines(place)
    assert ("completed", "the end") == (turn["outcome"], turn["output"])


def test_a_pid_that_was_given_to_another_process_is_no_life(place):
    """A process is its id and when it started: the same id alone proves nothing."""
    here = this_process()
    assert is_alive(here) is True
    assert is_alive({**here, "started": here["started"] - 1}) is False
    assert is_alive({**here, "boot": "another"}) is False
    assert is_alive({**here, "host": "another"}) is None
    assert is_alive({**here, "space": "another"}) is None


def test_journals_of_other_machines_wait_for_a_word(place):
    """Nobody can tell from here whether that process runs; `--elsewhere` says that it does not."""
    killed(place)
    (journal,) = journals(place)
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    for line in lines:
        line["process"]["host"] = "another"
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert (1, True) == ((found := moa_recover(place))[0], "another machine" in found[1])
    assert [journal] == journals(place)
    assert 1 == moa_recover(place, "--elsewhere")[0]
    assert [] == journals(place)


def test_a_turn_that_is_written_is_not_written_again(place):
    """A journal that outlived its turn's line, also in a sealed segment, is only removed."""
    killed(place)
    (journal,) = journals(place)
    kept = journal.read_bytes()
    assert ["recovered"] == whats(place)
    journal.write_bytes(kept)
    assert ["written"] == whats(place)
    (place / "s.jsonl").rename(place / "s~s1.jsonl")
    journal.write_bytes(kept)
    assert ["written"] == whats(place)
    assert [] == journals(place)
    assert [place / "s~s1.jsonl"] == list(place.glob("*.jsonl"))


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_torn_tail_costs_only_itself(cut, place, read_lines):
    """The calls before it come back."""
    killed(place)
    (journal,) = journals(place)
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    whole = 3 if cut == 1 else 2  # only the newline is missing
    assert [f"answer number {n}" for n in range(whole)] == [call["output"] for call in turn["references"]]


def test_a_torn_head_costs_the_request_alone(place, read_lines):
    """Each line names its process, its session and its turn."""
    killed(place)
    (journal,) = journals(place)
    journal.write_bytes(journal.read_bytes()[30:])
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    assert None is turn["input_messages"]
    assert ["answer number 1", "answer number 2"] == [call["output"] for call in turn["references"]]
    assert turn["references"][0]["started_at"] == turn["started_at"]


def test_what_is_no_journal_is_left_alone(place, tmp_path):
    """Foreign files, links and torn scraps stay, are named, and are not recovered; an old empty file goes."""
    folder = place / "open"
    folder.mkdir(parents=True)
    known = {"schema": JOURNAL_SCHEMA, "turn_id": "b", "session_id": None, "process": this_process()}
    dead = {**this_process(), "started": 1}
    torn = {
        "a.jsonl": b'{"schema": "moa-jour',
        "b.jsonl": json.dumps({**known, "process": dead, "covers": [], "places": [{}], "calls": [{}]}).encode(),
        "c.jsonl": b"[1]\n7\n",
    }
    for name, data in torn.items():
        (folder / name).write_bytes(data)
    (folder / "d.jsonl").symlink_to(tmp_path)
    (folder / "e.jsonl").touch()
    (folder / "f.jsonl").touch()
    os.utime(folder / "f.jsonl", (1, 1))
    assert ["unreadable"] * 4 + ["new", "empty"] == whats(place)
    assert [*torn, "d.jsonl", "e.jsonl"] == [path.name for path in journals(place)]
    assert 1 == moa_recover(place)[0]
    for path in journals(place):
        path.unlink()
    assert [] == list(place.glob("*.jsonl"))


@pytest.mark.processes
def test_many_recoveries_at_once_write_each_turn_once(place, read_lines):
    """Four processes recover while another writes into the same file: each turn once, no line torn."""
    for _ in range(4):
        killed(place)
    writing = "for n in range(300): ask(n)"
    with subprocess.Popen(script(writing), env=environment(place)) as process:
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "moa_middleware", "recover", str(place)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for _ in range(4)
        ]
        for run in runs:
            assert b"" == run.communicate(timeout=60)[1]
        process.wait(60)
    assert [] == journals(place)
    outcomes = [turn["outcome"] for turn in read_lines(place)]
    assert (4, 300) == (outcomes.count("crashed"), outcomes.count("completed"))


def test_a_recovery_that_is_killed_is_repeated(place, read_lines):
    """Between the turn's line and the end of the journal: the next one only removes it."""
    killed(place)
    program = f"""
    from moa_middleware._capture.tracing import recover
    from moa_middleware._capture.tracing.writer import FileWriter
    recover._removed = lambda *a, **k: die()
    list(recover.recover(FileWriter({str(place)!r})))
    """
    killed(place, program)
    assert ["written"] == whats(place)
    assert 1 == len(read_lines(place))


def test_a_refused_line_leaves_the_journal(place):
    """What cannot be written stays where it is, and is told as such."""
    killed(place)
    before = journals(place)
    (place / "s.jsonl").mkdir()
    code, said = moa_recover(place)
    assert (1, True) == (code, "could not be recovered: IsADirectoryError" in said)
    assert before == journals(place)
    (place / "s.jsonl").rmdir()


def test_threads_and_calls_inside_calls_come_back(place, read_lines):
    """A reference around a single call is one record; a call inside one that still ran stands for itself."""
    body = """
    def inner(n):
        return model([{"role": "user", "content": f"question {n}"}], f"m{n}")

    @moa.reference
    def outer(n):
        return inner(n)

    @moa.reference
    def unfinished(n):
        inner(n)
        die()

    @moa.turn
    def create(messages):
        threads = [threading.Thread(target=outer, args=(n,)) for n in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        unfinished(9)

    create([])
    """
    killed(place, MODELS + body)
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    assert [f"m{n} answers at length" for n in range(4)] == [call["output"] for call in turn["references"]]
    (left,) = turn["calls"]
    assert ("m9 answers at length", None, "call") == (left["output"], left["parent"], left["role"])
    assert [f"m{n}" for n in range(4)] == [call["model"] for call in turn["references"]]
    assert (5, 20) == (turn["totals"]["calls"], turn["totals"]["usage"]["output_tokens"])


def test_what_comes_back_is_what_would_have_been_written(tmp_path, place, read_lines):
    """But for ids, times and the end, the turn is that of the same program when it lives."""
    body = """
    @moa.reference(label="first")
    def outer(n):
        return model([{"role": "user", "content": f"question {n}"}], f"m{n}")

    @moa.turn(preset="p")
    def create(messages, temperature):
        with moa.tag(tags={"mine": [1, {"two": None}]}):
            texts = [outer(n) for n in range(3)]
        with moa.tag(role="aggregator"):
            model([{"role": "user", "content": " ".join(texts)}], "big")
        END

    create([{"role": "user", "content": "Wh\u00fd\u2028?"}], 0.5)
    server.__exit__(None, None, None)
    """
    killed(place, MODELS + body.replace("END", "die()"))
    assert ["recovered"] == whats(place)
    lived = tmp_path / "lived"
    subprocess.run(script(MODELS + body.replace("END", "pass")), env=environment(lived), check=True, timeout=60)
    (back,), (turn,) = read_lines(place), read_lines(lived)
    of_the_end = {"outcome", "error", "ended_at", "duration_ms", "output", "writer"}
    assert _timeless({key: back[key] for key in back.keys() - of_the_end}) == _timeless(
        {key: turn[key] for key in turn.keys() - of_the_end}
    )
    assert back.keys() == turn.keys()
    assert "big" == back["aggregator"]["model"]


def _timeless(value):
    """Return a record without what differs from one run to the next."""
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    if not isinstance(value, dict):
        return value
    passing = {"ts", "turn_id", "call_id", "started_at", "ended_at", "duration_ms", "endpoint", "response_id"}
    return {key: _timeless(item) for key, item in value.items() if key not in passing}


def test_turns_in_turns_and_hostile_sessions_come_back(place, read_lines):
    """The inner turn names the outer one, and each lies in its session's file."""
    body = """
    @moa.turn(session_id="../../x")
    def outer(messages):
        ask(0)
        inner([])

    @moa.turn
    def inner(messages):
        ask(1)
        die()

    outer([])
    """
    killed(place, body)
    assert ["recovered", "recovered"] == whats(place)
    inner, outer = sorted(read_lines(place), key=lambda turn: turn["parent_turn_id"] is None)
    assert [file_name("../../x")] == [path.name for path in place.glob("*.jsonl")]
    assert outer["turn_id"] == inner["parent_turn_id"]
    assert ["answer number 0"] == [call["output"] for call in outer["references"]]
    assert ["answer number 1"] == [call["output"] for call in inner["references"]]


def test_roles_that_nobody_named_are_inferred(place, read_lines):
    """Calls that were asked the same are references; one alone shows nothing."""
    body = """
    @moa.turn
    def create(messages):
        for n in range(COUNT): model(messages, f"m{n}")
        die()

    create([{"role": "user", "content": "Why?"}])
    """
    killed(place, MODELS + body.replace("COUNT", "2"), MOA_SESSION_ID="two")
    killed(place, MODELS + body.replace("COUNT", "1"), MOA_SESSION_ID="one")
    assert ["recovered", "recovered"] == whats(place)
    one, two = sorted(read_lines(place), key=lambda turn: len(turn["references"]))
    assert ([], ["call"]) == (one["references"], [call["role"] for call in one["calls"]])
    assert ["inferred"] * 2 == [call["role_source"] for call in two["references"]]


def test_streams_and_event_loops_are_kept_too(place, read_lines):
    """A stream is kept when it ends, a coroutine when it returns."""
    body = """
    @moa.reference
    async def later(n):
        await asyncio.sleep(0)
        return f"a later answer {n}"

    @moa.reference
    def chunks(n):
        yield "in "
        yield f"pieces {n}"

    @moa.turn
    async def create(messages):
        await asyncio.gather(*[later(n) for n in range(20)])
        list(chunks(0))
        half = chunks(1)
        next(half)
        die()

    asyncio.run(create([]))
    """
    killed(place, body)
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    outputs = [call["output"] for call in turn["references"]]
    assert {f"a later answer {n}" for n in range(20)} | {"in pieces 0"} == set(outputs)
    assert 21 == len(outputs)


@pytest.mark.parametrize("env", [{"MOA_CAPTURE": "metadata"}, {"MOA_REDACT": "secrets"}])
def test_the_journal_holds_no_more_than_the_trace(env, place, read_lines):
    """What is withheld from the line is withheld from the journal, and noted in the turn that comes back."""
    key = "sk-" + "proj-" + "a1B2c3D4" * 6
    body = f"""
    @moa.reference
    def tell(messages):
        return "it is {key}"

    @moa.turn
    def create(messages):
        tell(messages)
        die()

    create([{{"role": "user", "content": "my key is {key}"}}])
    """
    killed(place, body, **env)
    (journal,) = journals(place)
    assert key not in journal.read_text()
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    assert key not in json.dumps(turn)
    if "MOA_CAPTURE" in env:
        assert ("metadata", "metadata") == (
            turn["omitted"]["input_messages"]["reason"],
            turn["references"][0]["omitted"]["output"]["reason"],
        )


def test_nothing_is_left_of_turns_that_end(trace_dir, monkeypatch, read_lines):
    """The journal goes with the line, also that of a turn that is not to be written."""
    monkeypatch.setenv("MOA_JOURNAL", "1")
    seen = []

    @moa.reference
    def ask(prompt):
        return "an answer"

    @moa.aggregator
    def other(prompt):
        seen.append(len(journals(trace_dir)))
        return "something else"

    @moa.turn
    def create(messages):
        ask("Why?")
        other("What?")
        return "the end"

    create([])
    assert ([1], []) == (seen, journals(trace_dir))
    assert 1 == len(read_lines(trace_dir))
    monkeypatch.setenv("MOA_TURNS", "fanout")

    @moa.turn
    def lonely(messages):
        other("What?")
        other("What?")

    lonely([])
    assert ([1, 0, 1], []) == (seen, journals(trace_dir))
    assert 1 == len(read_lines(trace_dir))


def test_without_the_setting_nothing_is_kept(trace_dir):
    """The journal is off unless it is asked for."""
    seen = []

    @moa.reference
    def ask(prompt):
        return "an answer"

    @moa.turn
    def create(messages):
        ask("Why?")
        seen.append((trace_dir / "open").exists())

    create([])
    assert [False] == seen


def test_a_turn_whose_line_waits_keeps_its_journal(trace_dir, monkeypatch, read_lines):
    """The journal goes when the line is written, not before."""
    monkeypatch.setenv("MOA_JOURNAL", "1")
    monkeypatch.setenv("MOA_SESSION_ID", "s")
    (trace_dir / "s.jsonl").mkdir(parents=True)

    @moa.reference
    def ask(prompt):
        return "an answer"

    @moa.turn
    def create(messages):
        ask("Why?")

    create([])
    assert (1, 1) == (moa.status().waiting, len(journals(trace_dir)))
    (trace_dir / "s.jsonl").rmdir()
    moa.flush()
    assert [] == journals(trace_dir)
    assert 1 == len(read_lines(trace_dir))


def test_a_disk_that_refuses_the_journal_costs_nobody_a_thing(trace_dir, monkeypatch, read_lines, caplog):
    """The call has its answer and the turn its line; the refusal is logged."""
    monkeypatch.setenv("MOA_JOURNAL", "1")
    trace_dir.mkdir()
    (trace_dir / "open").write_text("in the way")

    @moa.reference
    def ask(prompt):
        return "an answer"

    @moa.turn
    def create(messages):
        return ask("Why?")

    assert "an answer" == create([])
    (turn,) = read_lines(trace_dir)
    assert 0 == turn["instrumentation_errors"]
    assert "moa.journal_refused" in caplog.text


@pytest.mark.processes
def test_kills_at_any_moment_cost_no_finished_reference(place, read_lines):
    """Killed from outside again and again: each reference that had returned is on record once."""
    body = """
    @moa.turn
    def create(messages):
        for n in range(5):
            ask(n)
            os.write(1, b"%s %d\\n" % (moa.current_turn().id.encode(), n))

    create([])
    ready()
    while True: create([])
    """
    acknowledged = set()
    for round_ in range(6):
        with subprocess.Popen(script(body), env=environment(place), stdout=subprocess.PIPE) as process:
            while b"ready\n" != process.stdout.readline():
                pass
            told = [process.stdout.readline().strip() for _ in range(3 + 4 * round_)]
            process.kill()
            told += process.stdout.read().split(b"\n")
        acknowledged |= {tuple(line.decode().split(" ")) for line in told[:-1]}
        whats(place)
    assert len(acknowledged) >= sum(3 + 4 * round_ for round_ in range(6))
    found = [
        (turn["turn_id"], str(call["usage"]["output_tokens"] - 1))
        for line in (place / "s.jsonl").read_bytes().split(b"\n")
        if (turn := _whole(line))
        for call in turn["references"]
    ]
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
    _drop_torn(place / "s.jsonl")


def _whole(line):
    try:
        return json.loads(line)
    except ValueError:
        return None


def _drop_torn(path):
    """Take torn lines out, which a kill may leave, so that the rest is checked as a trace."""
    path.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().split(b"\n") if _whole(line)))


def test_a_call_that_is_kept_too_late_leaves_no_file(trace_dir, monkeypatch):
    """A call that is being kept while its turn's line is written takes its own file away again."""
    monkeypatch.setenv("MOA_JOURNAL", "1")

    @moa.reference
    def ask(prompt):
        return "an answer"

    with moa.turn() as turn:
        ask("Why?")
        (path,) = journals(trace_dir)
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            thread = threading.Thread(target=ask, args=("Why not?",))
            thread.start()
            wait_for(lambda: trace_file._opened)  # it waits for the lock now
            config.recording()._journal.remove(turn)
        thread.join()
        assert [] == journals(trace_dir)
        ask("And now?")
        assert [] == journals(trace_dir)


def wait_for(what, seconds=20):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_call_around_is_told_again_when_the_one_inside_ends_later(place, read_lines):
    """As in the turn that lives: one call, with the tokens of the inner one."""
    body = """
    go, told = threading.Event(), threading.Event()

    @moa.reference
    def outer(n):
        def inner():
            go.wait()
            ask(n)
            told.set()
        threading.Thread(target=inner).start()
        return "what the outer one said"

    @moa.turn
    def create(messages):
        outer(3)
        go.set(), told.wait()
        time.sleep(0.05)
        die()

    create([])
    """
    killed(place, body)
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    assert 1 == turn["totals"]["calls"]
    assert [4] == [call["usage"]["output_tokens"] for call in turn["references"]]
    assert [] == turn["calls"]


def test_a_turn_that_ended_comes_back_as_it_ended(tmp_path, place, read_lines):
    """Its line was refused until its process ended, and stands in its journal."""
    place.mkdir()
    (place / "s.jsonl").mkdir()  # in the file's place
    program = script("@moa.turn\ndef create(messages):\n    return ask(1)\n\ncreate([])\n")
    subprocess.run(program, env=environment(place), check=True, capture_output=True, timeout=60)
    (place / "s.jsonl").rmdir()
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    assert ("completed", None) == (turn["outcome"], turn["error"])
    assert turn["output"] == turn["references"][0]["output"] or turn["output"] == turn["aggregator"]["output"]
    assert turn["writer"]["pid"] != os.getpid()


def test_one_odd_line_or_file_costs_itself(place, read_lines):
    """Neither a pipe in `open/`, nor a number that is none, nor a line of another form stops the others."""
    killed(place)
    killed(place)
    one, other = journals(place)
    lines = one.read_text().splitlines()
    odd = json.loads(lines[-1])
    del odd["calls"][0]["parent"]
    one.write_text("\n".join([*lines[:-1], json.dumps(odd), ""]))
    line = json.loads(other.read_text().splitlines()[0])
    line["calls"][0]["started_at"] = 1e999
    odd = json.dumps({**line, "turn_id": "0"})
    (place / "open" / "0.jsonl").write_text(odd + "\n")
    os.mkfifo(place / "open" / "1.jsonl")
    assert ["unreadable", "recovered", "recovered", "unreadable"] == whats(place)
    shutil.rmtree(place / "open")
    assert [2, 3] == sorted(len(turn["references"]) for turn in read_lines(place))


@pytest.mark.parametrize("gone", ["boot", "started", "machine"])
def test_what_cannot_be_seen_is_not_taken_for_dead(gone, place):
    """A sandbox without `/proc` wrote the journal: only `--elsewhere` takes it for dead."""
    killed(place)
    (path,) = journals(place)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["process"][gone] = None
        line["process"]["pid"] = os.getpid()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ["live" if gone == "started" else "elsewhere"] == whats(place)
    assert [path] == journals(place)


def test_a_journal_that_somebody_holds_is_left_alone(place):
    """Another recovery is at it: what it does is not done twice."""
    killed(place)
    (path,) = journals(place)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert ["busy"] == whats(place)
    assert [path] == journals(place)
    assert not (place / "s.jsonl").exists()
    assert ["recovered"] == whats(place)


def test_a_journal_that_goes_while_its_lock_is_waited_for_is_nobodys(place):
    """The other recovery has written its turn by then."""
    killed(place)
    (path,) = journals(place)
    found = []
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: found.extend(whats(place)))
        thread.start()
        wait_for(lambda: len([name for name in os.listdir("/proc/self/fd") if leads_to(name, path)]) > 1)
        path.unlink()
    thread.join(20)
    assert found in ([], ["busy"])  # busy where the machine took longer than the lock is waited for
    assert not (place / "s.jsonl").exists()


def leads_to(name, path):
    """Whether a descriptor of this process is of a file."""
    try:
        return os.readlink(f"/proc/self/fd/{name}") == str(path)
    except OSError:
        return False


def test_the_request_is_told_by_the_next_call_where_the_first_was_refused(place, read_lines):
    """The right to tell it is given back."""
    body = """
    @moa.turn(preset="trio")
    def create(messages):
        os.mkdir(os.environ["MOA_TRACE_DIR"])
        open(os.environ["MOA_TRACE_DIR"] + "/open", "w").close()
        ask(0)
        os.unlink(os.environ["MOA_TRACE_DIR"] + "/open")
        ask(1)
        die()

    create([{"role": "user", "content": "Why?"}])
    """
    killed(place, body)
    assert ["recovered"] == whats(place)
    (turn,) = read_lines(place)
    assert ("trio", [{"role": "user", "content": "Why?"}]) == (turn["preset"], turn["input_messages"])
    assert 1 == len(turn["references"])


def test_a_zombie_is_dead():
    """It has a process id still, and does nothing any more."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = {**this_process(), "pid": child.pid, "started": started(child.pid)}
    assert is_alive(process) is True
    child.stdin.close()
    wait_for(lambda: is_alive(process) is False)
    child.wait()
    assert is_alive(process) is False
