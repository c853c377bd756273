"""Token counts: the short way for OpenAI's own usage object reads what the general way reads."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from openai.types import CompletionUsage
from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails

from moa_middleware._capture.shapes import usage

ODD = [None, 0, True, "5", 2.0, -1, 10**30]
DETAILS = {
    "prompt_tokens_details": (
        ("cached_tokens", "cache_read", "cache_creation", "cache_write_tokens", "audio_tokens"),
        PromptTokensDetails,
    ),
    "completion_tokens_details": (("reasoning_tokens", "reasoning", "audio_tokens"), CompletionTokensDetails),
}


def usage_of(pick):
    """Return a usage object with some of the fields, as a dict or of the SDK's class; some of them are odd."""

    def value():
        return pick.choice(ODD) if pick.random() < 0.3 else pick.randrange(50)

    fields = {}
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        if pick.random() < 0.85:
            fields[name] = value()
    for name, (parts, kind) in DETAILS.items():
        if pick.random() < 0.6:
            found = {part: value() for part in parts if pick.random() < 0.5}
            fields[name] = pick.choice([dict, SimpleNamespace, kind.model_construct])(**found)
    return fields if pick.random() < 0.5 else CompletionUsage.model_construct(**fields)


@pytest.mark.parametrize("seed", range(20))
def test_both_ways_of_reading_give_the_same_tokens(seed, monkeypatch):
    """Whatever is missing, of another type, or in an object of another class."""
    pick = random.Random(seed)
    made = [usage_of(pick) for _ in range(200)]
    short = [usage.read_usage_and_cost(one) for one in made]
    monkeypatch.setattr(usage, "_CHAT", frozenset())
    assert short == [usage.read_usage_and_cost(one) for one in made]
