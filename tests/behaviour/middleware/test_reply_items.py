"""What a middleware sees of a reply next to its text, in a value and in a stream, and what the tables have of it."""

from __future__ import annotations

import importlib
import json

import openai
import pytest

import moa_middleware as moa
from moa_middleware import read

MESSAGES = [{"role": "user", "content": "Why?"}]
NOTE = {"type": "url_citation", "url_citation": {"url": "https://a.example", "start_index": 0, "end_index": 4}}
CHOICE = {
    "index": 0,
    "finish_reason": "stop",
    "native_finish_reason": "STOP",
    "stop_reason": "###",
    "content_filter_results": {"hate": {"filtered": False}},
}
HEAD = {"id": "r", "model": "m", "provider": "Azure", "time_info": {"total_time": 2.5}}


def reply():
    """Return a reply in one piece."""
    message = {"role": "assistant", "content": "text", "annotations": [NOTE], "executed_tools": [{"output": "5"}]}
    return {**HEAD, "object": "chat.completion", "choices": [{**CHOICE, "message": message}]}


def chunks():
    """Yield the same in pieces."""
    delta = {"role": "assistant", "content": "te"}
    yield {**HEAD, "choices": [{"index": 0, "delta": delta}]}
    delta = {"content": "xt", "annotations": [NOTE], "executed_tools": [{"output": "5"}]}
    yield {**HEAD, "choices": [{**CHOICE, "delta": delta}]}


FUNCTIONS = {"value": lambda messages: reply(), "stream": lambda messages: chunks()}


@pytest.mark.parametrize("how", FUNCTIONS)
def test_a_middleware_sees_what_the_record_has(how, turns):
    """Under the same names; what it does with them changes no record."""
    seen = []

    def look(call):
        found = yield call
        seen.append(found)
        found.citations[0]["url"] = "changed"
        found.filters.clear()

    stack = moa.Stack([look])
    got = stack.reference(FUNCTIONS[how])(MESSAGES)
    list(got)
    [one] = seen
    [call] = [*turns[0]["references"], *filter(None, [turns[0]["aggregator"]])]
    assert call["citations"][0]["url"] == "https://a.example"
    for name in ("citations", "parts", "served_by", "filters", "stop_sequence", "timings"):
        assert getattr(one, name) == call[name], name
    assert (one.stop_sequence, one.served_by["provider"], one.timings) == ("###", "Azure", {"total_time": 2.5})
    assert one.parts[0]["executed_tools"] == [{"output": "5"}]


def test_a_reply_without_them_has_empty_ones():
    """Also one that a middleware made."""
    one = moa.Reply(text="x")
    assert ((), (), {}, {}, None, {}) == (
        one.citations,
        one.parts,
        one.served_by,
        one.filters,
        one.stop_sequence,
        one.timings,
    )


def refuse(messages):
    """Fail as the SDK does."""
    http = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
    headers = {"x-request-id": "req_1", "retry-after": "3"}
    response = http.Response(429, headers=headers, request=http.Request("POST", "http://a"))
    raise openai.RateLimitError("slow down", response=response, body={"code": "rate_limit_exceeded"})


def test_the_tables_have_columns_for_them(trace_dir):
    """Facts of the reply and of an error as columns of their own, lists and objects as JSON."""
    pytest.importorskip("pyarrow")
    moa.turn(lambda: moa.reference(FUNCTIONS["value"])(MESSAGES))()
    with pytest.raises(openai.RateLimitError):
        moa.turn(lambda: moa.reference(refuse)(MESSAGES))()
    found, failed = read.open(trace_dir).tables().calls.to_pylist()
    assert ("Azure", None, "STOP", "###") == tuple(
        found[name] for name in ("served_by_provider", "served_by_region", "native_finish_reason", "stop_sequence")
    )
    assert "https://a.example" == json.loads(found["citations"])[0]["url"]
    assert {"total_time": 2.5} == json.loads(found["timings"])
    assert {"content_filter_results": {"hate": {"filtered": False}}} == json.loads(found["filters"])
    assert [{"output": "5"}] == json.loads(found["parts"])[0]["executed_tools"]
    assert found["error_status"] is None
    names = ("error_status", "error_code", "error_request_id", "error_retry_after")
    assert [429, "rate_limit_exceeded", "req_1", 3.0] == [failed[name] for name in names]
    assert failed["citations"] is failed["filters"] is failed["served_by_provider"] is None
