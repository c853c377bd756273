"""`moa recover`: what a killed process had finished comes back, once, and what is alive or foreign is left alone."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest

from moa_middleware._capture.tracing.journal import JOURNAL_SCHEMA, is_alive, this_process
from moa_middleware._layout.owner import started
from tests.support import forked
from tests.support.killed import environment, journals, killed, script, wait_for, whats


@pytest.fixture
def moa_recover(quick):
    """Return a function that runs `moa recover`, in a quick run by a fork; it returns exit code and output."""

    def run(directory, *args):
        if quick:
            done = forked.run(["recover", str(directory), *args], env=dict(os.environ), cwd=os.getcwd())
        else:
            done = subprocess.run(
                [sys.executable, "-m", "moa_middleware", "recover", str(directory), *args],
                check=False,
                capture_output=True,
                encoding="utf-8",
                timeout=60,
            )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout

    return run


def test_a_killed_turn_comes_back_with_its_finished_references(place, read_lines, moa_recover):
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


def test_recovery_again_changes_nothing(place, moa_recover):
    """The second run finds nothing, and the file stays as it is."""
    killed(place)
    moa_recover(place)
    before = (place / "s.jsonl").read_bytes()
    assert (0, f"nothing to recover in {place}\n") == moa_recover(place)
    assert before == (place / "s.jsonl").read_bytes()


def test_a_dry_run_changes_nothing(place, moa_recover):
    """It says what would be done; every file stays as it is, byte for byte."""
    killed(place)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    code, said = moa_recover(place, "--dry-run")
    assert (1, True) == (code, "would be recovered, 3 calls" in said)
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_the_report_is_json_and_holds_no_content(place, moa_recover):
    """`--json` counts and names the turns, and tells nothing of what they hold."""
    killed(place)
    (journal,) = journals(place)
    code, said = moa_recover(place, "--json")
    assert 1 == code
    assert {"recovered": 1} == json.loads(said)["counts"]
    assert [{"turn_id": journal.stem, "what": "recovered", "calls": 3, "error": None}] == json.loads(said)["journals"]
    assert "answer" not in said
    assert "Why" not in said


def test_a_directory_that_is_none_exits_with_3(tmp_path, moa_recover):
    """A wrong path is no clean result."""
    assert 3 == moa_recover(tmp_path / "nowhere")[0]


def test_the_turn_of_a_running_process_is_left_alone(place, read_lines, moa_recover):
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


def test_journals_of_other_machines_wait_for_a_word(place, moa_recover):
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


def test_what_is_no_journal_is_left_alone(place, tmp_path, moa_recover):
    """Foreign files, links and torn scraps stay, are named, and are not recovered; an old empty file of a turn goes."""
    folder = place / "open"
    folder.mkdir(parents=True)
    known = {"schema": JOURNAL_SCHEMA, "turn_id": "b", "session_id": None, "process": this_process()}
    dead = {**this_process(), "started": 1}
    whole = {**known, "process": dead, "covers": [], "places": [], "calls": []}
    kept = {
        "a.jsonl": (b'{"schema": "moa-jour', "unreadable"),
        "b.jsonl": (json.dumps({**whole, "places": [{}], "calls": [{}]}).encode(), "unreadable"),
        "c.jsonl": (b"[1]\n7\n", "foreign"),
        "d.jsonl": (b"no JSON at all\n", "foreign"),
        "e.jsonl": (json.dumps({"text": json.dumps({**whole, "turn_id": "e"})}).encode(), "foreign"),
        "f.jsonl": (b'{"f": 1}\n' + json.dumps({**whole, "turn_id": "f"}).encode(), "foreign"),
        "g.jsonl": (json.dumps({**whole, "turn_id": "another"}).encode(), "foreign"),
        "h.jsonl": (b"", "foreign"),
    }
    for name, (data, _) in kept.items():
        (folder / name).write_bytes(data)
    (folder / "i.jsonl").symlink_to(tmp_path)
    new, old = (folder / f"01a20a23-6c3c-709f-9e47-25ccc2c6c2f{n}.jsonl" for n in range(2))
    for path in (new, old, folder / "h.jsonl"):
        path.touch()
    for path in (old, folder / "h.jsonl"):
        os.utime(path, (1, 1))
    assert ["new", "empty", *(what for _, what in kept.values()), "foreign"] == whats(place)
    assert sorted([new.name, *kept, "i.jsonl"]) == [path.name for path in journals(place)]
    assert 1 == moa_recover(place)[0]
    for name, (_, what) in kept.items():
        if what == "unreadable":
            (folder / name).unlink()
    assert 0 == moa_recover(place)[0]
    for path in journals(place):
        path.unlink()
    assert [] == list(place.glob("*.jsonl"))


def test_a_link_in_place_of_the_journals_is_not_followed(place, tmp_path, moa_recover):
    """What it leads to is not of this directory: not even an empty file there goes."""
    other = tmp_path / "other"
    other.mkdir()
    place.mkdir()
    path = other / "01a20a23-6c3c-709f-9e47-25ccc2c6c2f0.jsonl"
    path.touch()
    os.utime(path, (1, 1))
    (place / "open").symlink_to(other)
    assert (0, "open  left alone, it is not a journal: it is a link\n") == moa_recover(place)
    assert path.exists()
    path.unlink()


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
    recover._Journal.removed = lambda *a, **k: die()
    list(recover.recover(FileWriter({str(place)!r})))
    """
    killed(place, program)
    assert ["written"] == whats(place)
    assert 1 == len(read_lines(place))


def test_a_refused_line_leaves_the_journal(place, moa_recover):
    """What cannot be written stays where it is, and is told as such."""
    killed(place)
    before = journals(place)
    (place / "s.jsonl").mkdir()
    code, said = moa_recover(place)
    assert (1, True) == (code, "could not be recovered: IsADirectoryError" in said)
    assert before == journals(place)
    (place / "s.jsonl").rmdir()


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
    assert ["unreadable", "recovered", "recovered", "foreign"] == whats(place)
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


def test_a_zombie_is_dead():
    """It has a process id still, and does nothing any more."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = {**this_process(), "pid": child.pid, "started": started(child.pid)}
    assert is_alive(process) is True
    child.stdin.close()
    wait_for(lambda: is_alive(process) is False)
    child.wait()
    assert is_alive(process) is False
