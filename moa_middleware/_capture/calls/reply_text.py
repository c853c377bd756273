"""
Which text of a returned value is the reply: a function may return it with a name, a flag or a price.

It is the one that is, or contains, what the model said inside the function. Nothing here runs code of
a value: texts are looked for in builtin containers and in attributes of plain objects.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["reply_text", "texts_in"]

_DEPTH = 3
_DEPTH_OF_REPLY = 6
"""Of the words in a provider's response next to other values: response, choices, choice, message, content."""
_MOST = 1000
"""Values that are looked at: a function may return a matrix next to its text."""


def reply_text(value: Any, words: str, names: Collection[str | None]) -> str | None:
    """
    Return the text of a returned value that is the reply, `None` if it contains none.

    Args:
        value: What a function returned around a single call of a model.
        words: What the model said.
        names: Texts that are no reply: the model, label, provider, and what the function was given.
    """
    texts = texts_in(value)
    if words in texts:
        return words
    said = _plain(words)
    for text in texts:
        found = _plain(text)
        if found and (said in found or (found in said and 2 * len(found) > len(said))):
            return text
    if not isinstance(value, tuple):
        return None  # a tuple's parts are positions of a reply; other containers may be of any form
    if words in texts_in(value, _DEPTH_OF_REPLY):
        return words  # the whole response is a part; its longest text may be an id
    return max((text for text in texts if text and text not in names), key=len, default=None)


def texts_in(value: Any, depth: int = _DEPTH) -> list[str]:
    """Return the texts in a value, the outer ones first, as far as it is looked through."""
    found: list[str] = []
    level, left = [value], _MOST
    while level and left:
        inner: list[Any] = []
        for item in level[:left]:
            if type(item) is str:
                found.append(item)
            elif depth:
                inner += islice(_items(item), _MOST)
        left -= min(left, len(level))
        level, depth = inner, depth - 1
    return found


def _plain(text: str) -> str:
    """Return a text without its case and the form of its white space, which functions tend to change."""
    return " ".join(text.split()).casefold()


def _items(value: Any) -> Iterable[Any]:
    """Return what a builtin container or a plain object contains."""
    kind = type(value)
    if issubclass(kind, tuple | list):
        return (tuple if issubclass(kind, tuple) else list).__iter__(value)
    if kind is dict:
        return [*value.values()]
    if hasattr(kind, "__object_proxy__"):
        return ()
    try:
        namespace = getattr(value, "__dict__", None)
    except Exception:
        return ()  # an object that answers for each of its names
    return [*namespace.values()] if type(namespace) is dict else ()
