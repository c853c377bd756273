"""What verbs print for people in cases that are rare: words and colours."""

from __future__ import annotations

import io
import json
import os
import time

import pytest

from moa_middleware.cli._screen import Screen
from moa_middleware.cli._summary import print_summary

from .conftest import plain

RED, GREEN = "\x1b[31m", "\x1b[32m"


@pytest.fixture
def line(written):
    """Return the record of a turn without a failure."""
    return json.loads((written / "s-0.jsonl").read_bytes().splitlines()[0])


def put(path, record):
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return path


def test_removed_files_are_named(run, desk, line):
    """`moa prune` without --dry-run says which files are gone, of what kind, how large, and how old."""
    traces = desk / "traces"
    traces.mkdir()
    old = time.time() - 40 * 86400
    for name in ("a", "b", "young"):
        put(traces / f"{name}.jsonl", line)
        if name != "young":
            os.utime(traces / f"{name}.jsonl", (old, old))
    done = run("prune", traces, "--older-than", "30d")
    assert (0, "") == (done.returncode, done.stderr)
    first, second, last = done.stdout.splitlines()
    for told, name in ((first, "a"), (second, "b")):
        assert told.startswith(f"{traces / name}.jsonl  removed, turns, ")
        assert ", last written " in told
    assert last.startswith("2 files removed, ")
    assert "; 1 file written since " in last
    assert ["young.jsonl"] == [path.name for path in traces.glob("*.jsonl")]


def test_what_a_scan_found_is_red(run, desk, line):
    """The rule and the sum stand out on a terminal; nothing found is green."""
    path = put(desk / "s.jsonl", {**line, "output": "write to somebody@example.com"})
    done = run("scan", path, FORCE_COLOR="1")
    assert 1 == done.returncode
    assert f"{RED}found 1 email" in done.stdout.splitlines()[-1]
    assert f"{RED}emails" in done.stdout
    assert f"{GREEN}nothing found" in run("scan", put(desk / "clean.jsonl", line), FORCE_COLOR="1").stdout


def test_failures_of_a_compared_run_are_red(run, desk, line):
    """The count of failed calls stands out where there are any, and only there."""
    fine = put(desk / "a.jsonl", line)
    failed = json.loads(json.dumps(line))
    failed["references"][0] |= {"outcome": "error", "error": {"type": "ValueError", "message": "no"}, "output": None}
    done = run("compare", fine, put(desk / "b.jsonl", failed), FORCE_COLOR="1", COLUMNS="200")
    assert 0 == done.returncode, done.stderr
    assert f"{RED}1 (" in done.stdout
    assert RED not in run("compare", fine, fine, FORCE_COLOR="1", COLUMNS="200").stdout


def test_the_doctor_names_the_mode_of_the_directory(run, desk):
    """Whether others may read the traces is told beside whether they can be written."""
    traces = desk / "traces"
    traces.mkdir()
    traces.chmod(0o700)
    done = run("doctor", MOA_SAVE_TRACES="1", MOA_TRACE_DIR=str(traces))
    assert "writable, mode 0700, " in plain(done.stdout)


@pytest.mark.parametrize(("no_usage", "shown"), [(0, "tokens 9 in, 3 out"), (2, "tokens >= 9 in, >= 3 out")])
def test_the_summary_marks_sums_that_lack_a_call(no_usage, shown):
    """The demo's sum is a lower bound where a call failed without tokens."""
    out = io.StringIO()
    totals = {"calls": 3, "failed": 1, "usage": {"input_tokens": 9, "output_tokens": 3}, "unpriced": 0, "cost_usd": 0.5}
    print_summary(Screen(out), {"totals": totals | ({"no_usage": no_usage} if no_usage else {})})
    assert f"totals   3 calls, 1 failed, {shown}\n" in out.getvalue()


@pytest.mark.parametrize("odd", [None, 7, "text", {"a": 1}])
def test_the_summary_of_an_odd_record_shows_what_is_there(odd):
    """Lists that are none have no calls; the aggregator and the totals are shown all the same."""
    out = io.StringIO()
    aggregator = {"role": "aggregator", "model": "agg", "outcome": "completed", "output": "the answer"}
    record = {"turn_id": "t", "outcome": "completed", "references": odd, "calls": odd, "aggregator": aggregator}
    print_summary(Screen(out), record)
    told = out.getvalue()
    assert "the answer" in told
    assert "cost     unknown" in told


def test_files_of_others_are_listed_and_are_no_finding(run, desk):
    """A nightly `moa prune` and `moa recover` over a folder with a data set end with 0, and say what they left."""
    (desk / "train.jsonl").write_text('{"messages": []}\n')
    (desk / "open").mkdir(exist_ok=True)
    (desk / "open" / "notes.jsonl").write_text("mine\n")
    for path in (desk / "train.jsonl", desk / "open" / "notes.jsonl"):
        os.utime(path, (1, 1))
    done = run("prune", desk, "--older-than", "1d")
    assert (0, "") == (done.returncode, done.stderr)
    assert f"{desk / 'train.jsonl'}  stays, it is not of this library: its first line is not of a trace" in done.stdout
    assert "0 files removed, 0 B; 2 old ones stay" in done.stdout
    done = run("prune", desk, "--older-than", "1d", "--json")
    assert {"foreign"} == {one["status"] for one in json.loads(done.stdout)["files"]}
    done = run("recover", desk)
    assert (0, "") == (done.returncode, done.stderr)
    assert "notes  left alone, it is not a journal: its first line is not of a journal of this turn" in done.stdout
