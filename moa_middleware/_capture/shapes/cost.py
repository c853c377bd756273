"""
Prices as providers report them next to the tokens, in US dollars.

Sources: OpenRouter, *Usage accounting* (`cost` is what the account was charged; with a key of one's own,
`is_byok`, that is the fee alone, and `cost_details.upstream_inference_cost` is charged to the key);
Perplexity's `usage.cost`, an object with its `total_cost`; xAI, *Cost tracking* (`cost_in_usd_ticks`,
10,000,000,000 of them a dollar); litellm's `response_cost` among the `_hidden_params` of a response.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .fields import named_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["price_in", "usd_of"]

_TICKS = 10**10
"""Ticks in a dollar."""


def usd_of(value: Any) -> float | None:
    """Return a number, or a text that is one, as US dollars; `None` for what is not a price."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        usd = float(value)
    except (ValueError, OverflowError):
        return None
    return usd if math.isfinite(usd) else None


def price_in(usage: Mapping[str, Any]) -> float | None:
    """Return the price among the fields of a usage object, in US dollars; `None` if it holds none."""
    cost = usage.get("cost")
    usd = usd_of(cost)
    if usd is None and cost is not None and not isinstance(cost, str | bool):
        parts = named_fields(cost, ("total_cost", "currency"))
        usd = usd_of(parts.get("total_cost")) if parts.get("currency") in (None, "USD") else None
    if usd is None:
        ticks = usd_of(usage.get("cost_in_usd_ticks"))
        return None if ticks is None else ticks / _TICKS
    details = usage.get("cost_details")
    if details is None:
        return usd
    upstream = usd_of(named_fields(details, ("upstream_inference_cost",)).get("upstream_inference_cost"))
    is_byok = usage.get("is_byok")
    # Without a key of one's own the account pays at least what the provider charges, and the two are
    # equal or so: then the second is a part of the first.
    if upstream is not None and (is_byok is True or (is_byok is None and upstream > usd)):
        usd += upstream
    return usd
