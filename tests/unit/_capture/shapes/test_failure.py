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
]
FINE = [
    {"text": "yes", "error": None},
    {"text": "yes", "error": "a warning"},
    {"content": "yes", "error": {}},
    {"text": "yes", "error": 0.1},
    {"text": "yes", "base_resp": {"status_code": 0}},
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
