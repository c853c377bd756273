"""
Whether cached tokens are inside the prompt, and reasoning inside the output: what a reply's own sums show.

Providers agree on the names of counts and not on what they include. xAI's `completion_tokens` leave
the reasoning out, Grok on Azure counts cached tokens next to the prompt, Claude behind OpenRouter
and litellm has cached and written tokens in it. The total of the reply is equal to one of these sums.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

__all__ = ["Counts", "settled"]


class Counts(NamedTuple):
    """
    The counts of one usage object as the provider reported them.

    Attributes:
        prompt: Tokens of the prompt, with or without its cached part.
        output: Tokens of the reply, with or without its reasoning.
        cached: Tokens that were read from a cache.
        written: Tokens that were written to one.
        reasoning: Tokens of the reasoning.
        tools: Tokens that the provider's tools added to the prompt.
        total: The sum that the provider reported.
        excludes_cache: True if the names mean a prompt without what a cache held, whatever the total.
        excludes_reasoning: True if the names mean an output without reasoning, unless the total shows otherwise.
    """

    prompt: int | None
    output: int | None
    cached: int | None
    written: int | None
    reasoning: int | None
    tools: int | None
    total: int | None
    excludes_cache: bool
    excludes_reasoning: bool


def settled(counts: Counts) -> tuple[int | None, int | None]:
    """
    Return the input without cached and written tokens, and the output with its reasoning.

    The first reading whose sum is the total counts; where none is, or the total is unknown, the one that the
    names mean. A part that is larger than the whole is not a part of it.
    """
    prompt, output = counts.prompt or 0, counts.output or 0
    cached, written, reasoning = counts.cached or 0, counts.written or 0, counts.reasoning or 0
    cache, tools = cached + written, counts.tools or 0
    # Each is a list of how many tokens are next to the prompt or the output, the likeliest first.
    caches = [cache]
    if not counts.excludes_cache:
        caches[:0] = [0] if prompt >= cache else [written] if prompt >= cached else []
        if written and prompt >= cache:
            caches.insert(1, written)
    thoughts = [0, reasoning] if reasoning <= output else [reasoning]
    if counts.excludes_reasoning:
        thoughts.reverse()
    found = None
    if counts.prompt is not None and counts.total:
        for reading in product(caches, thoughts, (tools, 0) if tools else (0,)):
            if prompt + output + sum(reading) == counts.total:
                found = reading
                break
    apart, thought, added = found or (caches[0], thoughts[0], tools)
    is_known = counts.output is not None or (thought and (found or counts.excludes_reasoning))
    return (None if counts.prompt is None else prompt - (cache - apart) + added, output + thought if is_known else None)
