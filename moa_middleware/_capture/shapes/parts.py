"""
Which text of a returned value is the reply: a function may return it with a name, a flag or a price.

It is the one that is, or contains, what the model said inside the function. Where no call shows that,
it is what is left without names. Nothing here runs code of a value: texts are looked for in builtin
containers and in attributes that are stored, and no iterator is touched.
"""

from __future__ import annotations

import re
from collections import deque
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..flow.model import complete
from ..flow.outcome import outcome_of
from .choice import Choice
from .fields import data_of, is_mock, of_type
from .replies import read_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ..flow.model import Reply

__all__ = [
    "HOLDERS",
    "Part",
    "choose_text",
    "is_answer",
    "parts_of",
    "read_parts",
    "reply_text",
    "said_in",
    "texts_in",
    "unnamed",
]

_DEPTH = 3
_DEPTH_OF_REPLY = 6
"""Of the words in a provider's response next to other values: response, choices, choice, message, content."""
_PROVES = 8
"""Characters of a model's words below which finding them inside a text proves little."""
_MOST = 1000
"""Values that are looked at: a function may return a matrix next to its text."""
_ITERATED: tuple[tuple[type, Callable[[Any], Iterable[Any]]], ...] = (
    (tuple, tuple.__iter__),
    (list, list.__iter__),
    (set, set.__iter__),
    (frozenset, frozenset.__iter__),
    (deque, deque.__iter__),
)
"""Builtin containers, each with its own way to be read: that of a subclass is somebody's code."""
HOLDERS = (tuple, dict, list, set, frozenset)
"""Containers that may hold a stream."""
_GROUPS = (list, dict, set, frozenset, deque)
"""Containers of equal parts. Those of a tuple or an object differ: one of them is the reply."""
_NAMING = frozenset(
    (
        *("agent", "created", "finish_reason", "id", "label", "model", "name", "object", "path", "provider"),
        *("role", "source", "status", "stop_reason", "type", "url"),
    )
)
"""Keys and attributes whose texts name something, and say nothing."""
_PLAIN = frozenset({bool, int, float, complex, type(None)})
"""Classes of values that hold no text: a matrix has many of them."""
_TEXTLESS = _PLAIN | {tuple, list, dict, set, frozenset}
_OPEN = frozenset({"plain", "unknown"})
"""Details of replies that no SDK's shape has read."""
_ANSWERS = ("assistant", "model", "ai")
"""Roles of a model's messages in a conversation."""


def read_parts(value: Any, reply: Reply) -> Reply:
    """
    Complete a reply from the parts of a value in which no shape found its text.

    Args:
        value: What a function returned.
        reply: As the shapes read it; new, and changed in place.
    """
    details = reply._details
    if reply.text is not None or reply.tool_calls or not _is_open(reply):
        return reply  # a shape, or a reader of the user's, knows all of it
    found = _Search()
    text = _number(value) or _text_of(value)
    if text is None:
        found.look(value)
    else:
        found.texts.append(text)
    # Kept until the names are known that are no reply: see `choose_text`.
    details = {**details, "texts": () if found.has_stream or found.error is not None else tuple(found.texts)}
    if found.error is not None or type(value) is bool:
        details["unknown"] = None  # it is understood: an error says how the call ended, and a flag has no text
    if reply.usage is None and found.usage is not None:
        complete(reply, usage=found.usage[0], cost_usd=found.usage[1])
        details["usage_raw"] = found.usage[2]
    if not reply.tool_calls and found.tool_calls:
        complete(reply, tool_calls=found.tool_calls)
    if found.error is not None:
        complete(reply, error=found.error, outcome=outcome_of(found.error))
    return choose_text(complete(reply, _details=details), ())


def choose_text(reply: Reply, names: Collection[str | None]) -> Reply:
    """
    Choose the text of a reply among those that `read_parts` found, in place.

    Of a tuple or an object it is the longest that is not a name. Of a list, a set or a dict it is all
    of them, and each is a choice: the caller got several.
    """
    texts = unnamed(reply, names)
    if len(texts) > 1 and isinstance(reply.raw, _GROUPS):
        choices: list[dict[str, Any]] = []
        for index, text in enumerate(texts):
            choice = Choice(index)
            choice.text.append(text)
            choices.append(choice.as_dict())
        return complete(reply, text="\n\n".join(texts), choices=choices)
    if reply.chunks is not None:
        return complete(reply, text=texts[-1] if texts else None)  # in the order in which they are likely
    return complete(reply, text=max(texts, key=len, default=None), choices=())


def unnamed(reply: Reply, names: Collection[str | None]) -> list[str]:
    """Return the texts that `read_parts` found for a reply, without the names."""
    return [text for text in reply._details["texts"] if not _is_name(text, names)]


def said_in(texts: Sequence[str], said: Iterable[str]) -> str | None:
    """Return the first of some texts that is, holds or is most of what a model said, `None` if none is."""
    found = (words if words in texts else _text_with(texts, words) for words in said)
    return next((text for text in found if text is not None), None)


def reply_text(value: Any, words: str) -> str | None:
    """
    Return the text of a returned value that is, holds or is most of what a model said; `None` if none does.

    Args:
        value: What a function returned around a call of a model.
        words: What the model said.
    """
    texts = texts_in(value)
    if words in texts:
        return words
    found = _text_with(texts, words)
    if found is None and isinstance(value, tuple) and words in texts_in(value, _DEPTH_OF_REPLY):
        return words  # the whole response is a part
    return found


def _text_with(texts: Sequence[str], words: str) -> str | None:
    """Return the first of some texts that holds what a model said, or is most of it; white space and case aside."""
    said = _plain(words)
    if not said:
        return None
    plain = [*zip(texts, map(_plain, texts), strict=True)]
    if len(said) < _PROVES:
        # "B" is in most texts: a short one has to be a word of the text, and of no other.
        word = re.compile(rf"(?<!\w){re.escape(said)}(?!\w)")
        holding = [text for text, found in plain if word.search(found)]
        return holding[0] if len(holding) == 1 else None
    return next(
        (text for text, found in plain if said in found or (found in said and 2 * len(found) > len(said))), None
    )


def texts_in(value: Any, depth: int = _DEPTH) -> list[str]:
    """Return the texts in a value, the outer ones first, as far as it is looked through."""
    found: list[str] = []
    level, left = [value], _MOST
    while level and left:
        inner: list[Any] = []
        for item in level[:left]:
            text = _text_of(item)
            if text is not None:
                found.append(text)
            elif depth and type(item) not in _PLAIN:
                inner += islice((part for _, part in parts_of(item)), _MOST)
        left -= min(left, len(level))
        level, depth = inner, depth - 1
    return found


class Part(NamedTuple):
    """A value in another, with its key or the name of its attribute."""

    name: Any
    value: Any


class _Search:
    """What is found in a value: texts that may be the reply, and what came with them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.usage: tuple[Any, float | None, Any] | None = None
        """Tokens, price and the provider's own object."""
        self.tool_calls: Sequence[Any] = ()
        self.error: BaseException | None = None
        self.has_stream = False
        """True if a stream is in it whose text is still to come: that is the reply, and not a name next to it."""
        self._left = _MOST
        """How many more parts are looked at."""

    def look(self, value: Any, depth: int = 0) -> None:
        """Look through a value, and what is in it."""
        kind = type(value)
        if (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and not is_mock(kind):
            self.has_stream = True
        elif issubclass(kind, BaseException):
            self.error = self.error or value
        elif not (depth and self._take(value, kind)) and depth < _DEPTH:
            before = len(self.texts)
            inner: list[Any] = []
            for name, part in _spoken(value):
                text = _text_of(part)
                if text is None:
                    inner.append(part)
                elif text and not text.isspace() and not (type(name) is str and name in _NAMING):
                    self.texts.append(text)
            # What is deeper comes after all texts of this level, so that a matrix does not hide the text next to it.
            for part in inner:
                self._left -= 1
                if self._left >= 0 and type(part) not in _PLAIN:
                    self.look(part, depth + 1)
            if not _is_record(kind):
                # An HTTP response has texts too, such as its encoding: only what has words is taken for a reply.
                self.texts[before:] = [text for text in self.texts[before:] if len(text.split()) > 1]

    def _take(self, part: Any, kind: type) -> bool:
        """Take in a part that is a reply of a shape that is known; `False` if it is none."""
        if issubclass(kind, tuple | list):
            return False
        reply = read_reply(part)
        if self.usage is None and reply.usage is not None:
            self.usage = reply.usage, reply.cost_usd, reply._details.get("usage_raw")
            if not reply.text and reply._details.get("counts"):
                return True
        self.tool_calls = self.tool_calls or reply.tool_calls
        if reply.text:
            self.texts.append(reply.text)
        return bool(reply.text) or not _is_open(reply)


def _spoken(value: Any) -> Sequence[Part]:
    """Return the parts of a value that may be a reply: of a conversation, the last message of a model."""
    parts = [*islice(parts_of(value), _MOST)]
    answer = next((part for part in reversed(parts) if is_answer(part.value)), None)
    if answer is not None:
        return (answer,)
    return [part for part in parts if type(part.name) is not str or part.name[:1] != "_"]


def _is_open(reply: Reply) -> bool:
    """Return True if no shape of an SDK knows where the text of a reply is."""
    return not _OPEN.isdisjoint(reply._details)


@of_type
def _is_called(kind: type) -> bool:
    """Return True if objects of a class are functions, classes or the like, which hold no reply."""
    return any("__call__" in vars(base) for base in kind.__mro__)


@of_type
def _is_record(kind: type) -> bool:
    """Return True if objects of a class are made of fields: containers, dataclasses, and those of attrs and pydantic."""
    fields = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__", "__fields__")
    return issubclass(kind, (dict, *(container for container, _ in _ITERATED))) or any(
        hasattr(kind, name) for name in fields
    )


def is_answer(item: Any) -> bool:
    """Return True if a value is a model's message in a conversation."""
    if type(item) in _PLAIN or issubclass(type(item), str | bytes | tuple | list):
        return False
    data = _stored(item)
    return "content" in data and data.get("role", data.get("type")) in _ANSWERS


def _is_name(text: str, names: Collection[str | None]) -> bool:
    """Return True if a text is one of the names, or, of a stream that repeats it, one of them many times."""
    return any(name and not len(text) % len(name) and text == name * (len(text) // len(name)) for name in names)


def _plain(text: str) -> str:
    """Return a text without its case and the form of its white space, which functions tend to change."""
    return " ".join(text.split()).casefold()


def _text_of(item: Any) -> str | None:
    """Return a value as a text, `None` if it is none: of bytes what they encode, of an enumeration its value or name."""
    kind = type(item)
    if kind is str:
        return cast("str", item)
    if kind in _TEXTLESS:
        return None
    if issubclass(kind, str):
        return str.__str__(item)
    if issubclass(kind, bytes | bytearray):
        try:
            return str(bytes(item), "utf-8")
        except UnicodeDecodeError:
            return None
    if issubclass(kind, Enum):
        stored = _stored(item)
        found = [text for text in (stored.get("_value_"), stored.get("_name_")) if type(text) is str]
        return found[0] if found else None
    return None


def _number(value: Any) -> str | None:
    """Return a number as a text, `None` if it is none: a flag only says whether something went well."""
    kind = type(value)
    if kind is bool or issubclass(kind, Enum):
        return None
    try:
        if issubclass(kind, int):
            return int.__repr__(value)
        if issubclass(kind, float):
            return float.__repr__(value)
        return Decimal.__str__(value) if issubclass(kind, Decimal) else None
    except ValueError:
        return None  # more digits than Python writes


def parts_of(value: Any) -> Iterable[Part]:
    """Return what a builtin container or a plain object contains."""
    kind = type(value)
    if issubclass(kind, dict):
        return [*map(Part._make, dict.items(value))]
    for container, iterate in _ITERATED:
        if issubclass(kind, container):
            return (Part(None, item) for item in iterate(value))
    if _is_called(kind):
        return ()
    return [*map(Part._make, _stored(value).items())]


def _stored(value: Any) -> Mapping[str, Any]:
    """Return the data of an object, empty for one that raises for each of its names."""
    try:
        return data_of(value)
    except Exception:
        return {}
