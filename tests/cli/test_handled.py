"""Errors that a function caught, in all that reads a trace: they failed, and they were handled."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import pytest

import moa_middleware as moa
from moa_middleware import read
from moa_middleware.errors import QueryError


@moa.reference(label="sdk")
def ask(prompt, fails=None):
    """Stand for an SDK's request."""
    if fails is not None:
        raise fails
    return "An answer that is long enough."


@moa.reference(label="careful", model="m-1")
def careful(prompt):
    """Catch the failure of the request inside."""
    try:
        return ask(prompt, fails=ValueError("refused"))
    except ValueError:
        return "[failed]"


@moa.reference(label="careless", model="m-2")
def careless(prompt):
    """Let it through."""
    return ask(prompt, fails=ValueError("refused"))


async def slow(prompt):
    """Wait longer than anybody does."""
    await asyncio.sleep(60)


@moa.reference(label="patient", model="m-3")
async def patient(prompt):
    """Give the request inside up, and go on."""
    try:
        return await asyncio.wait_for(moa.reference(slow)(prompt), 0.01)
    except TimeoutError:
        return "[no answer]"


def handled():
    """Two calls that failed, and whose functions went on; one of them was cancelled."""
    with moa.turn(session_id="s", tags={"kind": "handled"}):
        careful("Why?")
        asyncio.run(patient("Why?"))
        ask("Why?")


def unhandled():
    """One that was handled, and one that was not."""
    with moa.turn(session_id="s", tags={"kind": "unhandled"}):
        careful("Why?")
        with pytest.raises(ValueError, match="refused"):
            careless("Why?")


def clean():
    """Nothing failed."""
    with moa.turn(session_id="s", tags={"kind": "clean"}):
        ask("Why?")


@pytest.fixture
def traces(tmp_path):
    """Write the three turns."""
    moa.configure(save_traces=True, trace_dir=tmp_path / "traces")
    for turn in (handled, unhandled, clean):
        turn()
    moa.flush()
    return tmp_path / "traces"


def kinds(turns):
    return [turn.tags["kind"] for turn in turns]


def test_the_live_totals_and_the_reader_count_the_same(traces):
    """By the record's own `totals`, by turn, and by group."""
    run = read.open(traces)
    assert [(2, 2), (2, 1), (0, 0)] == [(turn.failed_calls, turn.handled_calls) for turn in run]
    assert [2, 2, 0] == [turn.totals["failed"] for turn in run]
    total = run.stats().total
    assert (6, 4, 3) == (total.calls, total.failed, total.handled)
    assert ["error", "cancelled", "completed"] == [call.outcome for call in next(iter(run)).references]
    assert [True, True, False] == [call.failed for call in next(iter(run)).references]
    by_model = {row.key: (row.failed, row.handled) for row in run.stats(by="model")}
    assert {"m-1": (2, 2), "m-2": (1, 0), "m-3": (1, 1), None: (0, 0)} == by_model


def test_turns_are_chosen_by_failures_that_were_not_handled(traces):
    """`failed` is a flag, or `unhandled`; anything else is refused."""
    run = read.open(traces)
    assert ["handled", "unhandled"] == kinds(run.turns(failed=True))
    assert ["clean"] == kinds(run.turns(failed=False))
    assert ["unhandled"] == kinds(run.turns(failed="unhandled"))
    with pytest.raises(QueryError, match=r"^failed: need True, False or 'unhandled', not 'handled'$"):
        list(run.turns(failed="handled"))


def test_the_tables_have_them(traces):
    """A column of the turns, and one of the calls."""
    pytest.importorskip("pyarrow")
    tables = read.open(traces).tables()
    assert [2, 1, 0] == tables.turns["handled_calls"].to_pylist()
    assert [True, True, False, True, False, False] == tables.calls["handled"].to_pylist()


@pytest.mark.parametrize("verb", ["ls", "stats", "report", "compare"])
def test_each_verb_takes_failures_that_were_not_handled(run, traces, tmp_path, verb):
    """`--failed` alone as ever, wherever it stands, and `--failed=unhandled`."""
    paths = [str(traces)] * (2 if verb == "compare" else 1)
    output = tmp_path / "report.html"
    more = ["--output", str(output)] if verb == "report" else ["--json"]
    counts = []
    for chosen in ([], ["--failed"], ["--failed=unhandled"]):
        shown = run(verb, *chosen, *paths, *more)
        assert 0 == shown.returncode, shown.stderr
        if verb == "report":
            counts.append(output.read_text(encoding="utf-8").count('"s#'))
            output.unlink()
            continue
        lines = shown.stdout.splitlines()
        if verb == "ls":
            counts.append(len([json.loads(line) for line in lines]))
        else:
            found = json.loads(shown.stdout)
            counts.append(found["total"]["turns"] if verb == "stats" else found["matched"])
    if verb != "report":
        assert [3, 2, 1] == counts


def test_another_value_is_refused(run, traces):
    """With the ones that there are."""
    shown = run("ls", "--failed=handled", str(traces))
    assert 2 == shown.returncode
    assert "'handled' is not one of 'any', 'unhandled'" in shown.stderr


def test_lists_and_figures_show_them(run, traces):
    """`ls`, `stats` in a table and as CSV, and `show`."""
    listed = run("ls", str(traces)).stdout
    assert "3, 2 failed, 2 handled" in listed
    assert "2, 2 failed, 1 handled" in listed
    figures = run("stats", str(traces)).stdout
    assert ["m-1", "2", "2", "2", "(100", "%)", "2"] == figures.splitlines()[1].split()[:7]
    assert "HANDLED" in figures.splitlines()[0]
    assert "4 calls failed, 3 handled" in figures
    rows = list(csv.DictReader(io.StringIO(run("stats", "--csv", str(traces)).stdout)))
    assert [("m-1", "2", "2"), ("m-2", "1", "0"), ("m-3", "1", "1"), ("", "0", "0")] == [
        (row["model"], row["failed"], row["handled"]) for row in rows
    ]
    shown = run("show", "s#1", str(traces)).stdout
    assert "3 calls, 2 failed, 2 handled" in shown
    assert "error, handled" in shown
    assert "cancelled, handled" in shown
    assert 2 == json.loads(run("show", "s#1", "--json", str(traces)).stdout)["handled_calls"]


def test_the_list_has_the_order_of_the_turns_numbers(run, tmp_path):
    """A turn that began first and ended last is the last one, by number and in the list; so is one around another."""
    moa.configure(save_traces=True, trace_dir=tmp_path / "traces")
    with moa.turn(session_id="s"):
        ask("Why?")
        for _ in range(2):
            with moa.turn():
                ask("Why?")
    with moa.turn(session_id="s"):
        ask("Why?")
    moa.flush()
    found = [json.loads(line)["name"] for line in run("ls", "--json", str(tmp_path / "traces")).stdout.splitlines()]
    assert [f"s#{number}" for number in (1, 2, 3, 4)] == found
    turns = {turn.name: turn for turn in read.open(tmp_path / "traces")}
    assert turns["s#3"].at < turns["s#1"].at
    last = [
        json.loads(line)["name"] for line in run("ls", "-n2", "--json", str(tmp_path / "traces")).stdout.splitlines()
    ]
    assert ["s#3", "s#4"] == last
