"""Whether the running code is a call's that sends requests itself: an SDK's, or an HTTP client's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..shapes.catalog import CATALOG

if TYPE_CHECKING:
    from ..scope import Scope

__all__ = ["is_sent_by_call"]

_PROVIDERS = frozenset(sdk.provider for sdk in CATALOG.values())


def is_sent_by_call(here: Scope | None) -> bool:
    """Return True if the nearest call around the running code is an SDK's or an HTTP client's: it has what is sent."""
    # A decorated function around a request is not: the request is a call inside it. Only calls of SDKs and of HTTP
    # clients have an endpoint, or the name of an SDK as their provider.
    attempt = here.parent if here is not None else None
    if attempt is None:
        return False
    state = attempt.call_state
    return state.endpoint is not None or state.provider in _PROVIDERS
