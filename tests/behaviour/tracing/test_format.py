"""The format of a record: its schema, the golden line, and the active span."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import moa_middleware as moa
from moa_middleware import records
from moa_middleware.testing import capture_turns
from tests.conftest import check
from tests.support.plain_calls import ask

GOLDEN = Path(__file__).parents[2] / "golden"


# OpenTelemetry ------------------------------------------------------------------------------------


def test_the_active_span_is_in_the_record(turns):
    """Where OpenTelemetry is loaded and a span is active."""
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("t")
    with tracer.start_as_current_span("s") as span:
        ask("hi")
        context = span.get_span_context()
    ask("hi")
    inside, outside = turns
    expected = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    assert expected == inside["trace_context"]
    assert outside["trace_context"] is None


# The format ---------------------------------------------------------------------------------------


def test_the_schema_is_the_golden_one():
    """`moa-turn/1` may gain keys; none is removed or changed. Regenerate by hand, with thought."""
    found = {
        name: TypeAdapter(kind).json_schema()
        for name, kind in (("moa-turn/1", records.TurnRecord), ("moa-late/1", records.LateRecord))
    }
    golden = json.loads((GOLDEN / "schema.json").read_text())
    assert golden == json.loads(json.dumps(found))


def _normal(value, key=""):
    """Return a record with its times, ids and process replaced."""
    if isinstance(value, dict):
        return {k: _normal(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_normal(v, key) for v in value]
    if value is None or isinstance(value, bool):
        return value
    if key in ("ts", "started_at", "ended_at", "duration_ms", "first_chunk_ms", "pid", "seq"):
        return 1
    if key in ("turn_id", "call_id", "host", "version", "turns", "parent"):
        return key
    return value


def test_the_line_is_the_golden_one():
    """One turn with a failed reference, usage, tool calls and a stream, key by key and in order."""

    @moa.reference(label="fine", model="m-1", provider="p")
    def fine(messages, *, temperature):
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "cost": 0.5}
        message = {"content": "A fine answer."}
        return {"id": "r-1", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}

    @moa.reference(label="failing")
    def failing(messages):
        raise TimeoutError("too slow")

    @moa.aggregator(label="agg")
    def act(messages):
        call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}
        rest = {"index": 0, "function": {"arguments": ": 1}"}}
        yield {"choices": [{"index": 0, "delta": {"content": "Final ", "reasoning_content": "Hm."}}]}
        yield {"choices": [{"index": 0, "delta": {"content": "answer.", "tool_calls": [call]}}]}
        yield {"choices": [{"index": 0, "delta": {"tool_calls": [rest]}, "finish_reason": "tool_calls"}]}

    @moa.turn(session_id="golden", preset="two", tags={"suite": "golden"})
    def create(messages):
        answer = fine(messages, temperature=0.5)
        with pytest.raises(TimeoutError):
            failing(messages)
        return act([*messages, {"role": "user", "content": answer["choices"][0]["message"]["content"]}])

    with capture_turns() as found:
        list(create([{"role": "user", "content": "Why?"}]))
    (record,) = found
    check(record)
    text = json.dumps(_normal(record), indent=1, ensure_ascii=False) + "\n"
    assert (GOLDEN / "turn.json").read_text() == text


def test_an_implicit_turn_has_the_request_of_its_call(turns):
    """It is a turn of one call: the caller's request is the call's."""
    ask("hi")
    assert [{"role": "user", "content": "hi"}] == turns[0]["input_messages"]
