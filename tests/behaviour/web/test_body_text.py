"""The output of a turn that returns a web response is the text of its body, in the body's own encoding."""

from __future__ import annotations

import pytest

pytest.importorskip("flask", reason="web frameworks are in the group test")

from flask import Flask, Response

import moa_middleware as moa
from moa_middleware.testing import capture_turns

DELTA = 'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'


def output_of(chunks, content_type):
    """Return the output of a turn whose response has these chunks."""
    app = Flask(__name__)

    @app.get("/")
    @moa.turn
    def view():
        return Response(iter(chunks), content_type=content_type)

    with capture_turns() as turns:
        app.test_client().get("/").get_data()
    (record,) = turns
    return record["output"]


@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("utf-8", "text/plain"),
        ("latin-1", "text/plain; charset=iso-8859-1"),
        ("utf-16", 'text/plain; format=flowed; charset="UTF-16"'),
        ("shift_jis", "text/html;charset=Shift_JIS"),
        ("utf-8", "text/plain; charset=no-such"),
    ],
)
def test_a_text_is_read_in_its_charset(encoding, content_type):
    """Also where a chunk ends in the middle of a character."""
    text = "caf\u00e9" if encoding != "shift_jis" else "\u8336"
    encoded = text.encode(encoding)
    assert text == output_of([encoded[:1], encoded[1:]], content_type)


@pytest.mark.parametrize("first", ["", "\n", "\n\n", ": ping\n\n", "\r\n"], ids=repr)
def test_an_empty_line_does_not_hide_the_events(first):
    """Servers send one to keep the connection open before the first event."""
    assert "one" == output_of([first, DELTA], "text/event-stream")
