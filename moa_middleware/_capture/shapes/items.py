"""
What a reply holds next to its text: citations, parts, and facts of who served it.

An item is whatever is in the provider's list of contents or outputs, or a field of a message. What
other keys of the record have of it (the text, the reasoning, a tool's name and arguments) is left out, and
whatever remains is kept in the provider's words: so an item of a type that is new is kept too.
`ReplyItems` is in the details of a reply, and only if there is something for it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .citations import citation, sources
from .excerpt import Limiter, copied, is_blank
from .fields import data_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

__all__ = ["Item", "ReplyItems", "items_of", "joined", "listed", "remainder", "seconds_of", "word_of"]

_PLUMBING = frozenset({"id", "type", "index", "status", "role", "object", "call_id", "format"})
"""Keys that are nothing by themselves: an item that has no others is not kept."""


class Item:
    """
    One item of a reply while it is gathered.

    Attributes:
        part: What is kept of it, `None` if other keys of the record have all.
        citations: Those in its text, each with the characters of the item before the text that it counts in;
            by their places.
        logprobs: Those of its tokens.
        start: Characters of the reply's text before its own.
        length: Characters of its text, where the whole item is known.
        text: The pieces of the reply's text, of which those from `first` to `stop` are this item's.
        choice: Index of its choice.
    """

    __slots__ = ("choice", "citations", "first", "length", "logprobs", "part", "start", "stop", "text")

    def __init__(self, choice: int = 0) -> None:
        self.part: dict[str, Any] | None = None
        self.citations: dict[Hashable, tuple[dict[str, Any], int]] = {}
        self.logprobs: list[Any] = []
        self.start = self.length = 0
        self.text: list[Any] | None = None
        self.first = 0
        self.stop: int | None = None
        self.choice = choice

    def add_citation(self, raw: Any, offset: int = 0, place: Hashable = None) -> None:
        """Take a citation in; `place` is where it is among the item's."""
        made = copied(raw)
        if isinstance(made, dict):
            self.citations[len(self.citations) if place is None else place] = (made, offset)

    def merge(self, fields: Mapping[str, Any]) -> None:
        """Take further fields of its part in, of which texts are pieces."""
        self.part = joined(self.part or {}, fields)


class ReplyItems:
    """What is gathered of one reply next to its text."""

    __slots__ = ("_record", "filters", "items", "logprobs", "results", "served_by", "stop_sequence", "timings", "urls")

    def __init__(self) -> None:
        self.items: dict[Hashable, Item] = {}
        """In the order in which they came, by their places in the reply."""
        self.urls: list[Any] = []
        self.results: list[Any] = []
        """Sources of the whole reply: as URLs, and as results of a search."""
        self.served_by: dict[str, str] = {}
        self.filters: dict[str, Any] = {}
        self.logprobs: dict[int, Any] = {}
        """By choice."""
        self.stop_sequence: str | None = None
        self.timings: dict[str, float] = {}
        self._record: dict[str, Any] | None = None

    def item(self, place: Hashable, choice: int = 0) -> Item:
        """Return the item of a place, made when it is first named."""
        return self.items.get(place) or self.items.setdefault(place, Item(choice))

    def add_field(self, name: str, value: Any) -> None:
        """Keep a field of a reply as a part, under its own name; a later value replaces it."""
        self.item(name).part = {"type": name, name: copied(value, name)}

    def add_piece(self, name: str, value: Any, choice: int = 0) -> None:
        """Keep a field of a message or choice as a part likewise; a later value goes on with it."""
        self.item((choice, name), choice).merge({"type": name, name: copied(value, name)})

    def add_filter(self, name: str, value: Any, choice: int = 0) -> None:
        """Keep what a filter of the provider's found in the reply, or in one choice of it."""
        into = self.filters
        if choice:
            into = into.setdefault("choices", {}).setdefault(str(choice), {})
        into[name] = copied(value, name)

    def add_timings(self, value: Any) -> None:
        """Keep the numbers of an object as durations."""
        for name, number in data_of(value).items():
            if type(number) in (int, float):
                self.timings[name] = number

    def record(self) -> Mapping[str, Any]:
        """Return the keys of the record that hold something; `omitted` names what was too long."""
        if self._record is None:
            self._record = self._made()
        return self._record

    def _made(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        citations: list[dict[str, Any]] = []
        parts: list[dict[str, Any]] = []
        for item in self.items.values():
            start, length = item.start, item.length
            if item.text is not None:
                start = sum(map(len, item.text[: item.first]))
                length = sum(map(len, item.text[item.first : item.stop]))
            for raw, offset in item.citations.values():
                # Where the provider cuts its text so that each piece has its own citations, that is what they support.
                span = None if item.text is None else (start, start + length)
                made = citation(raw, offset=start + offset, span=span)
                citations.append({**made, "choice": item.choice} if item.choice else made)
            if item.part is not None:
                part = {**item.part, "start": start, "end": start + length} if length else item.part
                parts.append({**part, "choice": item.choice} if item.choice else part)
            if item.logprobs:
                self.logprobs.setdefault(item.choice, {"content": []})["content"].extend(item.logprobs)
        citations += sources(self.urls, self.results)
        logprobs = [self.logprobs[index] for index in sorted(self.logprobs)]
        for name, value in (
            ("citations", citations),
            ("parts", parts),
            ("served_by", self.served_by),
            ("filters", self.filters),
            ("logprobs", logprobs[0] if len(logprobs) == 1 else logprobs),
            ("stop_sequence", self.stop_sequence),
            ("timings", self.timings),
        ):
            if value:
                limiter = Limiter()
                found[name] = limiter.limited(value, name)
                if limiter.omitted:
                    found.setdefault("omitted", {}).update(limiter.omitted)
        return found


def items_of(details: dict[str, Any]) -> ReplyItems:
    """Return the items in the details of a reply, made when they are first asked for."""
    found: ReplyItems | None = details.get("items")
    if found is None:
        found = details["items"] = ReplyItems()
    return found


def listed(value: Any) -> list[Any] | tuple[Any, ...]:
    """Return a list, an empty one for anything else: a server may send whatever it likes."""
    return value if isinstance(value, list | tuple) else ()


def word_of(value: Any) -> str:
    """Return a text, an empty one for anything else, which might have no hash."""
    return value if isinstance(value, str) else ""


def seconds_of(moment: Any) -> float | None:
    """Return a moment, a text of RFC 3339 or an object with its zone, in epoch seconds; `None` for anything else."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    return moment.timestamp() if isinstance(moment, datetime) and moment.tzinfo is not None else None


def remainder(fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any] | None:
    """Return a copy of what is left of an item without the keys that are recorded elsewhere, `None` if that is nothing."""
    rest = {key: item for key, item in fields.items() if key not in known and not is_blank(item)}
    if _PLUMBING.issuperset(rest):
        return None
    first = {"type": rest["type"]} if "type" in rest else {}
    return {**first, **{key: copied(item, key, fields) for key, item in rest.items()}}


_SET = frozenset({"id", "type", "index", "role", "status", "name", "format"})
"""Keys whose text is not sent in pieces."""


def joined(old: Any, new: Any, name: str = "") -> Any:
    """
    Return what pieces of a stream have said of a field so far.

    Texts are joined, fields of objects too, and lists go on; items of a list that have an index are
    joined with the one of the same index. A server that repeats the whole in each chunk is understood.
    """
    if old is None or new is None or old == new:
        return old if new is None else new
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: joined(old.get(key), item, key) for key, item in new.items()}}
    if isinstance(old, list) and isinstance(new, list):
        return _continued(old, new)
    if isinstance(old, str) and isinstance(new, str) and name not in _SET:
        return new if new.startswith(old) else old + new
    return new


def _continued(old: list[Any], new: list[Any]) -> list[Any]:
    found = list(old)
    for item in new:
        key = _key_of(item)
        place = next((n for n, one in enumerate(found) if key is not None and _key_of(one) == key), None)
        if place is not None:
            found[place] = joined(found[place], item)
        elif item not in found:
            found.append(item)
    return found


def _key_of(item: Any) -> tuple[Any, Any] | None:
    index = item.get("index") if isinstance(item, dict) else None
    return None if index is None else (item.get("type"), index)
