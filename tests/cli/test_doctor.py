"""`moa doctor`: each reason why there are no traces is named, with its mend."""

from __future__ import annotations

import json
import os
import re

import pytest

from moa_middleware import __version__, settings


def doctor(run, **env):
    """Return the exit code, and what `moa doctor --json` found."""
    done = run("doctor", "--json", **env)
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_healthy_environment_has_no_problem(run, desk):
    """With the switch on and a directory that can be written it ends with 0."""
    code, found = doctor(run, MOA_SAVE_TRACES="1")
    assert (0, True, []) == (code, found["ok"], found["problems"])
    assert str(desk / "state" / "moa_middleware" / "traces") == found["directory"]["path"]
    assert found["directory"]["writable"]
    assert __version__ == found["versions"]["moa_middleware"]
    assert found["sdks"]["openai"]
    assert {f"MOA_{name.upper()}" for name in settings.Settings.model_fields} == {
        one["name"] for one in found["settings"]
    }


def test_traces_that_are_off_are_named_first(run):
    """The commonest reason is the switch."""
    for value, says in ((None, "is not set"), ("0", "is '0'"), ("", "is not set")):
        env = {} if value is None else {"MOA_SAVE_TRACES": value}
        code, found = doctor(run, **env)
        assert 1 == code
        assert re.match(rf"traces are off: MOA_SAVE_TRACES {says}; set it to 1", found["problems"][0])


def test_values_have_an_origin(run):
    """A setting is the environment's or the default's."""
    _, found = doctor(run, MOA_SAVE_TRACES="1", MOA_TURNS="fanout", MOA_SESSION_ID="mine")
    origins = {one["name"]: (one["value"], one["origin"]) for one in found["settings"]}
    assert ("fanout", "environment") == origins["MOA_TURNS"]
    assert ("mine", "environment") == origins["MOA_SESSION_ID"]
    assert ("full", "default") == origins["MOA_CAPTURE"]
    assert any("without references are not written" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("name", "value"),
    [("MOA_SAVE_TRACES", "maybe\n"), ("MOA_REDACT", "names"), ("MOA_CAPTURE", "sizes"), ("MOA_MAX_FILE_BYTES", "-1")],
)
def test_a_bad_value_is_named_and_shown(run, desk, name, value):
    """The variable, what it takes, and what it is, so that a newline at its end is seen."""
    code, found = doctor(run, **{"MOA_SAVE_TRACES": "1", name: value})
    assert 1 == code
    (problem,) = [problem for problem in found["problems"] if problem.startswith(f"{name} has a bad value")]
    assert problem.endswith(f"(got {value!r})")
    assert "bad value" in run("doctor", **{name: value}).stdout


def test_a_misspelt_variable_is_named_with_what_is_meant(run):
    """`MOA_SAVE_TRACE` means nothing."""
    _, found = doctor(run, MOA_SAVE_TRACE="1")
    assert ["MOA_SAVE_TRACE"] == found["unknown"]
    assert "MOA_SAVE_TRACE means nothing; is MOA_SAVE_TRACES meant?" in found["notes"]


def test_a_directory_that_cannot_be_is_named(run, desk):
    """A file stands where the directory should be, or above it."""
    (desk / "file").write_text("")
    for path in (desk / "file", desk / "file" / "below"):
        code, found = doctor(run, MOA_SAVE_TRACES="1", MOA_TRACE_DIR=str(path))
        assert 1 == code
        assert any(f"{desk / 'file'} is no directory" in problem for problem in found["problems"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_named(run, desk):
    """The mode keeps this user out."""
    (desk / "closed").mkdir(mode=0o500)
    code, found = doctor(run, MOA_SAVE_TRACES="1", MOA_TRACE_DIR=str(desk / "closed"))
    assert (1, False) == (code, found["directory"]["writable"])


def test_a_file_system_that_takes_no_files_is_named(run):
    """`/proc` is not written to by anybody, root among them."""
    code, found = doctor(run, MOA_SAVE_TRACES="1", MOA_TRACE_DIR="/proc/self/traces")
    assert 1 == code
    assert any("cannot be written" in problem for problem in found["problems"])


def test_files_and_journals_are_counted(run, written, desk):
    """What is there, and what of dead processes waits for `moa recover`."""
    _, found = doctor(run, MOA_TRACE_DIR=str(written), MOA_SAVE_TRACES="1")
    assert 2 == found["directory"]["files"]
    assert found["directory"]["newest_seconds_ago"] >= 0
    os.chmod(desk, 0o755)
    (desk / "loop.jsonl").symlink_to("loop.jsonl")
    code, found = doctor(run, MOA_TRACE_DIR=str(desk), MOA_SAVE_TRACES="1")
    assert (0, 0, []) == (code, found["directory"]["files"], found["problems"])
    assert any("open to other users (mode 0755)" in note for note in found["notes"])


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o1777], ids=oct)
def test_a_directory_that_others_may_write_to_is_named(mode, run, desk):
    """With its mode, what follows from it, and what closes it; also of the directories below."""
    path = desk / "shared"
    for folder in (path, path / "open"):
        folder.mkdir()
        folder.chmod(mode)
    (path / "late").symlink_to(desk)
    (path / "s.jsonl").symlink_to("nowhere")
    code, found = doctor(run, MOA_TRACE_DIR=str(path), MOA_SAVE_TRACES="1")
    assert (0, f"{mode:04o}") == (code, found["directory"]["mode"])
    notes = "\n".join(found["notes"])
    assert f"{path} can be written by other users (mode {mode:04o})" in notes
    assert f"{path / 'open'} can be written by other users (mode {mode:04o}); chmod 700 closes it" in notes
    assert f"{path / 'late'} is not a directory, it is a link: late calls go to their session's file" in notes
    assert f"{path} has 1 file of other users, links or the like" in notes


def test_a_directory_of_its_owner_alone_has_no_note(run, desk):
    """As the library makes it."""
    for folder in (desk / "own", desk / "own" / "late", desk / "own" / "open"):
        folder.mkdir(mode=0o700)
    _, found = doctor(run, MOA_TRACE_DIR=str(desk / "own"), MOA_SAVE_TRACES="1")
    assert not [note for note in found["notes"] if str(desk / "own") in note]


def test_targets_are_looked_at_without_importing_them(run, desk):
    """Unknown names, SDKs that are not installed, roles that do not exist and modules that are not there."""
    (desk / "app.py").write_text("raise SystemExit('imported')\nclass Client:\n    def run(self): ...")
    entries = "openai,app:Client.run=turn,nobody,gone.mod:f=turn,app:f=boss"
    code, found = doctor(run, MOA_SAVE_TRACES="1", MOA_INSTRUMENT=entries)
    assert 1 == code
    wrong = found["targets"]
    assert wrong["openai"] is wrong["app:Client.run=turn"] is None
    assert {"openai"} == found["wraps"].keys()
    assert {"chat.completions.create", "responses.stream"} <= {*found["wraps"]["openai"]}
    assert "unknown target" in wrong["nobody"]
    missing = (
        f"gone.mod:f=turn: there is no module gone in {desk} or installed; moa run adds the script's own directory"
    )
    assert missing == wrong["gone.mod:f=turn"]
    assert f"MOA_INSTRUMENT: {missing}" in found["notes"]
    assert not [problem for problem in found["problems"] if "gone" in problem]
    assert "unknown role" in wrong["app:f=boss"]


def test_a_name_that_its_module_lacks_is_a_problem(run, desk):
    """It is read from the source; a module that makes names while it runs is not judged."""
    (desk / "council.py").write_text("from os import path as where\nfn = lambda: 0\nif fn:\n    class Member: ...")
    (desk / "lazy.py").write_text("def __getattr__(name): ...")
    (desk / "pack").mkdir()
    (desk / "pack" / "__init__.py").write_text("from json import *")
    (desk / "pack" / "mod.py").write_text("async def go(): ...")
    there = "council:fn=turn,council:Member.ask=call,council:where,lazy:any=turn,pack:loads,pack.mod:go"
    missing = {"council:nofn=turn": "council.py defines no nofn", "pack.mod:went=call": "pack/mod.py defines no went"}
    code, found = doctor(run, MOA_SAVE_TRACES="1", MOA_INSTRUMENT=f"{there},{','.join(missing)}")
    assert 1 == code
    assert {entry: f"{entry}: {says}" for entry, says in missing.items()} == {
        entry: says for entry, says in found["targets"].items() if says
    }
    assert [f"MOA_INSTRUMENT: {entry}: {says}" for entry, says in missing.items()] == found["problems"]


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_a_terminal_sees_all_of_it(terminal, written, columns):
    """Problems first, then settings, directory and packages, at any width."""
    code, text = terminal("doctor", columns=columns, MOA_TRACE_DIR=str(written)).end()
    assert 1 == code
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "")
    assert text.startswith("✗ traces are off")
    for heading in ("settings", "directory", "packages"):
        assert f"\n{heading}\n" in text
    path = str(written)
    assert max(len(line) for line in text.split("\n") if path not in line) <= columns


def test_turns_without_a_call_are_noted(run, desk):
    """In the file that was written last."""
    import moa_middleware as moa

    moa.configure(save_traces=True, trace_dir=desk / "empty")
    moa.turn(lambda: "nothing")()
    moa.configure(save_traces=False)
    _, found = doctor(run, MOA_SAVE_TRACES="1", MOA_TRACE_DIR=str(desk / "empty"))
    assert "unknown-session.jsonl: turns without a call (N301): 1; moa verify lists them" in found["notes"]
