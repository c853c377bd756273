"""Results and events of a program's own whose keys and types are also words of an SDK."""

from __future__ import annotations

import pytest

from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware._capture.shapes.replies import read_reply

RESULTS = [
    {"candidates": ["no", "yes"], "text": "yes"},
    {"candidates": [{"text": "no", "score": 1}], "answer": "yes"},
    {"candidates": [{"content": "no", "model": "a"}], "answer": "yes"},
    {"candidates": [], "output": "yes"},
    {"choices": [], "answer": "yes"},
]
EVENTS = [
    {"type": "content-delta", "text": "yes"},
    {"type": "content-delta", "delta": "yes"},
    {"type": "content-start", "content": "yes"},
    {"type": "message-end", "output": "yes"},
    {"type": "message-start", "text": "yes"},
    {"type": "debug", "answer": "yes"},
]
STEPS = [
    {"done": True, "created_at": "2026-01-01", "message": "all is well", "text": "yes"},
    {"done": True, "created_at": "2026-01-01", "message": {"level": "info"}, "answer": "yes"},
]
GEMINI = [
    {"candidates": [{"content": {"parts": [{"text": "yes"}]}}]},
    {"candidates": [{"content": {"parts": [{"text": "yes"}], "role": "model"}, "finish_reason": "STOP"}]},
]


def in_pieces(*values):
    gathered = Accumulator()
    for value in values:
        gathered.feed(value)
    return gathered.reply()


@pytest.mark.parametrize("read", [read_reply, in_pieces])
@pytest.mark.parametrize("value", RESULTS + GEMINI, ids=str)
def test_candidates_do_not_hide_the_text(value, read):
    """An aggregator returns the answers that it chose from next to its own; Gemini's replies have only those."""
    assert read(value).text == "yes"


@pytest.mark.parametrize("value", EVENTS, ids=str)
def test_an_event_with_a_type_of_coheres_says_its_text(value):
    """Cohere's events have theirs under `delta.message`."""
    assert in_pieces(value).text == "yes"
    assert in_pieces({"text": "ye"}, {**value, **{name: "s" for name in value if name != "type"}}).text == "yes"


@pytest.mark.parametrize("read", [read_reply, in_pieces])
@pytest.mark.parametrize("value", STEPS, ids=str)
def test_a_step_with_keys_of_ollamas_says_its_text(value, read):
    """Ollama's message has a role and a content."""
    assert read(value).text == "yes"


def test_a_chunk_of_geminis_without_candidates_has_the_tokens():
    """The last one of a stream may be so."""
    counts = {"usage_metadata": {"prompt_token_count": 3, "candidates_token_count": 2}}
    reply = in_pieces(GEMINI[0], {"candidates": None, **counts})
    assert (reply.text, reply.usage.input_tokens, reply.usage.output_tokens) == ("yes", 3, 2)
