"""
What the pieces of a stream make of one field: texts are joined, objects and lists go on.

Each piece is taken in once, and what came before it is not copied: a stream of many pieces takes time in
proportion to what it says. This module must not know what a field means.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Fields", "whole_of"]

_SET = frozenset({"id", "type", "index", "role", "status", "name", "format"})
"""Keys whose text is not sent in pieces."""


class _Text:
    """A text in pieces. A server that repeats the whole in each chunk is understood."""

    __slots__ = ("_length", "_pieces")

    def __init__(self, first: str) -> None:
        self._pieces = [first]
        self._length = len(first)

    def add(self, piece: str) -> None:
        """Take a piece in, or the whole so far with what follows."""
        # What came before is looked at only if the piece is as long, so that this costs no more than the piece.
        if len(piece) >= self._length and piece.startswith(self.whole()):
            self._pieces, self._length = [piece], len(piece)
        elif piece:
            self._pieces.append(piece)
            self._length += len(piece)

    def whole(self) -> str:
        """Return the text so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]


class Fields:
    """The fields of an object in pieces."""

    __slots__ = ("_fields",)

    def __init__(self, first: dict[str, Any]) -> None:
        self._fields = dict(first)

    def add(self, piece: dict[str, Any]) -> None:
        """Take further fields in; a value of a known field is a piece that goes on with it."""
        fields = self._fields
        for name, value in piece.items():
            fields[name] = _joined(fields.get(name), value, name)

    def whole(self) -> dict[str, Any]:
        """Return the object so far."""
        return {name: whole_of(value) for name, value in self._fields.items()}


class _List:
    """A list in pieces: items that have an index are joined with the one of the same index, others are kept once."""

    __slots__ = ("_items", "_known", "_places")

    def __init__(self, first: list[Any]) -> None:
        self._items = list(first)
        self._places: dict[Any, int] = {}
        """Of the items that have an index, by it and their type."""
        self._known: dict[int, list[int]] = {}
        """Places of the others, by their hashes: a list takes each of its items once, and compares it with few."""
        for place, item in enumerate(first):
            self._note(item, place)

    def _note(self, item: Any, place: int) -> None:
        key = _key_of(item)
        if key is None:
            self._known.setdefault(_hash_of(item), []).append(place)
        else:
            self._places.setdefault(key, place)

    def add(self, piece: list[Any]) -> None:
        """Take further items in."""
        items = self._items
        for item in piece:
            key = _key_of(item)
            if key is None:
                found = any(items[place] == item for place in self._known.get(_hash_of(item), ()))
            else:
                found = key in self._places
            if not found:
                self._note(item, len(items))
                items.append(item)
            elif key is not None:
                place = self._places[key]
                items[place] = _joined(items[place], item)

    def whole(self) -> list[Any]:
        """Return the list so far."""
        return [whole_of(item) for item in self._items]


_JOINED: dict[type, Any] = {str: _Text, dict: Fields, list: _List}
"""By the class of a value: what gathers its pieces."""


def _joined(old: Any, new: Any, name: str = "") -> Any:
    """Return what gathers a field after a further piece; a number or a flag replaces what was there."""
    kind = type(new)
    gather = _JOINED.get(kind)
    if new is None or (old is None and gather is not None):
        return old if new is None else new
    if gather is None:
        take = getattr(kind, "joined_to", None)  # binary: the digest of the whole
        return new if take is None else take(new, old)
    if kind is str and name in _SET:
        return new
    gathered: Any = gather(old) if type(old) is kind else old
    if type(gathered) is not gather:
        return new
    gathered.add(new)
    return gathered


def whole_of(value: Any) -> Any:
    """Return a value that may be in pieces as builtin types."""
    return value.whole() if type(value) in (_Text, Fields, _List) else value


def _key_of(item: Any) -> tuple[Any, Any] | None:
    index = item.get("index") if type(item) is dict else None
    if index is None:
        return None
    kind = item.get("type")
    # A server may send anything there, also what has no hash.
    return _hashable(kind), _hashable(index)


def _hashable(value: Any) -> Any:
    return repr(value) if type(value) in (dict, list) else value


def _hash_of(value: Any) -> int:
    """Return a number that is the same for equal values."""
    if type(value) is dict:
        return hash(frozenset((name, _hash_of(item)) for name, item in value.items()))
    if type(value) is list:
        return hash(tuple(map(_hash_of, value)))
    return hash(value)
