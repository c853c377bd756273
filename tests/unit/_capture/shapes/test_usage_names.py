"""Token counts of each provider: one call, reported in the form of each, is the same in the record."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_middleware import Reply, Usage
from moa_middleware._capture.shapes.usage import read_usage, read_usage_and_cost
from moa_middleware._capture.shapes.wire import FAMILIES

WHOLE = Usage(input_tokens=6, output_tokens=9, cache_read_tokens=20, cache_write_tokens=4, reasoning_tokens=5)
"""What each report below means: a prompt of 30 tokens, of them 20 read and 4 written, and 9 tokens of output."""
FORMS = {
    "openai": {
        "prompt_tokens": 30,
        "completion_tokens": 9,
        "total_tokens": 39,
        "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
    "responses": {
        "input_tokens": 30,
        "output_tokens": 9,
        "total_tokens": 39,
        "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 5},
    },
    "anthropic": {
        "input_tokens": 6,
        "output_tokens": 9,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 5},
    },
    "anthropic by age": {
        "input_tokens": 6,
        "output_tokens": 9,
        "cache_read_input_tokens": 20,
        "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 3},
        "output_tokens_details": {"thinking_tokens": 5},
    },
    "xai": {
        "prompt_tokens": 30,
        "completion_tokens": 4,
        "total_tokens": 39,
        "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
    "cache next to the prompt": {
        "prompt_tokens": 6,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
    "litellm": {
        "prompt_tokens": 30,
        "completion_tokens": 9,
        "total_tokens": 39,
        "prompt_tokens_details": {"cached_tokens": 20, "cache_creation_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 4,
    },
    "langchain": {
        "input_tokens": 30,
        "output_tokens": 9,
        "total_tokens": 39,
        "input_token_details": {"cache_read": 20, "cache_creation": 4},
        "output_token_details": {"reasoning": 5},
    },
    "langchain by age": {
        "input_tokens": 30,
        "output_tokens": 9,
        "total_tokens": 39,
        "input_token_details": {"cache_read": 20, "cache_creation": 0, "ephemeral_5m_input_tokens": 4},
        "output_token_details": {"reasoning": 5},
    },
    "ours": {
        "input_tokens": 6,
        "output_tokens": 9,
        "cache_read_tokens": 20,
        "cache_write_tokens": 4,
        "reasoning_tokens": 5,
    },
}
CACHED = Usage(input_tokens=10, output_tokens=9, cache_read_tokens=20)
OPENAI = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39}
PARTLY = {
    "deepseek": {**OPENAI, "prompt_cache_hit_tokens": 20, "prompt_cache_miss_tokens": 10},
    "mistral": {**OPENAI, "num_cached_tokens": 20, "prompt_audio_seconds": None},
    "moonshot": {**OPENAI, "cached_tokens": 20},
    "together": {**OPENAI, "cached_tokens": 20, "prompt_tokens_details": {"cached_tokens": 0}},
    "cohere": {
        "billed_units": {"input_tokens": 3.0, "output_tokens": 9.0},
        "tokens": {"input_tokens": 30.0, "output_tokens": 9.0},
        "cached_tokens": 20.0,
    },
    "azure, grok": {"prompt_tokens": 10, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 20}},
    "a total with the cache": {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 39, "cached_tokens": 20},
    "texts": {"prompt_tokens": "30", "completion_tokens": "9", "total_tokens": "39", "cached_tokens": "20"},
    "floats": {"prompt_tokens": 30.0, "completion_tokens": 9.0, "total_tokens": 39.0, "cached_tokens": 20.0},
    "texts of floats": {"prompt_tokens": "30.0", "completion_tokens": "9.0", "cached_tokens": "2e1"},
}
GEMINI = {
    "prompt_token_count": 25,
    "candidates_token_count": 4,
    "cached_content_token_count": 20,
    "thoughts_token_count": 5,
    "tool_use_prompt_token_count": 5,
    "total_token_count": 39,
}


def camel(name):
    """Return a name as JSON of Google has it."""
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))


def as_object(value):
    """Return a dict as an object with attributes, at any depth."""
    return (
        SimpleNamespace(**{name: as_object(item) for name, item in value.items()}) if isinstance(value, dict) else value
    )


@pytest.mark.parametrize("name", FORMS)
def test_one_call_in_the_form_of_each_provider(name):
    """Input without what was read from a cache and written to one, output with its reasoning."""
    assert read_usage(FORMS[name]) == WHOLE
    assert read_usage(as_object(FORMS[name])) == WHOLE


@pytest.mark.parametrize("name", PARTLY)
def test_cached_tokens_under_any_name(name):
    """Twenty of thirty tokens came from a cache."""
    assert read_usage(PARTLY[name]) == CACHED
    assert read_usage(as_object(PARTLY[name])) == CACHED


@pytest.mark.parametrize("form", [GEMINI, {camel(name): count for name, count in GEMINI.items()}])
def test_gemini_counts_thoughts_and_tools_apart(form):
    """Both belong to what the record calls output and input."""
    whole = Usage(input_tokens=10, output_tokens=9, cache_read_tokens=20, reasoning_tokens=5)
    assert read_usage(form) == whole
    assert read_usage(as_object(form)) == whole


def test_gemini_that_only_thought():
    """A reply cut off while it was thinking has no count of candidates: that is 0 in Google's JSON."""
    usage = read_usage({"promptTokenCount": 6, "thoughtsTokenCount": 5, "totalTokenCount": 11})
    assert usage == Usage(input_tokens=6, output_tokens=5, reasoning_tokens=5)


@pytest.mark.parametrize(
    "form",
    [
        {"prompt_eval_count": 6, "eval_count": 9, "eval_duration": 100, "message": {"content": "x"}},
        {"inputTokens": 6, "outputTokens": 9, "totalTokens": 15},
        {"inputTokenCount": 6, "outputTokenCount": 9},
        {"prompt_token_count": 6, "generation_token_count": 9, "generation": "x"},
        {"billed_units": {"input_tokens": 6.0, "output_tokens": 9.0}, "tokens": None},
        {"prompt_tokens": 6, "completion_tokens": 9, "input_tokens": 0, "output_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 6, "output_tokens": 9},
    ],
    ids=["ollama", "bedrock", "bedrock metrics", "bedrock llama", "cohere billed", "gateway", "gateway of zeros"],
)
def test_counts_without_parts(form):
    """Under the names of each provider, also next to the text of a reply."""
    assert read_usage(form) == Usage(input_tokens=6, output_tokens=9)


@pytest.mark.parametrize("total", [39, 15])
def test_bedrock_never_counts_the_cache_as_input(total):
    """Its names mean that, whether its total has the cache in it or not."""
    form = {"inputTokens": 6, "outputTokens": 9, "totalTokens": total}
    form |= {"cacheReadInputTokens": 20, "cacheWriteInputTokens": 4}
    expected = Usage(input_tokens=6, output_tokens=9, cache_read_tokens=20, cache_write_tokens=4)
    assert read_usage(form) == expected


@pytest.mark.parametrize("total", [7196, None])
def test_reasoning_larger_than_the_output_is_not_a_part_of_it(total):
    """Perplexity's deep research reports it next to the output, and leaves it out of the total."""
    form = {"prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": total, "reasoning_tokens": 95305}
    assert read_usage(form) == Usage(input_tokens=33, output_tokens=102468, reasoning_tokens=95305)


def test_tokens_that_only_the_total_has_are_not_guessed():
    """Which of the two they belong to is not known."""
    form = {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}
    assert read_usage(form) == Usage(input_tokens=35, output_tokens=12)


def test_reasoning_alone_is_not_the_output():
    """There may have been more."""
    assert read_usage({"prompt_tokens": 6, "reasoning_tokens": 5}) == Usage(input_tokens=6, reasoning_tokens=5)


ODD = ["", "many", "-3", -3, 2.5, "2.5", True, [3], {}, 2**63, "9" * 5000, 1e300, "nan", "inf"]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_is_not_a_count_is_unknown(odd):
    """As a count of its own, and as a part of one."""
    assert read_usage({"prompt_tokens": odd, "completion_tokens": 9}) == Usage(output_tokens=9)
    assert read_usage({"prompt_tokens": 30, "num_cached_tokens": odd}) == Usage(input_tokens=30)


SMALL = st.integers(0, 1000)


@given(tokens=st.tuples(SMALL, SMALL, SMALL, SMALL, SMALL), cache=st.booleans(), thoughts=st.booleans())
def test_the_total_shows_what_the_counts_include(tokens, cache, thoughts):
    """Cache in the prompt or next to it, reasoning in the output or next to it: the same tokens."""
    fresh, read, written, text, reasoning = tokens
    parts = read + written
    prompt, output = fresh + (parts if cache else 0), text + (reasoning if thoughts else 0)
    total = fresh + parts + text + reasoning
    usage = read_usage(
        {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }
    )
    assert usage is not None
    assert (usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (read, written, reasoning)
    # Two readings may have the same sum, as when as many tokens were cached as were thought; whichever is taken,
    # every token is in it once.
    assert None not in {usage.input_tokens, usage.output_tokens}
    assert usage.input_tokens + parts + usage.output_tokens == total
    if reasoning not in {read, written, parts}:
        assert (usage.input_tokens, usage.output_tokens) == (fresh, text + reasoning)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_middleware_answers_is_read_as_it_was_given(family):
    """Its tokens go into the form of an SDK, and a function around the request reads them there."""
    whole, _ = FAMILIES[family]
    assert read_usage(whole(Reply(text="A hat.", usage=WHOLE), "m")["usage"]) == WHOLE


STEP = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
STEPS = [
    {"type": "compaction", "input_tokens": 55_000, "output_tokens": 196, **STEP},
    {"type": "message", "input_tokens": 120, "output_tokens": 80, **STEP},
    {"type": "message", "input_tokens": 10, "output_tokens": 10, **STEP},
    {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 900, "output_tokens": 70, **STEP},
]
TOP = {"input_tokens": 130, "output_tokens": 90, "output_tokens_details": {"thinking_tokens": 40}, **STEP}


@pytest.mark.parametrize("make", [dict, lambda **fields: as_object(fields)], ids=["dict", "object"])
def test_the_steps_of_the_calls_own_model_are_summed(make):
    """The top leaves out what shortening the context cost; another model's tokens are not this one's."""
    raw = make(**TOP, iterations=[make(**step) for step in STEPS])
    usage, _ = read_usage_and_cost(raw, model="claude-sonnet-5")
    assert usage == Usage(
        input_tokens=55_130, output_tokens=286, cache_read_tokens=0, cache_write_tokens=0, reasoning_tokens=40
    )


@pytest.mark.parametrize(
    ("model", "expected"),
    [("claude-opus-4-8", 56_030), ("claude-opus-4-8-20260101", 56_030), ("claude-opus-4", 55_130), (None, 55_130)],
)
def test_a_step_is_the_models_that_it_names(model, expected):
    """By the model's alias too; a step without a name is the call's own, unless it is an advisor's."""
    usage, _ = read_usage_and_cost({**TOP, "iterations": STEPS}, model=model)
    assert usage.input_tokens == expected


@pytest.mark.parametrize("steps", [[], None, "none", [None], [3], STEPS[-1:]])
def test_without_a_step_of_its_own_the_top_counts(steps):
    """Also where the list holds something else."""
    usage, _ = read_usage_and_cost({**TOP, "iterations": steps}, model="claude-sonnet-5")
    assert (usage.input_tokens, usage.output_tokens) == (130, 90)
