"""
What quotes a reply in the events of its own stream: probabilities of tokens, citations, and a last event with all of it.

Taken out of the events that follow a change by `map_chunks`, since the original would be there. Sources of the formats:
Cohere's API reference, *Chat* in both versions; Google's, *GenerateContentResponse*; Ollama's, *Generate a chat message*.
Citations of OpenAI's and Anthropic's quote documents and not the reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .choice import replaced
from .fields import get

if TYPE_CHECKING:
    from .choice import Choice

__all__ = ["without_quotes"]

_Way = tuple[str, ...]
_GEMINI: tuple[_Way, ...] = (
    ("candidates", "*", "logprobs_result"),
    ("candidates", "*", "logprobsResult"),
    ("candidates", "*", "grounding_metadata", "grounding_supports", "*", "segment", "text"),
    ("candidates", "*", "groundingMetadata", "groundingSupports", "*", "segment", "text"),
)
_COHERE: tuple[_Way, ...] = (("logprobs",), ("delta", "message", "citations", "text"))
_COHERE_V1: tuple[_Way, ...] = (
    ("citations", "*", "text"),
    ("response", "citations", "*", "text"),
    ("response", "chat_history"),
)
_OLLAMA: tuple[_Way, ...] = (("logprobs",),)


def without_quotes(raw: Any, choice: Choice | None) -> Any:
    """
    Return a copy of a chunk without what quotes the reply, the chunk itself if nothing does.

    Args:
        raw: The chunk, of a stream that was changed.
        choice: What was let through so far, `None` if that is nothing.
    """
    if isinstance(get(raw, "event_type"), str):
        raw = _without_all(raw, _COHERE_V1)
        if get(raw, "event_type") != "stream-end" or not get(get(raw, "response"), "text"):
            return raw
        said = None if choice is None else choice.joined("text")
        return replaced(raw, said or "", "response", "text")
    if get(raw, "type") in ("content-delta", "citation-start"):
        return _without_all(raw, _COHERE)
    if isinstance(get(raw, "candidates"), list):
        return _without_all(raw, _GEMINI)
    return _without_all(raw, _OLLAMA) if isinstance(get(raw, "done"), bool) else raw


def _without_all(raw: Any, ways: tuple[_Way, ...]) -> Any:
    for way in ways:
        raw = _without(raw, way)
    return raw


def _without(obj: Any, way: _Way) -> Any:
    name, *rest = way
    if name == "*":
        made = [_without(item, tuple(rest)) for item in obj] if isinstance(obj, list) else obj
        is_same = made is obj or all(one is other for one, other in zip(made, obj, strict=True))
        return obj if is_same else made
    value = get(obj, name)
    if not value:
        return obj
    if not rest:
        return replaced(obj, "" if isinstance(value, str) else None, name)
    inner = _without(value, tuple(rest))
    return obj if inner is value else replaced(obj, inner, name)
