"""
Which text of a returned value is the reply: a function may return it with a name, a flag or a price.

It is the one that is, or contains, what the model said inside the function. Nothing here runs code of
a value: texts are looked for in builtin containers and in attributes of plain objects.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["reply_text", "texts_in"]

_DEPTH = 3
_MOST = 1000
"""Texts that are looked at, and items of one container."""


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
    return max((text for text in texts if text and text not in names), key=len, default=None)


def texts_in(value: Any) -> list[str]:
    """Return the texts in a value, in their order, as far as it is looked through."""
    return [*islice(_texts(value, _DEPTH), _MOST)]


def _plain(text: str) -> str:
    """Return a text without its case and the form of its white space, which functions tend to change."""
    return " ".join(text.split()).casefold()


def _texts(value: Any, depth: int) -> Iterator[str]:
    kind = type(value)
    if kind is str:
        yield value
        return
    items: Iterable[Any] = ()
    if isinstance(value, tuple | list):
        items = value
    elif kind is dict:
        items = value.values()
    elif not hasattr(kind, "__object_proxy__") and type(namespace := getattr(value, "__dict__", None)) is dict:
        items = namespace.values()
    if depth:
        for item in islice(items, _MOST):
            yield from _texts(item, depth - 1)
