"""Turns and calls as objects, as tables, and in a notebook; and what the reading wing imports."""

from __future__ import annotations

import copy
import html
import io
import json
import math
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import moa_middleware as moa
from moa_middleware import read, records
from moa_middleware.read import TurnView
from tests.house.test_house import imports, modules

from .conftest import SEED, Plain, ask, reply, write

ROOT = Path(__file__).parents[2]


def test_every_key_of_the_record_is_an_attribute(traces):
    """With the value that the line has."""
    turn = read.open(traces).turn("s-0#1")
    data = json.loads(turn.raw)
    assert {} == turn.extra == turn.references[0].extra == turn.aggregator.extra == turn.writer.extra
    plain = ("schema", "ts", "turn_id", "session_id", "preset", "outcome", "started_at", "ended_at", "duration_ms")
    plain += ("input_messages", "params", "output", "parent_turn_id", "turns", "tags", "totals", "implicit")
    assert {name: data[name] for name in plain} == {name: getattr(turn, name) for name in plain}
    for record, kind in ((data, "TurnRecord"), (data["references"][0], "CallRecord")):
        view = turn if kind == "TurnRecord" else turn.references[0]
        for name in getattr(records, kind).__annotations__:
            if name != "raw":  # a turn's own bytes, and `Call.raw_reply`
                assert hasattr(view, name), name
        assert record == view.as_dict()
    call = turn.references[0]
    assert (10, 5, None) == (call.usage.input_tokens, call.usage.output_tokens, call.usage.reasoning_tokens)
    assert (data["writer"]["pid"], data["writer"]["seq"]) == (turn.writer.pid, turn.writer.seq)
    assert ("ref-0", "reference", "ref-0") == (call.name, call.role, call.label)
    assert call.raw_reply is None
    assert {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.25} == call.usage_raw


def test_they_are_frozen_and_slotted(traces):
    """What was recorded does not change."""
    turn = read.open(traces).turn("first")
    for one in (turn, turn.references[0], turn.writer):
        for name in ("output", "anything", "_data"):
            with pytest.raises(AttributeError, match=name):
                setattr(one, name, 1)
        with pytest.raises(AttributeError):
            del one._data
        assert not hasattr(one, "__dict__")
    with pytest.raises(AttributeError):
        turn.cost.unpriced = 0
    with pytest.raises(AttributeError):
        turn.usage.input_tokens = 0


def test_they_are_values(traces):
    """Equal, hashable, and to be pickled and copied."""
    one, other = (read.open(traces).turn("first") for _ in range(2))
    assert one == other
    assert one.references[0] == other.references[0]
    assert one.references[0] != one.references[1]
    assert 1 == len({one, other})
    assert 2 == len({*one.references, *other.references})
    for again in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):
        assert (one, one.raw, one.name, one.file) == (again, again.raw, again.name, again.file)
    assert pickle.loads(pickle.dumps(one.aggregator)) == one.aggregator


def test_no_repr_holds_content(traces):
    """Nor does the text of a problem."""
    turn = read.open(traces).turn("first")
    for one in (turn, *turn.all_calls, turn.writer, read.open(traces), read.stats(traces), *turn.fidelity()):
        assert "reference says" not in repr(one)
        assert "Question" not in repr(one)


def test_a_call_that_is_the_sum_of_others_counts_once(desk):
    """Several calls inside one; a single one, and a retry, are the outer's own."""

    @moa.reference(model="inner")
    def inner(messages):
        return {"choices": [{"message": {"content": "part"}}], "usage": {"prompt_tokens": 7, "cost": 0.25}}

    @moa.reference(model="outer")
    def outer(messages, times):
        said = [inner(messages) for _ in range(times)]
        return {**said[0], "usage": {"prompt_tokens": 7 * times, "cost": 0.25 * times}}

    @moa.turn(session_id="s")
    def create(times):
        outer(ask(), times)

    moa.configure(save_traces=True, trace_dir=desk / "traces")
    for times in (1, 2, 3):
        create(times)
    for times, turn in enumerate(read.open(desk / "traces"), 1):
        assert (times, 7 * times, 0.25 * times) == (turn.call_count, turn.usage.input_tokens, turn.cost.known_usd)
        assert (turn.totals["calls"], turn.totals["cost_usd"]) == (turn.call_count, turn.cost.known_usd)


@pytest.mark.parametrize("late", [False, True])
def test_sums_within_sums_count_once(desk, late):
    """A call around a call around several, as a router with fallbacks is; also if all of it ends after the turn."""
    begun, go_on = threading.Event(), threading.Event()

    def said(times):
        usage = {"prompt_tokens": 7 * times, "cost": 0.25 * times}
        return {"choices": [{"message": {"content": "a part"}}], "usage": usage}

    @moa.reference(model="inner")
    def inner(messages):
        return said(1)

    @moa.reference(model="middle")
    def middle(messages):
        for _ in range(3):
            inner(messages)
        return said(3)

    @moa.reference(model="outer")
    def outer(messages):
        if late:
            begun.set()
            assert go_on.wait(20)
        return middle(messages)

    @moa.turn(session_id="s")
    def create():
        thread = threading.Thread(target=outer, args=(ask(),))
        thread.start()
        if not late:
            thread.join()
        else:
            assert begun.wait(20)
        return thread

    moa.configure(save_traces=True, trace_dir=desk / "traces")
    thread = create()
    go_on.set()
    thread.join()
    moa.flush()
    (turn,) = read.open(desk / "traces")
    assert (3, 21, 0.75) == (turn.call_count, turn.usage.input_tokens, turn.cost.known_usd)
    assert ({"inner"}, 4) == ({call.model for call in turn.requests}, len(turn.all_calls))


def test_what_a_middleware_answers_is_no_call(desk):
    """It asked no model, and cost nothing."""

    def cache(call):
        if call.model == "ref-0":
            return reply("from the cache", cost=0.5)
        yield call

    moa.configure(save_traces=True, trace_dir=desk / "traces", session_id="s", middleware=[cache])
    Plain("one", cost=0.5).create(ask())
    moa.configure(middleware=[])
    (turn,) = read.open(desk / "traces")
    assert (1, 2, 0.5, 0) == (turn.call_count, len(turn.all_calls), turn.cost.known_usd, turn.cost.unpriced)


def test_a_record_without_calls_tells_how_many_there_were():
    """The writer could not make it whole: its calls are known by number, and unpriced."""
    totals = {"calls": 3, "failed": 0, "usage": {}, "cost_usd": None, "unpriced": 3}
    turn = TurnView({"turn_id": "t", "references": [], "aggregator": None, "calls": [], "totals": totals})
    assert (3, "unknown (3 unpriced)") == (turn.call_count, str(turn.cost))
    line = {**turn.as_dict(), "schema": "moa-turn/1"}
    for by in ("model", "preset"):
        found = read.stats(io.BytesIO(json.dumps(line).encode()), by)
        # Of no model that is known, but in the rows, which sum up to the whole.
        assert [(None, 1, 3, 3)] == [(row.key, row.turns, row.calls, row.cost.unpriced) for row in found]
        assert 3 == found.total.calls


@pytest.mark.parametrize("by", [None, "model", "session"])
def test_calls_that_tell_no_tokens_are_counted(by):
    """As many as a sum lacks: a stream of OpenAI's tells none unless it is asked to. What a cache answered lacks none."""
    told = {"usage": {"input_tokens": 7.0, "output_tokens": None}}
    calls = [told, {"usage": None}, {"usage": {"cache_read_tokens": 3}}, {"source": "cache"}]
    references = [{"label": "a", "model": "m", "outcome": "completed", **call} for call in calls]
    line = {"schema": "moa-turn/1", "turn_id": "t", "references": references}
    found = read.stats(io.BytesIO(json.dumps(line).encode()), by)
    assert (3, 2, 7) == (found.total.calls, found.total.calls_without_usage, found.total.usage.input_tokens)
    assert [2] == [row.calls_without_usage for row in found.rows]


def test_a_timeline_tells_who_was_waited_for():
    """The slowest reference has no slack; one that ended after the aggregator began was not waited for."""
    times = {"a": (10.0, 11.0), "b": (10.0, 12.5), "c": (10.5, 15.0)}
    references = [
        {"label": name, "started_at": start, "ended_at": end, "outcome": "completed", "cost_usd": 0.25}
        for name, (start, end) in times.items()
    ]
    aggregator = {"label": "agg", "started_at": 13.0, "ended_at": 14.0, "outcome": "completed", "cost_usd": 0.25}
    running = {"label": "d", "started_at": 12.0, "outcome": None}
    turn = TurnView({"started_at": 10.0, "references": [*references, running], "aggregator": aggregator})
    assert [
        ("a", 0.0, 1000.0, 0.25, 1500.0),
        ("b", 0.0, 2500.0, 0.25, 0.0),
        ("c", 500.0, 5000.0, 0.25, None),
        ("d", 2000.0, None, None, None),
        ("agg", 3000.0, 4000.0, 0.25, None),
    ] == [(one.call.name, one.start_ms, one.end_ms, one.cost_share, one.slack_ms) for one in turn.timeline()]
    assert () == TurnView({}).timeline()
    assert [(None, None)] == [
        (o.start_ms, o.cost_share) for o in TurnView({"references": [{"cost_usd": 0}]}).timeline()
    ]


@pytest.mark.parametrize(
    ("times", "slack"),
    [
        ({"a": (10.0, 11.0), "b": (11.0, 12.0), "c": (12.001, 13.0)}, {"a": 0.0, "b": 0.0, "c": 0.0}),
        (
            {"a": (10.0, 11.0), "b": (10.0, 12.0), "c": (12.01, 13.0), "d": (12.01, 14.0)},
            {"a": 1000.0, "b": 0.0, "c": 1000.0, "d": 0.0},
        ),
        ({"a": (10.0, 11.0), "b": (12.0, 13.0)}, {"a": 2000.0, "b": 0.0}),
    ],
    ids=["chain", "layers", "begun for another reason"],
)
def test_a_reference_that_the_next_one_waited_for_has_no_slack(times, slack):
    """Had the first of a chain been slower, all that follows would have been later."""
    references = [{"label": name, "started_at": start, "ended_at": end} for name, (start, end) in times.items()]
    turn = TurnView(
        {"started_at": 10.0, "references": references, "aggregator": {"started_at": 15.0, "ended_at": 16.0}}
    )
    assert slack == {one.call.name: round(one.slack_ms) for one in turn.timeline() if one.slack_ms is not None}


def test_results_as_json(traces):
    """Every result, in a form that `json` writes."""
    run = read.open(traces)
    turn = run.turn("last")
    results = (
        *(turn, turn.fidelity(), turn.overlap(), turn.timeline(), turn.cost, turn.usage, run.stats("model")),
        *(run.verify(), read.compare(run, run), run.tree(turn), read.prune(traces, older_than="1d", dry_run=True)),
        *(list(read.scan(traces)), {"a": turn.aggregator}, read.CODES, turn.writer),
    )
    written = [json.loads(json.dumps(read.to_jsonable(one), allow_nan=False)) for one in results]
    assert {"name": "s-1#3", "file": turn.file, "line": 3, "record": turn.as_dict()} == written[0]
    estimated = {"estimated_usd": None, "estimated": 0, "price_table": None}
    assert {"known_usd": 0.75, "unpriced": 0, **estimated, "complete": True, "total_usd": 0.75} == written[4]
    assert {"count", "p50", "p95", "longest", "mean"} == set(written[6]["total"]["turn_ms"])
    assert "torn-line" == read.to_jsonable(read.Problem("E101", "x"))["name"]


def test_the_schema_is_that_of_real_lines(traces):
    """And refuses what is no line."""
    import jsonschema

    schema = read.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for turn in read.open(traces):
        assert [] == list(validator.iter_errors(json.loads(turn.raw)))
    assert list(validator.iter_errors({"schema": "moa-turn/1"}))


# Notebooks -----------------------------------------------------------------------------------------

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</iframe><iframe src=javascript:alert(1)>",
    "&lt;b&gt;<b>bold</b>",
    "\x1b]52;c;aGk=\x07 \u202e reversed \x9b31m",
    "' onmouseover='alert(1)",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_notebook_shows_a_turn_as_text(text):
    """In a frame with an empty sandbox; every text is escaped twice, once for each document."""
    call = {"label": text, "model": text, "role": text, "outcome": text, "output": text}
    turn = TurnView(
        {"turn_id": "t", "session_id": text, "preset": text, "outcome": text, "output": text, "references": [call]}
    )
    shown = turn._repr_html_()
    frame = re.fullmatch(r'<iframe sandbox="" [^<>]*srcdoc="([^"<>]*)"></iframe>', shown)
    assert frame is not None
    page = html.unescape(frame[1])
    assert "default-src 'none'" in page
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z!]+)", page))
    assert tags <= {"!doctype", "meta", "style", "b", "pre", "table", "tr", "th", "td", "details", "summary"}
    assert "<b>bold" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page)


def test_a_notebook_frame_is_bounded():
    """A text of megabytes is cut in the view, and the view says so."""
    turn = TurnView({"turn_id": "t", "output": "x" * 5_000_000, "references": []})
    assert len(turn._repr_html_()) < 100_000
    assert "not in the trace" in turn._repr_html_()


# Tables --------------------------------------------------------------------------------------------


def test_a_run_as_tables(traces):
    """One row a turn, a call, a message; sums are those of the reader."""
    pytest.importorskip("pyarrow")
    write(traces / "seed.jsonl", SEED)
    run = read.open(traces)
    turns, calls, messages = run.tables()
    assert (7, 21) == (turns.num_rows, calls.num_rows)
    known = [one for one in turns.column("cost_usd").to_pylist() if one is not None]
    assert math.fsum(known) == pytest.approx(run.cost().known_usd)
    assert run.stats().total.usage.input_tokens == sum(n or 0 for n in turns.column("input_tokens").to_pylist())
    first = next(iter(run))
    row = turns.to_pylist()[0]
    assert (first.id, first.session_id, 1, 3, first.ts) == (
        row["turn"],
        row["session_id"],
        row["number"],
        row["calls"],
        row["ts"],
    )
    rows = [row for row in messages.to_pylist() if row["turn"] == first.id and row["call"] == 2]
    assert ["system", "user", "assistant"] == [row["role"] for row in rows]
    assert [False, False, True] == [row["is_output"] for row in rows]
    assert first.aggregator.output == rows[-1]["text"]
    assert {"role": "user", "content": "Question 0?"} == json.loads(rows[1]["content"])
    assert ["reference", "reference", "aggregator"] == calls.column("role").to_pylist()[:3]
    assert 3 == run.tables(session="s-0").turns.num_rows
    assert turns.schema == run.tables(session="nobody").turns.schema


def test_tables_take_what_arrow_does_not(desk):
    """Lone surrogates, and numbers of more than 64 bits."""
    pytest.importorskip("pyarrow")
    usage = {"input_tokens": 2**70}
    call = {
        "output": "half \ud83d",
        "usage": usage,
        "chunks": 2**65,
        "label": "\udc00",
        "input_messages": ["\ud800", 5],
    }
    record = {"schema": "moa-turn/1", "turn_id": "t", "references": [call], "aggregator": None, "tags": {"a": "\ud800"}}
    path = desk / "x.jsonl"
    path.write_text(json.dumps(record))
    turns, calls, messages = read.open(path).tables()
    assert "half \\ud83d" == calls.column("output").to_pylist()[0]
    assert [None, None] == [turns.column("input_tokens").to_pylist()[0], calls.column("chunks").to_pylist()[0]]
    assert 3 == messages.num_rows


def test_without_the_extra_the_error_names_it(traces):
    """And nothing but `tables` needs it."""
    code = """
import sys
sys.modules["pyarrow"] = None
from moa_middleware import errors, read
run = read.open(sys.argv[1])
run.stats(), run.verify()
try:
    run.tables()
except errors.ExtraMissingError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, traces], capture_output=True, text=True, check=True)
    assert 'Run.tables needs the extra "tables": pip install "moa-middleware[tables]"\n' == done.stdout


# The house -----------------------------------------------------------------------------------------

GROUND = {"_unsafe", "errors", "records", "settings", "_redaction", "_layout", "_version"}


def test_the_wings_know_nothing_of_each_other():
    """The reading one imports the ground floor alone, and no module of capture imports it."""
    for name, path in modules():
        parts = [one.split(".") for one in imports(path)]
        ours = {part[1] for part in parts if part[0] == "moa_middleware" and len(part) > 1}
        if name.split(".")[0] == "read":
            assert ours <= GROUND | {"read"}, name
        elif not name.startswith(("cli", "report")):
            assert "read" not in ours, name


def test_importing_the_reading_wing_imports_nothing_of_capture_and_nothing_heavy():
    """Neither the live path's modules nor pydantic, pyarrow, rich or typer."""
    code = (
        "import sys; before = set(sys.modules); from moa_middleware import read; new = set(sys.modules) - before; "
        "print(sorted(n for n in new if n.split('.')[0] in ('rich', 'typer', 'pyarrow', 'openai', 'pydantic')"
        " or n.startswith('moa_middleware._capture.tracing')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout


def test_public_names_are_there_and_documented():
    """Each has an entry in the reference."""
    assert len(set(read.__all__)) == len(read.__all__)
    assert all(hasattr(read, name) for name in read.__all__)
    text = (ROOT / "docs" / "reference" / "read.md").read_text(encoding="utf-8")
    entries = set(re.findall(r"^::: moa_middleware\.read\.(?:\w+\.)*(\w+)$", text, re.MULTILINE))
    entries |= set(re.findall(r"^\| `read\.(\w+)`", text, re.MULTILINE))
    assert set(read.__all__) == entries
