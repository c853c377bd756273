"""What a reply holds next to its text, and what an error says, in the reader, `moa show` and the report."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

import moa_middleware as moa
from moa_middleware import read, report


class LimitError(Exception):
    """A failure with what SDKs keep of the response."""

    def __init__(self):
        super().__init__("Too fast.")
        self.status_code, self.code, self.request_id = 429, "rate_limit_exceeded", "req_1"


@moa.reference(label="cites", model="m-1")
def cites(prompt):
    """Return a reply with everything."""
    citation = {"url": "https://hats.example/1", "title": "Hats", "start_index": 0, "end_index": 2}
    message = {
        "content": "A hat.",
        "annotations": [{"type": "url_citation", "url_citation": citation}],
        "executed_tools": [{"type": "search", "output": "A brim."}],
    }
    return {
        "choices": [{"message": message, "native_finish_reason": "STOP", "stop_reason": "END"}],
        "provider": "Azure",
        "created": 1764000000,
        "total_duration": 5,
    }


@moa.reference(label="fails", model="m-2")
def fails(prompt):
    """Fail as an SDK does."""
    raise LimitError


@moa.turn(session_id="s")
def create(prompt):
    """Ask both."""
    with suppress(LimitError):
        fails(prompt)
    return cites(prompt)["choices"][0]["message"]["content"]


@pytest.fixture
def traces(desk):
    """Return a directory with the turn."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path)
    create("What is it?")
    moa.flush()
    return path


def test_the_reader_has_them(traces):
    """As attributes of a call and of its error; none is an unknown key."""
    [turn] = read.open(traces).turns()
    failed, call = turn.references
    error = failed.error
    assert (429, "rate_limit_exceeded", "req_1", None) == (
        error.status,
        error.code,
        error.request_id,
        error.retry_after,
    )
    assert ["https://hats.example/1"] == [one["url"] for one in call.citations]
    assert ["executed_tools"] == [one["type"] for one in call.parts]
    assert {"provider": "Azure", "native_finish_reason": "STOP"} == call.served_by
    assert ("END", 1764000000, {"total_duration": 5}) == (call.stop_sequence, call.created, call.timings)
    assert (None, {}, {}) == (call.logprobs, call.filters, call.extra)


def test_show_has_them(traces, run):
    """The turn, one call, and its JSON."""
    shown = run("show", "last", traces, "--full").stdout
    assert "Hats · https://hats.example/1" in shown
    assert "LimitError (429 rate_limit_exceeded): Too fast." in shown
    one = run("show", "last", traces, "--call", "ref:1").stdout
    for words in ("Azure · STOP", "executed_tools", "END"):
        assert words in one
    assert "req_1" in run("show", "last", traces, "--call", "ref:0").stdout
    assert "A brim." in json.dumps(json.loads(run("show", "last", traces, "--json").stdout))


def test_the_report_has_them(traces, desk):
    """Without content only who served it, and status and code."""
    page = desk / "run.html"
    report.write(traces, page)
    text = page.read_text()
    for words in ("hats.example/1", "A brim.", "Azure", "rate_limit_exceeded"):
        assert words in text
    report.write(traces, page, content=False)
    text = page.read_text()
    assert "Azure" in text
    assert "rate_limit_exceeded" in text
    assert "hats.example" not in text
    assert "A brim." not in text
