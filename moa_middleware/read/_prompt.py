"""The texts of a prompt: what a model read of its messages, in whatever form they were sent."""

from __future__ import annotations

from typing import Any

__all__ = ["messages_of", "text_of", "texts_of"]

_NAMES = frozenset({"role", "type", "id", "name", "tool_call_id", "call_id", "status", "media_type", "detail"})
"""Keys of messages whose values are no text."""
_DEPTH = 50


def messages_of(prompt: Any) -> list[Any]:
    """Return the messages of a prompt; a text is one message."""
    if prompt is None:
        return []
    return prompt if isinstance(prompt, list) else [prompt]


def texts_of(value: Any, depth: int = 0) -> list[str]:
    """Return the texts in a message, in their order."""
    if isinstance(value, str):
        return [value]
    if depth > _DEPTH:
        return []
    if isinstance(value, list):
        return [text for one in value for text in texts_of(one, depth + 1)]
    if isinstance(value, dict):
        return [text for key, one in value.items() if key not in _NAMES for text in texts_of(one, depth + 1)]
    return []


def text_of(messages: list[Any]) -> str:
    """Return the texts of messages as one, a NUL between two, which no text runs across."""
    return "\0".join(text for one in messages for text in texts_of(one))
