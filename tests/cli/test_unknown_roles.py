"""Calls whose role is unknown, in all that reads a trace: they are shown as what they are."""

from __future__ import annotations

import json

import pytest

import moa_middleware as moa
from moa_middleware import read, report

TEXTS = [
    "The first draft of an answer.",
    "The second draft of an answer.",
    "The answer that was made of both.",
    "A title",
]


class Model:
    """Answers from a list."""

    def __init__(self):
        self.texts = iter(TEXTS)

    def create(self, model, messages):
        """Return the next text."""
        return next(self.texts)


@pytest.fixture
def traces(tmp_path):
    """Write a turn of two references, an answer, and a title that is made of the answer in the same block."""
    moa.configure(save_traces=True, trace_dir=tmp_path / "traces")
    model = moa.instrument(Model(), call="create")
    with moa.turn(session_id="s"):
        drafts = [model.create(name, [{"role": "user", "content": "Why?"}]) for name in ("ref-a", "ref-b")]
        answer = model.create("big", [{"role": "user", "content": f"Why? {drafts}"}])
        model.create("small", [{"role": "user", "content": f"A title for: {answer}"}])
    moa.flush()
    return tmp_path / "traces"


def test_the_reader_has_them_among_the_calls(traces):
    """Without an aggregator, and with each text."""
    (turn,) = read.open(traces)
    assert turn.aggregator is None
    assert [("call", "unknown", text) for text in TEXTS[2:]] == [
        (call.role, call.role_source, call.output) for call in turn.calls
    ]
    assert ["no aggregator"] * 2 == [one.reason for one in turn.fidelity()]
    assert 4 == len(turn.timeline())


def test_show_marks_them(run, traces):
    """In the head, in the rows, and where the aggregator is asked for."""
    shown = run("show", "last", str(traces))
    assert 0 == shown.returncode
    assert "roles     unknown of 2 calls; moa.tag(role=…) declares them" in shown.stdout
    assert "call?  big" in shown.stdout
    assert TEXTS[2] in shown.stdout
    asked = run("show", "last", str(traces), "--call", "agg")
    assert 0 != asked.returncode
    assert "has no aggregator, or it is unknown which call that is" in asked.stderr


@pytest.mark.parametrize("verb", [["ls"], ["stats"], ["verify"], ["show", "last", "--json"]], ids=" ".join)
def test_each_verb_reads_them(run, traces, verb):
    """None of them fails."""
    assert 0 == run(*verb, str(traces)).returncode


def test_a_report_holds_them(traces, tmp_path):
    """With what their role comes from."""
    page = tmp_path / "page.html"
    report.write(traces, page)
    assert '"role_source":"unknown"' in page.read_text()


def test_the_line_says_so(traces):
    """The line itself."""
    (line,) = [json.loads(line) for path in traces.rglob("*.jsonl") for line in path.open()]
    assert line["aggregator"] is None
    assert [("reference", "inferred", 1)] * 2 == [
        (call["role"], call["role_source"], call["layer"]) for call in line["references"]
    ]
    assert [("call", "unknown", None)] * 2 == [
        (call["role"], call["role_source"], call["layer"]) for call in line["calls"]
    ]
