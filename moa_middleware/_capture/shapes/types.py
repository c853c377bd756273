"""Facts about types, found out once: to ask a pydantic class for what it lacks costs 2 µs each time."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["of_type"]

_MOST = 512
"""How many types are remembered, and kept alive, for each fact."""


def of_type(fact: Callable[[type], bool]) -> Callable[[type], bool]:
    """Remember what a function says of a type."""
    return cast("Callable[[type], bool]", lru_cache(maxsize=_MOST)(fact))
