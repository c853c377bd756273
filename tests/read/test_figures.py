"""Figures: what a run cost and how it went, against what the server itself received and sent."""

from __future__ import annotations

import json
import math
import re
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import openai
import pytest

import moa_middleware as moa
from moa_middleware import errors, read
from moa_middleware.testing import Script, ScriptedServer

from .conftest import SEED, Plain, ask, records, write

REFERENCES = ("ref-a", "ref-b", "ref-c")
TURNS = 210
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


class World:
    """A scripted server whose models fail, dawdle and call tools where a prompt says so."""

    def __init__(self):
        self.gates = defaultdict(threading.Event)
        self.server = ScriptedServer(dict.fromkeys((*REFERENCES, "agg", "inner"), self.model))

    def model(self, body):
        name, text = body["model"], json.dumps(body["messages"])
        head = re.search(r"\[(\d+)\|[^]]*\]", text)
        number = int(head[1])
        if f"fail {name}" in text:
            return Script(status=500, error={"message": "out of order"})
        if f"break {name}" in text:
            return Script("a reply that never comes to its end", break_after=2)
        usage = {
            "prompt_tokens": 100 + number,
            "completion_tokens": 7 + number % 13,
            "prompt_tokens_details": {"cached_tokens": number % 5},
            "completion_tokens_details": {"reasoning_tokens": number % 3},
        }
        if number % 4:
            usage["cost"] = 0.000123 + number * 1.7e-7 + len(name) * 1e-5
        wait = None
        if f"late {name}" in text:
            gate = self.gates[number]

            def wait():
                assert gate.wait(30)

        calls = ()
        if name == "agg" and f"tool {number}" in text and '"tool"' not in text:
            calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
        said = f"{head[0]} {name} answers question {number} at some length"
        return Script(said, usage=usage, usage_always=True, tool_calls=calls, wait=wait)


class Mixture:
    """Three references in threads, an aggregator that streams and may call a tool, and a turn inside the turn."""

    def __init__(self, sdk):
        self.sdk = sdk
        self.pool = ThreadPoolExecutor(8)
        self.left = []

    @moa.reference(label=lambda self, model, messages: f"slot {model}")
    def ask(self, model, messages):
        return self.sdk.chat.completions.create(model=model, messages=messages)

    @moa.aggregator
    def act(self, messages):
        return self.sdk.chat.completions.create(
            model="agg", messages=messages, stream=True, stream_options={"include_usage": True}
        )

    @moa.turn
    def create(self, messages, nested=None):
        text = messages[0]["content"]
        asked = {model: self.pool.submit(self.ask, model, messages) for model in REFERENCES}
        told = []
        for model, future in asked.items():
            if f"late {model}" in text:
                self.left.append(future)
                continue
            with suppress(openai.APIError):
                told.append(future.result().choices[0].message.content)
        if nested is not None:
            told.append(nested.create(messages))
        messages = [*messages, {"role": "system", "content": "\n".join(told)}]
        said, calls = self.read(self.act(messages))
        if calls:
            messages = [
                *messages,
                {"role": "assistant", "content": said, "tool_calls": calls},
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
            ]
            said, _ = self.read(self.act(messages))
        return said

    @staticmethod
    def read(stream):
        said, called = "", False
        for chunk in stream:
            for choice in chunk.choices:
                said += choice.delta.content or ""
                called = called or bool(choice.delta.tool_calls)
        calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
        return said, calls if called else []


class Inner:
    """A turn of one call."""

    def __init__(self, sdk):
        self.sdk = sdk

    @moa.turn
    def create(self, messages):
        return self.sdk.chat.completions.create(model="inner", messages=messages).choices[0].message.content


def question(number):
    """Return a question that says what goes wrong with it."""
    marks = []
    if number % 7 == 0:
        marks.append("fail ref-b")
    if number % 11 == 0:
        marks.append("fail ref-a")
    if number % 31 == 0:
        marks.append("break agg")
    if number % 10 == 3:
        marks.append("late ref-c")
    if number % 9 == 4:
        marks.append(f"tool {number}")
    session, preset = f"s-{number % 3}", ("alpha", "beta")[number % 2]
    return session, preset, ask(f"[{number}|{session}|{preset}] What is {number}? {', '.join(marks)}")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run 210 turns, then damage the directory as crashes and strangers do; return it and the server."""
    path = tmp_path_factory.mktemp("ran") / "traces"
    world = World()
    with world.server as server:
        moa.configure(save_traces=True, trace_dir=path)
        sdk = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0))
        client, inner = Mixture(sdk), Inner(sdk)
        for number in range(TURNS):
            session, preset, messages = question(number)
            with moa.tag(session_id=session, preset=preset), suppress(openai.APIError, Exception):
                client.create(messages, inner if number % 8 == 5 else None)
            world.gates[number].set()
            for future in client.left:
                future.exception(30)
            client.left.clear()
        client.pool.shutdown()
        moa.flush()
    with (path / "s-0.jsonl").open("ab") as file:
        file.write(b'{"some": "object"}\nno JSON at all\n\n[1, 2]\n')
        file.write(b'{"schema":"moa-turn/1","ts":1790000000.1,"turn_id":"torn","references":[{"output":"half a sen')
    write(path / "seed.jsonl", SEED, {**SEED, "ts": SEED["ts"] + 1})
    moa.uninstrument(sdk)
    return path, server


def name_of(received):
    return received.body["model"]


def marker(text):
    found = re.search(r"\[(\d+)\|(s-\d)\|(\w+)\]", text)
    return found[1], found[2], found[3]


def sums(sent):
    """Count the tokens of what was sent, in plain Python."""
    found = dict.fromkeys(TOKENS, 0)
    for one in sent:
        if one.usage is None:
            continue
        cached = one.usage["prompt_tokens_details"]["cached_tokens"]
        found["input_tokens"] += one.usage["prompt_tokens"] - cached
        found["cache_read_tokens"] += cached
        found["output_tokens"] += one.usage["completion_tokens"]
        found["reasoning_tokens"] += one.usage["completion_tokens_details"]["reasoning_tokens"]
    return found


def check(row, received, sent):
    """Compare a row with what a server received and sent."""
    assert len(received) == row.calls
    assert sum(one.status != 200 or not one.complete for one in sent) == row.failed
    found = {name: getattr(row.usage, name) or 0 for name in TOKENS}
    assert sums(sent) == found
    dollars = [one.usage["cost"] for one in sent if one.usage and "cost" in one.usage]
    assert row.cost.known_usd == pytest.approx(math.fsum(dollars), abs=1e-9)
    assert len(received) - len(dollars) == row.cost.unpriced


def test_the_figures_of_each_model_are_those_of_the_server(ran):
    """Calls, failures and tokens exactly, dollars to 1e-9, late calls and tool loops among them."""
    path, server = ran
    found = read.open(path).stats(by="model")
    assert {"ref-a", "ref-b", "ref-c", "agg", "inner", "gpt-4.1", "broken", "claude"} == {row.key for row in found}
    for model in (*REFERENCES, "agg", "inner"):
        received = [one for one in server.received if name_of(one) == model]
        sent = [one for one in server.sent if one.model == model]
        assert len(received) == len(sent)
        check(found.row(model), received, sent)
    assert found.row("ref-c").late == sum(number % 10 == 3 for number in range(TURNS)) > 20
    assert 0 == sum(row.pending for row in found)


def test_the_figures_of_the_whole_run_are_those_of_the_server(ran):
    """Without the old lines that lie beside them."""
    path, server = ran
    run = read.open(path)
    check(run.stats(session=["s-0", "s-1", "s-2"]).total, server.received, server.sent)
    turns = [turn for turn in run.turns() if turn.session_id != "seed"]
    nested = [turn for turn in turns if turn.parent_turn_id is not None]
    assert TURNS == len(turns) - len(nested)
    assert sum(number % 8 == 5 for number in range(TURNS)) >= len(nested) > 10


@pytest.mark.parametrize("by", ["session", "preset"])
def test_the_figures_of_sessions_and_presets_are_those_of_the_server(ran, by):
    """Grouped by what the prompts that the server received say."""
    path, server = ran
    place = {"session": 1, "preset": 2}[by]
    found = read.open(path).stats(by=by, session=("s-0", "s-1", "s-2"))
    calls = Counter(marker(json.dumps(one.body["messages"]))[place] for one in server.received)
    assert calls == {row.key: row.calls for row in found}
    for row in found:
        sent = [one for one in server.sent if one.usage and marker(one.text)[place] == row.key]
        assert sums(sent) == {name: getattr(row.usage, name) or 0 for name in TOKENS}
        dollars = math.fsum(one.usage.get("cost", 0) for one in sent)
        assert row.cost.known_usd == pytest.approx(dollars, abs=1e-9)


def test_each_turn_agrees_with_the_server(ran):
    """The tokens and the price of every single turn, tool loops and late calls included."""
    path, server = ran
    sent = defaultdict(list)
    for one in server.sent:
        if one.usage:
            sent[marker(one.text)[0], one.model == "inner"].append(one)
    seen = 0
    for turn in read.open(path).turns(session=["s-0", "s-1", "s-2"]):
        number = marker(json.dumps(turn.input_messages))[0]
        own = sent[number, turn.parent_turn_id is not None]
        assert sums(own) == {name: getattr(turn.usage, name) or 0 for name in TOKENS}
        dollars = math.fsum(one.usage.get("cost", 0) for one in own)
        assert (turn.cost.known_usd or 0) == pytest.approx(dollars, abs=1e-9)
        seen += 1
    assert seen >= TURNS


def test_the_record_of_a_turn_without_late_calls_has_the_same_sums(ran):
    """What the reader counts from the calls is what the writer summed when the turn closed."""
    path, _ = ran
    compared = 0
    for turn in read.open(path).turns(session=["s-0", "s-1", "s-2"]):
        if turn.late_calls:
            continue
        totals = turn.totals
        assert (totals["calls"], totals["failed"]) == (turn.call_count, turn.failed_calls)
        assert totals["unpriced"] == turn.cost.unpriced
        assert totals["cost_usd"] == pytest.approx(turn.cost.known_usd)
        assert {name: totals["usage"].get(name) for name in TOKENS} == {n: getattr(turn.usage, n) for n in TOKENS}
        compared += 1
    assert compared > 150


def test_late_references_have_their_real_outcome_in_their_place(ran):
    """The turn's line had `null` there; the reader joins what ended later."""
    path, _ = ran
    joined = 0
    for turn in read.open(path):
        raw = json.loads(turn.raw)
        for listed, call in zip(raw["references"], turn.references, strict=True):
            if "outcome" in listed and listed["outcome"] is None:
                assert ("completed", True, False) == (call.outcome, call.late, call.pending)
                assert call.output.startswith("[")
                assert listed["call_id"] == call.call_id
                joined += 1
    assert joined == sum(number % 10 == 3 for number in range(TURNS))


def test_parents_have_their_children(ran):
    """And a tree costs what its turns cost together."""
    path, _ = ran
    run = read.open(path)
    inner = next(turn for turn in run if turn.parent_turn_id is not None)
    outer = run.parent(inner)
    assert (inner,) == run.children(outer)
    tree = run.tree(outer)
    assert [outer, inner] == list(tree.walk())
    assert outer.cost + inner.cost == tree.cost
    assert outer.usage + inner.usage == tree.usage
    assert run.parent(outer) is None
    assert () == run.children(inner)


def test_the_damage_is_named_and_costs_no_turn(ran):
    """A torn tail and foreign lines are problems of their own; nothing else is wrong."""
    path, _ = ran
    report = read.verify(path)
    assert {"E101": 1, "E102": 3} == dict(report.counts)
    assert ["E102", "E102", "E102", "E101"] == [problem.code for problem in report.problems]
    assert {str(path / "s-0.jsonl")} == {problem.file for problem in report.problems}
    assert not report.clean


def test_the_answers_overlap_with_what_the_references_said(ran):
    """Every aggregator of this run got its references verbatim."""
    path, _ = ran
    standings = Counter(one.status for turn in read.open(path).turns(session="s-1") for one in turn.fidelity())
    assert {"verbatim", None} == set(standings)


# Groups and percentiles ----------------------------------------------------------------------------


def test_percentiles_are_nearest_ranks():
    """The smallest recorded value that p per cent of the values do not exceed."""
    values = [float(n) for n in range(1, 101)]
    assert [1.0, 1.0, 50.0, 95.0, 100.0] == [read.percentile(values, p) for p in (0, 1, 50, 95, 100)]
    assert 3.0 == read.percentile([1.0, 3.0, 9.0], 50)
    assert 1.0 == read.percentile([1.0, 3.0], 50)
    assert [7.0] * 3 == [read.percentile([7.0], p) for p in (0, 50, 100)]
    assert read.percentile([], 50) is None
    # 7 per cent of 100 values is the 7th, though 7 / 100 * 100 is more than 7.
    assert 7.0 == read.percentile(values, 7)
    with pytest.raises(errors.QueryError):
        read.percentile(values, 101)


def test_durations_are_those_of_the_records(traces):
    """Each recorded duration is kept, none is made up."""
    durations = [record["duration_ms"] for file in sorted(traces.glob("*.jsonl")) for record in records(file)]
    spread = read.stats(traces).total.turn_ms
    assert sorted(durations) == list(spread.values)
    assert (6, sorted(durations)[2], sorted(durations)[5]) == (spread.count, spread.p50, spread.p95)
    assert max(durations) == spread.longest
    assert math.fsum(durations) / 6 == spread.mean
    assert "values" not in repr(spread)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("model", ["agg", "ref-0", "ref-1"]),
        ("role", ["aggregator", "reference"]),
        ("label", ["agg", "ref-0", "ref-1"]),
        ("provider", [None]),
        ("preset", ["duo"]),
        ("session", ["s-0", "s-1"]),
        ("outcome", ["completed"]),
    ],
)
def test_every_grouping(traces, by, keys):
    """The rows are in the order of their keys, and sum up to the total."""
    found = read.stats(traces, by)
    assert keys == [row.key for row in found.rows]
    assert 18 == found.total.calls == sum(row.calls for row in found)
    assert 4.5 == found.total.cost.known_usd == pytest.approx(sum(row.cost.known_usd for row in found))


def test_the_grouping_by_day_is_utc(traces):
    """A turn belongs to the day on which it began."""
    (row,) = read.stats(traces, "day")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", row.key)


def test_an_unknown_grouping_is_a_clear_error(traces):
    """It names what there is."""
    with pytest.raises(errors.QueryError, match="model, role, label"):
        read.stats(traces, "weather")
    with pytest.raises(KeyError):
        read.stats(traces, "model").row("nobody")


def test_unknown_costs_stay_unknown():
    """They are counted, never taken for nothing."""
    assert ">= $0.0380 (1 unpriced)" == str(read.Cost(0.038, 1))
    assert "$0.0412" == str(read.Cost(0.0412, 0))
    assert "unknown (2 unpriced)" == str(read.Cost(None, 2))
    assert "$0" == str(read.Cost())
    assert "$0.0000" == str(read.Cost(0.0))
    assert "$0.000012" == str(read.Cost(0.0000123))
    assert "$1,234.5000" == str(read.Cost(1234.5))
    assert read.Cost(0.5, 3) == read.Cost(0.25, 1) + read.Cost(0.25, 2)
    assert read.Cost(None, 3) == read.Cost(None, 1) + read.Cost(None, 2)
    assert not read.Cost(1.0, 1).complete


def test_a_million_small_prices_sum_exactly(desk):
    """The running sum loses nothing of a small price beside a large one."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path, session_id="s")
    for cost in (1e9, 0.1, 0.1, 0.1, -1e9):
        Plain("one answer", cost=cost).create(ask())
    assert 0.6 == pytest.approx(read.stats(path).total.cost.known_usd, abs=1e-9)


# Two runs ------------------------------------------------------------------------------------------


def test_two_runs_side_by_side(desk):
    """Turns are matched by what they were asked; differences are those of B less those of A."""
    for name, cost, answers in (("a", 0.25, ("one", "two")), ("b", 0.5, ("one", "three"))):
        moa.configure(save_traces=True, trace_dir=desk / name, session_id="s")
        for number in range(4 if name == "a" else 5):
            Plain(*answers, cost=cost, fails=(0,) if name == "b" and number == 3 else ()).create(ask(f"Q{number}"))
    found = read.compare(desk / "a", desk / "b")
    assert (4, 0, 1, 0) == (found.matched, found.only_a, found.only_b, found.same_output)
    assert ["agg", "ref-0", "ref-1"] == [row.key for row in found.rows]
    assert 1.5 == found.rows[0].cost_usd
    assert 0.2 == found.rows[1].failed_share
    assert [0.75, 0.75, 0.75, 0.25] == [pair.cost_usd for pair in found.costlier]
    assert ("s#4", "s#4", (False, False)) == (found.costlier[3].a, found.costlier[3].b, found.costlier[3].failed)
    assert found.total.a.calls == 12
    again = read.compare(read.open(desk / "a"), desk / "a", by=None, worst=1)
    assert (4, 4, ()) == (again.matched, again.same_output, again.costlier)
    assert () == again.rows
    assert 0 == again.total.cost_usd
    other = read.compare(desk / "a", desk / "b", by="preset", session="nobody")
    assert (0, 0) == (other.matched, other.only_b)
    assert other.total.failed_share is None
