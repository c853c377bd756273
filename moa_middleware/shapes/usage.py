"""
Token usage as providers report it, brought to one form.

Sources: OpenAI's `CompletionUsage` (`prompt_tokens` includes the cached part), Anthropic's `Usage`
(`input_tokens` excludes it), OpenRouter's `cost` in US dollars beside the tokens.
"""

from __future__ import annotations

from typing import Any

from .._call import Usage

__all__ = ["fields_of", "get", "read_cost", "read_usage"]


def fields_of(obj: Any) -> Any:
    """Return the fields of a pydantic model as a dict, anything else as it is: asking a model for what it lacks costs 1 µs."""
    if type(obj) is dict:
        return obj
    extra = getattr(obj, "__pydantic_extra__", False)
    if extra is None or type(extra) is dict:
        return {**obj.__dict__, **extra} if extra else obj.__dict__
    return obj


def get(obj: Any, name: str) -> Any:
    """Return a key of a mapping or an attribute of anything else, `None` where it has none."""
    if isinstance(obj, dict):
        return obj.get(name)
    return getattr(obj, name, None)


def _number(obj: Any, *names: str) -> int | None:
    for name in names:
        value = get(obj, name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def read_usage(raw: Any) -> Usage | None:
    """Return the tokens that a provider's usage object reports, `None` if it reports none."""
    if raw is None:
        return None
    raw = fields_of(raw)
    details_in = (
        get(raw, "prompt_tokens_details") or get(raw, "input_tokens_details") or get(raw, "input_token_details")
    )
    details_out = (
        get(raw, "completion_tokens_details") or get(raw, "output_tokens_details") or get(raw, "output_token_details")
    )
    details_in, details_out = fields_of(details_in), fields_of(details_out)
    cached = _number(details_in, "cached_tokens", "cache_read")
    written = _number(details_in, "cache_write_tokens", "cache_creation")
    total = _number(raw, "prompt_tokens")
    if total is None and details_in is not None:
        total = _number(raw, "input_tokens")
    usage = Usage(
        # OpenAI counts cached tokens inside the prompt, the record counts them beside it.
        input_tokens=max(total - (cached or 0), 0) if total is not None else _number(raw, "input_tokens"),
        output_tokens=_number(raw, "completion_tokens", "output_tokens"),
        cache_read_tokens=cached
        if cached is not None
        else _number(raw, "cache_read_input_tokens", "cache_read_tokens"),
        cache_write_tokens=written
        if written is not None
        else _number(raw, "cache_creation_input_tokens", "cache_write_tokens"),
        reasoning_tokens=_number(details_out, "reasoning_tokens", "reasoning")
        if details_out is not None
        else _number(raw, "reasoning_tokens"),
    )
    return None if usage == Usage() else usage


def read_cost(raw: Any, reply: Any = None) -> float | None:
    """
    Return the price in US dollars that came with a reply, `None` if none did.

    Args:
        raw: The usage object: OpenRouter and litellm put `cost` there.
        reply: The completed response: litellm puts `response_cost` among its `_hidden_params`.
    """
    raw = fields_of(raw)
    hidden = get(reply, "_hidden_params") if reply is not None else None
    for cost in (get(raw, "cost"), hidden.get("response_cost") if isinstance(hidden, dict) else None):
        if isinstance(cost, int | float) and not isinstance(cost, bool):
            return float(cost)
    return None
