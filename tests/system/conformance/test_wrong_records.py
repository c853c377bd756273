"""The conformance suite finds records that say other than what happened; its reports, and what it leaves behind."""

from __future__ import annotations

import copy
import gc
import logging
import pickle
import subprocess
import sys
import threading
import unittest
from functools import reduce

import pytest

import moa_middleware as moa
from moa_middleware._capture import recorder
from moa_middleware.testing import conformance
from moa_middleware.testing.conformance._record_check import complaints
from moa_middleware.testing.conformance._scenario_run import run_once
from tests.support.worlds.faults import Fails, Prints, Right, case_of, fault_of
from tests.support.worlds.world_plain import Dicts, Function

# Records that say other than what happened. -------------------------------------------------------


@pytest.fixture(scope="module")
def sights():
    """Return a function from the name of a scenario to what was seen of it, with traces on."""
    known = {}

    def sight(name):
        if name not in known:
            case = case_of(Dicts, name)
            known[name] = run_once(case.scenario, Dicts, "sync", "on", None)
            assert [] == list(complaints(known[name]))
        return copy.copy(known[name])

    return sight


CALL = ("references", 0)
TAMPERED = [
    ("value", ("outcome",), "closed", "outcome of the turn: expected 'completed', found 'closed'"),
    ("value", ("output",), None, "output of the turn: expected 'One two three four five.', found None"),
    ("value", ("instrumentation_errors",), 1, "instrumentation_errors: expected 0, found 1"),
    ("value", ("totals", "failed"), 1, "totals.failed: expected 0, found 1"),
    ("value", ("totals", "calls"), 2, "totals.calls: expected 1, found 2"),
    ("value", ("duration_ms",), None, "ended_at and duration_ms of the turn: missing"),
    ("value", ("ts",), 0.0, "ts: it was written before it began"),
    ("value", ("schema",), "moa-turn/0", "a line is no moa-turn/1: 'moa-turn/0'"),
    ("value", ("writer", "seq"), "1", "a line is malformed at writer.seq: "),
    ("value", ("writer", "extra"), 1, "a line has keys that the record does not have: ['writer.extra']"),
    ("value", (*CALL, "outcome"), "abandoned", "outcome: expected 'completed', found 'abandoned'"),
    ("value", (*CALL, "model"), "other", "model: expected 'm', found 'other'"),
    ("value", (*CALL, "streamed"), True, "streamed: expected False, found True"),
    ("value", (*CALL, "source"), "cache", "source: expected 'provider', found 'cache'"),
    ("value", (*CALL, "late"), True, "late: expected False, found True"),
    ("value", (*CALL, "usage"), {}, "usage: expected {'input_tokens': 7, 'output_tokens': 5}"),
    ("value", (*CALL, "finish_reason"), None, "finish_reason: expected 'stop', found None"),
    ("value", (*CALL, "output_location"), "absent", "output_location: expected 'inline', found 'absent'"),
    ("value", (*CALL, "input_messages"), [], "0 of the lines have this question in their request"),
    ("value", (*CALL, "duration_ms"), -1.0, "duration_ms of the call: it ended"),
    ("read_by_for", (*CALL, "chunks"), 5, "chunks: expected 6, found 5"),
    ("read_by_for", (*CALL, "first_chunk_ms"), None, "first_chunk_ms: missing"),
    ("read_by_for", (*CALL, "first_chunk_ms"), 1e9, "first_chunk_ms: 1000000000.0 is not between 0 and duration_ms"),
    ("read_by_for", (*CALL, "output"), "One two ", "output: expected 'One two three four five.', found 'One two '"),
    ("cut_in_the_middle", (*CALL, "error"), None, "error: expected ('ConnectionError', 'connection lost'), found None"),
    ("cut_in_the_middle", ("error", "message"), "x", "error of the turn: expected ('ConnectionError', 'connection lo"),
    ("stream_without_usage", (*CALL, "usage"), {"input_tokens": 0}, "usage: expected {}, found {'input_tokens': 0}"),
]


@pytest.mark.parametrize(("name", "path", "value", "told"), TAMPERED, ids=lambda one: str(one)[:40])
def test_a_wrong_record_is_found(sights, name, path, value, told):
    """Each key that a scenario determines is compared, whichever it is."""
    sight = sights(name)
    (line,) = sight.lines = copy.deepcopy(sight.lines)
    if line["aggregator"] is not None:
        path = ("aggregator", *path[2:]) if path[: len(CALL)] == CALL else path
    *steps, last = path
    reduce(lambda part, step: part[step], steps, line)[last] = value
    assert any(told in found for found in complaints(sight)), list(complaints(sight))


def test_a_line_that_belongs_to_nothing_is_found(sights):
    """One line too many is one too many."""
    sight = sights("value")
    sight.lines = sight.lines * 2
    assert ["lines: 1 expected, 2 written (outcomes: ['completed', 'completed'])"] == list(complaints(sight))


def test_two_replies_that_were_mixed_up_are_found(sights):
    """Records are told apart by their requests, so a reply under the wrong one is found."""
    sight = sights("two_streams_interleaved")
    sight.lines = copy.deepcopy(sight.lines)
    calls = [line["aggregator"] or line["references"][0] for line in sight.lines]
    calls[0]["input_messages"], calls[1]["input_messages"] = calls[1]["input_messages"], calls[0]["input_messages"]
    assert any("outcome: expected 'completed', found 'abandoned'" in found for found in complaints(sight))


class ChecksMore(Dicts):
    def check(self, turn):
        if turn["session_id"] != "s-1":
            raise AssertionError("session_id: not that of the caller")


def test_a_world_may_check_more_of_a_record():
    """Its assertion is told as a fault of the record."""
    mode, what = fault_of(ChecksMore, "value")
    assert "on" == mode
    assert what.endswith("session_id: not that of the caller")


# Reports, and what the suite leaves behind. -------------------------------------------------------


def test_a_report_counts_and_names():
    """Passed, failed and skipped are told, and what was skipped for lack of what."""
    seen = []
    report = conformance.run(Prints, each=seen.append)
    assert list(report.results) == seen
    assert len(report.passed) + len(report.failures) + len(report.skipped) == len(conformance.cases(Prints))
    assert all(", off: printed: " in one.reason for one in report.failures)
    told = str(report).splitlines()
    assert f"0 passed, {len(report.failures)} failed, {len(report.skipped)} skipped" == told[0]
    assert told[1].startswith("failed: Prints-")
    assert told[-1].startswith("skipped for lack of: choices, finish_reason, manager")
    with pytest.raises(AssertionError, match="failed: Prints-value-sync, off: printed"):
        report.check()


def test_a_report_of_nothing_does_not_pass():
    """A world for which everything is skipped is no success."""
    with pytest.raises(AssertionError, match="0 passed, 0 failed, 0 skipped"):
        conformance.ConformanceReport(()).check()


def test_a_good_report_passes():
    """A world that conforms raises nothing."""
    report = conformance.run(Function)
    report.check()
    assert not report.failures


def test_a_case_tells_what_it_lacks():
    """It is named, described, and skipped with the reason."""
    (case,) = [one for one in conformance.cases(Function) if one.scenario.name == "closed_early"]
    assert "Function-closed_early-sync" == str(case)
    assert "Close after two pieces." == case.description
    assert "Function does not support close, stream" == case.lacking
    with pytest.raises(unittest.SkipTest, match="Function does not support close, stream"):
        case.check()


class Chunk:
    """A piece of a class that `piece_of` of `ClientHarness` does not know."""


class Forgets(conformance.ClientHarness):
    """Its author forgot `piece_of`."""

    supports = frozenset({"sync", "stream", "cut"})

    def make_client(self):
        class Client:
            def create(self, messages, stream=True):
                yield Chunk()
                raise ConnectionError

        return Client()

    def call(self, client, messages, *, stream):
        return client.create(messages, stream=stream)


def test_what_a_world_lacks_is_told_as_that_in_every_case():
    """No scenario takes it for the error that it had planned."""
    found = [result for result in conformance.run(Forgets).results if result.case.scenario.name == "cut_in_the_middle"]
    assert [result.verdict for result in found].count("failed") == 1
    for result in (each for each in found if each.verdict == "failed"):
        assert "Forgets does not define `piece_of`" in result.reason, result


def test_every_scenario_is_described():
    """A sentence each, for reports."""
    for case in conformance.cases(Dicts):
        assert case.description.endswith("."), case


def test_the_error_can_be_pickled():
    """Test runners send it between processes."""
    error = pickle.loads(pickle.dumps(conformance.ConformanceError("case", "on", "what")))
    assert ("case, on: what", "on", "what") == (str(error), error.mode, error.what)


class Long(Function):
    def instrument(self, client):
        return lambda messages: client(messages) + "x" * 100_000


def test_a_long_reply_is_not_dumped():
    """The message shows where two replies differ, and no more of them."""
    mode, what = fault_of(Long, "value")
    assert "off" == mode
    assert len(what) < 600
    assert "five.xxx" in what


def test_nothing_is_left_behind():
    """Settings, hooks and the collector are as before, also after a fault."""

    def state():
        now = recorder.state
        hooks = sys.unraisablehook, threading.excepthook, sys.stdout, sys.stderr
        return (dict(now.overrides), now.listeners, now.on_turn, now.writer, *hooks, gc.isenabled())

    moa.configure(save_traces=False, session_id="mine")
    before = state()
    case_of(Right, "value").check()
    fault_of(Fails, "value")
    assert before == state()
    assert [] == logging.getLogger("moa_middleware").handlers


def test_the_callers_settings_do_not_matter(monkeypatch, tmp_path):
    """Traces that the developer has switched on are neither written to nor counted."""
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("MOA_TURNS", "fanout")
    case_of(Right, "value").check()
    assert not (tmp_path / "mine").exists()


def test_it_needs_no_test_framework():
    """A script may run it with what the library itself needs."""
    code = (
        "import sys\n"
        "from moa_middleware.testing import conformance\n"
        "class Echo(conformance.ClientHarness):\n"
        "    def make_client(self):\n"
        "        return lambda messages: ''.join(self.play(messages))\n"
        "    def instrument(self, client):\n"
        "        import moa_middleware as moa\n"
        "        return moa.reference(client)\n"
        "    def call(self, client, messages, *, stream):\n"
        "        return client(messages)\n"
        "print(str(conformance.run(Echo)).splitlines()[0])\n"
        "print(sorted({'pytest', 'jsonschema', 'openai', 'httpx', 'httpx2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    summary, loaded = done.stdout.splitlines()
    assert " 0 failed, " in summary
    assert not summary.startswith("0 passed")
    assert "[]" == loaded
