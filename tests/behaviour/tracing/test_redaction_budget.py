"""A text that was made to hold the rules up does not hold the caller: it is cut, or it is not written."""

from __future__ import annotations

import json
import time

import pytest

import moa_middleware as moa
from moa_middleware._redaction import MARK
from tests.support.redaction.hostile import repeated

HOSTILE = {
    "quotes": "password=\u201cx ",
    "queries": "?token=",
    "code": "'password=' + ",
    "keys": "sk-aaaaaaaaaaaaaaa ",
    "addresses": "a://b:",
}
SECONDS = 3
"""Of the processor, on a machine with other work; one of these texts took more than 50 before."""


@moa.reference
def ask(messages, error=None):
    """Answer, or raise."""
    if error is not None:
        raise error
    return "an answer"


@pytest.mark.parametrize("name", HOSTILE)
def test_the_message_of_an_error_takes_no_longer_for_being_long(name, trace_dir, read_lines):
    """With nothing configured; the caller gets the whole, and the record says how long it was."""
    message = "begin " + repeated(HOSTILE[name], 3_000_000)
    began = time.process_time()
    with pytest.raises(ValueError) as caught:
        ask([{"role": "user", "content": "x"}], ValueError(message))
    assert time.process_time() - began < SECONDS
    assert str(caught.value) == message
    (record,) = read_lines(trace_dir)
    for error in (record["error"], record["references"][0]["error"]):
        assert error["message"].startswith("begin ")
        assert error["message"].endswith("\u2026 (cut from 3,000,007 characters)")
        assert len(error["message"]) < 17_000


def test_a_key_at_the_cut_of_a_message_is_not_recorded(trace_dir, read_lines):
    """Neither one of a known form, nor one that only this call knows."""
    key = "sk-" + "proj-" + "aB3dE6" * 6
    with pytest.raises(ValueError):
        ask([], ValueError("a " * 8182 + f"{key} was refused " + "b " * 5000))
    (record,) = read_lines(trace_dir)
    shown = record["references"][0]["error"]["message"]
    assert "aB3d" not in shown
    assert "sk-" not in shown


@pytest.mark.parametrize("name", ["quotes", "queries", "code"])
def test_a_hostile_text_is_left_out_and_the_rest_is_redacted(name, trace_dir, read_lines):
    """By the count of its names, so that it is left out on any machine."""
    moa.configure(redact="secrets")
    text = repeated(HOSTILE[name], 1_000_000)
    began = time.process_time()
    ask(
        [
            {"role": "user", "content": "password: hunter22"},
            {"role": "tool", "tool_call_id": "call_1", "content": text},
            {"role": "user", "content": "my password is hunter22"},
        ]
    )
    assert time.process_time() - began < SECONDS
    (record,) = read_lines(trace_dir)
    (call,) = record["references"]
    first, hostile, last = (message["content"] for message in call["input_messages"])
    assert (f"password: {MARK}", None, f"my password is {MARK}") == (first, hostile, last)
    assert {"reason": "redactor_failed", "bytes": len(text.encode())} == call["omitted"]["input_messages.1.content"]
    assert "an answer" == call["output"]
    assert 0 == record["instrumentation_errors"]


def test_arguments_whose_keys_become_alike_do_not_hold_the_caller(trace_dir, read_lines):
    """All values are kept, under numbered keys."""
    moa.configure(redact="emails")
    arguments = json.dumps({f"a{number}@example.com": number for number in range(20_000)})
    call = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    began = time.process_time()
    ask([{"role": "assistant", "content": None, "tool_calls": [call]}])
    assert time.process_time() - began < SECONDS
    (record,) = read_lines(trace_dir)
    shown = record["references"][0]["input_messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert list(range(20_000)) == list(json.loads(shown).values())
