"""`moa verify` on lines that prove themselves: what it says was checked, the key, and exit codes."""

from __future__ import annotations

import json
import os

import pytest

import moa_middleware as moa
from tests.support import forked


@moa.reference
def ask(text):
    return text


@pytest.fixture
def signed(tmp_path, monkeypatch):
    """Go to a directory with a key and two lines that were made with it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_bytes(b"a key")
    moa.configure(save_traces=True, trace_dir="traces", session_id="s", integrity="hmac", integrity_key_file="key")
    ask("one")
    ask("two")
    return tmp_path


def verify(*args):
    """Return exit code and last line of `moa verify`, and what went to stderr."""
    done = forked.run(["verify", *args], env={**os.environ, "COLUMNS": "200"}, cwd=os.getcwd())
    assert "Traceback" not in done.stderr
    return done.returncode, (done.stdout.splitlines() or [""])[-1], done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["traces"], "2 lines with a digest; 2 not checked: they need the key (--key-file); chain checked"),
        (["traces", "--key-file", "key"], "2 lines with a digest; chain checked"),
        (
            ["traces/s.jsonl", "--key-file", "key"],
            "2 lines with a digest; chain not checked: it needs the whole directory",
        ),
    ],
)
def test_it_says_what_was_checked(args, says, signed):
    """Behind what it counts."""
    assert (0, says, "") == verify(*args)


def test_a_wrong_key_an_edit_and_a_missing_line_end_with_1(signed):
    """Each by its code; the right key among several is found."""
    (signed / "other").write_bytes(b"another key")
    assert 1 == verify("traces", "--key-file", "other")[0]
    assert 0 == verify("traces", "--key-file", "other", "--key-file", "key")[0]
    file = signed / "traces" / "s.jsonl"
    data = file.read_bytes()
    file.write_bytes(data.replace(b"two", b"too"))
    code, last, _ = verify("traces", "--key-file", "key", "--json")
    assert (1, {"E121": 1}) == (code, json.loads(last)["counts"])
    file.write_bytes(data.split(b"\n")[1] + b"\n")
    code, last, _ = verify("traces", "--key-file", "key", "--json")
    found = json.loads(last)
    assert (1, {"E122": 1}, 1, 0, True) == (
        code,
        found["counts"],
        found["proven"],
        found["unchecked"],
        found["chain_checked"],
    )
    assert 0 == verify("traces", "--key-file", "key", "--ignore", "E122")[0]


def test_a_key_file_that_is_not_there_is_a_usage_error(signed):
    """It is named."""
    assert (2, "", "moa verify: the key file 'none' does not exist\n") == verify("traces", "--key-file", "none")


def test_old_lines_say_nothing_of_it(signed):
    """Where no line has a proof, the output is that of before."""
    moa.configure(trace_dir="plain", integrity="off")
    ask("three")
    code, last, _ = verify("plain")
    assert (0, True) == (code, last.startswith("✓ clean  1 turn"))


def test_the_doctor_names_a_key_that_others_can_read(signed, monkeypatch):
    """And one that is not there, which keeps turns from being written."""
    for name, value in {
        "SAVE_TRACES": "1",
        "TRACE_DIR": "traces",
        "INTEGRITY": "hmac",
        "INTEGRITY_KEY_FILE": "key",
    }.items():
        monkeypatch.setenv(f"MOA_{name}", value)

    def doctor():
        done = forked.run(["doctor", "--json"], env=dict(os.environ), cwd=os.getcwd())
        return done.returncode, json.loads(done.stdout)

    note = "the key file key is open to other users; chmod 600 closes it"
    code, found = doctor()
    assert (0, False) == (code, note in found["notes"])
    (signed / "key").chmod(0o644)
    assert note in doctor()[1]["notes"]
    (signed / "key").unlink()
    code, found = doctor()
    assert 1 == code
    assert any("MOA_INTEGRITY_KEY_FILE has a bad value" in problem for problem in found["problems"])
