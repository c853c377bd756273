"""How a verb ends: its exit code and its one line, whatever its input and whichever side leaves."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.read.conftest import SEED

from .conftest import COMMAND, plain, send

pytestmark = pytest.mark.processes

READERS = (["ls"], ["show", "last"], ["stats"], ["verify"], ["scan"], ["tail"])


def one_line(done, code):
    """Assert that a command ended with a code and one line on stderr; return the line."""
    assert (code, "") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("\n"), done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "verb", [*READERS, ["compare", "."], ["prune", "--older-than", "1d"]], ids=lambda verb: verb[0]
)
def test_a_path_that_does_not_exist_exits_with_3(run, verb):
    """The line names the verb and the path."""
    assert f"moa {verb[0]}: nowhere does not exist\n" in one_line(run(*verb, "nowhere"), 3).replace(
        "nowhere cannot be read: No such file or directory", "nowhere does not exist"
    )


@pytest.mark.parametrize("verb", [*READERS, ["prune", "--older-than", "1d"]], ids=lambda verb: verb[0])
def test_no_directory_of_the_settings_exits_with_3(run, desk, verb):
    """Where nothing is named, the line says which directory that is, and who says more about it."""
    line = one_line(run(*verb), 3)
    assert str(desk / "state" / "moa_middleware" / "traces") in line
    assert "MOA_TRACE_DIR is not set" in line
    assert "moa doctor" in line
    line = one_line(run(*verb, MOA_TRACE_DIR="/nowhere/at/all"), 3)
    assert "/nowhere/at/all does not exist (MOA_TRACE_DIR)" in line


def test_recover_names_the_directory_that_is_not_there(run):
    """The one that was named, or that of the settings."""
    assert "moa recover: nowhere is no directory\n" == one_line(run("recover", "nowhere"), 3)
    line = one_line(run("recover", MOA_TRACE_DIR="/nowhere/at/all"), 3)
    assert "moa recover: /nowhere/at/all is no directory (MOA_TRACE_DIR)\n" == line


def test_the_directory_of_the_settings_is_read(told, written):
    """Without a path, MOA_TRACE_DIR is what is read."""
    assert 6 == len(told("ls", MOA_TRACE_DIR=str(written)))


def test_a_directory_without_traces_is_not_called_clean(run, desk):
    """`verify` ends with 3, since nothing was verified; a list of nothing is no failure."""
    (desk / "empty").mkdir()
    done = run("verify", "empty")
    assert (3, "moa verify: there is no trace file in empty\n") == (done.returncode, done.stderr)
    assert "clean" not in done.stdout
    for verb in ("ls", "stats"):
        done = run(verb, "empty")
        assert (0, "", "no turns in empty\n") == (done.returncode, done.stdout, done.stderr)
    assert "moa show: no turn is named 'last': there is none at all\n" == one_line(run("show", "last", "empty"), 3)


def test_an_open_journal_in_a_directory_without_traces_is_named(run, desk):
    """`verify` says what `moa recover` would make turns of."""
    (desk / "traces" / "open").mkdir(parents=True)
    (desk / "traces" / "open" / "019a0000-0000-7000-8000-000000000000.jsonl").write_text("")
    done = run("verify", "traces")
    assert (3, True) == (done.returncode, "1 journal in it: moa recover" in done.stderr)


@pytest.mark.parametrize("verb", READERS, ids=lambda verb: verb[0])
def test_a_file_that_cannot_be_read_exits_with_3(run, written, desk, verb):
    """A file in a directory that cannot be opened costs only itself, and is never silent."""
    folder = desk / "traces"
    folder.mkdir()
    (folder / "s-0.jsonl").write_bytes((written / "s-0.jsonl").read_bytes())
    (folder / "s-1.jsonl").symlink_to("s-1.jsonl")  # a loop: neither root nor anybody can open it
    done = run(*verb, folder)
    assert "Traceback" not in done.stderr
    if verb[0] == "show":
        assert 0 == done.returncode
        return
    assert 3 == done.returncode
    assert "E108" in done.stdout + done.stderr or "unreadable" in done.stdout


@pytest.mark.parametrize("verb", READERS, ids=lambda verb: verb[0])
def test_a_named_file_without_permission_exits_with_3(run, desk, verb):
    """The line says what the system says."""
    path = desk / "s.jsonl"
    if os.geteuid():
        path.touch(mode=0)
    else:
        path.symlink_to("s.jsonl")  # root may read everything but a loop
    line = one_line(run(*verb, path), 3)
    assert re.search(r"s\.jsonl (cannot be read: \w+|does not exist)", line), line


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["ls", "--since", "yesterday"], "--since"),
        (["stats", "--by", "colour"], "colour"),
        (["stats", "--csv", "--json"], "--csv or --json"),
        (["show", "last", "--raw", "--json"], "--raw or --json"),
        (["show", "last", "--raw", "--call", "agg"], "--raw or --call"),
        (["verify", "--ignore", "E999"], "E999"),
        (["scan", "--rule", "names"], "names"),
        (["prune", "--older-than", "soon"], "30d say"),
        (["prune"], "--older-than"),
        (["show", "last", "--call", "ref:9"], "3 references"),
        (["show", "last", "--call", "xyz"], "xyz"),
        (["ls", "-n", "-1"], "-n"),
        (["tail", "-n", "x"], "-n"),
    ],
)
def test_what_cannot_be_asked_exits_with_2(run, written, args, says):
    """The culprit is named, and nothing is shown."""
    done = run(*args, MOA_TRACE_DIR=str(written))
    assert (2, "") == (done.returncode, done.stdout)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["ls", "recover", "demo"])
def test_bad_settings_exit_with_2(run, verb):
    """A verb that needs the settings names the one that is bad, with its value unless that looks like a credential."""
    key = "sk-proj-" + "a1B2c3D4" * 6
    for value, shown in ("none", "(got 'none')"), (key, "(got a value that looks like a credential)"):
        line = one_line(run(verb, MOA_CAPTURE=value), 2)
        assert "MOA_CAPTURE" in line
        assert shown in line
        assert key not in line
        expected = f"moa {verb}: MOA_REDACT: takes secrets, emails, phones, with commas between"
        line = one_line(run(verb, MOA_REDACT=value), 2)
        assert expected == line.rstrip().removesuffix(f" {shown}")
        assert shown in line


def test_a_turn_that_is_not_there_exits_with_3(run, written):
    """The line says how turns are named; a name of several turns exits with 2 and names them."""
    assert "no turn is named 'xxxx" in one_line(run("show", "x" * 1000, MOA_TRACE_DIR=str(written)), 3)
    assert "no turn is named 's-7#1'" in one_line(run("show", "s-7#1", written), 3)
    assert "session 's-0' has 3 turns" in one_line(run("show", "s-0#9", written), 3)
    ids = [json.loads(line)["turn_id"] for line in (written / "s-0.jsonl").read_bytes().splitlines()]
    line = one_line(run("show", ids[0][:4], written), 2)
    assert "names several turns" in line
    assert ids[0] in line


def test_stdin_and_compressed_files_are_read(run, told, written, desk):
    """`-` is stdin, and `.gz` is read as it is, by every verb that reads a run."""
    data = b"".join(path.read_bytes() for path in sorted(written.glob("*.jsonl")))
    packed = desk / "all.jsonl.gz"
    packed.write_bytes(gzip.compress(data))
    for verb in (["ls"], ["stats"], ["show", "last"], ["verify", "--ignore", "E105", "--no-semantics"]):
        from_stdin, from_file = run(*verb, "-", "--json", stdin=data.decode()), run(*verb, packed, "--json")
        assert from_stdin.returncode == from_file.returncode == 0, from_file.stderr
        assert from_stdin.stdout.replace('"-"', f'"{packed}"') == from_file.stdout
    assert 6 == len(told("ls", packed))


@pytest.mark.parametrize(
    "verb", [["ls", "-n", "0"], ["ls", "-n", "0", "--json"], ["verify"], ["schema"], ["scan"], ["stats", "--csv"]]
)
def test_a_reader_that_leaves_early_is_no_fault(env, desk, written, verb):
    """`moa … | head -1` ends in silence; what was found before still tells in the code."""
    line = (written / "s-0.jsonl").read_bytes().splitlines()[0]
    path = desk / "big.jsonl"
    turn_id = json.loads(line)["turn_id"].encode()
    with path.open("wb") as file:
        for number in range(2000):
            file.write(
                line.replace(turn_id, b"%036d" % number, 1).replace(
                    b"Why is", b"a@example.com" if number % 2 else b"Why"
                )
                + b"\n"
            )
        if verb[0] == "verify":
            file.write(b"foreign\n" * 5000)
    process = subprocess.Popen(
        [*COMMAND, *verb, *([str(path)] * (verb[0] != "schema"))],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline()
    process.stdout.close()
    assert b"" == process.stderr.read()
    process.stderr.close()
    assert (1 if verb[0] in ("verify", "scan") else 0) == process.wait(timeout=60)


def test_a_reader_of_a_raw_line_may_leave_early(env, desk, written):
    """Though the line is longer than a pipe takes at once."""
    line = json.loads((written / "s-0.jsonl").read_bytes().splitlines()[0])
    (desk / "s.jsonl").write_text(json.dumps({**line, "output": "x" * 5_000_000}) + "\n")
    process = subprocess.Popen(
        [*COMMAND, "show", "--raw", "last", desk / "s.jsonl"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.read(1)
    process.stdout.close()
    assert b"" == process.stderr.read()
    process.stderr.close()
    assert 0 == process.wait(timeout=60)


def test_many_problems_of_a_tail_are_counted(env, terminal, desk):
    """The first ones of a look are named, the others counted; Ctrl-C tells none twice."""
    (desk / "s.jsonl").write_text("foreign\n" * 50 + json.dumps(SEED) + "\n")
    screen = terminal("tail", "-f", desk / "s.jsonl", columns=200)
    screen.read(until="moa verify names them")
    send(screen, signal.SIGINT)
    code, text = screen.end()
    assert 130 == code
    assert 20 == plain(text).count("E102 foreign-line")
    assert "moa tail: and 30 more; moa verify names them\nmoa tail: interrupted\n" in plain(text)


def test_a_problem_of_a_tail_is_told_as_it_comes(terminal, desk):
    """A line that is no record is named while the tail goes on, though no turn comes."""
    path = desk / "s.jsonl"
    path.write_text(json.dumps(SEED) + "\n")
    screen = terminal("tail", "-f", path, columns=400)
    screen.read(until="seed#1")
    for number in (2, 3):
        with path.open("a") as file:
            file.write("foreign\n")
        assert f"s.jsonl:{number}: " in screen.read(until=f"s.jsonl:{number}: ")
    send(screen, signal.SIGINT)
    code, text = screen.end()
    assert 130 == code
    assert 2 == plain(text).count("moa tail: E102 foreign-line")


def test_a_tail_says_that_it_waits_for_a_directory(terminal, desk):
    """It is named once, and read when it is there; so is the directory of the settings."""
    for args, more in ((["nowhere"], {}), ([], {"MOA_TRACE_DIR": str(desk / "later")})):
        folder = desk / (args[0] if args else "later")
        screen = terminal("tail", "-f", *([folder] if args else []), columns=400, **more)
        screen.read(until="waiting for it")
        folder.mkdir()
        (folder / "seed.jsonl").write_text(json.dumps(SEED) + "\n")
        screen.read(until="seed#1")
        send(screen, signal.SIGINT)
        code, text = screen.end()
        assert 130 == code
        assert plain(text).startswith(f"moa tail: {folder} does not exist yet: waiting for it\n")
        assert 1 == text.count("waiting")
        assert "seed#1" in text


@pytest.mark.parametrize("verb", ["ls", "stats", "verify", "scan"])
def test_an_interrupt_while_it_reads_ends_it_with_130(env, verb):
    """Ctrl-C in the middle of a reading that never ends: one line, no traceback."""
    process = subprocess.Popen(
        [*COMMAND, verb, "-"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    data = b"x" * 65535 + b"\n"
    for _ in range(40):  # more than a pipe takes: when it is written, the reading has begun
        process.stdin.write(data)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (130, b"", f"moa {verb}: interrupted\n".encode()) == (process.returncode, out, err)


def test_a_long_reading_tells_how_far_it_is_on_a_terminal(env, terminal, run, written, desk):
    """A terminal sees the bar, and Ctrl-C leaves it a clean line; a pipe sees neither."""
    line = (written / "s-0.jsonl").read_bytes().splitlines()[0]
    turn_id = json.loads(line)["turn_id"].encode()
    path = desk / "long.jsonl"
    with path.open("wb") as file:
        for number in range(12_000):
            file.write(line.replace(turn_id, b"%036d" % number, 1) + b"\n")
    for verb in ("verify", "scan"):
        screen = terminal(verb, path)
        assert re.search(r"\d MB of \d+\.\d MB, \d+ %", screen.read(until=" %"))
        send(screen, signal.SIGINT)
        code, text = screen.end()
        assert 130 == code
        assert f"\r\x1b[Kmoa {verb}: interrupted" in text
        assert "Traceback" not in plain(text)
    assert "MB of" not in run("stats", path).stderr


@pytest.fixture
def shell(env, desk, written):
    """Return a function that runs a line of the shell beside a directory `traces`."""
    (desk / "traces").symlink_to(written)

    def shell(line):
        return subprocess.run(
            ["sh", "-c", line], env=env, cwd=desk, capture_output=True, check=False, encoding="utf-8", timeout=60
        )

    return shell


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("ls traces >&-", 0, ""),
        ("ls traces --json 2>&-", 0, ""),
        ("ls - <&-", 0, "no turns in -\n"),
        ("ls nowhere 2>&-", 3, ""),
        ("stats traces >/dev/full", 3, "No space left on device"),
        ("stats traces --json >/dev/full", 3, "No space left on device"),
        ("--help >/dev/full", 3, "No space left on device"),
    ],
)
def test_streams_that_are_closed_or_full_end_it_in_a_line(shell, command, code, says):
    """No traceback, whatever a shell makes of the streams; what could not be written is no success."""
    done = shell(f'"{sys.executable}" -m moa_middleware {command}')
    assert code == done.returncode, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize("verb", [verb for verb in READERS if verb[0] != "scan"], ids=lambda verb: verb[0])
def test_numbers_without_measure_end_no_verb(run, written, desk, verb):
    """Prices of 1e308 dollars, counts of 4,300 figures, and a turn that took next to no time."""
    record = json.loads((written / "s-0.jsonl").read_bytes().splitlines()[0])
    for call in record["references"]:
        call |= {"cost_usd": 1e308, "duration_ms": 1e308, "usage": {"input_tokens": 10**4299}, "outcome": None}
        call |= {"started_at": 1e90, "ended_at": None}
    record |= {"duration_ms": 5e-324, "started_at": 0.0, "ended_at": None, "aggregator": None}
    path = desk / "s.jsonl"
    path.write_text(f"{json.dumps(record)}\n")
    done = run(*verb, path, "--json"), run(*verb, path)
    assert {1 if verb[0] == "verify" else 0} == {one.returncode for one in done}, done
    assert "Traceback" not in done[0].stderr + done[1].stderr
