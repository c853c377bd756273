"""
Raw responses of SDKs, `with_raw_response`: an object around an HTTP response.

What is read here is the body, where it is there already; nothing is parsed by the SDK for it.
"""

from __future__ import annotations

from typing import Any

from .types import of_type

__all__ = ["body_of", "is_raw_type"]

_NAMES = ("parse", "http_request", "status_code", "headers")


@of_type
def is_raw_type(kind: type) -> bool:
    """Whether objects of a type are raw responses of an SDK."""
    return all(hasattr(kind, name) for name in _NAMES)


def body_of(value: Any) -> Any:
    """Return the JSON of a raw response's body, `None` where it is not there, is none, or is no raw response."""
    if not is_raw_type(type(value)):
        return None
    content = getattr(getattr(value, "http_response", None), "__dict__", {}).get("_content")
    if not isinstance(content, bytes):
        return None
    import json

    try:
        return json.loads(content)
    except ValueError:
        return None
