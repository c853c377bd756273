"""Tokens and prices that a client of one's own returns next to its text, in any form."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from types import SimpleNamespace

import pytest
from openai.types import CompletionUsage

import moa_middleware as moa

COUNTS = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39, "cached_tokens": 20}
OURS = (10, 9, 20)
GOOGLE = {"promptTokenCount": 30, "candidatesTokenCount": 9, "cachedContentTokenCount": 20, "totalTokenCount": 39}


@dataclass
class Answer:
    """A reply of a client of one's own."""

    text: str
    usage: object


Flat = make_dataclass("Flat", ["text", *COUNTS])
SDK = CompletionUsage.model_validate({**COUNTS, "service_tier": "default"})
FORMS = {
    "usage": {"text": "A hat.", "usage": COUNTS},
    "usage of an SDK": {"text": "A hat.", "usage": SDK},
    "usage_metadata": {"text": "A hat.", "usage_metadata": GOOGLE},
    "usageMetadata": {"text": "A hat.", "usageMetadata": GOOGLE},
    "token_usage": {"text": "A hat.", "token_usage": COUNTS},
    "models_usage": {"content": "A hat.", "models_usage": COUNTS},
    "counts next to the text": {"text": "A hat.", **COUNTS},
    "counts next to an unknown name": {"verdict": "A hat.", **COUNTS},
    "counts in a class": Flat("A hat.", *COUNTS.values()),
    "counts in a namespace": SimpleNamespace(text="A hat.", **COUNTS),
    "usage in a class": Answer("A hat.", COUNTS),
    "text and dict": ("A hat.", COUNTS),
    "text and words": ("A hat.", {**COUNTS, "service_tier": "a tier of many words"}),
    "text and an SDK's": ("A hat.", SDK),
    "text and a namespace": ("A hat.", SimpleNamespace(**COUNTS)),
    "usage around": {"reply": {"text": "A hat."}, "usage": COUNTS},
}


def tokens(call):
    return tuple(call["usage"].get(name) for name in ("input_tokens", "output_tokens", "cache_read_tokens"))


@pytest.mark.parametrize("name", FORMS)
def test_the_tokens_of_a_returned_value(name, turns):
    """In an object, or on the value itself: the text is the same text, and is there once."""

    @moa.reference
    def ask(messages):
        return FORMS[name]

    with moa.turn():
        ask([])
    [call] = turns[0]["references"]
    assert (call["output"], tokens(call)) == ("A hat.", OURS)
    assert "A hat." not in str(call["usage_raw"])


LAST = {
    "usage": {"usage": COUNTS},
    "usageMetadata": {"usageMetadata": GOOGLE},
    "counts": COUNTS,
    "counts and an empty text": {"text": "", "done": True, **COUNTS},
    "counts and the whole text": {"type": "done", "text": "A hat.", **COUNTS},
    "counts in a namespace": SimpleNamespace(type="usage", **COUNTS),
    "usage of an SDK": SDK,
}


@pytest.mark.parametrize("name", LAST)
def test_the_tokens_of_a_streams_last_event(name, turns):
    """After the pieces of the text, by an event of one's own."""

    @moa.reference
    def ask(messages):
        yield {"delta": "A "}
        yield {"delta": "hat."}
        yield LAST[name]

    with moa.turn():
        list(ask([]))
    [call] = turns[0]["references"]
    assert (call["output"], tokens(call)) == ("A hat.", OURS)


@pytest.mark.parametrize(
    "reply",
    [
        {"text": "A hat.", "usage": {**COUNTS, "cost": 0.25}},
        {"text": "A hat.", **COUNTS, "cost": {"total_cost": 0.25}},
        ("A hat.", {**COUNTS, "cost_in_usd_ticks": 2_500_000_000}),
        Answer("A hat.", {**COUNTS, "cost": "0.25"}),
    ],
    ids=["usage", "next to the text", "tuple", "class"],
)
def test_the_price_of_a_returned_value(reply, turns):
    """Next to its tokens, in the form of any provider."""

    @moa.reference
    def ask(messages):
        return reply

    with moa.turn():
        ask([])
    [call] = turns[0]["references"]
    assert (call["output"], call["cost_usd"], tokens(call)) == ("A hat.", 0.25, OURS)


@pytest.mark.parametrize(
    "value", [{"text": "A hat.", "tokens": 3}, {"text": "A hat.", "cost": 3}, {"text": "A hat.", "total": 5}]
)
def test_other_numbers_are_no_tokens(value, turns):
    """A name that is not a provider's for a count means whatever its owner means."""

    @moa.reference
    def ask(messages):
        return value

    with moa.turn():
        ask([])
    [call] = turns[0]["references"]
    assert (call["output"], call["usage"], call["cost_usd"]) == ("A hat.", {}, None)
