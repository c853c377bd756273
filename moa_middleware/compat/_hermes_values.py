"""Values of Hermes Agent's objects, of whichever version: accounting, prices, failures."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from ..records import TOKENS

__all__ = ["failure_of", "label_of", "number", "tokens_of"]

_FAILED = ("[failed:", "[skipped:")


def number(value: Any) -> float | None:
    """Return a price or a time as a JSON number, `None` for anything else; prices come as `Decimal`."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        found = float(value)
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None


def failure_of(text: Any) -> tuple[str, str] | None:
    """Return kind and message of a reference that failed. It raises nothing; its text begins with a mark."""
    if not isinstance(text, str):
        return None
    head = text.lstrip()
    for mark in _FAILED:
        if head.lower().startswith(mark):
            return mark[1:-1], head[len(mark) :].strip().removesuffix("]")
    return None


def tokens_of(accounting: Any) -> dict[str, int | None]:
    """Return the tokens of a reference by the record's names, `{}` if there is no usage object."""
    try:
        usage = getattr(accounting, "usage", None)
        if usage is None:
            return {}
        # The agent reads a missing attribute as 0 tokens, and so must we to agree with its totals.
        found = {name: getattr(usage, name, 0) for name in TOKENS}
    except Exception:
        return {}
    return {name: value if type(value) is int else None for name, value in found.items()}


def label_of(slot: Any) -> str | None:
    """Return the label of a slot of a preset: `provider:model[reasoning=effort]`."""
    if not isinstance(slot, dict):
        return None
    provider, model, effort = (str(slot.get(name) or "").strip() for name in ("provider", "model", "reasoning_effort"))
    return f"{provider}:{model}[reasoning={effort}]" if effort else f"{provider}:{model}"
