"""
Token usage as providers report it, brought to one form.

Sources: OpenAI's `CompletionUsage` (`prompt_tokens` includes the cached part), Anthropic's `Usage`
(`input_tokens` excludes it), OpenRouter's `cost` in US dollars beside the tokens.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..flow.model import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fields_of", "get", "getter", "read_cost", "read_usage"]


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


def getter(obj: Any) -> Callable[[str], Any]:
    """Return a function that looks names up as `get` does, for an object of which many are asked."""
    fields = fields_of(obj)
    return fields.get if type(fields) is dict else partial(get, fields)


def _number(find: Callable[[str], Any], *names: str) -> int | None:
    for name in names:
        value = find(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def read_usage(raw: Any) -> Usage | None:
    """Return the tokens that a provider's usage object reports, `None` if it reports none, or raises."""
    if raw is None:
        return None
    try:
        return _usage(raw)
    except Exception:  # the properties of a usage are anybody's code, and a text is worth more than its price
        return None


def _usage(raw: Any) -> Usage | None:
    find = getter(raw)
    details_in = find("prompt_tokens_details") or find("input_tokens_details") or find("input_token_details")
    details_out = find("completion_tokens_details") or find("output_tokens_details") or find("output_token_details")
    cached = written = None
    if details_in is not None:
        find_in = getter(details_in)
        cached = _number(find_in, "cached_tokens", "cache_read")
        written = _number(find_in, "cache_write_tokens", "cache_creation")
    kept = _number(find, "cache_read_input_tokens", "cache_read_tokens") if cached is None else cached
    if written is None:
        written = _number(find, "cache_creation_input_tokens", "cache_write_tokens")
    total = _number(find, "prompt_tokens")
    if total is None and details_in is not None:
        total = _number(find, "input_tokens")
    # OpenAI counts cached tokens inside the prompt, the record counts them beside it.
    asked = max(total - (cached or 0), 0) if total is not None else _number(find, "input_tokens")
    said = _number(find, "completion_tokens", "output_tokens")
    if details_out is not None:
        reasoned = _number(getter(details_out), "reasoning_tokens", "reasoning")
    else:
        reasoned = _number(find, "reasoning_tokens")
    if asked is said is kept is written is reasoned is None:
        return None
    return Usage(
        input_tokens=asked,
        output_tokens=said,
        cache_read_tokens=kept,
        cache_write_tokens=written,
        reasoning_tokens=reasoned,
    )


def read_cost(raw: Any, reply: Any = None) -> float | None:
    """
    Return the price in US dollars that came with a reply, `None` if none did.

    Args:
        raw: The usage object: OpenRouter and litellm put `cost` there.
        reply: The completed response: litellm puts `response_cost` among its `_hidden_params`.
    """
    try:
        hidden = _hidden(reply) if reply is not None else None
        cost = getter(raw)("cost") if raw is not None else None
    except Exception:  # as above
        return None
    for price in (cost, hidden.get("response_cost") if isinstance(hidden, dict) else None):
        if isinstance(price, int | float) and not isinstance(price, bool):
            return float(price)
    return None


def _hidden(reply: Any) -> Any:
    if getattr(reply, "__pydantic_private__", False) is None:
        # A model without private attributes: it would look for it in three places, and raise.
        return reply.__dict__.get("_hidden_params")
    return get(reply, "_hidden_params")
