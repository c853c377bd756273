"""The journal: what it keeps of a turn while it runs, and that nothing is left of a turn that ends."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading

import pytest

import moa_middleware as moa
from moa_middleware._capture import config
from moa_middleware._capture.tracing import trace_file
from moa_middleware._capture.tracing.writer import file_name
from tests.support.killed import environment, journals, killed, script, wait_for, whats

MODELS = """
    import openai
    from moa_middleware.testing import ScriptedServer

    server = ScriptedServer({}, default=lambda body: f"{body['model']} answers at length").__enter__()
    client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0))

    def model(messages, name):
        return client.chat.completions.create(model=name, messages=messages).choices[0].message.content
"""


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
    passing = {
        "ts",
        "turn_id",
        "call_id",
        "started_at",
        "ended_at",
        "duration_ms",
        "endpoint",
        "response_id",
        "created",
    }
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
