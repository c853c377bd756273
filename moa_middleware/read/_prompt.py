"""A prompt: its messages and their texts, in whatever form they were sent."""

from __future__ import annotations

from typing import Any

__all__ = ["content_text", "joined_texts", "messages_of", "question_of", "texts_of"]

_NAMES = frozenset({"role", "type", "id", "name", "tool_call_id", "call_id", "status", "media_type", "detail"})
"""Keys of messages whose values are no text."""
_DEPTH = 50


def messages_of(prompt: Any) -> list[Any]:
    """Return the messages of a prompt; a text is one message."""
    if prompt is None:
        return []
    return prompt if isinstance(prompt, list) else [prompt]


def texts_of(value: Any, depth: int = 0) -> list[str]:
    """Return every text in a message, in their order."""
    if isinstance(value, str):
        return [value]
    if depth > _DEPTH:
        return []
    if isinstance(value, list):
        return [text for one in value for text in texts_of(one, depth + 1)]
    if isinstance(value, dict):
        return [text for key, one in value.items() if key not in _NAMES for text in texts_of(one, depth + 1)]
    return []


def joined_texts(messages: list[Any]) -> str:
    """Return the texts of messages as one, a NUL between two, which no text runs across."""
    return "\0".join(text for one in messages for text in texts_of(one))


def content_text(content: Any, depth: int = 0) -> str:
    """Return the text of a message's content for a reader; what is not text is named in brackets: `[image_url]`."""
    if isinstance(content, str):
        return content
    if depth > _DEPTH:
        return "[nested too deeply]"
    if isinstance(content, list):
        return "\n".join(content_text(part, depth + 1) for part in content)
    if isinstance(content, dict):
        text = content.get("text", content.get("content"))
        return content_text(text, depth + 1) if isinstance(text, str | list) else f"[{content.get('type', 'data')}]"
    return "" if content is None else str(content)


def question_of(prompt: Any) -> str:
    """Return the text of the user's last message, of the last message where none is the user's."""
    messages = messages_of(prompt)
    users = [one for one in messages if isinstance(one, dict) and one.get("role") == "user"] or messages
    if not users:
        return ""
    last = users[-1]
    return content_text(last.get("content") if isinstance(last, dict) and "content" in last else last)
