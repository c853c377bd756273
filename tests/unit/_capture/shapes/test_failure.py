"""Which values say that a call failed: errors alone, and no warning next to a text."""

from __future__ import annotations

import pytest

from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware._capture.shapes.replies import read_reply

FAILED = [
    {"error": "no such model"},
    {"error": {"message": "no such model"}},
    {"type": "error", "error": {"type": "overloaded", "message": "no such model"}},
    {"object": "error", "message": "no such model", "code": 404},
    {"base_resp": {"status_code": 1, "status_msg": "no such model"}},
    {"error": {"message": "", "code": "no such model"}},
]
FINE = [
    {"text": "yes", "error": None},
    {"text": "yes", "error": "a warning"},
    {"content": "yes", "error": {}},
    {"text": "yes", "error": 0.1},
    {"text": "yes", "base_resp": {"status_code": 0}},
    {"text": "yes", "base_resp": {"status_code": "0", "status_msg": "success"}},
    {"choices": [{"message": {"role": "assistant", "content": "yes"}}], "base_resp": {"status_code": "0"}},
    {
        "choices": [{"message": {"role": "assistant", "content": "yes"}}],
        "error": {"message": "", "code": "", "type": ""},
    },
    {"output": "yes", "error": "a warning"},
    {"answer": "yes", "error": {"message": "a warning"}},
    {"response": {"text": "yes"}, "error": "a warning"},
]


def in_pieces(value):
    gathered = Accumulator()
    gathered.feed(value)
    return gathered.reply()


@pytest.mark.parametrize("read", [read_reply, in_pieces])
@pytest.mark.parametrize("value", FAILED, ids=str)
def test_an_error_alone_is_a_failure(value, read):
    """In one piece and as an event; its words are no text of the reply."""
    reply = read(value)
    assert (reply.outcome, reply.text) == ("error", None)
    assert "no such model" in str(reply.error)


@pytest.mark.parametrize("read", [read_reply, in_pieces])
@pytest.mark.parametrize("value", FINE, ids=str)
def test_a_text_with_something_called_an_error_is_a_reply(value, read):
    """A warning, an estimate's error or an empty field of a program's own result."""
    reply = read(value)
    assert (reply.outcome, reply.text) == ("completed", "yes")


@pytest.mark.parametrize(
    "event", [{"event": "retry", "error": "slow down"}, {"model": "a", "error": {"message": "too late"}}], ids=str
)
@pytest.mark.parametrize(
    "rest", [[{"text": "ye"}, {"text": "s"}], ["ye", "s"], [{"model": "b", "text": "yes"}]], ids=str
)
def test_a_text_after_an_error_of_a_programs_own_is_a_reply(event, rest):
    """A program asks again, or goes on with the other models."""
    gathered = Accumulator()
    for chunk in (event, *rest):
        gathered.feed(chunk)
    reply = gathered.reply()
    assert (reply.outcome, reply.text, reply.error) == ("completed", "yes", None)


@pytest.mark.parametrize(
    "events",
    [
        [{"text": "ye"}, {"error": "gone"}],
        [{"type": "error", "message": "gone"}, {"text": "sorry"}],
        [{"error": "first"}, {"text": "ye"}, {"error": "gone"}],
    ],
    ids=str,
)
def test_an_error_at_the_end_or_by_its_type_is_a_failure(events):
    """Whatever was said before it."""
    gathered = Accumulator()
    for chunk in events:
        gathered.feed(chunk)
    assert str(gathered.reply().error) == "gone"


def test_tool_calls_next_to_a_warning_are_a_reply():
    """As a text is."""
    reply = read_reply({"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}], "error": "a warning"})
    assert (reply.outcome, reply.tool_calls[0]["function"]["name"]) == ("completed", "f")
