"""Token counts: the short way for OpenAI's own usage object reads what the general way reads."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from openai.types import CompletionUsage
from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails

from moa_middleware._capture.shapes import usage
from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware._capture.shapes.replies import read_reply

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


class OddError(BaseException):
    """An error that is not an `Exception`, and no interrupt."""


def raising(error):
    """Return an object that raises whatever it is asked for."""

    def fail(*_):
        raise error("odd")

    return type("Raising", (), {"__getattribute__": fail, "__bool__": lambda _: True})()


def model(**fields):
    """Return an object of the SDK's class, which is not asked for what it is made of."""
    made = CompletionUsage.model_construct()
    made.__dict__.update(fields)
    return made


class Lazy:
    """An object of details of which one attribute raises, and others answer."""

    audio_tokens = 0
    reasoning_tokens = 2

    @property
    def cached_tokens(self):
        """Fail."""
        raise KeyError


COUNTS_NEXT = {
    "prompt_tokens_details": ("prompt_tokens", "completion_tokens"),
    "completion_tokens_details": ("prompt_tokens", "completion_tokens"),
    "input_tokens_details": ("input_tokens", "output_tokens"),
    "output_token_details": ("input_tokens", "output_tokens"),
    "cache_creation": ("input_tokens", "output_tokens"),
    "cost_details": ("prompt_tokens", "completion_tokens"),
    "tokens": ("prompt_tokens", "completion_tokens"),
    "iterations": ("input_tokens", "output_tokens"),
}
ERRORS = [AttributeError, KeyError, RuntimeError, OddError]
MAKES = {"dict": dict, "object": SimpleNamespace, "model": model}


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", COUNTS_NEXT)
def test_details_that_raise_cost_themselves_alone(name, error, make):
    """What the usage itself reports is known all the same, and so is its price."""
    counts = dict.fromkeys(COUNTS_NEXT[name], 7)
    details = [raising(error)] if name == "iterations" else raising(error)
    tokens, cost = usage.read_usage_and_cost(make(**counts, cost=0.5, total_tokens=14, **{name: details}))
    assert (7, 7, 0.5) == (tokens.input_tokens, tokens.output_tokens, cost)


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_a_detail_that_raises_costs_itself_alone(make):
    """The others of its object are read; a count that raises when its class is asked for is none."""
    tokens = usage.read_usage(make(prompt_tokens=7, completion_tokens=7, completion_tokens_details=Lazy()))
    assert (7, 7, 2) == (tokens.input_tokens, tokens.output_tokens, tokens.reasoning_tokens)
    odd = {"cached_tokens": raising(ValueError), "reasoning_tokens": 2}
    tokens = usage.read_usage(make(prompt_tokens=7, completion_tokens=7, completion_tokens_details=odd))
    assert (7, 7, 2) == (tokens.input_tokens, tokens.output_tokens, tokens.reasoning_tokens)


METADATA = {"token_usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12, "cost": 0.25}, "id": "r"}
MESSAGES = [
    ({"content": "a", "response_metadata": METADATA}, (7, 5, 0.25)),
    ({"content": "a", "response_metadata": SimpleNamespace(**METADATA)}, (7, 5, 0.25)),
    (
        {"content": "a", "response_metadata": METADATA, "usage_metadata": {"input_tokens": 1, "output_tokens": 2}},
        (1, 2, None),
    ),
    ({"content": "a", "response_metadata": {"token_usage": None}}, None),
    ({"content": "a", "response_metadata": {"token_usage": "many"}}, None),
    ({"content": "a", "response_metadata": "none"}, None),
    ({"content": "a", "response_metadata": None}, None),
]


@pytest.mark.parametrize("make", [dict, SimpleNamespace])
@pytest.mark.parametrize(("message", "found"), MESSAGES, ids=str)
def test_the_tokens_in_the_metadata_of_a_message_are_read(message, found, make):
    """As LangChain's older versions have them; `usage_metadata` counts where both are there."""
    for reply in (read_reply(make(**message)), read_stream(make(**message))):
        tokens = reply.usage
        assert (tokens and (tokens.input_tokens, tokens.output_tokens, reply.cost_usd)) == found
        assert reply.text == "a"


def read_stream(chunk):
    gathered = Accumulator()
    gathered.feed(chunk)
    return gathered.reply()
