"""
What a reply holds next to its text: citations, parts, and facts of who served it.

An item is whatever is in the provider's list of contents or outputs, or a field of a message. What
other keys of the record have of it (the text, the reasoning, a tool's name and arguments) is left out, and
whatever remains is kept in the provider's words: so an item of a type that is new is kept too.
`ReplyItems` is in the details of a reply, and only if there is something for it.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .citations import citation, sources
from .excerpt import Limiter, copied, is_blank
from .fields import data_of
from .pieces import Fields, whole_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

__all__ = ["Item", "ReplyItems", "items_of", "listed", "remainder", "seconds_of", "word_of"]

_PLUMBING = frozenset({"id", "type", "index", "status", "role", "object", "call_id", "format"})
"""Keys that are nothing by themselves: an item that has no others is not kept."""


class Item:
    """
    One item of a reply while it is gathered.

    Attributes:
        part: What is kept of it, as a dict or as its pieces, `None` if other keys of the record have all.
        citations: Those in its text, each with the characters of the item before the text that it counts in;
            by their places.
        logprobs: Those of its tokens.
        place: Its place among those of which `ReplyItems.lengths` has the characters, `None` for another.
        length: Characters of its text, where the whole item is known.
        text: The pieces of the reply's text, of which those from `first` to `stop` are this item's.
        choice: Index of its choice.
    """

    __slots__ = ("choice", "citations", "first", "length", "logprobs", "part", "place", "stop", "text")

    def __init__(self, choice: int = 0) -> None:
        self.part: dict[str, Any] | Fields | None = None
        self.citations: dict[Hashable, tuple[dict[str, Any], int]] = {}
        self.logprobs: list[Any] = []
        self.place: int | None = None
        self.length = 0
        self.text: list[Any] | None = None
        self.first = 0
        self.stop: int | None = None
        self.choice = choice

    def add_citation(self, raw: Any, offset: int = 0, place: Hashable = None) -> None:
        """Take a citation in; `place` is where it is among the item's."""
        made = copied(raw)
        if isinstance(made, dict):
            self.citations[len(self.citations) if place is None else place] = (made, offset)

    def merge(self, fields: dict[str, Any]) -> None:
        """Take further fields of its part in, of which texts are pieces."""
        part = self.part
        if not isinstance(part, Fields):
            part = self.part = Fields(part or {})
        part.add(fields)


class ReplyItems:
    """What is gathered of one reply next to its text."""

    __slots__ = (
        *("_open", "_record", "at_end", "filters", "items", "lengths", "logprobs", "results", "served_by"),
        *("stop_sequence", "timings", "urls"),
    )

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
        self.lengths: dict[int, int] = {}
        """Characters of the texts of the items that are known as a whole, by their places."""
        self.at_end: dict[Hashable, Callable[[], None]] = {}
        """What is to be done when the text is complete, each once: to do it at each chunk would take quadratic time."""
        self._open: list[Item] = []
        """Items whose text may go on."""
        self._record: dict[str, Any] | None = None

    def item(self, place: Hashable, choice: int = 0) -> Item:
        """Return the item of a place, made when it is first named."""
        return self.items.get(place) or self.items.setdefault(place, Item(choice))

    def begin_text(self, item: Item, pieces: list[Any], first: int) -> None:
        """Note where the text of an item begins among the pieces of the reply's; `end_texts` says where it ends."""
        if item.text is None:
            self._open.append(item)
        item.text, item.first = pieces, first

    def end_texts(self, stop: int) -> None:
        """Note that the items so far have no further pieces of the text."""
        for item in self._open:
            item.stop = stop
        self._open.clear()

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
        for finish in self.at_end.values():
            finish()
        places = _Places(self.lengths)
        for item in self.items.values():
            start, length = places.of(item)
            for raw, offset in item.citations.values():
                # Where the provider cuts its text so that each piece has its own citations, that is what they support.
                span = None if item.text is None else (start, start + length)
                made = citation(raw, offset=start + offset, span=span)
                citations.append({**made, "choice": item.choice} if item.choice else made)
            part = whole_of(item.part)
            if part is not None:
                part = {**part, "start": start, "end": start + length} if length else part
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


class _Places:
    """
    Where the texts of items are in the text of their reply.

    The sums of the lengths are made once, and not for each item.

    Args:
        lengths: As `ReplyItems` has them.
    """

    def __init__(self, lengths: Mapping[int, int]) -> None:
        self._order = sorted(lengths)
        self._before = [0, *accumulate(map(lengths.__getitem__, self._order))]
        self._of_pieces: dict[int, list[int]] = {}

    def of(self, item: Item) -> tuple[int, int]:
        """Return the characters before the text of an item, and those of the text."""
        if item.text is not None:
            sums = self._of_pieces.get(id(item.text))
            if sums is None:
                sums = self._of_pieces[id(item.text)] = [0, *accumulate(map(len, item.text))]
            last = len(sums) - 1
            start = sums[min(item.first, last)]
            return start, sums[last if item.stop is None else min(item.stop, last)] - start
        before = 0 if item.place is None else self._before[bisect_left(self._order, item.place)]
        return before, item.length


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
