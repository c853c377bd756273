"""Lines that prove themselves: their digest, their place in the chain, and nothing that hangs or tears on the way."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import moa_middleware as moa
from moa_middleware import read
from moa_middleware._capture.tracing import outbox, proven_line
from moa_middleware._layout import digest
from moa_middleware.compat import hermes
from tests.support import forked
from tests.support.killed import environment, journals, killed, script, wait_for, whats

from .test_writer import interrupted

TAIL = len(b',"digest":""}}') + 64


@moa.reference
def ask(text):
    return text


@pytest.fixture
def key(tmp_path):
    """Return a key file that only its owner can read."""
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(b"a key of some bytes\n")
    return path


@pytest.fixture
def place(tmp_path):
    """Return the directory of proven lines."""
    path = tmp_path / "traces"
    moa.configure(save_traces=True, trace_dir=path, integrity="digest")
    return path


def raw_lines(path):
    return [line for file in sorted(path.rglob("*.jsonl")) for line in file.read_bytes().split(b"\n") if line]


def proofs(path):
    """Return previous digest and digest of each line."""
    writers = [json.loads(line)["writer"] for line in raw_lines(path)]
    return [(writer.get("previous"), writer["digest"]) for writer in writers]


def is_a_chain(found):
    """Return True if the lines follow one another, in some order, from a first one to a last one."""
    after = dict(found)
    assert len(after) == len(found)
    walked, link = 0, None
    while link in after:
        link, walked = after[link], walked + 1
    return walked == len(found)


def test_a_digest_is_that_of_the_bytes_before_it(place):
    """By the documented recipe, and nothing follows it in the line."""
    for text in ("one", "two", "three é\u2028"):
        ask(text)
    for line in raw_lines(place):
        record = json.loads(line)
        assert "writer" == list(record)[-1]
        assert ["integrity", "digest"] == [name for name in list(record["writer"])[5:] if name != "previous"]
        assert hashlib.sha256(line[:-TAIL]).hexdigest() == record["writer"]["digest"]
        assert line.endswith(f',"digest":"{record["writer"]["digest"]}"}}}}'.encode())
    assert is_a_chain(proofs(place))
    assert None is proofs(place)[0][0]


def test_an_hmac_is_made_with_all_bytes_of_the_file(tmp_path, key):
    """Its newline among them; the key is named, and in no line."""
    moa.configure(save_traces=True, trace_dir=tmp_path / "traces", integrity="hmac", integrity_key_file=key)
    ask("one")
    ask("two")
    for line in raw_lines(tmp_path / "traces"):
        writer = json.loads(line)["writer"]
        assert hmac.digest(key.read_bytes(), line[:-TAIL], "sha256").hex() == writer["digest"]
        assert "hmac" == writer["integrity"]
        assert hmac.digest(key.read_bytes(), b"moa_middleware key id", "sha256").hex()[:8] == writer["key_id"]
        assert b"a key" not in line


def test_off_writes_the_line_of_before(tmp_path):
    """No key of a proof, in lines of turns and of late calls."""
    moa.configure(save_traces=True, trace_dir=tmp_path / "traces")
    ask("one")
    (line,) = raw_lines(tmp_path / "traces")
    assert ["version", "host", "pid", "started_at", "seq"] == list(json.loads(line)["writer"])


@pytest.mark.parametrize("way", ["redact", "metadata", "cut", "surrogate", "on_turn", "hostile", "segments"])
def test_whatever_is_written_is_proven(way, tmp_path):
    """What redaction leaves out stands before the proof; listeners get the record with it."""
    path, heard = tmp_path / "traces", []
    ways = {
        "redact": {"redact": ["secrets", str.upper]},
        "metadata": {"capture": "metadata"},
        "cut": {"max_field_bytes": 4},
        "on_turn": {"on_turn": heard.append},
        "hostile": {},
        "surrogate": {"redact": [lambda text: f"{text}\ud800"], "max_field_bytes": 4},
        "segments": {"max_file_bytes": 1000},
    }
    moa.configure(save_traces=True, trace_dir=path, session_id="s", integrity="digest", **ways[way])
    with moa.turn():
        moa.note("retry", writer={"seq": 1})
        ask("hello there" if way != "hostile" else '\ud800 ,"digest":"' + "0" * 64 + '"}}')
    ask("password=hunter2hunter2")
    report = read.verify(path)
    assert (True, 2, True) == (report.clean, report.proven, report.chain_checked), report.problems
    if heard:
        assert [own for _, own in proofs(path)] == [record["writer"]["digest"] for record in heard]


def test_what_only_listeners_get_has_no_proof(tmp_path):
    """It would be a gap in the chain of what is written."""
    heard = []
    moa.configure(on_turn=heard.append, integrity="digest")
    ask("one")
    assert "digest" not in heard[0]["writer"]


def test_a_change_of_settings_does_not_break_the_chain(place):
    """The tracer is made anew; the lines of this directory go on, and those of another begin."""
    ask("one")
    moa.configure(session_id="another")
    ask("two")
    moa.configure(trace_dir=place / "below")
    ask("three")
    moa.configure(trace_dir=place, integrity="off")
    ask("four")
    moa.configure(integrity="digest")
    ask("five")
    found = [json.loads(line)["writer"] for file in place.glob("*.jsonl") for line in file.read_bytes().splitlines()]
    assert is_a_chain([(one.get("previous"), one["digest"]) for one in found if "digest" in one])
    assert "previous" not in json.loads(raw_lines(place / "below")[0])["writer"]
    assert read.verify([place, place / "below"]).clean


def test_a_writer_of_the_programs_own_gets_proven_lines():
    """One chain a writer, whatever else changes."""

    class Kept:
        lines = []  # noqa: RUF012

        def write(self, _session_id, line):
            self.lines.append(json.loads(line)["writer"])

    moa.configure(save_traces=True, writer=Kept(), integrity="digest")
    ask("one")
    moa.configure(turns="all")
    ask("two")
    assert [None, Kept.lines[0]["digest"]] == [one.get("previous") for one in Kept.lines]


def test_many_threads_make_one_chain(place):
    """Eight of them, each with its own session; no link is lost or taken twice."""

    def work(number):
        for turn in range(40):
            with moa.tag(session_id=f"s-{number}"):
                ask(f"{number} {turn}")

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    finally:
        sys.setswitchinterval(switch)
    assert 320 == len(proofs(place))
    assert is_a_chain(proofs(place))
    assert read.verify(place).clean


@pytest.mark.parametrize("who", ["another thread", "a finaliser"])
def test_another_line_may_be_completed_inside_one(who, place):
    """At each line of the code of a proof: both are in the chain, once, and neither waits for the other."""

    class Dropped:
        def __del__(self):
            ask("from a finaliser")

    def other():
        if who == "a finaliser":
            Dropped()
        else:
            thread = threading.Thread(target=ask, args=("from another thread",))
            thread.start()
            thread.join(20)

    ask("first")  # which makes the tracer, under a lock
    left = [0]

    def trace(frame, _event, _arg):
        if frame.f_code.co_filename != proven_line.__file__:
            return None
        left[0] -= 1
        if not left[0]:
            other()
        return trace

    for number in itertools.count(1):
        left[0] = number
        sys.settrace(trace)
        try:
            ask("outer")
        finally:
            sys.settrace(None)
        if left[0] > 0:
            break
    assert number > 30
    assert 2 * number == len(proofs(place))
    assert is_a_chain(proofs(place))


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12 does not trace single instructions this way")
def test_an_interrupt_anywhere_proves_a_line_once(place):
    """Between any two instructions of the proof: the line is written once, and the chain has no gap."""
    below = (proven_line.__file__, digest.__file__)
    for number in itertools.count(1):
        block = moa.turn(session_id="s")
        block.__enter__()
        ask(number)
        if not interrupted(lambda block=block: block.__exit__(None, None, None), number, below):
            break
    moa.flush()
    assert number > 15
    assert [str(n + 1) for n in range(number)] == [
        json.loads(line)["references"][0]["output"] for line in raw_lines(place)
    ]
    assert is_a_chain(proofs(place))


def test_a_line_that_is_put_off_by_interrupts_is_proven_in_its_journal(tmp_path, monkeypatch):
    """The first two come before it has a proof; what the journal keeps is what is written later."""
    path = tmp_path / "traces"
    moa.configure(save_traces=True, trace_dir=path, integrity="digest", journal=True, session_id="s")
    left = [KeyboardInterrupt(), KeyboardInterrupt()]

    def interrupted_twice(*given):
        if left:
            raise left.pop()
        return digest.hasher_of(*given)

    block = moa.turn()
    block.__enter__()
    ask("one")
    monkeypatch.setattr(proven_line, "hasher_of", interrupted_twice)
    with pytest.raises(KeyboardInterrupt):
        block.__exit__(None, None, None)
    kept = next((path / "open").iterdir()).read_bytes().splitlines()[-1]
    assert digest.digest_in(kept) is not None
    moa.flush()
    assert [kept] == raw_lines(path)
    assert read.verify(path).clean


def test_a_fault_of_the_proof_costs_the_proof_alone(place, monkeypatch):
    """The line is written, without one, and the fault is counted."""
    faults = moa.status().faults

    def broken(*_):
        raise RuntimeError

    ask("one")
    with monkeypatch.context() as patched:
        patched.setattr(proven_line, "hasher_of", broken)
        ask("two")
    ask("three")
    assert 1 == moa.status().faults - faults
    assert [True, False, True] == ["digest" in json.loads(line)["writer"] for line in raw_lines(place)]
    assert read.verify(place).clean


def test_a_line_that_was_refused_keeps_its_bytes(place):
    """It is written behind later ones; before that one line is missed."""
    ask("one")
    (place / "s.jsonl").mkdir()
    with moa.tag(session_id="s"):
        ask("two")
    assert 1 == moa.status().waiting
    refused = outbox.backlog.lines[0].data
    with moa.tag(session_id="other"):
        ask("three")
    (place / "s.jsonl").rmdir()
    assert {"E122": 1, "E104": 1} == dict(read.verify(place).counts)
    moa.flush()
    assert refused == (place / "s.jsonl").read_bytes()
    assert is_a_chain(proofs(place))
    assert read.verify(place).clean


def test_late_lines_are_in_the_chain(place):
    """They have no number, and are missed all the same."""
    begun, go_on = threading.Event(), threading.Event()

    @moa.reference
    def slow(_text):
        begun.set()
        go_on.wait(20)
        return "at last"

    @moa.turn(session_id="s")
    def create():
        thread = threading.Thread(target=slow, args=("x",))
        thread.start()
        begun.wait(20)
        return thread

    thread = create()
    go_on.set()
    thread.join()
    ask("behind it")
    report = read.verify(place)
    assert (True, 3, 1) == (report.clean, report.proven, report.late)
    assert is_a_chain(proofs(place))
    (late,) = (place / "late").glob("*.jsonl")
    assert "seq" not in json.loads(late.read_bytes())["writer"]
    data = late.read_bytes()
    late.write_bytes(data.replace(b"at last", b"at lost"))
    assert {"E121": 1} == dict(read.verify(place).counts)
    late.unlink()
    assert "E122" in read.verify(place).counts


def test_the_trace_functions_of_hermes_prove_their_lines(place):
    """They go the same way."""
    for number in range(2):
        hermes.save_moa_turn(
            session_id=f"s-{number}",
            preset_name="p",
            reference_outputs=[("a:b", "text", None)],
            aggregator_label="a:b",
            aggregator_model="b",
            aggregator_provider="a",
            aggregator_temperature=None,
            aggregator_input_messages=[],
            aggregator_output="text",
            aggregator_streamed=False,
        )
    report = read.verify(place)
    assert (True, 2, True) == (report.clean, report.proven, report.chain_checked), report.problems
    assert is_a_chain(proofs(place))


@pytest.mark.processes
def test_processes_with_threads_that_share_files_make_a_chain_each(tmp_path):
    """Four of four threads, in files that are sealed again and again; killed ones leave lines that are right."""
    place = tmp_path / "traces"
    program = """
    def work(number):
        for turn in range(50):
            with moa.tag(session_id=f"s-{number % 2}"):
                ask(turn)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    """
    env = environment(place, MOA_INTEGRITY="digest", MOA_MAX_FILE_BYTES="100000", MOA_JOURNAL="0")
    programs = [subprocess.Popen(script(program), env=env) for _ in range(4)]
    assert [0] * 4 == [one.wait(120) for one in programs]
    report = read.verify(place)
    assert (True, 800, True) == (report.clean, report.proven, report.chain_checked), report.problems
    dying = [subprocess.Popen(script(program.replace("range(50)", "range(5000)")), env=env) for _ in range(4)]
    wait_for(lambda: read.verify(place / "s-0.jsonl", semantics=False).proven > 20)
    for one in dying:
        one.kill()
        one.wait()
    # A thread may have had its place in the chain and not written its line; no line that is there is wrong.
    assert {"E101", "E104", "E122"} >= read.verify(place).counts.keys()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_begins_a_chain(place):
    """Its lines are its own, and so is what they follow; its parent's chain goes on."""
    ask("before")
    child = os.fork()
    if not child:
        status = 1
        try:
            with moa.tag(session_id="child"):
                ask("in the child")
                ask("in the child again")
            status = 0
        finally:
            os._exit(status)
    assert 0 == os.waitpid(child, 0)[1]
    ask("after")
    by_pid = {}
    for line in raw_lines(place):
        writer = json.loads(line)["writer"]
        by_pid.setdefault(writer["pid"], []).append((writer.get("previous"), writer["digest"]))
    assert [2, 2] == [len(found) for found in by_pid.values()]
    assert all(map(is_a_chain, by_pid.values()))
    assert read.verify(place).clean


def test_recovered_turns_are_proven_by_who_recovers_them(tmp_path, key, monkeypatch):
    """`moa recover` has the settings of the environment."""
    place = tmp_path / "traces"
    settings = {"MOA_INTEGRITY": "hmac", "MOA_INTEGRITY_KEY_FILE": str(key)}
    killed(place, **settings)
    assert 1 == len(journals(place))
    for name, value in environment(place, **settings).items():
        monkeypatch.setenv(name, value)
    assert 1 == forked.run(["recover", str(place)], env=dict(os.environ), cwd=os.getcwd()).returncode
    report = read.verify(place, key_files=key)
    assert (True, 1) == (report.clean, report.proven), report.problems


def test_a_recovered_line_that_its_process_had_made_stays_as_it_is(tmp_path):
    """It was refused until its process ended; its chain is whole then."""
    place = tmp_path / "traces"
    program = """
    import pathlib
    @moa.turn
    def create():
        ask(1)
        pathlib.Path(sys.argv[1], "s.jsonl").mkdir(parents=True)
    with moa.tag(session_id="other"):
        ask(0)
    create()
    os._exit(0)
    """
    env = environment(place, MOA_INTEGRITY="digest")
    subprocess.run([*script(program), str(place)], env=env, check=True, timeout=60)
    assert 1 == len(journals(place))
    (place / "s.jsonl").rmdir()
    assert ["recovered"] == whats(place)
    report = read.verify(place)
    assert (True, 2, True) == (report.clean, report.proven, report.chain_checked), report.problems
    assert is_a_chain(proofs(place))


def test_the_key_is_shown_nowhere(tmp_path, key):
    """Neither by the object, nor by what holds it."""
    found = digest.read_key(key)
    proof = proven_line.Proof(proven_line.FileWriter(tmp_path), found)
    assert "<Key " == repr(found)[:5]
    for text in (repr(found), repr(proof), str(found), repr(vars(proof))):
        assert "a key" not in text
        assert key.read_bytes().hex() not in text


@pytest.mark.parametrize(
    ("data", "says"), [(b"", "is empty"), (b"x" * 70_000, "has more than 65,536 bytes"), (None, "does not exist")]
)
def test_a_key_file_that_cannot_be_one_says_why(data, says, tmp_path):
    """Missing, empty, or something else that was named by mistake."""
    path = Path(tmp_path / "key")
    if data is not None:
        path.write_bytes(data)
    with pytest.raises((OSError, ValueError)) as caught:
        digest.read_key(path)
    assert says == digest.problem_of(caught.value)


def test_a_pipe_or_folder_in_the_place_of_a_key_does_not_hold_us(tmp_path):
    """It is refused at once."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match=r"egular file|directory"):
            digest.read_key(path)
