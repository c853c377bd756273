"""Results and events of a program's own whose keys and types are also words of an SDK."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from moa_middleware._capture.shapes.accumulator import Accumulator, read_chunks
from moa_middleware._capture.shapes.render import render_chunk
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


OWN_EVENTS = [
    {"type": "response.chunk", "text": "yes"},
    {"type": "response.delta", "delta": "yes"},
    {"type": "response.delta", "delta": {"content": "yes"}},
    {"type": "response.output_text.delta", "text": "yes"},
    {"type": "response.output_text.delta", "delta": {"text": "yes"}},
    {"type": "response.created", "response": "yes"},
    {"type": "response.completed", "response": "yes"},
    {"type": "response.completed", "output": "yes"},
    {"type": "response.output_item.done", "content": "yes"},
    {"type": "response.done", "answer": "yes"},
    {"type": "message_start", "text": "yes"},
    {"type": "message_start", "message": "hello", "content": "yes"},
    {"type": "message_delta", "delta": "yes"},
    {"type": "message_delta", "delta": {"content": "yes"}},
    {"type": "message_stop", "text": "yes"},
    {"type": "content_block_start", "text": "yes"},
    {"type": "content_block_delta", "delta": "yes"},
    {"type": "content_block_delta", "delta": {"text": "yes"}},
    {"type": "content_block_stop", "output_text": "yes"},
    {"type": "ping", "answer": "yes"},
    {"type": "stream-end", "text": "yes"},
    {"event_type": "stream-end", "text": "yes"},
    {"event_type": "stream-end", "response": "yes"},
    {"event_type": "stream-start", "content": "yes"},
    {"event_type": "search-results", "answer": "yes"},
    {"event_type": "debug", "output": "yes"},
    {"messageStop": {"text": "yes"}, "content": "yes"},
]


@pytest.mark.parametrize("make", [dict, SimpleNamespace], ids=["dict", "object"])
@pytest.mark.parametrize("value", OWN_EVENTS, ids=str)
def test_an_event_without_the_form_of_its_type_says_its_text(value, make):
    """A generator's own event: alone, and after others of the same kind."""
    assert in_pieces(make(**value)).text == "yes"
    first = {"type": "message_start", "id": 1}
    assert in_pieces(make(**first), make(**value)).text == "yes"
    other = {name: "ye" if item == "yes" else item for name, item in value.items()}
    if isinstance(next(reversed(value.values())), str):
        assert in_pieces(make(**{**other, "type": "step"}), {"text": "s"}).text == "yes"


@pytest.mark.parametrize("value", OWN_EVENTS, ids=str)
def test_a_tap_changes_the_text_of_such_an_event_where_it_is(value):
    """By no key of the API's event of that type."""
    (shown,) = read_chunks(value)
    changed = render_chunk(value, shown, shown.replace(text="no"))
    assert str(changed) == str(value).replace("yes", "no", 1) or changed == {**value, "content": "no"}
    assert "yes" in str(value)


@pytest.mark.parametrize("kind", ["text", "thinking"])
def test_an_own_event_between_those_of_a_message_says_its_text(kind):
    """The helpers of Anthropic's SDK have the text so far as well."""
    start = {"type": "message_start", "message": {"role": "assistant", "content": []}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "no"}}
    assert in_pieces(start, delta, {"type": kind, kind: "x", "snapshot": "no", "text": "x"}).text == "no"
    assert in_pieces(start, {"type": kind, "text": "yes"}).text == "yes"


OFFICIAL = [
    [
        {"type": "response.output_text.delta", "output_index": 0, "delta": "yes"},
        {"type": "response.output_text.done", "item_id": "i", "output_index": 0, "text": "no"},
        {"type": "response.content_part.done", "item_id": "i", "part": {"text": "no"}},
        {"type": "response.word_of_tomorrow", "sequence_number": 4, "text": "no"},
    ],
    [
        {"type": "message_start", "message": {"role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "yes"}},
        {"type": "content_block_stop", "index": 0, "content_block": {"type": "text", "text": "no"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop", "message": {"content": [{"type": "text", "text": "no"}]}},
    ],
    [
        {"event_type": "text-generation", "text": "yes", "is_finished": False},
        {"event_type": "tool-calls-generation", "text": "no", "tool_calls": [{"name": "f", "parameters": {}}]},
        {"event_type": "stream-end", "response": {"text": "no", "generation_id": "g"}, "finish_reason": "COMPLETE"},
    ],
]


@pytest.mark.parametrize("events", OFFICIAL, ids=["responses", "messages", "cohere"])
def test_an_event_of_the_api_that_repeats_a_text_adds_nothing(events):
    """Also one of a type that is new."""
    assert in_pieces(*events).text == "yes"


OWN_RESULTS = [
    {"choices": [{"text": "no"}, {"text": "yes"}], "answer": "yes"},
    {"choices": [{"text": "no", "id": 1}], "output": "yes", "id": "q1", "model": "m"},
    {"choices": [{"finish_reason": "tired"}], "content": "yes"},
    {"choices": ["no", "yes"], "answer": "yes"},
    {"choices": [{"label": "no"}], "response": "yes"},
]
SDK_RESULTS = [
    {"choices": [{"message": {"content": "yes"}}], "answer": "no"},
    {"choices": [{"message": {"content": "yes", "role": "assistant"}}], "output": "no", "object": "chat.completion"},
    {"choices": [{"text": "yes", "index": 0}], "object": "text_completion", "answer": "no"},
    {"choices": [{"text": "yes"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}, "content": "no"},
    {"choices": [{"text": "yes"}]},
    {"choices": [{"text": "yes", "finish_reason": "stop"}], "created": 1, "response": "no"},
]


@pytest.mark.parametrize("make", [dict, SimpleNamespace], ids=["dict", "object"])
@pytest.mark.parametrize("read", [read_reply, in_pieces], ids=["value", "stream"])
@pytest.mark.parametrize("value", OWN_RESULTS + SDK_RESULTS, ids=str)
def test_choices_are_a_reply_or_the_options_of_a_question(value, read, make):
    """A message of a model is one; texts are if nothing next to them is the text of a program's own result."""
    assert read(make(**value)).text == "yes"
