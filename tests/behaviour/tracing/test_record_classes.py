"""Names, ids and words of formats, and texts that are none of them."""

from __future__ import annotations

import pytest

from moa_middleware.record_classes import is_name

NAMES = (
    *("stop", "max_tokens", "end_turn", "MAX_TOKENS", "tool_calls", "length", "content-filter", "eos_token", "4"),
    *("chatcmpl-A1b2", "resp_0123", "msg_01ABC", "gen-1733-xYz", "fp_44709d6fcb", "us-east-1", "prompt_filter.v2"),
    *("arn:aws:bedrock:us-east-1::foundation-model/x.y-v1:0", "openai/gpt-4.1:free", "claude-3-5-sonnet@20240620"),
    *("gpt-4.1(eu)", "C:\\models\\a.gguf", "a" * 500, "bm9uY2U=+/", ""),
)
TEXTS = (
    *("the user asked for it", "a b", "no. stop", "word word word", "a\nb", "who?", "b@example.com", "ein Größe"),
    *("warum nicht", "“quoted”", "它说", "{'a': 1}", "a" * 513, " ", "stop ", "tel:+49 30 1"),
)


@pytest.mark.parametrize("text", NAMES)
def test_a_name_has_the_form_of_one(text):
    """As providers spell their reasons, ids, models and regions."""
    assert is_name(text)
    assert is_name(text, "finish_reason")


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_has_not(text):
    """With a blank, in another script, as an address, or too long."""
    assert not is_name(text)
    assert not is_name(text, "served_by.native_finish_reason")


@pytest.mark.parametrize("text", ["Google AI Studio", "Amazon Bedrock", "Together", "Google Vertex (Global)"])
def test_a_provider_may_have_several_words(text):
    """As OpenRouter names them; a sentence is none."""
    assert is_name(text, "served_by.provider")
    assert not is_name(f"{text} said that you are right", "served_by.provider")
