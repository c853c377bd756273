"""Anthropic's own client for Bedrock: the same messages, whose streams come as Amazon's binary events."""

from __future__ import annotations

import pytest

pytest.importorskip("botocore", reason="botocore is not installed (it needs an environment of its own)")
pytest.importorskip("anthropic", reason="anthropic is not installed (it needs an environment of its own)")

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.wire_forms import all_forms
from tests.support.wire_replay import replay, ways_of, wire
from tests.support.wire_truth import truth

NAMES = ("text", "thinking", "calls-and-text", "web-search", "cached", "unicode", "max-tokens")
FORMS = [
    form
    for form in all_forms()
    if form.api == "messages"
    and form.name in {f"message-{name}" for name in NAMES} | {f"message-stream-{name}" for name in NAMES}
]
WAYS = ("value", "async_value", "raw_value", "for_loop", "by_next", "async_for", "raw_stream", "open_stream")


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_form_from_bedrock(form):
    """The caller sees what he sees without the library, and the record says what the bytes say."""
    expected = truth(form)
    for how in ways_of(form, "bedrock"):
        if how.name not in WAYS:
            continue
        bare = replay(form, how, wire("bedrock", is_async=how.is_async, role="bare"))
        assert not bare.failed, bare.found
        made = wire("bedrock", is_async=how.is_async, role="traced")
        moa.instrument(made.client)
        with capture_turns() as turns:
            assert bare.found == replay(form, how, made).found
        moa.uninstrument(made.client)
        [call] = [turn["aggregator"] for turn in turns]
        for name in ("reasoning", "finish_reason", "usage", "outcome", "response_id"):
            assert call[name] == expected[name], (how.name, name)
        assert call["output"] == expected["text"]
        assert [one[:3] for one in expected["tool_calls"]] == [
            (one["id"], one["type"], one["function"]["name"]) for one in call["tool_calls"]
        ]
