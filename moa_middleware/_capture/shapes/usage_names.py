"""
The names under which providers report tokens: one table for every SDK and every wire.

Sources: OpenAI's `CompletionUsage` and `ResponseUsage`; Anthropic's `Usage`; the API references of
DeepSeek (`prompt_cache_hit_tokens`), Mistral (`num_cached_tokens`), Moonshot and Together
(`cached_tokens`), Google's `GenerateContentResponse.UsageMetadata`, Ollama's `/api/chat`, Cohere's
`Usage`, Amazon Bedrock's `TokenUsage`, its invocation metrics and its Llama and Titan bodies;
LangChain's `UsageMetadata`; litellm's `Usage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ASKED", "INPUT_DETAILS", "OBJECTS", "OUTPUT_DETAILS", "PARTS", "count_of"]

BITS = 63
"""Of a count; below 0, all bits above are set."""

PROMPT, INPUT, OUTPUT, TOTAL, TOOLS, REASONING, THOUGHTS, CACHED, READ, WRITTEN, WRITTEN_5M, WRITTEN_1H = range(12)
"""What a count means: its place in a list of counts."""
SLOTS = 12

_NAMES: dict[int, tuple[str, ...]] = {
    # With what came from a cache, as OpenAI defines it; the sums of a reply may show otherwise (`token_sums`).
    PROMPT: ("prompt_tokens", "prompt_token_count", "promptTokenCount", "prompt_eval_count", "inputTextTokenCount"),
    # Without the cache at Anthropic and Bedrock. With details they are the Responses API's or LangChain's.
    INPUT: ("input_tokens", "inputTokens", "inputTokenCount"),
    OUTPUT: (
        *("completion_tokens", "output_tokens", "candidates_token_count", "candidatesTokenCount", "outputTokens"),
        *("outputTokenCount", "eval_count", "generation_token_count"),
    ),
    TOTAL: ("total_tokens", "total_token_count", "totalTokenCount", "totalTokens"),
    # What Gemini's own tools put into the prompt; its `prompt_token_count` is without it.
    TOOLS: ("tool_use_prompt_token_count", "toolUsePromptTokenCount"),
    REASONING: ("reasoning_tokens",),
    # Reasoning that Gemini counts next to its candidates, not among them.
    THOUGHTS: ("thoughts_token_count", "thoughtsTokenCount"),
    # Parts of the prompt.
    CACHED: (
        *("cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens"),
        *("cached_content_token_count", "cachedContentTokenCount"),
    ),
    # Tokens that `INPUT` leaves out.
    READ: ("cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount", "cache_read_tokens"),
    WRITTEN: (
        *("cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount"),
        *("cacheCreationInputTokens", "cache_write_tokens"),
    ),
}
_DETAILS: dict[int, tuple[str, ...]] = {
    CACHED: ("cached_tokens", "cache_read"),
    WRITTEN: ("cache_write_tokens", "cache_creation_tokens", "cache_creation"),
    # Anthropic's writes by how long they are kept; LangChain sets their sum to 0 where it has these.
    WRITTEN_5M: ("ephemeral_5m_input_tokens",),
    WRITTEN_1H: ("ephemeral_1h_input_tokens",),
    REASONING: ("reasoning_tokens", "reasoning", "thinking_tokens"),
}


def _by_name(names: Mapping[int, tuple[str, ...]]) -> dict[str, int]:
    return {name: slot for slot, found in names.items() for name in found}


TOP = _by_name(_NAMES)
"""The slot of each name of a count at the top of a usage object."""
DETAILS = _by_name(_DETAILS)
"""The slot of each name of a count in an object with details."""

INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
PARTS = ("tokens", "billed_units")
"""Where Cohere's counts are: what the model read and wrote, else what was billed."""
OBJECTS = frozenset((*INPUT_DETAILS, *OUTPUT_DETAILS, *PARTS, "cost", "cost_details", "cache_creation"))
"""Names under which there is an object."""
ASKED = tuple(
    dict.fromkeys(
        (
            *(*TOP, *DETAILS, *INPUT_DETAILS, *OUTPUT_DETAILS, *PARTS, "iterations", "type", "model"),
            *("cost", "cost_details", "cost_in_usd_ticks", "is_byok"),
            *("total_cost", "currency", "upstream_inference_cost"),
        )
    )
)
"""Names that are read from an object whose fields are not in a dict."""


def count_of(value: Any) -> int | None:
    """
    Return a count of tokens as an integer, `None` for what is not a count.

    Gateways write counts as floats and as strings. `True` is not one token. A number below 0 is not a count,
    and neither is one of thousands of digits, which Python does not read back.
    """
    if isinstance(value, str):
        try:
            value = int(value) if value.isdecimal() and value.isascii() else float(value)
        except ValueError:  # words, or thousands of digits
            return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return int(value) if isinstance(value, int) and type(value) is not bool and not value >> BITS else None
